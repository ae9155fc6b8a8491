// SPDX-License-Identifier: Apache-2.0
// What a model costs and what happens when there is no room: an 8B-shaped folder is loaded in place, injected faults
// surface as typed errors or are recovered with the same answer, and the process goes on.
#include <invar/error.h>
#include <invar/model.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "device/faults.h"

namespace invar {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = INVAR_SOURCE_DIR;
const fs::path kLlamaFolder = kRoot / "tests" / "data" / "models" / "llama";

// Anonymous memory of this process in bytes.
std::uint64_t anonymous_memory() {
    std::ifstream in("/proc/self/status");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
    return 0;
}

TEST(Memory, AnEightBillionShapeIsUsedInPlace) {
#if !defined(__linux__)
    GTEST_SKIP() << "RssAnon is read from /proc";
#endif
    const auto device = find_device();
    if (device->properties().unified_memory && !device->supports(Feature::wrap_host))
        GTEST_SKIP() << device->name() << " copies weights, into memory that it shares with the host";
    const fs::path folder = fs::path(testing::TempDir()) / "invar-sparse-8b";
    fs::remove_all(folder);
    const std::string command = "python3 '" + (kRoot / "tools" / "make_sparse_model.py").string() +
                                "' --shape llama-8b --dtype bf16 --out '" + folder.string() + "' >/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    const std::uint64_t before = anonymous_memory();
    std::uint64_t reported = 0;
    const auto model =
        Model::load(folder, {.progress = [&](std::uint64_t done, std::uint64_t) { reported = done; }});
    EXPECT_GT(model->info().parameters, 8'000'000'000u);
    EXPECT_EQ(model->info().weight_bytes, reported);
    const std::uint64_t after = anonymous_memory();
    EXPECT_GT(before, 0u);
    EXPECT_LT(after - std::min(before, after), std::uint64_t{1} << 30);
    fs::remove_all(folder);
}

std::vector<std::int32_t> some_tokens() {
    const auto model = Model::load(kLlamaFolder, {.dtype = DType::f32});
    Session session(model, {.capacity = 32});
    const std::vector<std::int32_t> prompt[] = {{1, 2, 3}};
    const SamplingOptions greedy[] = {{}};
    std::vector<std::int32_t> tokens = session.start(prompt, greedy);
    for (int i = 0; i < 5; ++i) tokens.push_back(session.step()[0]);
    return tokens;
}

struct FaultsOff {
    ~FaultsOff() { set_faults(""); }
};

// One failed request to the driver is recovered by trimming, two by waiting for the work in flight; four in a row are an
// error of their type. Wherever it strikes, the next attempt gives the right answer.
TEST(Faults, OutOfMemoryAtEveryAllocation) {
    const FaultsOff off;
    const std::vector<std::int32_t> want = some_tokens();
    int recovered = 0, failed = 0;
    for (int n = 1; n <= 60; n += 3) {
        find_device()->allocator().trim();  // so that requests go to the driver, where the fault is
        set_faults("oom@" + std::to_string(n));
        EXPECT_EQ(some_tokens(), want) << "one failure at " << n;
        ++recovered;
        find_device()->allocator().trim();
        const std::string twice = "oom@" + std::to_string(n) + ",oom@" + std::to_string(n + 1);
        set_faults(twice);
        EXPECT_EQ(some_tokens(), want) << "two failures at " << n;
        find_device()->allocator().trim();
        set_faults(twice + ",oom@" + std::to_string(n + 2) + ",oom@" + std::to_string(n + 3));
        try {
            EXPECT_EQ(some_tokens(), want);
        } catch (const OutOfMemory& e) {
            ++failed;
            EXPECT_NE(std::string(e.what()).find("bytes"), std::string::npos) << e.what();
        }
        set_faults("");
        EXPECT_EQ(some_tokens(), want) << "after four failures at " << n;
    }
    EXPECT_GT(recovered, 0);
    EXPECT_GT(failed, 0);
}

TEST(Faults, AShortReadNamesTheFile) {
    const FaultsOff off;
    set_faults("short_read@1");
    try {
        Model::load(kLlamaFolder);
        FAIL() << "loaded";
    } catch (const IoError& e) {
        EXPECT_NE(std::string(e.what()).find("llama"), std::string::npos) << e.what();
    }
    set_faults("");
    EXPECT_NO_THROW(Model::load(kLlamaFolder));
}

}  // namespace
}  // namespace invar
