// SPDX-License-Identifier: Apache-2.0
// A model on the metal backend, as the software device counts it: one command buffer a token, few dispatches, weights that are
// neither copied nor read twice; and what becomes of a session whose command buffers fail as Metal's do.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include <invar/model.h>

#include "device/registry.h"
#include "metalsim/control.h"
#include "support/ladder.h"

namespace invar::test {
namespace {

TEST(MetalModel, ATokenIsOneCommandBufferNearTheFloorOfMemory) {
    metalsim::reset();
    metalsim::DeviceOptions options;
    options.count_memory = true;
    metalsim::set_device_options(options);
    // Where the registry finds the backend.
    ::setenv("INVAR_MODULE_DIR", std::filesystem::path(INVAR_METAL_MODULE).parent_path().c_str(), 1);
    metalsim::reset_counters();
    const auto model =
        Model::load(std::filesystem::path(INVAR_SOURCE_DIR) / "models" / "tiny", {.device = "metal"});
    const ModelInfo& info = model->info();
    const auto weights = static_cast<double>(info.weight_bytes);
    EXPECT_LT(static_cast<double>(metalsim::counters().bytes_allocated), 0.02 * weights)
        << "weights are used where they lie";
    // Neither by the host, which would need a buffer of its own for them, nor by the device.
    EXPECT_GE(static_cast<double>(metalsim::counters().bytes_wrapped), weights);
    EXPECT_EQ(metalsim::counters().dispatches, 0u);
    EXPECT_EQ(metalsim::counters().blits, 0u);

    Session session(model, {.capacity = 128});
    const std::vector<std::int32_t> prompt[] = {{1, 2, 3, 4, 5, 6, 7, 8}};
    const SamplingOptions greedy[] = {{}};
    session.start(prompt, greedy);
    for (int i = 0; i < 2; ++i) session.step();
    constexpr int kTokens = 2;
    metalsim::reset_counters();
    for (int i = 0; i < kTokens; ++i) session.step();
    model->device()->make_stream()->synchronize();
    const metalsim::Counters counters = metalsim::counters();
    const double once = static_cast<double>(counters.bytes_loaded_once) / kTokens,
                 must = info.bytes_per_token;
    std::printf(
        "a token: %llu command buffers, %llu dispatches, %llu barriers, %.0f bytes loaded once (%.0f of "
        "weights), %.0f "
        "by all threads\n",
        static_cast<unsigned long long>(counters.command_buffers / kTokens),
        static_cast<unsigned long long>(counters.dispatches / kTokens),
        static_cast<unsigned long long>(counters.barriers / kTokens), once, must,
        static_cast<double>(counters.bytes_loaded) / kTokens);
    EXPECT_EQ(counters.command_buffers, static_cast<std::uint64_t>(kTokens));
    EXPECT_LE(counters.dispatches / kTokens, static_cast<std::uint64_t>(14 * info.layers + 9));
    EXPECT_LE(once, 1.05 * must);
    EXPECT_GE(once, must);
}

std::vector<std::int32_t> generated(Session& session) {
    const std::vector<std::int32_t> prompt[] = {{1, 5, 9, 2, 7}};
    const SamplingOptions sampling[] = {{.temperature = 1.0f, .repetition_penalty = 1.5f, .seed = 11}};
    std::vector<std::int32_t> all = session.start(prompt, sampling), next(1);
    for (int i = 0; i < 4; ++i) {
        session.step(next, i < 3);  // none runs ahead of the last token
        all.push_back(next[0]);
    }
    return all;
}

// Not INVAR_FAULTS, which fail a launch before Metal hears of it: here everything was encoded and committed, and whoever waits
// finds out.
TEST(MetalModel, ASessionSurvivesEveryFailureOfEveryCommandBuffer) {
    using metalsim::Failure;
    metalsim::reset();
    ::setenv("INVAR_MODULE_DIR", std::filesystem::path(INVAR_METAL_MODULE).parent_path().c_str(), 1);
    Ladder ladder(Recovery::any);
    const auto model =
        Model::load(std::filesystem::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models" / "llama",
                    {.device = "metal", .dtype = DType::f32});
    Session session(model, {.capacity = 32, .prefill_chunk = 3});
    const std::vector<std::int32_t> want = generated(session);
    metalsim::reset_counters();
    ASSERT_EQ(generated(session), want);
    const auto all = static_cast<unsigned>(metalsim::counters().command_buffers);
    ASSERT_GE(all, 5u) << "of two pieces of a prompt and four tokens";
    EXPECT_EQ(ladder.taken(), "");
    // Who is refused by the system counts as lost with what lay there.
    const struct {
        Failure failure;
        const char* rung;
    } cases[] = {{Failure::out_of_memory, "trimmed 1"},  {Failure::page_fault, "replayed 1"},
                 {Failure::timeout, "replayed 1"},       {Failure::access_revoked, "restored 1"},
                 {Failure::not_permitted, "replayed 1"}, {Failure::internal, "replayed 1"}};
    for (const auto& [failure, rung] : cases)
        for (unsigned n = 1; n <= all; ++n) {
            metalsim::fail_command_buffer(n, failure);
            ASSERT_EQ(generated(session), want) << static_cast<int>(failure) << " of " << n;
            EXPECT_FALSE(session.degraded());
            EXPECT_EQ(ladder.taken(), rung) << static_cast<int>(failure) << " of " << n;
        }
    // A device that is gone for good leaves the cpu.
    metalsim::fail_command_buffer(all / 2, Failure::device_removed);
    EXPECT_EQ(generated(session), want);
    EXPECT_TRUE(session.degraded());
    EXPECT_NE(ladder.taken().find("host"), std::string::npos);
    metalsim::reset();
}

}  // namespace
}  // namespace invar::test
