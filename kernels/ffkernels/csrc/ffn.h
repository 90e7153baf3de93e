// The call that Python hands over; the field order is repeated in native.py.
#pragma once
#include <cstdint>

struct FfnCall {
    const float *x, *gate, *up, *down;  // x [tokens, d]; weights [f, d] with row strides ldg, ldu, ldd
    const float *z, *v, *c;             // z [tokens, r], v [f, r], c [f]; null where absent
    float *y;                           // [tokens, d]
    const int64_t *indices;             // [rows, k], or null
    const int64_t *runs;                // [n_runs, 3]: row of indices, first token, end token
    int64_t tokens, d, r, k, n_runs, hot, ldg, ldu, ldd;
    int64_t activation;                 // 0 silu, 1 gelu_tanh, 2 gelu, 3 relu
    int64_t threads;
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
constexpr int64_t MAX_TOKENS = 256;  // tokens of one piece: its slice of X^T stays in the L2 cache
