// SPDX-License-Identifier: Apache-2.0
// Faults at every step of a model: its forward pass and its sessions finish with the same bits, and hold nothing more.
#include <invar/error.h>
#include <invar/model.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "support/ladder.h"

namespace invar {
namespace {

const std::filesystem::path kLlama =
    std::filesystem::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models" / "llama";
const std::vector<std::int32_t> kTokens = {1, 5, 9, 2, 7};

std::shared_ptr<const Model> llama() { return Model::load(kLlama, {.dtype = DType::f32}); }
std::uint64_t held() { return find_device()->allocator().statistics().bytes_in_use; }
// Compilers and lanes that take turns are slow: not every index there.
int stride() { return find_device()->name() == "cpu" || find_device()->name() == "cuda" ? 1 : 5; }

TEST(Recovery, AForwardPassSurvivesAFaultAtEveryStep) {
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    ASSERT_EQ(model->info().layers, 2);
    const std::vector<std::byte> want = model->forward(kTokens).logits.to_bytes();
    const std::uint64_t before = held();
    for (const char* site : {"launch", "lost"}) {
        int failures = 0;
        for (int n = 1; n <= 500; n += stride()) {
            set_faults(std::string(site) + "@" + std::to_string(n));
            const ForwardResult result = model->forward(kTokens);
            set_faults("");
            const std::string taken = ladder.taken();
            EXPECT_EQ(result.logits.to_bytes(), want) << site << " " << n;
            if (taken.empty()) break;
            EXPECT_EQ(taken, "replayed 1") << site << " " << n;
            ++failures;
        }
        EXPECT_GE(failures, 20 / stride()) << site;
    }
    EXPECT_EQ(held(), before);
}

TEST(Recovery, AForwardPassOnAnotherDeviceOrInTheFirstError) {
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    const std::vector<float> want = model->forward(kTokens).logits.to_vector<float>();
    const std::uint64_t before = held();
    const int step = 3;  // of the planned pass, then the first of each further one
    set_faults("launch@" + std::to_string(step) + ",launch@" + std::to_string(step + 1) + ",launch@" +
               std::to_string(step + 2));
    if (find_device()->name() == "cpu") {
        EXPECT_THROW(model->forward(kTokens), LaunchFailed);
        EXPECT_EQ(ladder.taken(), "exhausted 1");
    } else {
        const ForwardResult result = model->forward(kTokens);
        EXPECT_EQ(ladder.taken(), "host 1");
        EXPECT_TRUE(result.logits.degraded());
        const std::vector<float> got = result.logits.to_vector<float>();
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4);
    }
    set_faults("");
    EXPECT_EQ(model->forward(kTokens).logits.to_vector<float>(), want);
    EXPECT_EQ(held(), before);
}

std::vector<std::int32_t> generated(Session& session, std::span<const std::vector<std::int32_t>> prompts,
                                    std::span<const SamplingOptions> sampling) {
    std::vector<std::int32_t> all = session.start(prompts, sampling);
    for (int i = 0; i < 4; ++i) {
        const std::vector<std::int32_t> next = session.step();
        all.insert(all.end(), next.begin(), next.end());
    }
    return all;
}

// Sampled with a penalty, so that the history of tokens counts.
void sweep_session(std::int64_t sequences) {
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    Session session(model, {.sequences = sequences, .capacity = 32, .prefill_chunk = 3});
    std::vector<std::vector<std::int32_t>> prompts;
    std::vector<SamplingOptions> sampling;
    for (std::int64_t r = 0; r < sequences; ++r) {
        prompts.emplace_back(kTokens.begin(), kTokens.end() - r);
        sampling.push_back(
            {.temperature = 1.0f, .repetition_penalty = 1.5f, .seed = 11 + static_cast<std::uint64_t>(r)});
    }
    const std::vector<std::int32_t> want = generated(session, prompts, sampling);
    const std::uint64_t before = held();
    for (const char* site : {"launch", "lost"}) {
        int failures = 0;
        for (int n = 1; n <= 2000; n += stride()) {
            set_faults(std::string(site) + "@" + std::to_string(n));
            const std::vector<std::int32_t> got = generated(session, prompts, sampling);
            set_faults("");
            const std::string taken = ladder.taken();
            ASSERT_EQ(got, want) << site << " " << n;
            if (taken.empty()) break;
            ASSERT_EQ(taken, "replayed 1") << site << " " << n;
            ++failures;
        }
        EXPECT_GE(failures, 100 / stride()) << site;
    }
    EXPECT_EQ(held(), before);
}

TEST(Recovery, ASessionSurvivesAFaultAtEveryStep) { sweep_session(1); }
TEST(Recovery, SequencesTogetherSurviveAFaultAtEveryStep) { sweep_session(2); }

TEST(Recovery, ASessionThatFailsTwiceGivesTheErrorAndStartsAnew) {
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    Session session(model, {.capacity = 32});
    const std::vector<std::int32_t> prompts[] = {kTokens};
    const SamplingOptions greedy[] = {{}};
    const std::vector<std::int32_t> want = generated(session, prompts, greedy);
    (void)session.start(prompts, greedy);
    set_faults("launch@2,launch@3");
    EXPECT_THROW(session.step(), LaunchFailed);
    EXPECT_EQ(ladder.taken(), "exhausted 1");
    set_faults("");
    EXPECT_THROW(session.step(), InvalidArgument);  // not what comes after a token that nobody got
    EXPECT_EQ(generated(session, prompts, greedy), want);
}

}  // namespace
}  // namespace invar
