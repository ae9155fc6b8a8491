// SPDX-License-Identifier: Apache-2.0
// Philox against Random123's published vectors, fills against their definition in f64, and the moments of normal numbers.
#include "kernels/random/family.h"

#include "kernels/harness.h"
#include "kernels/random/philox.h"

namespace invar::kernels {
namespace {

using namespace testing;

TEST(Philox, PublishedVectors) {
    // kat_vectors of Random123: counter, key, result.
    EXPECT_EQ(philox({0, 0, 0, 0}, 0), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, ~0ull),
              (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull),
              (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

RandomSpec spec(Distribution d, DType t, std::int64_t count) {
    RandomSpec s;
    s.distribution = d;
    s.y = t;
    s.count = count;
    s.seed = 0x123456789abcdefull;
    s.stream = 0x55aa0000000007ull;
    s.low = -2;
    s.high = 3;
    return s;
}

std::uint32_t word(const RandomSpec& s, std::int64_t i) {
    const auto block = static_cast<std::uint64_t>(i / 4);
    return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                   static_cast<std::uint32_t>(s.stream), static_cast<std::uint32_t>(s.stream >> 32)},
                  s.seed)[static_cast<std::size_t>(i % 4)];
}

TEST(Random, UniformByDefinition) {
    for (const DType t : {DType::f32, DType::f16, DType::bf16})
        for (const std::int64_t count : {0, 1, 63, 64, 65, 1023, 40000}) {
            const RandomSpec s = spec(Distribution::uniform, t, count);
            Array y(t, count);
            run(plan_random(device(), s), {&y});
            for (std::int64_t i = 0; i < count; ++i) {
                Array want(t, 1);
                want.set(0, -2.0f + static_cast<float>(word(s, i) >> 8) * 0x1p-24f * 5.0f);
                ASSERT_EQ(y.get(i), want.get(0)) << i;
            }
        }
}

TEST(Random, NormalByDefinition) {
    for (const DType t : {DType::f32, DType::f16, DType::bf16}) {
        RandomSpec s = spec(Distribution::normal, t, 50001);
        s.low = 0.5;
        s.high = 2;
        Array y(t, s.count);
        run(plan_random(device(), s), {&y});
        for (std::int64_t i = 0; i < s.count; ++i) {
            const double a = (word(s, i / 2 * 2) >> 8) + 1, b = word(s, i / 2 * 2 + 1) >> 8;
            const double radius = std::sqrt(-2 * std::log(a * 0x1p-24)), angle = 2 * M_PI * b * 0x1p-24;
            const double z = radius * (i % 2 ? std::sin(angle) : std::cos(angle));
            ASSERT_TRUE(close(y.get(i), 0.5 + 2 * z, epsilon(t) / 2, 2e-6)) << i;
        }
    }
}

TEST(Random, MomentsOfNormalNumbers) {
    RandomSpec s = spec(Distribution::normal, DType::f32, 400000);
    s.low = 0;
    s.high = 1;
    Array y(DType::f32, s.count);
    run(plan_random(device(), s), {&y});
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbours = 0;
    for (std::int64_t i = 0; i < s.count; ++i) {
        const double z = y.get(i);
        m1 += z;
        m2 += z * z;
        m3 += z * z * z;
        m4 += z * z * z * z;
        if (i > 0) neighbours += z * y.get(i - 1);
    }
    // Five standard deviations of each estimate.
    const double n = static_cast<double>(s.count), five = 5 / std::sqrt(n);
    EXPECT_NEAR(m1 / n, 0, five);
    EXPECT_NEAR(m2 / n, 1, five * std::sqrt(2.0));
    EXPECT_NEAR(m3 / n, 0, five * std::sqrt(15.0));
    EXPECT_NEAR(m4 / n, 3, five * std::sqrt(96.0));
    EXPECT_NEAR(neighbours / n, 0, five);
}

TEST(Random, SameBitsOnEveryTargetAndThreadCount) {
    for (const Distribution d : {Distribution::uniform, Distribution::normal}) {
        const RandomSpec s = spec(d, DType::f32, 50003);
        Array first(DType::f32, s.count);
        run(plan_random(device(), s), {&first}, pool(1));
        for (const int threads : {2, 5})
            for_each_target([&](const char* target) {
                Array y(DType::f32, s.count);
                run(plan_random(device(), s), {&y}, pool(threads));
                ASSERT_TRUE(y.same_bits(first)) << target;
            });
    }
}

TEST(Random, SeedsAndStreamsDiffer) {
    RandomSpec s = spec(Distribution::uniform, DType::f32, 100);
    Array a(DType::f32, 100), b(DType::f32, 100), c(DType::f32, 100);
    run(plan_random(device(), s), {&a});
    s.stream += std::uint64_t{1} << 32;
    run(plan_random(device(), s), {&b});
    s.seed += std::uint64_t{1} << 32;
    run(plan_random(device(), s), {&c});
    EXPECT_FALSE(a.same_bits(b));
    EXPECT_FALSE(b.same_bits(c));
}

TEST(Random, RefusesWrongSpecifications) {
    RandomSpec s = spec(Distribution::uniform, DType::i32, 10);
    EXPECT_THROW(plan_random(device(), s), InvalidArgument);
    s = spec(Distribution::uniform, DType::f32, -1);
    EXPECT_THROW(plan_random(device(), s), InvalidArgument);
    s = spec(Distribution::uniform, DType::f32, 10);
    s.high = INFINITY;
    EXPECT_THROW(plan_random(device(), s), InvalidArgument);
    s.high = 1;
    Array y(DType::f32, 9);
    EXPECT_THROW(run(plan_random(device(), s), {&y}), LaunchFailed);
}

}  // namespace
}  // namespace invar::kernels
