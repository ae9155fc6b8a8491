// SPDX-License-Identifier: Apache-2.0
// The opencl backend, a loaded module: the devices of all platforms that the OpenCL loader knows, as "opencl",
// "opencl:1", ..., GPUs first. Kernels arrive as OpenCL C 1.2 (its binaries are kept in the disk cache), as programs
// (written to OpenCL C first), or as a device's own binaries. Contraction is off, denormals are kept, and
// division and square root are asked for correctly rounded.
//
// Calling convention of a kernel: for each buffer, in order, a pointer to its memory and the offset of the piece in bytes
// (a ulong: sub-buffers would have to obey CL_DEVICE_MEM_BASE_ADDR_ALIGN); then, where the launch has parameters, one
// struct by value with their bytes; then, where it has shared memory, a local pointer to it; then, where its module reports
// faults, a pointer to their words.
//
// INVAR_OPENCL_OPTIONS adds options to every compilation from source: -cl-opt-disable, say, or a vendor's own.
//
// What a device declines is listed in tests/backends/opencl_declines.txt.
#include <mutex>

#include "backends/opencl/bandwidth.h"
#include "backends/opencl/context.h"
#include "base/env.h"
#include "base/log.h"
#include "device/disk_cache.h"
#include "device/faults.h"
#include "device/registry.h"

namespace invar::opencl {
namespace {

constexpr int kCacheFormat = 1;
constexpr std::string_view kBinaryFormat = "opencl";

class OpenclDevice final : public Device {
public:
    OpenclDevice(std::shared_ptr<const Driver> driver, FoundDevice found, std::size_t index)
        : Device(index == 0 ? "opencl" : "opencl:" + std::to_string(index)),
          driver_(std::move(driver)),
          found_(std::move(found)) {
        f64_ = driver_->number<cl_ulong>(found_.device, kDoubleConfig) != 0;
        correctly_rounded_ =
            (driver_->number<cl_ulong>(found_.device, kSingleConfig) & kFpCorrectlyRounded) != 0;
        wide_atomics_ = (" " + driver_->text(found_.device, kDeviceExtensions) + " ")
                            .find(" cl_khr_int64_base_atomics ") != std::string::npos;
        pocl_ = found_.platform_version.find("PoCL") != std::string::npos;
        options_ = "-cl-std=CL1.2";
        if (correctly_rounded_) options_ += " -cl-fp32-correctly-rounded-divide-sqrt";
    }

    DeviceProperties properties() const override {
        DeviceProperties p;
        p.name = name();
        p.description = found_.name;
        p.driver = found_.version + ", driver " + found_.driver;
        p.memory_total = p.memory_free = number<cl_ulong>(kGlobalMemory);
        if (const auto context = running())
            p.memory_free -= std::min(p.memory_free, context->memory_used());  // by this process
        p.unified_memory = number<cl_uint>(kHostUnifiedMemory) != 0;
        p.compute_units = static_cast<int>(number<cl_uint>(kMaxComputeUnits));
        p.warp_width = warp_width();
        p.max_block_threads = static_cast<int>(number<std::size_t>(kMaxWorkGroupSize, 1));
        p.shared_memory_bytes = number<cl_ulong>(kLocalMemory);
        return p;
    }

    bool supports(Feature feature) const override {
        switch (feature) {
            case Feature::f64: return f64_;
            case Feature::programs:
            case Feature::arithmetic: return true;
            case Feature::capture:
            case Feature::library:
            case Feature::clusters:
            case Feature::warp_groups:
            case Feature::host_visible:
            case Feature::wrap_host:
            case Feature::native: return false;
        }
        return false;
    }

    std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) override {
        return std::make_unique<OpenclBuffer>(current(), bytes);
    }

    std::unique_ptr<Stream> make_stream() override { return opencl::make_stream(current()); }

