// SPDX-License-Identifier: Apache-2.0
// The registry: what is built in, what is loaded, what is absent and why, and the choice of a device by name.
#include "device/registry.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace invar {
namespace {

namespace fs = std::filesystem;

fs::path module_file(const std::string& name) {
    return fs::path(INVAR_TEST_MODULES) / ("invar-" + name + INVAR_MODULE_SUFFIX);
}

void expect_absent(const std::string& name, const fs::path& file, const std::string& reason) {
    const auto backend = load_backend_module(name, file);
    ASSERT_NE(backend, nullptr) << name;
    EXPECT_EQ(backend->name(), name);
    EXPECT_NE(backend->unavailable_reason().find(reason), std::string::npos) << backend->unavailable_reason();
    EXPECT_NE(backend->unavailable_reason().find(file.string()), std::string::npos)
        << backend->unavailable_reason();
    EXPECT_TRUE(backend->devices().empty());
    EXPECT_EQ(backend->rank(), 0);
}

TEST(Registry, AModuleThatWorks) {
    const auto backend = load_backend_module("good", module_file("good"));
    EXPECT_EQ(backend->name(), "good");
    EXPECT_EQ(backend->unavailable_reason(), "");
}

TEST(Registry, BadModulesSayWhy) {
    expect_absent("wrong_version", module_file("wrong_version"),
                  "version " + std::to_string(kSeamVersion + 41) + " of the seam");
    expect_absent("no_entry", module_file("no_entry"), "has no function invar_backend_entry");
    expect_absent("throws", module_file("throws"), "driver file libxyz.so.1 was not found");
    expect_absent("throws_other", module_file("throws_other"), "unknown type");
    expect_absent("no_backend", module_file("no_backend"), "made no backend");
    expect_absent("missing", module_file("missing"), "could not be loaded");
    const fs::path text = fs::path(::testing::TempDir()) / ("invar-text" INVAR_MODULE_SUFFIX);
    std::ofstream(text) << "this is no library";
    expect_absent("text", text, "could not be loaded");
    fs::remove(text);
}

TEST(Registry, DiscoversByFileNameAndListsTheKnownAbsentOnes) {
    const std::vector<fs::path> folders = {"/nonexistent/folder", INVAR_TEST_MODULES};
    const auto found = discover_backend_modules(folders);
    std::vector<std::string> names;
    for (const auto& backend : found) names.emplace_back(backend->name());
    for (const char* expected : {"good", "wrong_version", "no_entry", "throws", "cuda", "opencl", "metal"})
        EXPECT_EQ(std::count(names.begin(), names.end(), expected), 1) << expected;
    for (const auto& backend : found)
        if (backend->name() == "cuda") {
            EXPECT_NE(backend->unavailable_reason().find(
                          "module invar-cuda was not found in /nonexistent/folder, "),
                      std::string::npos)
                << backend->unavailable_reason();
        }
}

TEST(Registry, BackendsOfThisBuild) {
    const auto list = list_backends();
    ASSERT_FALSE(list.empty());
    EXPECT_EQ(list.front().name, "cpu");
    const auto named = [&](const std::string& name) {
        return std::find_if(list.begin(), list.end(), [&](const BackendInfo& b) { return b.name == name; });
    };
    const auto cpu = named("cpu");
    EXPECT_EQ(cpu->unavailable_reason, "");
    ASSERT_EQ(cpu->devices.size(), 1u);
    const DeviceProperties& p = cpu->devices[0];
    EXPECT_EQ(p.name, "cpu");
    EXPECT_FALSE(p.description.empty());
    EXPECT_FALSE(p.driver.empty());
    EXPECT_GT(p.memory_total, 64u << 20);
    EXPECT_GT(p.memory_free, 0u);
    EXPECT_LE(p.memory_free, p.memory_total);
    EXPECT_TRUE(p.unified_memory);
    EXPECT_GE(p.compute_units, 1);
    const auto null = named("null");
    ASSERT_NE(null, list.end());
    EXPECT_EQ(null->unavailable_reason, "");
    EXPECT_EQ(null->devices.size(), 4u);
    for (const char* name : {"cuda", "opencl", "metal"}) {
        const auto b = named(name);
        ASSERT_NE(b, list.end()) << name;
        EXPECT_TRUE(!b->devices.empty() || !b->unavailable_reason.empty()) << name;
    }
}

class FindDevice : public ::testing::Test {
protected:
    void SetUp() override { ::unsetenv("INVAR_DEVICE"); }
    void TearDown() override { ::unsetenv("INVAR_DEVICE"); }
};

TEST_F(FindDevice, ByName) {
    const auto cpu = find_device("cpu");
    EXPECT_EQ(cpu->name(), "cpu");
    EXPECT_EQ(find_device("cpu:0"), cpu);
    EXPECT_EQ(find_device("null")->name(), "null");
    EXPECT_EQ(find_device("null:0"), find_device("null"));
    EXPECT_NE(find_device("null:1"), find_device("null"));
}

TEST_F(FindDevice, AutoIsTheBestAndNeverNull) {
    const auto best = find_device();
    EXPECT_EQ(find_device("auto"), best);
    EXPECT_EQ(find_device(""), best);
    EXPECT_TRUE(best->supports(Feature::arithmetic));
}

TEST_F(FindDevice, EnvironmentChoosesWhereNothingIsNamed) {
    ::setenv("INVAR_DEVICE", "null", 1);
    EXPECT_EQ(find_device()->name(), "null");
    EXPECT_EQ(find_device("auto")->name(), "null");
    EXPECT_EQ(find_device("cpu")->name(), "cpu");
    ::setenv("INVAR_DEVICE", "auto", 1);
    EXPECT_TRUE(find_device()->supports(Feature::arithmetic));
    ::setenv("INVAR_DEVICE", "nowhere:7", 1);
    try {
        find_device();
        FAIL() << "a device that does not exist was found";
    } catch (const NoDevice& e) {
        EXPECT_NE(std::string(e.what()).find("INVAR_DEVICE"), std::string::npos) << e.what();
    }
}

TEST_F(FindDevice, MessageNamesWhatThereIsAndWhy) {
    for (const char* name : {"cpu:1", "gpu", "CPU", "cpu:", "null:9", "tpu:0"}) {
        try {
            find_device(name);
            ADD_FAILURE() << name << " was found";
        } catch (const NoDevice& e) {
            const std::string what = e.what();
            EXPECT_NE(what.find("'" + std::string(name) + "'"), std::string::npos) << what;
            EXPECT_NE(what.find("there are: cpu, "), std::string::npos) << what;
            EXPECT_NE(what.find("null, null:1, null:cuda, null:metal"), std::string::npos) << what;
            EXPECT_NE(what.find("metal is absent: "), std::string::npos) << what;
        }
    }
}

}  // namespace
}  // namespace invar
