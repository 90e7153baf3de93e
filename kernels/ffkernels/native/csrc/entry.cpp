// The C entry points: choose the instruction set, split the call into work items, run them on torch's OpenMP pool.
#include "ffn.h"

#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <vector>

namespace {

// Split the tokens of `item` into work items of at most MAX_TOKENS, and small enough that every thread gets one.
void split(std::vector<WorkItem> &out, const FfnCall &call, WorkItem item) {
    const int64_t share = (call.tokens + call.threads - 1) / call.threads;
    const int64_t most = std::min(MAX_TOKENS, std::max<int64_t>(32, (share + 31) / 32 * 32));
    const int64_t start = item.start, size = item.end - item.start, parts = (size + most - 1) / most;
    for (int64_t i = 0; i < parts; i++) {
        item.start = start + size * i / parts / 16 * 16;
        item.end = i + 1 == parts ? start + size : start + size * (i + 1) / parts / 16 * 16;
        if (item.end > item.start) out.push_back(item);
    }
}

// The dynamic neurons of a run. Increasing neurons whose first and last are count - 1 apart are contiguous: a dense
// block is read like a hot set.
WorkItem dynamic_item(const FfnCall &call, const Run &run) {
    const int32_t *kept = call.indices + run.first;
    const bool contiguous = kept[run.count - 1] - kept[0] == run.count - 1;
    return {contiguous ? nullptr : kept, kept[0], run.count, run.start, run.end, call.hot > 0, true};
}

bool run_all(const FfnCall &call, WorkItemFn compute, const std::vector<WorkItem> &items) {
    std::atomic<bool> ok{true};
    const int64_t n = static_cast<int64_t>(items.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(std::min(call.threads, n))) if (n > 1)
    for (int64_t i = 0; i < n; i++) {
        try {
            compute(call, items[i]);
        } catch (const std::exception &) {
            ok = false;
        }
    }
    return ok;
}

enum class Takes { FLOATS, BF16_ONLY, INT8_ONLY };

// An instruction set: its name, its code, the storage that it takes, and whether the processor and the system allow it.
struct Isa {
    const char *name;
    WorkItemFn compute;
    Takes takes;
    bool (*here)();

    bool serves(int64_t storage) const {
        if (takes == Takes::FLOATS) return storage != INT8;
        return storage == (takes == Takes::INT8_ONLY ? INT8 : BF16);
    }
};

bool avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool avx512() {
    return avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool avx512_bf16() { return avx512() && __builtin_cpu_supports("avx512bf16"); }

bool avx512_vnni() { return avx512() && __builtin_cpu_supports("avx512vnni"); }

// CPUID leaf 7 tells which tile operations exist; Linux gives a process the tile state only when it asks for it.
bool amx(unsigned operation) {
    unsigned a, b, c, d;
    if (!avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const unsigned tile = 1u << 24;
    if ((d & operation) == 0 || (d & tile) == 0) return false;
#ifdef __linux__
    constexpr long ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
    static const bool granted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    return granted;
#else
    return false;
#endif
}
bool amx_bf16() { return amx(1u << 22); }
bool amx_int8() { return amx(1u << 25); }

const Isa ISAS[] = {
    {"avx2", ffn_avx2, Takes::FLOATS, avx2},
    {"avx512", ffn_avx512, Takes::FLOATS, avx512},
    {"avx512_bf16", ffn_avx512_bf16, Takes::BF16_ONLY, avx512_bf16},
    {"amx_bf16", ffn_amx_bf16, Takes::BF16_ONLY, amx_bf16},
    {"amx_emulated", ffn_amx_emulated, Takes::BF16_ONLY, avx512},
    {"avx2_int8", ffn_avx2_int8, Takes::INT8_ONLY, avx2},
    {"avx512_vnni", ffn_avx512_vnni, Takes::INT8_ONLY, avx512_vnni},
    {"amx_int8", ffn_amx_int8, Takes::INT8_ONLY, amx_int8},
    {"amx_int8_emulated", ffn_amx_int8_emulated, Takes::INT8_ONLY, avx512},
};

const Isa *find(const char *name) {
    for (const Isa &isa : ISAS)
        if (std::strcmp(isa.name, name) == 0) return &isa;
    return nullptr;
}

bool known(int64_t activation) {
    return activation == SILU || activation == GELU_TANH || activation == GELU || activation == RELU;
}

}  // namespace

// Whether this machine can run the instruction set: 1 yes, 0 no, -1 unknown name.
extern "C" int ffk_supports(const char *name) {
    const Isa *isa = find(name);
    return isa ? isa->here() : -1;
}

// Compute y; 0 on success, 1 if memory ran out, 2 for an instruction set that cannot run this call, 3 for an unknown
// activation. Writes the tokens of the runs, and all of y if hot is above 0. Each run keeps at least one neuron.
extern "C" int ffk_sparse(const FfnCall *call, const char *name) {
    const Isa *isa = find(name);
    if (!isa || !isa->here() || !isa->serves(call->storage)) return 2;
    if (!known(call->activation)) return 3;
    std::vector<WorkItem> hot, dynamic;
    if (call->hot) split(hot, *call, {nullptr, 0, call->hot, 0, call->tokens, false, false});
    for (int64_t i = 0; i < call->n_runs; i++) split(dynamic, *call, dynamic_item(*call, call->runs[i]));
    return run_all(*call, isa->compute, hot) && run_all(*call, isa->compute, dynamic) ? 0 : 1;
}
