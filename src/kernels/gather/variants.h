// SPDX-License-Identifier: Apache-2.0
// The native entry of the gather family, seen by its own files only.
#pragma once

#include <array>

#include "device/module.h"
#include "kernels/gather/family.h"

namespace invar::kernels::gather {

void run_gather(const NativeLaunch& launch);
// Fill in the call on a CUDA device, and in portable C; the specification has been checked.
void plan_cuda(const GatherSpec& spec, KernelCall& call);
void plan_portable(const Device& device, const GatherSpec& spec, KernelCall& call);
// What sources have in common: the type of their elements, and the least bytes of the buffers.
const char* element_of(DType t, bool converted);
std::array<std::size_t, 12> buffers_of(const GatherSpec& spec);

}  // namespace invar::kernels::gather
