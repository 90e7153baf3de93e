// Register tile of AVX512-VNNI for int8: vpdpbusd multiplies unsigned with signed bytes, so left rows are stored plus
// 128, and sums begin at -128 times the sum of the panel's column, which `finish` writes behind the panel.
#pragma once
#include "quads.h"
#include "row_tile.h"

namespace {

// b is [k / 4][W][4]; k a multiple of 64. 28 sums, 2 token vectors and the weights: 31 of 32 registers.
struct VnniTile : RowTile<VnniTile, int8_t, int32_t, 14> {
    static constexpr bool UNSIGNED = true;  // left rows are unsigned bytes: the value plus 128

    // Write the offsets behind a panel of k inputs.
    static void finish(int8_t *panel, int64_t k) {
        const __m512i shift = _mm512_set1_epi8(static_cast<char>(128));
        __m512i s[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (int64_t p = 0; p < k; p += 4)
            for (int half = 0; half < 2; half++)
                s[half] = _mm512_dpbusd_epi32(s[half], shift, _mm512_loadu_si512(panel + p * W + 64 * half));
        for (int half = 0; half < 2; half++)
            _mm512_storeu_si512(panel + k * W + 64 * half, _mm512_sub_epi32(_mm512_setzero_si512(), s[half]));
    }

    template <int M, class Prefetcher>
    static void tile(const Left &a, const int8_t *b, int k, int32_t *c, int64_t ldc, bool add, Prefetcher &prefetcher) {
        const int8_t *offsets = b + static_cast<int64_t>(k) * W;
        __m512i s[M][2];
#pragma GCC unroll 16
        for (int i = 0; i < M; i++) {
            s[i][0] = _mm512_loadu_si512(offsets);
            s[i][1] = _mm512_loadu_si512(offsets + 64);
        }
        for (int p0 = 0; p0 < k; p0 += 64) {
            prefetcher.step();
#pragma GCC unroll 4
            for (int p = p0; p < p0 + 64; p += 4) {
                const __m512i b0 = _mm512_loadu_si512(b + p * W), b1 = _mm512_loadu_si512(b + p * W + 64);
#pragma GCC unroll 16
                for (int i = 0; i < M; i++) {
                    int32_t quad;
                    std::memcpy(&quad, a.row[i] + p, 4);
                    const __m512i w = _mm512_set1_epi32(quad);
                    s[i][0] = _mm512_dpbusd_epi32(s[i][0], w, b0);
                    s[i][1] = _mm512_dpbusd_epi32(s[i][1], w, b1);
                }
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < M; i++) {
            for (int half = 0; half < 2; half++) {
                int32_t *to = c + i * ldc + 16 * half;
                _mm512_storeu_si512(to, add ? _mm512_add_epi32(s[i][half], _mm512_loadu_si512(to)) : s[i][half]);
            }
        }
    }
};

}  // namespace
