// SPDX-License-Identifier: Apache-2.0
// Modules of source text, one for each set of definitions.
#include "kernels/source.h"

#include <map>
#include <memory>
#include <mutex>

namespace invar::kernels {

extern const char* const kCudaPrelude;      // cuda_prelude.cu
extern const char* const kPortableOpencl;   // portable_opencl.k
extern const char* const kPortablePrelude;  // portable_prelude.k

namespace {

struct Made {
    std::mutex mutex;
    std::map<std::string, std::unique_ptr<Module>> modules;  // by language, name and definitions
};
Made& made() {
    static Made m;
    return m;
}

const Module* module_of(const char* language, const char* name, std::string_view prelude,
                        std::initializer_list<const char*> parts, Definitions definitions, int oldest,
                        std::span<const FaultText> faults, bool exact) {
    std::string title = name, head;
    for (const auto& [key, value] : definitions) {
        title += std::string(" ") + value;
        head += std::string("#define ") + key + " " + value + "\n";
    }
    Made& m = made();
    const std::lock_guard lock(m.mutex);
    std::unique_ptr<Module>& module = m.modules[std::string(language) + " " + title];
    if (!module) {
        head += prelude;
        for (const char* part : parts) head += part;
        SourceText source{language, std::move(head), {}, oldest, {faults.begin(), faults.end()}, exact};
        module = std::make_unique<Module>(Module{title, std::move(source)});
    }
    return module.get();
}

}  // namespace

const char* kernel_type(DType type) {
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

const char* digits(std::int64_t number) {
    static constexpr const char* kNumbers[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                               "9", "10", "11", "12", "13", "14", "15", "16"};
    return kNumbers[number];
}

const Module* cuda_module(const char* name, std::initializer_list<const char*> parts, Definitions definitions,
                          int oldest) {
    return module_of("cuda", name, kCudaPrelude, parts, definitions, oldest, {}, false);
}

const Module* portable_module(const char* name, std::initializer_list<const char*> parts,
                              Definitions definitions, std::initializer_list<FaultText> faults, bool exact) {
    static const std::string prelude = std::string(kPortableOpencl) + kPortablePrelude;
    return module_of("opencl", name, prelude, parts, definitions, 0, std::span(faults.begin(), faults.size()),
                     exact);
}

std::vector<const Module*> source_modules(std::string_view language) {
    Made& m = made();
    const std::lock_guard lock(m.mutex);
    std::vector<const Module*> all;
    for (const auto& [title, module] : m.modules)
        if (std::get<SourceText>(module->body).language == language) all.push_back(module.get());
    return all;
}

}  // namespace invar::kernels
