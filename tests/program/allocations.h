// SPDX-License-Identifier: Apache-2.0
// Counts calls of operator new in this test binary.
#pragma once

namespace invar::test {
long allocations();
}
