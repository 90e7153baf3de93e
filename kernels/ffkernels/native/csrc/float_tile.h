// The register tile of the float arithmetic: up to ROWS x 2 accumulators of LANES floats.
// GCC and clang vector extensions: the same text gives AVX2 and AVX-512 code.
#pragma once
#include "vector.h"

namespace {

constexpr int SEGMENT = 16;  // steps of the sum between two looks at the prefetcher

// The left factor of a tile, element (i, p): ROWS rows anywhere in memory, or columns of one array.
struct Rows {
    const float *row[ROWS];
    float at(int i, int p) const { return row[i][p]; }
};
struct Columns {
    const float *base;
    int64_t stride;
    float at(int i, int p) const { return base[p * stride + i]; }
};

// c[M][W] (row stride ldc) = or += sum over p < k of a(i, p) * b[p][W]; `prefetcher` fetches later operands meanwhile.
template <int M, class Left, class Prefetcher>
inline void tile(const Left &a, const float *b, int k, float *c, int64_t ldc, bool add, Prefetcher &prefetcher) {
    vf s[M][2];
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
        s[i][0] = s[i][1] = vf{};
        if (add) {
            __builtin_prefetch(c + i * ldc, 1, 3);
            __builtin_prefetch(c + i * ldc + W - 1, 1, 3);
        }
    }
    const auto steps = [&](int from, int to) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int p = from; p < to; p++) {
            const vf b0 = load(b + p * W), b1 = load(b + p * W + LANES);
#pragma GCC unroll 16
            for (int i = 0; i < M; i++) {
                const float w = a.at(i, p);
                s[i][0] += w * b0;
                s[i][1] += w * b1;
            }
        }
    };
    int p = 0;
    for (; p + SEGMENT <= k; p += SEGMENT) {
        prefetcher.step();
        steps(p, p + SEGMENT);
    }
    steps(p, k);
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
        float *to = c + i * ldc;
        store(to, add ? s[i][0] + load(to) : s[i][0]);
        store(to + LANES, add ? s[i][1] + load(to + LANES) : s[i][1]);
    }
}

// The same for m <= ROWS rows known at run time only.
template <int M = ROWS, class Left, class Prefetcher>
inline void tile_of(int m, const Left &a, const float *b, int k, float *c, int64_t ldc, bool add, Prefetcher &prefetcher) {
    if constexpr (M > 1) {
        if (m < M) return tile_of<M - 1>(m, a, b, k, c, ldc, add, prefetcher);
    }
    tile<M>(a, b, k, c, ldc, add, prefetcher);
}

}  // namespace