    std::shared_ptr<LoadedModule> compile(const Module& module) override {
        if (fault_fires(FaultSite::compile, module.name, name()))
            throw CompileFailed(
                name() + ": module '" + module.name + "' did not compile (injected by INVAR_FAULTS)", "");
        if (const auto* image = std::get_if<BinaryImage>(&module.body)) {
            if (image->format != kBinaryFormat)
                throw Unsupported(name() + ": module '" + module.name + "' is compiled code of format '" +
                                  image->format + "'; this device takes its own binaries, of format '" +
                                  std::string(kBinaryFormat) + "'");
            return load_binary(current(), module.name, image->bytes, options_);
        }
        if (const auto* programs = std::get_if<ProgramText>(&module.body))
            return compile_programs(module.name, *programs);
        const auto* source = std::get_if<SourceText>(&module.body);
        if (!source || source->language != kernel_language())
            throw Unsupported(name() + ": module '" + module.name + "' is " +
                              (source ? "source in '" + source->language + "'"
                                      : std::string("native code or a library's routine")) +
                              "; this device takes programs, source in 'opencl' and its own binaries");
        return compile_source(module.name, *source);
    }

    std::string_view kernel_language() const override { return "opencl"; }

    BandwidthService* bandwidth() override {
        const std::lock_guard lock(bandwidth_mutex_);
        if (!bandwidth_)
            bandwidth_ = make_source_bandwidth(
                *this, bandwidth_kernels((number<cl_ulong>(kDeviceType) & kTypeCpu) != 0,
                                         static_cast<int>(number<cl_uint>(kMaxComputeUnits)),
                                         static_cast<std::size_t>(number<cl_ulong>(kGlobalCacheSize))));
        return bandwidth_.get();
    }

private:
    template <class T>
    T number(cl_uint what, T fallback = 0) const {
        return driver_->number<T>(found_.device, what, fallback);
    }

    // Only extensions and OpenCL 3.0 tell it. A processor has none in the sense of the seam: its lanes belong to one thread.
    int warp_width() const {
        if (number<cl_ulong>(kDeviceType) & kTypeCpu) return 1;
        cl_uint width = number<cl_uint>(kWarpSizeNvidia);
        if (!width) width = number<cl_uint>(kWavefrontWidthAmd);
        if (!width) width = static_cast<cl_uint>(number<std::size_t>(kPreferredGroupMultiple));
        return width ? static_cast<int>(width) : 1;
    }

    std::shared_ptr<LoadedModule> compile_source(const std::string& module, const SourceText& source) {
        if (source.exact && !correctly_rounded_)
            throw Unsupported(name() + ": module '" + module + "' needs divisions and square roots that '" +
                              found_.name + "' does not round correctly; run it on the cpu");
        const auto context = current();
        std::string options = options_;
        for (const std::string& option : source.options) options += " " + option;
        if (const std::string more = env_string("INVAR_OPENCL_OPTIONS"); !more.empty()) options += " " + more;
        const std::string key = cache_key(source.text, options);
        if (const auto cached = DiskCache::shared().load("opencl", key)) {
            try {
                return load_binary(context, module, *cached, options, source.faults);
            } catch (const CompileFailed&) {
                log(LogLevel::kWarning,
                    name() + ": the cached code of module '" + module + "' does not load; compiling it");
            }
        }
        auto loaded = build_source(context, module, source, options);
        if (const std::vector<std::byte> binary = binary_of(*loaded); !binary.empty())
            DiskCache::shared().store("opencl", key, binary);
        return loaded;
    }

    std::shared_ptr<LoadedModule> compile_programs(const std::string& module, const ProgramText& text) {
        const std::vector<Program> programs = assemble_for_device(name(), module, text.text);
        for (const Program& program : programs) check_program(program);
        auto inner = compile_source(module, {"opencl", write_source(programs, Language::opencl), {}});
        return load_programs(name(), module, programs, std::move(inner));
    }

