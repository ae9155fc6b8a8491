// SPDX-License-Identifier: Apache-2.0
// Plan of the sort family: checks a specification and answers with the call.
#include "kernels/sort/family.h"

#include "kernels/native.h"
#include "kernels/sort/variants.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace {

const Module& module() {
    static const Module m{"sort", NativeEntries{{{"sort", sort::run_sort}}}};
    return m;
}

}  // namespace

namespace sort {

KeyRule key_rule(DType t) {
    const std::uint64_t sign = std::uint64_t{1} << (8 * size_of(t) - 1);
    switch (t) {
        case DType::f16: return {sign, 0x7c00};
        case DType::bf16: return {sign, 0x7f80};
        case DType::f32: return {sign, 0x7f800000};
        case DType::f64: return {sign, 0x7ff0000000000000};
        default: return {is_signed_int(t) ? sign : 0, 0};
    }
}

}  // namespace sort

KernelCall plan_sort(const Device& device, const SortSpec& s) {
    KernelCall call;
    at_least(s.rows, 0, "sort", "rows");
    at_least(s.n, 0, "sort", "n");
    at_least(s.keep, 0, "sort", "keep");
    if (s.keep > s.n)
        throw InvalidArgument("sort: keep is " + std::to_string(s.keep) + "; a row has " +
                              std::to_string(s.n) + " elements");
    if (s.n >= 0xffffffff)
        throw InvalidArgument("sort: a row of " + std::to_string(s.n) + " elements; the most is 4294967294");
    strided_extent(s.rows, s.x_row, s.n, "sort");
    checked_mul<std::int64_t>(area(s.rows, s.n, "sort"), 64, "sort");  // room to count the workspace
    if (compiles_portable(device)) {
        sort::plan_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), "sort");
    call.entry = "sort";
    call.config.grid.x = grid_of(sort::native_tasks(s));
    call.workspace_bytes = sort::native_workspace(s);
    call.set_params(s);
    return call;
}

// The rows in and what is kept out; a comparison for each element and level.
Cost cost(const SortSpec& s) {
    Cost c;
    c.bytes = array_bytes(s.x, s.rows, s.n) + array_bytes(s.indices ? DType::i64 : s.x, s.rows, s.keep);
    double levels = 0;
    for (std::int64_t reach = 1; reach < s.n && reach > 0; reach *= 2) ++levels;
    c.flops = static_cast<double>(s.rows) * static_cast<double>(s.n) * levels;
    return c;
}

}  // namespace invar::kernels
