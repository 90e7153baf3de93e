// One work item of the FFN for int8 weights with a scale per row, multiplied with int8 activations and int32 sums.
// Compiled once per tile.
//
// Activations are rounded to int8 with a scale per token: x (and z) once per work item, h once per pass over the
// neurons. The scale of a down row belongs to its neuron and is multiplied into h before that, so that a pass of the
// down product has one factor per token. Panels hold quads, [inputs / 4][W][4], as vpdpbusd and AMX tiles read them.
#include "ffn.h"

#include <algorithm>

#include "passes.h"
#include "prefetch.h"
#include "quads.h"
#include "scratch.h"
#include "vector.h"
#include TILE_HEADER

namespace {

constexpr int KC = 512;        // inputs per pass: a panel of KC x W bytes stays in L1
constexpr int LDW = KC + 64;   // row stride of copied weights, off the power of two
constexpr int NC = 256;        // neurons per pass
constexpr int LDH = NC + 64;   // row stride of h
constexpr int JC = 4 * W;      // columns of the down rows packed at a time
constexpr int STEP = 64;       // inputs are padded to whole tiles
constexpr float MOST = 127.f;  // largest magnitude of an int8 value; -128 is not used

// Bytes of a panel of `inputs` quads-padded inputs, and of the offsets behind it.
inline int64_t panel_bytes(int64_t inputs) { return inputs * W + W * 4; }

struct Place {
    const int8_t *at;
    int64_t ld;
};

template <class Tile>
struct Worker {
    static constexpr int ROWS = Tile::ROWS;
    const FfnCall &call;
    const WorkItem &item;
    int64_t m, mp, ldg;  // tokens, padded to panels of W, row stride of gate and up results
    int64_t nc;          // neurons of a pass
    int32_t *g, *u, *corr, *edge;         // [NC][ldg]; h as float takes the place of g
    float *x_scale, *z_scale, *h_scale;   // [mp]
    int8_t *xt, *zt, *copy, *h, *down, *row;
    Prefetcher<int8_t> prefetcher;

    Worker(const FfnCall &c, const WorkItem &i) : call(c), item(i), m(i.end - i.start) {
        mp = pad(m, W);
        ldg = mp + 16;
        nc = even_pass(item.n, NC, STEP);
        const int64_t fix = low_rank() ? 1 : 0, rows = pad(NC, ROWS);
        const int64_t words[] = {rows * ldg, rows * ldg, fix * rows * ldg, ROWS * W};
        const int64_t bytes[] = {panels(call.d), fix * panels(call.r), rows * LDW, pad(mp, ROWS) * LDH,
                                 JC / W * panel_bytes(NC), pad(std::max(call.d, call.r), STEP)};
        int64_t total = 3 * mp;
        for (int64_t s : words) total += pad(s, 16);
        for (int64_t s : bytes) total += pad(s, 64) / 4;
        static thread_local Scratch scratch;
        float *at = scratch.take(total);
        int32_t **word_parts[] = {&g, &u, &corr, &edge};
        int8_t **byte_parts[] = {&xt, &zt, &copy, &h, &down, &row};
        for (int k = 0; k < 4; k++) {
            *word_parts[k] = reinterpret_cast<int32_t *>(at);
            at += pad(words[k], 16);
        }
        for (int k = 0; k < 6; k++) {
            *byte_parts[k] = reinterpret_cast<int8_t *>(at);
            at += pad(bytes[k], 64) / 4;
        }
        x_scale = at, z_scale = at + mp, h_scale = at + 2 * mp;
    }

    bool low_rank() const { return item.correct && call.z; }

    // Bytes of the panels of all tokens and d inputs.
    int64_t panels(int64_t d) const {
        const int64_t pass = even_pass(d, KC, STEP);
        return mp / W * ((d + pass - 1) / pass) * panel_bytes(pass);
    }

    Window<int8_t> window(const void *w, int64_t ld, int64_t n0, int64_t column, int64_t width) const {
        const int64_t rows = std::max<int64_t>(0, std::min(nc, item.n - n0));
        return {static_cast<const int8_t *>(w), ld, item.kept, item.kept ? n0 : item.base + n0, rows, column, width};
    }

