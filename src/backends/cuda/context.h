// SPDX-License-Identifier: Apache-2.0
// One life of a GPU's context, and how the driver's results become typed errors. After a fatal result (an illegal
// address, an uncorrectable memory error) a context answers nothing but that error again: it is marked dead, what it
// owned is dropped without a call, and the device asks for a new one. Driver 580 refuses that to the process for good
// (measured on an H200, with own and primary contexts alike); other devices of the process go on.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "backends/cuda/driver.h"
#include "device/device.h"
#include "program/grid_writer.h"

namespace invar::cuda {

class Context {
public:
    // The primary context of the device, so that other libraries of the process share it. Throws DeviceLost or
    // OutOfMemory. device_name is "cuda:0".
    Context(const Driver& driver, CUdevice device, std::string device_name);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    const Driver& driver() const noexcept { return driver_; }
    const std::string& device_name() const noexcept { return device_name_; }
    CUcontext handle() const noexcept { return handle_; }
    // Kernels may start while the one before them ends (LaunchConfig::overlap): from compute capability 9.0 on.
    bool overlaps() const noexcept { return overlaps_; }
    bool dead() const noexcept { return dead_.load(std::memory_order_relaxed); }

    // Makes this the calling thread's context. Throws DeviceLost, with the reason, when it is dead.
    void enter();
    // The same where nothing may be thrown: false when the context is dead.
    bool try_enter() const noexcept;
    // Gives the driver's context up, dead or not: called by the device before it starts a new one.
    void retire();
    // The typed error of a result; a fatal one marks the context dead. what says which work it was.
    std::exception_ptr error(CUresult result, std::string_view what);
    void check(CUresult result, std::string_view what) {
        if (result != kSuccess) std::rethrow_exception(error(result, what));
    }

private:
    const Driver& driver_;
    CUdevice device_;
    std::string device_name_;
    CUcontext handle_ = nullptr;
    bool overlaps_ = false;
    std::atomic<bool> dead_{false};
    std::atomic<bool> retired_{false};
    std::mutex mutex_;
    std::string cause_;  // of death
};

class CudaBuffer final : public Buffer {
public:
    CudaBuffer(std::shared_ptr<Context> context, std::size_t bytes);  // throws OutOfMemory
    ~CudaBuffer() override;
    CUdeviceptr address() const noexcept { return address_; }
    const std::shared_ptr<Context>& context() const noexcept { return context_; }

private:
    std::shared_ptr<Context> context_;
    CUdeviceptr address_ = 0;
};

class CudaKernel final : public Kernel {
public:
    // parameters: bytes of each that the kernel declares; empty where the driver is too old to tell.
    CudaKernel(std::string name, Context& context, CUfunction function, std::vector<std::size_t> parameters)
        : Kernel(std::move(name)),
          context_(context),
          function_(function),
          parameters_(std::move(parameters)) {}
    Context& context() const noexcept { return context_; }
    CUfunction function() const noexcept { return function_; }
    // Whether the kernel declares what it would be given: pointers in the order of the buffers, a struct of `params`
    // bytes by value unless that is 0, then at most a pointer to the FaultBox. What it declares is in `parameters`.
    bool takes(std::size_t buffers, std::size_t params) const noexcept;
    const std::vector<std::size_t>& parameters() const noexcept { return parameters_; }
    // Lets the kernel use that much dynamic shared memory; what it declares itself counts to the same 48 KiB beyond which
    // that must be said, so it always is.
    CUresult allow_shared(std::uint32_t bytes);

private:
    Context& context_;
    CUfunction function_;
    const std::vector<std::size_t> parameters_;
    std::atomic<std::uint32_t> shared_allowed_{0};
};

// A pointwise program: its launch says the index space (program/pointwise.h), so grid and block of the call play no part.
class CudaProgram final : public Kernel {
public:
    // inner has the kernels that write_source makes of the program.
    CudaProgram(const Program& program, LoadedModule& inner);
    // The kernel for these parameters and buffer sizes, and its launch; nullptr for an empty index space.
    CudaKernel* prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                        LaunchConfig& config, WrittenLaunch& launch) const;
    Context& context() const noexcept { return flat_.context(); }

private:
    ProgramShape shape_;
    int width_;
    CudaKernel &flat_, &view_, &view_wide_;
};

// A grid program: launched with the grid and block of the call.
class CudaGridProgram final : public Kernel {
public:
    CudaGridProgram(const Program& program, LoadedModule& inner);
    // The words of the launch. Throws InvalidArgument for one that does not fit.
    void prepare(std::span<const std::byte> params, const LaunchConfig& config,
                 std::span<const PlacedBuffer> placed, GridWords& words) const;
    CudaKernel& kernel() const noexcept { return kernel_; }

private:
    GridShape shape_;
    CudaKernel& kernel_;
};

// The programs of a module, given what their written source was compiled to.
std::shared_ptr<LoadedModule> load_programs(const std::string& device, const std::string& name,
                                            std::span<const Program> programs,
                                            std::shared_ptr<LoadedModule> inner);

std::unique_ptr<Stream> make_stream(std::shared_ptr<Context> context);
// A cubin with the names of its kernels found by the driver.
std::shared_ptr<LoadedModule> load_cubin(std::shared_ptr<Context> context, const std::string& name,
                                         std::span<const std::byte> cubin);

}  // namespace invar::cuda
