// SPDX-License-Identifier: Apache-2.0
// A model folder's config.json and generation_config.json as one struct, whatever spelling the file uses:
// that of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters), Llama's names or GPT-2's. Keys
// that a file leaves out take transformers' default for the model type. Every number is checked against a
// range, so that code above may multiply sizes without a second look.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <invar/dtype.h>
#include <invar/export.h>

namespace invar::io {

enum class RopeType { standard, linear, llama3 };

struct RopeConfig {
    RopeType type = RopeType::standard;
    double theta = 10000.0;
    double factor = 1.0;  // linear and llama3
    // llama3 only
    double low_freq_factor = 1.0;
    double high_freq_factor = 4.0;
    std::int64_t original_max_positions = 0;

    bool operator==(const RopeConfig&) const = default;
};

// generation_config.json; nothing where the file or the key is absent.
struct GenerationConfig {
    std::optional<std::int64_t> bos_id;
    std::vector<std::int64_t> eos_ids;
    std::optional<bool> do_sample;
    std::optional<double> temperature, top_p, min_p, repetition_penalty;
    std::optional<std::int64_t> top_k;

    bool operator==(const GenerationConfig&) const = default;
};

struct ModelConfig {
    std::string architecture;  // "LlamaForCausalLM"; derived from model_type where the file has none
    std::string model_type;    // "gpt2", "llama", "mistral", "qwen2", "qwen3"
    std::int64_t vocab_size = 0;
    std::int64_t hidden_size = 0;
    std::int64_t layers = 0;
    std::int64_t heads = 0;
    std::int64_t kv_heads = 0;  // divides heads
    std::int64_t head_dim = 0;  // heads * head_dim need not be hidden_size
    std::int64_t intermediate_size = 0;
    std::int64_t max_positions = 0;
    double norm_eps = 0;
    RopeConfig rope;  // GPT-2 has none: ignore it there
    // Layers whose attention sees only the last sliding_window tokens (itself included).
    std::optional<std::int64_t> sliding_window;
    std::vector<bool> layer_uses_window;  // (layers); all false without sliding_window
    bool tie_word_embeddings = false;
    bool qkv_bias = false;            // q, k and v projections have a bias
    bool attention_out_bias = false;  // the output projection has one
    bool mlp_bias = false;
    std::string hidden_act;  // "silu", "gelu_new", ...
    std::optional<std::int64_t> bos_id;
    std::vector<std::int64_t> eos_ids;
    std::optional<DType> dtype;  // in which the weights were saved, as the file claims
    GenerationConfig generation;

    // Tokens that end a generated text: those of generation_config.json, else those of config.json.
    const std::vector<std::int64_t>& stop_ids() const {
        return generation.eos_ids.empty() ? eos_ids : generation.eos_ids;
    }

    bool operator==(const ModelConfig&) const = default;
};

// json is the text of the file; file names it in errors. Throws FormatError (not JSON, a value of the wrong
// type or out of range: names file, key, value and range) or Unsupported (a model type, rope type or feature
// that is not there).
INVAR_API ModelConfig parse_model_config(std::string_view json, const std::string& file);
INVAR_API GenerationConfig parse_generation_config(std::string_view json, const std::string& file);

// FOLDER/config.json and, where there is one, FOLDER/generation_config.json. Throws IoError besides.
INVAR_API ModelConfig load_model_config(const std::filesystem::path& folder);

}  // namespace invar::io
