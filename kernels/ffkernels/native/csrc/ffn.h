// The call that Python hands over; native/library.py repeats the order of the fields.
#pragma once
#include <cstdint>

enum Storage : int64_t { F32 = 0, BF16 = 1, F16 = 2, INT8 = 3 };

// The codes come from ffkernels/activations.py as compiler definitions.
enum Activation : int64_t { SILU = FFK_SILU, GELU_TANH = FFK_GELU_TANH, GELU = FFK_GELU, RELU = FFK_RELU };

// Neighbouring blocks of tokens that keep the same neurons: `count` entries of `indices` from `first`, for the tokens
// [start, end).
struct Run {
    int64_t first, count, start, end;
};

struct FfnCall {
    const float *x, *z, *c;             // x [tokens, d], z [tokens, r], c [f]; z and c null if absent
    const void *gate, *up, *down, *v;   // [f, d] with the row strides below, v [f, r] contiguous; in `storage`
    const float *gate_scale, *up_scale, *down_scale, *v_scale;  // [f], factors of int8 rows; null for other storage
    float *y;                           // [tokens, d]
    const int32_t *indices;             // kept neurons of one run after another, increasing within each
    const Run *runs;                    // [n_runs]
    int64_t tokens, d, r, n_runs, hot, gate_stride, up_stride, down_stride;
    int64_t storage;                    // Storage of the weights
    int64_t activation;                 // Activation
    int64_t threads;
    int64_t group;                      // above 1: every run keeps whole groups of this many neighbours
};

// What one thread computes at a time: n neurons, `kept` or, if that is null, base..base + n - 1, for the tokens
// [start, end).
struct WorkItem {
    const int32_t *kept;
    int64_t base, n, start, end;
    bool add;      // add to y instead of overwriting it
    bool correct;  // subtract z v^T + c

    int64_t neuron(int64_t i) const { return kept ? kept[i] : base + i; }
};

using WorkItemFn = void (*)(const FfnCall &, const WorkItem &);
void ffn_avx2(const FfnCall &, const WorkItem &);
void ffn_avx512(const FfnCall &, const WorkItem &);
void ffn_avx512_bf16(const FfnCall &, const WorkItem &);   // bfloat16 storage only, like the next two
void ffn_amx_bf16(const FfnCall &, const WorkItem &);
void ffn_amx_emulated(const FfnCall &, const WorkItem &);  // the same with the tiles written out in C++
void ffn_avx2_int8(const FfnCall &, const WorkItem &);     // int8 storage only, like the next ones
void ffn_avx512_vnni(const FfnCall &, const WorkItem &);
void ffn_amx_int8(const FfnCall &, const WorkItem &);
void ffn_amx_int8_emulated(const FfnCall &, const WorkItem &);
constexpr int64_t MAX_TOKENS = 256;  // tokens of a work item: its slice of X^T stays in the L2 cache
