// SPDX-License-Identifier: Apache-2.0
// Devices as a user of the library sees them: which backends there are, which devices they drive or why they are
// absent, and the choice of one. A device is named "cpu", "cuda:0", "null", ...; "auto" picks the best there is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <invar/export.h>

namespace invar {

class Device;  // the seam: src/device/device.h

struct DeviceProperties {
    std::string name;                       // "cpu", "cuda:0": the name by which find_device knows it
    std::string description;                // what the maker calls it
    std::string driver;                     // driver or instruction set in use
    std::uint64_t memory_total = 0;         // bytes
    std::uint64_t memory_free = 0;          // bytes, when last asked
    bool unified_memory = false;            // host and device share one memory
    int compute_units = 0;                  // cores or multiprocessors
    int warp_width = 0;                     // lanes of a hardware warp; 1 where there is none
    int max_block_threads = 0;              // threads of one block
    std::uint64_t shared_memory_bytes = 0;  // of one block
    double copy_bandwidth =
        0;  // measured bytes/s of a large copy, reads and writes counted; 0: not yet measured
    double read_bandwidth = 0;  // measured bytes/s of reading a large buffer; 0: not yet measured
};

struct BackendInfo {
    std::string name;
    std::string unavailable_reason;  // empty when the backend works
    std::vector<DeviceProperties> devices;
};

// Every backend of this build, the ones that cannot work here included.
INVAR_API std::vector<BackendInfo> list_backends();
// The device of that name; "" and "auto" mean INVAR_DEVICE or else the best. Throws NoDevice listing those that exist.
INVAR_API std::shared_ptr<Device> find_device(std::string_view name = {});

}  // namespace invar
