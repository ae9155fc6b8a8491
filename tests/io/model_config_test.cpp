// SPDX-License-Identifier: Apache-2.0
// config.json in both spellings, the defaults of each model type, and values that no model has.
#include "io/model_config.h"

#include <algorithm>

#include <invar/error.h>

#include "io/checkpoint.h"
#include "io/files.h"

namespace invar::io {
namespace {

using test::expect_error;
using test::TempFolder;

ModelConfig parse(const std::string& json) { return parse_model_config(json, "config.json"); }
// {"model_type": TYPE, REST}
ModelConfig of(const std::string& type, const std::string& rest = "") {
    return parse("{\"model_type\":\"" + type + "\"" + (rest.empty() ? "" : "," + rest) + "}");
}
void expect_refused(const std::string& type, const std::string& rest,
                    std::initializer_list<std::string> texts) {
    SCOPED_TRACE(rest);
    expect_error<FormatError>([&] { of(type, rest); }, {"config.json: "});
    expect_error<FormatError>([&] { of(type, rest); }, texts);
}
std::ptrdiff_t windowed(const ModelConfig& c) {
    return std::count(c.layer_uses_window.begin(), c.layer_uses_window.end(), true);
}

TEST(ModelConfig, Version4Spelling) {
    const ModelConfig c =
        of("llama", R"("architectures":["LlamaForCausalLM"],"vocab_size":128256,"hidden_size":2048,
        "num_hidden_layers":16,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":64,
        "intermediate_size":8192,"max_position_embeddings":131072,"rms_norm_eps":1e-05,"rope_theta":500000.0,
        "rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
        "original_max_position_embeddings":8192,"rope_type":"llama3"},"tie_word_embeddings":true,
        "torch_dtype":"bfloat16","bos_token_id":128000,"eos_token_id":[128001,128008,128009],"hidden_act":"silu")");
    EXPECT_EQ(c.architecture, "LlamaForCausalLM");
    EXPECT_EQ(c.vocab_size, 128256);
    EXPECT_EQ(c.hidden_size, 2048);
    EXPECT_EQ(c.layers, 16);
    EXPECT_EQ(c.heads, 32);
    EXPECT_EQ(c.kv_heads, 8);
    EXPECT_EQ(c.head_dim, 64);
    EXPECT_EQ(c.intermediate_size, 8192);
    EXPECT_EQ(c.max_positions, 131072);
    EXPECT_EQ(c.norm_eps, 1e-5);
    EXPECT_EQ(c.rope.type, RopeType::llama3);
    EXPECT_EQ(c.rope.theta, 500000.0);
    EXPECT_EQ(c.rope.factor, 32.0);
    EXPECT_EQ(c.rope.low_freq_factor, 1.0);
    EXPECT_EQ(c.rope.high_freq_factor, 4.0);
    EXPECT_EQ(c.rope.original_max_positions, 8192);
    EXPECT_TRUE(c.tie_word_embeddings);
    EXPECT_EQ(c.dtype, DType::bf16);
    EXPECT_EQ(c.bos_id, 128000);
    EXPECT_EQ(c.eos_ids, (std::vector<std::int64_t>{128001, 128008, 128009}));
    EXPECT_EQ(windowed(c), 0);
}

TEST(ModelConfig, Version5Spelling) {
    const ModelConfig c =
        of("llama", R"("dtype":"float16","rope_parameters":{"factor":8.0,"high_freq_factor":4.0,
        "low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_theta":500000.0,"rope_type":"llama3"})");
    EXPECT_EQ(c.dtype, DType::f16);
    EXPECT_EQ(c.rope.type, RopeType::llama3);
    EXPECT_EQ(c.rope.theta, 500000.0);
    EXPECT_EQ(c.rope.factor, 8.0);
    EXPECT_EQ(c.rope.original_max_positions, 8192);
    const ModelConfig plain =
        of("qwen3", R"("rope_parameters":{"rope_theta":1000000,"rope_type":"default"})");
    EXPECT_EQ(plain.rope.type, RopeType::standard);
    EXPECT_EQ(plain.rope.theta, 1e6);
}

