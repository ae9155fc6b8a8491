// SPDX-License-Identifier: Apache-2.0
// Programs as kernels of a Metal device.
#include "backends/metal/program.h"

#include <algorithm>

#include "program/program_module.h"
#include "program/writer.h"

namespace invar::metal {
namespace {

// More threadgroups than any device runs at once; the kernels walk on in strides of the grid.
constexpr std::int64_t kMaxBlocks = 1 << 16;

MetalKernel& entry(LoadedModule& module, const std::string& name) {
    return dynamic_cast<MetalKernel&>(module.kernel(name));
}

}  // namespace

MetalProgram::MetalProgram(const Program& program, LoadedModule& inner)
    : Kernel(program.name),
      shape_(program),
      faults_(reports_faults(program) ? std::make_shared<const ProgramFaults>(program) : nullptr),
      width_(vector_width(program)),
      flat_(entry(inner, program.name + "_flat")),
      view_(entry(inner, program.name + "_view")),
      view_wide_(entry(inner, program.name + "_view_wide")) {}

MetalKernel* MetalProgram::prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                                   LaunchConfig& config, WrittenLaunch& launch) const {
    shape_.prepare(params, placed, launch);
    if (launch.elements == 0) return nullptr;
    MetalKernel& kernel = launch.flat ? flat_ : launch.wide ? view_wide_ : view_;
    // The written kernels take any block, so that a pipeline of many registers runs too.
    const auto block = static_cast<std::int64_t>(
        std::clamp<std::size_t>(kernel.max_threads(), 1, static_cast<std::size_t>(kWriterBlock)));
    const std::int64_t each = block * (launch.flat ? width_ : 1);
    config = {};
    config.grid.x =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>((launch.elements - 1) / each + 1, 1, kMaxBlocks));
    config.block.x = static_cast<std::uint32_t>(block);
    return &kernel;
}

MetalGridProgram::MetalGridProgram(const Program& program, LoadedModule& inner)
    : Kernel(program.name),
      shape_(program),
      faults_(std::make_shared<const ProgramFaults>(program)),
      kernel_(entry(inner, program.name + "_grid")) {}

std::shared_ptr<LoadedModule> compile_programs(std::shared_ptr<Context> context, const std::string& name,
                                               const ProgramText& text) {
    const std::vector<Program> programs = assemble_for_device(context->name(), name, text.text);
    const std::uint64_t room = context->features().threadgroup_bytes;
    for (const Program& program : programs)
        if (static_cast<std::uint64_t>(program.shared_bytes()) + grid_scratch_bytes(program) > room)
            throw Unsupported(context->name() + ": program '" + program.name + "' takes more than the " +
                              std::to_string(room) + " bytes of a threadgroup; run it on the cpu");
    const std::string device = context->name();
    auto inner =
        compile_source(std::move(context), name, {"metal", write_source(programs, Language::metal), {}});
    return std::make_shared<ProgramModule<MetalProgram, MetalGridProgram>>(device, name, programs,
                                                                           std::move(inner));
}

}  // namespace invar::metal
