// SPDX-License-Identifier: Apache-2.0
// How a kernel on an accelerator reports what it finds wrong while it runs (an index out of range): it fills a record
// that the host can read, and the stream throws the error at its next wait. The kernels' side of this struct stands in
// src/kernels/cuda_prelude.cu.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

#include <invar/export.h>

namespace invar {

struct DeviceFault {
    static constexpr std::uint32_t kInvalidArgument = 1, kLaunchFailed = 2;
    std::uint32_t claimed = 0;  // by the first thread that reports; later ones are dropped
    std::uint32_t kind = 0;     // not 0 once the record is whole
    std::int64_t values[4] = {};
    char text[216] = {};  // the message; {0} to {3} stand for the values
};
static_assert(sizeof(DeviceFault) == 256);

// The typed error of a record that is whole.
INVAR_API std::exception_ptr fault_error(const DeviceFault& fault);

}  // namespace invar
