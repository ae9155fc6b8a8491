// SPDX-License-Identifier: Apache-2.0
// Routines of NVIDIA's libraries behind the seam's launch: a kernel that calls the library (device/routines.h).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "backends/cuda/context.h"

namespace invar::cuda {

class CudaRoutine : public Kernel {
public:
    CudaRoutine(std::string name, std::shared_ptr<Context> context)
        : Kernel(std::move(name)), context_(std::move(context)) {}
    Context& context() const noexcept { return *context_; }
    // Starts the work on the stream, whose context is current. Throws InvalidArgument for parameters or buffers that do
    // not fit, LaunchFailed for what the library refuses.
    virtual CUresult run(CUstream stream, std::span<const PlacedBuffer> buffers,
                         std::span<const std::byte> params) = 0;

private:
    std::shared_ptr<Context> context_;
};

// Whether cuBLASLt can be opened here: INVAR_CUBLASLT (a file), else where the system's loader, a toolkit or a Python wheel
// has it. Asked once.
bool have_gemm();
// The routine "gemm". Throws Unsupported, naming the places that were tried, without the library.
std::shared_ptr<LoadedModule> load_gemm(std::shared_ptr<Context> context,
                                        const std::string& device_description);

}  // namespace invar::cuda
