// SPDX-License-Identifier: Apache-2.0
// Replaces the global allocation functions. In a file of its own: GCC 12 takes the pair for mismatched where it inlines
// only one of them.
#include "support/heap_counter.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::int64_t> count{0};
}  // namespace

namespace invar::test {
std::int64_t heap_allocations() { return count.load(); }
}  // namespace invar::test

#if defined(INVAR_SANITIZED)

const bool invar::test::kCountsHeap = false;

#else

const bool invar::test::kCountsHeap = true;

namespace {
void* allocate(std::size_t size, std::size_t alignment) noexcept {
    count.fetch_add(1, std::memory_order_relaxed);
    return std::aligned_alloc(alignment,
                              (size + alignment - 1) / alignment * alignment + (size == 0) * alignment);
}
void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    if (void* p = allocate(size, alignment)) return p;
    throw std::bad_alloc();
}
constexpr std::size_t kPlain = alignof(std::max_align_t);
}  // namespace

// The array forms of the standard library call these.
void* operator new(std::size_t size) { return allocate_or_throw(size, kPlain); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, kPlain); }
void* operator new(std::size_t size, std::align_val_t a) {
    return allocate_or_throw(size, static_cast<std::size_t>(a));
}
void* operator new(std::size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
    return allocate(size, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }

#endif
