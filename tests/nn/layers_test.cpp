// SPDX-License-Identifier: Apache-2.0
// Rotary tables against double precision, and the scaling of Llama 3.1 on its three branches.
#include "nn/layers.h"

#include <invar/error.h>

#include <cmath>

#include <gtest/gtest.h>

namespace invar::nn {
namespace {

TEST(Rope, TablesAgreeWithDoublePrecision) {
    const auto device = find_device();
    io::RopeConfig rope;
    rope.theta = 10000;
    const RopeTables t = make_rope_tables(rope, 8, 300, device);
    const std::vector<float> cos = t.cos.to_vector<float>(), sin = t.sin.to_vector<float>();
    for (int p = 0; p < 300; ++p)
        for (int i = 0; i < 4; ++i) {
            const double angle = p / std::pow(10000.0, 2.0 * i / 8);
            EXPECT_NEAR(cos[static_cast<std::size_t>(p * 4 + i)], std::cos(angle), 5e-5);
            EXPECT_NEAR(sin[static_cast<std::size_t>(p * 4 + i)], std::sin(angle), 5e-5);
        }
}

TEST(Rope, Llama3ScalesLongWavesOnly) {
    const auto device = find_device();
    io::RopeConfig plain, scaled;
    plain.theta = scaled.theta = 500000;
    scaled.type = io::RopeType::llama3;
    scaled.factor = 8;
    scaled.low_freq_factor = 1;
    scaled.high_freq_factor = 4;
    scaled.original_max_positions = 8192;
    const auto angle = [&](const io::RopeConfig& r, std::size_t i) {
        const RopeTables t = make_rope_tables(r, 128, 2, device);
        return std::atan2(t.sin.to_vector<float>()[64 + i], t.cos.to_vector<float>()[64 + i]);
    };
    EXPECT_FLOAT_EQ(angle(scaled, 0), angle(plain, 0));
    EXPECT_NEAR(angle(scaled, 63) * 8, angle(plain, 63), 1e-9);
    const double frequency = std::pow(500000.0, -2.0 * 32 / 128), wavelength = 2 * M_PI / frequency;
    ASSERT_GT(wavelength, 8192.0 / 4);  // between the two bounds
    const double smooth = (8192 / wavelength - 1) / 3;
    EXPECT_NEAR(angle(scaled, 32), (1 - smooth) * frequency / 8 + smooth * frequency, 1e-7);
}

TEST(Activation, UnknownNamesAreListed) {
    EXPECT_NO_THROW(find_activation("gelu_new"));
    EXPECT_THROW(find_activation("mish"), Unsupported);
}

}  // namespace
}  // namespace invar::nn
