// SPDX-License-Identifier: Apache-2.0
// The cuda backend, a loaded module: NVIDIA's GPUs through the driver API. Kernels arrive as CUDA C++ (compiled by NVRTC
// and kept in the disk cache as cubins), as pointwise programs (written to CUDA C++ first) or as cubins. Devices
// "cuda", "cuda:1", ... in the driver's order.
//
// Calling convention of a kernel: a pointer for each buffer, in order, then, where the launch has parameters, one struct
// by value with their bytes.
#include <atomic>
#include <mutex>

#include "backends/cuda/bandwidth.h"
#include "backends/cuda/context.h"
#include "backends/cuda/routine.h"
#include "base/log.h"
#include "device/disk_cache.h"
#include "device/faults.h"
#include "device/registry.h"
#include "device/services.h"

namespace invar::cuda {
namespace {

constexpr int kCacheFormat = 1;

class CudaDevice final : public Device, private GemmTuner {
public:
    CudaDevice(const Driver& driver, int ordinal)
        : Device(ordinal == 0 ? "cuda" : "cuda:" + std::to_string(ordinal)), driver_(driver) {
        const CUresult result = driver_.device_get(&device_, ordinal);
        if (result != kSuccess) throw NoDevice(name() + ": " + driver_.describe(result));
        char text[256] = "";
        driver_.device_name(text, sizeof text, device_);
        description_ = text;
        const int major = attribute(kComputeMajor), minor = attribute(kComputeMinor);
        // The 'a' features (tensor cores of a warp group) exist from 9.0 on and bind a cubin to its device, as ours are.
        clusters_ = major == 9 || major == 10;  // later desktop devices run clusters of one block only
        warp_groups_ = major == 9;
        architecture_ = "sm_" + std::to_string(major) + std::to_string(minor) + (major >= 9 ? "a" : "");
    }

    DeviceProperties properties() const override {
        DeviceProperties p;
        p.name = name();
        p.description = description_;
        p.driver = "CUDA " + std::to_string(driver_.version / 1000) + "." +
                   std::to_string(driver_.version % 1000 / 10) + ", " + architecture_;
        std::size_t total = 0, free = 0;
        driver_.device_memory(&total, device_);
        p.memory_total = p.memory_free = total;
        // Asking for what is free starts a context, which costs memory and time: only where one runs already.
        if (const auto context = running();
            context && context->try_enter() && driver_.memory_info(&free, &total) == kSuccess)
            p.memory_free = free;
        p.unified_memory = attribute(kIntegrated) != 0;
        p.compute_units = attribute(kMultiprocessors);
        p.warp_width = attribute(kWarpSize);
        p.max_block_threads = attribute(kMaxThreadsPerBlock);
        p.shared_memory_bytes = static_cast<std::uint64_t>(attribute(kSharedMemoryOptin));
        return p;
    }

    bool supports(Feature feature) const override {
        switch (feature) {
            case Feature::f64:
            case Feature::programs:
            case Feature::capture:
            case Feature::arithmetic: return true;
            case Feature::library: return have_gemm();
            case Feature::clusters: return clusters_;
            case Feature::warp_groups: return warp_groups_;
            case Feature::host_visible:
            case Feature::wrap_host:
            case Feature::native: return false;
        }
        return false;
    }

    std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) override {
        return std::make_unique<CudaBuffer>(current(), bytes);
    }

    std::unique_ptr<Stream> make_stream() override { return cuda::make_stream(current()); }

    std::shared_ptr<LoadedModule> compile(const Module& module) override {
        if (fault_fires(FaultSite::compile, module.name, name()))
            throw CompileFailed(
                name() + ": module '" + module.name + "' did not compile (injected by INVAR_FAULTS)", "");
        if (const auto* image = std::get_if<BinaryImage>(&module.body)) {
            if (image->format != "cubin")
                throw Unsupported(name() + ": module '" + module.name + "' is compiled code of format '" +
                                  image->format + "'; this device takes cubin");
            return load_cubin(current(), module.name, image->bytes);
        }
        if (const auto* routine = std::get_if<LibraryRoutine>(&module.body)) {
            if (routine->name != "gemm")
                throw Unsupported(name() + ": there is no library routine '" + routine->name + "' here");
            return load_gemm(current(), description_);
        }
        if (const auto* programs = std::get_if<ProgramText>(&module.body))
            return compile_programs(module.name, *programs);
        const auto* source = std::get_if<SourceText>(&module.body);
        if (!source || source->language != kernel_language())
            throw Unsupported(name() + ": module '" + module.name + "' is " +
                              (source ? "source in '" + source->language + "'" : "native code") +
                              "; this device takes programs, source in 'cuda' and cubins");
        return compile_cuda(module.name, *source);
    }

