// SPDX-License-Identifier: Apache-2.0
// What the memory of a device holds, and moving what lives there so that free memory becomes one piece. invar/memory.h records
// who had what over time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <invar/device.h>
#include <invar/export.h>

namespace invar {

// Of a device's caching allocator, and of tensors that had to leave it.
struct MemoryStatistics {
    std::uint64_t bytes_in_use = 0;      // handed out
    std::uint64_t bytes_held = 0;        // from the driver: handed out or free for reuse
    std::uint64_t largest_free = 0;      // the largest request that needs no more from the driver
    double external_fragmentation = 0;   // share of the held bytes that is free inside of segments in use
    std::uint64_t defragmentations = 0;  // since the process began; and what they moved
    std::uint64_t blocks_moved = 0, bytes_moved = 0;
    std::uint64_t bytes_offloaded = 0;         // of tensors whose bytes are in the host's memory now
    std::uint64_t offloads = 0, restores = 0;  // tensors that went there and came back
};
INVAR_API MemoryStatistics memory_statistics(const std::shared_ptr<Device>& device);

// What a defragmentation did, from the allocator's state before and behind it.
struct Defragmentation {
    std::string device;
    MemoryStatistics before, after;
    std::uint64_t blocks_moved = 0, bytes_moved = 0;
    std::uint64_t segments_freed = 0, bytes_freed = 0;  // given back to the driver
};
INVAR_API std::string to_text(const Defragmentation& done);

// Moves the memory of tensors so that segments of the driver come free and go back to it. No value changes. Waits for the
// device's work. Evaluation does this by itself where there is no room (invar/recovery.h). Throws the error of that work.
INVAR_API Defragmentation defragment(const std::shared_ptr<Device>& device);

}  // namespace invar
