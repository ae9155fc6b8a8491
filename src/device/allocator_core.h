// SPDX-License-Identifier: Apache-2.0
// The inside of the caching allocator, for its own sources (allocator.cpp, defragment.cpp). A Block is a part of a driver's
// segment, linked to its neighbours there; a free one stands in the list of the largest class that it can serve, and, where
// it is a whole segment, in the list by last use. So a hit is a handful of links.
#pragma once

#include <array>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "device/allocator.h"
#include "device/faults.h"
#include "device/memory_log.h"
#include "device/size_class.h"

namespace invar {

// Requests from kLarge to kShared share segments of kSegment bytes.
inline constexpr std::size_t kLarge = std::size_t{1} << 20, kShared = std::size_t{8} << 20,
                             kSegment = std::size_t{16} << 20;
// A larger request may take a segment of which 1/kMostRest was not asked for.
inline constexpr std::size_t kMostRest = 8;

enum Band : std::uint8_t { kSmall, kSharing, kOwn };
inline Band band_of(std::size_t bytes) {
    return bytes < kLarge ? kSmall : bytes <= kShared ? kSharing : kOwn;
}

inline std::string bytes_text(std::uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

struct Allocation::Block {
    std::unique_ptr<Buffer> owned;  // of the first block of a segment
    Buffer* buffer = nullptr;
    std::size_t offset = 0;
    std::size_t bytes = 0;
    Block *left = nullptr, *right = nullptr;  // neighbours in the segment
    bool free = false, listed = false;
    Band band = kSmall;           // of the segment
    std::size_t class_index = 0;  // where it is listed
    Block* class_next = nullptr;  // free list of the class, newest first; the list of what waits; chains
    Block* class_previous = nullptr;
    Block *newer = nullptr, *older = nullptr;  // free segments by last use
    std::uint64_t stream = 0;                  // which may have it before `passed`
    std::shared_ptr<const Event> passed;
    Core* core = nullptr;  // of the first block of a segment

    ~Block();
    bool whole() const { return !left && !right; }
};

// Blocks on their way back to the driver, linked over class_next. Declared before the lock, so that it ends after it.
struct Allocation::Chain {
    Block* first = nullptr;
    Chain() = default;
    Chain(const Chain&) = delete;
    Chain& operator=(const Chain&) = delete;
    ~Chain() {
        while (first) delete std::exchange(first, first->class_next);
    }
    void push(Block* b) { b->class_next = std::exchange(first, b); }
};

struct Allocation::Core {
    explicit Core(Device& d) : device(&d), device_name(d.name()), device_bytes(d.properties().memory_total) {}
    ~Core() {
        Chain chain;
        take_cached(chain);
        while (spare) chain.push(std::exchange(spare, spare->class_next));
    }

    mutable std::mutex mutex;
    Device* device;  // null once the allocator is gone: released segments then go straight to the driver
    std::string device_name;
    std::uint64_t device_bytes;
    AllocatorBudget budget;
    AllocatorStatistics statistics;
    bool warned = false;
    Block* newest = nullptr;
    Block* oldest = nullptr;
    Block* waiting = nullptr;  // released behind an event, newest first
    Block* spare = nullptr;    // what split blocks are made of
    struct Lists {
        std::array<Block*, kClasses> free{};
        std::array<std::uint64_t, (kClasses + 63) / 64>
            filled{};  // a bit for each class that has a free block
    };
    // By band; of segments that are in use elsewhere, then of those that are free as a whole.
    std::array<std::array<Lists, 2>, 3> lists;

    std::mutex segments_mutex;
    std::unordered_set<Buffer*> segments;

    std::uint64_t held() const { return statistics.bytes_in_use + statistics.bytes_cached; }
    std::uint64_t limit() const { return budget.bytes ? budget.bytes : device_bytes; }

    // ---- free blocks ----

    void add_free(Block* b) {
        b->free = true;
        statistics.bytes_cached += b->bytes;
        b->listed =
            b->whole() || b->bytes >= kLarge;  // a smaller rest serves nobody until its neighbours are free
        if (!b->listed) return;
        Lists& in = lists[b->band][b->whole()];
        b->class_index = class_served(b->bytes);
        b->class_previous = nullptr;
        b->class_next = std::exchange(in.free[b->class_index], b);
        if (b->class_next) b->class_next->class_previous = b;
        in.filled[b->class_index / 64] |= std::uint64_t{1} << b->class_index % 64;
        ++statistics.objects_cached;
        if (!b->whole()) return;
        statistics.bytes_reclaimable += b->bytes;
        b->newer = nullptr;
        b->older = std::exchange(newest, b);
        (b->older ? b->older->newer : oldest) = b;
    }

    void remove_free(Block* b) {
        b->free = false;
        statistics.bytes_cached -= b->bytes;
        if (!b->listed) return;
        Lists& in = lists[b->band][b->whole()];
        (b->class_previous ? b->class_previous->class_next : in.free[b->class_index]) = b->class_next;
        if (b->class_next) b->class_next->class_previous = b->class_previous;
        if (!in.free[b->class_index])
            in.filled[b->class_index / 64] &= ~(std::uint64_t{1} << b->class_index % 64);
        --statistics.objects_cached;
        if (!b->whole()) return;
        statistics.bytes_reclaimable -= b->bytes;
        (b->newer ? b->newer->older : newest) = b->older;
        (b->older ? b->older->newer : oldest) = b->newer;
    }

    // y, the right neighbour of x, becomes part of it; neither is in a list.
    void absorb(Block* x, Block* y) {
        x->bytes += y->bytes;
        x->right = y->right;
        if (x->right) x->right->left = x;
        y->left = y->right = nullptr;
        y->class_next = std::exchange(spare, y);
    }

    // Free from now on, as one block with the neighbours that are free, which is given back.
    Block* merge_free(Block* b) {
        if (Block* r = b->right; r && r->free) {
            remove_free(r);
            absorb(b, r);
        }
        if (Block* l = b->left; l && l->free) {
            remove_free(l);
            absorb(l, b);
            b = l;
        }
        add_free(b);
        return b;
    }

    // A free block that can serve the class. Shared segments that are in use elsewhere are filled up first, so that others
    // stay whole.
    Block* find(const SizeClass& size, std::size_t requested) const {
        const auto& in = lists[band_of(size.bytes)];
        if (size.bytes < kLarge) return in[1].free[size.index];
        if (size.bytes <= kShared)
            if (Block* part = find_in(in[0], size.index)) return part;
        Block* whole = find_in(in[1], size.index);
        const bool fits =
            whole && (size.bytes <= kShared || whole->bytes - requested <= whole->bytes / kMostRest);
        return fits ? whole : nullptr;
    }
    // Of the smallest class that has one.
    static Block* find_in(const Lists& in, std::size_t index) {
        std::size_t word = index / 64;
        std::uint64_t bits = in.filled[word] & (~std::uint64_t{0} << index % 64);
        while (bits == 0) {
            if (++word == in.filled.size()) return nullptr;
            bits = in.filled[word];
        }
        return in.free[word * 64 + static_cast<std::size_t>(std::countr_zero(bits))];
    }

    // Makes r the rest of a block, in no list, that is more than a request needs.
    void split(Block* b, std::size_t bytes, Block* r) {
        r->buffer = b->buffer;
        r->band = b->band;
        r->offset = b->offset + bytes;
        r->bytes = b->bytes - bytes;
        r->left = b;
        r->right = b->right;
        if (r->right) r->right->left = r;
        b->right = r;
        b->bytes = bytes;
        add_free(r);
    }
    static bool worth_splitting(const Block* b, std::size_t bytes) {
        const std::size_t rest = b->bytes - bytes;
        return b->band == kSharing && (rest >= kLarge || rest > b->bytes / 16);
    }

    // Hands out a free block, or the front of it; gives back the rest, or nullptr.
    Block* hand_out(Block* b, std::size_t bytes, std::size_t requested) {
        Block* r = nullptr;
        if (worth_splitting(b, bytes)) {
            r = spare ? std::exchange(spare, spare->class_next) : new Block;
            remove_free(b);
            split(b, bytes, r);
            ++statistics.splits;
        } else {
            remove_free(b);
        }
        count_use(b->bytes, requested);
        return r;
    }

    // Takes a block, or the front of it, for a request.
    Block* take(const SizeClass& size, std::size_t requested) {
        Block* b = find(size, requested);
        if (!b) return nullptr;
        hand_out(b, size.bytes, requested);
        note_peak();
        ++statistics.reuses;
        return b;
    }

    // ---- giving back to the driver ----

    void evict(Block* b, Chain& chain) {
        remove_free(b);
        ++statistics.evictions;
        if (MemoryLog* log = MemoryLog::active()) log->segment_freed(*b->buffer);
        chain.push(b);
    }

    // Takes the least recently used segments out of the cache until the held bytes leave room for extra more and the
    // cached objects are within the budget.
    void evict_for(std::uint64_t extra, Chain& chain) {
        while (oldest && ((budget.bytes && held() + extra > budget.bytes) ||
                          (budget.objects && statistics.objects_cached > budget.objects)))
            evict(oldest, chain);
    }

    // Before a large segment of so many bytes comes: large ones that are free go, as far as held bytes would pass their peak.
    void trade(std::uint64_t bytes, Chain& chain) {
        for (Block* b = oldest; b && held() + bytes > statistics.peak_bytes;) {
            Block* newer = b->newer;
            if (b->bytes >= kLarge) {
                evict(b, chain);
                ++statistics.traded;
            }
            b = newer;
        }
    }

    void take_cached(Chain& chain) {
        while (oldest) evict(oldest, chain);
    }

    void trim() {
        std::vector<std::shared_ptr<const Event>> done;
        Chain chain;
        const std::lock_guard lock(mutex);
        collect_passed(done);
        take_cached(chain);
    }

    // ---- release ----

    // The block is nobody's any more; under the lock.
    void count_release(Block* b, std::size_t requested) {
        if (MemoryLog* log = MemoryLog::active()) log->released(*b->buffer, b->offset);
        count_return(b, requested);
    }
    void count_return(const Block* b, std::size_t requested) {
        statistics.bytes_in_use -= b->bytes;
        statistics.bytes_requested -= requested;
        --statistics.objects_in_use;
    }

    void release(Block* b, std::size_t requested) noexcept {
        Chain chain;
        const std::lock_guard lock(mutex);
        count_release(b, requested);
        merge_free(b);
        if (device)
            evict_for(0, chain);
        else
            take_cached(chain);
    }

    void release_behind(Block* b, std::size_t requested, std::uint64_t stream,
                        std::shared_ptr<const Event> passed) noexcept {
        {
            const std::lock_guard lock(mutex);
            if (device) {
                count_release(b, requested);
                b->stream = stream;
                b->passed = std::move(passed);
                b->class_next = std::exchange(waiting, b);
                statistics.bytes_cached += b->bytes;
                statistics.bytes_waiting += b->bytes;
                return;
            }
        }
        wait_for(*passed);  // the allocator is gone, and the driver must not have it while a stream uses it
        release(b, requested);
    }

    // An error of the work belongs to whoever waits for the stream.
    static void wait_for(const Event& passed) noexcept {
        try {
            passed.wait();
        } catch (const std::exception& e) {
            log(LogLevel::kDebug, std::string("work before a release failed: ") + e.what());
        }
    }

    Block* unlink_waiting(Block** at) {
        Block* b = *at;
        *at = b->class_next;
        statistics.bytes_cached -= b->bytes;
        statistics.bytes_waiting -= b->bytes;
        return b;
    }

    // What a request of the stream may have although its event has not passed.
    Block* take_waiting(std::uint64_t stream, const SizeClass& size, std::size_t requested,
                        std::shared_ptr<const Event>& passed) {
        for (Block** at = &waiting; *at; at = &(*at)->class_next) {
            Block* b = *at;
            if (b->stream != stream || b->bytes < size.bytes || b->bytes - size.bytes > b->bytes / 16)
                continue;
            unlink_waiting(at);
            passed = std::move(b->passed);
            count_use(b->bytes, requested);
            note_peak();
            ++statistics.reuses;
            return b;
        }
        return nullptr;
    }

    // What waited for events that have passed becomes free. The events are handed out, to end without the lock.
    void collect_passed(std::vector<std::shared_ptr<const Event>>& done) {
        for (Block** at = &waiting; *at;) {
            if (!(*at)->passed->done()) {
                at = &(*at)->class_next;
                continue;
            }
            Block* b = unlink_waiting(at);
            done.push_back(std::move(b->passed));
            merge_free(b);
        }
    }

    // Waits until nothing is left that waits for a stream.
    void drain() {
        std::vector<std::shared_ptr<const Event>> events;
        {
            const std::lock_guard lock(mutex);
            for (const Block* b = waiting; b; b = b->class_next) events.push_back(b->passed);
        }
        for (const auto& e : events) wait_for(*e);
        std::vector<std::shared_ptr<const Event>> done;
        const std::lock_guard lock(mutex);
        collect_passed(done);
    }

    // ---- allocation ----

    // Counts a block as handed out; under the lock.
    void count_use(std::size_t bytes, std::size_t requested) {
        statistics.bytes_in_use += bytes;
        statistics.bytes_requested += requested;
        ++statistics.objects_in_use;
    }

    void note_peak() {
        statistics.peak_in_use = std::max(statistics.peak_in_use, statistics.bytes_in_use);
        statistics.peak_bytes = std::max(statistics.peak_bytes, held());
    }

    // Makes room for a segment, and tells whether the memory that may be used runs out; under the lock.
    bool make_room(std::size_t bytes, Chain& chain) {
        if (bytes >= kLarge) trade(bytes, chain);
        evict_for(bytes, chain);
        if (limit() == 0) return false;
        while (oldest && held() + bytes > limit() / 10 * 9) {
            evict(oldest, chain);
            ++statistics.pressure_trims;
        }
        const bool full = held() + bytes > limit() / 10 * 9;
        const bool warn = full && !warned;
        if (full || held() + bytes <= limit() / 10 * 8) warned = full;
        return warn;
    }

    // One request to the driver, for a segment of which the request takes the front. The bytes are reserved first, so that
    // threads together stay within the budget, and the driver is called without the lock. Throws OutOfMemory with
    // nothing changed.
    Block* ask_driver(std::size_t segment, const SizeClass& size, std::size_t requested) {
        bool warn = false;
        {
            Chain chain;
            const std::lock_guard lock(mutex);
            warn = make_room(segment, chain);
            if (budget.bytes && held() + segment > budget.bytes) {
                const std::uint64_t left = budget.bytes > held() ? budget.bytes - held() : 0;
                throw OutOfMemory("the budget of " + bytes_text(budget.bytes) + " leaves " + bytes_text(left),
                                  requested, left);
            }
            count_use(segment, requested);
        }
        if (warn)
            log(LogLevel::kWarning, device_name +
                                        ": more than 90% of the memory that may be used is held; expect "
                                        "evictions, and errors when it is full");
        try {
            if (fault_fires(FaultSite::oom, device_name, device_name))
                throw OutOfMemory("injected by INVAR_FAULTS", requested, 0);
            auto block = std::make_unique<Block>();
            block->owned = device->allocate_raw(segment);
            block->buffer = block->owned.get();
            {
                const std::lock_guard lock(segments_mutex);
                segments.insert(block->buffer);
                block->core = this;
            }
            block->bytes = segment;
            block->band = band_of(size.bytes);
            auto rest = segment > size.bytes ? std::make_unique<Block>() : nullptr;
            if (MemoryLog* log = MemoryLog::active()) log->segment_made(device_name, *block->buffer, segment);
            const std::lock_guard lock(mutex);
            ++statistics.allocations;
            if (rest) {
                statistics.bytes_in_use -= segment - size.bytes;
                split(block.get(), size.bytes, rest.release());
            }
            note_peak();
            return block.release();
        } catch (...) {
            const std::lock_guard lock(mutex);
            statistics.bytes_in_use -= segment;
            statistics.bytes_requested -= requested;
            --statistics.objects_in_use;
            throw;
        }
    }

    Allocation allocate(const std::shared_ptr<Core>& self, std::uint64_t stream, std::size_t bytes);

    // Whether a segment of so many bytes leaves a share of what may be used.
    bool room_for(std::size_t segment) const {
        const std::lock_guard lock(mutex);
        return limit() == 0 || held() + segment <= limit() / 10 * 9;
    }

    // The driver, then the rungs below a refusal: trim and ask once more, then a typed error.
    Block* allocate_from_driver(const SizeClass& size, std::size_t requested) {
        // A shared segment is a convenience: where there is no room for it the request is tried alone.
        if (band_of(size.bytes) == kSharing && room_for(kSegment)) try {
                return ask_driver(kSegment, size, requested);
            } catch (const OutOfMemory& e) {
                log(LogLevel::kDebug, device_name + ": no shared segment (" + e.what() + ")");
            }
        try {
            return ask_driver(size.bytes, size, requested);
        } catch (const OutOfMemory& e) {
            log(LogLevel::kInfo, device_name + ": " + bytes_text(size.bytes) + " refused (" + e.what() +
                                     "); the cache is trimmed and the request tried again");
        }
        {
            const std::lock_guard lock(mutex);
            ++statistics.oom_retries;
        }
        drain();
        trim();
        try {
            return ask_driver(size.bytes, size, requested);
        } catch (const OutOfMemory& e) {
            std::uint64_t in_use, objects;
            {
                const std::lock_guard lock(mutex);
                ++statistics.oom_failures;
                in_use = statistics.bytes_in_use;
                objects = statistics.objects_in_use;
            }
            throw OutOfMemory(
                device_name + ": no room for " + bytes_text(requested) + " (" + bytes_text(size.bytes) +
                    " as rounded) although the cache was emptied; in use " + bytes_text(in_use) + " in " +
                    std::to_string(objects) + " buffers: " + e.what() +
                    ". Free what is not needed, use a smaller model, batch or dtype, or raise the budget",
                requested, e.available());
        }
    }
};

}  // namespace invar
