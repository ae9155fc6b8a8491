// SPDX-License-Identifier: Apache-2.0
// The caching allocator, one for each device and the same for all backends: size classes, reuse, eviction of the least
// recently used, budgets in bytes and objects, statistics (MEM-1, MEM-2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "device/device.h"

namespace invar {

struct AllocatorStatistics {
    std::uint64_t bytes_in_use = 0;     // handed out, as rounded to size classes
    std::uint64_t bytes_requested = 0;  // handed out, as asked for
    std::uint64_t bytes_cached = 0;     // held for reuse
    std::uint64_t peak_bytes = 0;       // largest bytes_in_use + bytes_cached
    std::uint64_t allocations = 0;      // requests that went to the driver
    std::uint64_t reuses = 0;           // requests served from the cache
    std::uint64_t evictions = 0;        // cached buffers given back to the driver
    std::uint64_t objects_in_use = 0, objects_cached = 0;
    std::uint64_t largest_cached = 0;   // bytes of the largest free block held
    double hit_rate() const {
        return reuses + allocations == 0 ? 0.0
                                         : static_cast<double>(reuses) / static_cast<double>(reuses + allocations);
    }
    // Share of the handed-out bytes that nobody asked for.
    double internal_fragmentation() const {
        return bytes_in_use == 0 ? 0.0
                                 : 1.0 - static_cast<double>(bytes_requested) / static_cast<double>(bytes_in_use);
    }
};

struct AllocatorBudget {
    std::uint64_t bytes = 0;    // in use + cached; 0: only the device's own limit
    std::uint64_t objects = 0;  // cached buffers; 0: no limit
};

// Memory from the caching allocator; returns to it when destroyed. size() is what was asked for.
class INVAR_API Allocation {
public:
    Allocation() = default;
    Allocation(Allocation&& other) noexcept;
    Allocation& operator=(Allocation&& other) noexcept;
    ~Allocation();
    explicit operator bool() const noexcept { return buffer_ != nullptr; }
    Buffer& buffer() const noexcept { return *buffer_; }
    std::size_t size() const noexcept { return size_; }
    BufferRef ref(std::size_t offset = 0) const noexcept { return {buffer_.get(), offset, size_ - offset}; }

private:
    friend class CachingAllocator;
    struct Core;
    std::shared_ptr<Core> core_;  // outlives the device's allocator object while allocations are alive
    std::unique_ptr<Buffer> buffer_;
    std::size_t size_ = 0;
};

class INVAR_API CachingAllocator {
public:
    explicit CachingAllocator(Device& device);
    ~CachingAllocator();
    // bytes may be 0. zeroed: filled with zero bytes. On OutOfMemory from the driver the cache is trimmed and the
    // request tried once more; then OutOfMemory with sizes and what is cached is thrown.
    Allocation allocate(std::size_t bytes, bool zeroed = false);
    void trim();  // gives every cached buffer back to the driver
    void set_budget(AllocatorBudget budget);
    AllocatorStatistics statistics() const;

private:
    std::shared_ptr<Allocation::Core> core_;
};

}  // namespace invar
