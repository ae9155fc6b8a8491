// SPDX-License-Identifier: Apache-2.0
// libcuda and libnvrtc, opened when first needed: the same files run where neither is installed.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/driver_api.h"

namespace invar::cuda {

// The driver's functions. Those that came with a later driver than 12.0 may be null: module_function_count,
// module_functions, function_name, function_parameter.
struct Driver {
#define INVAR_MEMBER(member, symbol, parameters) CUresult(*member) parameters = nullptr;
    INVAR_CUDA_DRIVER_API(INVAR_MEMBER)
#undef INVAR_MEMBER
    int version = 0;  // 1000 * major + 10 * minor of the CUDA release that the driver knows

    // "CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered"
    std::string describe(CUresult result) const;
};

// Opens the driver and initialises it. nullptr, with the reason in why, where there is none or no device.
// INVAR_CUDA_DRIVER names another file than libcuda.so.1.
std::unique_ptr<Driver> open_driver(std::string& why);

struct Nvrtc {
#define INVAR_MEMBER(member, symbol, parameters) nvrtcResult(*member) parameters = nullptr;
    INVAR_NVRTC_API(INVAR_MEMBER)
#undef INVAR_MEMBER
    const char* (*error_string)(nvrtcResult) = nullptr;
    int major = 0, minor = 0;
    std::string path;  // where it was found
};

// The compiler: INVAR_NVRTC (a file), else where the system's loader, a toolkit under CUDA_HOME or /usr/local/cuda, or a
// wheel nvidia-cuda-nvrtc of the active Python environment has it. Opened once. Throws Unsupported that lists the places.
const Nvrtc& nvrtc();

struct Compiled {
    std::vector<std::byte> cubin;
    std::string log;
};
// Compiles CUDA C++ for an architecture such as "sm_90a". Throws CompileFailed with log and numbered source.
Compiled compile_source(std::string_view name, const std::string& source, const std::string& architecture,
                        const std::vector<std::string>& options);

}  // namespace invar::cuda
