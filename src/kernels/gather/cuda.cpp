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
// Where nothing is converted, elements are words of their size.
const char* element_of(DType t, bool converted) {
    if (converted) return kernel_type(t);
    switch (size_of(t)) {
        case 1: return "u8";
        case 2: return "u16";
        case 4: return "u32";
        default: return "u64";
    }
}

std::array<std::size_t, 12> buffers_of(const GatherSpec& s) {
    return {bytes_of(extent(s.rows, s.table_row, s.columns), s.table), bytes_of(s.count, s.index),
            bytes_of(s.count * s.columns, s.y)};
}

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
