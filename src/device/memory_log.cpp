// SPDX-License-Identifier: Apache-2.0
// Recording of allocations. The recorder is made once and never destroyed, so that allocators may outlive everything else.
#include "device/memory_log.h"

#include <cstdlib>
#include <exception>
#include <mutex>

#include <invar/memory.h>

#include "base/env.h"
#include "base/log.h"
#include "device/device.h"

namespace invar {
namespace {

constexpr std::size_t kMaxBlocks = std::size_t{1} << 20;

thread_local std::string_view current_tag;

// Leaked on purpose: releases at the end of the process may still ask for it.
MemoryLog& recorder() {
    static auto* log = new MemoryLog;
    return *log;
}

}  // namespace

std::atomic<MemoryLog*> MemoryLog::active_{nullptr};

MemoryTag::MemoryTag(std::string_view text) noexcept : previous_(std::exchange(current_tag, text)) {}
MemoryTag::~MemoryTag() { current_tag = previous_; }
std::string_view MemoryTag::current() noexcept { return current_tag; }

void MemoryLog::start() {
    MemoryLog& log = recorder();
    const std::lock_guard lock(log.mutex_);
    log.history_ = {};
    log.segment_of_.clear();
    log.block_of_.clear();
    log.start_ = std::chrono::steady_clock::now();
    log.end_ = kMemoryOpen;
    active_.store(&log, std::memory_order_release);
}

void MemoryLog::stop() noexcept {
    MemoryLog* log = active_.exchange(nullptr);
    if (!log) return;
    const std::lock_guard lock(log->mutex_);
    log->end_ = log->now();
}

void MemoryLog::start_from_environment() {
    static std::once_flag once;
    std::call_once(once, [] {
        if (env_string("INVAR_MEMORY_TRACE").empty()) return;
        start();
        std::atexit([] {
            try {
                write_memory_report(env_string("INVAR_MEMORY_TRACE"));
            } catch (const std::exception& e) {
                log(LogLevel::kError, std::string("INVAR_MEMORY_TRACE: ") + e.what());
            }
        });
    });
}

MemoryHistory MemoryLog::history() {
    MemoryLog& log = recorder();
    const std::lock_guard lock(log.mutex_);
    MemoryHistory history = log.history_;
    if (log.start_ != std::chrono::steady_clock::time_point{})
        history.end = log.end_ != kMemoryOpen ? log.end_ : log.now();
    return history;
}

std::int64_t MemoryLog::now() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_)
        .count();
}

void MemoryLog::segment_made(const std::string& device, const Buffer& buffer, std::uint64_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    try {
        segment_of_[buffer.id()] = history_.segments.size();
        history_.segments.push_back({device, bytes, now(), kMemoryOpen});
    } catch (const std::bad_alloc&) {
        segment_of_.erase(buffer.id());
    }
}

void MemoryLog::segment_freed(const Buffer& buffer) noexcept {
    const std::lock_guard lock(mutex_);
    const auto it = segment_of_.find(buffer.id());
    if (it == segment_of_.end()) return;  // made before the recording began
    history_.segments[it->second].end = now();
    segment_of_.erase(it);
}

void MemoryLog::allocated(const std::string& device, const Buffer& buffer, std::uint64_t offset,
                          std::uint64_t bytes, std::uint64_t requested) noexcept {
    const std::lock_guard lock(mutex_);
    add(device, buffer, offset, bytes, requested, current_tag);
}

void MemoryLog::add(const std::string& device, const Buffer& buffer, std::uint64_t offset,
                    std::uint64_t bytes, std::uint64_t requested, std::string_view tag) noexcept {
    if (history_.blocks.size() >= kMaxBlocks) {
        ++history_.left_out;
        return;
    }
    const std::pair key(buffer.id(), offset);
    try {
        const auto [segment, fresh] = segment_of_.try_emplace(buffer.id(), history_.segments.size());
        if (fresh)  // held since before the recording began
            history_.segments.push_back({device, buffer.size(), now(), kMemoryOpen});
        block_of_[key] = history_.blocks.size();
        history_.blocks.push_back(
            {segment->second, offset, bytes, requested, now(), kMemoryOpen, std::string(tag)});
    } catch (const std::bad_alloc&) {
        if (const auto it = segment_of_.find(buffer.id());
            it != segment_of_.end() && it->second >= history_.segments.size())
            segment_of_.erase(it);
        block_of_.erase(key);
        ++history_.left_out;
    }
}

void MemoryLog::released(const Buffer& buffer, std::uint64_t offset) noexcept {
    const std::lock_guard lock(mutex_);
    end(buffer, offset);
}

MemoryBlock* MemoryLog::end(const Buffer& buffer, std::uint64_t offset) noexcept {
    const auto it = block_of_.find({buffer.id(), offset});
    if (it == block_of_.end()) return nullptr;
    MemoryBlock* block = &history_.blocks[it->second];
    block->end = now();
    block_of_.erase(it);
    return block;
}

void MemoryLog::moved(const std::string& device, const Buffer& from, std::uint64_t from_offset,
                      const Buffer& to, std::uint64_t offset, std::uint64_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    MemoryBlock* const block = end(from, from_offset);
    if (!block) return;
    const std::string tag = std::exchange(block->tag, {});  // the list may grow, and the block with it move
    const auto index = static_cast<std::size_t>(block - history_.blocks.data());
    add(device, to, offset, bytes, block->requested, tag);
    try {
        history_.blocks[index].tag = tag;
    } catch (const std::bad_alloc&) {
        ++history_.left_out;
    }
}

void MemoryLog::mark(const std::string& device, const std::string& text) noexcept {
    const std::lock_guard lock(mutex_);
    try {
        history_.marks.push_back({now(), device, text});
    } catch (const std::bad_alloc&) {
        ++history_.left_out;
    }
}

}  // namespace invar
