// SPDX-License-Identifier: Apache-2.0
// Contexts, their memory and their loaded kernels.
#include "backends/cuda/context.h"

#include <algorithm>

#include "base/log.h"

namespace invar::cuda {
namespace {

// After these the context answers every call with the same result.
bool fatal(CUresult result) {
    switch (result) {
        case kEccUncorrectable:
        case kContained:
        case kIllegalAddress:
        case kLaunchTimeout:
        case kContextIsDestroyed:
        case kAssert:
        case kHardwareStackError:
        case kIllegalInstruction:
        case kMisalignedAddress:
        case kInvalidAddressSpace:
        case kInvalidPc:
        case kLaunchFailedResult:
        case kUnknown: return true;
        default: return false;
    }
}

// The kernel's own doing; what is left of the fatal ones is the device's.
bool by_kernel(CUresult result) {
    return fatal(result) && result != kEccUncorrectable && result != kContained &&
           result != kContextIsDestroyed && result != kUnknown;
}

}  // namespace

Context::Context(const Driver& driver, CUdevice device, std::string device_name)
    : driver_(driver), device_(device), device_name_(std::move(device_name)) {
    const CUresult result = driver_.context_retain(&handle_, device_);
    if (result == kOutOfMemoryResult)
        throw OutOfMemory(
            device_name_ + ": no room for a context on the device; end other programs that use it", 0, 0);
    if (result != kSuccess)
        throw DeviceLost(
            device_name_ + ": the device gives no context: " + driver_.describe(result) +
            (fatal(result) ? "; after an earlier error the driver keeps this process away from the device: "
                             "restart the program, or use another device"
                           : ""));
    int major = 0;
    driver_.device_attribute(&major, kComputeMajor, device_);
    overlaps_ = major >= 9;
}

Context::~Context() { retire(); }

void Context::retire() {
    if (retired_.exchange(true)) return;
    driver_.context_release(device_);
    // The next one of this device starts anew; what other libraries of the process had there is dead already.
    if (dead()) driver_.context_reset(device_);
}

void Context::enter() {
    if (!dead()) return check(driver_.context_set(handle_), "taking up the device's context");
    const std::lock_guard lock(mutex_);
    throw DeviceLost(
        device_name_ + ": the device was reset after an error, and what it held is lost: " + cause_, true);
}

bool Context::try_enter() const noexcept { return !dead() && driver_.context_set(handle_) == kSuccess; }

std::exception_ptr Context::error(CUresult result, std::string_view what) {
    const std::string message = device_name_ + ": " + std::string(what) + ": " + driver_.describe(result);
    if (fatal(result)) {
        const std::lock_guard lock(mutex_);
        if (!dead_.exchange(true)) {
            cause_ = message;
            log(LogLevel::kError, message + "; what the device held is lost");
        }
    }
    if (result == kOutOfMemoryResult) return std::make_exception_ptr(OutOfMemory(message, 0, 0));
    if (by_kernel(result) || result == kLaunchOutOfResources)
        return std::make_exception_ptr(LaunchFailed(message));
    if (result == kInvalidValue) return std::make_exception_ptr(InvalidArgument(message));
    return std::make_exception_ptr(DeviceLost(message, dead()));
}

CudaBuffer::CudaBuffer(std::shared_ptr<Context> context, std::size_t bytes)
    : Buffer(bytes), context_(std::move(context)) {
    context_->enter();
    const Driver& driver = context_->driver();
    const CUresult result = driver.memory_allocate(&address_, std::max<std::size_t>(bytes, 1));
    if (result == kOutOfMemoryResult) {
        std::size_t free = 0, total = 0;
        driver.memory_info(&free, &total);
        throw OutOfMemory(context_->device_name() + ": no room for " + std::to_string(bytes) + " bytes; " +
                              std::to_string(free) + " of " + std::to_string(total) +
                              " are free. Use a smaller model, context or batch, or another type of weights",
                          bytes, free);
    }
    context_->check(result, "allocation of " + std::to_string(bytes) + " bytes");
}

CudaBuffer::~CudaBuffer() {
    if (address_ && context_->try_enter()) context_->driver().memory_free(address_);
}

bool CudaKernel::takes(std::size_t buffers, std::size_t params) const noexcept {
    if (parameters_.empty()) return true;
    const std::size_t given = buffers + (params > 0);
    if (parameters_.size() != given && parameters_.size() != given + 1) return false;
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        if (parameters_[i] != (i == buffers && params > 0 ? params : sizeof(CUdeviceptr))) return false;
    return true;
}

CUresult CudaKernel::allow_shared(std::uint32_t bytes) {
    if (bytes <= shared_allowed_.load(std::memory_order_relaxed)) return kSuccess;
    const CUresult result = context_.driver().function_set_attribute(function_, kFunctionMaxDynamicShared,
                                                                     static_cast<int>(bytes));
    if (result == kSuccess) shared_allowed_.store(bytes, std::memory_order_relaxed);
    return result;
}

namespace {

class CudaModule final : public LoadedModule {
public:
    CudaModule(std::shared_ptr<Context> context, std::string name, std::span<const std::byte> cubin)
        : context_(std::move(context)), name_(std::move(name)) {
        context_->enter();
        const Driver& driver = context_->driver();
        const CUresult loaded = driver.module_load(&handle_, cubin.data());
        if (loaded == kInvalidImage || loaded == kNoBinaryForGpu)
            throw CompileFailed(context_->device_name() + ": module '" + name_ +
                                    "' holds no code for this device: " + driver.describe(loaded),
                                "");
        context_->check(loaded, "loading module '" + name_ + "'");
        if (!driver.module_function_count || !driver.module_functions || !driver.function_name)
            throw Unsupported(
                context_->device_name() +
                ": the driver cannot list the kernels of a module; install one for CUDA 12.4 or newer");
        unsigned count = 0;
        context_->check(driver.module_function_count(&count, handle_), "kernels of module '" + name_ + "'");
        std::vector<CUfunction> functions(count);
        context_->check(driver.module_functions(functions.data(), count, handle_),
                        "kernels of module '" + name_ + "'");
        for (CUfunction function : functions) {
            const char* entry = nullptr;
            context_->check(driver.function_name(&entry, function), "kernels of module '" + name_ + "'");
            std::vector<std::size_t> parameters;
            std::size_t offset = 0, size = 0;
            while (driver.function_parameter &&
                   driver.function_parameter(function, parameters.size(), &offset, &size) == kSuccess)
                parameters.push_back(size);
            kernels_.push_back(
                std::make_unique<CudaKernel>(entry, *context_, function, std::move(parameters)));
        }
    }

    ~CudaModule() override {
        if (handle_ && context_->try_enter()) context_->driver().module_unload(handle_);
    }

    Kernel& kernel(std::string_view entry) override {
        return find_kernel(kernels_, context_->device_name(), name_, entry);
    }

private:
    std::shared_ptr<Context> context_;
    std::string name_;
    CUmodule handle_ = nullptr;
    std::vector<std::unique_ptr<CudaKernel>> kernels_;
};

}  // namespace

std::shared_ptr<LoadedModule> load_cubin(std::shared_ptr<Context> context, const std::string& name,
                                         std::span<const std::byte> cubin) {
    return std::make_shared<CudaModule>(std::move(context), name, cubin);
}

}  // namespace invar::cuda
