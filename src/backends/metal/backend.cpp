// SPDX-License-Identifier: Apache-2.0
// The metal backend, a loaded module: Apple's devices as "metal", "metal:1", ... Kernels arrive as Metal sources, or as
// programs, which are written to Metal first. Contraction is off, functions of f32 are Metal's precise ones.
//
// Calling convention of a kernel: the buffers of the launch at the indices 0, 1, ..., each bound at its offset; then, where the
// launch has parameters, their bytes as one struct in constant memory; then, where the module reports faults, a pointer to their
// words. Shared memory of the launch is threadgroup memory of index 0. Buffers that a kernel declares `device const` are taken as
// only read: launches that share no buffer that one of them writes run side by side.
//
// INVAR_METAL_MPS=1 has Apple's library form the products that it takes (mps.h).
// INVAR_METAL_LABELS=1 writes the kernels' names into what is encoded, for Apple's tools; INVAR_METAL_CAPTURE=FILE.gputrace
// captures the work of the first stream into a file for Xcode (with MTL_CAPTURE_ENABLED=1); MTL_DEBUG_LAYER=1 and
// MTL_SHADER_VALIDATION=1 are Apple's own.
#include <mutex>

#include "backends/metal/bandwidth.h"
#include "backends/metal/context.h"
#include "backends/metal/mps.h"
#include "backends/metal/program.h"
#include "base/env.h"
#include "device/faults.h"
#include "device/registry.h"

namespace invar::metal {
namespace {

constexpr int kOldestFamily = 7;

class MetalDevice final : public Device {
public:
    MetalDevice(NS::SharedPtr<MTL::Device> device, std::size_t index)
        : Device(index == 0 ? "metal" : "metal:" + std::to_string(index)),
          context_(std::make_shared<Context>(std::move(device), name())),
          library_(env_int("INVAR_METAL_MPS", 0, 0, 1) != 0 && have_mps()) {}

    DeviceProperties properties() const override {
        const Pool pool;
        MTL::Device& device = context_->device();
        DeviceProperties p;
        p.name = name();
        p.description = text_of(device.name());
        p.driver = context_->features().description;
        p.memory_total = context_->memory_total();
        p.memory_free = context_->memory_free();  // to this process
        p.unified_memory = context_->features().unified;
        p.warp_width = 32;
        p.max_block_threads = static_cast<int>(device.maxThreadsPerThreadgroup().width);
        p.shared_memory_bytes = context_->features().threadgroup_bytes;
        return p;
    }

    bool supports(Feature feature) const override {
        switch (feature) {
            case Feature::programs:
            case Feature::arithmetic: return true;
            case Feature::host_visible:
            case Feature::wrap_host: return context_->features().unified;
            case Feature::library: return library_;
            case Feature::f64:
            case Feature::capture:
            case Feature::clusters:
            case Feature::warp_groups:
            case Feature::native: return false;
        }
        return false;
    }

    std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) override {
        return std::make_unique<MetalBuffer>(context_, bytes);
    }

    // Metal takes whole pages: the view begins at the page in which the data begins.
    std::unique_ptr<Buffer> wrap_host_memory(std::byte* data, std::size_t bytes,
                                             std::shared_ptr<const void> keep_alive) override {
        if (!context_->features().unified || bytes == 0) return nullptr;
        const std::size_t page = page_bytes();
        const auto address = reinterpret_cast<std::uintptr_t>(data);
        const std::size_t begin = address % page;
        if (bytes > SIZE_MAX - begin - page) return nullptr;
        const std::size_t whole = (begin + bytes + page - 1) / page * page;
        auto view = context_->wrap_pages(data - begin, whole, std::move(keep_alive));
        if (!view) return nullptr;
        return std::make_unique<MetalBuffer>(context_, std::move(view), begin, bytes);
    }

    std::unique_ptr<Stream> make_stream() override { return metal::make_stream(context_); }

