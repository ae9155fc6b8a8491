// SPDX-License-Identifier: Apache-2.0
// The CUDA device that tests run on.
#pragma once

#include <memory>

#include "device/registry.h"

namespace invar::test {

// The first CUDA device, or nullptr where there is none.
inline std::shared_ptr<Device> first_cuda_device() {
    for (const BackendInfo& backend : list_backends())
        if (backend.name == "cuda" && !backend.devices.empty()) return find_device(backend.devices[0].name);
    return nullptr;
}

}  // namespace invar::test
