// SPDX-License-Identifier: Apache-2.0
// Sessions: the same seed gives the same text, a batch gives each sequence what it gets alone, nothing is allocated in
// a decode step, and every wrong request is refused by name and leaves the process whole.
#include <invar/error.h>
#include <invar/model.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "device/allocator.h"
#include "device/device.h"
#include "io/safetensors.h"
#include "support/heap_counter.h"

namespace invar {
namespace {

namespace fs = std::filesystem;
const fs::path kModelData = fs::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models";

std::shared_ptr<Model> llama_model() { return Model::load(kModelData / "llama", {.dtype = DType::f32}); }

std::vector<std::vector<std::int32_t>> generate(const std::shared_ptr<Model>& model,
                                                const std::vector<std::vector<std::int32_t>>& prompts,
                                                const std::vector<SamplingOptions>& sampling, int count) {
    Session session(model, {.sequences = static_cast<std::int64_t>(prompts.size()), .capacity = 64});
    std::vector<std::vector<std::int32_t>> texts(prompts.size());
    std::vector<std::int32_t> next = session.start(prompts, sampling);
    for (int i = 0; i < count; ++i) {
        for (std::size_t r = 0; r < texts.size(); ++r) texts[r].push_back(next[r]);
        if (i + 1 < count) next = session.step();
    }
    return texts;
}

TEST(Session, TheSameSeedGivesTheSameText) {
    const auto model = llama_model();
    SamplingOptions o{.temperature = 1.0f,
                      .top_k = 40,
                      .top_p = 0.95f,
                      .min_p = 0.01f,
                      .repetition_penalty = 1.1f,
                      .seed = 7};
    const auto a = generate(model, {{1, 2, 3}}, {o}, 30), b = generate(model, {{1, 2, 3}}, {o}, 30);
    EXPECT_EQ(a, b);
    o.seed = 8;
    EXPECT_NE(a, generate(model, {{1, 2, 3}}, {o}, 30));
}

TEST(Session, ABatchGivesEachSequenceItsOwnAnswer) {
    const auto model = llama_model();
    const std::vector<std::vector<std::int32_t>> prompts = {{1, 2, 3, 4, 5, 6, 7}, {9}, {20, 30, 40, 50}};
    const std::vector<SamplingOptions> sampling = {
        {}, {.temperature = 0.8f, .seed = 3}, {.temperature = 1.2f, .top_k = 20, .seed = 4}};
    const auto together = generate(model, prompts, sampling, 20);
    for (std::size_t r = 0; r < prompts.size(); ++r)
        EXPECT_EQ(together[r], generate(model, {prompts[r]}, {sampling[r]}, 20)[0]) << r;
}

TEST(Session, TopKOfOneIsGreedy) {
    const auto model = llama_model();
    EXPECT_EQ(generate(model, {{5, 6}}, {SamplingOptions{.temperature = 1.5f, .top_k = 1, .seed = 11}}, 15),
              generate(model, {{5, 6}}, {SamplingOptions{}}, 15));
}

TEST(Session, ADecodeStepAllocatesNothing) {
    for (const char* name : {"llama", "gpt2", "qwen3", "mistral"}) {
        const auto model = Model::load(kModelData / name, {.dtype = DType::bf16});
        Session session(model, {.sequences = 2, .capacity = 64});
        const std::vector<std::int32_t> prompts[] = {{1, 2, 3}, {4, 5}};
        const SamplingOptions sampling[] = {
            {}, {.temperature = 0.9f, .top_k = 10, .top_p = 0.9f, .repetition_penalty = 1.2f, .seed = 1}};
        session.start(prompts, sampling);
        std::vector<std::int32_t> next(2);
        for (int i = 0; i < 5; ++i) session.step(next);
        const std::int64_t heap = test::heap_allocations();
        const std::uint64_t driver = model->device()->allocator().statistics().allocations;
        for (int i = 0; i < 20; ++i) session.step(next);
        // OpenCL's drivers allocate an event for each command, Metal objects for each command buffer.
        if (model->device()->kernel_language() != "opencl" && model->device()->kernel_language() != "metal") {
            EXPECT_EQ(test::heap_allocations(), heap) << name;
        }
        EXPECT_EQ(model->device()->allocator().statistics().allocations, driver) << name;
    }
}

TEST(Session, StepsALayerOfALlama) {
    const auto model = llama_model();
    Session session(model, {.capacity = 64});
    const std::string text = session.decode_schedule();
    std::size_t steps = 0;
    for (std::size_t at = 0; (at = text.find(": ", at)) != std::string::npos; ++at) ++steps;
    // Three gathers (token, cos, sin), final norm, head, sampler, two counters and three donations around the layers.
    EXPECT_LE(steps, static_cast<std::size_t>(14 * model->info().layers + 11)) << text;
    EXPECT_NE(text.find("matmul residual"), std::string::npos) << text;
    // A region of its own, or the activation of a product.
    EXPECT_TRUE(text.find("silu multiply") != std::string::npos ||
                text.find("silu gate") != std::string::npos)
        << text;
}

TEST(Session, WrongRequestsAreRefused) {
    const auto model = llama_model();
    EXPECT_THROW(Session(model, {.capacity = model->info().context + 1}), InvalidArgument);
    EXPECT_THROW(Session(model, {.sequences = 0}), InvalidArgument);
    EXPECT_THROW(Session(model, {.prefill_chunk = -1}), InvalidArgument);
    Session session(model, {.capacity = 6});
    const SamplingOptions greedy[] = {{}};
    const auto start = [&](std::vector<std::int32_t> prompt) {
        const std::vector<std::int32_t> p[] = {std::move(prompt)};
        return session.start(p, greedy);
    };
    EXPECT_THROW(session.step(), InvalidArgument);
    EXPECT_THROW(start({}), InvalidArgument);
    EXPECT_THROW(start({1, 100000}), InvalidArgument);
    EXPECT_THROW(start({-1}), InvalidArgument);
    EXPECT_THROW(start({1, 2, 3, 4, 5, 6, 7}), InvalidArgument);
    const SamplingOptions hot[] = {{.temperature = -1}}, wide[] = {{.top_p = 1.5f}};
    const std::vector<std::int32_t> one[] = {{1}};
    EXPECT_THROW(session.start(one, hot), InvalidArgument);
    EXPECT_THROW(session.start(one, wide), InvalidArgument);
    start({1, 2, 3});
    for (int i = 0; i < 3; ++i) session.step();
    EXPECT_THROW(session.step(), InvalidArgument);  // the context is full
    EXPECT_EQ(start({1, 2, 3}).size(), 1u);         // and the session can begin anew
    EXPECT_THROW(model->forward({}), InvalidArgument);
    const std::int32_t tokens[] = {1, 2}, positions[] = {1};
    EXPECT_THROW(model->forward(tokens, {positions, {}}), InvalidArgument);
    const std::int32_t far[] = {1, 1 << 30};
    EXPECT_THROW(model->forward(tokens, {far, {}}), InvalidArgument);
}

// A folder that differs from a good one in one thing is refused with that thing in the message.
TEST(Load, FoldersThatDoNotFitAreRefused) {
    const fs::path bad = fs::path(testing::TempDir()) / "invar-bad-model";
    const auto with = [&](const char* key, const nlohmann::json& value) {
        fs::remove_all(bad);
        fs::create_directories(bad);
        std::ifstream in(kModelData / "llama" / "config.json");
        nlohmann::json config = nlohmann::json::parse(in);
        config[key] = value;
        std::ofstream(bad / "config.json") << config;
        fs::create_symlink(kModelData / "llama" / "model.safetensors", bad / "model.safetensors");
        try {
            Model::load(bad);
        } catch (const Error& e) {
            return std::string(error_kind_name(e.kind())) + ": " + e.what();
        }
        return std::string("loaded");
    };
    EXPECT_EQ(with("use_cache", true), "loaded");
    EXPECT_NE(with("hidden_size", 64).find("shape"), std::string::npos);
    EXPECT_NE(with("num_hidden_layers", 9).find("model.layers."), std::string::npos);
    const std::string unknown = with("architectures", {"FalconForCausalLM"});
    EXPECT_TRUE(unknown.starts_with("unsupported")) << unknown;
    for (const std::string& name : Model::architectures())
        EXPECT_NE(unknown.find(name), std::string::npos) << unknown;
    EXPECT_NE(with("hidden_act", "mish").find("mish"), std::string::npos);
    EXPECT_TRUE(with("vocab_size", -5).starts_with("format"));
    EXPECT_TRUE(with("num_attention_heads", 0).starts_with("format"));
    fs::remove_all(bad);
    EXPECT_THROW(Model::load(bad), IoError);
    EXPECT_THROW(Model::load(kModelData / "llama", {.device = "tpu"}), NoDevice);
    EXPECT_THROW(Model::load(kModelData / "llama", {.dtype = DType::i8}), InvalidArgument);
    EXPECT_THROW(Model::load(kModelData / "llama", {.max_context = 1 << 30}), InvalidArgument);
    EXPECT_THROW(Model::random("llama-9000b"), InvalidArgument);
}

// Weights of integers in a float's place are refused by name.
TEST(Load, WeightsOfAWrongTypeAreRefused) {
    const fs::path bad = fs::path(testing::TempDir()) / "invar-int-model";
    fs::remove_all(bad);
    fs::create_directories(bad);
    fs::copy_file(kModelData / "llama" / "config.json", bad / "config.json");
    const std::vector<std::int32_t> ints(160 * 48, 1);
    const io::TensorView view{"model.embed_tokens.weight",
                              DType::i32,
                              {160, 48},
                              reinterpret_cast<const std::byte*>(ints.data()),
                              ints.size() * 4,
                              nullptr};
    io::write_safetensors(bad / "model.safetensors", std::span(&view, 1));
    try {
        Model::load(bad, {.dtype = DType::f32});
        FAIL() << "loaded";
    } catch (const FormatError& e) {
        EXPECT_NE(std::string(e.what()).find("embed_tokens"), std::string::npos) << e.what();
    }
    fs::remove_all(bad);
}

}  // namespace
}  // namespace invar
