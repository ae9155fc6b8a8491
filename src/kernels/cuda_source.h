// SPDX-License-Identifier: Apache-2.0
// The CUDA sources of the families: how a variant becomes a module. A source is the prelude, the family's parameter
// structs (shared with the host through a header of plain C) and its kernels, behind the definitions that make the variant.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <invar/dtype.h>

#include "kernels/kernel_call.h"

namespace invar::kernels {

inline bool is_cuda(const Device& device) { return device.kernel_language() == "cuda"; }

// "f32", "bf16", "i64", ...: what the prelude calls a type; pred is u8.
const char* cuda_type(DType type);

using Definitions = std::initializer_list<std::pair<const char*, const char*>>;
// The module of these definitions, made on first sight and kept for good. parts: texts of the family, in order. oldest:
// least compute capability, times 10.
const Module* cuda_module(const char* name, std::initializer_list<const char*> parts, Definitions definitions,
                          int oldest = 80);

// Every module made so far: what a process can ask a compiler for.
INVAR_API std::vector<const Module*> cuda_modules();

// A grid of at most the most that a launch takes in x; kernels walk on in strides of the grid.
inline Dim3 cuda_grid(std::int64_t blocks, std::uint32_t y = 1, std::uint32_t z = 1) {
    return {static_cast<std::uint32_t>(blocks < 1 ? 1 : blocks > 0x7fffffff ? 0x7fffffff : blocks), y, z};
}

}  // namespace invar::kernels
