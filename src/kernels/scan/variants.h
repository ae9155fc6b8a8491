// SPDX-License-Identifier: Apache-2.0
// What the variants of the scan family share. Included by the family's own files only.
#pragma once

#include <cstdint>

#include "base/function_ref.h"
#include "kernels/native.h"
#include "kernels/scan/family.h"

namespace invar::kernels::scan {

inline constexpr std::int64_t kGroup = 16;  // elements, and nodes of each level of the tree
inline constexpr std::int64_t kTile = kGroup * kGroup * kGroup;

// An axis in chunks: chunk is kGroup to some power, or n where there is one chunk.
struct Chunks {
    std::int64_t chunks = 1, chunk = 0;
};
// At most `most` chunks of at least `least` elements, a power of kGroup.
Chunks cut(std::int64_t n, std::int64_t least, std::int64_t most);
// How accelerators and the cpu cut it; which is free, because the tree is one of positions.
Chunks cut_for_blocks(const ScanSpec& spec);
Chunks cut_for_threads(const ScanSpec& spec);
DType accumulator(const ScanSpec& spec);
std::size_t totals_bytes(const ScanSpec& spec, std::int64_t chunks);
// Whether chunks are folded first, for which accelerators have a launch of its own.
inline bool is_chunked(const ScanSpec& spec, const Chunks& c) {
    return c.chunks > 1 && spec.outer * spec.inner > 0;
}
// The launches of an accelerator's kernels, config being that of a launch over so many chunks, with their parameters.
void set_launches(const ScanSpec& spec, const Chunks& c, FunctionRef<LaunchConfig(std::int64_t)> config,
                  KernelCall& call);

void run_scan(const NativeLaunch& launch);
// Fill in the call on a CUDA device and in portable C; the specification has been checked.
void plan_scan_cuda(const ScanSpec& spec, KernelCall& call);
void plan_scan_portable(const Device& device, const ScanSpec& spec, KernelCall& call);

}  // namespace invar::kernels::scan
