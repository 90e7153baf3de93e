// Vector types and the register tile: up to ROWS x 2 accumulators of LANES floats.
// GCC and clang vector extensions: the same text gives AVX2 and AVX-512 code.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
constexpr int W = 2 * LANES;

inline vf load(const float *p) {
    vf v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
inline void store(float *p, vf v) { std::memcpy(p, &v, sizeof v); }

// c[M][W] (row stride ldc) = or += sum over p < k of a[i * AI + p * AP] * b[p][W].
template <int M, int AI, int AP>
inline void tile(const float *a, const float *b, int k, float *c, int64_t ldc, bool add) {
    vf s[M][2];
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
        s[i][0] = s[i][1] = vf{};
        if (add) __builtin_prefetch(c + i * ldc, 1, 3);
    }
#pragma GCC unroll 4
    for (int p = 0; p < k; p++) {
        const vf b0 = load(b + p * W), b1 = load(b + p * W + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < M; i++) {
            const float w = a[i * AI + p * AP];
            s[i][0] += w * b0;
            s[i][1] += w * b1;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
        float *to = c + i * ldc;
        store(to, add ? s[i][0] + load(to) : s[i][0]);
        store(to + LANES, add ? s[i][1] + load(to + LANES) : s[i][1]);
    }
}

// The same for m <= ROWS rows known at run time only.
template <int AI, int AP, int M = ROWS>
inline void tile_of(int m, const float *a, const float *b, int k, float *c, int64_t ldc, bool add) {
    if constexpr (M > 1) {
        if (m < M) return tile_of<AI, AP, M - 1>(m, a, b, k, c, ldc, add);
    }
    tile<M, AI, AP>(a, b, k, c, ldc, add);
}

inline vf vexp(vf x) {
    x = x < -87.f ? vf{} - 87.f : x;
    x = x > 88.f ? vf{} + 88.f : x;
    const vf n = (x * 1.44269504f + 12582912.f) - 12582912.f;  // nearest integer of x / ln 2
    const vf t = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vf p = vf{} + 1.f / 5040;
    for (float q : {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f, 1.f}) p = p * t + q;
    const vi bits = (__builtin_convertvector(n, vi) + 127) << 23;
    return p * (vf)bits;
}

inline vf activate(int64_t kind, vf g) {
    switch (kind) {
        case 0: return g / (1.f + vexp(-g));
        case 1: return g / (1.f + vexp(-1.5957691216f * (g + 0.044715f * g * g * g)));
        case 2:
            for (int i = 0; i < LANES; i++) g[i] = 0.5f * g[i] * (1.f + std::erf(g[i] * 0.70710678f));
            return g;
        default: return g < 0.f ? vf{} : g;
    }
}

}  // namespace
