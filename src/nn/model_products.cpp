// SPDX-License-Identifier: Apache-2.0
// Lists the products of a decoder.
#include "nn/model_products.h"

namespace invar::nn {
namespace {

kernels::Gate activation_of(const io::ModelConfig& c) {
    if (c.hidden_act == "gelu") return kernels::Gate::gelu;
    if (c.hidden_act == "relu") return kernels::Gate::relu;
    if (c.hidden_act.starts_with("gelu"))
        return kernels::Gate::gelu_tanh;  // gelu_new, gelu_pytorch_tanh, ...
    return kernels::Gate::none;
}

}  // namespace

std::vector<ProductShape> products_of(const io::ModelConfig& c, DType dtype,
                                      std::span<const std::int64_t> rows) {
    const std::int64_t inner = c.heads * c.head_dim, of_cache = c.kv_heads * c.head_dim;
    const bool gpt2 =
        c.model_type == "gpt2";  // all of its projections have a bias; no product of it is gated
    std::vector<ProductShape> all;
    const auto add = [&](std::int64_t m, std::int64_t n, std::int64_t k, bool bias, bool residual,
                         kernels::Gate activation = kernels::Gate::none) {
        const ProductShape shape{dtype, m, n, k, bias, residual, false, activation};
        for (const ProductShape& s : all)
            if (s.m == m && s.n == n && s.k == k && s.bias == bias && s.residual == residual &&
                s.activation == activation)
                return;
        all.push_back(shape);
    };
    for (const std::int64_t m : rows) {
        add(m, inner, c.hidden_size, gpt2 || c.qkv_bias, false);
        add(m, of_cache, c.hidden_size, gpt2 || c.qkv_bias, false);
        add(m, c.hidden_size, inner, gpt2 || c.attention_out_bias, true);
        add(m, c.intermediate_size, c.hidden_size, gpt2 || c.mlp_bias, false);
        if (gpt2 && activation_of(c) != kernels::Gate::none)
            add(m, c.intermediate_size, c.hidden_size, true, false, activation_of(c));
        add(m, c.hidden_size, c.intermediate_size, gpt2 || c.mlp_bias, true);
        all.push_back({dtype, m, c.vocab_size, c.hidden_size, false, false, true});
    }
    return all;
}

}  // namespace invar::nn
