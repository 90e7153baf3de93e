// Cutting a length into even passes.
#pragma once
#include <algorithm>
#include <cstdint>

namespace {

inline int64_t pad(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Length of a pass when n is cut into as few even passes of at most `most` as possible; a multiple of `of`, as `most` is.
inline int64_t even_pass(int64_t n, int64_t most, int64_t of) {
    const int64_t passes = std::max<int64_t>(1, (n + most - 1) / most);
    return std::max(of, pad((n + passes - 1) / passes, of));
}

}  // namespace
