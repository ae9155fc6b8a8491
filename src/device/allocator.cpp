// SPDX-License-Identifier: Apache-2.0
// The caching allocator as its users see it; allocator_core.h is what it does.
#include "device/allocator.h"

#include <cstring>

#include "device/allocator_core.h"

namespace invar {

Allocation::Block::~Block() {
    if (!core) return;
    const std::lock_guard lock(core->segments_mutex);
    core->segments.erase(owned.get());
    owned.reset();
}

Allocation::Allocation(Allocation&& other) noexcept
    : core_(std::move(other.core_)),
      block_(std::exchange(other.block_, nullptr)),
      buffer_(std::exchange(other.buffer_, nullptr)),
      offset_(std::exchange(other.offset_, 0)),
      size_(std::exchange(other.size_, 0)) {}

Allocation& Allocation::operator=(Allocation&& other) noexcept {
    if (this != &other) {
        reset();
        core_ = std::move(other.core_);
        block_ = std::exchange(other.block_, nullptr);
        buffer_ = std::exchange(other.buffer_, nullptr);
        offset_ = std::exchange(other.offset_, 0);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Allocation::~Allocation() { reset(); }

void Allocation::reset() noexcept {
    if (!block_) return;
    core_->release(std::exchange(block_, nullptr), size_);
    *this = Allocation();
}

void Allocation::release_behind(std::uint64_t stream, std::shared_ptr<const Event> passed) noexcept {
    if (!block_) return;
    core_->release_behind(std::exchange(block_, nullptr), size_, stream, std::move(passed));
    *this = Allocation();
}

void CachingAllocator::for_each_segment(FunctionRef<void(Buffer&)> visit) {
    const std::lock_guard lock(core_->segments_mutex);
    for (Buffer* segment : core_->segments) visit(*segment);
}

CachingAllocator::CachingAllocator(Device& device) : core_(std::make_shared<Allocation::Core>(device)) {
    MemoryLog::start_from_environment();
}

CachingAllocator::~CachingAllocator() {
    {
        const std::lock_guard lock(core_->mutex);
        core_->device = nullptr;
    }
    core_->drain();
    core_->trim();
}

// stream: whose memory that waits may be taken, or 0.
Allocation Allocation::Core::allocate(const std::shared_ptr<Core>& self, std::uint64_t stream,
                                      std::size_t bytes) {
    if (bytes > std::size_t{1} << kMaxBits)
        throw OutOfMemory(
            device_name + ": " + bytes_text(bytes) + " are more than any device has; check the sizes", bytes,
            0);
    const SizeClass size = size_class(bytes);
    std::shared_ptr<const Event> passed;
    std::vector<std::shared_ptr<const Event>> done;
    Allocation result;
    {
        const std::lock_guard lock(mutex);
        if (waiting && stream) result.block_ = take_waiting(stream, size, bytes, passed);
        if (!result.block_) result.block_ = take(size, bytes);
        if (!result.block_ && waiting) {
            collect_passed(done);
            result.block_ = take(size, bytes);
        }
    }
    if (!result.block_) result.block_ = allocate_from_driver(size, bytes);
    result.core_ = self;
    result.buffer_ = result.block_->buffer;
    result.offset_ = result.block_->offset;
    result.size_ = bytes;
    if (MemoryLog* log = MemoryLog::active())
        log->allocated(device_name, *result.buffer_, result.offset_, result.block_->bytes, bytes);
    return result;
}

Allocation CachingAllocator::allocate_for(std::uint64_t stream, std::size_t bytes) {
    return core_->allocate(core_, stream, bytes);
}

Allocation CachingAllocator::allocate(std::size_t bytes, bool zeroed) {
    Allocation result = core_->allocate(core_, 0, bytes);
    if (zeroed && bytes != 0) {
        if (std::byte* host = result.host()) {
            std::memset(host, 0, bytes);
        } else {
            const std::unique_ptr<Stream> stream = core_->device->make_stream();
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
    for (const auto& band : core_->lists)
        for (const auto& in : band)
            for (std::size_t i = kClasses, most = 0; i-- > 0 && most == 0;) {
                for (const Allocation::Block* b = in.free[i]; b; b = b->class_next)
                    most = std::max(most, b->bytes);
                s.largest_cached = std::max<std::uint64_t>(s.largest_cached, most);
            }
    return s;
}

std::size_t CachingAllocator::rounded_size(std::size_t bytes) {
    return bytes > std::size_t{1} << kMaxBits ? bytes : size_class(bytes).bytes;
}

}  // namespace invar
