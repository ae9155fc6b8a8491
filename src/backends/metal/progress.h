// SPDX-License-Identifier: Apache-2.0
// What became of the command buffers of a stream. Metal tells of a failure in the command buffer alone, so each stream keeps
// those that have not ended, in order, and asks them whenever somebody waits. No completion handlers: whoever waits does what is
// left to do (bytes for the host, faults of kernels), so nothing of ours runs on Metal's threads.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/metal/context.h"
#include "program/program_faults.h"

namespace invar::metal {

class Progress;

// The words in which a launch reports a fault.
struct FaultSlot {
    std::uint32_t index = 0;
    std::shared_ptr<const ProgramFaults> program;  // null for kernels of families
};

// A command buffer and what hangs on it.
struct Batch {
    struct Download {
        NS::SharedPtr<MTL::Buffer> staging;
        void* to;
        std::size_t bytes;
    };
    struct Source {
        std::shared_ptr<Progress> progress;  // of a stream whose event it waits for,
        std::uint64_t count;                 // for the first count of its command buffers
    };
    NS::SharedPtr<MTL::CommandBuffer> commands;
    std::vector<Download> downloads;
    std::vector<FaultSlot> faults;
    std::vector<Source> sources;
    std::uint64_t signal = 0;  // what the stream's event has when it has ended
    std::uint64_t dispatches = 0;
    std::string first, last;  // kernels, for messages

    std::string description() const;
};

class Progress {
public:
    static constexpr std::uint32_t kSlots = 1024;  // of faults, in use at a time

    // event: the stream's, which each command buffer signals when it has run. One that fails does not, so this does: streams
    // that wait for it go on, with the error.
    Progress(std::shared_ptr<Context> context, NS::SharedPtr<MTL::SharedEvent> event);

    // Takes over a command buffer that has been committed.
    void add(Batch batch);
    // The stream fails here: the command buffers that were committed before are not touched by it. open: one is being
    // encoded, which it belongs to.
    void fail(std::exception_ptr error, bool open);
    // What modules whose kernels are launched from now on report.
    void learn(const std::vector<FaultText>& texts);

    // Command buffers committed so far, and places of failures between them.
    std::uint64_t submitted() const;
    // The error of the first `count` of them as far as they have run, or null. collects: bytes for the host arrive.
    std::exception_ptr error_before(std::uint64_t count);
    std::exception_ptr error() { return error_before(std::numeric_limits<std::uint64_t>::max()); }
    // As far as somebody has asked already; costs next to nothing while there is none.
    std::exception_ptr known_error() const;

    // Whether the first `count` have ended and what they left for the host has been done.
    bool ended(std::uint64_t count);
    std::size_t in_flight() const;
    // Waits until the first `count` have ended, and for what they wait for in other streams.
    void wait(std::uint64_t count);
    void wait_oldest();

    // Words for faults, zeroed, or nothing while all are in use. They are free again when their command buffer has ended.
    std::optional<std::uint32_t> take_slot();
    MTL::Buffer* fault_words() const noexcept { return words_.get(); }

private:
    std::int64_t* slot(std::uint32_t index) const;
    void note(std::uint64_t number, std::exception_ptr error);
    void collect();
    bool take_ended();  // false where the oldest has not ended
    std::exception_ptr fault_of(const FaultSlot& slot) const;

    std::shared_ptr<Context> context_;
    NS::SharedPtr<MTL::SharedEvent> event_;
    NS::SharedPtr<MTL::Buffer> words_;  // kSlots of kFaultWords words
    std::uint32_t next_slot_ = 0, slots_in_use_ = 0;
    struct Running {
        Batch batch;
        std::uint64_t number;
    };
    std::deque<Running> running_;
    std::map<std::int64_t, FaultText> texts_;
    bool collecting_ = false;
    std::uint64_t submitted_ = 0;
    std::uint64_t failed_at_ = std::numeric_limits<std::uint64_t>::max();
    std::atomic<bool> failed_{false};
    std::exception_ptr error_;
};

}  // namespace invar::metal
