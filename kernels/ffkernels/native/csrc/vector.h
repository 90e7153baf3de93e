// Vectors of LANES floats (GCC and clang extensions), and the activations on them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "ffn.h"

namespace {

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));

constexpr int W = 2 * LANES;  // columns of a panel

inline vf load(const float *p) {
    vf v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
inline void store(float *p, vf v) { std::memcpy(p, &v, sizeof v); }

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

// act(g); ffk_sparse has refused unknown codes.
inline vf activate(int64_t kind, vf g) {
    switch (kind) {
        case SILU: return g / (1.f + vexp(-g));
        case GELU_TANH: return g / (1.f + vexp(-1.5957691216f * (g + 0.044715f * g * g * g)));
        case GELU:
            for (int i = 0; i < LANES; i++) g[i] = 0.5f * g[i] * (1.f + std::erf(g[i] * 0.70710678f));
            return g;
        case RELU: return g < 0.f ? vf{} : g;
    }
    __builtin_unreachable();
}

}  // namespace
