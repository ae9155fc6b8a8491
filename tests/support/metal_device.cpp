// SPDX-License-Identifier: Apache-2.0
// Finding the Metal device of the tests.
#include "support/metal_device.h"

#include "base/env.h"
#include "device/registry.h"

namespace invar::test {

std::shared_ptr<Device> first_metal_device(std::string& why) {
    for (const BackendInfo& backend : list_backends())
        if (backend.name == "metal" && !backend.devices.empty()) return find_device(backend.devices[0].name);
#if defined(INVAR_METAL_MODULE)
    static const std::unique_ptr<Backend> backend = load_backend_module("metal", INVAR_METAL_MODULE);
    why = backend->unavailable_reason();
    if (why.empty()) return backend->devices().at(0);
#else
    why = "no Metal device here, and the backend metal is not built (cmake/MetalCpp.cmake)";
#endif
    return nullptr;
}

bool metal_required() {
#if defined(INVAR_SANITIZED)
    return false;
#else
    return !env_string("INVAR_REQUIRE_METALSIM").empty();
#endif
}

}  // namespace invar::test
