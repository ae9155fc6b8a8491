// SPDX-License-Identifier: Apache-2.0
// A module whose maker throws a typed error.
#include "device/registry.h"

namespace {
std::unique_ptr<invar::Backend> make() { throw invar::IoError("driver file libxyz.so.1 was not found"); }
}  // namespace

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() { return {invar::kSeamVersion, &make}; }
