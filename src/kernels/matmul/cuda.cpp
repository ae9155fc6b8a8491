// SPDX-License-Identifier: Apache-2.0
// Products on CUDA: few rows stream the weights past them (linear), large products go to the vendor's library where it
// takes them, everything else to the tile kernel. What takes activations along is in cuda_gemm.cpp.
#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "device/routines.h"
#include "kernels/cuda_tuning.h"
#include "kernels/matmul/params.h"
#include "kernels/matmul/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kMatmulParams;
extern const char* const kMatmulCudaLinear;
extern const char* const kMatmulCudaTile;

namespace matmul {
namespace {

constexpr std::int64_t kLinearRows = 8;  // the kernel is compiled for each number of rows up to this
constexpr std::int64_t kLinearRowsBesideLibrary = 3;
constexpr std::int64_t kLinearThreads = 256;  // of a block; a warp takes a row of the weights
constexpr std::int64_t kTile = 64;
// The normed rows of x that a block of the linear kernel keeps in shared memory, bytes.
constexpr std::int64_t kMaxNormed = std::int64_t{64} << 10;
constexpr std::uint32_t kMaxGridYz = 65535;

// What the library takes with its fast kernels: one type, rows that begin at multiples of 16 bytes.
bool suits_library(const MatmulSpec& s) {
    if (s.x != s.w || (s.y != s.x && s.y != DType::f32)) return false;
    if ((s.has_bias && s.bias != s.y) || (s.has_residual && s.residual != s.y)) return false;
    if (s.batch < 1 || s.m < 1 || s.n < 1 || s.k < 1 || s.batch > INT32_MAX) return false;
    const auto lanes = static_cast<std::int64_t>(16 / size_of(s.x));
    for (const std::int64_t v : {s.k, s.n, s.w_row, s.m > 1 ? s.x_row : 0, s.m > 1 ? s.y_row : 0,
                                 s.has_residual && s.m > 1 ? s.residual_row : 0})
        if (v % lanes != 0) return false;
    if (s.batch > 1 && (s.x_batch % lanes || s.w_batch % lanes || s.y_batch % lanes)) return false;
    // Rows that overlap or repeat are no matrix of the library's.
    return s.w_row >= (s.w_transposed ? s.k : s.n) && (s.m == 1 || (s.x_row >= s.k && s.y_row >= s.n)) &&
           (!s.has_residual || s.m == 1 || s.residual_row >= s.n);
}

KernelCall plan_tile(const MatmulSpec& s) {
    KernelCall call;
    call.module = cuda_module("matmul", {kMatmulParams, kMatmulCudaTile},
                              {{"X", kernel_type(s.x)},
                               {"W", kernel_type(s.w)},
                               {"Y", kernel_type(s.y)},
                               {"B", kernel_type(s.has_bias ? s.bias : DType::f32)},
                               {"R", kernel_type(s.has_residual ? s.residual : DType::f32)},
                               {"TRANSPOSED", flag(s.w_transposed)},
                               {"BIAS", flag(s.has_bias)},
                               {"RESIDUAL", flag(s.has_residual)}});
    call.entry = "tile";
    const auto at_most = [](std::int64_t blocks) {
        return static_cast<std::uint32_t>(std::clamp<std::int64_t>(blocks, 1, kMaxGridYz));
    };
    call.config = {
        cuda_grid(ceil_div(s.n, kTile), at_most(ceil_div(s.m, kTile)), at_most(s.batch)), {256}, 0, true};
    call.buffer_bytes = buffers_of(s);
    call.set_params(tile_params(s));
    return call;
}

// How the linear kernel reads: rows of the weights that a warp forms at once, 16-byte loads in flight for each, and warps
// that share a row. Measured on an H200 (docs/performance.md): one wave of about half the warps that it holds, each with
// four loads in flight, reads fastest; long products are cut into rows alone.
struct Reading {
    int weight_rows, loads, split;
};
constexpr std::int64_t kWarpsOfWave = 4096;
Reading reading_of(const LinearSpec& s) {
    if (s.gate != Gate::none) return {2, s.m > 1 ? 2 : 4, 1};
    if (s.m > 2) return {1, 2, 1};
    std::int64_t rows = 0;
    bool even = true;
    for (std::int32_t i = 0; i < s.parts; ++i) {
        rows += s.n[i];
        even = even && s.n[i] % 2 == 0;
    }
    if (rows > 2 * kWarpsOfWave || s.k < 1024) return {1, 4, 1};
    if (!even) return {1, 4, rows < kWarpsOfWave ? 2 : 1};
    return {2, 2, rows < kWarpsOfWave ? 4 : 2};
}

// Pieces of x that a thread keeps while the norm is formed; 0 where they would be too many registers.
int norm_vectors(const LinearSpec& s) {
    if (!s.has_norm || s.x != s.norm_weight) return 0;
    const std::int64_t pieces = ceil_div(s.k, kLinearThreads * static_cast<std::int64_t>(16 / size_of(s.x)));
    return pieces <= 4 ? static_cast<int>(pieces) : 0;
}

// product_order: buffers as plan_matmul has them, y behind w.
KernelCall plan_rows(const LinearSpec& s, bool product_order) {
    const bool gated = s.gate != Gate::none;
    const Reading reading = reading_of(s);
    KernelCall call;
    call.module = cuda_module("linear", {kMatmulParams, kMatmulCudaLinear},
                              {{"X", kernel_type(s.x)},
                               {"W", kernel_type(s.w)},
                               {"Y", kernel_type(s.y)},
                               {"B", kernel_type(s.has_bias ? s.bias : DType::f32)},
                               {"R", kernel_type(s.has_residual ? s.residual : DType::f32)},
                               {"G", kernel_type(s.has_norm ? s.norm_weight : DType::f32)},
                               {"ROWS", digits(s.m)},
                               {"PARTS", digits(s.parts)},
                               {"NORM", flag(s.has_norm)},
                               {"BIAS", flag(s.has_bias)},
                               {"RESIDUAL", flag(s.has_residual)},
                               {"ACTIVATION", digits(static_cast<int>(s.gate))},
                               {"PRODUCT_ORDER", flag(product_order)},
                               {"WEIGHT_ROWS", digits(reading.weight_rows)},
                               {"UNROLL", digits(reading.loads)},
                               {"SPLIT", digits(reading.split)},
                               {"NORM_VECTORS", digits(norm_vectors(s))}});
    call.entry = "linear";
    std::int64_t rows = s.n[0];
    for (std::int32_t i = 1; i < s.parts && !gated; ++i) rows += s.n[i];
    const std::int64_t normed = s.has_norm ? s.m * s.k * static_cast<std::int64_t>(size_of(s.x)) : 0;
    const std::int64_t of_block = kLinearThreads / 32 / reading.split * (gated ? 1 : reading.weight_rows);
    call.config = {cuda_grid(ceil_div(rows, of_block)),
                   {static_cast<std::uint32_t>(kLinearThreads)},
                   static_cast<std::uint32_t>(normed),
                   true};
    linear_arguments(s, product_order, call);
    return call;
}

}  // namespace

bool fuses_linear_cuda(const Device& device, const LinearSpec& s) {
    // Tensor cores win as soon as a weight meets a few rows, where the library takes the shape.
    bool library = device.supports(Feature::library) && size_of(s.w) == 2 && s.x == s.w && s.k % 8 == 0;
    for (std::int32_t i = 0; i < std::min(s.parts, kMaxLinearParts); ++i)
        library = library && s.n[i] % 8 == 0;
    if (!is_linear(s, library ? kLinearRowsBesideLibrary : kLinearRows)) return false;
    const auto normed = try_mul<std::int64_t>(s.m * static_cast<std::int64_t>(size_of(s.x)), s.k);
    return normed && (!s.has_norm || *normed <= kMaxNormed);
}

bool takes_rows_cuda(const Device& device, const MatmulSpec& s) {
    return s.batch == 1 && s.w_transposed && fuses_linear_cuda(device, as_linear(s));
}

bool library_takes_activation(const Device& device, const MatmulSpec& s) {
    MatmulSpec some = s;  // of no rows nothing is computed
    some.m = std::max<std::int64_t>(s.m, 1);
    return is_cuda(device) && !s.has_residual &&
           (s.activation == Gate::relu || s.activation == Gate::gelu_tanh) &&
           device.supports(Feature::library) && suits_library(some);
}

KernelCall plan_linear_cuda(const LinearSpec& s) { return plan_rows(s, false); }

KernelCall plan_cuda(const Device& device, const MatmulSpec& s) {
    if (s.activation != Gate::none && s.m > 0) return plan_activation_cuda(device, s);
    if (s.activation == Gate::none && takes_rows_cuda(device, s)) return plan_rows(as_linear(s), true);
    if (device.supports(Feature::library) && suits_library(s)) return plan_library(s, kGemmWorkspaceBytes);
    return plan_tile(s);
}

}  // namespace matmul

std::optional<GemmSearch> search_library(Device& device, const MatmulSpec& s, bool keep) {
    GemmTuner* tuner = is_cuda(device) ? device.gemm_tuner() : nullptr;
    if (!tuner || !matmul::suits_library(s) ||
        (s.activation != Gate::none && !matmul::library_takes_activation(device, s)))
        return std::nullopt;
    GemmParams params;
    const KernelCall call = matmul::plan_library(s, kGemmWorkspaceBytes);
    std::memcpy(static_cast<void*>(&params), call.params().data(), sizeof params);
    return tuner->search(params, keep);
}

}  // namespace invar::kernels
