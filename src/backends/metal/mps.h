// SPDX-License-Identifier: Apache-2.0
// Products by Metal Performance Shaders, Apple's library: an alternative to Invar's own kernels that a user declares by
// INVAR_METAL_MPS=1. What it computes, and in which order, is Apple's and changes with the system.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "backends/metal/context.h"
#include "device/routines.h"

namespace invar::metal {

// Whether the process has the library.
bool have_mps();

// The routine "gemm" (device/routines.h), without bias and residual, of one type, f16 or f32, and without a workspace.
class MpsProduct final : public Kernel {
public:
    explicit MpsProduct(std::shared_ptr<Context> context);
    Context& context() const noexcept { return *context_; }
    struct Operand {
        MTL::Buffer* buffer;
        std::size_t offset, bytes;
    };
    // Puts the products of a batch into a command buffer that has no open encoder. operands: x, w, y. Throws InvalidArgument for
    // what the routine does not take, or operands that are too small.
    void encode(MTL::CommandBuffer& commands, const GemmParams& params,
                std::span<const Operand> operands) const;

private:
    std::shared_ptr<Context> context_;
};

std::shared_ptr<LoadedModule> load_mps(std::shared_ptr<Context> context, const std::string& name);

}  // namespace invar::metal
