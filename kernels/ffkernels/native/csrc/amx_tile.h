// Tile of AMX: 32 x W sums in four tile registers, two for the left factor, two for the panel.
//
// `Tiles` is either the processor's registers or, for machines without AMX, the same operations in plain C++, so that
// packing, strides and loops can be run and tested anywhere.
#pragma once
#include <immintrin.h>

#include "vector.h"

namespace {

#ifdef __AMX_BF16__
struct Tiles {
    static void begin() {
        struct alignas(64) {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } config;
        _tile_loadconfig(&config);
    }
    static void end() { _tile_release(); }
    // Written as assembly because GCC's intrinsics take a literal, not a constant, as register number.
    template <int N>
    static void zero() {
        asm volatile("tilezero %%tmm%c0" ::"i"(N));
    }
    template <int N>
    static void load(const void *from, int64_t bytes) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(bytes), "i"(N) : "memory");
    }
    template <int N>
    static void store(void *to, int64_t bytes) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(bytes), "i"(N) : "memory");
    }
    template <int C, int A, int B>
    static void dot() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
    }
    template <int C, int A, int B>
    static void dot_int8() {
        asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
    }
};
#else
struct Tiles {
    static inline thread_local uint32_t reg[8][16][16];  // 16 rows of 64 bytes

    static void begin() { std::memset(reg, 0xff, sizeof reg); }
    static void end() {}
    template <int N>
    static void zero() {
        std::memset(reg[N], 0, sizeof reg[N]);
    }
    template <int N>
    static void load(const void *from, int64_t bytes) {
        for (int i = 0; i < 16; i++) std::memcpy(reg[N][i], static_cast<const char *>(from) + i * bytes, 64);
    }
    template <int N>
    static void store(void *to, int64_t bytes) {
        for (int i = 0; i < 16; i++) std::memcpy(static_cast<char *>(to) + i * bytes, reg[N][i], 64);
    }
    static float low(uint32_t pair) { return from_bits(pair << 16); }
    static float high(uint32_t pair) { return from_bits(pair & 0xffff0000u); }
    static float from_bits(uint32_t bits) {
        float x;
        std::memcpy(&x, &bits, 4);
        return x;
    }
    // TDPBF16PS: c[m][n] += a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1].
    template <int C, int A, int B>
    static void dot() {
        for (int m = 0; m < 16; m++)
            for (int k = 0; k < 16; k++)
                for (int n = 0; n < 16; n++) {
                    float c = from_bits(reg[C][m][n]);
                    c += low(reg[A][m][k]) * low(reg[B][k][n]);
                    c += high(reg[A][m][k]) * high(reg[B][k][n]);
                    std::memcpy(&reg[C][m][n], &c, 4);
                }
    }
    static int32_t byte(uint32_t quad, int i) { return static_cast<int8_t>(quad >> (8 * i)); }
    // TDPBSSD: c[m][n] += the sum over i < 4 of a[m][4k + i] b[k][4n + i], in int32.
    template <int C, int A, int B>
    static void dot_int8() {
        for (int m = 0; m < 16; m++)
            for (int k = 0; k < 16; k++)
                for (int n = 0; n < 16; n++)
                    for (int i = 0; i < 4; i++) reg[C][m][n] += byte(reg[A][m][k], i) * byte(reg[B][k][n], i);
    }
};
#endif

// T uint16_t: bfloat16 pairs with float sums; int8_t: quads with int32 sums. A row of a tile is 64 bytes in both.
template <class T, class Sum>
struct AmxTileOf {
    static constexpr int ROWS = 32;
    static constexpr bool WHOLE = true;      // writes ROWS rows, whatever the count
    static constexpr bool UNSIGNED = false;  // left rows are signed bytes
    static constexpr int BLOCK = 16;         // rows that must share a stride
    static constexpr int DEPTH = 64 / sizeof(T);

    struct Left {
        const T *half[2];
        int64_t bytes[2];
    };
    // `row(i)` gives place and stride of row i of a tile.
    template <class Row>
    static Left left(const Row &row, int) {
        const auto low = row(0), high = row(16);
        const int64_t size = sizeof(T);
        return {{low.at, high.at}, {low.ld * size, high.ld * size}};
    }
    static void begin() { Tiles::begin(); }
    static void end() { Tiles::end(); }
    static void finish(T *, int64_t) {}

    template <int C, int A, int B>
    static void dot() {
        if constexpr (sizeof(T) == 1) Tiles::dot_int8<C, A, B>();
        else Tiles::dot<C, A, B>();
    }

    // c[32][W] = or += a [32][k] times b [k / 2][W][2], or [k / 4][W][4] for int8; k a multiple of DEPTH.
    template <class Prefetcher>
    static void run(int, const Left &a, const T *b, int k, Sum *c, int64_t ldc, bool add, Prefetcher &prefetcher) {
        const int64_t row = ldc * 4, panel = 4 * W;
        Sum *c1 = c + 16 * ldc;
        if (add) {
            Tiles::load<0>(c, row), Tiles::load<1>(c + 16, row), Tiles::load<2>(c1, row), Tiles::load<3>(c1 + 16, row);
        } else {
            Tiles::zero<0>(), Tiles::zero<1>(), Tiles::zero<2>(), Tiles::zero<3>();
        }
        for (int p = 0; p < k; p += DEPTH, b += DEPTH * W) {
            prefetcher.step();
            Tiles::load<4>(a.half[0] + p, a.bytes[0]);
            Tiles::load<6>(b, panel);
            dot<0, 4, 6>();
            Tiles::load<7>(b + DEPTH, panel);
            dot<1, 4, 7>();
            Tiles::load<5>(a.half[1] + p, a.bytes[1]);
            dot<2, 5, 6>();
            dot<3, 5, 7>();
        }
        Tiles::store<0>(c, row), Tiles::store<1>(c + 16, row), Tiles::store<2>(c1, row), Tiles::store<3>(c1 + 16, row);
    }
};

using AmxTile = AmxTileOf<uint16_t, float>;
using AmxInt8Tile = AmxTileOf<int8_t, int32_t>;

}  // namespace
