// SPDX-License-Identifier: Apache-2.0
// Finding NVIDIA's run-time compiler and compiling with it.
#include <dlfcn.h>

#include <invar/error.h>

#include "backends/cuda/driver.h"
#include "backends/cuda/vendor_library.h"
#include "device/module.h"

namespace invar::cuda {
namespace {

constexpr const char* kNames[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

Nvrtc open() {
    Nvrtc api;
    std::string tried;
    for (const std::string& file : library_files("INVAR_NVRTC", kNames, "cuda_nvrtc")) {
        void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            tried += "\n  " + file;
            continue;
        }
        bool complete = true;
#define INVAR_LOAD(member, symbol, parameters)                                    \
    api.member = reinterpret_cast<decltype(api.member)>(dlsym(library, #symbol)); \
    complete = complete && api.member;
        INVAR_NVRTC_API(INVAR_LOAD)
#undef INVAR_LOAD
        api.error_string =
            reinterpret_cast<decltype(api.error_string)>(dlsym(library, "nvrtcGetErrorString"));
        if (complete && api.error_string && api.version(&api.major, &api.minor) == 0) {
            api.path = file;
            return api;
        }
        tried += "\n  " + file + " (lacks functions of CUDA 12)";
    }
    throw Unsupported(
        "cuda: NVIDIA's run-time compiler (NVRTC) was not found; install a CUDA toolkit or the Python wheel "
        "nvidia-cuda-nvrtc, or set INVAR_NVRTC to the file. Tried:" +
        tried);
}

}  // namespace

const Nvrtc& nvrtc() {
    static const Nvrtc api = open();
    return api;
}

Compiled compile_source(std::string_view name, const std::string& source, const std::string& architecture,
                        const std::vector<std::string>& options) {
    const Nvrtc& api = nvrtc();
    const std::string title = std::string(name) + ".cu";
    nvrtcProgram program = nullptr;
    const auto check = [&](nvrtcResult result, const char* what) {
        if (result != 0)
            throw CompileFailed("cuda: " + std::string(what) + " for module '" + std::string(name) +
                                    "' failed: " + api.error_string(result),
                                numbered_source(source));
    };
    check(api.create(&program, source.c_str(), title.c_str(), 0, nullptr, nullptr), "nvrtcCreateProgram");
    const std::unique_ptr<nvrtcProgram, void (*)(nvrtcProgram*)> owner(
        &program, [](nvrtcProgram* p) { nvrtc().destroy(p); });
    std::vector<std::string> words = {"--gpu-architecture=" + architecture, "--std=c++17", "--fmad=false",
                                      "--device-as-default-execution-space", "--diag-suppress=177"};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<const char*> arguments;
    arguments.reserve(words.size());
    for (const std::string& word : words) arguments.push_back(word.c_str());
    const nvrtcResult result = api.compile(program, static_cast<int>(arguments.size()), arguments.data());
    Compiled compiled;
    std::size_t size = 0;
    if (api.log_size(program, &size) == 0 && size > 1) {
        compiled.log.resize(size);
        api.log(program, compiled.log.data());
        compiled.log.resize(size - 1);  // without the terminating zero
    }
    if (result != 0)
        throw CompileFailed("cuda: module '" + std::string(name) + "' did not compile for " + architecture +
                                ": " + api.error_string(result) + "\n" + compiled.log,
                            compiled.log + "\n" + numbered_source(source));
    check(api.cubin_size(program, &size), "nvrtcGetCUBINSize");
    compiled.cubin.resize(size);
    check(api.cubin(program, reinterpret_cast<char*>(compiled.cubin.data())), "nvrtcGetCUBIN");
    return compiled;
}

}  // namespace invar::cuda