    std::shared_ptr<LoadedModule> compile(const Module& module) override {
        if (fault_fires(FaultSite::compile, module.name, name()))
            throw CompileFailed(
                name() + ": module '" + module.name + "' did not compile (injected by INVAR_FAULTS)", "");
        if (const auto* programs = std::get_if<ProgramText>(&module.body))
            return compile_programs(context_, module.name, *programs);
        if (const auto* routine = std::get_if<LibraryRoutine>(&module.body); routine && library_) {
            if (routine->name != "gemm")
                throw Unsupported(name() + ": module '" + module.name + "' is a library's routine '" +
                                  routine->name + "'; this device has 'gemm'");
            return load_mps(context_, module.name);
        }
        const auto* source = std::get_if<SourceText>(&module.body);
        if (!source || source->language != kernel_language())
            throw Unsupported(name() + ": module '" + module.name + "' is " +
                              (source ? "source in '" + source->language + "'"
                                      : std::string("native code, compiled code or a library's routine")) +
                              "; this device takes programs and source in 'metal'");
        return compile_source(context_, module.name, *source);
    }

    std::string_view kernel_language() const override { return "metal"; }

    BandwidthService* bandwidth() override {
        const std::lock_guard lock(bandwidth_mutex_);
        if (!bandwidth_) bandwidth_ = make_source_bandwidth(*this, bandwidth_kernels());
        return bandwidth_.get();
    }

private:
    std::shared_ptr<Context> context_;
    bool library_;  // Metal Performance Shaders are there and asked for
    std::mutex bandwidth_mutex_;
    std::unique_ptr<BandwidthService> bandwidth_;
};

class MetalBackend final : public Backend {
public:
    std::string_view name() const override { return "metal"; }
    std::string unavailable_reason() const override {
        found();
        return why_none_;
    }
    std::vector<std::shared_ptr<Device>> devices() override { return found(); }
    // Never chosen by itself: no model has run on a device of Apple's yet.
    int rank() const override { return 0; }

private:
    const std::vector<std::shared_ptr<Device>>& found() const {
        const std::lock_guard lock(mutex_);
        if (discovered_) return devices_;
        const Pool pool;
        // The default one first: a Mac may have several, and that is the one in use.
        std::vector<NS::SharedPtr<MTL::Device>> all;
        if (auto first = NS::TransferPtr(MTL::CreateSystemDefaultDevice())) all.push_back(std::move(first));
        if (const auto others = NS::TransferPtr(MTL::CopyAllDevices()))
            for (NS::UInteger i = 0; i < others->count(); ++i) {
                auto* other = others->object<MTL::Device>(i);
                if (all.empty() || other->registryID() != all.front()->registryID())
                    all.push_back(NS::RetainPtr(other));
            }
        std::vector<std::shared_ptr<Device>> devices;
        std::string too_old;
        for (auto& device : all)
            // The kernels fold over SIMD-groups of 32 and multiply matrices of 8 x 8, which Apple's GPUs do from there on.
            if (features_of(*device.get()).apple_family >= kOldestFamily)
                devices.push_back(std::make_shared<MetalDevice>(std::move(device), devices.size()));
            else
                too_old += " ('" + text_of(device->name()) + "' is older, or another maker's)";
        if (devices.empty())
            why_none_ = "the system has no GPU of the family Apple" + std::to_string(kOldestFamily) +
                        " (M1, A14) or newer" + too_old;
        devices_ = std::move(devices);
        discovered_ = true;
        return devices_;
    }

    mutable std::mutex mutex_;
    mutable bool discovered_ = false;
    mutable std::vector<std::shared_ptr<Device>> devices_;
    mutable std::string why_none_;
};

std::unique_ptr<Backend> make_backend() { return std::make_unique<MetalBackend>(); }

}  // namespace
}  // namespace invar::metal

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() {
    return {invar::kSeamVersion, &invar::metal::make_backend};
}