    std::string_view kernel_language() const override { return "cuda"; }

    GemmTuner* gemm_tuner() override { return have_gemm() ? this : nullptr; }
    GemmSearch search(const GemmParams& params, bool keep) override {
        return search_gemm(*this, current(), description_, params, keep);
    }

    BandwidthService* bandwidth() override {
        const std::lock_guard lock(mutex_);
        if (!bandwidth_)
            bandwidth_ =
                make_source_bandwidth(*this,
                                      bandwidth_kernels(static_cast<std::size_t>(attribute(kL2CacheSize)),
                                                        attribute(kMultiprocessors)),
                                      &starts_);
        return bandwidth_.get();
    }

private:
    int attribute(int which) const {
        int value = 0;
        driver_.device_attribute(&value, which, device_);
        return value;
    }

    std::shared_ptr<LoadedModule> compile_cuda(const std::string& module, const SourceText& source) {
        const auto context = current();
        const std::string key = cache_key(source);
        if (const auto cached = DiskCache::shared().load("cubin", key)) {
            try {
                return load_cubin(context, module, *cached);
            } catch (const CompileFailed&) {
                // an entry that the driver does not take: compiled again
                log(LogLevel::kWarning,
                    name() + ": the cached code of module '" + module + "' does not load; compiling it");
            }
        }
        const Compiled compiled = compile_source(module, source.text, architecture_, source.options);
        auto loaded = load_cubin(context, module, compiled.cubin);
        DiskCache::shared().store("cubin", key, compiled.cubin);
        return loaded;
    }

    std::shared_ptr<LoadedModule> compile_programs(const std::string& module, const ProgramText& text) {
        const std::vector<Program> programs = assemble_for_device(name(), module, text.text);
        auto inner = compile_cuda(module, {"cuda", write_source(programs, Language::cuda), {}});
        return load_programs(name(), module, programs, std::move(inner));
    }

    // The context in use; a new one where there was none or the last one died.
    std::shared_ptr<Context> current() {
        const std::lock_guard lock(context_mutex_);
        if (context_ && context_->dead()) {
            context_->retire();
            context_.reset();
        }
        if (!context_) {
            context_ = std::make_shared<Context>(driver_, device_, name());
            ++starts_;
        }
        return context_;
    }

    std::shared_ptr<Context> running() const {
        const std::lock_guard lock(context_mutex_);
        return context_;
    }

    std::string cache_key(const SourceText& source) const {
        const Nvrtc& compiler = nvrtc();
        std::string key = "cubin " + std::to_string(kCacheFormat) + "\n" + architecture_ + "\n" +
                          description_ + "\ndriver " + std::to_string(driver_.version) + "\nnvrtc " +
                          std::to_string(compiler.major) + "." + std::to_string(compiler.minor) + "\n";
        for (const std::string& option : source.options) key += option + "\n";
        return key + "\n" + source.text;
    }

    const Driver& driver_;
    CUdevice device_ = 0;
    std::string description_, architecture_;
    bool clusters_ = false, warp_groups_ = false;
    mutable std::mutex context_mutex_;
    std::shared_ptr<Context> context_;
    std::atomic<int> starts_{0};  // contexts so far
    std::mutex mutex_;
    std::unique_ptr<BandwidthService> bandwidth_;
};

class CudaBackend final : public Backend {
public:
    CudaBackend() : driver_(open_driver(reason_)) {
        int count = 0;
        if (!driver_ || driver_->device_count(&count) != kSuccess) return;
        for (int i = 0; i < count; ++i) devices_.push_back(std::make_shared<CudaDevice>(*driver_, i));
    }
    std::string_view name() const override { return "cuda"; }
    std::string unavailable_reason() const override { return reason_; }
    std::vector<std::shared_ptr<Device>> devices() override { return devices_; }
    // Before the cpu, where kernels can be compiled.
    int rank() const override {
        if (devices_.empty()) return 0;
        try {
            nvrtc();
            return 100;
        } catch (const Unsupported&) {
            return 0;
        }
    }

private:
    std::string reason_;
    std::unique_ptr<Driver> driver_;
    std::vector<std::shared_ptr<Device>> devices_;
};

std::unique_ptr<Backend> make_backend() { return std::make_unique<CudaBackend>(); }

}  // namespace
}  // namespace invar::cuda

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() {
    return {invar::kSeamVersion, &invar::cuda::make_backend};
}
