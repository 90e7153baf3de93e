// What register tiles have in common whose left rows may be anywhere in memory: no two share a stride.
#pragma once
#include <cstdint>

namespace {

// `Tile` has tile<M>: the sums of exactly M left rows, 1 to MOST. In: left and right factors; Out: sums.
template <class Tile, class In, class Out, int MOST>
struct RowTile {
    static constexpr int ROWS = MOST;
    static constexpr int BLOCK = 1;  // rows that must share a stride

    struct Left {
        const In *row[MOST];
    };
    // `row(i)` gives place and stride of row i of a tile.
    template <class Row>
    static Left left(const Row &row, int count) {
        Left a;
        for (int i = 0; i < MOST; i++) a.row[i] = row(i < count ? i : count - 1).at;
        return a;
    }
    static void begin() {}
    static void end() {}

    // c[m][W] = or += a [m][k] times b, a panel of k inputs; k a multiple of the tile's step.
    template <int M = MOST, class Prefetcher>
    static void run(int m, const Left &a, const In *b, int k, Out *c, int64_t ldc, bool add, Prefetcher &prefetcher) {
        if constexpr (M > 1) {
            if (m < M) return run<M - 1>(m, a, b, k, c, ldc, add, prefetcher);
        }
        Tile::template tile<M>(a, b, k, c, ldc, add, prefetcher);
    }
};

}  // namespace
