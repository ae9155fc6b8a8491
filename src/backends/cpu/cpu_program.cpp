// SPDX-License-Identifier: Apache-2.0
// Programs as kernels of the cpu device. For a pointwise program grid and block of a launch play no part: the parameters say
// the index space.
#include "backends/cpu/cpu_program.h"

#include "program/grid_interpreter.h"
#include "program/interpreter.h"

namespace invar {
namespace {

class ProgramKernel final : public CpuKernel {
public:
    explicit ProgramKernel(const Program& program) : CpuKernel(program.name), program_(program) {}
    void run(const NativeLaunch& launch) override {
        program_.run(launch.buffers, launch.params, launch.pool);
    }

private:
    CompiledProgram program_;
};

class GridKernel final : public CpuKernel {
public:
    explicit GridKernel(const Program& program) : CpuKernel(program.name), program_(program) {}
    void run(const NativeLaunch& launch) override {
        const Dim3 &grid = launch.config.grid, &block = launch.config.block;
        program_.run({grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, launch.buffers, launch.params,
                     launch.pool);
    }

private:
    GridProgram program_;
};

}  // namespace

std::vector<std::unique_ptr<CpuKernel>> load_programs(const std::string& module, const std::string& text) {
    std::vector<std::unique_ptr<CpuKernel>> kernels;
    for (const Program& program : assemble_for_device("cpu", module, text))
        if (program.is_grid())
            kernels.push_back(std::make_unique<GridKernel>(program));
        else
            kernels.push_back(std::make_unique<ProgramKernel>(program));
    return kernels;
}

}  // namespace invar
