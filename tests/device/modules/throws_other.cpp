// SPDX-License-Identifier: Apache-2.0
// A module whose maker throws what is no std::exception.
#include "device/registry.h"

namespace {
std::unique_ptr<invar::Backend> make() { throw 7; }
}  // namespace

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() { return {invar::kSeamVersion, &make}; }
