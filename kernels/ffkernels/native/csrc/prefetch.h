// Prefetch of the weights that are needed next, a few cache lines at a time between the steps of a tile, so that
// waiting for memory and arithmetic overlap.
#pragma once
#include <algorithm>
#include <cstdint>

namespace {

// Columns [column, column + width) of the rows kept[first..] (kept null: first..) of a matrix of elements T.
template <class T>
struct Window {
    const T *base = nullptr;
    int64_t ld = 0;
    const int32_t *kept = nullptr;
    int64_t first = 0, rows = 0, column = 0, width = 0;

    const T *row(int64_t i) const { return base + (kept ? kept[first + i] : first + i) * ld + column; }
};

template <class T>
class Prefetcher {
public:
    // Fetch `window` in about `steps` calls of step().
    void start(const Window<T> &next, int64_t steps) {
        window = next;
        bytes = window.width * static_cast<int64_t>(sizeof(T));
        row = at = 0;
        const int64_t lines = window.rows * ((bytes + 63) / 64);
        burst = static_cast<int>((lines + steps - 1) / std::max<int64_t>(steps, 1));
        if (row < window.rows) from = address();
    }

    void step() {
        for (int i = 0; i < burst && row < window.rows; i++) {
            __builtin_prefetch(from + at, 0, 2);
            at += 64;
            if (at >= bytes) {
                at = 0;
                if (++row < window.rows) from = address();
            }
        }
    }

private:
    const char *address() const { return reinterpret_cast<const char *>(window.row(row)); }

    Window<T> window;
    const char *from = nullptr;
    int64_t bytes = 0, row = 0, at = 0;
    int burst = 0;
};

}  // namespace
