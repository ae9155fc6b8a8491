// SPDX-License-Identifier: Apache-2.0
// What take and scatter share, seen by their own files only: checks, the extent of their indices, and an index as it is read.
#pragma once

#include <string>

#include "device/module.h"
#include "kernels/gather/axis_params.h"
#include "kernels/gather/scatter.h"
#include "kernels/gather/take.h"
#include "kernels/native.h"

namespace invar::kernels::gather {

// Sizes and index of a specification of either; throws as plan_take says.
template <class Spec>
void check_axis(const Spec& s, const char* family) {
    at_least(s.outer, 0, family, "outer");
    at_least(s.n, 0, family, "n");
    at_least(s.inner, 0, family, "inner");
    at_least(s.count, 0, family, "count");
    if (s.index != DType::i32 && s.index != DType::i64)
        throw InvalidArgument(std::string(family) + ": indices have type " +
                              std::string(dtype_name(s.index)) + "; use i32 or i64");
    const std::int64_t columns = area(s.outer, s.inner, family);
    area(columns, s.n, family);
    area(columns, s.count, family);
    const std::int64_t outer = strided_extent(s.outer, s.index_outer, 1, family);
    const std::int64_t step = strided_extent(s.count, s.index_step, 1, family);
    const std::int64_t inner = strided_extent(s.inner, s.index_inner, 1, family);
    checked_mul<std::int64_t>(checked_add(checked_add(outer, step, family), inner, family), 16, family);
}

template <class Spec>
std::int64_t index_extent(const Spec& s) {
    if (s.outer == 0 || s.count == 0 || s.inner == 0) return 0;
    return (s.outer - 1) * s.index_outer + (s.count - 1) * s.index_step + (s.inner - 1) * s.index_inner + 1;
}

template <class Spec>
AxisParams axis_params(const Spec& s) {
    return {s.outer, s.n, s.inner, s.count, s.index_outer, s.index_step, s.index_inner, 0};
}

// The place that indices name in an axis of n elements, from the start; throws InvalidArgument with the place of the index.
template <class Index>
class IndexReader {
public:
    IndexReader(const std::byte* data, std::int64_t n, const char* family)
        : data_(reinterpret_cast<const Index*>(data)), n_(n), family_(family) {}
    std::int64_t operator()(std::int64_t offset, std::int64_t position) const {
        const std::int64_t given = data_[offset], at = given < 0 ? given + n_ : given;
        if (at < 0 || at >= n_) refuse(given, position);
        return at;
    }

private:
    [[noreturn, gnu::noinline]] void refuse(std::int64_t given, std::int64_t position) const {
        throw InvalidArgument(std::string(family_) + ": index " + std::to_string(given) + " at position " +
                              std::to_string(position) + " is outside an axis of " + std::to_string(n_) +
                              " elements");
    }
    const Index* data_;
    const std::int64_t n_;
    const char* family_;
};

void run_take(const NativeLaunch& launch);
void run_scatter(const NativeLaunch& launch);
// Tasks of the native entry of scatter along an axis of `inner` columns, and the bytes that it keeps sums in.
std::int64_t scatter_blocks(const ScatterSpec& spec);
std::size_t scatter_workspace(const ScatterSpec& spec);

}  // namespace invar::kernels::gather
