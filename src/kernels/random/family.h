// SPDX-License-Identifier: Apache-2.0
// Random numbers by counter (Philox 4x32-10, Salmon et al. 2011) and the sampler that turns logits into tokens. A draw
// is keyed by seed and position, so it is the same on every device, in every batch, and when a step is replayed.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

// How one sequence is sampled; an array of these lives in a device buffer, one a row of the logits.
struct SamplingRow {
    float temperature = 0;  // 0: greedy
    float top_p = 1;        // 1: off
    float min_p = 0;        // 0: off
    float repetition_penalty =
        1;  // 1: off; logits of tokens in the history are divided (if positive) or multiplied
    std::int32_t top_k = 0;  // 0: off
    std::int32_t pad = 0;
    std::uint64_t seed = 0;
};

// Order of the filters, as in transformers: repetition penalty (once for each token in the history), temperature, top-k,
// top-p, min-p, then one draw. Tokens are ranked by logit, equal ones by the lower id, so each filter keeps a prefix of
// that ranking: the first top_k; the shortest prefix whose share of what is left reaches top_p; those of at least min_p
// times the probability of the first. Probabilities are the integers floor(exp((logit - largest) / temperature) * 2^38),
// so that their sums are exact in any order. The draw walks what is left by ascending id until the sum passes
// floor(u * total), u being the 64 bits of words 0 (low) and 1 of Philox(counter (position, position >> 32, 0, kDrawTag),
// key seed). Greedy takes the first of the ranking after the penalty. NaN logits are never chosen; a row whose logits
// are all NaN or -infinity throws LaunchFailed, as does a history with a token outside the vocabulary. Options out of
// range throw InvalidArgument. vocab is at most kMaxVocab.
inline constexpr std::int64_t kMaxVocab = std::int64_t{1} << 24;
inline constexpr std::uint32_t kDrawTag = 0x64726177;  // keeps draws apart from the streams of RandomSpec
struct SampleSpec {
    DType logits = DType::f32;
    std::int64_t rows = 0, vocab = 0;
    std::int64_t logits_row = 0;       // stride of rows in elements
    std::int64_t history_columns = 0;  // capacity of a row of the history
};
// Buffers: logits (rows, vocab), SamplingRow (rows), history (rows, history_columns) i32, history length (rows) i32,
// out token (rows) i32, then the workspace if there is one. The token sampled is also appended to the history (when
// there is room) and the length counted up, room or not; position of the draw = the length before the call.
INVAR_API KernelCall plan_sample(const Device& device, const SampleSpec& spec);
// The logits once; of the history only what is appended, since its length is known on the device alone.
INVAR_API Cost cost(const SampleSpec& spec);

// Philox words turned into numbers. Element i is word i % 4 of counter (i / 4 as 64 bits, stream as 64 bits), key seed.
// Uniform: low + (word >> 8) / 2^24 * (high - low), rounded to y (which may round up to high). Normal: Box-Muller on
// words (0, 1) and (2, 3): sqrt(-2 ln(((a >> 8) + 1) / 2^24)) times cos and sin of 2 pi (b >> 8) / 2^24. Logarithm and
// sine are fixed polynomials, so the same bits come out everywhere.
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
INVAR_API Cost cost(const RandomSpec& spec);

}  // namespace invar::kernels
