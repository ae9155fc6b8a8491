// SPDX-License-Identifier: Apache-2.0
// Routines of NVIDIA's libraries behind the seam's launch: a kernel that calls the library (device/routines.h).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/context.h"
#include "base/function_ref.h"
#include "device/routines.h"
#include "device/services.h"

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
// As GemmTuner has it; device is the one of the context.
GemmSearch search_gemm(Device& device, std::shared_ptr<Context> context,
                       const std::string& device_description, const GemmParams& params, bool keep);

// Times a product under several of its algorithms (gemm_search.cpp). use(i) makes launches of the kernel run number i.
struct GemmTimes {
    std::vector<double> seconds;  // a product, for each algorithm; infinite where it failed
    std::size_t best = 0;         // the fastest that repeats its bits
    int unrepeatable = 0;
};
GemmTimes time_gemms(Device& device, Kernel& kernel, const GemmParams& params, std::size_t algorithms,
                     FunctionRef<void(std::size_t)> use);

}  // namespace invar::cuda
