// SPDX-License-Identifier: Apache-2.0
// Replaces the global allocation functions. In a file of its own: GCC 12 takes the pair for mismatched where it inlines
// only one of them.
#include "backends/heap_counter.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::int64_t> count{0};

void* allocate(std::size_t size, std::size_t alignment) {
    count.fetch_add(1, std::memory_order_relaxed);
    if (void* p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment + (size == 0) * alignment))
        return p;
    throw std::bad_alloc();
}
}  // namespace

namespace invar::test {
std::int64_t heap_allocations() { return count.load(); }
}  // namespace invar::test

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
