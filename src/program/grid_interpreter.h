// SPDX-License-Identifier: Apache-2.0
// The interpreter of grid programs: the reference for every other backend. A block's lanes go through each instruction
// together, as arrays that stay in the first-level cache, with a mask for those that take part; blocks are shared out over
// threads. Barriers, shared memory and warps therefore mean what they say, and nothing outside the buffers is ever touched.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <invar/export.h>

#include "device/module.h"
#include "program/grid.h"

namespace invar {

class ThreadPool;

// Instructions that a block may run before it is taken to loop for ever: minutes of it.
inline constexpr std::uint64_t kGridStepBudget = std::uint64_t{1} << 28;

class INVAR_API GridProgram {
public:
    // Verifies the program (FormatError) and prepares it.
    explicit GridProgram(const Program& program);
    ~GridProgram();
    GridProgram(GridProgram&&) noexcept;
    GridProgram& operator=(GridProgram&&) noexcept;

    const std::string& name() const noexcept;
    // buffers: one for each buffer parameter, in order, aligned to its element; params: a block of write_grid_params.
    // Throws InvalidArgument for a launch that does not fit, and LaunchFailed naming program, line and lane for an access
    // outside its buffer or a block that runs out of steps; other blocks may have been run then.
    void run(const GridDims& grid, const GridDims& block, std::span<const NativeBuffer> buffers,
             std::span<const std::byte> params, ThreadPool& pool,
             std::uint64_t steps = kGridStepBudget) const;

private:
    struct Impl;
    std::unique_ptr<const Impl> impl_;
};

}  // namespace invar
