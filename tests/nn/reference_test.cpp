// SPDX-License-Identifier: Apache-2.0
// Every architecture against transformers: logits and hidden states of the reference folders (tests/data/models), with
// positions and masks, in both spellings of config.json, and greedy continuations in prefill chunks of 1, 7 and all.
#include <invar/error.h>
#include <invar/model.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"

namespace invar {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kData = fs::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models";

json expected(const fs::path& folder) {
    std::ifstream in(folder / "expected.json");
    return json::parse(in);
}

std::vector<std::int32_t> list(const json& j) {
    return j.is_null() ? std::vector<std::int32_t>{} : j.get<std::vector<std::int32_t>>();
}

// Norm of the difference over norm of the reference, on the rows that count.
double distance(const Tensor& got, const io::TensorView& want, const std::vector<std::int32_t>& rows) {
    EXPECT_EQ(got.dim(0), want.shape[0]);
    EXPECT_EQ(got.dim(1), want.shape[1]);
    const std::vector<float> a = got.astype(DType::f32).to_vector<float>();
    const auto* b = reinterpret_cast<const float*>(want.data);
    const auto n = static_cast<std::size_t>(got.dim(1));
    double difference = 0, norm = 0;
    for (const std::int32_t row : rows)
        for (std::size_t i = static_cast<std::size_t>(row) * n; i < (static_cast<std::size_t>(row) + 1) * n;
             ++i) {
            difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
            norm += std::pow(b[i], 2);
        }
    return std::sqrt(difference / norm);
}

class Architecture : public testing::TestWithParam<std::string> {};

std::vector<std::string> folders() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(kData))
        if (entry.is_directory()) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

void check_cases(const fs::path& model_folder, const fs::path& data) {
    const auto model = Model::load(model_folder, {.dtype = DType::f32});
    const json e = expected(data);
    ASSERT_FALSE(e["cases"].empty());
    const auto arrays = io::SafetensorsFile::open(data / "expected.safetensors");
    for (const json& c : e["cases"]) {
        SCOPED_TRACE(c["name"].get<std::string>());
        const auto tokens = list(c["input_ids"]), positions = list(c["position_ids"]),
                   mask = list(c["attention_mask"]), rows = list(c["rows"]);
        const ForwardResult r = model->forward(tokens, {positions, mask});
        EXPECT_LT(distance(r.logits, *arrays->find(c["logits"].get<std::string>()), rows), 1e-4);
        if (!c["hidden"].is_null()) {
            EXPECT_LT(distance(r.hidden, *arrays->find(c["hidden"].get<std::string>()), rows), 1e-4);
        }
        // The same run gives the same bits.
        EXPECT_EQ(model->forward(tokens, {positions, mask}).logits.to_bytes(), r.logits.to_bytes());
    }
}

TEST_P(Architecture, LogitsAndHiddenStates) { check_cases(kData / GetParam(), kData / GetParam()); }

TEST_P(Architecture, OldSpellingOfTheConfig) {
    const fs::path source = kData / GetParam();
    if (!fs::exists(source / "config.v4.json")) {
        EXPECT_TRUE(GetParam().starts_with("gpt2")) << "only GPT-2 has one spelling";
        return;
    }
    const fs::path copy = fs::path(testing::TempDir()) / ("invar-v4-" + GetParam());
    fs::remove_all(copy);
    fs::create_directories(copy);
    for (const auto& f : fs::directory_iterator(source))
        if (f.path().filename() != "config.json") fs::create_symlink(f.path(), copy / f.path().filename());
    fs::copy_file(source / "config.v4.json", copy / "config.json");
    check_cases(copy, source);
    fs::remove_all(copy);
}

TEST_P(Architecture, GreedyTokensInChunks) {
    const auto model = Model::load(kData / GetParam(), {.dtype = DType::f32});
    const json reference = expected(kData / GetParam());
    ASSERT_FALSE(reference["greedy"].empty());
    for (const json& g : reference["greedy"]) {
        const auto prompt = list(g["prompt"]), want = list(g["tokens"]);
        const auto capacity = static_cast<std::int64_t>(prompt.size() + want.size());
        for (const std::int64_t chunk : {std::int64_t{1}, std::int64_t{7}, capacity}) {
            Session session(model, {.capacity = capacity, .prefill_chunk = chunk});
            const std::vector<std::int32_t> prompts[] = {prompt};
            const SamplingOptions greedy[] = {{}};
            std::vector<std::int32_t> got = session.start(prompts, greedy);
            while (got.size() < want.size()) got.push_back(session.step()[0]);
            EXPECT_EQ(got, want) << "chunk " << chunk;
        }
    }
}

// Pieces of any size give the logits of the whole.
TEST_P(Architecture, PiecesAgreeWithTheWhole) {
    const auto model = Model::load(kData / GetParam(), {.dtype = DType::f32});
    const auto tokens = list(expected(kData / GetParam())["cases"][0]["input_ids"]);
    const std::vector<float> whole = model->forward(tokens).logits.to_vector<float>();
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}}) {
        Sequence sequence(model, static_cast<std::int64_t>(tokens.size()));
        std::vector<float> got;
        for (std::size_t at = 0; at < tokens.size(); at += piece) {
            const auto logits =
                sequence.append(std::span(tokens).subspan(at, std::min(piece, tokens.size() - at)))
                    .logits.to_vector<float>();
            got.insert(got.end(), logits.begin(), logits.end());
        }
        ASSERT_EQ(got.size(), whole.size());
        double difference = 0, norm = 0;
        for (std::size_t i = 0; i < got.size(); ++i) {
            difference += std::pow(got[i] - whole[i], 2);
            norm += std::pow(whole[i], 2);
        }
        EXPECT_LT(std::sqrt(difference / norm), 1e-5) << "pieces of " << piece;
    }
}

// In the 16-bit types the answer moves by their rounding, not more: 2 to the -8 and -11 grow over the layers.
TEST_P(Architecture, SixteenBitTypesStayNear) {
    const json e = expected(kData / GetParam());
    const auto arrays = io::SafetensorsFile::open(kData / GetParam() / "expected.safetensors");
    const json& c = e["cases"][0];
    for (const auto& [type, bound] : {std::pair{DType::bf16, 0.12}, std::pair{DType::f16, 0.02}}) {
        const auto model = Model::load(kData / GetParam(), {.dtype = type});
        EXPECT_EQ(model->info().dtype, type);
        const ForwardResult r = model->forward(list(c["input_ids"]));
        EXPECT_EQ(r.logits.dtype(), DType::f32);
        EXPECT_LT(distance(r.logits, *arrays->find(c["logits"].get<std::string>()), list(c["rows"])), bound)
            << dtype_name(type);
    }
}

INSTANTIATE_TEST_SUITE_P(Reference, Architecture, testing::ValuesIn(folders()), [](const auto& info) {
    std::string name = info.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

TEST(Architecture, EveryOneHasReferenceData) {
    std::vector<std::string> seen;
    for (const std::string& folder : folders())
        seen.push_back(expected(kData / folder)["architecture"].get<std::string>());
    for (const std::string& name : Model::architectures())
        EXPECT_NE(std::find(seen.begin(), seen.end(), name), seen.end()) << name;
}

}  // namespace
}  // namespace invar
