// SPDX-License-Identifier: Apache-2.0
// The recorder behind invar/memory.h: the segments that allocators took from their drivers, and the blocks in them with the
// time at which they were handed out and given back and a tag that says for what.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <invar/export.h>

namespace invar {

class Buffer;

// Times are nanoseconds from the start of the recording; kMemoryOpen: not yet.
inline constexpr std::int64_t kMemoryOpen = -1;

struct MemorySegment {
    std::string device;
    std::uint64_t bytes = 0;
    std::int64_t begin = 0, end = kMemoryOpen;
};

struct MemoryBlock {
    std::size_t segment = 0;
    std::uint64_t offset = 0, bytes = 0, requested = 0;
    std::int64_t begin = 0, end = kMemoryOpen;
    std::string tag;
};

// Something that was done to a device's memory as a whole.
struct MemoryMark {
    std::int64_t time = 0;
    std::string device, text;
};

struct MemoryHistory {
    std::vector<MemorySegment> segments;  // in the order in which they were made
    std::vector<MemoryBlock> blocks;      // in the order in which they were handed out
    std::vector<MemoryMark> marks;        // in order of time
    std::int64_t end = 0;                 // when the history was taken
    std::uint64_t left_out = 0;           // blocks beyond the most that are kept
};

class INVAR_API MemoryLog {
public:
    // The one that records, or nullptr: the only thing that an allocation asks where nothing does.
    static MemoryLog* active() noexcept { return active_.load(std::memory_order_acquire); }
    static void start();
    static void stop() noexcept;
    // Starts where INVAR_MEMORY_TRACE names a file, and has it written when the process ends. Once a process.
    static void start_from_environment();
    // Empty where nothing has been recorded.
    static MemoryHistory history();

    // Told by the allocators; never throw (what does not fit in memory is left out).
    void segment_made(const std::string& device, const Buffer& buffer, std::uint64_t bytes) noexcept;
    void segment_freed(const Buffer& buffer) noexcept;
    void allocated(const std::string& device, const Buffer& buffer, std::uint64_t offset, std::uint64_t bytes,
                   std::uint64_t requested) noexcept;
    void released(const Buffer& buffer, std::uint64_t offset) noexcept;
    // The block of one place lies in another from now on, with its tag.
    void moved(const std::string& device, const Buffer& from, std::uint64_t from_offset, const Buffer& to,
               std::uint64_t offset, std::uint64_t bytes) noexcept;
    void mark(const std::string& device, const std::string& text) noexcept;

private:
    std::int64_t now() const;
    // Under the lock; end() gives the block, where it is known.
    void add(const std::string& device, const Buffer& buffer, std::uint64_t offset, std::uint64_t bytes,
             std::uint64_t requested, std::string_view tag) noexcept;
    MemoryBlock* end(const Buffer& buffer, std::uint64_t offset) noexcept;
    // INVAR_API exports the class with its data: modules share the one recorder.
    static std::atomic<MemoryLog*> active_;

    std::mutex mutex_;
    std::chrono::steady_clock::time_point start_;
    std::int64_t end_ = kMemoryOpen;  // when it was stopped
    MemoryHistory history_;
    std::unordered_map<std::uint64_t, std::size_t> segment_of_;                // by Buffer::id
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> block_of_;  // by Buffer::id and offset
};

// What this thread allocates for, while it lives: "weights", "kv cache". The text must outlive it.
class INVAR_API MemoryTag {
public:
    explicit MemoryTag(std::string_view text) noexcept;
    ~MemoryTag();
    MemoryTag(const MemoryTag&) = delete;
    MemoryTag& operator=(const MemoryTag&) = delete;
    static std::string_view current() noexcept;

private:
    std::string_view previous_;
};

}  // namespace invar
