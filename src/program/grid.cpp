// SPDX-License-Identifier: Apache-2.0
// Launch parameters of grid programs, written and read back with every size checked.
#include "program/grid.h"

#include <cstring>

#include "base/checked.h"

namespace invar {
namespace {

constexpr std::uint32_t kMark = 0x64697267;  // tells the block from that of a pointwise program
constexpr std::size_t kHeaderBytes = 16;     // mark, number of scalars, count

std::string text_of(const GridDims& d) {
    return std::to_string(d[0]) + ", " + std::to_string(d[1]) + ", " + std::to_string(d[2]);
}

}  // namespace

std::size_t write_grid_params(std::span<std::byte> out, std::int64_t count,
                              std::span<const std::uint64_t> scalars) {
    if (count < 0) throw InvalidArgument("grid launch: an element count of " + std::to_string(count));
    if (scalars.size() > std::size_t{kMaxProgramScalars})
        throw InvalidArgument("grid launch: " + std::to_string(scalars.size()) + " scalars");
    const std::size_t bytes = kHeaderBytes + 8 * scalars.size();
    if (out.size() < bytes)
        throw InvalidArgument("grid launch: " + std::to_string(out.size()) + " bytes for parameters of " +
                              std::to_string(bytes));
    const std::uint32_t head[] = {kMark, static_cast<std::uint32_t>(scalars.size())};
    std::memcpy(out.data(), head, sizeof head);
    std::memcpy(out.data() + sizeof head, &count, sizeof count);
    if (!scalars.empty()) std::memcpy(out.data() + kHeaderBytes, scalars.data(), 8 * scalars.size());
    return bytes;
}

void read_grid_params(std::span<const std::byte> bytes, GridParams& out) {
    std::uint32_t head[2] = {};
    if (bytes.size() >= kHeaderBytes) std::memcpy(head, bytes.data(), sizeof head);
    if (head[0] != kMark || head[1] > std::uint32_t{kMaxProgramScalars} ||
        bytes.size() != kHeaderBytes + 8 * std::size_t{head[1]})
        throw InvalidArgument(
            "grid launch: " + std::to_string(bytes.size()) +
            " bytes that are no parameters of a grid program; make them with write_grid_params");
    std::memcpy(&out.count, bytes.data() + sizeof head, sizeof out.count);
    if (out.count < 0) throw InvalidArgument("grid launch: an element count of " + std::to_string(out.count));
    out.scalar_count = head[1];
    if (head[1] != 0) std::memcpy(out.scalars.data(), bytes.data() + kHeaderBytes, 8 * std::size_t{head[1]});
}

void check_grid(const Program& program, const GridDims& grid, const GridDims& block) {
    const auto refuse = [&](const std::string& why) {
        throw InvalidArgument("program '" + program.name + "': " + why);
    };
    std::uint64_t lanes = 1;
    for (const std::uint32_t size : block) {
        if (size == 0 || size > kMaxBlockLanes) refuse("a block of (" + text_of(block) + ") lanes");
        lanes *= size;
    }
    if (lanes > kMaxBlockLanes)
        refuse("a block of (" + text_of(block) + ") lanes; at most " + std::to_string(kMaxBlockLanes) +
               " are allowed");
    if (program.block[0] != 0 && program.block != block)
        refuse("a launch with blocks of (" + text_of(block) + "); the program names (" +
               text_of(program.block) + ")");
    if (grid[0] > kMaxGridX || grid[1] > kMaxGridYZ || grid[2] > kMaxGridYZ)
        refuse("a grid of (" + text_of(grid) + ") blocks; at most (" + std::to_string(kMaxGridX) + ", " +
               std::to_string(kMaxGridYZ) + ", " + std::to_string(kMaxGridYZ) + ") are allowed");
    const auto blocks =
        checked_mul(std::int64_t{grid[0]} * grid[1], std::int64_t{grid[2]}, "blocks of a grid");
    (void)checked_mul(blocks, static_cast<std::int64_t>(lanes), "lanes of a grid");
}

}  // namespace invar