TEST(ModelConfig, RopeSpellingsMeet) {
    // "type" is the older name of "rope_type".
    const ModelConfig linear = of("llama", R"("rope_scaling":{"type":"linear","factor":2.0})");
    EXPECT_EQ(linear.rope.type, RopeType::linear);
    EXPECT_EQ(linear.rope.factor, 2.0);
    EXPECT_EQ(linear.rope.theta, 10000.0);
    // theta beside the parameters counts where it is not among them.
    EXPECT_EQ(of("llama", R"("rope_theta":7e3,"rope_parameters":{"rope_type":"default"})").rope.theta, 7e3);
    EXPECT_EQ(of("llama", R"("rope_theta":7e3,"rope_parameters":{"rope_theta":9e3})").rope.theta, 9e3);
    EXPECT_EQ(of("llama", R"("rope_scaling":null,"rope_parameters":{"rope_theta":9e3})").rope.theta, 9e3);
    EXPECT_EQ(
        of("llama", R"("rope_scaling":{"type":"linear","factor":2},"rope_parameters":{"type":"default"})")
            .rope.type,
        RopeType::linear);
    // Without its own, llama3 takes the model's length.
    EXPECT_EQ(of("llama", R"("max_position_embeddings":777,"rope_scaling":{"rope_type":"llama3","factor":2,
                  "low_freq_factor":1,"high_freq_factor":4})")
                  .rope.original_max_positions,
              777);
}

TEST(ModelConfig, Gpt2Names) {
    const ModelConfig c = of("gpt2", R"("n_embd":96,"n_head":4,"n_layer":3,"n_positions":64,"n_inner":200,
        "activation_function":"relu","layer_norm_epsilon":1e-3,"vocab_size":100,"rope_scaling":5)");
    EXPECT_EQ(c.hidden_size, 96);
    EXPECT_EQ(c.heads, 4);
    EXPECT_EQ(c.kv_heads, 4);
    EXPECT_EQ(c.head_dim, 24);
    EXPECT_EQ(c.layers, 3);
    EXPECT_EQ(c.max_positions, 64);
    EXPECT_EQ(c.intermediate_size, 200);
    EXPECT_EQ(c.hidden_act, "relu");
    EXPECT_EQ(c.norm_eps, 1e-3);
    EXPECT_EQ(of("gpt2", R"("hidden_size":96,"num_attention_heads":4)").head_dim, 24);
}

TEST(ModelConfig, DefaultsOfEachModelType) {
    struct Row {
        std::string type, architecture;
        std::int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, positions;
        double eps;
        std::string act;
        bool tie, qkv_bias, out_bias, mlp_bias;
        std::optional<std::int64_t> bos, window;
        std::vector<std::int64_t> eos;
    };
    const Row rows[] = {
        {"gpt2",
         "GPT2LMHeadModel",
         50257,
         768,
         3072,
         12,
         12,
         12,
         64,
         1024,
         1e-5,
         "gelu_new",
         true,
         true,
         true,
         true,
         50256,
         {},
         {50256}},
        {"llama",
         "LlamaForCausalLM",
         32000,
         4096,
         11008,
         32,
         32,
         32,
         128,
         2048,
         1e-6,
         "silu",
         false,
         false,
         false,
         false,
         1,
         {},
         {2}},
        {"mistral",
         "MistralForCausalLM",
         32000,
         4096,
         14336,
         32,
         32,
         8,
         128,
         131072,
         1e-6,
         "silu",
         false,
         false,
         false,
         false,
         1,
         4096,
         {2}},
        {"qwen2",
         "Qwen2ForCausalLM",
         151936,
         4096,
         22016,
         32,
         32,
         32,
         128,
         32768,
         1e-6,
         "silu",
         false,
         true,
         false,
         false,
         {},
         {},
         {}},
        {"qwen3",
         "Qwen3ForCausalLM",
         151936,
         4096,
         22016,
         32,
         32,
         32,
         128,
         32768,
         1e-6,
         "silu",
         false,
         false,
         false,
         false,
         {},
         {},
         {}},
    };
    for (const Row& r : rows) {
        SCOPED_TRACE(r.type);
        const ModelConfig c = of(r.type);
        EXPECT_EQ(c.model_type, r.type);
        EXPECT_EQ(c.architecture, r.architecture);
        EXPECT_EQ(c.vocab_size, r.vocab);
        EXPECT_EQ(c.hidden_size, r.hidden);
        EXPECT_EQ(c.intermediate_size, r.intermediate);
        EXPECT_EQ(c.layers, r.layers);
        EXPECT_EQ(c.heads, r.heads);
        EXPECT_EQ(c.kv_heads, r.kv_heads);
        EXPECT_EQ(c.head_dim, r.head_dim);
        EXPECT_EQ(c.max_positions, r.positions);
        EXPECT_EQ(c.norm_eps, r.eps);
        EXPECT_EQ(c.hidden_act, r.act);
        EXPECT_EQ(c.tie_word_embeddings, r.tie);
        EXPECT_EQ(c.qkv_bias, r.qkv_bias);
        EXPECT_EQ(c.attention_out_bias, r.out_bias);
        EXPECT_EQ(c.mlp_bias, r.mlp_bias);
        EXPECT_EQ(c.bos_id, r.bos);
        EXPECT_EQ(c.eos_ids, r.eos);
        EXPECT_EQ(c.sliding_window, r.window);
        EXPECT_EQ(windowed(c), r.window ? r.layers : 0);
        EXPECT_EQ(c.rope.theta, 10000.0);
        EXPECT_EQ(c.rope.type, RopeType::standard);
        EXPECT_EQ(c.dtype, std::nullopt);
    }
}

