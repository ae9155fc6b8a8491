// SPDX-License-Identifier: Apache-2.0
// Tiles and accumulators on the CPU: rows are copied, products are the FMA chains of product_kernel.
#include "program/grid_tiles.h"

#include <algorithm>
#include <cstring>

#include "program/kernels.h"

namespace invar {
namespace {

// n elements of a tile as f32, in room.
const float* widened(const std::byte* elements, DType type, std::size_t n, float* room) {
    if (const Kernel widen = load_kernel(type))
        widen(room, elements, nullptr, nullptr, n);
    else
        std::memcpy(room, elements, n * sizeof(float));
    return room;
}

}  // namespace

std::int64_t whole_rows(const TileRegion& region, std::uint64_t held) {
    if (region.columns == 0) return region.rows;
    const auto columns = static_cast<std::uint64_t>(region.columns);
    std::int64_t r = 0;
    while (r < region.rows && columns <= held && region.row(r) <= held - columns) ++r;
    return r;
}

void copy_tile(std::byte* tile, std::int64_t rows, std::int64_t columns, const std::byte* buffer,
               const TileRegion& region, std::size_t element) {
    const std::size_t pitch = static_cast<std::size_t>(columns) * element;
    const std::size_t copied = static_cast<std::size_t>(region.columns) * element;
    for (std::int64_t r = 0; r < rows; ++r, tile += pitch) {
        const std::size_t bytes = r < region.rows ? copied : 0;
        if (bytes > 0) std::memcpy(tile, buffer + region.row(r) * element, bytes);
        std::memset(tile + bytes, 0, pitch - bytes);
    }
}

void multiply_tiles(const TileProduct& product, float* c, const std::byte* a, const std::byte* b,
                    std::vector<float>& scratch) {
    const auto m = static_cast<std::size_t>(product.m), n = static_cast<std::size_t>(product.n),
               k = static_cast<std::size_t>(product.k);
    scratch.resize(std::max(scratch.size(), m * k + 2 * k * n));
    const float* const left = widened(a, product.type, m * k, scratch.data());
    float* const room = scratch.data() + m * k;
    const float* right = widened(b, product.type, k * n, room);
    if (product.transposed) {
        float* const turned = room + k * n;
        for (std::size_t j = 0; j < n; ++j)
            for (std::size_t s = 0; s < k; ++s) turned[s * n + j] = right[j * k + s];
        right = turned;
    }
    product_kernel()(c, left, right, m, n, k);
}

void store_tile(std::byte* buffer, const TileRegion& region, const float* c, std::int64_t columns,
                DType type) {
    const std::size_t n = static_cast<std::size_t>(region.columns), element = size_of(type);
    if (n == 0) return;
    const Kernel narrow = store_kernel(type);
    for (std::int64_t r = 0; r < region.rows; ++r, c += columns) {
        std::byte* const to = buffer + region.row(r) * element;
        if (narrow != nullptr)
            narrow(to, c, nullptr, nullptr, n);
        else
            std::memcpy(to, c, n * element);
    }
}

}  // namespace invar
