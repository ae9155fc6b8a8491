// SPDX-License-Identifier: Apache-2.0
// The caching allocator, one for each device and the same for all backends: size classes, reuse, eviction of the least
// recently used, budgets in bytes and objects, statistics (MEM-1, MEM-2).
//
// Sizes are rounded up to classes of 256-byte steps below 2 KiB, then 8 to a power of two, then steps of 2 MiB from
// 16 MiB and 32 to a power of two from 64 MiB: above 2 KiB less than 1/9 of a block is lost. A request takes a cached
// block of its own class or asks the driver. A hit allocates nothing and takes one lock.
// Any thread may allocate and release. An Allocation must live until the streams have passed the work that uses it.
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
    std::uint64_t evictions = 0;        // cached buffers given back to the driver, by budget or trim
    std::uint64_t oom_retries =
        0;  // requests that the driver or the budget refused and that were tried again
    std::uint64_t oom_failures = 0;  // requests that were refused again
    std::uint64_t objects_in_use = 0, objects_cached = 0;
    std::uint64_t largest_cached = 0;  // bytes of the largest free block held
    double hit_rate() const {
        return reuses + allocations == 0
                   ? 0.0
                   : static_cast<double>(reuses) / static_cast<double>(reuses + allocations);
    }
    // Share of the handed-out bytes that nobody asked for.
    double internal_fragmentation() const {
        return bytes_in_use == 0
                   ? 0.0
                   : 1.0 - static_cast<double>(bytes_requested) / static_cast<double>(bytes_in_use);
    }
    // Share of the cached bytes that lie outside the largest cached block: no single request can use them.
    double external_fragmentation() const {
        return bytes_cached == 0
                   ? 0.0
                   : 1.0 - static_cast<double>(largest_cached) / static_cast<double>(bytes_cached);
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
    Buffer& buffer() const noexcept { return *buffer_; }  // may be larger than size()
    std::size_t size() const noexcept { return size_; }
    BufferRef ref(std::size_t offset = 0) const noexcept { return {buffer_, offset, size_ - offset}; }
    void reset() noexcept;  // gives the memory back now

private:
    friend class CachingAllocator;
    struct Core;
    struct Block;
    struct Chain;
    std::shared_ptr<Core> core_;  // outlives the device's allocator object while allocations are alive
    Block* block_ = nullptr;
    Buffer* buffer_ = nullptr;
    std::size_t size_ = 0;
};

class INVAR_API CachingAllocator {
public:
    explicit CachingAllocator(Device& device);
    ~CachingAllocator();
    CachingAllocator(const CachingAllocator&) = delete;
    CachingAllocator& operator=(const CachingAllocator&) = delete;
    // bytes may be 0. zeroed: filled with zero bytes. On OutOfMemory from the driver the cache is trimmed and the
    // request tried once more; then OutOfMemory with sizes and what is cached is thrown. Logs a warning once when
    // 90% of the budget (or of the device's memory) is held.
    Allocation allocate(std::size_t bytes, bool zeroed = false);
    // Brings count blocks of that size into the cache, so that later requests are hits.
    void preallocate(std::size_t bytes, std::size_t count);
    void trim();                              // gives every cached buffer back to the driver
    void set_budget(AllocatorBudget budget);  // evicts what is over it now
    AllocatorStatistics statistics() const;
    // What a request of that size takes from the driver.
    static std::size_t rounded_size(std::size_t bytes);

private:
    std::shared_ptr<Allocation::Core> core_;
};

}  // namespace invar
