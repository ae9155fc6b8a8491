// SPDX-License-Identifier: Apache-2.0
// Reading config.json. What transformers assumes for a key that is left out stands in one table, a row a
// model type (configuration_*.py of transformers 4.57 and 5).
#include "io/model_config.h"

#include <array>

#include <invar/error.h>

#include "io/json.h"
#include "io/mapped_file.h"
#include "io/quote.h"

namespace invar::io {
namespace {

// Limits far above any model, and low enough that a product of three sizes and four bytes fits 63 bits.
constexpr std::int64_t kMaxVocab = 1 << 24;
constexpr std::int64_t kMaxHidden = 1 << 20;
constexpr std::int64_t kMaxIntermediate = 1 << 24;
constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxHeads = 1 << 16;
constexpr std::int64_t kMaxHeadDim = 1 << 13;
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 31;
constexpr std::int64_t kMaxTokenId = kMaxVocab - 1;
constexpr JsonLimits kLimits{1u << 20, 32};

constexpr std::int64_t kNone = -1;
constexpr std::int64_t kFromHeads = 0;  // kv_heads: as heads; head_dim: hidden_size / heads

struct ModelDefaults {
    std::string_view model_type, architecture;
    std::int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, positions;
    double norm_eps;
    std::string_view act;
    std::int64_t bos, eos;
    std::int64_t window;
    bool tie;
};
constexpr std::array<ModelDefaults, 5> kDefaults = {{
    {"gpt2", "GPT2LMHeadModel", 50257, 768, kFromHeads, 12, 12, kFromHeads, kFromHeads, 1024, 1e-5,
     "gelu_new", 50256, 50256, kNone, true},
    {"llama", "LlamaForCausalLM", 32000, 4096, 11008, 32, 32, kFromHeads, kFromHeads, 2048, 1e-6, "silu", 1,
     2, kNone, false},
    {"mistral", "MistralForCausalLM", 32000, 4096, 14336, 32, 32, 8, kFromHeads, 131072, 1e-6, "silu", 1, 2,
     4096, false},
    {"qwen2", "Qwen2ForCausalLM", 151936, 4096, 22016, 32, 32, 32, kFromHeads, 32768, 1e-6, "silu", kNone,
     kNone, 4096, false},
    {"qwen3", "Qwen3ForCausalLM", 151936, 4096, 22016, 32, 32, 32, 128, 32768, 1e-6, "silu", kNone, kNone,
     4096, false},
}};

const ModelDefaults& defaults_of(const JsonObject& json) {
    std::string known;
    const auto type = json.get_string("model_type");
    for (const ModelDefaults& d : kDefaults) {
        if (type == d.model_type) return d;
        known += (known.empty() ? "" : ", ") + std::string(d.model_type);
    }
    if (!type) json.fail_missing("model_type", "one of " + known);
    throw Unsupported(json.file + ": model type " + quote(*type) + " is not known; known: " + known);
}

void read_names(const JsonObject& json, const ModelDefaults& defaults, ModelConfig& c) {
    c.model_type = defaults.model_type;
    c.architecture = defaults.architecture;
    const auto* list = json.find("architectures");
    if (list == nullptr) return;
    if (!list->is_array()) json.fail("architectures", *list, "a list of names");
    if (list->empty()) return;
    if (!list->front().is_string()) json.fail("architectures", *list, "a list of names");
    c.architecture = list->front().get<std::string>();
}

// A size under its usual name or, in GPT-2's files, under GPT-2's.
std::int64_t read_size(const JsonObject& json, std::string_view name, std::string_view gpt2_name, bool gpt2,
                       std::int64_t high, std::int64_t fallback) {
    if (gpt2 && !gpt2_name.empty()) {
        if (const auto v = json.get_int(gpt2_name, 1, high)) return *v;
    }
    return json.get_int(name, 1, high).value_or(fallback);
}

void read_sizes(const JsonObject& json, const ModelDefaults& d, ModelConfig& c) {
    const bool gpt2 = d.model_type == "gpt2";
    c.vocab_size = read_size(json, "vocab_size", "", gpt2, kMaxVocab, d.vocab);
    c.hidden_size = read_size(json, "hidden_size", "n_embd", gpt2, kMaxHidden, d.hidden);
    c.layers = read_size(json, "num_hidden_layers", "n_layer", gpt2, kMaxLayers, d.layers);
    c.heads = read_size(json, "num_attention_heads", "n_head", gpt2, kMaxHeads, d.heads);
    c.max_positions =
        read_size(json, "max_position_embeddings", "n_positions", gpt2, kMaxPositions, d.positions);
    c.intermediate_size = read_size(json, gpt2 ? "n_inner" : "intermediate_size", "", gpt2, kMaxIntermediate,
                                    gpt2 ? 4 * c.hidden_size : d.intermediate);

    // An explicit null means "as heads" in every model type; a missing key takes the type's default.
    const bool kv_null = json.has("num_key_value_heads") && json.find("num_key_value_heads") == nullptr;
    c.kv_heads = d.kv_heads == kFromHeads || kv_null ? c.heads : d.kv_heads;
    if (!gpt2) c.kv_heads = json.get_int("num_key_value_heads", 1, kMaxHeads).value_or(c.kv_heads);
    if (c.heads % c.kv_heads != 0) {
        throw FormatError(json.file + ": 'num_key_value_heads' is " + std::to_string(c.kv_heads) +
                          "; it must divide 'num_attention_heads', which is " + std::to_string(c.heads));
    }

    const auto head_dim = gpt2 ? std::nullopt : json.get_int("head_dim", 1, kMaxHeadDim);
    const bool head_dim_null = json.has("head_dim") && json.find("head_dim") == nullptr;
    if (head_dim) {
        c.head_dim = *head_dim;
    } else if (d.head_dim != kFromHeads && !head_dim_null) {
        c.head_dim = d.head_dim;
    } else {
        if (c.hidden_size % c.heads != 0) {
            throw FormatError(json.file + (gpt2 ? ": 'n_embd' is " : ": 'hidden_size' is ") +
                              std::to_string(c.hidden_size) + "; it must be a multiple of the " +
                              std::to_string(c.heads) + " attention heads");
        }
        c.head_dim = c.hidden_size / c.heads;
        if (c.head_dim > kMaxHeadDim) {
            throw FormatError(json.file + ": a head has " + std::to_string(c.head_dim) +
                              " dimensions; from 1 to " + std::to_string(kMaxHeadDim) + " are accepted");
        }
    }
    if (!gpt2 && c.head_dim % 2 != 0) {
        throw FormatError(json.file + ": 'head_dim' is " + std::to_string(c.head_dim) +
                          "; it must be even for rotary positions");
    }
    if (c.heads * c.head_dim > kMaxIntermediate) {
        throw FormatError(json.file + ": " + std::to_string(c.heads) + " heads of " +
                          std::to_string(c.head_dim) + " dimensions are more than the limit of " +
                          std::to_string(kMaxIntermediate));
    }
    c.norm_eps =
        json.get_number(gpt2 ? "layer_norm_epsilon" : "rms_norm_eps", 1e-20, 1.0).value_or(d.norm_eps);
}

void require_whole_rotation(const JsonObject& json) {
    const auto partial = json.get_number("partial_rotary_factor", 0.0, 1.0);
    if (partial && *partial != 1.0) {
        throw Unsupported(json.file + ": '" + json.path + "partial_rotary_factor' is " +
                          std::to_string(*partial) + "; only 1 is supported");
    }
}

void read_rope(const JsonObject& json, ModelConfig& c) {
    constexpr double kMaxTheta = 1e12, kMaxFactor = 1e6;
    RopeConfig& rope = c.rope;
    require_whole_rotation(json);
    rope.theta = json.get_number("rope_theta", 1.0, kMaxTheta).value_or(rope.theta);
    // transformers 5 lets a rope_scaling that is there win over rope_parameters.
    const auto scaling = json.get_object("rope_scaling");
    const auto p = scaling && !scaling->object.empty() ? scaling : json.get_object("rope_parameters");
    if (!p || p->object.empty()) return;
    require_whole_rotation(*p);
    for (const auto& [key, value] : p->object.items()) {
        if (value.is_object()) {
            throw Unsupported(json.file + ": '" + p->path + key.substr(0, 100) +
                              "' gives a layer type its own rotary positions, which is not supported");
        }
    }
    rope.theta = p->get_number("rope_theta", 1.0, kMaxTheta).value_or(rope.theta);
    const char* type_key = p->find("rope_type") != nullptr ? "rope_type" : "type";
    const std::string type = p->get_string(type_key).value_or("default");
    if (type == "default") return;
    if (type != "linear" && type != "llama3") {
        throw Unsupported(json.file + ": '" + p->path + type_key + "' is " + quote(type) +
                          "; supported: default, linear, llama3");
    }
    const auto need = [&p](std::string_view key, double low, double high) {
        const auto v = p->get_number(key, low, high);
        if (!v) p->fail_missing(key, "a number");
        return *v;
    };
    rope.type = type == "linear" ? RopeType::linear : RopeType::llama3;
    rope.factor = need("factor", 1.0, kMaxFactor);
    if (rope.type == RopeType::linear) return;
    rope.low_freq_factor = need("low_freq_factor", 1e-6, kMaxFactor);
    rope.high_freq_factor = need("high_freq_factor", 1e-6, kMaxFactor);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
        p->fail("high_freq_factor", *p->find("high_freq_factor"), "greater than low_freq_factor");
    }
    constexpr std::string_view kOriginal = "original_max_position_embeddings";
    const auto outer = json.get_int(kOriginal, 1, kMaxPositions);
    const auto inner = p->get_int(kOriginal, 1, kMaxPositions);
    rope.original_max_positions = outer ? *outer : inner.value_or(c.max_positions);
}

void read_window(const JsonObject& json, const ModelDefaults& d, ModelConfig& c) {
    const auto layers = static_cast<std::size_t>(c.layers);
    c.layer_uses_window.assign(layers, false);
    if (d.window == kNone) return;
    const bool qwen = d.model_type != "mistral";
    const bool is_null = json.has("sliding_window") && json.find("sliding_window") == nullptr;
    if (qwen && !json.get_bool("use_sliding_window").value_or(false)) {
        return;  // then the other keys mean nothing, and files carry all sorts of values there
    }
    if (is_null) return;
    c.sliding_window = json.get_int("sliding_window", 1, kMaxPositions).value_or(d.window);
    if (!qwen) {
        c.layer_uses_window.assign(layers, true);
        return;
    }
    if (const auto* types = json.find("layer_types")) {
        if (!types->is_array() || types->size() != layers) {
            json.fail("layer_types", *types, "a list of " + std::to_string(c.layers) + " names, one a layer");
        }
        for (std::size_t i = 0; i < layers; ++i) {
            const auto& type = (*types)[i];
            const std::string* name = type.get_ptr<const std::string*>();
            if (name == nullptr || (*name != "sliding_attention" && *name != "full_attention")) {
                json.fail("layer_types", type, "made of sliding_attention and full_attention");
            }
            c.layer_uses_window[i] = *name == "sliding_attention";
        }
        return;
    }
    const std::int64_t first = json.get_int("max_window_layers", 0, kMaxLayers).value_or(28);
    for (std::size_t i = 0; i < layers; ++i) c.layer_uses_window[i] = static_cast<std::int64_t>(i) >= first;
}

std::vector<std::int64_t> read_ids(const JsonObject& json, std::string_view key, std::int64_t fallback) {
    const auto* v = json.find(key);
    if (v == nullptr) {
        return json.has(key) || fallback == kNone ? std::vector<std::int64_t>{} : std::vector{fallback};
    }
    const std::string want = "a token id from 0 to " + std::to_string(kMaxTokenId) + " or a list of them";
    std::vector<std::int64_t> ids;
    const auto add = [&](const nlohmann::json& id) {
        if (!id.is_number_unsigned() || id.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxTokenId)) {
            json.fail(key, *v, want);
        }
        ids.push_back(id.get<std::int64_t>());
    };
    if (!v->is_array()) {
        add(*v);
    } else {
        if (v->size() > 1024) json.fail(key, *v, "at most 1024 ids");
        for (const auto& id : *v) add(id);
    }
    return ids;
}

