// SPDX-License-Identifier: Apache-2.0
// Programs as kernels of a Metal device: what the writer makes of them, and how they are launched.
#pragma once

#include <memory>
#include <span>

#include "backends/metal/context.h"
#include "program/grid_writer.h"
#include "program/program_faults.h"

namespace invar::metal {

// A pointwise program: its launch says the index space (program/pointwise.h), so grid and block of the call play no part.
class MetalProgram final : public Kernel {
public:
    // inner has the kernels that write_source makes of the program.
    MetalProgram(const Program& program, LoadedModule& inner);
    // The kernel for these parameters and buffer sizes, and its launch; nullptr for an empty index space.
    MetalKernel* prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                         LaunchConfig& config, WrittenLaunch& launch) const;
    Context& context() const noexcept { return flat_.context(); }
    // Null where it reports none.
    const std::shared_ptr<const ProgramFaults>& faults() const noexcept { return faults_; }

private:
    ProgramShape shape_;
    std::shared_ptr<const ProgramFaults> faults_;
    int width_;
    MetalKernel &flat_, &view_, &view_wide_;
};

// A grid program: launched with the grid and block of the call.
class MetalGridProgram final : public Kernel {
public:
    MetalGridProgram(const Program& program, LoadedModule& inner);
    const GridShape& shape() const noexcept { return shape_; }
    const std::shared_ptr<const ProgramFaults>& faults() const noexcept { return faults_; }
    MetalKernel& kernel() const noexcept { return kernel_; }

private:
    GridShape shape_;
    std::shared_ptr<const ProgramFaults> faults_;
    MetalKernel& kernel_;
};

// Writes the programs in Metal and compiles them. Throws Unsupported for what Metal does not have, or this device has no
// room for; CompileFailed.
std::shared_ptr<LoadedModule> compile_programs(std::shared_ptr<Context> context, const std::string& name,
                                               const ProgramText& text);

}  // namespace invar::metal
