// SPDX-License-Identifier: Apache-2.0
// Times of work on streams.
#include "graph/stream_times.h"

namespace invar::graph {

// Waits for earlier work, so that the first event's moment is that of the host's clock, and tries the device's clock.
void StreamTimes::start(Stream& stream) {
    stream.synchronize();
    origin_ = stream.record_timed();
    origin_time_ = trace_now();
    if (!origin_) return;
    stream.synchronize();
    if (!origin_->seconds_since(*origin_)) origin_.reset();
}

void StreamTimes::before(Stream& stream) {
    if (pieces_.empty()) start(stream);
    Piece& piece = pieces_.emplace_back();
    if (origin_) piece.begin = stream.record_timed();
    piece.host_begin = trace_now();
}

void StreamTimes::after(Stream& stream) {
    Piece& piece = pieces_.back();
    if (origin_)
        piece.end = stream.record_timed();
    else
        stream.synchronize();
    piece.host_end = trace_now();
}

void StreamTimes::write(std::size_t index, const Device& device, std::string_view name,
                        TraceArguments arguments) const {
    const Piece& piece = pieces_.at(index);
    double begin = piece.host_begin, duration = piece.host_end - piece.host_begin;
    if (piece.begin && piece.end) {
        const std::optional<double> from = piece.begin->seconds_since(*origin_),
                                    seconds = piece.end->seconds_since(*piece.begin);
        if (!from || !seconds) return;
        begin = origin_time_ + *from * 1e6;
        duration = *seconds * 1e6;
    } else {
        arguments.add("clock", "host");
    }
    arguments.add("device", device.name());
    trace_event(trace_track(device.name() + " stream"), "step", name, begin, duration, arguments);
}

}  // namespace invar::graph
