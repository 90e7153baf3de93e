// Register tile of AVX512-BF16: ROWS x W sums of bfloat16 pairs, rows of the left factor broadcast pair by pair.
#pragma once
#include "pairs.h"
#include "row_tile.h"

namespace {

// b is [k / 2][W][2]; k a multiple of 32.
struct DotTile : RowTile<DotTile, uint16_t, float, 14> {
    static constexpr bool WHOLE = false;  // writes the rows that exist only

    template <int M, class Prefetcher>
    static void tile(const Left &a, const uint16_t *b, int k, float *c, int64_t ldc, bool add, Prefetcher &prefetcher) {
        __m512 s[M][2];
#pragma GCC unroll 16
        for (int i = 0; i < M; i++) s[i][0] = s[i][1] = _mm512_setzero_ps();
        for (int p0 = 0; p0 < k; p0 += 32) {
            prefetcher.step();
#pragma GCC unroll 4
            for (int p = p0; p < p0 + 32; p += 2) {
                const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b + p * W);
                const __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + p * W + W);
#pragma GCC unroll 16
                for (int i = 0; i < M; i++) {
                    int32_t pair;
                    std::memcpy(&pair, a.row[i] + p, 4);
                    const __m512bh w = (__m512bh)_mm512_set1_epi32(pair);
                    s[i][0] = _mm512_dpbf16_ps(s[i][0], w, b0);
                    s[i][1] = _mm512_dpbf16_ps(s[i][1], w, b1);
                }
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < M; i++) {
            float *to = c + i * ldc;
            _mm512_storeu_ps(to, add ? _mm512_add_ps(s[i][0], _mm512_loadu_ps(to)) : s[i][0]);
            _mm512_storeu_ps(to + 16, add ? _mm512_add_ps(s[i][1], _mm512_loadu_ps(to + 16)) : s[i][1]);
        }
    }
};

}  // namespace
