// SPDX-License-Identifier: Apache-2.0
// The cpu device's bandwidth service: native entries that read or copy with all threads and the widest vectors.
#pragma once

#include <memory>

#include "device/services.h"

namespace invar {

// cpu is the device that compiles and runs the entries; it must outlive the service.
std::unique_ptr<BandwidthService> make_cpu_bandwidth(Device& cpu);

}  // namespace invar
