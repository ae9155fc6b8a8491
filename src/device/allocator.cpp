// SPDX-License-Identifier: Apache-2.0
// The caching allocator. A Block holds one driver buffer and the links of two intrusive lists: the free list of its
// size class and the list of all cached blocks by last use. So a hit is two unlinks.
#include "device/allocator.h"

#include <array>
#include <bit>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/log.h"
#include "device/faults.h"

namespace invar {
namespace {

constexpr std::size_t kGranule = 256;       // smallest class and step
constexpr int kSmallBits = 11;              // below 2^11 the classes are multiples of the granule
constexpr std::size_t kBigStep = 2u << 20;  // from 16 MiB no step is smaller: huge pages stay whole
constexpr int kMaxBits = 48;                // larger requests are refused before the driver sees them

// log2 of the step between classes in [2^bits, 2^(bits+1)).
constexpr int step_bits(int bits) {
    if (bits < kSmallBits) return std::countr_zero(kGranule);
    if (bits < 24) return bits - 3;
    return std::max(std::countr_zero(kBigStep), bits - 5);
}

// Index of the first class above 2^bits.
constexpr std::array<int, kMaxBits + 1> kFirstClass = [] {
    std::array<int, kMaxBits + 1> first{};
    int next = (1 << kSmallBits) / static_cast<int>(kGranule);
    for (int bits = kSmallBits; bits <= kMaxBits; ++bits) {
        first[static_cast<std::size_t>(bits)] = next;
        next += 1 << (bits - step_bits(bits));
    }
    return first;
}();
constexpr std::size_t kClasses = static_cast<std::size_t>(kFirstClass[kMaxBits]);

struct SizeClass {
    std::size_t index;
    std::size_t bytes;
};

// bytes <= 2^kMaxBits.
SizeClass size_class(std::size_t bytes) {
    if (bytes <= (1u << kSmallBits)) {
        const std::size_t steps = bytes <= kGranule ? 1 : (bytes + kGranule - 1) / kGranule;
        return {steps - 1, steps * kGranule};
    }
    const int bits = std::bit_width(bytes - 1) - 1;  // 2^bits < bytes <= 2^(bits+1)
    const int step = step_bits(bits);
    const std::size_t base = std::size_t{1} << bits;
    const std::size_t steps = (bytes - base + (std::size_t{1} << step) - 1) >> step;
    return {static_cast<std::size_t>(kFirstClass[static_cast<std::size_t>(bits)]) + steps - 1,
            base + (steps << step)};
}

std::string bytes_text(std::uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

struct Allocation::Block {
    std::unique_ptr<Buffer> buffer;
    std::size_t class_index = 0;
    std::size_t bytes = 0;
    Block* class_next = nullptr;  // free list of the class, newest first
    Block* class_previous = nullptr;
    Block *newer = nullptr, *older = nullptr;  // all cached blocks by last use
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
    }

    mutable std::mutex mutex;
    Device* device;  // null once the allocator is gone: released blocks then go straight to the driver
    std::string device_name;
    std::uint64_t device_bytes;
    AllocatorBudget budget;
    AllocatorStatistics statistics;
    bool warned = false;
    Block* newest = nullptr;
    Block* oldest = nullptr;
    std::array<Block*, kClasses> free{};

    std::uint64_t held() const { return statistics.bytes_in_use + statistics.bytes_cached; }

    void link(Block* b) {
        b->class_previous = nullptr;
        b->class_next = std::exchange(free[b->class_index], b);
        if (b->class_next) b->class_next->class_previous = b;
        b->newer = nullptr;
        b->older = std::exchange(newest, b);
        (b->older ? b->older->newer : oldest) = b;
        statistics.bytes_cached += b->bytes;
        ++statistics.objects_cached;
    }

    void unlink(Block* b) {
        (b->class_previous ? b->class_previous->class_next : free[b->class_index]) = b->class_next;
        if (b->class_next) b->class_next->class_previous = b->class_previous;
        (b->newer ? b->newer->older : newest) = b->older;
        (b->older ? b->older->newer : oldest) = b->newer;
        statistics.bytes_cached -= b->bytes;
        --statistics.objects_cached;
    }

    // Takes the least recently used blocks out of the cache until the held bytes leave room for extra more and the
    // cached objects are within the budget.
    void evict_for(std::uint64_t extra, Chain& chain) {
        while (oldest && ((budget.bytes && held() + extra > budget.bytes) ||
                          (budget.objects && statistics.objects_cached > budget.objects))) {
            Block* b = oldest;
            unlink(b);
            ++statistics.evictions;
            chain.push(b);
        }
    }

    void take_cached(Chain& chain) {
        while (oldest) {
            Block* b = oldest;
            unlink(b);
            ++statistics.evictions;
            chain.push(b);
        }
    }

    void trim() {
        Chain chain;
        const std::lock_guard lock(mutex);
        take_cached(chain);
    }

    void release(Block* b, std::size_t requested) noexcept {
        Chain chain;
        const std::lock_guard lock(mutex);
        statistics.bytes_in_use -= b->bytes;
        statistics.bytes_requested -= requested;
        --statistics.objects_in_use;
        if (device) {
            link(b);
            evict_for(0, chain);
        } else {
            chain.push(b);
        }
    }

    // Counts a block as handed out; under the lock.
    void count_use(std::size_t bytes, std::size_t requested) {
        statistics.bytes_in_use += bytes;
        statistics.bytes_requested += requested;
        ++statistics.objects_in_use;
        statistics.peak_bytes = std::max(statistics.peak_bytes, held());
    }

    // One request to the driver. The bytes are reserved first, so that threads together stay within the budget, and
    // the driver is called without the lock. Throws OutOfMemory with nothing changed.
    Block* ask_driver(const SizeClass& size, std::size_t requested) {
        bool warn = false;
        {
            Chain chain;
            const std::lock_guard lock(mutex);
            evict_for(size.bytes, chain);
            if (budget.bytes && held() + size.bytes > budget.bytes) {
                const std::uint64_t left = budget.bytes > held() ? budget.bytes - held() : 0;
                throw OutOfMemory("the budget of " + bytes_text(budget.bytes) + " leaves " + bytes_text(left),
                                  requested, left);
            }
            count_use(size.bytes, requested);
            const std::uint64_t limit = budget.bytes ? budget.bytes : device_bytes;
            warn = !warned && limit && held() > limit / 10 * 9;
            warned |= warn;
        }
        if (warn)
            log(LogLevel::kWarning, device_name +
                                        ": more than 90% of the memory that may be used is held; expect "
                                        "evictions, and errors when it is full");
        try {
            if (fault_fires(FaultSite::oom, device_name))
                throw OutOfMemory("injected by INVAR_FAULTS", requested, 0);
            auto block = std::make_unique<Block>();
            block->buffer = device->allocate_raw(size.bytes);
            block->class_index = size.index;
            block->bytes = size.bytes;
            const std::lock_guard lock(mutex);
            ++statistics.allocations;
            return block.release();
        } catch (...) {
            const std::lock_guard lock(mutex);
            statistics.bytes_in_use -= size.bytes;
            statistics.bytes_requested -= requested;
            --statistics.objects_in_use;
            throw;
        }
    }

    // The driver, then the rungs below a refusal: trim and ask once more, then a typed error.
    Block* allocate_from_driver(const SizeClass& size, std::size_t requested) {
        try {
            return ask_driver(size, requested);
        } catch (const OutOfMemory& e) {
            log(LogLevel::kInfo, device_name + ": " + bytes_text(size.bytes) + " refused (" + e.what() +
                                     "); the cache is trimmed and the request tried again");
        }
        {
            const std::lock_guard lock(mutex);
            ++statistics.oom_retries;
        }
        trim();
        try {
            return ask_driver(size, requested);
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

Allocation::Allocation(Allocation&& other) noexcept
    : core_(std::move(other.core_)),
      block_(std::exchange(other.block_, nullptr)),
      buffer_(std::exchange(other.buffer_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Allocation& Allocation::operator=(Allocation&& other) noexcept {
    if (this != &other) {
        reset();
        core_ = std::move(other.core_);
        block_ = std::exchange(other.block_, nullptr);
        buffer_ = std::exchange(other.buffer_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Allocation::~Allocation() { reset(); }

void Allocation::reset() noexcept {
    if (!block_) return;
    core_->release(std::exchange(block_, nullptr), size_);
    core_.reset();
    buffer_ = nullptr;
    size_ = 0;
}

CachingAllocator::CachingAllocator(Device& device) : core_(std::make_shared<Allocation::Core>(device)) {}

CachingAllocator::~CachingAllocator() {
    {
        const std::lock_guard lock(core_->mutex);
        core_->device = nullptr;
    }
    core_->trim();
}

Allocation CachingAllocator::allocate(std::size_t bytes, bool zeroed) {
    Allocation::Core& core = *core_;
    if (bytes > std::size_t{1} << kMaxBits)
        throw OutOfMemory(
            core.device_name + ": " + bytes_text(bytes) + " are more than any device has; check the sizes",
            bytes, 0);
    const SizeClass size = size_class(bytes);
    Allocation result;
    {
        const std::lock_guard lock(core.mutex);
        if (Allocation::Block* b = core.free[size.index]) {
            core.unlink(b);
            core.count_use(size.bytes, bytes);
            ++core.statistics.reuses;
            result.block_ = b;
        }
    }
    if (!result.block_) result.block_ = core.allocate_from_driver(size, bytes);
    result.core_ = core_;
    result.buffer_ = result.block_->buffer.get();
    result.size_ = bytes;
    if (zeroed && bytes != 0) {
        if (std::byte* host = result.buffer_->host()) {
            std::memset(host, 0, bytes);
        } else {
            const std::unique_ptr<Stream> stream = core.device->make_stream();
            stream->fill(result.ref(), 0);
            stream->synchronize();
        }
    }
    return result;
}

void CachingAllocator::preallocate(std::size_t bytes, std::size_t count) {
    std::vector<Allocation> held;
    held.reserve(count);
    for (std::size_t i = 0; i < count; ++i) held.push_back(allocate(bytes));
}

void CachingAllocator::trim() { core_->trim(); }

void CachingAllocator::set_budget(AllocatorBudget budget) {
    Allocation::Chain chain;
    const std::lock_guard lock(core_->mutex);
    core_->budget = budget;
    core_->warned = false;
    core_->evict_for(0, chain);
}

AllocatorStatistics CachingAllocator::statistics() const {
    const std::lock_guard lock(core_->mutex);
    AllocatorStatistics s = core_->statistics;
    for (std::size_t i = kClasses; i-- > 0;)
        if (const Allocation::Block* b = core_->free[i]) {
            s.largest_cached = b->bytes;
            break;
        }
    return s;
}

std::size_t CachingAllocator::rounded_size(std::size_t bytes) {
    return bytes > std::size_t{1} << kMaxBits ? bytes : size_class(bytes).bytes;
}

}  // namespace invar
