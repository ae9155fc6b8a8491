// SPDX-License-Identifier: Apache-2.0
// The memory of tensors: where the bytes of a leaf lie, and all of a device's such memory, so that it can be moved to other
// places of the device and, where nothing else makes room, to the host and back (graph/make_room.h).
//
// A place is valid for as long as nobody may move it: whoever asks for one (ref) holds the lock of the device's
// executor until its stream has the work that uses it, and calls nothing in between that climbs the recovery ladder
// (evaluation, calls and preparation of compiled functions). Memory is only moved under that lock and behind all work
// of the stream, so work in flight is never touched; and what is kept from one run to the next (captured graphs) is
// compared with the places of the run.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "device/allocator.h"
#include "device/device.h"

namespace invar::graph {

class Executor;
class StorageSet;

// Bytes on a device that a leaf stands for.
class INVAR_API Storage {
public:
    // Memory of the device's allocator; see allocate_storage.
    Storage(std::shared_ptr<Device> device, Allocation memory, std::size_t bytes, StorageSet& set);
    // Host memory that is used in place.
    Storage(std::shared_ptr<Device> device, std::unique_ptr<Buffer> wrapped, std::size_t bytes);
    ~Storage();
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;

    const std::shared_ptr<Device> device;
    const std::size_t bytes;
    std::uint64_t epoch = 0;  // the device's memory_epoch() when all of the bytes were written there
    bool degraded = false;    // a lower rung of the recovery ladder computed it (invar/recovery.h)
    // Counts the times that somebody wrote over what lay there: what is kept by a tensor's identity asks for it too.
    std::atomic<std::uint64_t> overwritten{0};

    // Where the bytes lie, brought back to the device where they had left it: the caller holds the executor's lock. Throws
    // OutOfMemory and the errors of the upload, and is then as before.
    BufferRef ref();
    // Whether what it held went with the device's memory. What lies in memory of the host does not.
    bool lost() const { return memory_ && epoch != device->memory_epoch(); }
    // The bytes while they are on the host, else nullptr; under the same lock.
    const std::byte* offloaded() const noexcept { return host_.get(); }

private:
    friend class StorageSet;
    void bring_back();

    std::unique_ptr<Buffer> wrapped_;
    Allocation memory_;
    std::shared_ptr<const std::byte[]> host_;  // the bytes, instead of memory_
    StorageSet* set_ = nullptr;                // of memory of the allocator
    std::uint64_t used_ = 0;                   // when a place was asked for last, in works of the executor
};

// What Storages of the allocator's memory a device has. It lives as long as the device.
class INVAR_API StorageSet {
public:
    explicit StorageSet(const std::atomic<std::uint64_t>& clock) : clock_(clock) {}
    void add(const std::shared_ptr<Storage>& storage);  // from any thread

    // The rest under the executor's lock, the stream's work passed.
    // movable: what else may be moved than these Storages.
    Defragmentation defragment(Device& device, Stream& stream, std::size_t wanted,
                               std::vector<Allocation*> movable);
    // Takes so many bytes of the tensors that were used longest ago, those of `hot` left out, to the host, and gives
    // their memory back. Gives the bytes that went: 0, with nothing changed, where there are not so many. Nothing has
    // changed where a download fails.
    std::uint64_t offload(Stream& stream, std::uint64_t bytes, const std::vector<Storage*>& hot);
    std::uint64_t bytes_offloaded() const noexcept { return bytes_offloaded_; }
    void add_statistics(MemoryStatistics& statistics) const;

private:
    friend class Storage;
    std::vector<std::shared_ptr<Storage>> living();

    const std::atomic<std::uint64_t>& clock_;
    std::mutex mutex_;
    std::vector<std::weak_ptr<Storage>> all_;
    std::size_t sweep_at_ = 64;  // gone ones are taken out when there are so many
    std::atomic<std::uint64_t> bytes_offloaded_{0}, offloads_{0}, restores_{0};
};

// Memory for a tensor. Throws OutOfMemory; moves nothing.
INVAR_API std::shared_ptr<Storage> allocate_storage(const std::shared_ptr<Device>& device, std::size_t bytes,
                                                    bool zeroed);

}  // namespace invar::graph
