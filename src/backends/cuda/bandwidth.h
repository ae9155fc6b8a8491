// SPDX-License-Identifier: Apache-2.0
// The kernels that measure what a GPU's memory gives.
#pragma once

#include "device/source_bandwidth.h"

namespace invar::cuda {

BandwidthKernels bandwidth_kernels(std::size_t cache_bytes, int multiprocessors);

}  // namespace invar::cuda
