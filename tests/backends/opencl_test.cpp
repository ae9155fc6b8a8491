// SPDX-License-Identifier: Apache-2.0
// What the opencl backend does beyond the contract of streams (stream_contract_test.cpp), on the first OpenCL device: its
// calling convention, typed errors, the disk cache, and that it declines what opencl_declines.txt lists and nothing else.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "backends/declines.h"
#include "backends/opencl_device.h"
#include "device/allocator.h"
#include "device/disk_cache.h"

namespace invar::test {
namespace {

constexpr const char* kSource = R"(
typedef struct { float factor; int n; } Scale;
kernel void scale(global float* ym, ulong yo, global const float* xm, ulong xo, Scale p) {
    global float* y = (global float*)((global uchar*)ym + yo);
    global const float* x = (global const float*)((global const uchar*)xm + xo);
    const int i = get_global_id(0);
    if (i < p.n) y[i] = p.factor * x[i];
}
kernel void reverse(global float* y, ulong offset, local float* room) {  // one block, through shared memory
    const int n = 1000;
    for (int i = get_local_id(0); i < n; i += get_local_size(0)) room[i] = i;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = get_local_id(0); i < n; i += get_local_size(0)) y[i] = room[n - 1 - i];
}
kernel void place(global int* y, ulong offset) {  // every thread writes where it stands in a grid of (2, 3, 4) blocks
    const int x = get_global_id(0), z = get_global_id(2);
    y[(z * get_global_size(1) + get_global_id(1)) * get_global_size(0) + x] = get_group_id(1) * 100 + get_local_id(2);
}
)";

struct OpenclScaleParams {
    float factor;
    std::int32_t n;
};

class OpenclTest : public ::testing::Test {
protected:
    void SetUp() override {
        INVAR_NEEDS_OPENCL(opencl);
        device = opencl;
        start();
    }

    void start() {
        stream = device->make_stream();
        module = device->compile({"opencl_test", SourceText{"opencl", kSource, {}}});
    }

    // y = factor * x through the kernel, from and to pieces that begin at odd offsets; checks every element.
    void scale_and_check(float factor) { scale_and_check(factor, *stream, *module); }
    void scale_and_check(float factor, Stream& on, LoadedModule& by) const {
        const std::int32_t n = 1000;
        std::vector<float> x(n), y(n, -1);
        std::iota(x.begin(), x.end(), 1.0f);
        const auto a = device->allocate_raw(n * 4 + 12), b = device->allocate_raw(n * 4 + 20);
        on.fill(b->ref(), 0xff);
        on.upload(a->ref(12), x.data(), n * 4);
        const OpenclScaleParams p{factor, n};
        LaunchConfig config;
        config.grid.x = 8;
        config.block.x = 128;
        on.launch(by.kernel("scale"), config, {{b->ref(20), a->ref(12)}}, std::as_bytes(std::span(&p, 1)));
        on.download(y.data(), b->ref(20), n * 4);
        on.synchronize();
        for (int i = 0; i < n; ++i)
            ASSERT_EQ(y[static_cast<std::size_t>(i)], factor * static_cast<float>(i + 1));
    }

    std::shared_ptr<Device> device;
    std::unique_ptr<Stream> stream;
    std::shared_ptr<LoadedModule> module;
};

TEST_F(OpenclTest, KernelsTakeBuffersOffsetsAndParameters) { scale_and_check(2.5f); }

TEST_F(OpenclTest, SharedMemoryIsALocalPointer) {
    const auto y = device->allocate_raw(1000 * 4);
    LaunchConfig config;
    config.block.x = 64;
    config.shared_bytes = 1000 * 4;
    stream->launch(module->kernel("reverse"), config, {{y->ref()}}, {});
    std::vector<float> got(1000);
    stream->download(got.data(), y->ref(), got.size() * 4);
    stream->synchronize();
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], static_cast<float>(999 - i));
}

TEST_F(OpenclTest, GridsAndBlocksHaveThreeDimensions) {
    const Dim3 grid{2, 3, 4}, block{4, 2, 3};
    const std::size_t nx = 8, ny = 6, nz = 12;
    const auto y = device->allocate_raw(nx * ny * nz * 4);
    LaunchConfig config;
    config.grid = grid;
    config.block = block;
    stream->launch(module->kernel("place"), config, {{y->ref()}}, {});
    std::vector<std::int32_t> got(nx * ny * nz);
    stream->download(got.data(), y->ref(), got.size() * 4);
    stream->synchronize();
    for (std::size_t z = 0; z < nz; ++z)
        for (std::size_t r = 0; r < ny; ++r)
            for (std::size_t x = 0; x < nx; ++x)
                ASSERT_EQ(got[(z * ny + r) * nx + x], static_cast<std::int32_t>(r / 2 * 100 + z % 3));
}

