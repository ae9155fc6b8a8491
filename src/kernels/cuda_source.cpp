// SPDX-License-Identifier: Apache-2.0
// Modules of CUDA source, one for each set of definitions.
#include "kernels/cuda_source.h"

#include <map>
#include <memory>
#include <mutex>

namespace invar::kernels {

extern const char* const kCudaPrelude;  // cuda_prelude.cu

namespace {

struct Made {
    std::mutex mutex;
    std::map<std::string, std::unique_ptr<Module>> modules;  // by name and definitions
};
Made& made() {
    static Made m;
    return m;
}

}  // namespace

const char* cuda_type(DType type) {
    switch (type) {
        case DType::pred:
        case DType::u8: return "u8";
        case DType::i8: return "i8";
        case DType::i16: return "i16";
        case DType::u16: return "u16";
        case DType::i32: return "i32";
        case DType::u32: return "u32";
        case DType::i64: return "i64";
        case DType::u64: return "u64";
        case DType::f16: return "f16";
        case DType::bf16: return "bf16";
        case DType::f32: return "f32";
        case DType::f64: return "f64";
    }
    return "f32";
}

const Module* cuda_module(const char* name, std::initializer_list<const char*> parts, Definitions definitions,
                          int oldest) {
    std::string title = name, head;
    for (const auto& [key, value] : definitions) {
        title += std::string(" ") + value;
        head += std::string("#define ") + key + " " + value + "\n";
    }
    Made& m = made();
    const std::lock_guard lock(m.mutex);
    std::unique_ptr<Module>& module = m.modules[title];
    if (!module) {
        std::string text = head + kCudaPrelude;
        for (const char* part : parts) text += part;
        module = std::make_unique<Module>(Module{title, SourceText{"cuda", std::move(text), {}, oldest}});
    }
    return module.get();
}

std::vector<const Module*> cuda_modules() {
    Made& m = made();
    const std::lock_guard lock(m.mutex);
    std::vector<const Module*> all;
    for (const auto& [title, module] : m.modules) all.push_back(module.get());
    return all;
}

}  // namespace invar::kernels
