// SPDX-License-Identifier: Apache-2.0
// Plans of the random family: check a specification and answer with the call.
#include "kernels/random/family.h"

#include <cmath>
#include <string>

#include "kernels/random/variants.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace {

constexpr const char* kFamily = "random";

const Module& module() {
    static const Module m{kFamily,
                          NativeEntries{{{"sample", random::run_sample}, {"random", random::run_random}}}};
    return m;
}

}  // namespace

KernelCall plan_sample(const Device& device, const SampleSpec& s) {
    KernelCall call;
    float_storage(s.logits, kFamily, "logits");
    at_least(s.rows, 0, kFamily, "rows");
    at_least(s.vocab, 1, kFamily, "vocab");
    at_least(s.history_columns, 0, kFamily, "history_columns");
    if (s.vocab > kMaxVocab)
        throw InvalidArgument("random: a vocabulary of " + std::to_string(s.vocab) + " tokens; at most " +
                              std::to_string(kMaxVocab) + " are supported");
    strided_extent(s.rows, s.logits_row, s.vocab, kFamily);
    area(s.rows, s.history_columns, kFamily);
    area(s.rows, sizeof(SamplingRow), kFamily);
    if (is_cuda(device)) {
        random::plan_sample_cuda(s, call);
        return call;
    }
    if (is_portable(device)) {
        random::plan_sample_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kFamily);
    call.workspace_bytes =
        static_cast<std::size_t>(checked_mul<std::int64_t>(s.rows, random::RowSpace(s.vocab).bytes, kFamily));
    call.entry = "sample";
    call.config.grid.x = grid_of(s.rows);
    call.set_params(s);
    return call;
}

KernelCall plan_random(const Device& device, const RandomSpec& s) {
    KernelCall call;
    float_storage(s.y, kFamily, "y");
    at_least(s.count, 0, kFamily, "count");
    area(s.count, 1, kFamily);
    if (!std::isfinite(s.low) || !std::isfinite(s.high))
        throw InvalidArgument("random: the range from " + std::to_string(s.low) + " to " +
                              std::to_string(s.high) + " must be finite");
    if (is_cuda(device)) {
        random::plan_random_cuda(s, call);
        return call;
    }
    if (is_portable(device)) {
        random::plan_random_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kFamily);
    call.entry = "random";
    call.config.grid.x = grid_of(ceil_div(s.count, kTaskElements));
    call.set_params(s);
    return call;
}

Cost cost(const SampleSpec& s) {
    Cost c;
    const double rows = static_cast<double>(s.rows);
    c.bytes =
        array_bytes(s.logits, s.rows, s.vocab) + rows * (sizeof(SamplingRow) + 3 * sizeof(std::int32_t));
    c.flops = 3 * rows * static_cast<double>(s.vocab);  // scale, exp, sum
    return c;
}

Cost cost(const RandomSpec& s) {
    // Ten rounds of Philox for four words, two multiplications and four other operations each; then the number.
    constexpr double kWord = 10 * 6 / 4.0, kUniform = 3, kNormal = 20;
    Cost c;
    c.bytes = array_bytes(s.y, s.count);
    c.flops = (kWord + (s.distribution == Distribution::normal ? kNormal : kUniform)) *
              static_cast<double>(s.count);
    return c;
}

}  // namespace invar::kernels
