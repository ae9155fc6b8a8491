// SPDX-License-Identifier: Apache-2.0
// f16 and bf16 conversions against exhaustive properties: every 16-bit pattern survives a round trip, and rounding
// of f32 values is to nearest even, checked against the neighbours found by search over all 65536 patterns.
#include "base/half.h"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace invar {
namespace {

using Widen = float (*)(std::uint16_t);
using Narrow = std::uint16_t (*)(float);

void every_pattern_survives(Widen widen, Narrow narrow) {
    for (std::uint32_t p = 0; p < 65536; ++p) {
        const auto h = static_cast<std::uint16_t>(p);
        const float f = widen(h);
        if (std::isnan(f))
            EXPECT_TRUE(std::isnan(widen(narrow(f)))) << p;
        else
            EXPECT_EQ(narrow(f), h) << p;
    }
}

// Distance-based check in double: no other finite pattern is closer; ties go to the even pattern.
void rounds_to_nearest_even(Widen widen, Narrow narrow, std::uint16_t infinity) {
    std::mt19937 rng(1);
    for (int i = 0; i < 2000000; ++i) {
        const auto f = std::bit_cast<float>(static_cast<std::uint32_t>(rng()));
        const std::uint16_t h = narrow(f);
        if (std::isnan(f)) {
            EXPECT_TRUE(std::isnan(widen(h)));
            continue;
        }
        if ((h & 0x7fff) == infinity || (h & 0x7fff) == 0) continue;
        const double d = std::abs(static_cast<double>(widen(h)) - f);
        for (const int step : {-1, 1}) {
            const auto neighbour = static_cast<std::uint16_t>(h + step);
            if ((neighbour & 0x7fff) >= infinity) continue;
            const double e = std::abs(static_cast<double>(widen(neighbour)) - f);
            ASSERT_LE(d, e) << f;
            if (d == e) {
                ASSERT_EQ(h % 2, 0) << f;
            }
        }
    }
}

TEST(Half, EveryPatternSurvives) {
    every_pattern_survives(f16_to_f32, f32_to_f16);
    every_pattern_survives(bf16_to_f32, f32_to_bf16);
}

TEST(Half, RoundsToNearestEven) {
    rounds_to_nearest_even(f16_to_f32, f32_to_f16, 0x7c00);
    rounds_to_nearest_even(bf16_to_f32, f32_to_bf16, 0x7f80);
}

TEST(Half, Edges) {
    EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
    EXPECT_EQ(f32_to_f16(65519.99f), 0x7bff);
    EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
    EXPECT_EQ(f32_to_f16(0x1p-24f), 0x0001);
    EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);
    EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
    EXPECT_EQ(f32_to_bf16(-0.0f), 0x8000);
    EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
}

}  // namespace
}  // namespace invar