TEST_F(OpenclTest, CopiesBetweenDevicesGoThroughTheHost) {
    const auto cpu = find_device("cpu");
    const auto here = device->allocate_raw(5000), there = cpu->allocate_raw(5000),
               back = cpu->allocate_raw(5000);
    for (std::size_t i = 0; i < 5000; ++i) there->host()[i] = static_cast<std::byte>(i * 7);
    stream->copy(here->ref(), there->ref());
    stream->copy(back->ref(), here->ref());
    stream->synchronize();
    EXPECT_EQ(std::memcmp(there->host(), back->host(), 5000), 0);
    const auto null = find_device("null")->allocate_raw(64);
    EXPECT_THROW(stream->copy(here->ref(), null->ref()), InvalidArgument);
    EXPECT_THROW(stream->copy(null->ref(), null->ref()), InvalidArgument);
    EXPECT_FALSE(stream->poisoned());
}

TEST_F(OpenclTest, StreamsOfSeveralThreadsShareAKernel) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            const auto own = device->make_stream();
            for (int i = 0; i < 20; ++i) scale_and_check(static_cast<float>(t * 100 + i), *own, *module);
        });
    for (std::thread& thread : threads) thread.join();
}

TEST_F(OpenclTest, ManyCommandsBetweenTwoWaits) {
    const auto y = device->allocate_raw(256);
    const auto other = device->make_stream();
    std::unique_ptr<Event> event;
    for (int i = 0; i < 2000; ++i) {  // two streams that wait for each other in turn
        stream->fill(y->ref(), static_cast<std::uint8_t>(i));
        stream->record_into(event);
        other->wait(*event);
        other->record_into(event);
        stream->wait(*event);
    }
    std::vector<std::uint8_t> got(256);
    other->download(got.data(), y->ref(), 256);
    other->synchronize();
    EXPECT_EQ(got, std::vector<std::uint8_t>(256, static_cast<std::uint8_t>(1999)));
}

TEST_F(OpenclTest, LaunchesThatCannotBeAreRefusedAtTheCall) {
    const auto y = device->allocate_raw(4096);
    const auto refused = [&](const char* kernel, LaunchConfig config, std::size_t params, ErrorKind kind,
                             const char* word) {
        const std::vector<std::byte> bytes(params);
        const std::vector<BufferRef> refs(kernel == std::string("scale") ? 2 : 1, y->ref());
        try {
            stream->launch(module->kernel(kernel), config, refs, bytes);
            FAIL() << word;
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), kind) << e.what();
            EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
        }
    };
    LaunchConfig config;
    refused("scale", config, 0, ErrorKind::kLaunchFailed, "declares 5 arguments and is given 4");
    refused("reverse", config, 0, ErrorKind::kLaunchFailed, "declares 3 arguments and is given 2");
    config.block.x = 1u << 20;
    refused("place", config, 0, ErrorKind::kInvalidArgument, "threads");
    config.block = {1u << 31, 1u << 31, 1u << 31};
    refused("place", config, 0, ErrorKind::kInvalidArgument, "threads");
    config.block = {1, 1, 1};
    config.grid.y = 0;
    refused("place", config, 0, ErrorKind::kInvalidArgument, "a size is 0");
    EXPECT_FALSE(stream->poisoned());
    scale_and_check(1.5f);
}

TEST_F(OpenclTest, AFailedCompileShowsTheLogAndTheNumberedSource) {
    const std::string text = "kernel void bad(global float* y, ulong o) {\n    y[0] = missing;\n}\n";
    try {
        device->compile({"bad", SourceText{"opencl", text, {}}});
        FAIL();
    } catch (const CompileFailed& e) {
        EXPECT_NE(std::string(e.what()).find("missing"), std::string::npos) << e.what();
        EXPECT_NE(e.log().find("2:     y[0] = missing;"), std::string::npos) << e.log();
    }
    EXPECT_THROW(device->compile({"x", ProgramText{"nonsense"}}), CompileFailed);
}

TEST_F(OpenclTest, OptionsOfTheSourceReachTheCompiler) {
    const std::string text = "kernel void f() { WORDS }\n";
    EXPECT_THROW(device->compile({"options", SourceText{"opencl", text, {}}}), CompileFailed);
    EXPECT_NO_THROW(device->compile({"options", SourceText{"opencl", text, {"-DWORDS="}}}));
}

