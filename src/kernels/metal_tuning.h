// SPDX-License-Identifier: Apache-2.0
// Which shapes the tuned Metal kernels take on which generation of Apple's GPUs: a plain table, asked by generation and name,
// so that a measurement on a real machine can replace entries. None of it changes a bit of any result: what a tuner may choose
// has one order of sums (gemm: eights of k; linear: sharers by n and k alone).
//
// The entries are not measured; `invar bench kernels --tune` does that on a machine and keeps what it finds there. They come from
// what Apple documents: 32 KiB of threadgroup memory and at most 1024 threads a threadgroup in every generation; Apple7 and Apple8 (M1, M2) give a threadgroup fixed parts of registers and threadgroup
// memory, so that small tiles let several threadgroups share a core and hide each other's barriers; from Apple9 (M3) on
// registers and threadgroup memory are caches of one memory, given as they are used, so a piece of k may be longer.
#pragma once

#include <cstdint>
#include <string_view>

#include <invar/export.h>

#include "device/device.h"

namespace invar::kernels {

struct MetalGemmTile {
    int m, n, k;             // results of a threadgroup, and the piece of k that is staged
    int groups_m, groups_n;  // SIMD-groups down and across
};

struct MetalTuning {
    int generation;  // of Apple's GPU families: 7 to 10
    // Products of many rows, staged as f16 or as f32, and those of at most kMetalFewRows rows.
    MetalGemmTile half, half_few, single, single_few;
    // Products of at most 8 rows: rows of weights that a SIMD-group forms at once where there are enough of them (2 or 4), and
    // its 16-byte loads in flight for each.
    int streams, loads;
};

inline constexpr std::int64_t kMetalFewRows = 32;  // of x: what one tile of the few takes

inline constexpr MetalTuning kMetalTuning[] = {
    {7, {64, 64, 32, 2, 2}, {32, 64, 32, 1, 4}, {64, 64, 16, 2, 2}, {32, 64, 16, 1, 4}, 4, 1},
    {8, {64, 64, 32, 2, 2}, {32, 64, 32, 1, 4}, {64, 64, 16, 2, 2}, {32, 64, 16, 1, 4}, 4, 1},
    {9, {64, 64, 32, 2, 2}, {32, 64, 64, 1, 4}, {64, 64, 32, 2, 2}, {32, 64, 32, 1, 4}, 4, 2},
    {10, {64, 64, 32, 2, 2}, {32, 64, 64, 1, 4}, {64, 64, 32, 2, 2}, {32, 64, 32, 1, 4}, 4, 2},
};

// The generation by what the maker calls the GPU ("Apple M3 Max", "Apple A17 Pro"); 7, the oldest that the kernels serve,
// where it says nothing known, and 10 for what is newer than this table.
INVAR_API int metal_generation(std::string_view description);
// Whether the kernel takes a tile: whole 8 x 8 results for each SIMD-group and few enough to stay in registers, at most 1024
// threads, and what is staged of `bytes` an element (2 or 4) within 32 KiB of threadgroup memory.
INVAR_API bool tile_fits(const MetalGemmTile& tile, int bytes);
// Whether all of a row's entries can be used.
INVAR_API bool tuning_fits(const MetalTuning& tuning);
// The row of a generation: the newest that is not newer than it.
INVAR_API const MetalTuning& metal_tuning(int generation);
// That of a device: what was measured on one of its description and stored in the disk cache, else the row of its generation.
INVAR_API MetalTuning metal_tuning(const Device& device);
// From now on that of the device, in this process; store: and in later ones (the disk cache). Throws InvalidArgument for a row
// that does not fit.
INVAR_API void set_metal_tuning(const Device& device, const MetalTuning& tuning, bool store);

}  // namespace invar::kernels
