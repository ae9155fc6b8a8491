// SPDX-License-Identifier: Apache-2.0
// Counts the heap allocations (operator new) of a test binary that is linked with heap_counter.cpp. Sanitizers bring their
// own operator new: there nothing is counted, and a test that needs the count is skipped.
#pragma once

#include <cstdint>

namespace invar::test {

extern const bool kCountsHeap;

std::int64_t heap_allocations();  // of the whole process since it started

}  // namespace invar::test

#define INVAR_NEEDS_HEAP_COUNTER() \
    if (!::invar::test::kCountsHeap) GTEST_SKIP() << "sanitizers bring their own operator new"
