// SPDX-License-Identifier: Apache-2.0
// The decoder that Llama and its relatives are: RMS norm, rotary grouped attention, gated feed-forward, each layer with
// two residual sums (Touvron et al. 2023). The architectures' own files say what each adds or leaves out.
#pragma once

#include <memory>
#include <vector>

#include "nn/architecture.h"
#include "nn/layers.h"

namespace invar::nn {

struct DecoderOptions {
    bool qk_norm = false;  // RMS norm of each head of q and k before the rotation
};

class Decoder final : public Architecture {
public:
    Decoder(const BuildContext& context, const DecoderOptions& options);
    Tensor hidden(const ModelInputs& inputs, std::span<State> caches) const override;

private:
    struct Layer {
        Tensor attention_norm, feed_forward_norm;  // (hidden)
        Linear q, k, v, o;
        Tensor q_norm, k_norm;  // (head_dim) or undefined
        Linear gate, up, down;
        std::int64_t window = 0;
    };
    Tensor attend(const Layer& layer, const Tensor& x, const ModelInputs& inputs, const Tensor& cos,
                  const Tensor& sin, State& cache) const;

    io::ModelConfig config_;
    Tensor embedding_;  // (vocab, hidden)
    Tensor final_norm_;
    RopeTables rope_;
    Activation activation_;
    std::vector<Layer> layers_;
};

}  // namespace invar::nn
