// SPDX-License-Identifier: Apache-2.0
// A device's context, its memory, and the errors of its results.
#include "backends/opencl/context.h"

#include <algorithm>

namespace invar::opencl {

Context::Context(std::shared_ptr<const Driver> driver, cl_device_id device, std::string device_name)
    : driver_(std::move(driver)), device_(device), device_name_(std::move(device_name)) {
    memory_total_ = driver_->number<cl_ulong>(device_, kGlobalMemory);
    largest_buffer_ = driver_->number<cl_ulong>(device_, kMaxAllocation);
    cl_int result = kSuccess;
    handle_ = driver_->context_create(nullptr, 1, &device_, nullptr, nullptr, &result);
    if (!handle_ || result != kSuccess) check(result ? result : kDeviceNotAvailable, "a new context");
}

Context::~Context() { driver_->context_release(handle_); }

void Context::take(std::size_t bytes) {
    if (bytes > largest_buffer_)
        throw OutOfMemory(device_name_ + ": no room for " + std::to_string(bytes) +
                              " bytes in one buffer; the largest that the device gives has " +
                              std::to_string(largest_buffer_) + ". Use a smaller tensor",
                          bytes, largest_buffer_);
    std::uint64_t used = memory_used_;
    do {
        const std::uint64_t available = memory_total_ > used ? memory_total_ - used : 0;
        if (bytes > available)
            throw OutOfMemory(device_name_ + ": no room for " + std::to_string(bytes) + " bytes; " +
                                  std::to_string(available) + " of " + std::to_string(memory_total_) +
                                  " are free. Use a smaller model, context or batch, or another type of "
                                  "weights",
                              bytes, available);
    } while (!memory_used_.compare_exchange_weak(used, used + bytes));
}

std::exception_ptr Context::error(cl_int result, std::string_view what) const {
    const std::string message = device_name_ + ": " + std::string(what) + ": " + describe(result);
    switch (result) {
        case kMemoryAllocationFailure:
        case kOutOfHostMemory:
            return std::make_exception_ptr(
                OutOfMemory(message + "; use a smaller model, context or batch", 0, 0));
        case kDeviceNotAvailable:
        case kInvalidContext:
        case kInvalidCommandQueue: return std::make_exception_ptr(DeviceLost(message));
        case kInvalidWorkDimension:
        case kInvalidWorkGroupSize:
        case kInvalidWorkItemSize:
        case kInvalidGlobalWorkSize: return std::make_exception_ptr(InvalidArgument(message));
        default: return std::make_exception_ptr(LaunchFailed(message));
    }
}

OpenclBuffer::OpenclBuffer(std::shared_ptr<Context> context, std::size_t bytes)
    : Buffer(bytes), context_(std::move(context)) {
    context_->take(bytes);
    cl_int result = kSuccess;
    handle_ = context_->driver().buffer_create(context_->handle(), kMemoryReadWrite,
                                               std::max<std::size_t>(bytes, 1), nullptr, &result);
    if (handle_ && result == kSuccess) return;
    context_->give(bytes);
    if (result == kMemoryAllocationFailure || result == kOutOfResources || result == kOutOfHostMemory ||
        result == kInvalidBufferSize)
        throw OutOfMemory(context_->device_name() + ": the driver has no room for " + std::to_string(bytes) +
                              " bytes: " + describe(result) +
                              ". Use a smaller model, context or batch, or another type of weights",
                          bytes, 0);
    context_->check(result, "allocation of " + std::to_string(bytes) + " bytes");
}

OpenclBuffer::~OpenclBuffer() {
    context_->driver().memory_release(handle_);
    context_->give(size());
}

}  // namespace invar::opencl