TEST(ModelConfig, NullIsNotTheSameAsAbsent) {
    EXPECT_EQ(of("mistral", R"("sliding_window":null)").sliding_window, std::nullopt);
    EXPECT_EQ(windowed(of("mistral", R"("sliding_window":null)")), 0);
    EXPECT_EQ(of("mistral", R"("num_key_value_heads":null)").kv_heads, 32);
    EXPECT_EQ(of("llama", R"("eos_token_id":null,"bos_token_id":null)").eos_ids.size(), 0u);
    EXPECT_EQ(of("llama", R"("eos_token_id":null,"bos_token_id":null)").bos_id, std::nullopt);
    EXPECT_EQ(of("llama", R"("head_dim":null,"num_attention_heads":16)").head_dim, 256);
}

TEST(ModelConfig, BiasesAndHeadDim) {
    EXPECT_TRUE(of("llama", R"("attention_bias":true,"mlp_bias":true)").attention_out_bias);
    EXPECT_TRUE(of("llama", R"("attention_bias":true,"mlp_bias":true)").mlp_bias);
    EXPECT_TRUE(of("qwen3", R"("attention_bias":true)").qkv_bias);
    EXPECT_TRUE(of("qwen2", R"("attention_bias":false)").qkv_bias) << "Qwen2 has no such switch";
    EXPECT_FALSE(of("mistral", R"("attention_bias":true)").qkv_bias) << "nor has Mistral";
    // Qwen3-0.6B: heads * head_dim is twice hidden_size; and a hidden size that heads do not divide.
    EXPECT_EQ(of("qwen3", R"("hidden_size":1024,"num_attention_heads":16,"num_key_value_heads":8)").head_dim,
              128);
    EXPECT_EQ(of("mistral", R"("hidden_size":100,"head_dim":16)").head_dim, 16);
}

TEST(ModelConfig, QwenWindows) {
    EXPECT_EQ(of("qwen2", R"("use_sliding_window":false,"sliding_window":-3)").sliding_window, std::nullopt);
    const ModelConfig upper =
        of("qwen2", R"("use_sliding_window":true,"sliding_window":128,"max_window_layers":30)");
    EXPECT_EQ(upper.sliding_window, 128);
    EXPECT_EQ(windowed(upper), 2);
    EXPECT_FALSE(upper.layer_uses_window[29]);
    EXPECT_TRUE(upper.layer_uses_window[30]);
    EXPECT_EQ(windowed(of("qwen3", R"("use_sliding_window":true)")), 4)
        << "defaults: window 4096 from layer 28";
    const ModelConfig list = of("qwen3", R"("use_sliding_window":true,"num_hidden_layers":2,
        "layer_types":["sliding_attention","full_attention"])");
    EXPECT_EQ(list.layer_uses_window, (std::vector<bool>{true, false}));
    expect_refused("qwen3",
                   R"("use_sliding_window":true,"num_hidden_layers":2,"layer_types":["full_attention"])",
                   {"'layer_types'", "a list of 2 names"});
    expect_refused("qwen3", R"("use_sliding_window":true,"num_hidden_layers":1,"layer_types":["mamba"])",
                   {"'layer_types' is \"mamba\""});
    expect_refused("qwen3", R"("use_sliding_window":true,"num_hidden_layers":1,"layer_types":[7])",
                   {"'layer_types' is 7"});
}

