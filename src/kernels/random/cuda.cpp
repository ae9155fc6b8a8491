// SPDX-License-Identifier: Apache-2.0
// Fills and the sampler on CUDA: types become definitions of the source, sizes its parameters.
#include <algorithm>

#include "kernels/random/params.h"
#include "kernels/random/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kRandomParams;
extern const char* const kRandomCudaPhilox;
extern const char* const kRandomCudaFill;
extern const char* const kRandomCudaSample;

namespace random {
namespace {

constexpr std::int64_t kFillThreads = 256, kSampleThreads = 1024, kChunkThreads = 256;
constexpr std::int64_t kMostRows = 65535;

}  // namespace

void plan_sample_cuda(const SampleSpec& s, KernelCall& call) {
    if (s.rows > kMostRows)
        throw InvalidArgument("random: " + std::to_string(s.rows) + " rows to sample; at most " +
                              std::to_string(kMostRows) + " are supported");
    call.module = cuda_module("sample", {kRandomParams, kRandomCudaPhilox, kRandomCudaSample},
                              {{"LOGITS", kernel_type(s.logits)}});
    const SampleParams p = sample_params(s);
    call.entry = "largest";
    call.config = {cuda_grid(p.chunks, static_cast<std::uint32_t>(std::max<std::int64_t>(s.rows, 1))),
                   {static_cast<std::uint32_t>(kChunkThreads)},
                   0,
                   true};
    call.next_entry = "sample";
    call.next_config = {cuda_grid(s.rows), {static_cast<std::uint32_t>(kSampleThreads)}, 0, true};
    call.workspace_bytes = sample_workspace(p);
    call.buffer_bytes = sample_buffers(s);
    call.set_params(p);
}

void plan_random_cuda(const RandomSpec& s, KernelCall& call) {
    const bool normal = s.distribution == Distribution::normal;
    call.module = cuda_module("random", {kRandomParams, kRandomCudaPhilox, kRandomCudaFill},
                              {{"Y", kernel_type(s.y)}, {"NORMAL", normal ? "1" : "0"}});
    call.entry = "fill";
    call.config = {cuda_grid(std::min<std::int64_t>(ceil_div(ceil_div(s.count, 4), kFillThreads), 1 << 16)),
                   {static_cast<std::uint32_t>(kFillThreads)},
                   0,
                   true};
    call.buffer_bytes = {bytes_of(s.count, s.y)};
    call.set_params(fill_params(s));
}

}  // namespace random
}  // namespace invar::kernels
