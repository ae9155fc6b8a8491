// SPDX-License-Identifier: Apache-2.0
// What a Metal device is given, looked at without one: golden schedules of decode steps as "null:metal" takes them, with the
// number of dispatches a token, and the compilation of every source that the models ask for by the software Metal device.
#include <invar/error.h>
#include <invar/model.h>

#include <filesystem>
#include <fstream>
#include <mutex>

#include <gtest/gtest.h>

#include "base/env.h"
#include "base/thread_pool.h"
#include "device/device.h"
#include "device/services.h"
#include "kernels/source.h"
#include "support/golden.h"
#if defined(INVAR_HAS_METALSIM)
#include "metalsim/needs_metalsim.h"
#endif

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

// Every source that models in every type ask for.
std::vector<const Module*> sources_of_models() {
    for (const auto& folder : fs::directory_iterator(kModelFolders)) {
        if (!folder.is_directory()) continue;
        for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
            const auto model = Model::load(folder.path(), {.device = "null:metal", .dtype = type});
            const std::int64_t long_one = std::min<std::int64_t>(model->info().context, 512);
            const Session one(model, {.capacity = 64}),
                several(model, {.sequences = 3, .capacity = long_one}),
                many(model, {.sequences = 24, .capacity = 64});
        }
    }
    // Heads of a size that models in use have.
    const auto large =
        Model::random("gpt2", {.device = "null:metal", .dtype = DType::f16, .max_context = 64});
    const Session session(large);
    return kernels::source_modules("metal");
}

// For Apple's compiler: INVAR_METAL_SOURCES names a folder for them.
TEST(MetalSource, AreWrittenWhereAFolderIsNamed) {
    const std::string folder = env_string("INVAR_METAL_SOURCES");
    if (folder.empty()) GTEST_SKIP() << "INVAR_METAL_SOURCES names no folder";
    fs::create_directories(folder);
    int number = 0;
    for (const Module* module : sources_of_models()) {
        std::ofstream out(fs::path(folder) / (std::to_string(number++) + ".metal"));
        out << "// " << module->name << "\n" << std::get<SourceText>(module->body).text;
        ASSERT_TRUE(out.good());
    }
}

#if defined(INVAR_HAS_METALSIM)
TEST(MetalSource, EverySourceOfTheModelsCompiles) {
    INVAR_NEEDS_METALSIM();
    const std::vector<const Module*> modules = sources_of_models();
    ASSERT_GT(modules.size(), 30u);
    std::mutex mutex;
    ThreadPool::shared().parallel_for(static_cast<std::int64_t>(modules.size()), [&](std::int64_t i) {
        const Module& module = *modules[static_cast<std::size_t>(i)];
        try {
            const test::MslLibrary library(std::get<SourceText>(module.body).text);
            const std::lock_guard lock(mutex);
            EXPECT_FALSE(library.kernels().empty()) << module.name;
        } catch (const CompileFailed& e) {
            const std::lock_guard lock(mutex);
            ADD_FAILURE() << module.name << "\n" << e.what();
        }
    });
}
#endif

}  // namespace
}  // namespace invar
