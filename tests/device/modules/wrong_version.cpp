// SPDX-License-Identifier: Apache-2.0
// A module built for another version of the seam; its maker must never be called.
#include "device/registry.h"

namespace {
std::unique_ptr<invar::Backend> make() {
    throw invar::Unsupported("the maker of a refused module was called");
}
}  // namespace

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() { return {invar::kSeamVersion + 41, &make}; }
