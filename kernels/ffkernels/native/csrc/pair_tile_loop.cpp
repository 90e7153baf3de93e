// One work item of the FFN for bfloat16 weights, multiplied in pairs with float sums. Compiled once per tile.
//
// Gate and up: X^T is packed once per work item in panels [pairs][W tokens][2]; the weight rows are the left factor and are
// read in place, or copied if the tile needs neighbours and the kept neurons are not. h is rounded once to
// bfloat16 as rows of tokens and is the left factor of the down product, whose panels interleave two down rows.
#include "ffn.h"

#include <algorithm>

#include "gate.h"
#include "prefetch.h"
#include "pairs.h"
#include "passes.h"
#include "scratch.h"
#include "vector.h"
#include TILE_HEADER

namespace {

constexpr int KC = 512;        // inputs per pass: KC x W pairs of X^T fit in L1
constexpr int LDW = KC + 32;   // row stride of copied weights, off the power of two
constexpr int NC = 256;        // neurons per pass
constexpr int LDH = NC + 32;   // row stride of h
constexpr int JC = 4 * W;      // columns of the down rows interleaved at a time

struct Place {
    const uint16_t *at;
    int64_t ld;
};

template <class Tile>
struct Worker {
    static constexpr int ROWS = Tile::ROWS;
    const FfnCall &call;
    const WorkItem &item;
    int64_t m, mp, ldg;  // tokens, padded to panels of W, row stride of gate and up results
    int64_t nc;          // neurons of a pass
    float *g, *u, *corr, *edge;
    uint16_t *xt, *zt, *copy, *h, *down;
    Prefetcher<uint16_t> prefetcher;

    Worker(const FfnCall &c, const WorkItem &i) : call(c), item(i), m(i.end - i.start) {
        mp = pad(m, W);
        ldg = mp + 16;
        nc = even_pass(item.n, NC, 32);
        const int64_t fix = item.correct && call.z ? 1 : 0, rows = pad(NC, ROWS);
        const int64_t floats[] = {rows * ldg, rows * ldg, fix * rows * ldg, ROWS * W};
        const int64_t halves[] = {mp * pad(call.d, 32), fix * mp * pad(call.r, 32), rows * LDW, pad(mp, ROWS) * LDH, NC * JC};
        float **float_parts[] = {&g, &u, &corr, &edge};
        uint16_t **half_parts[] = {&xt, &zt, &copy, &h, &down};
        int64_t total = 0;
        for (int64_t s : floats) total += pad(s, 16);
        for (int64_t s : halves) total += pad(s, 32) / 2;
        static thread_local Scratch scratch;
        float *at = scratch.take(total);
        for (int i = 0; i < 4; i++) {
            *float_parts[i] = at;
            at += pad(floats[i], 16);
        }
        for (int i = 0; i < 5; i++) {
            *half_parts[i] = reinterpret_cast<uint16_t *>(at);
            at += pad(halves[i], 32) / 2;
        }
    }

    Window<uint16_t> window(const void *w, int64_t ld, int64_t n0, int64_t column, int64_t width) const {
        const int64_t rows = std::max<int64_t>(0, std::min(nc, item.n - n0));
        return {static_cast<const uint16_t *>(w), ld, item.kept, item.kept ? n0 : item.base + n0, rows, column, width};
    }

    // src [m, d] -> dst: passes of KC inputs, in each the panels [pairs][W][2]; missing tokens and inputs are zero.
    void pack(const float *src, int64_t d, uint16_t *dst) const {
        const int64_t pass = even_pass(d, KC, 32);
        for (int64_t k0 = 0; k0 < d; k0 += pass) {
            const int64_t kc = std::min(pass, d - k0);
            for (int64_t t0 = 0; t0 < mp; t0 += W, dst += pad(kc, 32) * W)
                for (int64_t k = 0; k < kc; k += 32)
                    for (int64_t t = 0; t < W; t += 16)
                        pack_tokens(src + (t0 + t) * d + k0 + k, d, m - t0 - t, kc - k, dst + k * W + t * 2);
        }
    }

    // Whether the tile can read row i of `now` in place: no input is missing, and the rows of its block exist and
    // are neighbours.
    bool in_place(const Window<uint16_t> &now, int64_t i) const {
        if (now.width % 32) return false;
        if (Tile::BLOCK == 1) return true;
        const bool neighbours = !item.kept || call.group % Tile::BLOCK == 0;
        return neighbours && i / Tile::BLOCK * Tile::BLOCK + Tile::BLOCK <= now.rows;
    }

    void copy_rows(const Window<uint16_t> &now) const {
        for (int64_t i = 0; i < now.rows; i++) {
            if (in_place(now, i)) continue;
            uint16_t *to = copy + i * LDW;
            std::memcpy(to, now.row(i), now.width * 2);
            std::memset(to + now.width, 0, (pad(now.width, 32) - now.width) * 2);
        }
    }

