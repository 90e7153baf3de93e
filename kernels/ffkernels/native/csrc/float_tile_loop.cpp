// One work item of the FFN in float arithmetic. Compiled once per instruction set with LANES, ROWS and ENTRY defined.
//
// Gate and up: X^T is packed once per work item in panels of W tokens. A panel of KC inputs stays near the core while
// the weight rows pass by and are broadcast; float rows are read in place unless a tile of them would not fit into one
// set of L1, others are widened first. The results h are [neurons][tokens], and the down product broadcasts them
// against panels of W columns of down rows.
#include "ffn.h"

#include <algorithm>
#include <type_traits>

#include "prefetch.h"
#include "float_tile.h"
#include "gate.h"
#include "passes.h"
#include "scratch.h"
#include "storage.h"
#if LANES == 16
#include "transpose.h"
#endif

namespace {

constexpr int KC = 512;       // most inputs of a pass: a panel of X^T stays in L1 and L2 while the rows pass by
constexpr int LDW = KC + 16;  // row stride of widened weights, off the power of two
constexpr int NC = 128;       // most neurons of a pass: their h and weights stay in L2
constexpr int JC = 8 * W;     // columns of the down rows copied at a time
constexpr int WAY = 4096, WAYS = 8;  // bytes after which addresses share a set of L1 again, and lines that it holds

template <class T>
struct Worker {
    const FfnCall &call;
    const WorkItem &item;
    int64_t m, mp, ldh;  // tokens, padded to panels of W, row stride of h
    int64_t nc;          // neurons of a pass
    float *xt, *zt, *g, *u, *corr, *wide, *down;
    Prefetcher<T> prefetcher;

    Worker(const FfnCall &c, const WorkItem &i) : call(c), item(i), m(i.end - i.start) {
        mp = pad(m, W);
        ldh = mp + 16;
        nc = even_pass(item.n, NC, 16);
        const int64_t fix = item.correct && call.z ? 1 : 0;
        const int64_t sizes[] = {mp * call.d,  fix * mp * call.r, NC * ldh, NC * ldh, fix * NC * ldh,
                                 NC * LDW, NC * JC};
        float **parts[] = {&xt, &zt, &g, &u, &corr, &wide, &down};
        int64_t total = 0;
        for (int64_t s : sizes) total += pad(s, 16);
        static thread_local Scratch scratch;
        float *at = scratch.take(total);
        for (int i = 0; i < 7; i++) {
            *parts[i] = at;
            at += pad(sizes[i], 16);
        }
    }

    Window<T> window(const void *w, int64_t ld, int64_t n0, int64_t column, int64_t width) const {
        const int64_t rows = std::max<int64_t>(0, std::min(nc, item.n - n0));
        return {static_cast<const T *>(w), ld, item.kept, item.kept ? n0 : item.base + n0, rows, column, width};
    }

    // src [m, d] -> dst: passes of KC inputs, in each the panels [inputs][W], missing tokens zero.
    void transpose(const float *src, int64_t d, float *dst) const {
        const int64_t pass = even_pass(d, KC, SEGMENT);
        for (int64_t k0 = 0; k0 < d; k0 += pass) {
            const int64_t kc = std::min(pass, d - k0);
            for (int64_t t0 = 0; t0 < mp; t0 += W, dst += kc * W) {
                for (int64_t t = 0; t < W; t += LANES) transpose_lanes(src + (t0 + t) * d + k0, d, m - t0 - t, kc, dst + t);
            }
        }
    }

    // LANES tokens, of which `tokens` exist, src [LANES][kc] with row stride d -> dst [kc][LANES] with row stride W.
    static void transpose_lanes(const float *src, int64_t d, int64_t tokens, int64_t kc, float *dst) {
#if LANES == 16
        for (int64_t k = 0; k < kc; k += 16) {
            const __mmask16 some = kc - k >= 16 ? 0xffff : (1u << (kc - k)) - 1;
            __m512i r[16];
            for (int i = 0; i < 16; i++) r[i] = _mm512_maskz_loadu_epi32(i < tokens ? some : 0, src + i * d + k);
            transpose16(r);
            for (int i = 0; i < std::min<int64_t>(16, kc - k); i++) _mm512_storeu_si512(dst + (k + i) * W, r[i]);
        }
#else
        for (int64_t t = 0; t < LANES; t++)
            for (int64_t k = 0; k < kc; k++) dst[k * W + t] = t < tokens ? src[t * d + k] : 0.f;
#endif
    }

