// SPDX-License-Identifier: Apache-2.0
// Compiling Metal sources. Metal keeps what it makes of a source between runs; where it has binary archives, the code for the
// device goes into Invar's disk cache too.
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>

#include "backends/metal/context.h"
#include "base/log.h"
#include "device/disk_cache.h"

namespace invar::metal {
namespace {

namespace fs = std::filesystem;

constexpr int kCacheFormat = 1;

std::string text_of(const NS::Error* error) {
    return error ? metal::text_of(error->localizedDescription()) : "no reason given";
}

NS::SharedPtr<MTL::Library> new_library(const Context& context, const std::string& source,
                                        NS::Error** error) {
    const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
    // No contraction, and the functions that keep Metal's stated bounds.
    if (responds(options.get(), "setMathMode:")) {
        options->setMathMode(MTL::MathModeSafe);
        options->setMathFloatingPointFunctions(MTL::MathFloatingPointFunctionsPrecise);
    } else {
        options->setFastMathEnabled(false);
    }
    return NS::TransferPtr(context.device().newLibrary(ns_string(source), options.get(), error));
}

// A file that Metal reads an archive from or writes it to, in a folder of its own; gone with the object.
class TemporaryFile {
public:
    TemporaryFile() {
        std::string folder = (fs::temp_directory_path() / "invar-XXXXXX").string();
        if (!::mkdtemp(folder.data())) throw IoError("no folder for temporary files in '" + folder + "'");
        folder_ = folder;
    }
    ~TemporaryFile() {
        std::error_code ignored;
        fs::remove_all(folder_, ignored);
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    fs::path path() const { return folder_ / "archive.metallib"; }
    NS::URL* url() const { return NS::URL::fileURLWithPath(ns_string(path().string())); }

private:
    fs::path folder_;
};

// The device's code of a module, from the disk cache or to be put there. Whatever goes wrong here costs time only.
class Archive {
public:
    Archive(const Context& context, const std::string& source) : context_(context) {
        if (!context.features().binary_archives || DiskCache::shared().folder().empty()) return;
        key_ = "metal " + std::to_string(kCacheFormat) + "\n" + metal::text_of(context.device().name()) +
               "\n" + context.features().description + "\n" + system_version() + "\n\n" + source;
        try {
            const auto descriptor = NS::TransferPtr(MTL::BinaryArchiveDescriptor::alloc()->init());
            NS::Error* error = nullptr;
            if (const auto cached = DiskCache::shared().load("metal", key_)) {
                file_.emplace();
                std::ofstream out(file_->path(), std::ios::binary);
                out.write(reinterpret_cast<const char*>(cached->data()),
                          static_cast<std::streamsize>(cached->size()));
                out.close();
                if (!out) throw IoError("'" + file_->path().string() + "' could not be written");
                descriptor->setUrl(file_->url());
                handle_ = NS::TransferPtr(context.device().newBinaryArchive(descriptor.get(), &error));
                if (handle_) {
                    known_ = true;
                    return;
                }
                log(LogLevel::kInfo,
                    context.name() + ": an archive of the cache does not load: " + text_of(error));
            }
            descriptor->setUrl(nullptr);
            handle_ = NS::TransferPtr(context.device().newBinaryArchive(descriptor.get(), &error));
        } catch (const std::exception& e) {
            log(LogLevel::kInfo, context.name() + ": no archive: " + e.what());
        }
    }

    // Lets the pipeline take its code from the archive.
    void use(MTL::ComputePipelineDescriptor& descriptor) const {
        if (!known_) return;
        descriptor.setBinaryArchives(NS::Array::array(handle_.get()));
    }
    void add(const MTL::ComputePipelineDescriptor& descriptor) {
        NS::Error* error = nullptr;
        if (!handle_ || known_) return;
        if (!handle_->addComputePipelineFunctions(&descriptor, &error)) {
            log(LogLevel::kInfo, context_.name() + ": the archive does not take a kernel: " + text_of(error));
            handle_.reset();
        }
    }
    void store() {
        if (!handle_ || known_) return;
        std::optional<TemporaryFile> made;
        try {
            made.emplace();
        } catch (const std::exception& e) {
            log(LogLevel::kInfo, context_.name() + ": the archive is not written: " + e.what());
            return;
        }
        const TemporaryFile& file = *made;
        NS::Error* error = nullptr;
        if (!handle_->serializeToURL(file.url(), &error)) {
            log(LogLevel::kInfo, context_.name() + ": the archive is not written: " + text_of(error));
            return;
        }
        std::ifstream in(file.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(in), {}};
        if (!bytes.empty())
            DiskCache::shared().store("metal", key_, std::as_bytes(std::span(bytes.data(), bytes.size())));
    }

private:
    static std::string system_version() {
        return metal::text_of(NS::ProcessInfo::processInfo()->operatingSystemVersionString());
    }

