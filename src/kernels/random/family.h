// SPDX-License-Identifier: Apache-2.0
// Random numbers by counter (Philox 4x32-10, Salmon et al. 2011) and the sampler that turns logits into tokens. A draw
// is keyed by seed and position, so it is the same on every device, in every batch, and when a step is replayed.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/kernel_call.h"

namespace invar::kernels {

// How one sequence is sampled; an array of these lives in a device buffer, one a row of the logits.
struct SamplingRow {
    float temperature = 0;         // 0: greedy
    float top_p = 1;               // 1: off
    float min_p = 0;               // 0: off
    float repetition_penalty = 1;  // 1: off; logits of tokens in the history are divided (if positive) or multiplied
    std::int32_t top_k = 0;        // 0: off
    std::int32_t pad = 0;
    std::uint64_t seed = 0;
};

// Order of the filters, as in transformers: repetition penalty, temperature, top-k, top-p, min-p, then one draw with
// the uniform number Philox(seed, position). Ties are broken by the lower token id. NaN logits are never chosen; a row
// without a finite logit throws LaunchFailed.
struct SampleSpec {
    DType logits = DType::f32;
    std::int64_t rows = 0, vocab = 0;
    std::int64_t logits_row = 0;       // stride of rows in elements
    std::int64_t history_columns = 0;  // capacity of a row of the history
};
// Buffers: logits (rows, vocab), SamplingRow (rows), history (rows, history_columns) i32, history length (rows) i32,
// out token (rows) i32, then the workspace if there is one. The token sampled is also appended to the history (when
// there is room) and the length counted up; position of the draw = the length before the call.
INVAR_API KernelCall plan_sample(const Device& device, const SampleSpec& spec);

// Philox words turned into numbers: uniform in [0, 1) with 24 bits; normal by Box-Muller. Element i of the stream
// (seed, stream) is the same on every device.
enum class Distribution : std::int32_t { uniform, normal };
struct RandomSpec {
    Distribution distribution = Distribution::uniform;
    DType y = DType::f32;  // f32, f16, bf16
    std::int64_t count = 0;
    std::uint64_t seed = 0, stream = 0;
    float low = 0, high = 1;  // uniform: range; normal: mean and standard deviation
};
// Buffers: y (count).
INVAR_API KernelCall plan_random(const Device& device, const RandomSpec& spec);

}  // namespace invar::kernels
