// SPDX-License-Identifier: Apache-2.0
// The interpreter's kernels: one function for an instruction at a type, working on n elements. Registers lie
// in memory as arrays of their type (pred as bytes 0 or 1). dst may be the same array as an operand, but not
// overlap it otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

#include <invar/dtype.h>

#include "program/instructions.h"

namespace invar {

using Kernel = void (*)(void* dst, const void* a, const void* b, const void* c, std::size_t n);

struct KernelKey {
    Opcode opcode = Opcode::MOV;
    DType type = DType::f32;    // the suffix
    DType source = DType::f32;  // CVT: the type converted from
};

// For the instruction set in use. Every instruction but LDG and STG at every legal type has one.
// Functions at f16 and bf16 are those of f32.
Kernel find_kernel(KernelKey key);
// Memory of a storage type to a register and back; nullptr where bytes are copied as they are.
Kernel load_kernel(DType storage);
Kernel store_kernel(DType storage);
// dst = a, for elements of 1, 2, 4 or 8 bytes.
Kernel copy_kernel(std::size_t element_bytes);

// c (m, n) += a (m, k) b (k, n), row-major, m a multiple of 4 and n of 16: each element a chain of FMAs, k ascending.
using ProductKernel = void (*)(float* c, const float* a, const float* b, std::size_t m, std::size_t n,
                               std::size_t k);
ProductKernel product_kernel();

namespace detail {
Kernel find_kernel_f32(const KernelKey& key);    // nullptr when it is not one of kernels_f32.cpp
Kernel find_kernel_typed(const KernelKey& key);  // kernels_typed.cpp
Kernel memory_kernel_f32(DType storage, bool store);
}  // namespace detail

}  // namespace invar
