// SPDX-License-Identifier: Apache-2.0
// The kernels that measure the memory bandwidth of a Metal device.
#pragma once

#include "device/source_bandwidth.h"

namespace invar::metal {

BandwidthKernels bandwidth_kernels();

}  // namespace invar::metal
