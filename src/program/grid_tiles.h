// SPDX-License-Identifier: Apache-2.0
// Tiles and accumulators on the CPU: what COPY.TILE, MMA and MMA.store do for a block, apart from who asks for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <invar/dtype.h>

namespace invar {

// Rows of a buffer: element (r, c) is start + r * pitch + c, in 64 bits that wrap around.
struct TileRegion {
    std::uint64_t start = 0, pitch = 0;  // elements
    std::int64_t rows = 0, columns = 0;  // already clipped, not negative
    std::uint64_t row(std::int64_t r) const { return start + static_cast<std::uint64_t>(r) * pitch; }
};
// Rows before the first that a buffer of that many elements does not hold wholly.
std::int64_t whole_rows(const TileRegion& region, std::uint64_t held);

// tile (rows, columns) = the region, zeros beyond it; elements of that many bytes.
void copy_tile(std::byte* tile, std::int64_t rows, std::int64_t columns, const std::byte* buffer,
               const TileRegion& region, std::size_t element);

// c (m, n) += a (m, k) b, b being (k, n), or (n, k) where it is transposed. a and b are f16, bf16 or f32, as type says; a and b at
// f32 go through scratch.
struct TileProduct {
    DType type = DType::f32;
    bool transposed = false;
    std::int64_t m = 0, n = 0, k = 0;
};
void multiply_tiles(const TileProduct& product, float* c, const std::byte* a, const std::byte* b,
                    std::vector<float>& scratch);

// The region = c, whose rows have that many columns, rounded once to type.
void store_tile(std::byte* buffer, const TileRegion& region, const float* c, std::int64_t columns,
                DType type);

}  // namespace invar
