// SPDX-License-Identifier: Apache-2.0
// Counts heap allocations of the test program, for the tests that ask that a path makes none.
#include "program/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<long> count{0};
}
namespace invar::test {
long allocations() { return count.load(); }
}  // namespace invar::test

void* operator new(std::size_t bytes) {
    ++count;
    if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
