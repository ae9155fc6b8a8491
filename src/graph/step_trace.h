// SPDX-License-Identifier: Apache-2.0
// Times the steps of one run of a schedule for the trace (base/trace.h): by timed events on the stream, else by the host's
// clock with a wait after each step. Made only while a trace is taken.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/schedule.h"

namespace invar::graph {

class StepTrace {
public:
    StepTrace(const Device& device, const Schedule& schedule, std::span<const std::int64_t> symbols);

    // Around the launches of a step, which are given to the stream that the first call named.
    void before(Stream& stream, std::size_t step, std::span<const BufferRef> buffers);
    void after(Stream& stream, const Kernel& kernel, const Kernel* next);
    // Writes the steps to the trace; the stream has been waited for.
    void write() const;

private:
    struct Timed {
        std::size_t step = 0;
        std::string kernel;
        std::unique_ptr<Event> begin, end;
        double host_begin = 0, host_end = 0;       // microseconds
        std::vector<std::int32_t> sequence, slot;  // of an attention step
    };
    void start(Stream& stream);

    const Device& device_;
    const Schedule& schedule_;
    const std::vector<std::int64_t> symbols_;
    std::unique_ptr<Event> origin_;  // nullptr: the device tells no times
    double origin_time_ = 0;         // of the host, microseconds
    bool started_ = false;
    std::vector<Timed> steps_;
};

}  // namespace invar::graph
