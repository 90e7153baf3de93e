// Register tile of AVX2 for int8: vpmaddubsw multiplies unsigned with signed bytes, so the token takes its magnitude
// and the weight the token's sign. Neither is -128, so a pair of products is at most 2 * 127 * 127 < 2^15: exact.
#pragma once
#include "quads.h"
#include "row_tile.h"

namespace {

// b is [k / 4][W][4]; k a multiple of 64. 8 sums, 4 token vectors and 4 temporaries fill 16 registers.
struct MaddubsTile : RowTile<MaddubsTile, int8_t, int32_t, 4> {
    static constexpr bool UNSIGNED = false;  // left rows are signed bytes

    static void finish(int8_t *, int64_t) {}

    static __m256i products(__m256i magnitude, __m256i tokens, __m256i weight) {
        return _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(weight, tokens)), _mm256_set1_epi16(1));
    }

    template <int M, class Prefetcher>
    static void tile(const Left &a, const int8_t *b, int k, int32_t *c, int64_t ldc, bool add, Prefetcher &prefetcher) {
        __m256i s[M][2];
#pragma GCC unroll 4
        for (int i = 0; i < M; i++) s[i][0] = s[i][1] = _mm256_setzero_si256();
        for (int p = 0; p < k; p += 4) {
            if (p % 64 == 0) prefetcher.step();
            const __m256i b0 = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(b + p * W));
            const __m256i b1 = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(b + p * W + 32));
            const __m256i m0 = _mm256_abs_epi8(b0), m1 = _mm256_abs_epi8(b1);
#pragma GCC unroll 4
            for (int i = 0; i < M; i++) {
                int32_t quad;
                std::memcpy(&quad, a.row[i] + p, 4);
                const __m256i w = _mm256_set1_epi32(quad);
                s[i][0] = _mm256_add_epi32(s[i][0], products(m0, b0, w));
                s[i][1] = _mm256_add_epi32(s[i][1], products(m1, b1, w));
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < M; i++) {
            for (int half = 0; half < 2; half++) {
                __m256i *to = reinterpret_cast<__m256i *>(c + i * ldc + 8 * half);
                _mm256_storeu_si256(to, add ? _mm256_add_epi32(s[i][half], _mm256_loadu_si256(to)) : s[i][half]);
            }
        }
    }
};

}  // namespace
