// SPDX-License-Identifier: Apache-2.0
// How products run on CUDA where more than one way is open: which of the vendor library's algorithms, and what takes an
// activation along. Each choice changes the bits of a result, so none is made by a launch: the defaults are fixed, and what
// a measurement that somebody asked for found (tensor/product_tuning.h) is kept in the disk cache for later processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <invar/export.h>

#include "device/services.h"
#include "kernels/matmul/family.h"

namespace invar::kernels {

// A shape of the product of warp groups (matmul/cuda_gemm.cu, where the words are explained). All of them give the same bits.
struct GemmTile {
    std::int32_t m, n, stages, together, cluster;
    friend bool operator==(const GemmTile&, const GemmTile&) = default;
};
// The first two serve where nothing was measured (default_tile).
inline constexpr GemmTile kGemmTiles[] = {
    {128, 128, 6, 0, 1},  // results are stored while the next tile is multiplied
    {128, 64, 8, 1, 1},   // more blocks, for small products
    {128, 128, 6, 0, 2},  // as the first, with weights shared by two blocks
    {128, 256, 4, 1, 2},  // least traffic of L2 and shared memory
    {256, 128, 4, 1, 2},  // the same, the other way round
    {64, 256, 5, 0, 2},   // half the rows, in turn
    {128, 128, 6, 1, 2},  // stored sooner, where a block has one tile
    {64, 128, 8, 0, 1},   // small products, in turn
    {64, 128, 8, 0, 2},
};
inline constexpr std::size_t kGemmTileCount = sizeof kGemmTiles / sizeof kGemmTiles[0];

// What takes the activation behind a product along.
struct ActivationWay {
    enum class By : std::int32_t {
        step,     // nothing: a step of its own behind the product
        library,  // the library's epilogue, which has relu and the tanh form of gelu
        tile,     // the product of warp groups
    };
    By by = By::step;
    std::int32_t tile = 0;  // number in kGemmTiles
    friend bool operator==(const ActivationWay&, const ActivationWay&) = default;
};
// The way of this product: what was set or stored for its sizes, else what was found on an H200 for all sizes from 512 on: relu and the
// exact gelu by the product of warp groups, the tanh form of gelu where that has no more tiles than the card multiprocessors, and by
// the library's epilogue above; else that epilogue where there is one, else a step.
INVAR_API ActivationWay activation_way(const Device& device, const MatmulSpec& spec);
// Whether the device can go that way at all.
INVAR_API bool takes_way(const Device& device, const MatmulSpec& spec, const ActivationWay& way);
// From now on the way of products of these sizes, in this process; store: and in later ones (the disk cache). A function that was
// compiled before keeps what it has captured, and takes the new way where it prepares a product again (another length). Throws
// Unsupported for a way that the device cannot go.
INVAR_API void set_activation_way(const Device& device, const MatmulSpec& spec, const ActivationWay& way,
                                  bool store);

// The call of the product of warp groups by one tile, whatever is the product's way. Throws Unsupported where it does not take
// the product.
INVAR_API KernelCall plan_warp_groups(const MatmulSpec& spec, const GemmTile& tile, int multiprocessors);

// Searches the library's algorithms for this product (GemmTuner::search); nothing where no library takes it or lets one choose.
INVAR_API std::optional<GemmSearch> search_library(Device& device, const MatmulSpec& spec, bool keep);

}  // namespace invar::kernels
