// Transpose of 16 x 16 lanes of 32 bits in AVX-512 registers.
#pragma once
#include <immintrin.h>

namespace {

// Transpose 16 rows of 16 lanes: four rounds that swap lanes whose row and column differ in one bit.
inline void transpose16(__m512i *r) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#pragma GCC unroll 4
    for (int bit = 1; bit < 16; bit *= 2) {
        const __m512i flip = _mm512_set1_epi32(bit), other = _mm512_set1_epi32(16);
        const __mmask16 high = _mm512_test_epi32_mask(lane, flip);
        const __m512i low_from = _mm512_mask_add_epi32(lane, high, _mm512_xor_si512(lane, flip), other);
        const __m512i high_from = _mm512_mask_add_epi32(_mm512_or_si512(lane, flip), high, lane, other);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            if (i & bit) continue;
            const __m512i a = r[i], b = r[i | bit];
            r[i] = _mm512_permutex2var_epi32(a, low_from, b);
            r[i | bit] = _mm512_permutex2var_epi32(a, high_from, b);
        }
    }
}

}  // namespace
