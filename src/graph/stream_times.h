// SPDX-License-Identifier: Apache-2.0
// Times pieces of work on a stream for the trace (base/trace.h): by timed events, else by the host's clock with a wait after
// each piece. Used only while a trace is taken.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/trace.h"
#include "device/device.h"

namespace invar::graph {

class StreamTimes {
public:
    // Around the launches of a piece; always the same stream. The first call waits for what the stream did before.
    void before(Stream& stream);
    void after(Stream& stream);
    // Writes piece number `index` to the device's track, once the stream has been waited for. Nothing is written of one
    // that failed.
    void write(std::size_t index, const Device& device, std::string_view name,
               TraceArguments arguments) const;

private:
    struct Piece {
        std::unique_ptr<Event> begin, end;
        double host_begin = 0, host_end = 0;  // microseconds
    };
    void start(Stream& stream);

    std::unique_ptr<Event> origin_;  // nullptr: the device tells no times
    double origin_time_ = 0;         // of the host, microseconds
    std::vector<Piece> pieces_;
};

}  // namespace invar::graph
