// SPDX-License-Identifier: Apache-2.0
// The Metal device that tests run on: the system's, or where there is none the backend over the software Metal device.
#pragma once

#include <memory>
#include <string>

#include "device/device.h"

namespace invar::test {

// The first Metal device, or nullptr where there is none; then why says why not. One for the process.
std::shared_ptr<Device> first_metal_device(std::string& why);
// Whether a test that cannot run then fails rather than skips: INVAR_REQUIRE_METALSIM is set, and there are no sanitizers.
bool metal_required();

}  // namespace invar::test
