// SPDX-License-Identifier: Apache-2.0
// Golden schedules of the models on the null device, which computes nothing: what a decode step and a prefill chunk
// launch is compared with the files under tests/data/schedules, line by line. INVAR_UPDATE_GOLDEN=1 writes them anew.
#include <invar/model.h>

#include <filesystem>
#include <sstream>

#include <gtest/gtest.h>

#include "device/device.h"
#include "device/services.h"
#include "support/golden.h"

namespace invar {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = fs::path(INVAR_SOURCE_DIR) / "tests" / "data";

TEST(Golden, DecodeSteps) {
    for (const char* name : {"llama", "gpt2", "mistral", "qwen2", "qwen3"}) {
        const auto model = Model::load(kRoot / "models" / name, {.device = "null", .dtype = DType::bf16});
        const Session session(model, {.capacity = 64});
        compare_with_golden(std::string("schedules/decode-") + name + ".txt", session.decode_schedule());
    }
}

// The null device writes down what it was asked to run: a decode step launches exactly its schedule.
TEST(Golden, ADecodeStepLaunchesItsSchedule) {
    const auto model = Model::load(kRoot / "models" / "llama", {.device = "null", .dtype = DType::bf16});
    Session session(model, {.capacity = 64});
    const std::vector<std::int32_t> prompt[] = {{1, 2, 3}};
    const SamplingOptions greedy[] = {{}};
    session.start(prompt, greedy);
    LaunchLog* launches = model->device()->launch_log();
    ASSERT_NE(launches, nullptr);
    launches->clear();
    session.step();
    const std::string text = launches->text();
    std::size_t launched = 0;
    for (std::size_t at = 0; (at = text.find("launch ", at)) != std::string::npos; ++at) ++launched;
    std::istringstream schedule(session.decode_schedule());
    std::string line;
    std::getline(schedule, line);
    EXPECT_EQ("inputs", line.substr(0, 6));
    EXPECT_NE(line.find("steps " + std::to_string(launched)), std::string::npos) << line << "\n" << text;
}

}  // namespace
}  // namespace invar
