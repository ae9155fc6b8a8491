// SPDX-License-Identifier: Apache-2.0
// Programs as kernels of an OpenCL device.
#include <algorithm>

#include "backends/opencl/context.h"
#include "program/program_module.h"

namespace invar::opencl {
namespace {

// More blocks than any device runs at once; the kernels walk on in strides of the grid.
constexpr std::int64_t kMaxBlocks = 1 << 16;

OpenclKernel& entry(LoadedModule& module, const std::string& name) {
    return dynamic_cast<OpenclKernel&>(module.kernel(name));
}

}  // namespace

OpenclProgram::OpenclProgram(const Program& program, LoadedModule& inner)
    : Kernel(program.name),
      shape_(program),
      faults_(reports_faults(program) ? std::make_shared<const ProgramFaults>(program) : nullptr),
      width_(vector_width(program)),
      words_in_memory_(opencl_words_in_memory(program)),
      flat_(entry(inner, program.name + "_flat")),
      view_(entry(inner, program.name + "_view")),
      view_wide_(entry(inner, program.name + "_view_wide")) {}

OpenclKernel* OpenclProgram::prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                                     LaunchConfig& config, WrittenLaunch& launch) const {
    shape_.prepare(params, placed, launch);
    if (launch.elements == 0) return nullptr;
    OpenclKernel& kernel = launch.flat ? flat_ : launch.wide ? view_wide_ : view_;
    // The written kernels take any block, so that a device of small blocks or few registers runs them too.
    const auto block = static_cast<std::int64_t>(
        std::clamp<std::size_t>(kernel.max_threads(), 1, static_cast<std::size_t>(kWriterBlock)));
    const std::int64_t each = block * (launch.flat ? width_ : 1);
    config = {};
    config.grid.x =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>((launch.elements - 1) / each + 1, 1, kMaxBlocks));
    config.block.x = static_cast<std::uint32_t>(block);
    return &kernel;
}

OpenclGridProgram::OpenclGridProgram(const Program& program, LoadedModule& inner)
    : Kernel(program.name),
      shape_(program),
      faults_(std::make_shared<const ProgramFaults>(program)),
      words_in_memory_(opencl_words_in_memory(program)),
      kernel_(entry(inner, program.name + "_grid")) {}

std::shared_ptr<LoadedModule> load_programs(const std::string& device, const std::string& name,
                                            std::span<const Program> programs,
                                            std::shared_ptr<LoadedModule> inner) {
    return std::make_shared<ProgramModule<OpenclProgram, OpenclGridProgram>>(device, name, programs,
                                                                             std::move(inner));
}

}  // namespace invar::opencl
