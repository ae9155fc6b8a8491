// SPDX-License-Identifier: Apache-2.0
// The cpu backend: one device, always there. Kernels are native entries (the families' cpu.cpp) or programs for the
// interpreter; streams run inline and use the process's thread pool.
#pragma once

#include <memory>

#include "device/device.h"

namespace invar {

std::unique_ptr<Backend> make_cpu_backend();

}  // namespace invar
