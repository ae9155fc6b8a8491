// SPDX-License-Identifier: Apache-2.0
// Fills and the sampler on CUDA: types become definitions of the source, sizes its parameters.
#include <algorithm>

#include "kernels/cuda_source.h"
#include "kernels/random/cuda_params.h"
#include "kernels/random/variants.h"

namespace invar::kernels {

extern const char* const kRandomCudaParams;
extern const char* const kRandomCudaPhilox;
extern const char* const kRandomCudaFill;
extern const char* const kRandomCudaSample;

namespace random {
namespace {

constexpr std::int64_t kFillThreads = 256, kSampleThreads = 1024, kChunkThreads = 256;
constexpr std::int64_t kCudaChunk = 2048;  // kChunk of cuda_sample.cu
constexpr std::int64_t kMostRows = 65535;

std::size_t bytes(std::int64_t elements, std::size_t size) {
    return static_cast<std::size_t>(elements) * size;
}

}  // namespace

void plan_sample_cuda(const SampleSpec& s, KernelCall& call) {
    if (s.rows > kMostRows)
        throw InvalidArgument("random: " + std::to_string(s.rows) + " rows to sample; at most " +
                              std::to_string(kMostRows) + " are supported");
    call.module = cuda_module("sample", {kRandomCudaParams, kRandomCudaPhilox, kRandomCudaSample},
                              {{"LOGITS", cuda_type(s.logits)}});
    const std::int64_t chunks = ceil_div(s.vocab, kCudaChunk);
    const std::int64_t row_bytes = ceil_div(chunks * 8 + s.vocab * 4, 16) * 16;
    call.entry = "largest";
    call.config = {cuda_grid(chunks, static_cast<std::uint32_t>(std::max<std::int64_t>(s.rows, 1))),
                   {static_cast<std::uint32_t>(kChunkThreads)},
                   0,
                   true};
    call.next_entry = "sample";
    call.next_config = {cuda_grid(s.rows), {static_cast<std::uint32_t>(kSampleThreads)}, 0, true};
    // Never 0: the kernels have an argument for it.
    call.workspace_bytes = static_cast<std::size_t>(
        checked_mul<std::int64_t>(std::max<std::int64_t>(s.rows, 1), row_bytes, "random"));
    call.buffer_bytes = {bytes(extent(s.rows, s.logits_row, s.vocab), size_of(s.logits)),
                         bytes(s.rows, sizeof(SamplingRow)), bytes(s.rows * s.history_columns, 4),
                         bytes(s.rows, 4), bytes(s.rows, 4)};
    call.set_params(SampleParams{s.rows, s.vocab, s.logits_row, s.history_columns, chunks, row_bytes});
}

void plan_random_cuda(const RandomSpec& s, KernelCall& call) {
    const bool normal = s.distribution == Distribution::normal;
    call.module = cuda_module("random", {kRandomCudaParams, kRandomCudaPhilox, kRandomCudaFill},
                              {{"Y", cuda_type(s.y)}, {"NORMAL", normal ? "1" : "0"}});
    call.entry = "fill";
    call.config = {cuda_grid(std::min<std::int64_t>(ceil_div(ceil_div(s.count, 4), kFillThreads), 1 << 16)),
                   {static_cast<std::uint32_t>(kFillThreads)},
                   0,
                   true};
    call.buffer_bytes = {bytes(s.count, size_of(s.y))};
    call.set_params(FillParams{s.count, s.seed, s.stream, s.low, normal ? s.high : s.high - s.low});
}

}  // namespace random
}  // namespace invar::kernels
