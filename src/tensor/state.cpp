// SPDX-License-Identifier: Apache-2.0
// State and the operators that change it.
#include <invar/state.h>

#include <cmath>
#include <cstring>

#include <invar/error.h>

#include "graph/node.h"
#include "kernels/attention/family.h"
#include "kernels/random/family.h"

namespace invar {

using graph::make_node;
using graph::NodePtr;
using graph::Op;
static_assert(kKvBlockTokens == kernels::kBlockTokens);

const Tensor& State::value() const {
    if (!value_.defined())
        throw InvalidArgument(
            "a state was used after an operator had consumed it; use the state that the operator returned");
    return value_;
}

Tensor make_kv_cache(DType dtype, std::int64_t blocks, std::int64_t kv_heads, std::int64_t head_dim,
                     const std::shared_ptr<Device>& device) {
    return Tensor::empty(dtype, {2, blocks, kv_heads, kKvBlockTokens, head_dim}, device, true);
}

State kv_append(State cache, const Tensor& k, const Tensor& v, const KvTokens& tokens) {
    return State(
        Tensor(make_node(Op::kv_append, {cache.value().node(), k.node(), v.node(), tokens.block_table.node(),
                                         tokens.sequence.node(), tokens.slot.node()})));
}

Tensor attention(const Tensor& q, const State& cache, const KvTokens& tokens,
                 const AttentionOptions& options) {
    std::vector<NodePtr> inputs{q.node(), cache.value().node(), tokens.block_table.node(),
                                tokens.sequence.node(), tokens.slot.node()};
    if (tokens.key_mask.defined()) inputs.push_back(tokens.key_mask.node());
    if (q.rank() != 3)
        throw InvalidArgument("attention: queries have shape " + to_string(q.shape()) +
                              ", need (tokens, heads, head_dim)");
    const double scale = options.scale > 0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(q.dim(2)));
    if (tokens.block_table.rank() != 2)
        throw InvalidArgument("attention: the block table needs two dimensions");
    const std::int64_t capacity = tokens.block_table.dim(1) * kKvBlockTokens;
    const std::int64_t longest = options.max_length > 0 ? std::min(options.max_length, capacity) : capacity;
    return Tensor(make_node(Op::attention, std::move(inputs),
                            {{}, {options.window, longest}, {scale, options.softcap}, {}}));
}

Tensor make_sampling_rows(std::span<const SamplingOptions> rows, const std::shared_ptr<Device>& device) {
    std::vector<kernels::SamplingRow> packed(rows.size());
    const auto refuse = [](const char* name, double value, const char* range) {
        throw InvalidArgument(std::string("sampling: ") + name + " is " + std::to_string(value) +
                              ", must be " + range);
    };
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const SamplingOptions& o = rows[i];
        if (!(o.temperature >= 0) || std::isinf(o.temperature))
            refuse("temperature", o.temperature, "0 (greedy) or a positive number");
        if (!(o.top_p > 0 && o.top_p <= 1)) refuse("top_p", o.top_p, "above 0 and at most 1");
        if (!(o.min_p >= 0 && o.min_p <= 1)) refuse("min_p", o.min_p, "from 0 to 1");
        if (!(o.repetition_penalty > 0) || std::isinf(o.repetition_penalty))
            refuse("repetition_penalty", o.repetition_penalty, "a positive number");
        if (o.top_k < 0) refuse("top_k", o.top_k, "0 (off) or a positive number");
        packed[i].temperature = o.temperature;
        packed[i].top_p = o.top_p;
        packed[i].min_p = o.min_p;
        packed[i].repetition_penalty = o.repetition_penalty;
        packed[i].top_k = o.top_k;
        packed[i].seed = o.seed;
    }
    return Tensor::from_bytes(
        std::as_bytes(std::span<const kernels::SamplingRow>(packed)), DType::u8,
        {static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(sizeof(kernels::SamplingRow))},
        device);
}

Tensor make_sampler_memory(std::int64_t rows, std::int64_t capacity, const std::shared_ptr<Device>& device) {
    return Tensor::empty(DType::i32, {Dim(rows) * (Dim(capacity) + Dim(1))}, device, true);
}

void set_sampler_history(const Tensor& memory, std::int64_t rows, std::int64_t row,
                         std::span<const std::int32_t> tokens) {
    if (rows <= 0 || row < 0 || row >= rows || memory.elements() % rows != 0)
        throw InvalidArgument("sampler: row " + std::to_string(row) + " of " + std::to_string(rows) +
                              " rows does not exist");
    const std::int64_t capacity = memory.elements() / rows - 1,
                       count = static_cast<std::int64_t>(tokens.size());
    if (count > capacity)
        throw InvalidArgument("sampler: " + std::to_string(count) + " tokens do not fit a history of " +
                              std::to_string(capacity));
    const auto length = static_cast<std::int32_t>(count);
    memory.slice(0, row, row + 1).write(std::as_bytes(std::span(&length, 1)));
    const std::int64_t start = rows + row * capacity;
    if (count > 0) memory.slice(0, start, start + count).write(std::as_bytes(tokens));
}

Tensor sample(const Tensor& logits, const Tensor& sampling_rows, const State& sampler) {
    return Tensor(make_node(Op::sample, {logits.node(), sampling_rows.node(), sampler.value().node()}));
}

}  // namespace invar
