// SPDX-License-Identifier: Apache-2.0
// Model folders: one file, shards with an index, and indexes that lie. The sparse folder of an 8B shape comes
// from tools/make_sparse_model.py and must open without anonymous memory.
#include "io/checkpoint.h"

#include <cstdlib>
#include <cstring>

#include <invar/error.h>

#include "io/files.h"
#include "io/model_config.h"

namespace invar::io {
namespace {

using test::expect_error;
using test::safetensors_bytes;
using test::TempFolder;

std::string one_tensor(const std::string& name, const std::string& bytes) {
    return safetensors_bytes("{\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" +
                                 std::to_string(bytes.size()) + "],\"data_offsets\":[0," +
                                 std::to_string(bytes.size()) + "]}}",
                             bytes);
}

void write_index(const TempFolder& folder, const std::string& weight_map) {
    folder.write("model.safetensors.index.json",
                 R"({"metadata":{"total_size":5},"weight_map":)" + weight_map + "}");
}

std::string text(const TensorView& v) { return {reinterpret_cast<const char*>(v.data), v.bytes}; }

TEST(Checkpoint, OpensASingleFile) {
    const TempFolder folder;
    folder.write("model.safetensors", one_tensor("a", "xyz"));
    const Checkpoint c = Checkpoint::open(folder.path());
    EXPECT_EQ(c.names(), std::vector<std::string>{"a"});
    EXPECT_EQ(c.bytes(), 3u);
    EXPECT_EQ(text(c.get("a")), "xyz");
    std::byte b{};
    c.read("a", 2, {&b, 1});
    EXPECT_EQ(static_cast<char>(b), 'z');
    EXPECT_FALSE(c.contains("b"));
    expect_error<FormatError>([&] { c.get("b"); }, {folder.path().string(), "no tensor 'b'"});
}

TEST(Checkpoint, OpensShardsAndSurvivesAMove) {
    const TempFolder folder;
    folder.write("s-1.safetensors", one_tensor("a", "xyz"));
    folder.write("s-2.safetensors", one_tensor("b", "pq"));
    write_index(folder, R"({"b":"s-2.safetensors","a":"s-1.safetensors"})");
    Checkpoint first = Checkpoint::open(folder.path());
    const Checkpoint c = std::move(first);
    EXPECT_EQ(c.names(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(c.bytes(), 5u);
    EXPECT_EQ(c.files().size(), 2u);
    EXPECT_EQ(text(c.get("a")) + text(c.get("b")), "xyzpq");
}

TEST(Checkpoint, FollowsSymbolicLinksOfADownloadCache) {
    const TempFolder folder, blobs;
    blobs.write("0f3a", one_tensor("a", "xyz"));
    std::filesystem::create_symlink(blobs.path() / "0f3a", folder.path() / "model.safetensors");
    EXPECT_EQ(text(Checkpoint::open(folder.path()).get("a")), "xyz");
}

TEST(Checkpoint, RefusesIndexesThatPointOutside) {
    const TempFolder folder;
    folder.write("s.safetensors", one_tensor("a", "x"));
    for (const char* name :
         {"../s.safetensors", "/etc/passwd", "sub/s.safetensors", "..", ".", "x\\\\s.safetensors"}) {
        write_index(folder, std::string(R"({"a":")") + name + "\"}");
        expect_error<FormatError>([&] { Checkpoint::open(folder.path()); },
                                  {"index.json: tensor 'a'", "points outside the folder"});
    }
    write_index(folder, R"({"a":""})");
    expect_error<FormatError>([&] { Checkpoint::open(folder.path()); }, {"is empty"});
    write_index(folder, R"({"a":"s.safetensors\u0000"})");
    expect_error<FormatError>([&] { Checkpoint::open(folder.path()); }, {"holds a zero byte"});
    write_index(folder, R"({"a":"config.json"})");
    expect_error<FormatError>([&] { Checkpoint::open(folder.path()); }, {"is not a .safetensors file"});
}

TEST(Checkpoint, RefusesAMissingShardAndAMissingTensor) {
    const TempFolder folder;
    folder.write("s-1.safetensors", one_tensor("a", "x"));
    write_index(folder, R"({"a":"s-1.safetensors","b":"s-2.safetensors"})");
    expect_error<IoError>([&] { Checkpoint::open(folder.path()); },
                          {"tensor 'b'", "'s-2.safetensors', which is missing"});
    write_index(folder, R"({"a":"s-1.safetensors","b":"s-1.safetensors"})");
    expect_error<FormatError>([&] { Checkpoint::open(folder.path()); },
                              {"tensor 'b'", "'s-1.safetensors', which has no such tensor"});
}

TEST(Checkpoint, RefusesBrokenIndexes) {
    const TempFolder folder;
    const auto with = [&](const std::string& json, std::initializer_list<std::string> texts) {
        folder.write("model.safetensors.index.json", json);
        expect_error<FormatError>([&] { Checkpoint::open(folder.path()); }, texts);
    };
    with("{}", {"'weight_map' is missing"});
    with("[]", {"must be a JSON object"});
    with("{\"weight_map\":[]}", {"'weight_map' is []", "an object"});
    with("{\"weight_map\":{\"a\":1}}", {"not a string"});
    with("{\"weight_map\":\n{\"a\" 1}}", {"index.json: line 2 column 6"});
    with("{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}", {"'a' occurs twice"});
    with(std::string(1000, '['), {"nested deeper than 8"});
}

TEST(Checkpoint, SaysWhatAFolderWithoutWeightsLacks) {
    const TempFolder folder;
    expect_error<IoError>([&] { Checkpoint::open(folder.path()); }, {"has neither model.safetensors nor"});
    folder.write("pytorch_model.bin", "x");
    expect_error<IoError>([&] { Checkpoint::open(folder.path()); }, {"convert it to safetensors"});
    expect_error<IoError>([&] { Checkpoint::open(folder.path() / "none"); }, {"none: no such folder"});
    expect_error<IoError>([&] { Checkpoint::open(folder.path() / "pytorch_model.bin"); },
                          {"is not a folder"});
}

// Kilobytes of this process in anonymous memory.
long rss_anon_kb() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssAnon:")) return std::stol(line.substr(8));
    }
    return -1;
}

std::string sparse_model(const TempFolder& folder, const std::string& arguments) {
    const std::string out = (folder.path() / "model").string();
    const std::string command =
        "python3 " INVAR_SOURCE_DIR "/tools/make_sparse_model.py --out " + out + " " + arguments;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return out;
}

TEST(SparseModel, AnEightBillionShapeOpensWithoutMemory) {
    const TempFolder folder;
    const std::string model = sparse_model(folder, "--shape llama-8b --dtype bf16 --shards 4");
    const long before = rss_anon_kb();
    const Checkpoint c = Checkpoint::open(model);
    const ModelConfig config = load_model_config(model);
    EXPECT_EQ(config.layers, 32);
    EXPECT_EQ(config.kv_heads, 8);
    EXPECT_EQ(config.rope.type, RopeType::llama3);
    EXPECT_EQ(c.files().size(), 4u);
    EXPECT_EQ(c.size(), 3u + 32 * 9);
    EXPECT_EQ(c.bytes(), 2 * 8'030'261'248u);
    const TensorView last = c.get("model.layers.31.mlp.down_proj.weight");
    EXPECT_EQ(last.shape, (std::vector<std::int64_t>{4096, 14336}));
    EXPECT_EQ(last.dtype, DType::bf16);
    EXPECT_EQ(last.data[last.bytes - 1], std::byte{0});
    if (before >= 0) {
        EXPECT_LT(rss_anon_kb() - before, 16 * 1024);
    }
}

TEST(SparseModel, EveryShapeAndTypeOpens) {
    for (const char* shape : {"tiny", "gpt2", "llama-1b"}) {
        for (const char* dtype : {"f32", "f16"}) {
            const TempFolder folder;
            const std::string model =
                sparse_model(folder, std::string("--shards 1 --shape ") + shape + " --dtype " + dtype);
            const Checkpoint c = Checkpoint::open(model);
            const ModelConfig config = load_model_config(model);
            EXPECT_EQ(c.files().size(), 1u);
            const bool gpt2 = config.model_type == "gpt2";
            const auto* embedding = c.info(gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight");
            ASSERT_NE(embedding, nullptr) << shape;
            EXPECT_EQ(embedding->shape, (std::vector<std::int64_t>{config.vocab_size, config.hidden_size}));
            EXPECT_EQ(embedding->dtype, parse_dtype(dtype));
            EXPECT_EQ(config.dtype, embedding->dtype);
            EXPECT_EQ(c.contains("lm_head.weight"), !config.tie_word_embeddings);
        }
    }
}

}  // namespace
}  // namespace invar::io