TEST(ModelConfig, RefusesAbsurdValues) {
    const std::pair<const char*, const char*> keys[] = {
        {"vocab_size", "16777216"},        {"hidden_size", "1048576"},
        {"num_hidden_layers", "4096"},     {"num_attention_heads", "65536"},
        {"num_key_value_heads", "65536"},  {"head_dim", "8192"},
        {"intermediate_size", "16777216"}, {"max_position_embeddings", "2147483648"}};
    for (const auto& [key, high] : keys) {
        const std::string k = std::string("\"") + key + "\":";
        for (const char* value : {"0", "-1", "1.5", "1e3", "\"12\"", "true", "[]", "9223372036854775808",
                                  "-9223372036854775809", "18446744073709551616", "1e308"}) {
            expect_refused("llama", k + value,
                           {std::string("'") + key + "' is ", "from 1 to " + std::string(high)});
        }
        expect_refused("llama", k + std::to_string(std::stoll(high) + 1), {key, high});
    }
    expect_refused("mistral", R"("sliding_window":0)", {"'sliding_window' is 0", "from 1 to 2147483648"});
    expect_refused("mistral", R"("sliding_window":-4096)", {"'sliding_window' is -4096"});
    for (const char* eps : {"0", "-1e-6", "2.0", "\"tiny\""}) {
        expect_refused("llama", std::string("\"rms_norm_eps\":") + eps,
                       {"'rms_norm_eps' is ", "a number from"});
    }
    for (const char* eps : {"NaN", "Infinity", "1e999", "-Infinity"}) {
        expect_refused("llama", std::string("\"rms_norm_eps\":") + eps, {"line 1 column"});
    }
    expect_refused("llama", R"("rope_theta":0)", {"'rope_theta' is 0"});
    expect_refused("llama", R"("rope_theta":-10000)", {"'rope_theta' is -10000"});
    expect_refused("gpt2", R"("n_embd":-768)", {"'n_embd' is -768", "from 1 to 1048576"});
    expect_refused("gpt2", R"("n_layer":5000)", {"'n_layer' is 5000"});
    expect_refused("llama", R"("tie_word_embeddings":"yes")",
                   {"'tie_word_embeddings' is \"yes\"", "true or false"});
    expect_refused("llama", R"("hidden_act":3)", {"'hidden_act' is 3", "a string"});
    expect_refused("llama", R"("eos_token_id":-1)", {"'eos_token_id' is -1", "a token id"});
    expect_refused("llama", R"("eos_token_id":[1,"2"])", {"'eos_token_id' is [1,\"2\"]"});
    expect_refused("llama", R"("bos_token_id":16777216)", {"'bos_token_id' is 16777216"});
    expect_refused("llama", R"("architectures":"LlamaForCausalLM")",
                   {"'architectures' is ", "a list of names"});
    expect_refused("llama", R"("architectures":[1])", {"'architectures' is [1]"});
}

TEST(ModelConfig, RefusesSizesThatDoNotFitTogether) {
    expect_refused("llama", R"("num_attention_heads":8,"num_key_value_heads":3)",
                   {"'num_key_value_heads' is 3", "must divide", "which is 8"});
    expect_refused("llama", R"("num_attention_heads":4,"num_key_value_heads":8)",
                   {"'num_key_value_heads' is 8"});
    expect_refused("llama", R"("hidden_size":100,"num_attention_heads":32)",
                   {"'hidden_size' is 100", "multiple"});
    expect_refused("gpt2", R"("n_embd":100)", {"'n_embd' is 100", "multiple of the 12"});
    expect_refused("llama", R"("num_attention_heads":65536,"head_dim":8192)", {"65536 heads of 8192"});
    expect_refused("llama", R"("hidden_size":1048576,"num_attention_heads":1)",
                   {"a head has 1048576 dimensions"});
    expect_refused("llama", R"("head_dim":33)", {"'head_dim' is 33", "even"});
}

TEST(ModelConfig, RefusesRopeThatItCannotDo) {
    for (const char* type : {"yarn", "dynamic", "longrope", ""}) {
        expect_error<Unsupported>(
            [&] { of("llama", std::string(R"("rope_scaling":{"factor":2,"type":")") + type + "\"}"); },
            {"'rope_scaling.type' is '" + std::string(type), "default, linear, llama3"});
    }
    expect_error<Unsupported>(
        [&] { of("llama", R"("rope_parameters":{"full_attention":{"rope_theta":1e4}})"); },
        {"rope_parameters.full_attention", "not supported"});
    expect_error<Unsupported>([&] { of("llama", R"("partial_rotary_factor":0.5)"); },
                              {"partial_rotary_factor"});
    expect_error<Unsupported>([&] { of("llama", R"("rope_parameters":{"partial_rotary_factor":0.5})"); },
                              {"'rope_parameters.partial_rotary_factor'"});
    expect_refused("llama", R"("rope_scaling":{"type":"linear"})", {"'rope_scaling.factor' is missing"});
    expect_refused("llama", R"("rope_scaling":{"type":"linear","factor":0})", {"'rope_scaling.factor' is 0"});
    expect_refused("llama",
                   R"("rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4})",
                   {"'rope_scaling.high_freq_factor' is 4", "greater than low_freq_factor"});
    expect_refused("llama",
                   R"("rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,
                   "original_max_position_embeddings":0})",
                   {"'rope_scaling.original_max_position_embeddings' is 0"});
    expect_refused("llama", R"("rope_scaling":"linear")", {"'rope_scaling' is \"linear\"", "an object"});
}

