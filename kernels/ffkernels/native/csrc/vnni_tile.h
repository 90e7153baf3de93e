// Register tile of AVX512-VNNI for int8: vpdpbusd multiplies unsigned with signed bytes, so left rows are stored plus
// 128, and sums begin at -128 times the sum of the panel's column, which `finish` writes behind the panel.
#pragma once
#include "quads.h"

namespace {

struct VnniTile {
    static constexpr int ROWS = 14;          // 28 sums, 2 token vectors and the weights: 31 of 32 registers
    static constexpr bool UNSIGNED = true;   // left rows are unsigned bytes: the value plus 128
    static constexpr int BLOCK = 1;          // rows that must share a stride

    struct Left {
        const int8_t *row[ROWS];
    };
    template <class Row>
    static Left left(const Row &row, int count) {
        Left a;
        for (int i = 0; i < ROWS; i++) a.row[i] = row(i < count ? i : count - 1).at;
        return a;
    }
    static void begin() {}
    static void end() {}

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

    // c[m][W] = or += a [m][k] times b [k / 4][W][4]; k a multiple of 64.
    template <int M = ROWS, class Prefetcher>
    static void run(int m, const Left &a, const int8_t *b, int k, int32_t *c, int64_t ldc, bool add,
                    Prefetcher &prefetcher) {
        if constexpr (M > 1) {
            if (m < M) return run<M - 1>(m, a, b, k, c, ldc, add, prefetcher);
        }
        tile<M>(a, b, k, c, ldc, add, prefetcher);
    }
};

}  // namespace
