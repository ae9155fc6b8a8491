// SPDX-License-Identifier: Apache-2.0
// The null backend, a loaded module: takes every kernel in any form and computes nothing. It keeps a log of what it was
// asked to run (Device::launch_log), from which golden tests of schedules are made, and it shows the rest of the
// library what a device with its own memory and its own time does. Never chosen by "auto".
//
// Devices: "null" runs inline; "null:1" is deferred, work is done when it is waited for; "null:cuda" and
// "null:metal" take what a CUDA device and one of Metal's take, so that their schedules and sources can be looked at without them.
// Environment: INVAR_NULL_DEFERRED=1 makes every stream made from then on deferred; INVAR_NULL_MEMORY, bytes of memory
// that a device has (1 TiB where unset; read at every allocation); INVAR_NULL_LOG, a file to which the log is appended
// (read when the backend is loaded).
#include "backends/null/null_stream.h"
#include "base/env.h"
#include "device/faults.h"
#include "device/registry.h"

namespace invar::null {
namespace {

constexpr std::int64_t kDefaultMemory = std::int64_t{1} << 40;

std::uint64_t memory_limit() {
    return static_cast<std::uint64_t>(env_int("INVAR_NULL_MEMORY", kDefaultMemory, 0, INT64_MAX));
}

// Makes a kernel for whatever name it is asked; where the entries are known, only for those, and where there is a source,
// only for names that occur in it.
class NullModule final : public LoadedModule {
public:
    explicit NullModule(const Module& module) : name_(module.name) {
        if (const auto* source = std::get_if<SourceText>(&module.body)) source_ = source->text;
        const auto* native = std::get_if<NativeEntries>(&module.body);
        if (!native) return;
        closed_ = true;
        for (const NativeEntry& entry : native->entries)
            kernels_.push_back(std::make_unique<NullKernel>(entry.name));
    }

    Kernel& kernel(std::string_view entry) override {
        const std::lock_guard lock(mutex_);
        if (closed_) return find_kernel(kernels_, "null", name_, entry);
        for (const auto& kernel : kernels_)
            if (kernel->name() == entry) return *kernel;
        if (!source_.empty() && source_.find(entry) == std::string::npos)
            throw InvalidArgument("null: the source of module '" + name_ + "' has no kernel '" +
                                  std::string(entry) + "'");
        return *kernels_.emplace_back(std::make_unique<NullKernel>(std::string(entry)));
    }

private:
    std::string name_, source_;
    bool closed_ = false;
    std::mutex mutex_;
    std::vector<std::unique_ptr<NullKernel>> kernels_;
};

class NullDevice final : public Device {
public:
    NullDevice(const std::string& name, std::string language, bool deferred, const std::string& log_file)
        : Device(name),
          shared_(std::make_shared<Shared>(name, log_file)),
          language_(std::move(language)),
          deferred_(deferred) {}

    DeviceProperties properties() const override {
        DeviceProperties p;
        p.name = name();
        p.description = deferred_ ? "computes nothing, when waited for" : "computes nothing";
        p.driver = "none";
        p.memory_total = memory_limit();
        const std::uint64_t used = shared_->memory_used.load();
        p.memory_free = p.memory_total > used ? p.memory_total - used : 0;
        p.compute_units = 1;
        p.warp_width = 32;
        p.max_block_threads = 1024;
        p.shared_memory_bytes = 48 << 10;
        return p;
    }

    bool supports(Feature feature) const override {
        switch (feature) {
            case Feature::f64: return language_ != "metal";
            case Feature::programs:
            case Feature::capture: return true;
            case Feature::native: return language_ == "null";
            case Feature::clusters:
            case Feature::warp_groups:
            case Feature::library: return language_ == "cuda";
            case Feature::host_visible:
            case Feature::wrap_host:
            case Feature::arithmetic: return false;
        }
        return false;
    }

    std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) override {
        return std::make_unique<NullBuffer>(shared_, bytes, memory_limit());
    }

    std::unique_ptr<Stream> make_stream() override {
        return null::make_stream(shared_, deferred_ || env_int("INVAR_NULL_DEFERRED", 0, 0, 1) == 1);
    }

    std::shared_ptr<LoadedModule> compile(const Module& module) override {
        if (fault_fires(FaultSite::compile, module.name, name()))
            throw CompileFailed(
                name() + ": module '" + module.name + "' did not compile (injected by INVAR_FAULTS)",
                "1: injected");
        return std::make_shared<NullModule>(module);
    }

    std::string_view kernel_language() const override { return language_; }
    LaunchLog* launch_log() override { return &shared_->log; }

private:
    std::shared_ptr<Shared> shared_;
    std::string language_;
    bool deferred_;
};

class NullBackend final : public Backend {
public:
    NullBackend() {
        const std::string log_file = env_string("INVAR_NULL_LOG");
        devices_ = {std::make_shared<NullDevice>("null", "null", false, log_file),
                    std::make_shared<NullDevice>("null:1", "null", true, log_file),
                    std::make_shared<NullDevice>("null:cuda", "cuda", false, log_file),
                    std::make_shared<NullDevice>("null:metal", "metal", false, log_file)};
    }
    std::string_view name() const override { return "null"; }
    std::string unavailable_reason() const override { return {}; }
    std::vector<std::shared_ptr<Device>> devices() override { return devices_; }
    int rank() const override { return 0; }

private:
    std::vector<std::shared_ptr<Device>> devices_;
};

std::unique_ptr<Backend> make_backend() { return std::make_unique<NullBackend>(); }

}  // namespace
}  // namespace invar::null

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() {
    return {invar::kSeamVersion, &invar::null::make_backend};
}