    // out [n][tokens] = rows of w times the packed tokens; meanwhile fetches the next inputs, after the last `next`.
    void project(const void *w, int64_t ld, int64_t d, int64_t n0, const float *packed, float *out, Window<T> next) {
        const int64_t n = std::min(nc, item.n - n0), pass = even_pass(d, KC, SEGMENT), parts = (n + ROWS - 1) / ROWS;
        if (d == 0) std::fill(out, out + NC * ldh, 0.f);
        for (int64_t k0 = 0; k0 < d; k0 += pass) {
            const int64_t kc = std::min(pass, d - k0), left = std::min(pass, d - k0 - pass);
            const Window<T> now = window(w, ld, n0, k0, kc);
            const bool copied = !std::is_same<T, float>::value || (ROWS > WAYS && now.ld * sizeof(float) % WAY == 0);
            if (copied)
                for (int64_t i = 0; i < n; i++) widen(now.row(i), wide + i * LDW, kc);
            prefetcher.start(left > 0 ? window(w, ld, n0, k0 + pass, left) : next,
                      parts * (mp / W) * std::max<int64_t>(kc / SEGMENT, 1));
            for (int64_t t0 = 0; t0 < mp; t0 += W, packed += kc * W)
                for (int64_t s = 0; s < parts; s++)
                    project_tile(now, copied, n * s / parts, n * (s + 1) / parts, packed, kc, out + t0, k0 > 0);
        }
    }

    // Rows [start, end) of `now`, at most ROWS, in place or `copied` to `wide`, for one panel of tokens.
    void project_tile(const Window<T> &now, bool copied, int64_t start, int64_t end, const float *packed, int64_t kc,
                      float *out, bool add) {
        Rows rows;
        for (int64_t i = 0; i < ROWS; i++) {
            const int64_t row = std::min(start + i, end - 1);
            rows.row[i] = wide + row * LDW;
            if constexpr (std::is_same<T, float>::value)
                if (!copied) rows.row[i] = now.row(row);
        }
        tile_of(static_cast<int>(end - start), rows, packed, static_cast<int>(kc), out + start * ldh, ldh, add, prefetcher);
    }

    // y (+)= h times the down rows; meanwhile fetches the next columns, after the last `next`.
    void add_down(int64_t n0, bool add, Window<T> next) {
        const int64_t n = std::min(nc, item.n - n0);
        for (int64_t j0 = 0; j0 < call.d; j0 += JC) {
            const int64_t width = std::min<int64_t>(JC, call.d - j0), left = std::min<int64_t>(JC, call.d - j0 - JC);
            copy_down(window(call.down, call.down_stride, n0, j0, width));
            const int64_t parts = (m + ROWS - 1) / ROWS;
            prefetcher.start(left > 0 ? window(call.down, call.down_stride, n0, j0 + JC, left) : next,
                      parts * (pad(width, W) / W) * std::max<int64_t>(n / SEGMENT, 1));
            for (int64_t j = 0; j < width; j += W)
                for (int64_t s = 0; s < parts; s++)
                    down_tile(m * s / parts, m * (s + 1) / parts, n, j0 + j, std::min<int64_t>(W, width - j),
                              down + j * NC, add);
        }
    }

    // Copy columns of the down rows as panels [NC][W], missing columns zero.
    void copy_down(const Window<T> &from) const {
        for (int64_t i = 0; i < from.rows; i++) {
            for (int64_t j = 0; j < from.width; j += W) {
                float *to = down + j * NC + i * W;
                const int64_t some = std::min<int64_t>(W, from.width - j);
                if (some == W) {
                    widen_panel(from.row(i) + j, to);
                } else {
                    widen(from.row(i) + j, to, some);
                    std::fill(to + some, to + W, 0.f);
                }
            }
        }
    }

    // Tokens [start, end), at most ROWS, of one panel of columns.
    void down_tile(int64_t start, int64_t end, int64_t n, int64_t j, int64_t width, const float *panel, bool add) {
        const int count = static_cast<int>(end - start), k = static_cast<int>(n);
        float *to = call.y + (item.start + start) * call.d + j;
        const Columns h{g + start, ldh};
        if (width == W) return tile_of(count, h, panel, k, to, call.d, add, prefetcher);
        float some[ROWS * W];
        tile_of(count, h, panel, k, some, W, false, prefetcher);
        for (int64_t i = 0; i < count; i++)
            for (int64_t c = 0; c < width; c++) to[i * call.d + c] = some[i * W + c] + (add ? to[i * call.d + c] : 0.f);
    }

    void run() {
        transpose(call.x + item.start * call.d, call.d, xt);
        const bool low_rank = item.correct && call.z;
        if (low_rank) transpose(call.z + item.start * call.r, call.r, zt);
        const int64_t kc = even_pass(call.d, KC, SEGMENT), jc = std::min<int64_t>(JC, call.d);
        for (int64_t n0 = 0; n0 < item.n; n0 += nc) {
            project(call.gate, call.gate_stride, call.d, n0, xt, g, window(call.up, call.up_stride, n0, 0, kc));
            project(call.up, call.up_stride, call.d, n0, xt, u, window(call.down, call.down_stride, n0, 0, jc));
            if (low_rank) project(call.v, call.r, call.r, n0, zt, corr, {});
            gate_rows(call, item, n0, std::min(nc, item.n - n0), mp, ldh, g, u, corr);  // h, in place of g
            add_down(n0, item.add || n0 > 0, window(call.gate, call.gate_stride, n0 + nc, 0, kc));
        }
    }
};

}  // namespace

void ENTRY(const FfnCall &call, const WorkItem &item) {
    if (call.storage == BF16) return Worker<Bf16>(call, item).run();
    if (call.storage == F16) return Worker<F16Bits>(call, item).run();
    Worker<float>(call, item).run();
}
