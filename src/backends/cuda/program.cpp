// SPDX-License-Identifier: Apache-2.0
// Programs as kernels of a CUDA device.
#include <algorithm>

#include "backends/cuda/context.h"
#include "program/program_module.h"

namespace invar::cuda {
namespace {

// More blocks than any device runs at once; the kernels walk on in strides of the grid.
constexpr std::int64_t kMaxBlocks = 1 << 16;

CudaKernel& entry(LoadedModule& module, const std::string& name) {
    return dynamic_cast<CudaKernel&>(module.kernel(name));
}

}  // namespace

CudaProgram::CudaProgram(const Program& program, LoadedModule& inner)
    : Kernel(program.name),
      shape_(program),
      width_(vector_width(program)),
      flat_(entry(inner, program.name + "_flat")),
      view_(entry(inner, program.name + "_view")),
      view_wide_(entry(inner, program.name + "_view_wide")) {}

CudaKernel* CudaProgram::prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                                 LaunchConfig& config, WrittenLaunch& launch) const {
    shape_.prepare(params, placed, launch);
    if (launch.elements == 0) return nullptr;
    const std::int64_t each = static_cast<std::int64_t>(kWriterBlock) * (launch.flat ? width_ : 1);
    const std::int64_t blocks = std::clamp<std::int64_t>((launch.elements - 1) / each + 1, 1, kMaxBlocks);
    config = {};
    config.grid.x = static_cast<std::uint32_t>(blocks);
    config.block.x = kWriterBlock;
    config.overlap = true;
    return launch.flat ? &flat_ : launch.wide ? &view_wide_ : &view_;
}

CudaGridProgram::CudaGridProgram(const Program& program, LoadedModule& inner)
    : Kernel(program.name), shape_(program), kernel_(entry(inner, program.name + "_grid")) {}

void CudaGridProgram::prepare(std::span<const std::byte> params, const LaunchConfig& config,
                              std::span<const PlacedBuffer> placed, GridWords& words) const {
    const Dim3 &g = config.grid, &b = config.block;
    shape_.prepare(params, {g.x, g.y, g.z}, {b.x, b.y, b.z}, placed, words);
}

std::shared_ptr<LoadedModule> load_programs(const std::string& device, const std::string& name,
                                            std::span<const Program> programs,
                                            std::shared_ptr<LoadedModule> inner) {
    return std::make_shared<ProgramModule<CudaProgram, CudaGridProgram>>(device, name, programs,
                                                                         std::move(inner));
}

}  // namespace invar::cuda
