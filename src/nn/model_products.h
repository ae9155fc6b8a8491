// SPDX-License-Identifier: Apache-2.0
// The matrix products that a model of given sizes computes, for choosing how they run (tensor/product_tuning.h).
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "io/model_config.h"
#include "tensor/product_tuning.h"

namespace invar::nn {

// The sizes of one of Model::shapes(). Throws InvalidArgument that lists them.
INVAR_API io::ModelConfig shape_config(std::string_view shape);

// The products of these numbers of rows (tokens of a prompt, or sequences of a step), each once, with the bias, the residual
// and the activation that the model has there, and without its activation.
INVAR_API std::vector<ProductShape> products_of(const io::ModelConfig& config, DType dtype,
                                                std::span<const std::int64_t> rows);

}  // namespace invar::nn