    // Throws Unsupported for what this device cannot compute as the instruction table says.
    void check_program(const Program& program) const {
        if (!f64_ && uses_type(program, DType::f64))
            throw Unsupported(name() + ": program '" + program.name + "' uses f64, and '" + found_.name +
                              "' has no double precision (cl_khr_fp64); run it on the cpu");
        if (!wide_atomics_ && uses_wide_atomics(program))
            throw Unsupported(name() + ": program '" + program.name + "' has atomics of 64 bits, and '" +
                              found_.name + "' has none (cl_khr_int64_base_atomics); run it on the cpu");
        if (static_cast<std::uint64_t>(program.shared_bytes()) + grid_scratch_bytes(program) >
            number<cl_ulong>(kLocalMemory))
            throw Unsupported(name() + ": program '" + program.name +
                              "' takes more of a block's memory than '" + found_.name + "' has (" +
                              std::to_string(number<cl_ulong>(kLocalMemory)) + " bytes); run it on the cpu");
        if (pocl_ && meets_under_if(program))
            throw Unsupported(
                name() + ": program '" + program.name +
                "' has a barrier under an IF, around which PoCL loses values of lanes; run it on the cpu");
        if (correctly_rounded_) return;
        for (const Instruction& i : program.instructions)
            if (i.type == DType::f32 && (i.opcode == Opcode::DIV || i.opcode == Opcode::SQRT ||
                                         i.opcode == Opcode::RSQRT || i.opcode == Opcode::SIGMOID))
                throw Unsupported(name() + ": program '" + program.name + "' has " +
                                  std::string(info(i.opcode).name) + ".f32, and '" + found_.name +
                                  "' does not round divisions and square roots correctly; run it on the cpu");
    }

    // Made on first use: a machine that only lists its devices starts none.
    std::shared_ptr<Context> current() {
        const std::lock_guard lock(context_mutex_);
        if (!context_) context_ = std::make_shared<Context>(driver_, found_.device, name());
        return context_;
    }

    std::shared_ptr<Context> running() const {
        const std::lock_guard lock(context_mutex_);
        return context_;
    }

    std::string cache_key(const std::string& text, const std::string& options) const {
        return "opencl " + std::to_string(kCacheFormat) + "\n" + found_.platform_version + "\n" +
               found_.name + "\n" + found_.version + "\ndriver " + found_.driver + "\n" + options + "\n\n" +
               text;
    }

    std::shared_ptr<const Driver> driver_;
    FoundDevice found_;
    bool f64_ = false, correctly_rounded_ = false, wide_atomics_ = false, pocl_ = false;
    std::string options_;
    mutable std::mutex context_mutex_;
    std::shared_ptr<Context> context_;
    std::mutex bandwidth_mutex_;
    std::unique_ptr<BandwidthService> bandwidth_;
};

class OpenclBackend final : public Backend {
public:
    std::string_view name() const override { return "opencl"; }
    std::string unavailable_reason() const override { return discover().why_none; }
    std::vector<std::shared_ptr<Device>> devices() override {
        discover();
        return devices_;
    }
    // Never chosen by itself: which of a machine's devices is fastest is not measured yet.
    int rank() const override { return 0; }

private:
    // On first use, because a driver's start takes time that a program on another device should not pay.
    const Found& discover() const {
        const std::lock_guard lock(mutex_);
        if (discovered_) return found_;
        found_ = find_devices();
        for (std::size_t i = 0; i < found_.devices.size(); ++i)
            devices_.push_back(std::make_shared<OpenclDevice>(found_.driver, found_.devices[i], i));
        discovered_ = true;
        return found_;
    }

    mutable std::mutex mutex_;
    mutable bool discovered_ = false;
    mutable Found found_;
    mutable std::vector<std::shared_ptr<Device>> devices_;
};

std::unique_ptr<Backend> make_backend() { return std::make_unique<OpenclBackend>(); }

}  // namespace
}  // namespace invar::opencl

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() {
    return {invar::kSeamVersion, &invar::opencl::make_backend};
}
