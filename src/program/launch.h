// SPDX-License-Identifier: Apache-2.0
// How a program is launched over a number of elements where the caller leaves that open.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <invar/export.h>

#include "program/grid.h"

namespace invar {

// The buffer whose elements a launch counts: the first that is written, else the first; nullptr where there is none.
INVAR_API const Parameter* counted_buffer(const Program& program);

struct LaunchSizes {
    GridDims grid{1, 1, 1},
        block{1, 1, 1};  // a pointwise program has neither: the device cuts its index space
};
// What was asked for, else the program's own block or one of 256 lanes (fewer where max_block_lanes, which is the device's and
// 0 where unknown, is less), and as many blocks as hold count lanes. Throws InvalidArgument, naming the program, for a grid
// or block of a pointwise program, for what check_grid refuses, and for a block beyond max_block_lanes, and for a
// count that no grid of such blocks holds.
INVAR_API LaunchSizes choose_sizes(const Program& program, std::int64_t count,
                                   const std::optional<GridDims>& grid, const std::optional<GridDims>& block,
                                   int max_block_lanes);

// The strides, in elements, with which an array that lies contiguously is read over the indices: 0 where NumPy's rules broadcast it.
// strides: one for each of dims. False where it does not broadcast to them; written: where it is not of them.
INVAR_API bool broadcast_strides(std::span<const std::int64_t> shape, std::span<const std::int64_t> dims,
                                 bool written, std::span<std::int64_t> strides);

}  // namespace invar
