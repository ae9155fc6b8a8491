// SPDX-License-Identifier: Apache-2.0
// Streams of the cpu device: work runs inline in the call that starts it, but its errors follow the asynchronous
// contract and surface at the next call or wait, so that programs meet on the cpu what they will meet on a GPU.
#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/device.h"

namespace invar {

// A kernel of the cpu device: whatever can run on argument buffers. Several streams may run it at once.
class CpuKernel : public Kernel {
public:
    using Kernel::Kernel;
    // Throws what went wrong. No heap allocation after the first call of a shape.
    virtual void run(const NativeLaunch& launch) = 0;
};

std::unique_ptr<Stream> make_cpu_stream();

}  // namespace invar
