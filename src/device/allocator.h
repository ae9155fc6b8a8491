// SPDX-License-Identifier: Apache-2.0
// The caching allocator, one for each device and the same for all backends: size classes, reuse, eviction of the least
// recently used, budgets in bytes and objects, reuse in the order of a stream, statistics (MEM-1, MEM-2).
//
// Sizes are rounded up to classes (device/size_class.h); the driver gives segments:
//   below 1 MiB    each its own, reused by requests of the same class;
//   up to 8 MiB    parts of shared segments of 16 MiB, the block of the smallest class that is large enough being split;
//                  neighbours that are free become one again (segregated fit: Masmano et al. 2004, "TLSF");
//   above          each its own, reused where at most an eighth of it was not asked for.
// Where a new segment from 1 MiB on would bring the held bytes above their peak, segments that are free as a whole go back
// to the driver first, the least recently used first: so the pool does not grow while what is free could pay for it.
// What is small and lives long thus never keeps a large segment from being reused or given back, and what reads past the
// end of a large or a small block meets the driver's bounds.
// A hit takes one lock and, but for the first splits, allocates nothing.
//
// What lives in shared segments may be moved (defragment, in defragment.cpp), so that segments come free as a whole.
//
// Any thread may allocate and release. An Allocation must live until the streams have passed the work that uses it, or be
// released behind an event.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <invar/defragment.h>

#include "device/device.h"

