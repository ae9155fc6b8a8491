// SPDX-License-Identifier: Apache-2.0
// What a device's memory gives, measured through the seam with the device's own reading and copying kernels
// (Device::bandwidth). The ceiling that benchmarks and the share printed after a generation are held against.
#pragma once

#include <cstddef>
#include <string>

#include <invar/export.h>

#include "device/device.h"

namespace invar {

struct MeasuredBandwidth {
    double read = 0;  // bytes/s of reading
    double copy = 0;  // bytes/s of a copy, read and written bytes counted
};

// Measures now, over one buffer of that size (the copy goes from its first half to its second): the best of several
// passes over the same bytes, so a size that fits a cache measures that cache. bytes 0: memory_measurement_bytes, but four
// times the cache is enough for an accelerator to which that is a long way (some software devices). Throws
// Unsupported where the device has no bandwidth service, OutOfMemory where the buffers do not fit.
INVAR_API MeasuredBandwidth measure_bandwidth(Device& device, std::size_t bytes = 0);
// Only the reading half of it, bytes/s.
INVAR_API double measure_read_bandwidth(Device& device, std::size_t bytes = 0);

// The size that measures memory and no cache: four times the largest cache, but 256 MiB to 1 GiB, because fresh pages
// of the host cost far more than the passes over them; 4 GiB on an accelerator. At most a quarter of the free memory.
INVAR_API std::size_t memory_measurement_bytes(Device& device);

// The device's properties with the bandwidths of its memory: from the disk cache, else measured and stored there
// (seconds). again: measured in any case, for whoever fears that the machine was busy the first time. A device that
// cannot measure keeps 0.
INVAR_API DeviceProperties measured_properties(Device& device, bool again = false);
// The same, but never measures: 0 where the cache has nothing.
INVAR_API DeviceProperties known_properties(Device& device);
// Under which key of kind "bandwidth" the two figures (read and copy, as doubles) are kept in the disk cache.
INVAR_API std::string bandwidth_cache_key(Device& device);

}  // namespace invar