void read_rest(const JsonObject& json, const ModelDefaults& d, ModelConfig& c) {
    const bool gpt2 = d.model_type == "gpt2";
    c.tie_word_embeddings = json.get_bool("tie_word_embeddings").value_or(d.tie);
    c.hidden_act = json.get_string(gpt2 ? "activation_function" : "hidden_act").value_or(std::string(d.act));
    if (d.model_type == "llama" || d.model_type == "qwen3") {
        c.qkv_bias = c.attention_out_bias = json.get_bool("attention_bias").value_or(false);
    } else {
        c.qkv_bias = gpt2 || d.model_type == "qwen2";
        c.attention_out_bias = gpt2;
    }
    c.mlp_bias = gpt2 || (d.model_type == "llama" && json.get_bool("mlp_bias").value_or(false));

    const auto bos = json.get_int("bos_token_id", 0, kMaxTokenId);
    c.bos_id = bos || json.has("bos_token_id") || d.bos == kNone ? bos : std::optional(d.bos);
    c.eos_ids = read_ids(json, "eos_token_id", d.eos);

    const char* dtype_key = json.find("dtype") != nullptr ? "dtype" : "torch_dtype";
    if (const auto name = json.get_string(dtype_key)) {
        const std::string_view n = name->starts_with("torch.") ? std::string_view(*name).substr(6) : *name;
        if (n == "float32") {
            c.dtype = DType::f32;
        } else if (n == "float16") {
            c.dtype = DType::f16;
        } else if (n == "bfloat16") {
            c.dtype = DType::bf16;
        } else if (n != "auto") {
            throw Unsupported(json.file + ": '" + dtype_key + "' is " + quote(*name) +
                              "; supported: float32, float16, bfloat16");
        }
    }
}

