// SPDX-License-Identifier: Apache-2.0
// Runs grid programs on arrays of raw bits through GridProgram.
#pragma once

#include <vector>

#include "program/grid_interpreter.h"
#include "program/run_helper.h"

namespace invar::test {

using Bits = std::vector<std::uint64_t>;

inline std::vector<std::byte> grid_params(std::int64_t count, const Bits& scalars) {
    std::vector<std::byte> params(kMaxGridParamsBytes);
    params.resize(write_grid_params(params, count, scalars));
    return params;
}

inline void run_grid(const Program& program, std::vector<Bits>& buffers, const Bits& scalars,
                     const GridDims& grid, const GridDims& block, std::int64_t count = 0,
                     std::uint64_t steps = kGridStepBudget) {
    const GridProgram compiled(program);
    std::vector<Packed> packed;
    std::size_t b = 0;
    for (const Parameter& p : program.parameters)
        if (p.buffer) packed.emplace_back(p.dtype, buffers[b++]);
    std::vector<NativeBuffer> native;
    for (Packed& p : packed) native.push_back(p.buffer());
    compiled.run(grid, block, native, grid_params(count, scalars), two_threads(), steps);
    for (std::size_t k = 0; k < packed.size(); ++k)
        for (std::size_t i = 0; i < buffers[k].size(); ++i) buffers[k][i] = packed[k].at(i);
}

}  // namespace invar::test
