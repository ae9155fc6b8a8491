// SPDX-License-Identifier: Apache-2.0
// Gather on CUDA: types become definitions of the source, sizes its parameters.
#include <algorithm>

#include "kernels/gather/params.h"
#include "kernels/gather/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kGatherParams;
extern const char* const kGatherCudaSource;

namespace gather {
void plan_cuda(const GatherSpec& s, KernelCall& call) {
    constexpr std::int64_t kThreads = 256;
    const bool converted = s.table != s.y;
    call.module = cuda_module("gather", {kGatherParams, kGatherCudaSource},
                              {{"TABLE", element_of(s.table, converted)},
                               {"Y", element_of(s.y, converted)},
                               {"INDEX", kernel_type(s.index)}});
    call.entry = "gather";
    const std::int64_t pieces = std::clamp<std::int64_t>(ceil_div(s.columns, kThreads * 16), 1, 1024);
    call.config = {cuda_grid(s.count, static_cast<std::uint32_t>(pieces)), {kThreads}, 0, true};
    call.buffer_bytes = buffers_of(s);
    call.set_params(GatherParams{s.rows, s.columns, s.count, s.table_row});
}

}  // namespace gather
}  // namespace invar::kernels
