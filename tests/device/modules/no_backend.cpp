// SPDX-License-Identifier: Apache-2.0
// A module whose maker makes nothing.
#include "device/registry.h"

namespace {
std::unique_ptr<invar::Backend> make() { return nullptr; }
}  // namespace

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() { return {invar::kSeamVersion, &make}; }
