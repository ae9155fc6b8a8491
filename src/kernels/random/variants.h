// SPDX-License-Identifier: Apache-2.0
// What plan and native entries of the random family agree on: the workspace of a row of the sampler, and the vectorised
// pieces of its work.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/native.h"
#include "kernels/random/family.h"
#include "kernels/random/params.h"

namespace invar::kernels::random {

inline constexpr std::int64_t kChunk = 8192;  // tokens that one task takes in the passes over a row

// The largest of some logits, NaN left out; id is the first that has it. sum: of probabilities.
struct ChunkResult {
    float largest = 0;
    std::int32_t id = 0;
    std::uint64_t sum = 0;
};

// One row's part of the workspace: results of chunks, then logits, weights, and two lists of ids, vocab each.
struct RowSpace {
    std::int64_t chunks, results_bytes, bytes;
    explicit RowSpace(std::int64_t vocab) {
        chunks = ceil_div(vocab, kChunk);
        results_bytes = ceil_div(chunks * static_cast<std::int64_t>(sizeof(ChunkResult)), 64) * 64;
        bytes = results_bytes + ceil_div(vocab * 16, 64) * 64;
    }
};

// Probabilities are counted in these units of the largest one.
inline constexpr float kMassUnit = 0x1p38f;
inline std::uint64_t mass(float weight) { return static_cast<std::uint64_t>(weight * kMassUnit); }

// Vectorised pieces (fill.cpp), on n consecutive tokens of a row that start at token `first`.
ChunkResult largest_logit(const std::byte* logits, DType type, std::int64_t first, std::int64_t n);
void copy_logits(const std::byte* logits, DType type, std::int64_t n,
                 float* x);  // NaN becomes -infinity, -0 becomes 0
// w = exp((x - largest) / temperature) for n <= kChunk; gives the sum of their masses.
std::uint64_t weigh(const float* x, std::int64_t n, float largest, float temperature, float* w);
// Ids of the values that reach cut, ascending; gives how many.
std::int64_t collect_at_least(const float* values, std::int64_t n, float cut, std::int32_t* ids);

// On CUDA; the specification has been checked.
void plan_sample_cuda(const SampleSpec& spec, KernelCall& call);
void plan_random_cuda(const RandomSpec& spec, KernelCall& call);
// In portable C; the specification has been checked.
void plan_sample_portable(const Device& device, const SampleSpec& spec, KernelCall& call);
void plan_random_portable(const Device& device, const RandomSpec& spec, KernelCall& call);
// What sources have in common: parameters, the workspace (never of 0 bytes: the kernels have an argument for it), and the
// least bytes of the buffers.
SampleParams sample_params(const SampleSpec& spec);
FillParams fill_params(const RandomSpec& spec);
std::size_t sample_workspace(const SampleParams& params);
std::array<std::size_t, 12> sample_buffers(const SampleSpec& spec);

void run_sample(const NativeLaunch& launch);
void run_random(const NativeLaunch& launch);

}  // namespace invar::kernels::random
