// SPDX-License-Identifier: Apache-2.0
// From a specification to the call that the family makes of it on a device.
#pragma once

#include "graph/schedule.h"

namespace invar::graph {

inline kernels::KernelCall plan(const Device& d, const kernels::MatmulSpec& s) {
    return kernels::plan_matmul(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::LinearSpec& s) {
    return kernels::plan_linear(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::ReduceSpec& s) {
    return kernels::plan_reduce(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::RowSpec& s) {
    return kernels::plan_row(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::GatherSpec& s) {
    return kernels::plan_gather(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::KvAppendSpec& s) {
    return kernels::plan_kv_append(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::AttentionSpec& s) {
    return kernels::plan_attention(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::DecodeSpec& s) {
    return kernels::plan_decode(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::ScanSpec& s) {
    return kernels::plan_scan(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::SampleSpec& s) {
    return kernels::plan_sample(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::RandomSpec& s) {
    return kernels::plan_random(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::SortSpec& s) {
    return kernels::plan_sort(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::TakeSpec& s) {
    return kernels::plan_take(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::ScatterSpec& s) {
    return kernels::plan_scatter(d, s);
}
inline kernels::KernelCall plan(const Device& d, const kernels::WindowSpec& s) {
    return kernels::plan_window(d, s);
}

}  // namespace invar::graph
