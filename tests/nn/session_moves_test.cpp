// SPDX-License-Identifier: Apache-2.0
// Sessions whose weights, caches and inputs leave the device between steps and come back to other places: the same tokens, and
// on devices that capture no replay of what is bound to the places before.
#include <invar/defragment.h>
#include <invar/model.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "graph/executor.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

// Everything that may leave goes, and the segments that it was in too, so that it comes back to new ones.
std::uint64_t send_all_away(const std::shared_ptr<Device>& device) {
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*device);
    std::uint64_t gone = 0;
    while (const std::uint64_t bytes = executor->offload(1, {})) gone += bytes;
    device->allocator().trim();
    return gone;
}

TEST(SessionMoves, TheSameTokensFromOtherPlaces) {
    const std::vector<std::vector<std::int32_t>> all_prompts = {{1, 2, 3}, {4, 5}, {6, 7, 8, 9}};
    const std::vector<SamplingOptions> all_sampling = {
        {.temperature = 0.9f, .top_k = 20, .seed = 5}, {}, {.temperature = 0.8f, .seed = 3}};
    for (const char* name : {"llama", "gpt2", "qwen3"})
        for (const std::size_t sequences : {std::size_t{1}, std::size_t{3}}) {
            const auto model = Model::load(fs::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models" / name,
                                           {.dtype = DType::bf16});
            const std::vector<std::vector<std::int32_t>> prompts(
                all_prompts.begin(), all_prompts.begin() + static_cast<std::ptrdiff_t>(sequences));
            const std::vector<SamplingOptions> sampling(
                all_sampling.begin(), all_sampling.begin() + static_cast<std::ptrdiff_t>(sequences));
            const auto generate = [&](bool moved) {
                Session session(model, {.sequences = static_cast<std::int64_t>(sequences), .capacity = 64});
                std::vector<std::vector<std::int32_t>> steps = {session.start(prompts, sampling)};
                for (int i = 1; i < 24; ++i) {
                    // Two steps in a row capture, a third replays.
                    if (moved && i % 5 == 0) {
                        EXPECT_GT(send_all_away(model->device()), 0u) << name;
                        EXPECT_GT(memory_statistics(model->device()).bytes_offloaded, 0u);
                    }
                    steps.push_back(session.step());
                }
                return steps;
            };
            const auto want = generate(false);
            EXPECT_EQ(generate(true), want) << name << " " << sequences;
        }
}

}  // namespace
}  // namespace invar
