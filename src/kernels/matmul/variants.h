// SPDX-License-Identifier: Apache-2.0
// The variants of the matmul family on the CPU, what they share, and the way to ask for one by name (tests and
// benchmarks do; everything else calls plan_matmul). Nothing here is kept between launches.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/matmul/family.h"
#include "kernels/matmul/params.h"

namespace invar::kernels::matmul {

enum class Variant : std::uint8_t {
    few,        // (n, k) weights, few rows: f32 arithmetic on the weights as they stream by
    many,       // (n, k) weights, many rows: f32 arithmetic, blocks of weights widened once
    columns,    // (k, n) weights, any rows: f32 arithmetic
    bf16_dot,   // (n, k) bf16 weights: AVX512_BF16 dot products, x rounded to bf16
    bf16_tile,  // (n, k) bf16 weights: AMX tiles, x rounded to bf16
};
inline constexpr int kVariantCount = 5;

// Up to this many rows the weights are streamed past all rows at once.
inline constexpr std::int64_t kFewRows = 8;
// The same where tiles need not round x: from five rows on they read the weights faster than f32 arithmetic does.
inline constexpr std::int64_t kFewExactRows = 4;

// Whether this CPU (and the operating system, which grants AMX) can run a variant.
INVAR_API bool available(Variant variant);
// Whether a variant computes this spec at all: its weight layout and type.
INVAR_API bool suits(Variant variant, const MatmulSpec& spec);
// The variant that plan_matmul takes.
INVAR_API Variant choose(const MatmulSpec& spec);
// The call for the native entries of the cpu. Throws like plan_matmul, and Unsupported for a variant that this CPU or
// this spec does not allow.
INVAR_API KernelCall plan_native(const MatmulSpec& spec, Variant variant);

// Pointers of a launch whose sizes have been checked. workspace is aligned to at least 64 bytes.
struct Operands {
    const std::byte* x = nullptr;
    const std::byte* w = nullptr;
    std::byte* y = nullptr;
    const std::byte* bias = nullptr;      // or nullptr
    const std::byte* residual = nullptr;  // or nullptr
    std::byte* workspace = nullptr;
};

// Elements of a packed f32 row of x: whole pairs of the widest vectors, and a line more so that rows do not fall into
// the same cache sets.
constexpr std::int64_t packed_row(std::int64_t k) { return (k + 31) / 32 * 32 + 16; }
// f32 arithmetic reads x where it lies when that has the form of the packed copy: f32 in whole pairs of vectors, in the
// order of f32 and f16 weights.
constexpr bool x_in_place(const MatmulSpec& s) {
    return s.x == DType::f32 && (!s.w_transposed || (s.w != DType::bf16 && s.k % 32 == 0));
}
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b * b; }

void run_few(const MatmulSpec& s, const Operands& o, ThreadPool& pool);
void run_many(const MatmulSpec& s, const Operands& o, ThreadPool& pool);
void run_columns(const MatmulSpec& s, const Operands& o, ThreadPool& pool);
void run_bf16_dot(const MatmulSpec& s, const Operands& o, ThreadPool& pool);
void run_bf16_tile(const MatmulSpec& s, const Operands& o, ThreadPool& pool);
bool have_bf16_dot();
bool bf16_dot_is_fast();  // faster than f32 arithmetic: on AMD, not on Intel, where tiles are the fast way
bool have_bf16_tile();

// Throws InvalidArgument unless the specification makes sense.
void check_spec(const MatmulSpec& spec);
// The calls on a CUDA device, in portable C, and on a Metal device; the specification has been checked.
KernelCall plan_cuda(const Device& device, const MatmulSpec& spec);
KernelCall plan_linear_cuda(const LinearSpec& spec);
bool fuses_linear_cuda(const Device& device, const LinearSpec& spec);
// Few rows: the linear kernel, which takes no activation of one product along.
bool takes_rows_cuda(const Device& device, const MatmulSpec& spec);
// Whether the device's library takes the activation along: relu and the tanh form of gelu, where it gets the shape.
bool library_takes_activation(const Device& device, const MatmulSpec& spec);
// Whether anything does; and the call, by the product's way (kernels/cuda_tuning.h).
bool takes_activation_cuda(const Device& device, const MatmulSpec& spec);
KernelCall plan_activation_cuda(const Device& device, const MatmulSpec& spec);
void plan_portable(const Device& device, const MatmulSpec& spec, KernelCall& call);
KernelCall plan_metal(const Device& device, const MatmulSpec& spec);
KernelCall plan_linear_metal(const Device& device, const LinearSpec& spec);
bool fuses_linear_metal(const LinearSpec& spec);
// What sources have in common: the least bytes of the buffers, and the parameters of kernels for any product.
std::array<std::size_t, 12> buffers_of(const MatmulSpec& spec);
TileParams tile_params(const MatmulSpec& spec);
// A product by the vendor's library (LibraryRoutine "gemm").
KernelCall plan_library(const MatmulSpec& spec, std::size_t workspace_bytes);
// A plain product of few rows as one part.
LinearSpec as_linear(const MatmulSpec& spec);
// Whether a kernel for up to that many rows of x, parts end to end in its grid, could take this.
bool is_linear(const LinearSpec& spec, std::int64_t most_rows);
// Sets the parameters and the least bytes of the buffers; product_order: buffers as plan_matmul has them, y behind w.
void linear_arguments(const LinearSpec& spec, bool product_order, KernelCall& call);

// Stores sums[0, count) as y[b, i, j0 + ...] after adding bias and residual; sums are overwritten.
using FinishFunction = void (*)(const MatmulSpec& s, const Operands& o, std::int64_t b, std::int64_t i,
                                std::int64_t j0, std::int64_t count, float* sums);
// The one for this CPU's vectors.
FinishFunction finish_function();

}  // namespace invar::kernels::matmul
