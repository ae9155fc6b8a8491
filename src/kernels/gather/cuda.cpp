// SPDX-License-Identifier: Apache-2.0
// Gather on CUDA: types become definitions of the source, sizes its parameters.
#include <algorithm>

#include "kernels/cuda_source.h"
#include "kernels/gather/cuda_params.h"
#include "kernels/gather/variants.h"
#include "kernels/native.h"

namespace invar::kernels {

extern const char* const kGatherCudaParams;
extern const char* const kGatherCudaSource;

namespace gather {
namespace {

constexpr std::int64_t kThreads = 256;

// Where nothing is converted, elements are words of their size.
const char* element(DType t, bool converted) {
    if (converted) return cuda_type(t);
    switch (size_of(t)) {
        case 1: return "u8";
        case 2: return "u16";
        case 4: return "u32";
        default: return "u64";
    }
}

}  // namespace

void plan_cuda(const GatherSpec& s, KernelCall& call) {
    const bool converted = s.table != s.y;
    call.module = cuda_module("gather", {kGatherCudaParams, kGatherCudaSource},
                              {{"TABLE", element(s.table, converted)},
                               {"Y", element(s.y, converted)},
                               {"INDEX", cuda_type(s.index)}});
    call.entry = "gather";
    const std::int64_t pieces = std::clamp<std::int64_t>(ceil_div(s.columns, kThreads * 16), 1, 1024);
    call.config = {cuda_grid(s.count, static_cast<std::uint32_t>(pieces)), {kThreads}, 0, true};
    call.buffer_bytes = {static_cast<std::size_t>(extent(s.rows, s.table_row, s.columns)) * size_of(s.table),
                         static_cast<std::size_t>(s.count) * size_of(s.index),
                         static_cast<std::size_t>(s.count * s.columns) * size_of(s.y)};
    call.set_params(GatherParams{s.rows, s.columns, s.count, s.table_row});
}

}  // namespace gather
}  // namespace invar::kernels
