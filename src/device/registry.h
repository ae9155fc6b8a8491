// SPDX-License-Identifier: Apache-2.0
// The registry of backends. cpu is built in; every other backend is a shared module (invar-NAME) found beside libinvar,
// in lib/invar, or in INVAR_MODULE_DIR (searched first; several folders joined by colons), loaded on first use. A
// module exports one function, invar_backend_entry, and the number of the seam it was built for; a module of another
// number is refused with the reason.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace invar {

inline constexpr int kSeamVersion = 5;

struct BackendEntry {
    int seam_version;
    std::unique_ptr<Backend> (*make)();
};

// What a backend module exports with C linkage: extern "C" INVAR_API BackendEntry invar_backend_entry();
inline constexpr const char* kBackendEntrySymbol = "invar_backend_entry";

// Backends that are linked into libinvar, in the order in which they are listed. The table is filled by
// src/backends/builtin.cpp, because this floor knows no backend by name.
struct BuiltinBackend {
    const char* name;
    std::unique_ptr<Backend> (*make)();
};
std::span<const BuiltinBackend> builtin_backends();

// Loads one module file. What goes wrong (it does not load, has no entry, was built for another seam, its maker
// throws) becomes a backend of that name with no devices whose unavailable_reason says so. Never throws for a bad
// module; a module once opened is never closed, since its objects and error types may live on.
INVAR_API std::unique_ptr<Backend> load_backend_module(std::string_view name,
                                                       const std::filesystem::path& file);

// The modules in the folders (first folder wins for a name), sorted by name, and the known backends that are in none.
INVAR_API std::vector<std::unique_ptr<Backend>> discover_backend_modules(
    std::span<const std::filesystem::path> folders);

// All backends, built in and loaded. A module that could not be loaded appears as a backend whose unavailable_reason
// says why.
INVAR_API const std::vector<std::unique_ptr<Backend>>& backends();

}  // namespace invar
