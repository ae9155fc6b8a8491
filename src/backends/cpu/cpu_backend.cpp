// SPDX-License-Identifier: Apache-2.0
// The cpu backend and its one device: properties, and modules of native entries or programs.
#include "backends/cpu/cpu_backend.h"

#include <mutex>

#include "backends/cpu/cpu_bandwidth.h"
#include "backends/cpu/cpu_buffer.h"
#include "backends/cpu/cpu_info.h"
#include "backends/cpu/cpu_program.h"
#include "backends/cpu/cpu_stream.h"
#include "base/thread_pool.h"
#include "device/faults.h"

namespace invar {
namespace {

class NativeKernel final : public CpuKernel {
public:
    explicit NativeKernel(const NativeEntry& entry) : CpuKernel(entry.name), function_(entry.function) {}
    void run(const NativeLaunch& launch) override { function_(launch); }

private:
    NativeFunction function_;
};

class CpuModule final : public LoadedModule {
public:
    CpuModule(std::string name, std::vector<std::unique_ptr<CpuKernel>> kernels)
        : name_(std::move(name)), kernels_(std::move(kernels)) {}

    Kernel& kernel(std::string_view entry) override { return find_kernel(kernels_, "cpu", name_, entry); }

private:
    std::string name_;
    std::vector<std::unique_ptr<CpuKernel>> kernels_;
};

std::shared_ptr<LoadedModule> load_native(const std::string& name, const NativeEntries& native) {
    std::vector<std::unique_ptr<CpuKernel>> kernels;
    for (const NativeEntry& entry : native.entries) {
        if (!entry.function)
            throw InvalidArgument("cpu: entry '" + entry.name + "' of module '" + name + "' is empty");
        for (const auto& other : kernels)
            if (other->name() == entry.name)
                throw InvalidArgument("cpu: module '" + name + "' has two entries '" + entry.name + "'");
        kernels.push_back(std::make_unique<NativeKernel>(entry));
    }
    return std::make_shared<CpuModule>(name, std::move(kernels));
}

class CpuDevice final : public Device {
public:
    CpuDevice() : Device("cpu") {}

    DeviceProperties properties() const override {
        DeviceProperties p;
        p.name = name();
        p.description = cpu_model_name();
        p.driver = cpu_instruction_set();
        p.memory_total = host_memory_total();
        p.memory_free = host_memory_free();
        p.unified_memory = true;
        p.compute_units = ThreadPool::shared().threads();
        p.warp_width = 1;
        p.max_block_threads = 1024;
        return p;
    }

    bool supports(Feature feature) const override {
        switch (feature) {
            case Feature::f64:
            case Feature::host_visible:
            case Feature::wrap_host:
            case Feature::programs:
            case Feature::native:
            case Feature::capture:
            case Feature::arithmetic: return true;
            case Feature::clusters:
            case Feature::warp_groups:
            case Feature::library: return false;
        }
        return false;
    }

    std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) override { return make_cpu_buffer(bytes); }

    std::unique_ptr<Buffer> wrap_host_memory(std::byte* data, std::size_t bytes,
                                             std::shared_ptr<const void> keep_alive) override {
        return make_wrapped_buffer(data, bytes, std::move(keep_alive));
    }

    std::unique_ptr<Stream> make_stream() override { return make_cpu_stream(); }

    std::shared_ptr<LoadedModule> compile(const Module& module) override {
        if (fault_fires(FaultSite::compile, module.name, name()))
            throw CompileFailed(
                "cpu: module '" + module.name + "' did not compile (injected by INVAR_FAULTS)", "");
        if (const auto* native = std::get_if<NativeEntries>(&module.body))
            return load_native(module.name, *native);
        if (const auto* programs = std::get_if<ProgramText>(&module.body))
            return std::make_shared<CpuModule>(module.name, load_programs(module.name, programs->text));
        const char* form = std::holds_alternative<SourceText>(module.body) ? "source text" : "compiled code";
        throw Unsupported("cpu: module '" + module.name + "' is " + form +
                          "; the cpu takes native entries and programs");
    }

    std::string_view kernel_language() const override { return "native"; }

    BandwidthService* bandwidth() override {
        std::call_once(bandwidth_once_, [this] { bandwidth_ = make_cpu_bandwidth(*this); });
        return bandwidth_.get();
    }

private:
    std::once_flag bandwidth_once_;
    std::unique_ptr<BandwidthService> bandwidth_;
};

class CpuBackend final : public Backend {
public:
    std::string_view name() const override { return "cpu"; }
    std::string unavailable_reason() const override { return {}; }
    std::vector<std::shared_ptr<Device>> devices() override { return {device_}; }
    int rank() const override { return 10; }

private:
    std::shared_ptr<Device> device_ = std::make_shared<CpuDevice>();
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace invar
