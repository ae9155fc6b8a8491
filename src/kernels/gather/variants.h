// SPDX-License-Identifier: Apache-2.0
// The native entry of the gather family, seen by its own files only.
#pragma once

#include "device/module.h"
#include "kernels/gather/family.h"

namespace invar::kernels::gather {

void run_gather(const NativeLaunch& launch);
// Fills in the call on a CUDA device; the specification has been checked.
void plan_cuda(const GatherSpec& spec, KernelCall& call);

}  // namespace invar::kernels::gather
