// SPDX-License-Identifier: Apache-2.0
// The Llama-type decoder.
#include "nn/decoder.h"

#include <invar/ops.h>

namespace invar::nn {

Decoder::Decoder(const BuildContext& context, const DecoderOptions& options)
    : config_(context.config), activation_(find_activation(context.config.hidden_act)) {
    const io::ModelConfig& c = config_;
    WeightSource& w = context.weights;
    const std::int64_t q_size = c.heads * c.head_dim, kv_size = c.kv_heads * c.head_dim;
    const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
        return Linear{w.get(name + ".weight", {out, in}), bias ? w.get(name + ".bias", {out}) : Tensor()};
    };
    embedding_ = w.get("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
    for (std::int64_t i = 0; i < c.layers; ++i) {
        const std::string p = "model.layers." + std::to_string(i) + ".";
        Layer l;
        l.attention_norm = w.get(p + "input_layernorm.weight", {c.hidden_size});
        l.q = linear(p + "self_attn.q_proj", q_size, c.hidden_size, c.qkv_bias);
        l.k = linear(p + "self_attn.k_proj", kv_size, c.hidden_size, c.qkv_bias);
        l.v = linear(p + "self_attn.v_proj", kv_size, c.hidden_size, c.qkv_bias);
        l.o = linear(p + "self_attn.o_proj", c.hidden_size, q_size, c.attention_out_bias);
        if (options.qk_norm) {
            l.q_norm = w.get(p + "self_attn.q_norm.weight", {c.head_dim});
            l.k_norm = w.get(p + "self_attn.k_norm.weight", {c.head_dim});
        }
        l.feed_forward_norm = w.get(p + "post_attention_layernorm.weight", {c.hidden_size});
        l.gate = linear(p + "mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
        l.up = linear(p + "mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
        l.down = linear(p + "mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
        if (c.sliding_window && c.layer_uses_window[static_cast<std::size_t>(i)])
            l.window = *c.sliding_window;
        layers_.push_back(std::move(l));
    }
    final_norm_ = w.get("model.norm.weight", {c.hidden_size});
    head_is_embedding = c.tie_word_embeddings;
    head = head_is_embedding ? embedding_ : w.get("lm_head.weight", {c.vocab_size, c.hidden_size});
    if (!head_is_embedding)
        lookup_bytes = static_cast<std::uint64_t>(embedding_.elements()) * size_of(embedding_.dtype());
    rope_ = make_rope_tables(c.rope, c.head_dim, context.positions, w.device());
}

Tensor Decoder::attend(const Layer& l, const Tensor& x, const ModelInputs& inputs, const Tensor& cos,
                       const Tensor& sin, State& cache) const {
    const Dim tokens = x.shape()[0];
    Tensor q = l.q(x).reshape({tokens, config_.heads, config_.head_dim});
    Tensor k = l.k(x).reshape({tokens, config_.kv_heads, config_.head_dim});
    const Tensor v = l.v(x).reshape({tokens, config_.kv_heads, config_.head_dim});
    if (l.q_norm.defined()) {
        q = rms_norm(q, l.q_norm, config_.norm_eps);
        k = rms_norm(k, l.k_norm, config_.norm_eps);
    }
    k = apply_rope(k, cos, sin);
    q = apply_rope(q, cos, sin);
    cache = kv_append(std::move(cache), k, v, inputs.kv);
    const Tensor y = attention(q, cache, inputs.kv, {.window = l.window});
    return l.o(y.reshape({tokens, config_.heads * config_.head_dim}));
}

Tensor Decoder::hidden(const ModelInputs& inputs, std::span<State> caches) const {
    Tensor h = gather(embedding_, inputs.tokens);
    const Tensor cos = gather(rope_.cos, inputs.positions), sin = gather(rope_.sin, inputs.positions);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const Layer& l = layers_[i];
        h = h + attend(l, rms_norm(h, l.attention_norm, config_.norm_eps), inputs, cos, sin, caches[i]);
        const Tensor x = rms_norm(h, l.feed_forward_norm, config_.norm_eps);
        const Tensor gate = l.gate(x), up = l.up(x);
        h = h + l.down(activation_(gate) * up);
    }
    return rms_norm(h, final_norm_, config_.norm_eps);
}

}  // namespace invar::nn