namespace invar {

struct AllocatorStatistics {
    std::uint64_t bytes_in_use = 0;       // handed out, as rounded
    std::uint64_t bytes_requested = 0;    // handed out, as asked for
    std::uint64_t bytes_cached = 0;       // held for reuse, those that wait for a stream included
    std::uint64_t bytes_waiting = 0;      // of them: released behind an event that has not been seen to pass
    std::uint64_t bytes_reclaimable = 0;  // of them: segments that are free as a whole
    std::uint64_t peak_bytes = 0;         // largest bytes_in_use + bytes_cached
    std::uint64_t peak_in_use = 0;        // largest bytes_in_use
    std::uint64_t allocations = 0;        // requests that went to the driver
    std::uint64_t reuses = 0;             // requests served from the cache
    std::uint64_t splits = 0;             // of them: with a part of a larger block
    std::uint64_t evictions = 0;          // cached segments given back to the driver, for whatever reason
    std::uint64_t traded = 0;             // of them: for a larger segment
    std::uint64_t pressure_trims = 0;     // of them: because 90% of what may be used would have been held
    std::uint64_t oom_retries = 0;        // requests refused by driver or budget and tried again
    std::uint64_t oom_failures = 0;       // requests that were refused again
    std::uint64_t defragmentations = 0;   // that moved something
    std::uint64_t blocks_moved = 0;       // by them
    std::uint64_t bytes_moved = 0;
    std::uint64_t objects_in_use = 0;  // blocks handed out
    std::uint64_t objects_cached = 0;  // free blocks that requests can take
    std::uint64_t largest_cached = 0;  // bytes of the largest of them
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
    // Share of the held bytes that are free inside of segments which are in use elsewhere (or wait for a stream). They
    // cannot be given back and serve only what is no larger than they are, so they are all counted as lost; segments that
    // are free as a whole are not, because a request that they do not fit trades them for one that does.
    double external_fragmentation() const {
        const std::uint64_t held = bytes_in_use + bytes_cached;
        return held == 0 ? 0.0
                         : static_cast<double>(bytes_cached - bytes_reclaimable) / static_cast<double>(held);
    }
    // Share of the most that was held which was not in use even at the moment when most was: what a server whose memory
    // must hold the peak pays for fragmentation of every kind (Guo et al. 2024, "GMLake").
    double peak_overhead() const {
        return peak_bytes == 0 ? 0.0
                               : 1.0 - static_cast<double>(peak_in_use) / static_cast<double>(peak_bytes);
    }
};

struct AllocatorBudget {
    std::uint64_t bytes = 0;    // in use + cached; 0: only the device's own limit
    std::uint64_t objects = 0;  // cached blocks; 0: no limit
};

// Memory from the caching allocator; returns to it when destroyed. size() is what was asked for.
class INVAR_API Allocation {
public:
    Allocation() = default;
    Allocation(Allocation&& other) noexcept;
    Allocation& operator=(Allocation&& other) noexcept;
    ~Allocation();
    explicit operator bool() const noexcept { return block_ != nullptr; }
    Buffer& buffer() const noexcept { return *buffer_; }  // what it is a part of, from offset() on
    std::size_t offset() const noexcept { return offset_; }
    std::size_t size() const noexcept { return size_; }
    BufferRef ref(std::size_t offset = 0) const noexcept {
        return {buffer_, offset_ + offset, size_ - offset};
    }
    // Where the host can read and write the bytes, or nullptr.
    std::byte* host() const noexcept {
        std::byte* base = buffer_->host();
        return base ? base + offset_ : nullptr;
    }
    void reset() noexcept;  // gives the memory back now
    // Gives it back while the stream of that id may still use it: requests for that stream may have it at once, others
    // once `passed`, recorded behind the last use, is done.
    void release_behind(std::uint64_t stream, std::shared_ptr<const Event> passed) noexcept;

private:
    friend class CachingAllocator;
    struct Core;
    struct Block;
    struct Chain;
    struct Mover;
    std::shared_ptr<Core> core_;  // outlives the device's allocator object while allocations are alive
    Block* block_ = nullptr;
    Buffer* buffer_ = nullptr;
    std::size_t offset_ = 0;
    std::size_t size_ = 0;
};

class INVAR_API CachingAllocator {
public:
    explicit CachingAllocator(Device& device);
    ~CachingAllocator();  // waits for the events that released memory stands behind
    CachingAllocator(const CachingAllocator&) = delete;
    CachingAllocator& operator=(const CachingAllocator&) = delete;
    // bytes may be 0. zeroed: filled with zero bytes. On OutOfMemory from the driver the cache is trimmed, what waits for
    // a stream waited for, and the request tried once more; then OutOfMemory with sizes and what is cached is thrown.
    // Where more than 90% of the budget (or of the device's memory) would be held, cached segments are given back first;
    // where that is not enough a warning is logged, once until less than 80% is held.
    Allocation allocate(std::size_t bytes, bool zeroed = false);
    // For work of the stream of that id (Stream::id) alone, host access excluded: may be memory that an earlier release
    // left behind work of the same stream.
    Allocation allocate_for(std::uint64_t stream, std::size_t bytes);
    // Brings count blocks of that size into the cache, so that later requests are hits.
    void preallocate(std::size_t bytes, std::size_t count);
    // Gives every segment that is free as a whole back to the driver.
    void trim();
    void set_budget(AllocatorBudget budget);  // evicts what is over it now
    // Moves live blocks out of shared segments into free parts of others, or into new segments where that empties
    // more than it takes, and gives the emptied ones back to the driver. wanted 0: as far as that frees memory. Else
    // no further than a request of so many bytes needs, a free block inside of a segment included, and nothing at all
    // where that cannot be reached. movable: what may be moved; these Allocations are changed in place, so that
    // nobody may use, change or end them meanwhile, no stream's work under way may use them, and a BufferRef taken
    // before is void behind this call. Copies on the stream and waits for it; where that fails nothing has been
    // moved, and its error is thrown.
    Defragmentation defragment(std::span<Allocation* const> movable, Stream& stream, std::size_t wanted = 0);
    // Bytes that are missing before a request of so many can be met, free segments counted as given back; 0: none, by
    // what budget and driver say.
    std::uint64_t shortfall(std::size_t bytes) const;
    AllocatorStatistics statistics() const;
    // Every segment that the driver has given and not got back; none goes back meanwhile.
    void for_each_segment(FunctionRef<void(Buffer&)> visit);
    // The class of a request; what is handed out may be larger, by up to an eighth.
    static std::size_t rounded_size(std::size_t bytes);

private:
    std::shared_ptr<Allocation::Core> core_;
};

MemoryStatistics memory_of(const CachingAllocator& allocator);  // but for what is offloaded

}  // namespace invar
