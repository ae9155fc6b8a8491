// SPDX-License-Identifier: Apache-2.0
// What a device's memory gives, measured through the seam with the device's own reading and copying kernels
// (Device::bandwidth). The ceiling that benchmarks and the share printed after a generation are held against.
#pragma once

#include <cstddef>

#include <invar/export.h>

#include "device/device.h"

namespace invar {

struct MeasuredBandwidth {
    double read = 0;  // bytes/s of reading
    double copy = 0;  // bytes/s of a copy, read and written bytes counted
};

// Measures now, with buffers of that size: the best of several passes over the same bytes, so a size that fits a cache
// measures that cache. bytes 0: memory_measurement_bytes. Throws Unsupported where the device has no bandwidth service,
// OutOfMemory where the buffers do not fit.
INVAR_API MeasuredBandwidth measure_bandwidth(Device& device, std::size_t bytes = 0);
// Only the reading half of it, bytes/s.
INVAR_API double measure_read_bandwidth(Device& device, std::size_t bytes = 0);

// The size that measures memory and no cache: at least four times the largest cache and 1 GiB, at most 2 GiB and an
// eighth of the free memory.
INVAR_API std::size_t memory_measurement_bytes(Device& device);

// The device's properties with the bandwidths of its memory: from the disk cache, else measured and stored there
// (seconds). A device that cannot measure keeps 0.
INVAR_API DeviceProperties measured_properties(Device& device);
// The same, but never measures: 0 where the cache has nothing.
INVAR_API DeviceProperties known_properties(Device& device);

}  // namespace invar
