// SPDX-License-Identifier: Apache-2.0
// Costs of steps.
#include "graph/step_cost.h"

#include "program/pointwise.h"

namespace invar::graph {
namespace {

using kernels::AttentionLengths;
using kernels::Cost;

// Each buffer's elements once: an axis over which one is repeated does not count.
Cost pointwise_cost(const PointwiseWork& work, std::span<const std::int64_t> symbols) {
    double elements = 1;
    for (const Dim& d : work.dims) elements *= static_cast<double>(d.resolve(symbols));
    Cost c;
    std::size_t strided = 0;
    for (const PointwiseWork::BufferKind& buffer : work.buffers) {
        double own = elements;
        if (buffer.strided) {
            const std::vector<Dim>& strides = work.strides[strided++];
            own = elements > 0 ? 1 : 0;
            for (std::size_t i = 0; i < strides.size() && elements > 0; ++i)
                if (strides[i].resolve(symbols) != 0)
                    own *= static_cast<double>(work.dims[i].resolve(symbols));
        }
        c.bytes += own * static_cast<double>(size_of(buffer.dtype));
    }
    c.flops = elements * pointwise_operations(assemble(work.program));
    return c;
}

}  // namespace

std::optional<kernels::AttentionSpec> attention_of(const Step& step, std::span<const std::int64_t> symbols) {
    if (const auto* attention = std::get_if<Sized<kernels::AttentionSpec>>(&step.work))
        return attention->resolve(symbols);
    if (const auto* decode = std::get_if<Sized<kernels::DecodeSpec>>(&step.work))
        return decode->resolve(symbols).attention;
    return std::nullopt;
}

Cost step_cost(const Step& step, std::span<const std::int64_t> symbols,
               const std::optional<AttentionLengths>& lengths) {
    return std::visit(
        [&](const auto& work) -> Cost {
            using W = std::decay_t<decltype(work)>;
            if constexpr (std::is_same_v<W, PointwiseWork>) {
                return pointwise_cost(work, symbols);
            } else {
                const auto spec = work.resolve(symbols);
                if constexpr (requires { kernels::cost(spec, *lengths); })
                    if (lengths) return kernels::cost(spec, *lengths);
                return kernels::cost(spec);
            }
        },
        step.work);
}

}  // namespace invar::graph
