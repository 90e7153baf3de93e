// bfloat16 in pairs: rounding, and the layout [pairs][W][2] that vdpbf16ps and AMX tiles share.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "transpose.h"
#include "vector.h"

namespace {

// Round 16 floats to bfloat16, nearest even, NaN stays NaN; in the low half of each 32-bit lane.
inline __m512i round_bf16(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, _mm512_set1_epi32(0x7fc0));
}

// 32 floats, or the first `count` of them and zeros, as 16 pairs of bfloat16.
inline __m512i pairs_of(const float *from, int64_t count) {
    const __mmask16 first = count >= 16 ? 0xffff : (1u << count) - 1;
    const __mmask16 second = count >= 32 ? 0xffff : count > 16 ? (1u << (count - 16)) - 1 : 0;
    const __m256i a = _mm512_cvtepi32_epi16(round_bf16(_mm512_maskz_loadu_ps(first, from)));
    const __m256i b = _mm512_cvtepi32_epi16(round_bf16(_mm512_maskz_loadu_ps(second, from + 16)));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

// src [16 tokens][count <= 32 inputs], row stride ld, of which `tokens` rows exist -> 16 pairs of half a panel.
inline void pack_tokens(const float *src, int64_t ld, int64_t tokens, int64_t count, uint16_t *panel) {
    __m512i r[16];
    for (int i = 0; i < 16; i++) r[i] = i < tokens ? pairs_of(src + i * ld, count) : _mm512_setzero_si512();
    transpose16(r);
    for (int i = 0; i < 16; i++) _mm512_storeu_si512(panel + i * 2 * W, r[i]);
}

// h of 32 neurons (`count` exist, the others are zero) x 16 tokens, [neurons][ld] floats -> [16 tokens][to_ld].
inline void pack_neurons(const float *h, int64_t ld, int64_t count, uint16_t *to, int64_t to_ld) {
    __m512i r[16];
    for (int i = 0; i < 16; i++) {
        const __m512i even = 2 * i < count ? round_bf16(_mm512_loadu_ps(h + 2 * i * ld)) : _mm512_setzero_si512();
        const __m512i odd = 2 * i + 1 < count ? round_bf16(_mm512_loadu_ps(h + (2 * i + 1) * ld)) : _mm512_setzero_si512();
        r[i] = _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
    }
    transpose16(r);
    for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + i * to_ld, r[i]);
}

// Interleave `count` <= W columns of two rows (null: zeros) into [W][2]; missing columns are zero.
inline void pack_rows(const uint16_t *even, const uint16_t *odd, int64_t count, uint16_t *to) {
    const __mmask32 some = count >= W ? 0xffffffffu : (1u << count) - 1;
    const __m512i a = even ? _mm512_maskz_loadu_epi16(some, even) : _mm512_setzero_si512();
    const __m512i b = odd ? _mm512_maskz_loadu_epi16(some, odd) : _mm512_setzero_si512();
    const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);  // within 128-bit quarters
    const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi64(low, first, high));
    _mm512_storeu_si512(to + W, _mm512_permutex2var_epi64(low, second, high));
}

}  // namespace
