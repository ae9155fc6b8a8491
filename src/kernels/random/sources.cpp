// SPDX-License-Identifier: Apache-2.0
// What the sources of the random family have in common, whatever their language: parameters and sizes of buffers.
#include <algorithm>

#include "kernels/native.h"
#include "kernels/random/variants.h"
#include "kernels/source.h"

namespace invar::kernels::random {

constexpr std::int64_t kSourceChunk = 2048;  // kChunk of cuda_sample.cu, CHUNK of portable_sample.k

SampleParams sample_params(const SampleSpec& s) {
    const std::int64_t chunks = ceil_div(s.vocab, kSourceChunk);
    return {s.rows,       s.vocab,
            s.logits_row, s.history_columns,
            chunks,       ceil_div(chunks * 8 + s.vocab * 4, 16) * 16};
}

std::size_t sample_workspace(const SampleParams& p) {
    return static_cast<std::size_t>(
        checked_mul<std::int64_t>(std::max<std::int64_t>(p.rows, 1), p.row_bytes, "random"));
}

std::array<std::size_t, 12> sample_buffers(const SampleSpec& s) {
    return {bytes_of(extent(s.rows, s.logits_row, s.vocab), s.logits),
            static_cast<std::size_t>(s.rows) * sizeof(SamplingRow),
            bytes_of(s.rows * s.history_columns, DType::i32), bytes_of(s.rows, DType::i32),
            bytes_of(s.rows, DType::i32)};
}

FillParams fill_params(const RandomSpec& s) {
    const bool normal = s.distribution == Distribution::normal;
    return {s.count, s.seed, s.stream, s.low, normal ? s.high : s.high - s.low};
}

}  // namespace invar::kernels::random
