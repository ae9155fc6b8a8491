// SPDX-License-Identifier: Apache-2.0
// The cost model over calibrations made up here, the cache that keeps real ones, and a short measurement on the device at
// hand (INVAR_DEVICE).
#include "graph/calibration.h"

#include <invar/error.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "device/disk_cache.h"

namespace invar::graph {
namespace {

using kernels::Cost;

constexpr WorkClass kClasses[] = {WorkClass::matmul, WorkClass::fused_linear, WorkClass::pointwise};

Calibration host() {
    Calibration c;
    c.launch = 1e-7;
    c.read_bandwidth = c.copy_bandwidth = 20e9;
    c.pointwise_rate = 20e9;
    c.product_f32 = c.product_f16 = c.product_bf16 = 100e9;
    return c;
}

Calibration card() {
    Calibration c;
    c.launch = 2e-6;
    c.read_bandwidth = c.copy_bandwidth = 4e12;
    c.upload_bandwidth = c.download_bandwidth = 50e9;
    c.upload_latency = c.download_latency = 10e-6;
    c.pointwise_rate = 30e12;
    c.product_f32 = 50e12;
    c.product_f16 = c.product_bf16 = 800e12;
    return c;
}

TEST(Calibration, SecondsAreLaunchPlusTheSlowerOfMovingAndComputing) {
    const Calibration c = card();
    EXPECT_DOUBLE_EQ(seconds(c, {}), 2e-6);
    EXPECT_DOUBLE_EQ(seconds(c, {4e12, 1}), 2e-6 + 1);               // bound by memory
    EXPECT_DOUBLE_EQ(seconds(c, {1, 30e12}), 2e-6 + 1);              // by pointwise arithmetic
    EXPECT_DOUBLE_EQ(seconds(c, {1, 50e12, DType::f32}), 2e-6 + 1);  // by products of each type
    EXPECT_DOUBLE_EQ(seconds(c, {1, 800e12, DType::bf16}), 2e-6 + 1);
    EXPECT_DOUBLE_EQ(seconds(c, {1, 800e12, DType::f16}), 2e-6 + 1);
    EXPECT_DOUBLE_EQ(seconds(c, {}, 50e9, 100e9), 2e-6 + 10e-6 + 1 + 10e-6 + 2);
    EXPECT_DOUBLE_EQ(seconds(c, {}, 0, 50e9), 2e-6 + 10e-6 + 1);  // what does not move waits for nothing
    EXPECT_DOUBLE_EQ(ceiling_seconds(c, {4e12, 30e12}), 1);
    EXPECT_EQ(seconds(Calibration{}, {1e9, 1e9}, 1e9, 1e9), 0);  // rates that nobody knows do not count
}

TEST(Calibration, RepresentativeCosts) {
    const Cost sum = representative_cost(WorkClass::pointwise, 1000);
    EXPECT_EQ(sum.bytes, 12000);
    EXPECT_EQ(sum.flops, 1000);
    const Cost product = representative_cost(WorkClass::matmul, 99);  // the next square is 10 x 10
    EXPECT_EQ(product.bytes, 1200);
    EXPECT_EQ(product.flops, 2000);
    EXPECT_EQ(product.product, DType::f32);
    EXPECT_GT(representative_cost(WorkClass::fused_linear, 99).flops, product.flops);
    EXPECT_EQ(representative_transfers(WorkClass::pointwise, 10).up, 80);
    EXPECT_EQ(representative_transfers(WorkClass::matmul, 100).up, 800);
    EXPECT_EQ(representative_transfers(WorkClass::matmul, 100).down, 400);
}

TEST(Calibration, BreakEvenOfASumByHand) {
    // Resident: 2e-6 + 12 n / 4e12 < 1e-7 + 12 n / 20e9, so n > 1.9e-6 / (12 / 20e9 - 12 / 4e12) = 3182.6.
    EXPECT_EQ(break_even(WorkClass::pointwise, host(), card(), false), 3183);
    // Through the link a sum moves 12 n bytes at 50 GB/s, less than the host's memory gives (20 GB/s), behind 20 us.
    const double n = (1.9e-6 + 20e-6) / (12 / 20e9 - 12 / 4e12 - 12 / 50e9);
    EXPECT_EQ(break_even(WorkClass::pointwise, host(), card(), true),
              static_cast<std::int64_t>(std::floor(n)) + 1);
    Calibration slow = card();
    slow.upload_bandwidth = 10e9;  // slower than the host's memory: never worth it
    EXPECT_EQ(break_even(WorkClass::pointwise, host(), slow, true), std::nullopt);
    EXPECT_TRUE(break_even(WorkClass::matmul, host(), slow, true).has_value());  // k operations a byte
}

TEST(Calibration, BreakEvenOfTheSameDeviceIsNever) {
    for (const WorkClass work : kClasses) {
        EXPECT_EQ(break_even(work, host(), host(), false), std::nullopt);
        Calibration better = host();
        better.launch = 0;
        EXPECT_EQ(break_even(work, host(), better, false), 1);
    }
}

// Over random devices: at the answer the device is faster, just below it is not, and from it on it stays so.
TEST(Calibration, BreakEvenIsTheFirstSizeThatStaysFaster) {
    for (unsigned seed = 0; seed < 100; ++seed) {
        std::mt19937 rng(seed);
        const auto around = [&](double x) {
            return x * std::exp2(std::uniform_real_distribution<>(-4, 4)(rng));
        };
        Calibration h = host(), d = card();
        for (double Calibration::*f : {&Calibration::launch, &Calibration::copy_bandwidth,
                                       &Calibration::product_f32, &Calibration::pointwise_rate}) {
            h.*f = around(h.*f);
            d.*f = around(d.*f / (f == &Calibration::launch ? 1 : 30));
        }
        d.upload_bandwidth = around(20e9);
        d.download_bandwidth = around(20e9);
        for (const WorkClass work : kClasses)
            for (const bool transfers : {false, true}) {
                const auto faster = [&](std::int64_t n) {
                    const Cost cost = representative_cost(work, n);
                    const Transfers t = transfers ? representative_transfers(work, n) : Transfers{};
                    return seconds(d, cost, t.up, t.down) < seconds(h, cost);
                };
                const auto found = break_even(work, h, d, transfers);
                if (!found) {
                    EXPECT_FALSE(faster(std::int64_t{1} << 36)) << "seed " << seed;
                    continue;
                }
                EXPECT_TRUE(faster(*found)) << "seed " << seed;
                if (*found > 1) {
                    EXPECT_FALSE(faster(*found - 1)) << "seed " << seed;
                }
                for (std::int64_t n = 1; n <= std::int64_t{1} << 36; n *= 2)
                    if (n >= *found) {
                        EXPECT_TRUE(faster(n)) << "seed " << seed << " n " << n;
                    }
            }
    }
}

TEST(Calibration, UncalibratedDefaults) {
    EXPECT_EQ(default_break_even(WorkClass::matmul), 500);
    EXPECT_EQ(default_break_even(WorkClass::fused_linear), 1000);
    EXPECT_EQ(default_break_even(WorkClass::pointwise), 4096);
}

// What was kept comes back; what is corrupt or makes no sense is not believed.
TEST(Calibration, TheCacheIsNotTrusted) {
    const auto device = find_device();
    DiskCache& cache = DiskCache::shared();
    if (cache.folder().empty()) GTEST_SKIP() << "no cache folder can be written here";
    const std::string key = calibration_cache_key(*device);
    EXPECT_NE(key.find(device->name()), std::string::npos);
    // What was there is put back, however the test ends.
    struct Restore {
        DiskCache& cache;
        std::string key;
        std::optional<std::vector<std::byte>> before = cache.load("calibration", key);
        ~Restore() {
            if (before)
                cache.store("calibration", key, *before);
            else
                std::filesystem::remove(cache.entry_path("calibration", key));
        }
    } restore{cache, key};
    std::array<double, 11> figures{};
    const auto stored = [&] {
        cache.store("calibration", key, std::as_bytes(std::span(figures)));
        return known_calibration(*device);
    };
    for (std::size_t i = 0; i < figures.size(); ++i) figures[i] = static_cast<double>(i + 1);
    const auto known = stored();
    ASSERT_TRUE(known.has_value());
    EXPECT_EQ(known->launch, 1);
    EXPECT_EQ(known->product_bf16, 11);
    EXPECT_EQ(calibration(*device), *known);  // not measured again
    for (const double bad : {-1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
        figures[3] = bad;
        EXPECT_FALSE(stored().has_value()) << bad;
    }
    cache.store("calibration", key, std::as_bytes(std::span(figures).first(10)));
    EXPECT_FALSE(known_calibration(*device).has_value());
}

TEST(Calibration, MeasuresTheDeviceAtHand) {
    const auto device = find_device();
    CalibrationEffort effort;
    effort.sample_seconds = 1e-3;
    effort.memory_bytes = 1 << 16;
    effort.transfer_bytes = 1 << 16;
    effort.largest_product = 32;
    effort.largest_pointwise = 512;
    int calls = 0, last = -1;
    const Calibration c = measure_calibration(*device, effort, [&](int done, int total) {
        EXPECT_GT(done, last);
        EXPECT_LE(done, total);
        last = done;
        ++calls;
    });
    EXPECT_GE(calls, 8);
    for (const double figure : {c.launch, c.read_bandwidth, c.copy_bandwidth, c.upload_bandwidth,
                                c.upload_latency, c.download_bandwidth, c.download_latency, c.pointwise_rate,
                                c.product_f32, c.product_f16, c.product_bf16}) {
        EXPECT_GT(figure, 0);
        EXPECT_TRUE(std::isfinite(figure));
    }
    EXPECT_LT(c.launch, 1);
}

TEST(Calibration, ProgressMayEndIt) {
    EXPECT_THROW(measure_calibration(*find_device("cpu"), {}, [](int, int) { throw Cancelled("enough"); }),
                 Cancelled);
}

TEST(Calibration, WhatComputesNothingIsRefused) {
    EXPECT_THROW(measure_calibration(*find_device("null")), Unsupported);
    EXPECT_THROW(measure_calibration(*find_device("null:cuda")), Unsupported);
}

}  // namespace
}  // namespace invar::graph
