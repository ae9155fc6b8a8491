// SPDX-License-Identifier: Apache-2.0
// Layers that several architectures share, written with tensor operators.
#pragma once

#include <string>

#include <invar/tensor.h>

#include "io/model_config.h"

namespace invar::nn {

struct Linear {
    Tensor weight;  // (out, in)
    Tensor bias;    // (out) or undefined
    Tensor operator()(const Tensor& x) const;
};

// Rotary position embedding (Su et al. 2021) over the two halves of a head, as transformers lays it out.
struct RopeTables {
    Tensor cos, sin;  // (positions, head_dim / 2) f32
};
// Frequencies by type: standard, linear, llama3 (the scaling of Llama 3.1). Angles are f32 products, as in transformers.
INVAR_API RopeTables make_rope_tables(const io::RopeConfig& rope, std::int64_t head_dim,
                                      std::int64_t positions, const std::shared_ptr<Device>& device);
// x (tokens, heads, head_dim); cos and sin (tokens, head_dim / 2), the rows of the tokens' positions.
INVAR_API Tensor apply_rope(const Tensor& x, const Tensor& cos, const Tensor& sin);

// The activation of that name in config.json; throws Unsupported listing those that exist.
using Activation = Tensor (*)(const Tensor&);
INVAR_API Activation find_activation(const std::string& name);

}  // namespace invar::nn
