// SPDX-License-Identifier: Apache-2.0
// Times of steps, and what the trace says of each.
#include "graph/step_trace.h"

#include "base/trace.h"
#include "graph/step_cost.h"

namespace invar::graph {

StepTrace::StepTrace(const Device& device, const Schedule& schedule, std::span<const std::int64_t> symbols)
    : device_(device), schedule_(schedule), symbols_(symbols.begin(), symbols.end()) {
    steps_.reserve(schedule.steps.size());
}

// Waits for earlier work, so that the first event's moment is that of the host's clock, and tries the device's clock.
void StepTrace::start(Stream& stream) {
    started_ = true;
    stream.synchronize();
    origin_ = stream.record_timed();
    origin_time_ = trace_now();
    if (!origin_) return;
    stream.synchronize();
    if (!origin_->seconds_since(*origin_)) origin_.reset();
}

void StepTrace::before(Stream& stream, std::size_t step, std::span<const BufferRef> buffers) {
    if (!started_) start(stream);
    Timed& timed = steps_.emplace_back();
    timed.step = step;
    // How far an attention step reads only the device knows, and a later step may write over it.
    if (const auto attention = attention_of(schedule_.steps[step], symbols_);
        attention && device_.supports(Feature::arithmetic)) {
        const auto tokens = static_cast<std::size_t>(attention->tokens);
        const std::size_t bytes = tokens * sizeof(std::int32_t);
        timed.sequence.resize(tokens);
        timed.slot.resize(tokens);
        if (buffers[4].size >= bytes && buffers[5].size >= bytes) {
            stream.download(timed.sequence.data(), buffers[4], bytes);
            stream.download(timed.slot.data(), buffers[5], bytes);
        }
    }
    if (origin_) timed.begin = stream.record_timed();
    timed.host_begin = trace_now();
}

void StepTrace::after(Stream& stream, const Kernel& kernel, const Kernel* next) {
    Timed& timed = steps_.back();
    timed.kernel = kernel.name() + (next ? " + " + next->name() : "");
    if (origin_)
        timed.end = stream.record_timed();
    else
        stream.synchronize();
    timed.host_end = trace_now();
}

void StepTrace::write() const {
    const int track = trace_track(device_.name() + " stream");
    const std::string device = device_.name();
    for (const Timed& timed : steps_) {
        const Step& step = schedule_.steps[timed.step];
        std::optional<kernels::AttentionLengths> lengths;
        if (!timed.slot.empty())
            lengths = kernels::attention_lengths(*attention_of(step, symbols_), timed.sequence, timed.slot);
        const kernels::Cost cost = step_cost(step, symbols_, lengths);
        double begin = timed.host_begin, duration = timed.host_end - timed.host_begin;
        if (timed.begin && timed.end) {
            const std::optional<double> from = timed.begin->seconds_since(*origin_),
                                        seconds = timed.end->seconds_since(*timed.begin);
            if (!from || !seconds) continue;
            begin = origin_time_ + *from * 1e6;
            duration = *seconds * 1e6;
        }
        TraceArguments arguments;
        arguments.add("step", static_cast<double>(timed.step))
            .add("kernel", timed.kernel)
            .add("device", device)
            .add("sizes", sizes_text(step, symbols_))
            .add("bytes", cost.bytes)
            .add("flops", cost.flops);
        if (cost.product != DType::pred) arguments.add("product", dtype_name(cost.product));
        if (lengths) arguments.add("keys", lengths->keys);
        if (!timed.end) arguments.add("clock", "host");
        trace_event(track, "step", step.label, begin, duration, arguments);
    }
}

}  // namespace invar::graph