    // out [n][tokens] = rows of w times the packed tokens; meanwhile fetches the next inputs, after the last `next`.
    void project(const void *w, int64_t ld, int64_t d, int64_t n0, const uint16_t *packed, float *out,
                 const Window<uint16_t> &next) {
        const int64_t pass = even_pass(d, KC, 32);
        if (d == 0) std::fill(out, out + NC * ldg, 0.f);
        for (int64_t k0 = 0; k0 < d; k0 += pass) {
            const int64_t kc = std::min(pass, d - k0), left = std::min(pass, d - k0 - pass);
            const int64_t whole = pad(kc, 32);
            const Window<uint16_t> now = window(w, ld, n0, k0, kc);
            copy_rows(now);
            prefetcher.start(left > 0 ? window(w, ld, n0, k0 + pass, left) : next, pad(now.rows, ROWS) / ROWS * (mp / W) * whole / 32);
            for (int64_t t0 = 0; t0 < mp; t0 += W, packed += whole * W)
                for (int64_t i = 0; i < now.rows; i += ROWS) {
                    const int count = static_cast<int>(std::min<int64_t>(ROWS, now.rows - i));
                    const auto row = [&](int j) {
                        const bool there = i + j < now.rows && in_place(now, i + j);
                        return there ? Place{now.row(i + j), ld} : Place{copy + (i + j) * LDW, LDW};
                    };
                    Tile::run(count, Tile::left(row, count), packed, static_cast<int>(whole), out + i * ldg + t0, ldg,
                              k0 > 0, prefetcher);
                }
        }
    }

    // h = act(g) * u - correction, rounded, as rows of tokens; neurons up to the next multiple of 32 are zero.
    void gate(int64_t n0, int64_t n) {
        gate_rows(call, item, n0, n, mp, ldg, g, u, corr);
        for (int64_t i = 0; i < n; i += 32)
            for (int64_t t = 0; t < mp; t += 16) pack_neurons(g + i * ldg + t, ldg, n - i, h + t * LDH + i, LDH);
    }

    // y (+)= h times the down rows; meanwhile fetches the next columns, after the last `next`.
    void add_down(int64_t n0, bool add, const Window<uint16_t> &next) {
        const int64_t parts = (m + ROWS - 1) / ROWS, share = pad((m + parts - 1) / parts, Tile::BLOCK);
        for (int64_t j0 = 0; j0 < call.d; j0 += JC) {
            const int64_t width = std::min<int64_t>(JC, call.d - j0), left = std::min<int64_t>(JC, call.d - j0 - JC);
            const Window<uint16_t> now = window(call.down, call.down_stride, n0, j0, width);
            const int64_t whole = pad(now.rows, 32);
            interleave(now, whole);
            prefetcher.start(left > 0 ? window(call.down, call.down_stride, n0, j0 + JC, left) : next,
                      parts * (pad(width, W) / W) * whole / 32);
            for (int64_t j = 0; j < width; j += W)
                for (int64_t t = 0; t < m; t += share)
                    down_tile(t, std::min(share, m - t), whole, j0 + j, std::min<int64_t>(W, width - j), down + j * NC, add);
        }
    }

    // Columns of the down rows as panels [NC / 2][W][2]; missing columns and neurons are zero.
    void interleave(const Window<uint16_t> &from, int64_t whole) const {
        for (int64_t i = 0; i < whole; i += 2) {
            const uint16_t *even = i < from.rows ? from.row(i) : nullptr, *odd = i + 1 < from.rows ? from.row(i + 1) : nullptr;
            for (int64_t j = 0; j < from.width; j += W)
                pack_rows(even ? even + j : even, odd ? odd + j : odd, from.width - j, down + j * NC + i * W);
        }
    }

    // `count` tokens from t of one panel of columns; what a tile writes beyond them goes to `edge`.
    void down_tile(int64_t t, int64_t count, int64_t n, int64_t j, int64_t width, const uint16_t *panel, bool add) {
        float *to = call.y + (item.start + t) * call.d + j;
        const auto row = [&](int i) { return Place{h + (t + i) * LDH, LDH}; };
        const auto a = Tile::left(row, static_cast<int>(count));
        if (width == W && (count == ROWS || !Tile::WHOLE))
            return Tile::run(static_cast<int>(count), a, panel, static_cast<int>(n), to, call.d, add, prefetcher);
        Tile::run(static_cast<int>(count), a, panel, static_cast<int>(n), edge, W, false, prefetcher);
        for (int64_t i = 0; i < count; i++)
            for (int64_t c = 0; c < width; c++) to[i * call.d + c] = edge[i * W + c] + (add ? to[i * call.d + c] : 0.f);
    }

    void run() {
        Tile::begin();
        pack(call.x + item.start * call.d, call.d, xt);
        const bool low_rank = item.correct && call.z;
        if (low_rank) pack(call.z + item.start * call.r, call.r, zt);
        const int64_t kc = even_pass(call.d, KC, 32), jc = std::min<int64_t>(JC, call.d);
        for (int64_t n0 = 0; n0 < item.n; n0 += nc) {
            project(call.gate, call.gate_stride, call.d, n0, xt, g, window(call.up, call.up_stride, n0, 0, kc));
            project(call.up, call.up_stride, call.d, n0, xt, u, window(call.down, call.down_stride, n0, 0, jc));
            if (low_rank) project(call.v, call.r, call.r, n0, zt, corr, {});
            gate(n0, std::min(nc, item.n - n0));
            add_down(n0, item.add || n0 > 0, window(call.gate, call.gate_stride, n0 + nc, 0, kc));
        }
        Tile::end();
    }
};

}  // namespace

void ENTRY(const FfnCall &call, const WorkItem &item) { Worker<TILE>(call, item).run(); }
