// SPDX-License-Identifier: Apache-2.0
// Where the kernels of a stream report what they find wrong (device/device_fault.h): a word on the device that the first
// reporter claims, and a record in pinned memory that the host reads without asking the driver.
#pragma once

#include <exception>
#include <memory>

#include "backends/cuda/context.h"
#include "device/device_fault.h"

namespace invar::cuda {

class FaultBox {
public:
    explicit FaultBox(std::shared_ptr<Context> context);
    ~FaultBox();
    FaultBox(const FaultBox&) = delete;
    FaultBox& operator=(const FaultBox&) = delete;

    CUdeviceptr address() const noexcept { return box_; }  // the last argument of every kernel
    bool faulty() const noexcept { return static_cast<const volatile DeviceFault*>(record_)->kind != 0; }
    // The typed error of what was reported, or nothing.
    std::exception_ptr error() const { return faulty() ? fault_error(*record_) : nullptr; }
    // Makes it ready for the next report. No kernel may run that uses it.
    void clear() noexcept;

private:
    // The kernels' FaultBox (src/kernels/cuda_prelude.cu).
    struct Words {
        std::uint32_t claimed = 0, pad = 0;
        CUdeviceptr record = 0;
    };
    std::shared_ptr<Context> context_;
    CUdeviceptr box_ = 0;
    DeviceFault* record_ = nullptr;
};

}  // namespace invar::cuda
