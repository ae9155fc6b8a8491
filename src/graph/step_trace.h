// SPDX-License-Identifier: Apache-2.0
// The steps of one run of a schedule in the trace: what each is and costs, and when it ran.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "graph/schedule.h"
#include "graph/stream_times.h"

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
    struct Traced {
        std::size_t step = 0;
        std::string kernel;
        std::vector<std::int32_t> sequence, slot;  // of an attention step
    };

    const Device& device_;
    const Schedule& schedule_;
    const std::vector<std::int64_t> symbols_;
    StreamTimes times_;
    std::vector<Traced> steps_;
};

}  // namespace invar::graph
