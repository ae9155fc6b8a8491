// SPDX-License-Identifier: Apache-2.0
// What the trace says of each step.
#include "graph/step_trace.h"

#include "graph/step_cost.h"

namespace invar::graph {

StepTrace::StepTrace(const Device& device, const Schedule& schedule, std::span<const std::int64_t> symbols)
    : device_(device), schedule_(schedule), symbols_(symbols.begin(), symbols.end()) {
    steps_.reserve(schedule.steps.size());  // downloads go into its elements
}

void StepTrace::before(Stream& stream, std::size_t step, std::span<const BufferRef> buffers) {
    Traced& traced = steps_.emplace_back();
    traced.step = step;
    // How far an attention step reads only the device knows, and a later step may write over it.
    if (const auto attention = attention_of(schedule_.steps[step], symbols_);
        attention && device_.supports(Feature::arithmetic)) {
        const auto tokens = static_cast<std::size_t>(attention->tokens);
        const std::size_t bytes = tokens * sizeof(std::int32_t);
        if (buffers[4].size >= bytes && buffers[5].size >= bytes) {
            traced.sequence.resize(tokens);
            traced.slot.resize(tokens);
            stream.download(traced.sequence.data(), buffers[4], bytes);
            stream.download(traced.slot.data(), buffers[5], bytes);
        }
    }
    times_.before(stream);
}

void StepTrace::after(Stream& stream, const Kernel& kernel, const Kernel* next) {
    times_.after(stream);
    steps_.back().kernel = kernel.name() + (next ? " + " + next->name() : "");
}

void StepTrace::write() const {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        const Traced& traced = steps_[i];
        const Step& step = schedule_.steps[traced.step];
        std::optional<kernels::AttentionLengths> lengths;
        if (!traced.slot.empty())
            lengths = kernels::attention_lengths(*attention_of(step, symbols_), traced.sequence, traced.slot);
        const kernels::Cost cost = step_cost(step, symbols_, lengths);
        TraceArguments arguments;
        arguments.add("step", static_cast<double>(traced.step))
            .add("kernel", traced.kernel)
            .add("sizes", sizes_text(step, symbols_))
            .add("bytes", cost.bytes)
            .add("flops", cost.flops);
        if (cost.product != DType::pred) arguments.add("product", dtype_name(cost.product));
        if (lengths) arguments.add("keys", lengths->keys);
        times_.write(i, device_, step.label, std::move(arguments));
    }
}

}  // namespace invar::graph