TEST(ModelConfig, RefusesUnknownModelsAndFeatures) {
    expect_error<Unsupported>([] { of("mamba"); }, {"'mamba'", "gpt2, llama, mistral, qwen2, qwen3"});
    expect_error<FormatError>([] { parse("{}"); }, {"'model_type' is missing", "gpt2, llama"});
    expect_error<Unsupported>([] { of("llama", R"("quantization_config":{"bits":4})"); },
                              {"quantization_config"});
    expect_error<Unsupported>([] { of("llama", R"("torch_dtype":"float8_e4m3fn")"); },
                              {"'torch_dtype'", "bfloat16"});
    expect_error<Unsupported>([] { of("gpt2", R"("scale_attn_weights":false)"); },
                              {"'scale_attn_weights' is false"});
    expect_error<Unsupported>([] { of("gpt2", R"("add_cross_attention":true)"); },
                              {"'add_cross_attention' is true"});
    EXPECT_EQ(of("llama", R"("architectures":["LlamaForSequenceClassification"])").architecture,
              "LlamaForSequenceClassification");
}

TEST(ModelConfig, RefusesWhatIsNotJson) {
    const auto refused = [](const std::string& json, std::initializer_list<std::string> texts) {
        SCOPED_TRACE(json.substr(0, 40));
        expect_error<FormatError>([&] { parse(json); }, texts);
    };
    refused("", {"config.json: line 1 column 1"});
    refused("{\n  \"a\": 1,\n  oops\n}", {"config.json: line 3 column 3"});
    refused("[1]", {"must be a JSON object"});
    refused("{\"a\":\"\xff\xfe\"}", {"line 1 column 7"});
    refused("{\"vocab_size\":1,\"vocab_size\":2}", {"'vocab_size' occurs twice"});
    refused(std::string(100, '['), {"nested deeper than 32"});
    refused("{\"a\":" + std::string(2 << 20, ' ') + "1}", {"at most 1048576"});
}

// The reference models carry their config in both spellings.
TEST(ModelConfig, BothSpellingsOfTheReferenceModelsAgree) {
    int pairs = 0;
    for (const auto& folder : std::filesystem::directory_iterator(INVAR_SOURCE_DIR "/tests/data/models")) {
        if (!folder.is_directory()) continue;
        SCOPED_TRACE(folder.path().string());
        ModelConfig c = load_model_config(folder.path());
        EXPECT_GT(Checkpoint::open(folder.path()).size(), 10u);
        const auto v4 = folder.path() / "config.v4.json";
        if (!std::filesystem::exists(v4)) continue;
        c.generation = {};
        EXPECT_TRUE(parse_model_config(read_text_file(v4, 1 << 20), v4.string()) == c);
        ++pairs;
    }
    EXPECT_GE(pairs, 5);
}

TEST(ModelConfig, LoadsAFolderWithItsGenerationConfig) {
    const TempFolder folder;
    expect_error<IoError>([&] { load_model_config(folder.path()); }, {"has no config.json"});
    expect_error<IoError>([&] { load_model_config(folder.path() / "none"); }, {"none: no such folder"});
    folder.write("config.json", R"({"model_type":"llama"})");
    EXPECT_EQ(load_model_config(folder.path()).stop_ids(), std::vector<std::int64_t>{2});
    folder.write("generation_config.json", R"({"bos_token_id":1,"eos_token_id":[7,8],"do_sample":true,
        "temperature":0.6,"top_p":0.9,"top_k":50,"min_p":null,"repetition_penalty":1.05,"transformers_version":"4"})");
    const ModelConfig c = load_model_config(folder.path());
    EXPECT_EQ(c.stop_ids(), (std::vector<std::int64_t>{7, 8}));
    EXPECT_EQ(c.eos_ids, std::vector<std::int64_t>{2});
    EXPECT_EQ(c.generation.do_sample, true);
    EXPECT_EQ(c.generation.temperature, 0.6);
    EXPECT_EQ(c.generation.top_p, 0.9);
    EXPECT_EQ(c.generation.top_k, 50);
    EXPECT_EQ(c.generation.min_p, std::nullopt);
    EXPECT_EQ(c.generation.repetition_penalty, 1.05);
    folder.write("generation_config.json", R"({"top_p":1.5})");
    expect_error<FormatError>([&] { load_model_config(folder.path()); },
                              {"generation_config.json: 'top_p' is 1.5", "from 0 to 1"});
}

}  // namespace
}  // namespace invar::io
