// SPDX-License-Identifier: Apache-2.0
// The memory of a fault box.
#include "backends/cuda/fault_box.h"

#include <cstring>
#include <new>

namespace invar::cuda {

FaultBox::FaultBox(std::shared_ptr<Context> context) : context_(std::move(context)) {
    const Driver& driver = context_->driver();
    void* memory = nullptr;
    Words words;
    CUresult result = driver.host_allocate(&memory, sizeof(DeviceFault), kHostAllocMapped);
    if (result == kSuccess) {
        record_ = new (memory) DeviceFault;
        result = driver.host_pointer(&words.record, memory, 0);
    }
    if (result == kSuccess) result = driver.memory_allocate(&box_, sizeof(Words));
    if (result == kSuccess) result = driver.copy_to_device_now(box_, &words, sizeof words);
    if (result == kSuccess) return;
    if (box_) driver.memory_free(box_);
    if (record_) driver.host_free(record_);
    context_->check(result, "memory for the errors of kernels");
}

FaultBox::~FaultBox() {
    if (!context_->try_enter()) return;
    context_->driver().memory_free(box_);
    context_->driver().host_free(record_);
}

void FaultBox::clear() noexcept {
    static_cast<volatile DeviceFault*>(record_)->kind = 0;
    std::memset(static_cast<void*>(record_->text), 0, sizeof record_->text);
    const std::uint32_t unclaimed = 0;
    context_->driver().copy_to_device_now(box_, &unclaimed, sizeof unclaimed);
}

}  // namespace invar::cuda