    // src [m, d] -> dst: passes of KC inputs, in each the panels of W tokens; scale [mp]. Missing tokens are zero.
    void pack(const float *src, int64_t d, int8_t *dst, float *scale) const {
        const int64_t pass = even_pass(d, KC, STEP);
        for (int64_t t = 0; t < mp; t++) {
            scale[t] = t < m ? quantize_row(src + t * d, d, pad(d, STEP), row) : 0.f;
            if (t >= m) std::memset(row, 0, pad(d, STEP));
            for (int64_t k0 = 0; k0 < d; k0 += pass) {
                const int64_t whole = pad(std::min(pass, d - k0), STEP);
                int8_t *panel = dst + mp / W * (k0 / pass) * panel_bytes(pass) + t / W * panel_bytes(whole) + t % W * 4;
                for (int64_t k = 0; k < whole; k += 4) std::memcpy(panel + k * W, row + k0 + k, 4);
            }
        }
        int8_t *panel = dst;
        for (int64_t k0 = 0; k0 < d; k0 += pass)
            for (int64_t t0 = 0; t0 < mp; t0 += W) {
                const int64_t whole = pad(std::min(pass, d - k0), STEP);
                Tile::finish(panel, whole);
                panel += panel_bytes(whole);
            }
    }

    // Whether the tile can read row i of `now` from the weights: signed bytes, no input missing, and the rows of its
    // block exist and are neighbours.
    bool in_place(const Window<int8_t> &now, int64_t i) const {
        if (Tile::UNSIGNED || now.width % STEP) return false;
        if (Tile::BLOCK == 1) return true;
        const bool neighbours = !item.kept || call.group % Tile::BLOCK == 0;
        return neighbours && i / Tile::BLOCK * Tile::BLOCK + Tile::BLOCK <= now.rows;
    }

    void copy_rows(const Window<int8_t> &now) const {
        for (int64_t i = 0; i < now.rows; i++) {
            if (in_place(now, i)) continue;
            int8_t *to = copy + i * LDW;
            const int64_t whole = pad(now.width, STEP);
            std::memcpy(to, now.row(i), now.width);
            std::memset(to + now.width, 0, whole - now.width);
            if (Tile::UNSIGNED) flip_signs(to, whole);
        }
    }

    // out [n][tokens] = rows of w times the packed tokens; meanwhile fetches the next inputs, after the last `next`.
    void project(const void *w, int64_t ld, int64_t d, int64_t n0, const int8_t *packed, int32_t *out,
                 const Window<int8_t> &next) {
        const int64_t pass = even_pass(d, KC, STEP);
        if (d == 0) std::fill(out, out + NC * ldg, 0);
        for (int64_t k0 = 0; k0 < d; k0 += pass) {
            const int64_t kc = std::min(pass, d - k0), left = std::min(pass, d - k0 - pass), whole = pad(kc, STEP);
            const Window<int8_t> now = window(w, ld, n0, k0, kc);
            copy_rows(now);
            prefetcher.start(left > 0 ? window(w, ld, n0, k0 + pass, left) : next,
                             pad(now.rows, ROWS) / ROWS * (mp / W) * whole / STEP);
            for (int64_t t0 = 0; t0 < mp; t0 += W, packed += panel_bytes(whole))
                for (int64_t i = 0; i < now.rows; i += ROWS) {
                    const int count = static_cast<int>(std::min<int64_t>(ROWS, now.rows - i));
                    const auto row_of = [&](int j) {
                        const bool there = i + j < now.rows && in_place(now, i + j);
                        return there ? Place{now.row(i + j), ld} : Place{copy + (i + j) * LDW, LDW};
                    };
                    Tile::run(count, Tile::left(row_of, count), packed, static_cast<int>(whole), out + i * ldg + t0, ldg,
                              k0 > 0, prefetcher);
                }
        }
    }

    // h = (act(g) * u - correction) * scale of the down row, as float in place of g; its largest magnitude per token.
    void gate(int64_t n0, int64_t n) {
        std::fill(h_scale, h_scale + mp, 0.f);
        for (int64_t i = 0; i < n; i++) {
            const int64_t j = item.neuron(n0 + i);
            const float shift = item.correct && call.c ? call.c[j] : 0.f;
            for (int64_t t = 0; t < mp; t += LANES) {
                const int64_t at = i * ldg + t;
                const vf tokens = load(x_scale + t);
                vf value = activate(call.activation, as_float(g + at) * tokens * call.gate_scale[j]) *
                               (as_float(u + at) * tokens * call.up_scale[j]) - shift;
                if (low_rank()) value -= as_float(corr + at) * load(z_scale + t) * call.v_scale[j];
                value *= call.down_scale[j];
                store(reinterpret_cast<float *>(g) + at, value);
                store(h_scale + t, larger(load(h_scale + t), magnitude(value)));
            }
        }
        round_h(n);
    }

