// One piece of the FFN. Compiled once per instruction set with LANES, ROWS and PIECE defined.
//
// Gate and up: X^T is packed once per piece, panels of W tokens; ROWS gathered weight rows are copied to the L1
// cache and broadcast. Down: h is broadcast, panels of W columns of the gathered rows are the vectors.
#include "ffn.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "tile.h"

namespace {

constexpr int KC = 256;                  // inputs per pass: KC x W floats of X^T and ROWS x KC of W fit in L1
constexpr int LDW = KC + 16;             // row stride of the copied weights, off the power of two
constexpr int NC = 252 / ROWS * ROWS;    // neurons per pass: their h stays in L2
constexpr int JC = 4 * W;                // columns of the down rows copied at a time

int64_t pad(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Scratch memory of one thread; grows, and is reused by later calls.
struct Scratch {
    float *base = nullptr;
    size_t size = 0;
    ~Scratch() { std::free(base); }
    float *take(size_t floats) {
        if (floats > size) {
            std::free(base);
            size = pad(floats, 1 << 19);
            base = static_cast<float *>(std::aligned_alloc(1 << 21, size * 4));
            if (!base) throw std::bad_alloc();
        }
        return base;
    }
};

struct Worker {
    const FfnCall &q;
    const Piece &p;
    int64_t m, panels, mp;  // tokens, panels of W tokens, padded tokens
    float *xt, *zt, *g, *u, *corr, *h, *rows, *down;

    Worker(const FfnCall &call, const Piece &piece) : q(call), p(piece), m(piece.end - piece.start) {
        panels = (m + W - 1) / W;
        mp = panels * W;
        const int64_t sizes[] = {mp * q.d, p.correct ? mp * q.r : 0, NC * mp, NC * mp, p.correct ? NC * mp : 0,
                                 NC * pad(m, ROWS), ROWS * LDW, NC * JC};
        float **parts[] = {&xt, &zt, &g, &u, &corr, &h, &rows, &down};
        int64_t total = 0;
        for (int64_t s : sizes) total += pad(s, 16);
        static thread_local Scratch scratch;
        float *at = scratch.take(total);
        for (int i = 0; i < 8; i++) {
            *parts[i] = at;
            at += pad(sizes[i], 16);
        }
    }

    int64_t neuron(int64_t i) const { return p.kept ? p.kept[i] : i; }

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
    void project(const float *w, int64_t ld, int64_t d, int64_t n0, int64_t n, const float *packed, float *out) {
        if (d == 0) std::fill(out, out + NC * mp, 0.f);
        for (int64_t k0 = 0; k0 < d; k0 += KC, packed += KC * mp) {
            const int64_t kc = std::min<int64_t>(KC, d - k0);
            for (int64_t i0 = 0; i0 < n; i0 += ROWS) {
                const int count = static_cast<int>(std::min<int64_t>(ROWS, n - i0));
                for (int i = 0; i < count; i++)
                    std::memcpy(rows + i * LDW, w + neuron(n0 + i0 + i) * ld + k0, kc * 4);
                for (int64_t t = 0; t < panels; t++) {
                    for (int64_t i = t; i < ROWS && i0 + ROWS + i < n; i += panels)
                        prefetch(w + neuron(n0 + i0 + ROWS + i) * ld + k0, kc);
                    tile_of<LDW, 1>(count, rows, packed + t * kc * W, kc, out + (t * NC + i0) * W, W, k0 > 0);
                }
            }
        }
    }

    static void prefetch(const float *at, int64_t floats) {
        for (int64_t k = 0; k < floats; k += 16) __builtin_prefetch(at + k, 0, 2);
    }

    // h = act(g) * u - correction, repacked to [token / ROWS][NC][ROWS] for the broadcasts of the down product.
    void gate(int64_t n0, int64_t n) {
        for (int64_t t0 = 0; t0 < m; t0 += LANES) {
            const int64_t lanes = std::min<int64_t>(LANES, m - t0), base = (t0 / W * NC) * W + t0 % W;
            for (int64_t i = 0; i < n; i++) {
                vf value = activate(q.activation, load(g + base + i * W)) * load(u + base + i * W);
                if (p.correct && q.z) value -= load(corr + base + i * W);
                if (p.correct && q.c) value -= q.c[neuron(n0 + i)];
                for (int64_t t = 0; t < lanes; t++) {
                    const int64_t token = t0 + t;
                    h[(token / ROWS * NC + i) * ROWS + token % ROWS] = value[t];
                }
            }
        }
    }

    // Copy columns j0..j0+width of the down rows as panels [NC][W], missing columns zero.
    void copy_down(int64_t n0, int64_t n, int64_t j0, int64_t width) {
        for (int64_t i = 0; i < n; i++) {
            const float *from = q.down + neuron(n0 + i) * q.ldd + j0;
            for (int64_t j = 0; j < width; j += W) {
                float *to = down + j * NC + i * W;
                const int64_t part = std::min<int64_t>(W, width - j);
                if (part == W) {
                    store(to, load(from + j));
                    store(to + LANES, load(from + j + LANES));
                } else {
                    std::fill(std::copy(from + j, from + j + part, to), to + W, 0.f);
                }
            }
        }
    }

    // y += h times the down rows n0..n0+n.
    void add_down(int64_t n0, int64_t n, bool add) {
        for (int64_t j0 = 0; j0 < q.d; j0 += JC) {
            const int64_t width = std::min<int64_t>(JC, q.d - j0);
            copy_down(n0, n, j0, width);
            const int64_t calls = pad(width, W) / W * ((m + ROWS - 1) / ROWS);
            int64_t call = 0;
            for (int64_t j = 0; j < width; j += W) {
                for (int64_t t = 0; t < m; t += ROWS, call++) {
                    if (j0 + JC < q.d)  // fetch the next columns of this call's share of the rows
                        for (int64_t i = n * call / calls; i < n * (call + 1) / calls; i++)
                            prefetch(q.down + neuron(n0 + i) * q.ldd + j0 + JC, std::min<int64_t>(JC, q.d - j0 - JC));
                    down_tile(t, n, j0 + j, std::min<int64_t>(W, width - j), down + j * NC, add);
                }
            }
        }
    }

    void down_tile(int64_t t, int64_t n, int64_t j, int64_t width, const float *panel, bool add) const {
        const int count = static_cast<int>(std::min<int64_t>(ROWS, m - t));
        float *to = q.y + (p.start + t) * q.d + j;
        const float *from = h + t * NC;
        if (width == W) return tile_of<1, ROWS>(count, from, panel, n, to, q.d, add);
        float part[ROWS * W];
        tile_of<1, ROWS>(count, from, panel, n, part, W, false);
        for (int i = 0; i < count; i++)
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

void PIECE(const FfnCall &call, const Piece &piece) { Worker(call, piece).run(); }
