// SPDX-License-Identifier: Apache-2.0
// Matrices of a SIMD-group: products against plain C++, and lanes that do not give the same place.
#include <cmath>
#include <cstdint>

#include "metalsim/msl_test.h"

namespace invar::test {
namespace {

class MslMatrix : public MslTest {};

std::vector<float> numbers(std::size_t count, int seed) {
    std::vector<float> values(count);
    for (std::size_t k = 0; k < count; ++k)
        values[k] = static_cast<float>((k * 37 + static_cast<std::size_t>(seed)) % 23) - 11;
    return values;
}

// c (16, 24) = a (16, 32) b (32, 24), one SIMD-group a tile of 8 by 8; small whole numbers, so that every type is exact.
TEST_F(MslMatrix, ProductsOfTilesInEveryTypeAndOrder) {
    constexpr std::size_t kM = 16, kN = 24, kK = 32;
    const std::vector<float> a = numbers(kM * kK, 3), b = numbers(kK * kN, 5);
    std::vector<float> expected(kM * kN);
    for (std::size_t i = 0; i < kM; ++i)
        for (std::size_t j = 0; j < kN; ++j)
            for (std::size_t k = 0; k < kK; ++k) expected[i * kN + j] += a[i * kK + k] * b[k * kN + j];
    for (const std::string type : {"float", "half", "bfloat"})
        for (const MslSchedule& schedule : {kForward, kReverse, kShuffled}) {
            std::vector<float> x = a, y = b, c(kM * kN);
            run("typedef simdgroup_matrix<" + type +
                    ", 8, 8> Tile;\n"
                    "kernel void k(device const float* a [[buffer(0)]], device const float* b "
                    "[[buffer(1)]],\n"
                    "              device float* c [[buffer(2)]], uint2 tile "
                    "[[threadgroup_position_in_grid]],\n"
                    "              uint lane [[thread_index_in_simdgroup]]) {\n"
                    "    threadgroup " +
                    type +
                    " left[64], right[64];\n"
                    "    simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);\n"
                    "    for (uint k = 0; k < 32; k += 8) {\n"
                    "        threadgroup_barrier(mem_flags::mem_threadgroup);\n"
                    "        for (uint e = lane; e < 64; e += 32) {\n"
                    "            left[e] = " +
                    type +
                    "(a[(tile.y * 8 + e / 8) * 32 + k + e % 8]);\n"
                    "            right[e % 8 * 8 + e / 8] = " +
                    type +
                    "(b[(k + e / 8) * 24 + tile.x * 8 + e % 8]);\n"
                    "        }\n"
                    "        threadgroup_barrier(mem_flags::mem_threadgroup);\n"
                    "        Tile l, r;\n"
                    "        simdgroup_load(l, left, 8);\n"
                    "        simdgroup_load(r, right, 8, ulong2(0, 0), true);\n"
                    "        simdgroup_multiply_accumulate(sum, l, r, sum);\n"
                    "    }\n"
                    "    sum.thread_elements()[0] *= 2; sum.thread_elements()[1] *= 2;\n"
                    "    simdgroup_store(sum, c, 24, ulong2(tile.x * 8, tile.y * 8));\n"
                    "}\n",
                {3, 2}, {32}, {bound(x), bound(y), bound(c)}, schedule);
            for (std::size_t k = 0; k < c.size(); ++k) ASSERT_EQ(c[k], 2 * expected[k]) << type << k;
        }
}

TEST_F(MslMatrix, DiagonalsAndProductsWithoutASum) {
    std::vector<float> x = numbers(64, 1), y(64), filled(64);
    run("kernel void k(device const float* x [[buffer(0)]], device float* y [[buffer(1)]], device float* f "
        "[[buffer(2)]]) {\n"
        "    simdgroup_float8x8 a, d(3.0f), c, m = make_filled_simdgroup_matrix<float, 8>(7.0f);\n"
        "    simdgroup_load(a, x, 8); simdgroup_multiply(c, a, d); simdgroup_store(c, y, 8, ulong2(0), "
        "true);\n"
        "    simdgroup_store(m, f);\n}\n",
        {1}, {32}, {bound(x), bound(y), bound(filled)});
    for (std::size_t i = 0; i < 8; ++i)
        for (std::size_t j = 0; j < 8; ++j) EXPECT_EQ(y[j * 8 + i], 3 * x[i * 8 + j]);
    EXPECT_EQ(filled, std::vector<float>(64, 7.0f));
}

// A load takes what is there when its lane comes, so that a barrier that is missing shows, with NaN for what nobody has written.
TEST_F(MslMatrix, AMissingBarrierBeforeALoadShows) {
    for (const char* barrier : {"simdgroup_barrier(mem_flags::mem_threadgroup);", ""}) {
        std::vector<float> y(64);
        run("kernel void k(device float* y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {\n"
            "    threadgroup float t[64];\n    t[lane] = 1; t[lane + 32] = 2;\n    " +
                std::string(barrier) +
                "\n    simdgroup_float8x8 a;\n    simdgroup_load(a, t);\n    simdgroup_store(a, y);\n}\n",
            {1}, {32}, {bound(y)}, kForward);
        bool nan = false;
        for (const float value : y) nan = nan || std::isnan(value);
        EXPECT_EQ(nan, *barrier == 0);
    }
}

TEST_F(MslMatrix, DefectsAreReported) {
    const auto error = [](const std::string& body, std::uint32_t lanes = 32) {
        std::vector<float> y(256);
        return error_of([&] {
            run("kernel void k(device float* y [[buffer(0)]], uint lane [[thread_position_in_threadgroup]]) "
                "{\n"
                "simdgroup_float8x8 a(1.0f);\n" +
                    body + "}\n",
                {1}, {lanes}, {bound(y)});
        });
    };
    EXPECT_EQ(error("simdgroup_load(a, y, 8);\nsimdgroup_store(a, y + 64, 8);\n"), "");
    EXPECT_EQ(error("simdgroup_load(a, y + lane / 16, 8);\n"),
              "metal-sim: kernel 'k': not all lanes of SIMD-group 0 of threadgroup 0,0,0 load and store the "
              "same matrices of "
              "the group: lane 0 last at line 5, lane 16 last at line 5");
    EXPECT_EQ(error("if (lane < 20)\nsimdgroup_store(a, y, 8);\n"),
              "metal-sim: kernel 'k': not all lanes of SIMD-group 0 of threadgroup 0,0,0 load and store the "
              "same matrices of "
              "the group: lane 0 last at line 6, lane 20 none");
    EXPECT_NE(error("if (lane != 5)\nsimdgroup_multiply(a, a, a);\n").find("one collective"),
              std::string::npos);
    // Never filled, or of a group that is not whole: NaN.
    std::vector<float> y(64);
    run("kernel void k(device float* y [[buffer(0)]]) { simdgroup_float8x8 a; simdgroup_store(a, y); }", {1},
        {32}, {bound(y)});
    for (const float value : y) EXPECT_TRUE(std::isnan(value));
    EXPECT_NE(refused("kernel void k(device double* y [[buffer(0)]]) { simdgroup_matrix<double, 8, 8> a; }"),
              "");
    EXPECT_NE(refused("kernel void k(device float* y [[buffer(0)]]) { simdgroup_matrix<float, 4, 4> a; }"),
              "");
}

}  // namespace
}  // namespace invar::test