void refuse_features(const JsonObject& json, const ModelDefaults& d) {
    if (json.find("quantization_config") != nullptr) {
        throw Unsupported(json.file +
                          ": has a 'quantization_config'; quantised folders are not supported, use the " +
                          "model's float weights");
    }
    if (d.model_type != "gpt2") return;
    const auto must_be = [&json](const char* key, bool want) {
        if (json.get_bool(key).value_or(want) != want) {
            throw Unsupported(json.file + ": '" + key + "' is " + (want ? "false" : "true") + "; only " +
                              (want ? "true" : "false") + " is supported");
        }
    };
    must_be("scale_attn_weights", true);
    must_be("scale_attn_by_inverse_layer_idx", false);
    must_be("add_cross_attention", false);
}

}  // namespace

ModelConfig parse_model_config(std::string_view text, const std::string& file) {
    const JsonDocument document = parse_json(text, file, kLimits);
    const JsonObject json = json_root(document);
    const ModelDefaults& defaults = defaults_of(json);
    ModelConfig config;
    read_names(json, defaults, config);
    refuse_features(json, defaults);
    read_sizes(json, defaults, config);
    if (config.model_type != "gpt2") read_rope(json, config);
    read_window(json, defaults, config);
    read_rest(json, defaults, config);
    return config;
}

