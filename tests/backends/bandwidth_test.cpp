// SPDX-License-Identifier: Apache-2.0
// Bandwidth measurement: the kernels move what they say, figures are plausible and kept in the disk cache.
#include "device/bandwidth.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/opencl_device.h"
#include "device/disk_cache.h"
#include "device/registry.h"
#include "device/services.h"

namespace invar {
namespace {

// Measurements of tests go to a folder of their own, set before the shared cache is first used.
const bool cache_is_ours = [] {
    const auto folder =
        std::filesystem::temp_directory_path() / ("invar-bandwidth-" + std::to_string(::getpid()));
    ::setenv("INVAR_CACHE_DIR", folder.c_str(), 1);
    std::atexit([] {
        std::error_code ignored;
        std::filesystem::remove_all(std::getenv("INVAR_CACHE_DIR"), ignored);
    });
    return true;
}();

TEST(Bandwidth, ReadTouchesEveryWord) {
    const auto device = find_device("cpu");
    const auto stream = device->make_stream();
    for (const std::size_t words : {1u, 7u, 64u, 1000u, 65536u, 200001u}) {
        const auto buffer = device->allocate_raw(words * 8), result = device->allocate_raw(8);
        auto* w = reinterpret_cast<std::uint64_t*>(buffer->host());
        std::uint64_t expected = 0;
        for (std::size_t i = 0; i < words; ++i) expected += w[i] = (i + 1) * 0x9e3779b97f4a7c15u;
        device->bandwidth()->read(*stream, buffer->ref(), result->ref());
        stream->synchronize();
        std::uint64_t sum = 0;
        std::memcpy(&sum, result->host(), 8);
        EXPECT_EQ(sum, expected) << words;
    }
}

TEST(Bandwidth, CopyCopies) {
    const auto device = find_device("cpu");
    const auto stream = device->make_stream();
    for (const std::size_t bytes : {64u, 192u, 1u << 20, (3u << 20) + 64}) {
        const auto from = device->allocate_raw(bytes), to = device->allocate_raw(bytes);
        for (std::size_t i = 0; i < bytes; ++i) from->host()[i] = static_cast<std::byte>(i * 7 + i / 256);
        std::memset(to->host(), 0, bytes);
        device->bandwidth()->copy(*stream, to->ref(), from->ref());
        stream->synchronize();
        EXPECT_EQ(std::memcmp(to->host(), from->host(), bytes), 0) << bytes;
    }
    const auto a = device->allocate_raw(256);
    EXPECT_THROW(device->bandwidth()->copy(*stream, a->ref(8), a->ref()), InvalidArgument);
    EXPECT_THROW(device->bandwidth()->read(*stream, {a.get(), 0, 12}, {a.get(), 0, 8}), InvalidArgument);
}

// The kernels from source: the exclusive or of all words, and copies, on the first OpenCL device.
TEST(Bandwidth, OpenclReadsEveryWordAndCopies) {
    INVAR_NEEDS_OPENCL(device);
    const auto stream = device->make_stream();
    for (const std::size_t words : {0u, 2u, 14u, 4096u, 200002u}) {
        std::vector<std::uint64_t> w(words), back(words);
        std::uint64_t expected = 0, found = 1;
        for (std::size_t i = 0; i < words; ++i) expected ^= w[i] = (i + 1) * 0x9e3779b97f4a7c15u;
        const auto from = device->allocate_raw(words * 8 + 16), to = device->allocate_raw(words * 8);
        const auto result = device->allocate_raw(8);
        const BufferRef source{from.get(), 16, words * 8};
        stream->upload(source, w.data(), words * 8);
        device->bandwidth()->read(*stream, source, result->ref());
        device->bandwidth()->copy(*stream, to->ref(), source);
        stream->download(&found, result->ref(), 8);
        stream->download(back.data(), to->ref(), words * 8);
        stream->synchronize();
        EXPECT_EQ(found, expected) << words;
        EXPECT_EQ(back, w) << words;
        EXPECT_THROW(device->bandwidth()->copy(*stream, {from.get(), 8, 0}, {to.get(), 0, 0}),
                     InvalidArgument);
    }
}

TEST(Bandwidth, MeasuresAPlausibleRate) {
    const auto device = find_device("cpu");
    const MeasuredBandwidth m = measure_bandwidth(*device, 16 << 20);
    std::printf("bandwidth over 16 MiB: read %.1f GB/s, copy %.1f GB/s\n", m.read / 1e9, m.copy / 1e9);
    EXPECT_GT(m.read, 1e8);
    EXPECT_LT(m.read, 1e14);
    EXPECT_GT(m.copy, 1e8);
    EXPECT_LT(m.copy, 1e14);
    EXPECT_THROW(measure_bandwidth(*find_device("null"), 1 << 20), Unsupported);
}

TEST(Bandwidth, SizeThatMeasuresMemory) {
    const auto device = find_device("cpu");
    const std::size_t bytes = memory_measurement_bytes(*device);
    EXPECT_LE(bytes, std::size_t{1} << 30);
    EXPECT_LE(bytes, device->properties().memory_total / 4);
    EXPECT_GT(bytes, 1u << 20);
}

TEST(Bandwidth, PropertiesComeFromTheDiskCache) {
    const auto device = find_device("cpu");
    ASSERT_TRUE(cache_is_ours);
    const std::string key = bandwidth_cache_key(*device);
    const double rates[2] = {123e9, 456e9};
    DiskCache::shared().store("bandwidth", key, std::as_bytes(std::span(rates, 1)));
    EXPECT_EQ(known_properties(*device).read_bandwidth, 0) << "an entry of another size is not trusted";
    DiskCache::shared().store("bandwidth", key, std::as_bytes(std::span(rates)));
    for (const DeviceProperties& p :
         {measured_properties(*device), known_properties(*device), list_backends().front().devices[0]}) {
        EXPECT_EQ(p.read_bandwidth, 123e9);
        EXPECT_EQ(p.copy_bandwidth, 456e9);
        EXPECT_EQ(p.name, "cpu");
    }
    EXPECT_EQ(measured_properties(*find_device("null")).read_bandwidth, 0);
}

}  // namespace
}  // namespace invar
