// SPDX-License-Identifier: Apache-2.0
// What every model architecture offers, and the table of those that exist. An architecture is one file, written only
// with tensor operators; adding one is that file and a row of the table in architecture.cpp.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <invar/state.h>
#include <invar/tensor.h>

#include "io/model_config.h"
#include "nn/weights.h"

namespace invar::nn {

struct ModelInputs {
    Tensor tokens;     // (tokens) i32
    Tensor positions;  // (tokens) i32
    KvTokens kv;
};

class Architecture {
public:
    virtual ~Architecture() = default;
    // Runs the tokens through all layers; caches holds one state a layer, consumed and replaced.
    // -> (tokens, hidden) after the final norm.
    virtual Tensor hidden(const ModelInputs& inputs, std::span<State> caches) const = 0;
    // (rows, hidden) -> (rows, vocab) f32
    Tensor logits(const Tensor& hidden) const;

    // The matrix that turns hidden states into logits (vocab, hidden), and whether it is also the embedding.
    Tensor head;
    bool head_is_embedding = false;
    std::uint64_t lookup_bytes = 0;  // tables of which a token reads one row
};

// What building an architecture needs to know besides the weights.
struct BuildContext {
    const io::ModelConfig& config;
    WeightSource& weights;
    std::int64_t positions;  // rows of position tables
};

struct ArchitectureRow {
    const char* name;  // as in config.json
    std::unique_ptr<Architecture> (*build)(const BuildContext&);
};
std::span<const ArchitectureRow> architecture_table();
// Throws Unsupported that lists the table.
const ArchitectureRow& find_architecture(const std::string& name);

std::unique_ptr<Architecture> build_gpt2(const BuildContext&);
std::unique_ptr<Architecture> build_llama(const BuildContext&);
std::unique_ptr<Architecture> build_mistral(const BuildContext&);
std::unique_ptr<Architecture> build_qwen2(const BuildContext&);
std::unique_ptr<Architecture> build_qwen3(const BuildContext&);

}  // namespace invar::nn