GenerationConfig parse_generation_config(std::string_view text, const std::string& file) {
    const JsonDocument document = parse_json(text, file, kLimits);
    const JsonObject json = json_root(document);
    GenerationConfig g;
    g.bos_id = json.get_int("bos_token_id", 0, kMaxTokenId);
    g.eos_ids = read_ids(json, "eos_token_id", kNone);
    g.do_sample = json.get_bool("do_sample");
    g.temperature = json.get_number("temperature", 0.0, 1e4);
    g.top_k = json.get_int("top_k", -1, kMaxVocab);  // -1 and 0: off
    g.top_p = json.get_number("top_p", 0.0, 1.0);
    g.min_p = json.get_number("min_p", 0.0, 1.0);
    g.repetition_penalty = json.get_number("repetition_penalty", 1e-3, 1e3);
    return g;
}

ModelConfig load_model_config(const std::filesystem::path& folder) {
    std::error_code error;
    const auto path = folder / "config.json";
    if (!std::filesystem::exists(path, error)) {
        throw IoError(folder.string() + (std::filesystem::is_directory(folder, error)
                                             ? ": has no config.json; give the folder of a model"
                                             : ": no such folder"));
    }
    ModelConfig config = parse_model_config(read_text_file(path, kLimits.max_bytes), path.string());
    const auto generation = folder / "generation_config.json";
    if (std::filesystem::exists(generation, error)) {
        config.generation =
            parse_generation_config(read_text_file(generation, kLimits.max_bytes), generation.string());
    }
    return config;
}

}  // namespace invar::io
