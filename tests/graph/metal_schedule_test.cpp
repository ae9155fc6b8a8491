// SPDX-License-Identifier: Apache-2.0
// What a Metal device is given, looked at without one: golden schedules of decode steps as "null:metal" takes them, with the
// number of dispatches a token.
#include <invar/model.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "device/device.h"
#include "device/services.h"
#include "support/golden.h"

namespace invar {
namespace {

namespace fs = std::filesystem;
const fs::path kModelFolders = fs::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models";

std::size_t count_of(const std::string& word, const std::string& text) {
    std::size_t count = 0;
    for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; ++at) ++count;
    return count;
}

TEST(MetalSchedule, DecodeSteps) {
    for (const char* name : {"llama", "gpt2", "mistral", "qwen2", "qwen3"}) {
        const auto model = Model::load(kModelFolders / name, {.device = "null:metal", .dtype = DType::bf16});
        const Session session(model, {.capacity = 64});
        compare_with_golden(std::string("schedules/metal-decode-") + name + ".txt",
                            session.decode_schedule());
    }
}

// Room for so many tokens that attention takes two dispatches. Steps before and behind the layers: three gathers (token, cos,
// sin), final norm, head, two of the sampler, two counters. The first step starts the second as well.
TEST(MetalSchedule, DispatchesOfAToken) {
    const auto model = Model::random("llama-1b", {.device = "null:metal", .dtype = DType::bf16});
    Session session(model, {.capacity = 640});
    compare_with_golden("schedules/metal-decode-llama-1b.txt", session.decode_schedule());
    const std::vector<std::int32_t> prompt[] = {{1, 2, 3}};
    const SamplingOptions greedy[] = {{}};
    session.start(prompt, greedy);
    session.step();
    LaunchLog* log = model->device()->launch_log();
    ASSERT_NE(log, nullptr);
    log->clear();
    session.step();
    const std::size_t dispatches = count_of("launch ", log->text());
    compare_with_golden("schedules/metal-dispatches-llama-1b.txt",
                        "dispatches of a token, 16 layers: " + std::to_string(dispatches) + "\n");
    EXPECT_GT(dispatches, 16u);
    EXPECT_LE(dispatches, 14u * 16 + 9);
}

}  // namespace
}  // namespace invar
