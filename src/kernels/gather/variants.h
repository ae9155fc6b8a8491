// SPDX-License-Identifier: Apache-2.0
// The native entry of the gather family, seen by its own files only.
#pragma once

#include "device/module.h"

namespace invar::kernels::gather {

void run_gather(const NativeLaunch& launch);

}  // namespace invar::kernels::gather
