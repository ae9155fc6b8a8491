// SPDX-License-Identifier: Apache-2.0
// What buffers, kernels and streams of one OpenCL device share: its context and limits, and how results become typed
// errors. Objects keep it alive, so that they may outlive their device.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "backends/opencl/driver.h"
#include "device/device.h"
#include "program/grid_writer.h"
#include "program/program_faults.h"

namespace invar::opencl {

class Context {
public:
    // device_name is "opencl", "opencl:1", ... Throws DeviceLost or OutOfMemory.
    Context(std::shared_ptr<const Driver> driver, cl_device_id device, std::string device_name);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    const Driver& driver() const noexcept { return *driver_; }
    cl_device_id device() const noexcept { return device_; }
    cl_context handle() const noexcept { return handle_; }
    const std::string& device_name() const noexcept { return device_name_; }
    std::uint64_t memory_total() const noexcept { return memory_total_; }
    std::uint64_t memory_used() const noexcept { return memory_used_; }

    // Counts the bytes of a buffer. OpenCL tells no free memory and may promise more than there is, so a request that goes
    // beyond the device's memory is refused here: throws OutOfMemory.
    void take(std::size_t bytes);
    void give(std::size_t bytes) noexcept { memory_used_ -= bytes; }

    // The typed error of a result; what says which work it was.
    std::exception_ptr error(cl_int result, std::string_view what) const;
    void check(cl_int result, std::string_view what) const {
        if (result != kSuccess) std::rethrow_exception(error(result, what));
    }
    // Guards the progress of all streams of this device: one that waits for another's event asks that one for its error.
    std::mutex& progress_mutex() const noexcept { return progress_mutex_; }

private:
    std::shared_ptr<const Driver> driver_;
    cl_device_id device_;
    std::string device_name_;
    cl_context handle_ = nullptr;
    std::uint64_t memory_total_ = 0, largest_buffer_ = 0;
    std::atomic<std::uint64_t> memory_used_{0};
    mutable std::mutex progress_mutex_;
};

class OpenclBuffer final : public Buffer {
public:
    OpenclBuffer(std::shared_ptr<Context> context, std::size_t bytes);  // throws OutOfMemory
    ~OpenclBuffer() override;
    cl_mem handle() const noexcept { return handle_; }
    const std::shared_ptr<Context>& context() const noexcept { return context_; }

private:
    std::shared_ptr<Context> context_;
    cl_mem handle_ = nullptr;
};

// A kernel and the lock that setting its arguments needs: OpenCL keeps them in the kernel, and streams of several threads
// may launch it.
class OpenclKernel final : public Kernel {
public:
    // faults: what it reports by number (SourceText::faults).
    OpenclKernel(std::string name, Context& context, cl_kernel handle,
                 std::shared_ptr<const std::vector<FaultText>> faults);
    ~OpenclKernel() override;
    Context& context() const noexcept { return context_; }
    cl_kernel handle() const noexcept { return handle_; }
    std::mutex& mutex() noexcept { return mutex_; }
    std::size_t arguments() const noexcept { return arguments_; }  // that it declares
    std::size_t max_threads() const noexcept { return max_threads_; }
    const std::shared_ptr<const std::vector<FaultText>>& faults() const noexcept { return faults_; }

private:
    Context& context_;
    cl_kernel handle_;
    std::shared_ptr<const std::vector<FaultText>> faults_;  // a launch may end after the kernel is gone
    std::mutex mutex_;
    std::size_t arguments_ = 0, max_threads_ = 1;
};

// A pointwise program: its launch says the index space (program/pointwise.h), so grid and block of the call play no part.
class OpenclProgram final : public Kernel {
public:
    // inner has the kernels that write_source makes of the program.
    OpenclProgram(const Program& program, LoadedModule& inner);
    // The kernel for these parameters and buffer sizes, and its launch; nullptr for an empty index space.
    OpenclKernel* prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                          LaunchConfig& config, WrittenLaunch& launch) const;
    Context& context() const noexcept { return flat_.context(); }
    bool words_in_memory() const noexcept { return words_in_memory_; }
    // Null where it reports none.
    const std::shared_ptr<const ProgramFaults>& faults() const noexcept { return faults_; }

private:
    ProgramShape shape_;
    std::shared_ptr<const ProgramFaults> faults_;
    int width_;
    bool words_in_memory_;
    OpenclKernel &flat_, &view_, &view_wide_;
};

// A grid program: launched with the grid and block of the call.
class OpenclGridProgram final : public Kernel {
public:
    OpenclGridProgram(const Program& program, LoadedModule& inner);
    const GridShape& shape() const noexcept { return shape_; }
    const std::shared_ptr<const ProgramFaults>& faults() const noexcept { return faults_; }
    OpenclKernel& kernel() const noexcept { return kernel_; }
    bool words_in_memory() const noexcept { return words_in_memory_; }

private:
    GridShape shape_;
    std::shared_ptr<const ProgramFaults> faults_;
    bool words_in_memory_;
    OpenclKernel& kernel_;
};

// The programs of a module, given what their written source was compiled to.
std::shared_ptr<LoadedModule> load_programs(const std::string& device, const std::string& name,
                                            std::span<const Program> programs,
                                            std::shared_ptr<LoadedModule> inner);

// Compiled kernels. Both throw CompileFailed, with the compiler's log and the numbered source.
std::shared_ptr<LoadedModule> build_source(std::shared_ptr<Context> context, const std::string& name,
                                           const SourceText& source, const std::string& options);
std::shared_ptr<LoadedModule> load_binary(std::shared_ptr<Context> context, const std::string& name,
                                          std::span<const std::byte> binary, const std::string& options,
                                          const std::vector<FaultText>& faults = {});
// What load_binary takes, of a module of build_source; empty where the driver gives none.
std::vector<std::byte> binary_of(LoadedModule& module);

std::unique_ptr<Stream> make_stream(std::shared_ptr<Context> context);

}  // namespace invar::opencl
