// SPDX-License-Identifier: Apache-2.0
// Gather in portable C: types become definitions of the source, sizes its parameters.
#include "device/device_fault.h"
#include "kernels/gather/params.h"
#include "kernels/gather/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kGatherParams;
extern const char* const kGatherPortable;

namespace gather {

void plan_portable(const Device& device, const GatherSpec& s, KernelCall& call) {
    constexpr std::int64_t kThreads = 256;  // as in portable.k
    const bool converted = s.table != s.y;
    call.module = portable_module(device, "gather", {kGatherParams, kGatherPortable},
                                  {{"TABLE", element_of(s.table, converted)},
                                   {"Y", element_of(s.y, converted)},
                                   {"INDEX", kernel_type(s.index)},
                                   {"CONVERTED", flag(converted)}},
                                  {{100, DeviceFault::kInvalidArgument,
                                    "gather: index {0} at position {1} is outside a table of {2} rows"}});
    call.entry = "gather";
    call.config = portable_launch(kThreads, s.count, ceil_div(s.columns, kThreads * 16));
    call.buffer_bytes = buffers_of(s);
    call.set_params(GatherParams{s.rows, s.columns, s.count, s.table_row});
}

}  // namespace gather
}  // namespace invar::kernels
