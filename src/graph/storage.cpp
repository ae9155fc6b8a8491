// SPDX-License-Identifier: Apache-2.0
// The memory of tensors, moved and brought back.
#include "graph/storage.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <unordered_set>

#include "base/log.h"
#include "graph/executor.h"

namespace invar::graph {
namespace {

// Behind a failure that is thrown: what was started before it may still write where it was told to.
void wait_for_rest(Stream& stream) noexcept {
    try {
        stream.synchronize();
    } catch (const std::exception& e) {
        log(LogLevel::kDebug, std::string("behind a failed download: ") + e.what());
    }
}

}  // namespace

Storage::Storage(std::shared_ptr<Device> on, Allocation memory, std::size_t size, StorageSet& set)
    : device(std::move(on)),
      bytes(size),
      epoch(device->memory_epoch()),
      memory_(std::move(memory)),
      set_(&set),
      used_(set.clock_) {}

Storage::Storage(std::shared_ptr<Device> on, std::unique_ptr<Buffer> wrapped, std::size_t size)
    : device(std::move(on)), bytes(size), wrapped_(std::move(wrapped)) {}

Storage::~Storage() {
    if (host_) set_->bytes_offloaded_ -= bytes;
}

BufferRef Storage::ref() {
    if (wrapped_) return {wrapped_.get(), 0, bytes};
    used_ = set_->clock_;
    if (host_) bring_back();
    return memory_.ref();
}

void Storage::bring_back() {
    Allocation memory = allocate(*device, bytes);
    const std::uint64_t now = device->memory_epoch();
    const std::shared_ptr<Executor> executor = Executor::of(*device);
    executor->with_stream([&](Stream& s) { s.upload(memory.ref(), host_.get(), bytes); });
    executor->synchronize();
    memory_ = std::move(memory);
    epoch = now;
    host_ = nullptr;
    set_->bytes_offloaded_ -= bytes;
    ++set_->restores_;
}

void StorageSet::add(const std::shared_ptr<Storage>& storage) {
    const std::lock_guard lock(mutex_);
    if (all_.size() >= sweep_at_) {
        std::erase_if(all_, [](const auto& s) { return s.expired(); });
        sweep_at_ = std::max<std::size_t>(64, 2 * all_.size());
    }
    all_.push_back(storage);
}

std::vector<std::shared_ptr<Storage>> StorageSet::living() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Storage>> living;
    for (const auto& s : all_)
        if (std::shared_ptr<Storage> alive = s.lock()) living.push_back(std::move(alive));
    return living;
}

Defragmentation StorageSet::defragment(Device& device, Stream& stream, std::size_t wanted,
                                       std::vector<Allocation*> movable) {
    const std::vector<std::shared_ptr<Storage>> storages = living();  // none ends while it is moved
    for (const auto& s : storages)
        if (s->memory_) movable.push_back(&s->memory_);
    return device.allocator().defragment(movable, stream, wanted);
}

std::uint64_t StorageSet::offload(Stream& stream, std::uint64_t bytes, const std::vector<Storage*>& hot) {
    const std::unordered_set<const Storage*> stay(hot.begin(), hot.end());
    std::vector<std::shared_ptr<Storage>> cold = living();
    std::erase_if(cold, [&](const auto& s) {
        return !s->memory_ || s->bytes == 0 || s->lost() || stay.contains(s.get());
    });
    std::uint64_t possible = 0;
    for (const auto& s : cold) possible += s->bytes;
    if (possible < bytes) return 0;
    // Those of one work in the order in which they were made.
    std::vector<std::size_t> order(cold.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return cold[a]->used_ != cold[b]->used_ ? cold[a]->used_ < cold[b]->used_ : a < b;
    });
    struct Leaving {
        Storage* storage;
        std::shared_ptr<std::byte[]> host;
    };
    std::vector<Leaving> leaving;
    std::uint64_t going = 0;
    try {
        for (const std::size_t i : order) {
            if (going >= bytes) break;
            leaving.push_back({cold[i].get(), std::make_shared_for_overwrite<std::byte[]>(cold[i]->bytes)});
            going += cold[i]->bytes;
        }
    } catch (const std::bad_alloc&) {
        log(LogLevel::kWarning, "the host has no memory for what is to leave a device");
        return 0;
    }
    try {
        for (const Leaving& l : leaving)
            stream.download(l.host.get(), l.storage->memory_.ref(), l.storage->bytes);
        stream.synchronize();
    } catch (...) {
        wait_for_rest(stream);
        throw;
    }
    for (Leaving& l : leaving) {
        l.storage->host_ = std::move(l.host);
        l.storage->memory_.reset();
        bytes_offloaded_ += l.storage->bytes;
        ++offloads_;
    }
    return going;
}

void StorageSet::add_statistics(MemoryStatistics& statistics) const {
    statistics.bytes_offloaded = bytes_offloaded_;
    statistics.offloads = offloads_;
    statistics.restores = restores_;
}

std::shared_ptr<Storage> allocate_storage(const std::shared_ptr<Device>& device, std::size_t bytes,
                                          bool zeroed) {
    StorageSet& set = Executor::of(*device)->storages();
    const std::uint64_t epoch = device->memory_epoch();  // a loss behind it takes the zeros along
    auto storage = std::make_shared<Storage>(device, allocate(*device, bytes, zeroed), bytes, set);
    storage->epoch = epoch;
    set.add(storage);
    return storage;
}

}  // namespace invar::graph
