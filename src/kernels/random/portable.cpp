// SPDX-License-Identifier: Apache-2.0
// Fills and the sampler in portable C: types become definitions of the source, sizes its parameters.
#include "device/device_fault.h"
#include "kernels/random/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kRandomParams;
extern const char* const kRandomPortablePhilox;
extern const char* const kRandomPortableFill;
extern const char* const kRandomPortableSample;

namespace random {
namespace {

constexpr std::int64_t kThreads = 256;  // as in the sources
constexpr std::uint32_t kArgument = DeviceFault::kInvalidArgument, kFailed = DeviceFault::kLaunchFailed;

}  // namespace

void plan_sample_portable(const Device& device, const SampleSpec& s, KernelCall& call) {
    call.module = portable_module(
        device, "sample", {kRandomParams, kRandomPortablePhilox, kRandomPortableSample},
        {{"LOGITS", kernel_type(s.logits)}},
        {{300, kArgument,
          "random: temperature of row {0} is out of range; it must be 0 or positive and finite"},
         {301, kArgument, "random: top_p of row {0} is out of range; it must be above 0 and at most 1"},
         {302, kArgument, "random: min_p of row {0} is out of range; it must be from 0 to 1"},
         {303, kArgument,
          "random: repetition_penalty of row {0} is out of range; it must be positive and finite"},
         {304, kArgument, "random: top_k of row {0} is {1}; it must be 0 or positive"},
         {305, kFailed, "random: the history of row {0} has length {1}"},
         {306, kFailed,
          "random: token {0} at position {1} of the history of row {2} is outside the vocabulary of {3}"},
         {307, kFailed,
          "random: row {0} has no logit above -infinity to sample from; the model's output is NaN or fully "
          "masked"}},
        true);
    const SampleParams p = sample_params(s);
    call.entry = "largest";
    call.config = portable_launch(kThreads, p.chunks, s.rows);
    call.next_entry = "sample";
    call.next_config = portable_launch(kThreads, s.rows);
    call.workspace_bytes = sample_workspace(p);
    call.buffer_bytes = sample_buffers(s);
    call.set_params(p);
}

void plan_random_portable(const Device& device, const RandomSpec& s, KernelCall& call) {
    const bool normal = s.distribution == Distribution::normal;
    call.module =
        portable_module(device, "random", {kRandomParams, kRandomPortablePhilox, kRandomPortableFill},
                        {{"Y", kernel_type(s.y)}, {"NORMAL", flag(normal)}}, {}, normal);
    call.entry = "fill";
    call.config = portable_launch(kThreads, ceil_div(ceil_div(s.count, 4), kThreads));
    call.buffer_bytes = {bytes_of(s.count, s.y)};
    call.set_params(fill_params(s));
}

}  // namespace random
}  // namespace invar::kernels
