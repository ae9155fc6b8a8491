// SPDX-License-Identifier: Apache-2.0
// What outlives a device of the metal backend, and what stands beside it: code kept in binary archives, and a second device.
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "backends/metal_backend.h"
#include "device/disk_cache.h"

namespace invar::test {
namespace {

namespace fs = std::filesystem;

// Before anything asks for the cache: it is this process's own.
class OwnCache : public testing::Environment {
public:
    OwnCache() {
        if (::mkdtemp(folder_.data())) ::setenv("INVAR_CACHE_DIR", folder_.c_str(), 1);
    }
    void TearDown() override {
        std::error_code ignored;
        fs::remove_all(folder_, ignored);
    }

private:
    std::string folder_ = (fs::temp_directory_path() / "invar-test-XXXXXX").string();
};
const auto* const own_cache = testing::AddGlobalTestEnvironment(new OwnCache);

class MetalArchive : public MetalBackend {
protected:
    void SetUp() override {
        MetalBackend::SetUp();
        ASSERT_FALSE(DiskCache::shared().folder().empty());
        static int tests = 0;
        source_ = std::string(kMetalSource) + "// " + std::to_string(++tests) + "\n";
    }

    // Compiles the source on a device of its own; how many of its two pipelines an archive had. refused: Metal reads none.
    std::uint64_t archived(bool refused = false) {
        open({});
        metalsim::reset_counters();
        if (refused) metalsim::fail_archive(1);
        kernel_module = device->compile({"kept", SourceText{"metal", source_, {}}});
        EXPECT_EQ(metalsim::counters().pipelines, 2u);
        const std::uint64_t found = metalsim::counters().archived;
        const auto a = buffer(64), b = buffer(64);
        stream->fill(a->ref(), 0);
        add_one(*stream, b->ref(), a->ref(), 64);
        EXPECT_EQ(read(*stream, b->ref()), std::vector<std::uint32_t>(64, 1));
        return found;
    }

    std::string source_;
};

TEST_F(MetalArchive, CodeIsKeptAndFoundAgain) {
    EXPECT_EQ(archived(), 0u);
    EXPECT_EQ(archived(), 2u);
    source_ += "// another\n";
    EXPECT_EQ(archived(), 0u) << "of another source";
}

TEST_F(MetalArchive, WhatDoesNotLoadIsMadeAnew) {
    EXPECT_EQ(archived(), 0u);
    EXPECT_EQ(archived(true), 0u);
    EXPECT_EQ(archived(), 2u) << "the archive that was made anew";
}

// An entry of the cache that something else wrote over, cut off, or emptied.
TEST_F(MetalArchive, WhatIsDamagedIsMadeAnew) {
    const auto entries = [] {
        std::set<fs::path> paths;
        for (const auto& file : fs::recursive_directory_iterator(DiskCache::shared().folder()))
            if (file.is_regular_file()) paths.insert(file.path());
        return paths;
    };
    const auto before = entries();
    EXPECT_EQ(archived(), 0u);
    fs::path kept;
    for (const fs::path& path : entries())
        if (!before.contains(path)) kept = path;
    ASSERT_FALSE(kept.empty());
    for (const int how : {0, 1, 2}) {
        EXPECT_EQ(archived(), 2u) << how;
        if (how == 0) fs::resize_file(kept, 0);
        if (how == 1) fs::resize_file(kept, fs::file_size(kept) - 1);
        if (how == 2) std::ofstream(kept, std::ios::binary) << std::string(4096, 'x');
        EXPECT_EQ(archived(), 0u) << how;
    }
    EXPECT_EQ(archived(), 2u);
    fs::remove(kept);
}

TEST_F(MetalBackend, TwoDevicesStandSideBySide) {
    metalsim::DeviceOptions options;
    options.count = 2;
    open(options);
    const auto devices = backend->devices();
    ASSERT_EQ(devices.size(), 2u);
    EXPECT_EQ(devices[0]->name(), "metal");
    EXPECT_EQ(devices[1]->name(), "metal:1");
    const auto other = devices[1]->make_stream();
    const auto module = devices[1]->compile({"test", SourceText{"metal", kMetalSource, {}}});
    const auto a = buffer(64), b = buffer(64);
    const auto there = devices[1]->allocate_raw(4 * 64), result = devices[1]->allocate_raw(4 * 64);
    stream->fill(a->ref(), 0);
    add_one(*stream, b->ref(), a->ref(), 64);
    // From one device to the other by way of the host.
    const auto bytes = read(*stream, b->ref());
    other->upload(there->ref(), bytes.data(), 4 * bytes.size());
    const std::uint32_t count = 64;
    LaunchConfig config;
    config.block.x = 64;
    const BufferRef buffers[] = {result->ref(), there->ref()};
    const auto params = std::as_bytes(std::span(&count, 1));
    other->launch(module->kernel("add_one"), config, buffers, params);
    EXPECT_EQ(read(*other, result->ref()), std::vector<std::uint32_t>(64, 2));
    // What belongs to one is refused by the other, by name.
    EXPECT_THROW(other->launch(kernel_module->kernel("add_one"), config, buffers, params), InvalidArgument);
    const BufferRef mixed[] = {result->ref(), a->ref()};
    EXPECT_THROW(other->launch(module->kernel("add_one"), config, mixed, params), InvalidArgument);
    // One fails, the other goes on.
    metalsim::fail_command_buffer(1, metalsim::Failure::page_fault);
    other->launch(module->kernel("add_one"), config, buffers, params);
    EXPECT_THROW(other->synchronize(), LaunchFailed);
    add_one(*stream, a->ref(), b->ref(), 64);
    EXPECT_EQ(read(*stream, a->ref()), std::vector<std::uint32_t>(64, 2));
}

}  // namespace
}  // namespace invar::test
