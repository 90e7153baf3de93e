// Scratch memory of one thread; grows, and is reused by later calls.
#pragma once
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <cstring>
#include <new>

namespace {

class Scratch {
public:
    ~Scratch() { std::free(base); }

    // At least `floats` floats at a 2 MB boundary, their content undefined. Throws std::bad_alloc.
    float *take(size_t floats) {
        if (floats > size) {
            std::free(base);
            size = (floats + PAGE - 1) / PAGE * PAGE;
            base = static_cast<float *>(std::aligned_alloc(PAGE * sizeof(float), size * sizeof(float)));
            if (!base) {
                size = 0;
                throw std::bad_alloc();
            }
#ifdef MADV_HUGEPAGE
            madvise(base, size * sizeof(float), MADV_HUGEPAGE);  // fewer TLB misses; a refusal costs nothing
#endif
            std::memset(base, 0xff, size * sizeof(float));  // NaN: a read of what was not written shows
        }
        return base;
    }

private:
    static constexpr size_t PAGE = 1 << 19;
    float *base = nullptr;
    size_t size = 0;
};

}  // namespace
