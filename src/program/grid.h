// SPDX-License-Identifier: Apache-2.0
// The launch parameters of a grid program: the block of bytes that goes through Stream::launch beside the buffers. A header,
// the element count of the launch (what `count` gives, of no other meaning), and the scalars (8 bytes each: the bits of
// value_bits or integer_bits at the scalar's type). Grid and block are those of the launch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <invar/export.h>

#include "program/program.h"

namespace invar {

inline constexpr std::size_t kMaxGridParamsBytes = 16 + 8 * kMaxProgramScalars;

// Writes the block into out and returns its size. Throws InvalidArgument for a negative count, too many scalars, or an out
// that is too small.
INVAR_API std::size_t write_grid_params(std::span<std::byte> out, std::int64_t count,
                                        std::span<const std::uint64_t> scalars);

struct GridParams {
    std::int64_t count = 0;
    std::size_t scalar_count = 0;
    std::array<std::uint64_t, kMaxProgramScalars> scalars{};
};
// Throws InvalidArgument where the sizes do not fit together.
INVAR_API void read_grid_params(std::span<const std::byte> bytes, GridParams& out);

// Blocks of the grid and lanes of a block.
using GridDims = std::array<std::uint32_t, 3>;
inline constexpr std::uint32_t kMaxGridX = 0x7fffffff, kMaxGridYZ = 65535;  // what every device takes
// Throws InvalidArgument, naming the program, for a grid or block that is empty, too large, or not the program's.
INVAR_API void check_grid(const Program& program, const GridDims& grid, const GridDims& block);

}  // namespace invar
