// SPDX-License-Identifier: Apache-2.0
// MTLLibrary and MTLFunction: sources, compiled by clang.
#include <exception>

#include <invar/error.h>

#include "metalsim/api/engine.h"

METALSIM_STRING(MTLLibraryErrorDomain, "MTLLibraryErrorDomain");

namespace metalsim {
namespace {

// What Apple's compiler would say: its name for the source, a line for each error.
std::string as_apple_says(const std::string& what) {
    constexpr std::string_view kName = "program_source:", kOwn = "metal source, line ", kClang = "source:";
    if (what.starts_with(kOwn)) {
        const std::size_t colon = what.find(": ", kOwn.size());
        return std::string(kName) + what.substr(kOwn.size(), colon - kOwn.size()) +
               ":1: error: " + what.substr(colon + 2);
    }
    std::string result;
    for (std::size_t at = 0; at < what.size();) {
        const std::size_t end = std::min(what.find('\n', at), what.size());
        std::string line = what.substr(at, end - at);
        if (line.starts_with(kClang)) line = std::string(kName) + line.substr(kClang.size());
        // The first line is not the compiler's.
        if (at > 0 || end == what.size()) result += line + "\n";
        at = end + 1;
    }
    return result;
}

Library* fail(objc_object** error, MTL::LibraryError code, const std::string& text) {
    give_error(error, error_of(constant(MTLLibraryErrorDomain), static_cast<long>(code), text));
    return nullptr;
}

invar::test::MslOptions options_of(const CompileOptions* options) {
    invar::test::MslOptions result;
    result.counts_memory = device_options().count_memory;
    if (options == nullptr || !options->macros) return result;
    for (const auto& [name, value] : static_cast<const Dictionary*>(options->macros.get())->items)
        result.macros.emplace_back(text_of(name.get()), macro_text(value.get()));
    return result;
}

Library* new_library(Device* device, objc_object* source, const CompileOptions* options,
                     objc_object** error) {
    give_error(error, nullptr);
    if (const auto failure = take_library_failure())
        return fail(error, MTL::LibraryErrorCompileFailure, *failure);
    if (device_removed()) return fail(error, MTL::LibraryErrorInternal, "Device was removed");
    const auto newest = static_cast<NS::UInteger>(MTL::LanguageVersion4_0);
    if (options != nullptr && options->version > newest)
        return fail(error, MTL::LibraryErrorUnsupported,
                    "language version " + std::to_string(options->version >> 16) + "." +
                        std::to_string(options->version & 0xffff) + " is not supported");
    try {
        const std::string text = text_of(source);
        const invar::test::MslOptions chosen = options_of(options);
        auto compiled = std::make_shared<invar::test::MslLibrary>(text, chosen);
        auto* const library = make<Library>();
        library->device = device;
        library->library = std::move(compiled);
        library->source = text;
        library->options = chosen;
        add(&Counters::libraries);
        return library;
    } catch (const invar::CompileFailed& fault) {
        return fail(error, MTL::LibraryErrorCompileFailure,
                    "program_source failed to compile:\n" + as_apple_says(fault.what()));
    } catch (const std::exception& fault) {
        return fail(error, MTL::LibraryErrorInternal, fault.what());
    }
}

Function* function_of(Library* library, std::shared_ptr<invar::test::MslLibrary> compiled,
                      const std::string& name, std::string constants) {
    for (const invar::test::MslKernel& kernel : compiled->kernels()) {
        if (kernel.name() != name) continue;
        auto* const function = make<Function>();
        function->device = library->device;
        function->library = Ref(library);
        function->compiled = std::move(compiled);
        function->constants = std::move(constants);
        function->kernel = &kernel;
        return function;
    }
    return nullptr;
}

Function* new_function(Library* self, SEL, objc_object* name) {
    return function_of(self, self->library, text_of(name), "");
}

Function* new_function_with_constants(Library* self, SEL, objc_object* name, ConstantValues* values,
                                      objc_object** error) {
    give_error(error, nullptr);
    invar::test::MslOptions options = self->options;
    std::string key;
    if (values != nullptr) options.constants = values->values;
    for (const invar::test::MslConstantValue& value : options.constants) {
        key += " " + (value.name.empty() ? std::to_string(value.index) : value.name) + "=";
        for (const std::byte byte : value.bytes) key += std::to_string(std::to_integer<int>(byte)) + ".";
    }
    try {
        auto compiled = std::make_shared<invar::test::MslLibrary>(self->source, options);
        Function* const function = function_of(self, std::move(compiled), text_of(name), key);
        if (function == nullptr)
            fail(error, MTL::LibraryErrorFunctionNotFound, "Function '" + text_of(name) + "' does not exist");
        return function;
    } catch (const std::exception& fault) {
        fail(error, MTL::LibraryErrorCompileFailure, as_apple_says(fault.what()));
        return nullptr;
    }
}

// Bytes of a scalar or a vector; 0 for what is no constant.
std::size_t bytes_of(MTL::DataType type) {
    struct Range {
        NS::UInteger scalar;  // its vectors of 2 to 4 follow
        std::size_t bytes;
    };
    constexpr Range kRanges[] = {{MTL::DataTypeFloat, 4}, {MTL::DataTypeHalf, 2},  {MTL::DataTypeInt, 4},
                                 {MTL::DataTypeUInt, 4},  {MTL::DataTypeShort, 2}, {MTL::DataTypeUShort, 2},
                                 {MTL::DataTypeChar, 1},  {MTL::DataTypeUChar, 1}, {MTL::DataTypeBool, 1},
                                 {MTL::DataTypeLong, 8},  {MTL::DataTypeULong, 8}, {MTL::DataTypeBFloat, 2}};
    for (const Range& range : kRanges)
        if (type >= range.scalar && type < range.scalar + 4) {
            const std::size_t count = type - range.scalar + 1;
            return range.bytes * (count == 3 ? 4 : count);
        }
    return 0;
}

void set_constant(ConstantValues* values, const void* from, MTL::DataType type, NS::UInteger index,
                  const std::string& name) {
    const std::size_t bytes = bytes_of(type);
    if (!valid(bytes > 0,
               [&] { return "type " + std::to_string(type) + " is not one of a function constant"; }))
        return;
    invar::test::MslConstantValue value;
    value.index = static_cast<unsigned>(index);
    value.name = name;
    const auto* const data = static_cast<const std::byte*>(from);
    value.bytes.assign(data, data + bytes);
    std::erase_if(values->values, [&](const invar::test::MslConstantValue& other) {
        return other.name == name && (!name.empty() || other.index == index);
    });
    values->values.push_back(std::move(value));
}

void install_constant_values() {
    const Class c = define<ConstantValues>("MTLFunctionConstantValues");
    allocatable<ConstantValues>(c);
    method(c, "setConstantValue:type:atIndex:",
           [](ConstantValues* self, SEL, const void* value, MTL::DataType type, NS::UInteger index) {
               set_constant(self, value, type, index, "");
           });
    method(c, "setConstantValue:type:withName:",
           [](ConstantValues* self, SEL, const void* value, MTL::DataType type, objc_object* name) {
               set_constant(self, value, type, 0, text_of(name));
           });
    method(c, "setConstantValues:type:withRange:",
           [](ConstantValues* self, SEL, const void* values, MTL::DataType type, NS::Range range) {
               for (NS::UInteger i = 0; i < range.length; ++i)
                   set_constant(self, static_cast<const std::byte*>(values) + i * bytes_of(type), type,
                                range.location + i, "");
           });
    method(c, "reset", [](ConstantValues* self, SEL) { self->values.clear(); });
}

template <typename T, T CompileOptions::*kField>
void option(Class c, const char* get, const char* set) {
    method(c, get, [](CompileOptions* self, SEL) { return self->*kField; });
    method(c, set, [](CompileOptions* self, SEL, T value) { self->*kField = value; });
}

void install_options() {
    const Class c = define<CompileOptions>("MTLCompileOptions");
    allocatable<CompileOptions>(c);
    option<MTL::LanguageVersion, &CompileOptions::version>(c, "languageVersion", "setLanguageVersion:");
    option<bool, &CompileOptions::fast>(c, "fastMathEnabled", "setFastMathEnabled:");
    option<MTL::MathMode, &CompileOptions::math>(c, "mathMode", "setMathMode:");
    option<MTL::MathFloatingPointFunctions, &CompileOptions::functions>(c, "mathFloatingPointFunctions",
                                                                        "setMathFloatingPointFunctions:");
    option<MTL::LibraryOptimizationLevel, &CompileOptions::level>(c, "optimizationLevel",
                                                                  "setOptimizationLevel:");
    method(c, "preprocessorMacros", [](CompileOptions* self, SEL) { return self->macros.get(); });
    method(c, "setPreprocessorMacros:", [](CompileOptions* self, SEL, objc_object* macros) {
        self->macros = Ref(macros);
    });
}

}  // namespace

std::vector<Ref<Binding>> bindings_of(const Function& function) {
    std::vector<Ref<Binding>> bindings;
    for (const MslBinding& from : function.kernel->bindings()) {
        auto binding = Ref<Binding>::adopt(make<Binding>());
        binding->name = from.name;
        binding->index = from.index;
        binding->type = from.is_memory ? MTL::BindingTypeThreadgroupMemory : MTL::BindingTypeBuffer;
        binding->access = from.is_read_only ? MTL::BindingAccessReadOnly : MTL::BindingAccessReadWrite;
        binding->bytes = from.bytes;
        binding->alignment = from.alignment;
        binding->reference = from.is_reference;
        bindings.push_back(std::move(binding));
    }
    return bindings;
}

void install_library_classes() {
    install_options();
    install_constant_values();
    const Class c = define<Library>("MTLSimLibrary");
    add_label<Library>(c);
    method(c, "functionNames", [](Library* self, SEL) {
        std::vector<Ref<objc_object>> names;
        for (const invar::test::MslKernel& kernel : self->library->kernels())
            names.emplace_back(string_of(kernel.name()));
        return array_of(std::move(names));
    });
    method(c, "type", [](Library*, SEL) { return MTL::LibraryTypeExecutable; });
    method(c, "installName", [](Library*, SEL) -> objc_object* { return nullptr; });
    method(c, "newFunctionWithName:", &new_function);
    method(c, "newFunctionWithName:constantValues:error:", &new_function_with_constants);

    const Class f = define<Function>("MTLSimFunction");
    add_label<Function>(f);
    method(f, "name", [](Function* self, SEL) { return string_of(self->name()); });
    method(f, "functionType", [](Function*, SEL) { return MTL::FunctionTypeKernel; });
    method(f, "options", [](Function*, SEL) { return MTL::FunctionOptionNone; });

    const Class d = class_of<Device>();
    method(d, "newLibraryWithSource:options:error:",
           [](Device* self, SEL, objc_object* source, CompileOptions* options, objc_object** error) {
               return new_library(self, source, options, error);
           });
    method(d, "newLibraryWithSource:options:completionHandler:",
           [](Device* self, SEL, objc_object* source, CompileOptions* options, const void* handler) {
               auto block = std::make_shared<BlockRef>(handler);
               call_later([self, text = Ref(source), kept = Ref(options), block] {
                   objc_object* error = nullptr;
                   Library* const library = new_library(self, text.get(), kept.get(), &error);
                   (*block)(static_cast<objc_object*>(library), error);
                   release_object(library);
               });
           });
}

}  // namespace metalsim
