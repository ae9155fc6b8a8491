// SPDX-License-Identifier: Apache-2.0
// GPT-2 (Radford et al. 2019): learned positions, layer norm before each part, one product for q, k and v, weights
// stored (in, out) and turned while loading.
#include <invar/ops.h>

#include "nn/architecture.h"
#include "nn/layers.h"

namespace invar::nn {
namespace {

struct Norm {
    Tensor weight, bias;
};

class Gpt2 final : public Architecture {
public:
    explicit Gpt2(const BuildContext& context)
        : config_(context.config), activation_(find_activation(context.config.hidden_act)) {
        const io::ModelConfig& c = config_;
        WeightSource& w = context.weights;
        // Files saved from the bare model lack the prefix.
        const std::string root = w.contains("transformer.wte.weight") ? "transformer." : "";
        const std::int64_t h = c.hidden_size;
        const auto conv = [&](const std::string& name, std::int64_t in, std::int64_t out) {
            return Linear{w.get_transposed(name + ".weight", in, out), w.get(name + ".bias", {out})};
        };
        const auto norm = [&](const std::string& name) {
            return Norm{w.get(name + ".weight", {h}), w.get(name + ".bias", {h})};
        };
        tokens_ = w.get(root + "wte.weight", {c.vocab_size, h});
        positions_ = w.get(root + "wpe.weight", {c.max_positions, h});
        for (std::int64_t i = 0; i < c.layers; ++i) {
            const std::string p = root + "h." + std::to_string(i) + ".";
            layers_.push_back({norm(p + "ln_1"), norm(p + "ln_2"), conv(p + "attn.c_attn", h, 3 * h),
                               conv(p + "attn.c_proj", h, h), conv(p + "mlp.c_fc", h, c.intermediate_size),
                               conv(p + "mlp.c_proj", c.intermediate_size, h)});
        }
        final_ = norm(root + "ln_f");
        head_is_embedding = c.tie_word_embeddings;
        lookup_bytes = static_cast<std::uint64_t>(positions_.elements()) * size_of(positions_.dtype());
        if (!head_is_embedding)
            lookup_bytes += static_cast<std::uint64_t>(tokens_.elements()) * size_of(tokens_.dtype());
        head = head_is_embedding ? tokens_ : w.get("lm_head.weight", {c.vocab_size, h});
    }

    Tensor hidden(const ModelInputs& inputs, std::span<State> caches) const override {
        const Tensor token = gather(tokens_, inputs.tokens), position = gather(positions_, inputs.positions);
        Tensor h = token + position;
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const Layer& l = layers_[i];
            h = h + attend(l, normalize(h, l.attention_norm), inputs, caches[i]);
            h = h + l.down(activation_(l.up(normalize(h, l.feed_forward_norm))));
        }
        return normalize(h, final_);
    }

private:
    struct Layer {
        Norm attention_norm, feed_forward_norm;
        Linear qkv, out, up, down;
    };

    Tensor normalize(const Tensor& x, const Norm& n) const {
        return layer_norm(x, n.weight, n.bias, config_.norm_eps);
    }

    Tensor attend(const Layer& l, const Tensor& x, const ModelInputs& inputs, State& cache) const {
        const Dim tokens = x.shape()[0];
        const Shape by_head{tokens, config_.heads, config_.head_dim};
        const std::vector<Tensor> qkv = split(l.qkv(x), 3, 1);
        cache = kv_append(std::move(cache), qkv[1].reshape(by_head), qkv[2].reshape(by_head), inputs.kv);
        const Tensor y = attention(qkv[0].reshape(by_head), cache, inputs.kv);
        return l.out(y.reshape({tokens, config_.hidden_size}));
    }

    io::ModelConfig config_;
    Activation activation_;
    Tensor tokens_, positions_;  // (vocab, hidden), (max positions, hidden)
    Norm final_;
    std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Architecture> build_gpt2(const BuildContext& context) {
    return std::make_unique<Gpt2>(context);
}

}  // namespace invar::nn
