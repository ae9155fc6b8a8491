// SPDX-License-Identifier: Apache-2.0
// Counts the heap allocations (operator new) of a test binary that is linked with heap_counter.cpp.
#pragma once

#include <cstdint>

namespace invar::test {

std::int64_t heap_allocations();  // of the whole process since it started

}  // namespace invar::test
