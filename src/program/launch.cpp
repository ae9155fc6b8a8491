// SPDX-License-Identifier: Apache-2.0
// The choice of grid and block.
#include "program/launch.h"

#include <algorithm>

namespace invar {
namespace {

constexpr std::uint32_t kUsualBlock = 256;

}  // namespace

const Parameter* counted_buffer(const Program& program) {
    const Parameter* first = nullptr;
    for (const Parameter& p : program.parameters) {
        if (p.buffer && writes(p.access)) return &p;
        if (p.buffer && first == nullptr) first = &p;
    }
    return first;
}

LaunchSizes choose_sizes(const Program& program, std::int64_t count, const std::optional<GridDims>& grid,
                         const std::optional<GridDims>& block, int max_block_lanes) {
    const auto refuse = [&](const std::string& why) {
        throw InvalidArgument("program '" + program.name + "': " + why);
    };
    LaunchSizes sizes;
    if (!program.is_grid()) {
        if (grid || block)
            refuse("it is a pointwise one, which runs once for each element and has no grid and block");
        return sizes;
    }
    const std::uint32_t most =
        max_block_lanes > 0 ? static_cast<std::uint32_t>(max_block_lanes) : kUsualBlock;
    sizes.block = block                   ? *block
                  : program.block[0] != 0 ? program.block
                                          : GridDims{std::min(kUsualBlock, most), 1, 1};
    check_grid(program, sizes.grid, sizes.block);  // the block, so that its lanes can be multiplied
    const std::int64_t lanes = std::int64_t{sizes.block[0]} * sizes.block[1] * sizes.block[2];
    if (grid) {
        sizes.grid = *grid;
    } else if (count >= 0) {
        const std::int64_t blocks = count / lanes + (count % lanes != 0);
        if (blocks > std::int64_t{kMaxGridX})
            refuse("a count of " + std::to_string(count) + " takes " + std::to_string(blocks) +
                   " blocks of " + std::to_string(lanes) + " lanes; at most " + std::to_string(kMaxGridX) +
                   " are launched at once, so give a larger block, or a grid");
        sizes.grid[0] = static_cast<std::uint32_t>(blocks);
    }
    check_grid(program, sizes.grid, sizes.block);
    if (max_block_lanes > 0 && lanes > max_block_lanes)
        refuse("a block of " + std::to_string(lanes) + " lanes; the device runs at most " +
               std::to_string(max_block_lanes));
    return sizes;
}

bool broadcast_strides(std::span<const std::int64_t> shape, std::span<const std::int64_t> dims, bool written,
                       std::span<std::int64_t> strides) {
    if (shape.size() > dims.size()) return false;
    const std::size_t lead = dims.size() - shape.size();
    const bool empty = std::ranges::find(shape, 0) != shape.end();
    std::int64_t row = 1;
    for (std::size_t d = dims.size(); d-- > 0;) {
        const std::int64_t length = d < lead ? 1 : shape[d - lead];
        if (length != dims[d] && (length != 1 || written)) return false;
        strides[d] = length == dims[d] && d >= lead ? row : 0;
        if (!empty) row *= length;  // fits then, as the elements do
    }
    return true;
}

}  // namespace invar
