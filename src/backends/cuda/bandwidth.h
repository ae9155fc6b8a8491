// SPDX-License-Identifier: Apache-2.0
// The kernels that measure what a GPU's memory gives.
#pragma once

#include <atomic>
#include <memory>

#include "device/services.h"

namespace invar::cuda {

// Compiles its kernels when first asked to run, and again when the device has been started anew: starts counts that.
std::unique_ptr<BandwidthService> make_bandwidth(Device& device, const std::atomic<int>& starts,
                                                 std::size_t cache_bytes, int multiprocessors);

}  // namespace invar::cuda
