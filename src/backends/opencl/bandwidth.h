// SPDX-License-Identifier: Apache-2.0
// The kernels that measure what the memory of an OpenCL device gives.
#pragma once

#include "device/source_bandwidth.h"

namespace invar::opencl {

// processor: the device is the host's processor, whose threads walk through pieces of their own; on a card neighbouring
// threads read neighbouring words.
BandwidthKernels bandwidth_kernels(bool processor, int compute_units, std::size_t cache_bytes);

}  // namespace invar::opencl
