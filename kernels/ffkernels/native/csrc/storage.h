// Weight elements as they are stored, and their exact conversion to float.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

struct Bf16 {
    uint16_t bits;
};
struct F16Bits {
    uint16_t bits;
};

inline void widen(const float *from, float *to, int64_t n) { std::memcpy(to, from, n * sizeof(float)); }

inline void widen(const Bf16 *from, float *to, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = static_cast<uint32_t>(from[i].bits) << 16;
        std::memcpy(to + i, &bits, 4);
    }
}

inline void widen(const F16Bits *from, float *to, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i))));
    for (; i < n; i++) to[i] = _cvtsh_ss(from[i].bits);
}

// W elements.
inline void widen_panel(const float *from, float *to) {
    for (int i = 0; i < W; i += LANES) store(to + i, load(from + i));
}
template <class T>
inline void widen_panel(const T *from, float *to) {
    widen(from, to, W);
}

}  // namespace
