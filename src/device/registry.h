// SPDX-License-Identifier: Apache-2.0
// The registry of backends. cpu is built in; every other backend is a shared module (invar-NAME) found beside libinvar,
// in lib/invar, or in INVAR_MODULE_DIR, loaded on first use. A module exports one function, invar_backend_entry, and
// the number of the seam it was built for; a module of another number is refused with the reason.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace invar {

inline constexpr int kSeamVersion = 1;

struct BackendEntry {
    int seam_version;
    std::unique_ptr<Backend> (*make)();
};

// What a backend module exports with C linkage: extern "C" INVAR_API BackendEntry invar_backend_entry();
inline constexpr const char* kBackendEntrySymbol = "invar_backend_entry";

// All backends, built in and loaded. A module that could not be loaded appears as a backend whose unavailable_reason
// says why.
INVAR_API const std::vector<std::unique_ptr<Backend>>& backends();

}  // namespace invar
