// SPDX-License-Identifier: Apache-2.0
// What the kernels of a program report of accesses outside their buffers: how the writers spell a report, and what the host
// makes of one. Grid programs check every access; pointwise ones those whose address depends on data, the others being
// checked before the launch.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <invar/export.h>

#include "device/device_fault.h"
#include "device/module.h"
#include "program/writer.h"

namespace invar {

// Whether the program's kernels take where to report faults as their last argument: on CUDA the fault box of
// src/kernels/cuda_prelude.cu, in OpenCL and Metal kFaultWords words of 64 bits: whether somebody has claimed them, the
// instruction's number and 1, lane (of a pointwise program: its index), block, element, elements there.
INVAR_API bool reports_faults(const Program& program);
// The function that reports, for sources with such programs.
std::string fault_prelude(Language language);
// The call of it for instruction number k; the others are expressions of 64 bits.
std::string written_fault(const Program& program, std::size_t k, Language language, const std::string& lane,
                          const std::string& block, const std::string& element, const std::string& held);

// The messages of a program; launches keep them, since they may end after the program is gone.
class INVAR_API ProgramFaults {
public:
    explicit ProgramFaults(const Program& program);
    // The record of what an OpenCL or Metal kernel has reported; kind 0 where it has not.
    DeviceFault fault(std::span<const std::int64_t, kFaultWords> words) const;

private:
    std::uint32_t kind_;
    std::vector<std::string> texts_;  // by instruction; empty: it reports nothing
};

}  // namespace invar
