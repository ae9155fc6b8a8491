// SPDX-License-Identifier: Apache-2.0
// The choice by measurement of how a product runs on a device: which algorithm of the vendor's library, and what takes the
// activation behind it along (kernels/cuda_tuning.h). It changes the bits of results, so it is made only where somebody asks: by
// `invar bench kernels --tune`, or by this call.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <invar/tensor.h>

#include "device/services.h"
#include "kernels/matmul/family.h"

namespace invar {

// activation(x w' + bias) + residual: x (m, k), w (n, k), dense. There is no activation behind a residual or
// an f32 result of 16-bit operands.
struct ProductShape {
    DType dtype = DType::f16;
    std::int64_t m = 0, n = 0, k = 0;
    bool bias = false, residual = false, f32_result = false;
    kernels::Gate activation = kernels::Gate::none;
};

struct MeasuredWay {
    std::string name;    // "a step of its own", "the library's epilogue", "tile 128x128 ..."
    double seconds = 0;  // of product and activation; infinite where it failed
};

struct TunedProduct {
    // Algorithms for the product without its activation, and with it where the library has it.
    std::optional<GemmSearch> product, epilogue;
    std::vector<MeasuredWay> ways;   // where there is an activation
    std::size_t used = 0, best = 0;  // of the ways: the one until now, and the fastest
};

// The name under which tables show a shape: "512x4096x4096 f16 bias gelu" (m x n x k).
INVAR_API std::string to_string(const ProductShape& shape);

// Measures what there is to choose for this product. keep: what is found fastest is used from now on and by later processes;
// functions that were compiled before take it where they launch the product anew, and replay what they have captured. Nothing is measured, and the result is empty, on devices that leave no choice. The executor's
// stream must be idle. Throws OutOfMemory, LaunchFailed.
INVAR_API TunedProduct tune_product(const std::shared_ptr<Device>& device, const ProductShape& shape,
                                    bool keep);

}  // namespace invar
