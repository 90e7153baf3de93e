// int8 in quads: rounding with a scale, and the layout [quads][W][4] that vpdpbusd, vpmaddubsw and AMX tiles share.
#pragma once
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "vector.h"

namespace {

inline vf as_float(const int32_t *from) {
    vi v;
    std::memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, vf);
}
inline vf magnitude(vf x) { return x < 0.f ? -x : x; }
inline vf larger(vf a, vf b) { return a > b ? a : b; }
// Nearest integers, ties to even, of |x| < 2^22: the constant pushes the fraction out of the significand.
inline vi rounded(vf x) { return __builtin_convertvector((x + 12582912.f) - 12582912.f, vi); }

// Round n floats to int8 with one scale; zeros up to `whole`. Returns the scale: the largest magnitude over 127.
inline float quantize_row(const float *from, int64_t n, int64_t whole, int8_t *to) {
    const int64_t vectors = n / LANES * LANES;
    vf largest{};
    for (int64_t k = 0; k < vectors; k += LANES) largest = larger(largest, magnitude(load(from + k)));
    float top = 0.f;
    for (int64_t k = 0; k < LANES; k++) top = std::max(top, largest[k]);
    for (int64_t k = vectors; k < n; k++) top = std::max(top, std::fabs(from[k]));
    const float inverse = top > 0.f ? 127.f / top : 0.f;
    for (int64_t k = 0; k < vectors; k += LANES) {
        const vi whole_numbers = rounded(load(from + k) * inverse);
        for (int64_t i = 0; i < LANES; i++) to[k + i] = static_cast<int8_t>(whole_numbers[i]);
    }
    for (int64_t k = vectors; k < n; k++) to[k] = static_cast<int8_t>((from[k] * inverse + 12582912.f) - 12582912.f);
    std::memset(to + n, 0, whole - n);
    return top / 127.f;
}

// int8 values plus 128 as unsigned bytes, in place; n a multiple of 8.
inline void flip_signs(int8_t *bytes, int64_t n) {
    for (int64_t k = 0; k < n; k += 8) {
        uint64_t eight;
        std::memcpy(&eight, bytes + k, 8);
        eight ^= 0x8080808080808080u;
        std::memcpy(bytes + k, &eight, 8);
    }
}

// 16 bytes, or the first `count` of them and zeros; null gives zeros.
inline __m128i sixteen(const int8_t *from, int64_t count) {
    if (!from || count <= 0) return _mm_setzero_si128();
    if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    alignas(16) int8_t some[16] = {};
    std::memcpy(some, from, count);
    return _mm_load_si128(reinterpret_cast<const __m128i *>(some));
}

// Interleave `count` <= W columns of four rows (null: zeros) into [W][4]; missing columns are zero.
inline void pack_quads(const int8_t *const *rows, int64_t count, int8_t *to) {
    for (int64_t j = 0; j < W; j += 16) {
        __m128i r[4];
        for (int b = 0; b < 4; b++) r[b] = sixteen(rows[b] ? rows[b] + j : nullptr, count - j);
        const __m128i low01 = _mm_unpacklo_epi8(r[0], r[1]), high01 = _mm_unpackhi_epi8(r[0], r[1]);
        const __m128i low23 = _mm_unpacklo_epi8(r[2], r[3]), high23 = _mm_unpackhi_epi8(r[2], r[3]);
        __m128i *out = reinterpret_cast<__m128i *>(to + 4 * j);
        _mm_storeu_si128(out, _mm_unpacklo_epi16(low01, low23));
        _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(low01, low23));
        _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(high01, high23));
        _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(high01, high23));
    }
}

}  // namespace