    // h as int8 rows of tokens [mp][LDH] and its scale per token; neurons up to the next multiple of 64 are zero.
    void round_h(int64_t n) {
        const float *values = reinterpret_cast<float *>(g);
        for (int64_t t = 0; t < mp; t += LANES) {
            const vf top = load(h_scale + t), inverse = top > 0.f ? MOST / top : vf{};
            store(h_scale + t, top / MOST);
            for (int64_t i = 0; i < pad(n, STEP); i += 4) {
                vi quad{};
                for (int64_t b = 0; b < 4 && i + b < n; b++)
                    quad |= (rounded(load(values + (i + b) * ldg + t) * inverse) & 0xff) << static_cast<int>(8 * b);
                int32_t lanes[LANES];
                std::memcpy(lanes, &quad, sizeof lanes);
                for (int64_t k = 0; k < LANES; k++) std::memcpy(h + (t + k) * LDH + i, lanes + k, 4);
            }
            if (Tile::UNSIGNED)
                for (int64_t k = 0; k < LANES; k++) flip_signs(h + (t + k) * LDH, pad(n, STEP));
        }
    }

    // y (+)= h times the down rows; meanwhile fetches the next columns, after the last `next`.
    void add_down(int64_t n0, bool add, const Window<int8_t> &next) {
        const int64_t parts = (m + ROWS - 1) / ROWS, share = pad((m + parts - 1) / parts, Tile::BLOCK);
        for (int64_t j0 = 0; j0 < call.d; j0 += JC) {
            const int64_t width = std::min<int64_t>(JC, call.d - j0), left = std::min<int64_t>(JC, call.d - j0 - JC);
            const Window<int8_t> now = window(call.down, call.down_stride, n0, j0, width);
            const int64_t whole = pad(now.rows, STEP);
            interleave(now, whole);
            prefetcher.start(left > 0 ? window(call.down, call.down_stride, n0, j0 + JC, left) : next,
                             parts * (pad(width, W) / W) * whole / STEP);
            for (int64_t j = 0; j < width; j += W)
                for (int64_t t = 0; t < m; t += share)
                    down_tile(t, std::min(share, m - t), whole, j0 + j, std::min<int64_t>(W, width - j),
                              down + j / W * panel_bytes(whole), add);
        }
    }

    // Columns of the down rows as panels [whole / 4][W][4]; missing columns and neurons are zero.
    void interleave(const Window<int8_t> &from, int64_t whole) const {
        for (int64_t j = 0; j < from.width; j += W) {
            int8_t *panel = down + j / W * panel_bytes(whole);
            for (int64_t i = 0; i < whole; i += 4) {
                const int8_t *rows[4];
                for (int64_t b = 0; b < 4; b++) rows[b] = i + b < from.rows ? from.row(i + b) + j : nullptr;
                pack_quads(rows, std::min<int64_t>(W, from.width - j), panel + i * W);
            }
            Tile::finish(panel, whole);
        }
    }

    // `count` tokens from t of one panel of columns.
    void down_tile(int64_t t, int64_t count, int64_t n, int64_t j, int64_t width, const int8_t *panel, bool add) {
        const auto row_of = [&](int i) { return Place{h + (t + i) * LDH, LDH}; };
        const auto a = Tile::left(row_of, static_cast<int>(count));
        Tile::run(static_cast<int>(count), a, panel, static_cast<int>(n), edge, W, false, prefetcher);
        for (int64_t i = 0; i < count; i++) {
            float *to = call.y + (item.start + t + i) * call.d + j;
            const float scale = h_scale[t + i];
            if (width == W) {
                for (int k = 0; k < W; k += LANES) {
                    const vf value = as_float(edge + i * W + k) * scale;
                    store(to + k, add ? load(to + k) + value : value);
                }
            } else {
                for (int64_t k = 0; k < width; k++) to[k] = (add ? to[k] : 0.f) + scale * edge[i * W + k];
            }
        }
    }

    void run() {
        Tile::begin();
        pack(call.x + item.start * call.d, call.d, xt, x_scale);
        if (low_rank()) pack(call.z + item.start * call.r, call.r, zt, z_scale);
        const int64_t kc = even_pass(call.d, KC, STEP), jc = std::min<int64_t>(JC, call.d);
        for (int64_t n0 = 0; n0 < item.n; n0 += nc) {
            project(call.gate, call.gate_stride, call.d, n0, xt, g, window(call.up, call.up_stride, n0, 0, std::min(kc, call.d)));
            project(call.up, call.up_stride, call.d, n0, xt, u, window(call.down, call.down_stride, n0, 0, jc));
            if (low_rank()) project(call.v, call.r, call.r, n0, zt, corr, {});
            gate(n0, std::min(nc, item.n - n0));
            add_down(n0, item.add || n0 > 0, window(call.gate, call.gate_stride, n0 + nc, 0, std::min(kc, call.d)));
        }
        Tile::end();
    }
};

}  // namespace

void ENTRY(const FfnCall &call, const WorkItem &item) { Worker<TILE>(call, item).run(); }