    const Context& context_;
    std::string key_;
    std::optional<TemporaryFile> file_;  // of an archive from the cache, for as long as it is read
    NS::SharedPtr<MTL::BinaryArchive> handle_;
    bool known_ = false;  // it came from the cache
};

MetalKernel::Arguments arguments_of(const MTL::ComputePipelineReflection* reflection) {
    MetalKernel::Arguments arguments;
    const NS::Array* bindings = reflection ? reflection->bindings() : nullptr;
    for (NS::UInteger b = 0; bindings && b < bindings->count(); ++b) {
        auto* binding = bindings->object<MTL::BufferBinding>(b);
        const NS::UInteger index = binding->index();
        if (binding->type() != MTL::BindingTypeBuffer || index >= arguments.bytes.size()) continue;
        arguments.used |= std::uint32_t{1} << index;
        if (binding->access() != MTL::BindingAccessReadOnly) arguments.written |= std::uint32_t{1} << index;
        arguments.bytes[index] = static_cast<std::uint32_t>(binding->bufferDataSize());
    }
    return arguments;
}

class MetalModule final : public LoadedModule {
public:
    MetalModule(std::shared_ptr<Context> context, std::string name, const SourceText& source)
        : context_(std::move(context)), name_(std::move(name)) {
        const Pool pool;
        NS::Error* error = nullptr;
        const auto library = new_library(*context_, source.text, &error);
        if (!library) fail("did not compile", error, source.text);
        const auto faults = std::make_shared<const std::vector<FaultText>>(source.faults);
        Archive archive(*context_, source.text);
        const NS::Array* names = library->functionNames();
        for (NS::UInteger i = 0; names && i < names->count(); ++i) {
            auto* entry = names->object<NS::String>(i);
            const auto function = NS::TransferPtr(library->newFunction(entry));
            if (!function) fail("lacks its own kernel '" + metal::text_of(entry) + "'", nullptr, source.text);
            const auto descriptor = NS::TransferPtr(MTL::ComputePipelineDescriptor::alloc()->init());
            descriptor->setComputeFunction(function.get());
            descriptor->setLabel(entry);
            archive.use(*descriptor.get());
            MTL::ComputePipelineReflection* reflection = nullptr;
            error = nullptr;
            auto pipeline = NS::TransferPtr(context_->device().newComputePipelineState(
                descriptor.get(), MTL::PipelineOptionBindingInfo, &reflection, &error));
            if (!pipeline)
                fail("gives no pipeline for kernel '" + metal::text_of(entry) + "'", error, source.text);
            if (!reflection)
                fail("gives no reflection of kernel '" + metal::text_of(entry) + "'", error, source.text);
            if (pipeline->threadExecutionWidth() != 32)
                throw Unsupported(context_->name() + ": module '" + name_ +
                                  "' is written for SIMD-groups of 32 threads; here they have " +
                                  std::to_string(pipeline->threadExecutionWidth()));
            archive.add(*descriptor.get());
            kernels_.push_back(std::make_unique<MetalKernel>(
                metal::text_of(entry), *context_, std::move(pipeline), arguments_of(reflection), faults));
        }
        archive.store();
    }

    Kernel& kernel(std::string_view entry) override {
        return find_kernel(kernels_, context_->name(), name_, entry);
    }

private:
    [[noreturn]] void fail(const std::string& what, const NS::Error* error, const std::string& source) const {
        const std::string log = text_of(error);
        throw CompileFailed(context_->name() + ": module '" + name_ + "' " + what + ": " + log,
                            log + "\n" + numbered_source(source));
    }

    std::shared_ptr<Context> context_;
    std::string name_;
    std::vector<std::unique_ptr<MetalKernel>> kernels_;
};

}  // namespace

MetalKernel::MetalKernel(std::string name, Context& context,
                         NS::SharedPtr<MTL::ComputePipelineState> pipeline, const Arguments& arguments,
                         std::shared_ptr<const std::vector<FaultText>> faults)
    : Kernel(std::move(name)),
      context_(context),
      pipeline_(std::move(pipeline)),
      arguments_(arguments),
      max_threads_(pipeline_->maxTotalThreadsPerThreadgroup()),
      static_bytes_(pipeline_->staticThreadgroupMemoryLength()),
      faults_(std::move(faults)) {}

std::shared_ptr<LoadedModule> compile_source(std::shared_ptr<Context> context, const std::string& name,
                                             const SourceText& source) {
    return std::make_shared<MetalModule>(std::move(context), name, source);
}

NS::SharedPtr<MTL::ComputePipelineState> compile_one(const Context& context, const char* source,
                                                     const char* entry) {
    const Pool pool;
    NS::Error* error = nullptr;
    const auto library = new_library(context, source, &error);
    const auto function =
        library ? NS::TransferPtr(library->newFunction(ns_string(entry))) : NS::SharedPtr<MTL::Function>();
    auto pipeline = function
                        ? NS::TransferPtr(context.device().newComputePipelineState(function.get(), &error))
                        : NS::SharedPtr<MTL::ComputePipelineState>();
    if (!pipeline)
        throw CompileFailed(
            context.name() + ": the backend's own kernel '" + entry + "' did not compile: " + text_of(error),
            text_of(error) + "\n" + numbered_source(source));
    return pipeline;
}

}  // namespace invar::metal
