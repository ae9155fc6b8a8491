// SPDX-License-Identifier: Apache-2.0
// Modules of source text, one for each set of definitions.
#include "kernels/source.h"

#include <array>
#include <map>
#include <memory>
#include <mutex>

namespace invar::kernels {

extern const char* const kCudaPrelude;      // cuda_prelude.cu
extern const char* const kMetalPrelude;     // metal_prelude.k
extern const char* const kPortableCuda;     // portable_cuda.k
extern const char* const kPortableMetal;    // portable_metal.k
extern const char* const kPortableOpencl;   // portable_opencl.k
extern const char* const kPortablePrelude;  // portable_prelude.k

namespace {

thread_local bool portable_only = false;

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
    // Metal's headers come before the definitions, whose names of one letter are names of theirs too.
    std::string title = (portable_only ? "portable " : "") + std::string(name),
                head = std::string_view(language) == "metal" ? "#include <metal_stdlib>\n" : "";
    for (const auto& [key, value] : definitions) {
        if (value[0] != '\0') title += std::string(" ") + value;
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

PortableOnly::PortableOnly(bool on) : before_(portable_only) { portable_only = before_ || on; }
PortableOnly::~PortableOnly() { portable_only = before_; }
bool PortableOnly::now() { return portable_only; }

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
    static const auto texts = [] {
        std::array<std::string, 1025> all;
        for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::to_string(i);
        return all;
    }();
    return texts[static_cast<std::size_t>(number)].c_str();
}

const Module* cuda_module(const char* name, std::initializer_list<const char*> parts, Definitions definitions,
                          int oldest) {
    return module_of("cuda", name, kCudaPrelude, parts, definitions, oldest, {}, false);
}

const Module* portable_module(const Device& device, const char* name,
                              std::initializer_list<const char*> parts, Definitions definitions,
                              std::initializer_list<FaultText> faults, bool exact) {
    static const std::string opencl = std::string(kPortableOpencl) + kPortablePrelude;
    static const std::string metal = std::string(kPortableMetal) + kPortablePrelude;
    const bool for_metal = device.kernel_language() == "metal";
    if (device.kernel_language() == "cuda") {
        // There kernels write the texts of their faults to the host themselves.
        std::string cuda = "#define FAULT_TEXTS";
        for (const FaultText& f : faults)
            cuda += " case " + std::to_string(f.number) + ": return {" + std::to_string(f.kind) + ", \"" +
                    f.text + "\"};";
        cuda += "\n" + std::string(kPortableCuda) + kPortablePrelude;
        return module_of("cuda", name, cuda, parts, definitions, 80, {}, exact);
    }
    return module_of(for_metal ? "metal" : "opencl", name, for_metal ? metal : opencl, parts, definitions, 0,
                     std::span(faults.begin(), faults.size()), exact);
}

const Module* metal_module(const char* name, std::initializer_list<const char*> parts,
                           Definitions definitions, std::initializer_list<FaultText> faults) {
    return module_of("metal", name, kMetalPrelude, parts, definitions, 0,
                     std::span(faults.begin(), faults.size()), false);
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
