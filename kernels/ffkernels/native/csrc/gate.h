// Activations of float results, for float and for bfloat16 weights.
#pragma once
#include "vector.h"

namespace {

// g = act(g) * u - correction for the neurons n0..n0 + n - 1 of a work item; rows [n][ld] of `tokens` sums, a multiple of
// LANES. corr is z v^T, read if the item is corrected and the call has z.
inline void gate_rows(const FfnCall &call, const WorkItem &item, int64_t n0, int64_t n, int64_t tokens, int64_t ld, float *g,
                      const float *u, const float *corr) {
    for (int64_t i = 0; i < n; i++) {
        const float shift = item.correct && call.c ? call.c[item.neuron(n0 + i)] : 0.f;
        for (int64_t at = i * ld, end = at + tokens; at < end; at += LANES) {
            vf value = activate(call.activation, load(g + at)) * load(u + at) - shift;
            if (item.correct && call.z) value -= load(corr + at);
            store(g + at, value);
        }
    }
}

}  // namespace
