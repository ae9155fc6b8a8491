// SPDX-License-Identifier: Apache-2.0
// Products on Metal: few rows stream the weights past them (linear), everything else goes to the matrices of SIMD-groups (gemm).
#include <algorithm>

#include "kernels/matmul/params.h"
#include "kernels/matmul/variants.h"
#include "kernels/metal_tuning.h"
#include "kernels/native.h"
#include "kernels/source.h"
#include "program/writer_dialect.h"

namespace invar::kernels {

extern const char* const kMatmulParams;
extern const char* const kMatmulMetalLinear;
extern const char* const kMatmulMetalGemm;

namespace matmul {
namespace {

constexpr std::int64_t kLinearRows = 8;       // the kernel is compiled for each number of rows up to this
constexpr std::int64_t kLinearThreads = 256;  // of a threadgroup: 8 SIMD-groups, enough to hide loads
// SIMD-groups that keep a large GPU's memory busy: some 16 for each of 64 cores. Products with fewer rows of weights are cut
// along k, by n and k alone, so that a result does not depend on the other rows of x.
constexpr std::int64_t kEnoughGroups = 1024;

// How the linear kernel reads: STREAMS, AT_ONCE and SPLIT of metal_linear.k.
struct Reading {
    int streams, loads, split;
};
Reading reading_of(const Device& device, const LinearSpec& s) {
    const MetalTuning tuning = metal_tuning(device);
    std::int64_t rows = 0;
    for (std::int32_t i = 0; i < s.parts; ++i) rows += s.n[i];
    Reading reading{rows >= 4 * kEnoughGroups ? tuning.streams : 2, tuning.loads, 1};
    // Two streams leave room for twice the loads, up to what registers hold.
    if (reading.streams < tuning.streams) reading.loads = std::min(2 * reading.loads, 4);
    const auto lanes = static_cast<std::int64_t>(16 / size_of(s.w));
    while (reading.split < 8 && rows / 2 * reading.split < kEnoughGroups &&
           s.k >= std::int64_t{4} * reading.split * 32 * lanes)
        reading.split *= 2;
    return reading;
}

KernelCall plan_rows(const Device& device, const LinearSpec& s, bool product_order) {
    const bool gated = s.gate != Gate::none;
    const Reading reading = reading_of(device, s);
    KernelCall call;
    // The functions behind the gates are those of the operators.
    call.module = metal_module("linear", {kNearFunctions, kMatmulParams, kMatmulMetalLinear},
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
                                {"STREAMS", digits(reading.streams)},
                                {"SPLIT", digits(reading.split)},
                                {"AT_ONCE", digits(reading.loads)}});
    call.entry = "linear";
    const std::int64_t unit = gated ? reading.streams / 2 : reading.streams;
    std::int64_t units = 0;
    for (std::int32_t i = 0; i < (gated ? 1 : s.parts); ++i) units += ceil_div(s.n[i], unit);
    const std::int64_t of_block = kLinearThreads / 32 / reading.split;
    call.config = {{static_cast<std::uint32_t>(ceil_div(units, of_block)), 1, 1},
                   {static_cast<std::uint32_t>(kLinearThreads), 1, 1},
                   0,
                   false};
    linear_arguments(s, product_order, call);
    return call;
}

KernelCall plan_gemm(const Device& device, const MatmulSpec& s) {
    const MetalTuning tuning = metal_tuning(device);
    const bool half = s.x == DType::f16 && s.w == DType::f16, few = s.m <= kMetalFewRows;
    const MetalGemmTile& tile =
        half ? (few ? tuning.half_few : tuning.half) : (few ? tuning.single_few : tuning.single);
    const int threads = 32 * tile.groups_m * tile.groups_n;
    KernelCall call;
    call.module = metal_module("gemm", {kMatmulParams, kMatmulMetalGemm},
                               {{"X", kernel_type(s.x)},
                                {"W", kernel_type(s.w)},
                                {"Y", kernel_type(s.y)},
                                {"B", kernel_type(s.has_bias ? s.bias : DType::f32)},
                                {"R", kernel_type(s.has_residual ? s.residual : DType::f32)},
                                {"A", half ? "f16" : "f32"},
                                {"TRANSPOSED", flag(s.w_transposed)},
                                {"BIAS", flag(s.has_bias)},
                                {"RESIDUAL", flag(s.has_residual)},
                                {"BM", digits(tile.m)},
                                {"BN", digits(tile.n)},
                                {"BK", digits(tile.k)},
                                {"WM", digits(tile.groups_m)},
                                {"WN", digits(tile.groups_n)},
                                {"THREADS", digits(threads)}});
    call.entry = "gemm";
    call.config = portable_launch(threads, ceil_div(s.n, tile.n), ceil_div(s.m, tile.m), s.batch);
    call.buffer_bytes = buffers_of(s);
    call.set_params(tile_params(s));
    return call;
}

// Where the user has asked for Apple's library: products of prompts that it takes as they are.
bool suits_library(const MatmulSpec& s) {
    return s.x == s.w && s.x == s.y && (s.x == DType::f16 || s.x == DType::f32) && !s.has_bias &&
           !s.has_residual && s.m > kMetalFewRows && s.n > 0 && s.k > 0 && s.x_row >= s.k && s.y_row >= s.n &&
           s.w_row >= (s.w_transposed ? s.k : s.n);
}

}  // namespace

bool fuses_linear_metal(const LinearSpec& s) { return is_linear(s, kLinearRows); }

KernelCall plan_linear_metal(const Device& device, const LinearSpec& s) {
    return plan_rows(device, s, false);
}

KernelCall plan_metal(const Device& device, const MatmulSpec& s) {
    if (device.supports(Feature::library) && suits_library(s)) return plan_library(s, 0);
    if (s.batch == 1 && s.w_transposed && fuses_linear_metal(as_linear(s)))
        return plan_rows(device, as_linear(s), true);
    return plan_gemm(device, s);
}

}  // namespace matmul
}  // namespace invar::kernels
