// One piece of the FFN. Compiled once per instruction set with LANES, ROWS and PIECE defined.
//
// Gate and up: X^T is packed once per piece, panels of W tokens; ROWS weight rows at a time are copied to the L1
// cache as floats and broadcast. Their results, h, are panels [neurons][W tokens] too, and the down product
// broadcasts them against panels of W columns of the down rows. All arithmetic is float.
#include "ffn.h"

#include <algorithm>

#include "scratch.h"
#include "storage.h"
#include "tile.h"

namespace {

constexpr int KC = 256;                // inputs per pass: KC x W floats of X^T and ROWS x KC of W fit in L1
constexpr int LDW = KC + 16;           // row stride of the copied weights, off the power of two
constexpr int NC = 252 / ROWS * ROWS;  // neurons per pass: their h stays in L2
constexpr int JC = 4 * W;              // columns of the down rows copied at a time

int64_t pad(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <class T>
void prefetch(const T *at, int64_t count) {
    const char *from = reinterpret_cast<const char *>(at);
    for (int64_t byte = 0; byte < count * static_cast<int64_t>(sizeof(T)); byte += 64)
        __builtin_prefetch(from + byte, 0, 2);
}

template <class T>
struct Worker {
    const FfnCall &q;
    const Piece &p;
    int64_t m, panels, mp;  // tokens, panels of W tokens, padded tokens
    float *xt, *zt, *g, *u, *corr, *rows, *down;

    Worker(const FfnCall &call, const Piece &piece) : q(call), p(piece), m(piece.end - piece.start) {
        panels = (m + W - 1) / W;
        mp = panels * W;
        const int64_t fix = p.correct && q.z ? 1 : 0;
        const int64_t sizes[] = {mp * q.d, fix * mp * q.r, NC * mp, NC * mp, fix * NC * mp, ROWS * LDW, NC * JC};
        float **parts[] = {&xt, &zt, &g, &u, &corr, &rows, &down};
        int64_t total = 0;
        for (int64_t s : sizes) total += pad(s, 16);
        static thread_local Scratch scratch;
        float *at = scratch.take(total);
        for (int i = 0; i < 7; i++) {
            *parts[i] = at;
            at += pad(sizes[i], 16);
        }
    }

    int64_t neuron(int64_t i) const { return p.kept ? p.kept[i] : i; }
    const T *row(const void *w, int64_t ld, int64_t i) const { return static_cast<const T *>(w) + neuron(i) * ld; }

    // src [m, d] -> dst: passes of KC inputs, in each the panels [inputs][W], missing tokens zero.
    void transpose(const float *src, int64_t d, float *dst) const {
        for (int64_t k0 = 0; k0 < d; k0 += KC) {
            const int64_t kc = std::min<int64_t>(KC, d - k0);
            for (int64_t t0 = 0; t0 < mp; t0 += W, dst += kc * W) {
                for (int64_t t = 0; t < W; t++) {
                    const float *from = src + (t0 + t) * d + k0;
                    for (int64_t k = 0; k < kc; k++) dst[k * W + t] = t0 + t < m ? from[k] : 0.f;
                }
            }
        }
    }

    // out [panel][NC][W] = rows n0..n0+n of w times the packed tokens.
    void project(const void *w, int64_t ld, int64_t d, int64_t n0, int64_t n, const float *packed, float *out) {
        if (d == 0) std::fill(out, out + NC * mp, 0.f);
        for (int64_t k0 = 0; k0 < d; k0 += KC, packed += KC * mp) {
            const int64_t kc = std::min<int64_t>(KC, d - k0);
            for (int64_t i0 = 0; i0 < n; i0 += ROWS) {
                const int count = static_cast<int>(std::min<int64_t>(ROWS, n - i0));
                for (int i = 0; i < count; i++) widen(row(w, ld, n0 + i0 + i) + k0, rows + i * LDW, kc);
                for (int64_t t = 0; t < panels; t++) {
                    for (int64_t i = t; i < ROWS && i0 + ROWS + i < n; i += panels)
                        prefetch(row(w, ld, n0 + i0 + ROWS + i) + k0, kc);
                    tile_of<LDW, 1>(count, rows, packed + t * kc * W, kc, out + (t * NC + i0) * W, W, k0 > 0);
                }
            }
        }
    }

    // h = act(g) * u - correction, in place of g.
    void gate(int64_t n0, int64_t n) {
        for (int64_t t = 0; t < panels; t++) {
            for (int64_t i = 0; i < n; i++) {
                const float shift = p.correct && q.c ? q.c[neuron(n0 + i)] : 0.f;
                for (int64_t at = (t * NC + i) * W, end = at + W; at < end; at += LANES) {
                    vf value = activate(q.activation, load(g + at)) * load(u + at) - shift;
                    if (p.correct && q.z) value -= load(corr + at);
                    store(g + at, value);
                }
            }
        }
    }

    // Copy columns j0..j0+width of the down rows as panels [NC][W], missing columns zero.
    void copy_down(int64_t n0, int64_t n, int64_t j0, int64_t width) {
        for (int64_t i = 0; i < n; i++) {
            const T *from = row(q.down, q.ldd, n0 + i) + j0;
            for (int64_t j = 0; j < width; j += W) {
                float *to = down + j * NC + i * W;
                const int64_t part = std::min<int64_t>(W, width - j);
                widen(from + j, to, part);
                std::fill(to + part, to + W, 0.f);
            }
        }
    }

    // y (+)= h times the down rows n0..n0+n.
    void add_down(int64_t n0, int64_t n, bool add) {
        for (int64_t j0 = 0; j0 < q.d; j0 += JC) {
            const int64_t width = std::min<int64_t>(JC, q.d - j0), next = std::min<int64_t>(JC, q.d - j0 - JC);
            copy_down(n0, n, j0, width);
            const int64_t calls = pad(width, W) / W * panels;
            int64_t call = 0;
            for (int64_t j = 0; j < width; j += W) {
                for (int64_t t = 0; t < panels; t++, call++) {
                    for (int64_t i = n * call / calls; next > 0 && i < n * (call + 1) / calls; i++)
                        prefetch(row(q.down, q.ldd, n0 + i) + j0 + JC, next);
                    down_panel(t, n, j0 + j, std::min<int64_t>(W, width - j), down + j * NC, add);
                }
            }
        }
    }

    // One panel of tokens, cut evenly into register tiles, against one panel of columns.
    void down_panel(int64_t t, int64_t n, int64_t j, int64_t width, const float *panel, bool add) const {
        const int64_t tokens = std::min<int64_t>(W, m - t * W), parts = (tokens + ROWS - 1) / ROWS;
        for (int64_t s = 0; s < parts; s++) {
            const int64_t first = tokens * s / parts, count = tokens * (s + 1) / parts - first;
            down_tile(t * W + first, count, g + t * NC * W + first, n, j, width, panel, add);
        }
    }

    void down_tile(int64_t t, int64_t count, const float *h, int64_t n, int64_t j, int64_t width,
                   const float *panel, bool add) const {
        float *to = q.y + (p.start + t) * q.d + j;
        if (width == W) return tile_of<1, W>(static_cast<int>(count), h, panel, static_cast<int>(n), to, q.d, add);
        float part[ROWS * W];
        tile_of<1, W>(static_cast<int>(count), h, panel, static_cast<int>(n), part, W, false);
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < width; k++) to[i * q.d + k] = part[i * W + k] + (add ? to[i * q.d + k] : 0.f);
    }

    void run() {
        transpose(q.x + p.start * q.d, q.d, xt);
        const bool low_rank = p.correct && q.z;
        if (low_rank) transpose(q.z + p.start * q.r, q.r, zt);
        for (int64_t n0 = 0; n0 < p.n; n0 += NC) {
            const int64_t n = std::min<int64_t>(NC, p.n - n0);
            project(q.gate, q.ldg, q.d, n0, n, xt, g);
            project(q.up, q.ldu, q.d, n0, n, xt, u);
            if (low_rank) project(q.v, q.r, q.r, n0, n, zt, corr);
            gate(n0, n);
            add_down(n0, n, p.add || n0 > 0);
        }
    }
};

}  // namespace

void PIECE(const FfnCall &call, const Piece &piece) {
    if (call.storage == BF16) return Worker<Bf16>(call, piece).run();
    if (call.storage == F16) return Worker<F16Bits>(call, piece).run();
    Worker<float>(call, piece).run();
}
