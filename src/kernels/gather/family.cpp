// SPDX-License-Identifier: Apache-2.0
// Plan of the gather family: checks a specification and answers with the call.
#include "kernels/gather/family.h"

#include "kernels/gather/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace {

const Module& module() {
    static const Module m{"gather", NativeEntries{{{"gather", gather::run_gather}}}};
    return m;
}

}  // namespace

KernelCall plan_gather(const Device& device, const GatherSpec& s) {
    KernelCall call;
    at_least(s.rows, 0, "gather", "rows");
    at_least(s.columns, 0, "gather", "columns");
    at_least(s.count, 0, "gather", "count");
    if (s.index != DType::i32 && s.index != DType::i64)
        throw InvalidArgument("gather: indices have type " + std::string(dtype_name(s.index)) +
                              "; use i32 or i64");
    if (s.table != s.y) {
        float_storage(s.table, "gather", "a table that is converted");
        float_storage(s.y, "gather", "a converted result");
    }
    strided_extent(s.rows, s.table_row, s.columns, "gather");
    area(s.count, s.columns, "gather");
    area(s.count, 1, "gather");
    if (is_cuda(device)) {
        gather::plan_cuda(s, call);
        return call;
    }
    if (is_portable(device)) {
        gather::plan_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), "gather");
    call.entry = "gather";
    call.config.grid.x =
        grid_of(ceil_div(s.count, s.columns > 0 ? ceil_div(kTaskElements, s.columns) : kTaskElements));
    call.set_params(s);
    return call;
}

Cost cost(const GatherSpec& s) {
    Cost c;
    c.bytes = array_bytes(s.index, s.count) + array_bytes(s.table, s.count, s.columns) +
              array_bytes(s.y, s.count, s.columns);
    return c;
}

}  // namespace invar::kernels