TEST_F(OpenclTest, NoRoomIsAnErrorWithSizesAndTheProcessGoesOn) {
    const std::size_t bytes = std::size_t{1} << 44;
    try {
        device->allocator().allocate(bytes);
        FAIL();
    } catch (const OutOfMemory& e) {
        EXPECT_GE(e.requested(), bytes);
        EXPECT_GT(e.available(), 0u);
    }
    // More than there is, though no buffer alone is too large.
    std::vector<std::unique_ptr<Buffer>> held;
    const std::size_t total = device->properties().memory_total;
    const auto fill_up = [&] {
        for (int i = 0; i < 64; ++i) held.push_back(device->allocate_raw(total / 8));
    };
    EXPECT_THROW(fill_up(), OutOfMemory);
    EXPECT_GT(held.size(), 3u);
    EXPECT_LT(device->properties().memory_free, total / 2);
    held.clear();
    scale_and_check(3.0f);
}

// The cache of this test binary lies in a folder of its own (bandwidth_test.cpp). An entry is a header of 48 bytes, its
// key's length at 16, the key, and the value.
struct CacheEntry {
    std::filesystem::path file;
    std::string key, value;
};
std::vector<CacheEntry> cache_entries() {
    std::vector<CacheEntry> entries;
    for (const auto& file : std::filesystem::directory_iterator(DiskCache::shared().folder() / "opencl")) {
        std::ifstream in(file.path(), std::ios::binary);
        const std::string bytes((std::istreambuf_iterator<char>(in)), {});
        std::uint64_t length = 0;
        if (bytes.size() < 48) continue;
        std::memcpy(&length, bytes.data() + 16, sizeof length);
        if (length > bytes.size() - 48) continue;
        entries.push_back({file.path(), bytes.substr(48, length), bytes.substr(48 + length)});
    }
    return entries;
}

std::vector<std::byte> as_bytes(const std::string& text) {
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}

TEST_F(OpenclTest, ACorruptEntryOfTheCacheIsCompiledAgain) {
    DiskCache& cache = DiskCache::shared();
    ASSERT_FALSE(cache.folder().empty());
    ASSERT_FALSE(cache_entries().empty());
    start();  // from the cache
    scale_and_check(4.0f);
    // Cut short: the cache itself notices.
    for (const CacheEntry& entry : cache_entries())
        std::filesystem::resize_file(entry.file, std::filesystem::file_size(entry.file) / 2);
    start();
    scale_and_check(5.0f);
    // Whole, and no binary: only the driver notices.
    const std::vector<std::byte> zeros(4096);
    for (const CacheEntry& entry : cache_entries()) cache.store("opencl", entry.key, zeros);
    start();
    scale_and_check(6.0f);
}

TEST_F(OpenclTest, TakesItsOwnBinariesAndRefusesOthers) {
    bool found = false;
    for (const CacheEntry& entry : cache_entries()) {
        if (entry.key.find("kernel void scale") == std::string::npos) continue;
        found = true;
        EXPECT_NE(entry.key.find(device->properties().description), std::string::npos);
        EXPECT_NE(entry.key.find("-cl-std=CL1.2"), std::string::npos);
        module = device->compile({"binary", BinaryImage{"opencl", as_bytes(entry.value)}});
        scale_and_check(7.0f);
    }
    EXPECT_TRUE(found);
    EXPECT_THROW(device->compile({"x", BinaryImage{"opencl", std::vector<std::byte>(4096)}}), CompileFailed);
    EXPECT_THROW(device->compile({"x", BinaryImage{"opencl", {}}}), CompileFailed);
}

TEST_F(OpenclTest, TheWholeMachineSeesItsDevices) {
    const DeviceProperties p = device->properties();
    EXPECT_NE(p.driver.find("OpenCL"), std::string::npos) << p.driver;
    EXPECT_GE(p.max_block_threads, 16);
    EXPECT_GE(p.shared_memory_bytes, 16u << 10);
    EXPECT_EQ(find_device("opencl:0"), device);
    EXPECT_THROW(find_device("opencl:99"), NoDevice);
}

TEST_F(OpenclTest, LargeFillsEndWhereTheyShould) {
    const std::size_t bytes = (std::size_t{257} << 20) + 3, place = 5;
    const auto buffer = device->allocate_raw(bytes + 16);
    stream->fill(buffer->ref(0), 1);
    stream->fill({buffer.get(), place, bytes}, 0xab);
    std::vector<std::uint8_t> all(bytes + 16);
    stream->download(all.data(), buffer->ref(), all.size());
    stream->synchronize();
    EXPECT_EQ(std::count(all.begin(), all.end(), 0xab), static_cast<std::ptrdiff_t>(bytes));
    EXPECT_EQ(std::count(all.begin(), all.begin() + place, 1), 5);
    EXPECT_EQ(std::count(all.end() - 11, all.end(), 1), 11);
}

// DEV-7: whatever the backend declines is in the table, and nothing in the table works.
TEST_F(OpenclTest, DeclinesWhatTheTableListsAndNothingElse) {
    EXPECT_EQ(declined_by(*device, false), table_of_declines("opencl_declines.txt"));
}

}  // namespace
}  // namespace invar::test
