// SPDX-License-Identifier: Apache-2.0
// Scans on CUDA: types, operation and layout become definitions of the source.
#include <algorithm>

#include "kernels/scan/params.h"
#include "kernels/scan/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kScanParams;
extern const char* const kScanCudaSource;

namespace scan {
namespace {

constexpr std::int64_t kThreads = 256;  // as in cuda.cu
constexpr std::int64_t kMostBlocks = 1 << 20;

}  // namespace

void plan_scan_cuda(const ScanSpec& s, KernelCall& call) {
    const Chunks c = cut_for_blocks(s);
    const bool columns = s.inner != 1, chunked = is_chunked(s, c);
    const DType a = accumulator(s);
    const std::int64_t segment = columns || s.n > kGroup * kGroup ? kTile
                                 : s.n > kGroup                   ? kGroup * kGroup
                                                                  : kGroup;
    call.module = cuda_module("scan", {kScanParams, kScanCudaSource},
                              {{"X", kernel_type(s.x)},
                               {"Y", kernel_type(s.y)},
                               {"A", kernel_type(a)},
                               {"OP", digits(static_cast<int>(s.op))},
                               {"FLOATING", flag(is_float(a))},
                               {"COLUMNS", flag(columns)},
                               {"CHUNKED", flag(chunked)},
                               {"SEGMENT", segment == kTile ? "4096" : digits(segment)}});
    const auto config = [&](std::int64_t chunks) -> LaunchConfig {
        const std::int64_t blocks = columns ? ceil_div(s.outer * s.inner * chunks, kThreads)
                                            : ceil_div(s.outer, kTile / segment) * chunks;
        return {cuda_grid(std::min(blocks, kMostBlocks)), {kThreads}, 0, true};
    };
    set_launches(s, c, config, call);
}

}  // namespace scan
}  // namespace invar::kernels
