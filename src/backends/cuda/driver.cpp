// SPDX-License-Identifier: Apache-2.0
// Opening libcuda.
#include "backends/cuda/driver.h"

#include <dlfcn.h>

#include "base/env.h"

namespace invar::cuda {
namespace {

constexpr int kOldestDriver = 12000;

bool optional(std::string_view symbol) {
    return symbol == "cuModuleGetFunctionCount" || symbol == "cuModuleEnumerateFunctions" ||
           symbol == "cuFuncGetName" || symbol == "cuFuncGetParamInfo";
}

std::string loader_error() {
    const char* why = dlerror();
    return why ? why : "no reason given";
}

}  // namespace

std::string Driver::describe(CUresult result) const {
    const char* name = nullptr;
    const char* text = nullptr;
    error_name(result, &name);
    error_string(result, &text);
    return std::string(name ? name : "CUDA error") + " (" + std::to_string(result) +
           "): " + (text ? text : "unknown");
}

std::unique_ptr<Driver> open_driver(std::string& why) {
    const std::string file = env_string("INVAR_CUDA_DRIVER", "libcuda.so.1");
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        why = "no NVIDIA driver: " + loader_error() + "; install the driver of your card";
        return nullptr;
    }
    auto driver = std::make_unique<Driver>();
    std::string missing;
#define INVAR_LOAD(member, symbol, parameters)                                            \
    driver->member = reinterpret_cast<decltype(driver->member)>(dlsym(library, #symbol)); \
    if (!driver->member && !optional(#symbol)) missing += std::string(missing.empty() ? "" : ", ") + #symbol;
    INVAR_CUDA_DRIVER_API(INVAR_LOAD)
#undef INVAR_LOAD
    if (!missing.empty()) {
        why = "the NVIDIA driver in '" + file + "' lacks " + missing + "; install one for CUDA 12 or newer";
        return nullptr;
    }
    int count = 0;
    CUresult result = driver->init(0);
    if (result == kSuccess) result = driver->driver_version(&driver->version);
    if (result == kSuccess) result = driver->device_count(&count);
    if (result != kSuccess) {
        why = "the NVIDIA driver does not start: " + driver->describe(result);
        return nullptr;
    }
    if (driver->version < kOldestDriver) {
        why = "the NVIDIA driver knows CUDA " + std::to_string(driver->version / 1000) + "." +
              std::to_string(driver->version % 1000 / 10) + "; 12.0 or newer is needed";
        return nullptr;
    }
    if (count == 0) {
        why = "the NVIDIA driver sees no device (CUDA_VISIBLE_DEVICES is '" +
              env_string("CUDA_VISIBLE_DEVICES") + "')";
        return nullptr;
    }
    return driver;
}

}  // namespace invar::cuda
