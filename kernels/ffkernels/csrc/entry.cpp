// The C entry points: choose the instruction set, cut the call into pieces, run them on torch's OpenMP pool.
#include "ffn.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <vector>

namespace {

// Cut the tokens of `p` into pieces of at most MAX_TOKENS, and small enough that every thread gets one.
void cut(std::vector<Piece> &out, const FfnCall &q, Piece p) {
    const int64_t share = (q.tokens + q.threads - 1) / q.threads;
    const int64_t most = std::min(MAX_TOKENS, std::max<int64_t>(32, (share + 31) / 32 * 32));
    const int64_t start = p.start, size = p.end - p.start, parts = (size + most - 1) / most;
    for (int64_t i = 0; i < parts; i++) {
        p.start = start + size * i / parts / 16 * 16;
        p.end = i + 1 == parts ? start + size : start + size * (i + 1) / parts / 16 * 16;
        if (p.end > p.start) out.push_back(p);
    }
}

bool run(const FfnCall &q, PieceFn piece, const std::vector<Piece> &pieces) {
    std::atomic<bool> ok{true};
    const int64_t n = static_cast<int64_t>(pieces.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(std::min(q.threads, n))) if (n > 1)
    for (int64_t i = 0; i < n; i++) {
        try {
            piece(q, pieces[i]);
        } catch (const std::exception &) {
            ok = false;
        }
    }
    return ok;
}

}  // namespace

// The instruction set that this processor can run: 0 none, 1 AVX2 with FMA and F16C, 2 AVX-512.
extern "C" int ffk_level() {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (!avx2) return 0;
    return __builtin_cpu_supports("avx512f") ? 2 : 1;
}

// Compute y; 0 on success, 1 where memory ran out. y is written entirely if hot or k is above 0.
extern "C" int ffk_sparse(const FfnCall *call, int level) {
    const PieceFn piece = level == 2 ? ffn_piece_avx512 : ffn_piece_avx2;
    std::vector<Piece> hot, dynamic;
    if (call->hot) cut(hot, *call, {nullptr, call->hot, 0, call->tokens, false, false});
    for (int64_t i = 0; call->k && i < call->n_runs; i++) {
        const int64_t *run = call->runs + 3 * i;
        cut(dynamic, *call, {call->indices + run[0] * call->k, call->k, run[1], run[2], call->hot > 0, true});
    }
    return run(*call, piece, hot) && run(*call, piece, dynamic) ? 0 : 1;
}
