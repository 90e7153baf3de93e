// The call that Python hands over; the field order is repeated in native.py.
#pragma once
#include <cstdint>

enum Storage : int64_t { F32 = 0, BF16 = 1, F16 = 2 };

struct FfnCall {
    const float *x, *z, *c;               // x [tokens, d], z [tokens, r], c [f]; z and c null where absent
    const void *gate, *up, *down, *v;     // [f, d], v [f, r], in `storage`; row strides ldg, ldu, ldd, r
    float *y;                             // [tokens, d]
    const int64_t *indices;               // [rows, k], or null
    const int64_t *runs;                  // [n_runs, 3]: row of indices, first token, end token
    int64_t tokens, d, r, k, n_runs, hot, ldg, ldu, ldd;
    int64_t storage;                      // Storage of the weights
    int64_t activation;                   // 0 silu, 1 gelu_tanh, 2 gelu, 3 relu
    int64_t threads;
    int64_t group;                        // above 1: index rows are whole groups of this many neighbours
};

// One piece of work: the neurons `kept` (null: 0..n-1) for the tokens [start, end).
struct Piece {
    const int64_t *kept;
    int64_t n, start, end;
    bool add;      // add to y instead of overwriting it
    bool correct;  // subtract z v^T + c
};

using PieceFn = void (*)(const FfnCall &, const Piece &);
void ffn_piece_avx2(const FfnCall &, const Piece &);
void ffn_piece_avx512(const FfnCall &, const Piece &);
void ffn_piece_avx512_bf16(const FfnCall &, const Piece &);   // bfloat16 storage only, like the next two
void ffn_piece_amx_bf16(const FfnCall &, const Piece &);
void ffn_piece_amx_emulated(const FfnCall &, const Piece &);  // the same with the tiles written out in C++
constexpr int64_t MAX_TOKENS = 256;  // tokens of one piece: its slice of X^T stays in the L2 cache
