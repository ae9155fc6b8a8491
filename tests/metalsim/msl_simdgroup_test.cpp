// SPDX-License-Identifier: Apache-2.0
// SIMD-groups of the software Metal device: what collectives give in every schedule, against plain C++, and that lanes which do
// not come are reported. Planted defects among them.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>

#include "metalsim/msl_test.h"

namespace invar::test {
namespace {

class MslSimdgroup : public MslTest {
protected:
    // Kernel k over 80 lanes: out[lane] = expression of x = in[lane], its lane and its group.
    template <class Out, class In>
    static std::vector<Out> collective(const char* out_type, const char* in_type,
                                       const std::string& expression, std::vector<In> in,
                                       const MslSchedule& schedule = {}) {
        std::vector<Out> out(in.size());
        run("kernel void k(device const " + std::string(in_type) + "* in [[buffer(0)]], device " + out_type +
                "* out [[buffer(1)]], uint at [[thread_position_in_grid]], uint lane "
                "[[thread_index_in_simdgroup]], uint group [[simdgroup_index_in_threadgroup]]) {\n    "
                "const " +
                in_type + " x = in[at];\n    out[at] = " + expression + ";\n}\n",
            {1}, {static_cast<std::uint32_t>(in.size())}, {bound(in), bound(out)}, schedule);
        return out;
    }
};

constexpr std::size_t kLanes = 80;  // two groups and a half

std::vector<std::int32_t> integers() {
    std::vector<std::int32_t> values(kLanes);
    std::mt19937 random(5);
    for (auto& v : values) v = static_cast<std::int32_t>(random() % 2001) - 1000;
    return values;
}

TEST_F(MslSimdgroup, ReductionsOfIntegers) {
    struct Case {
        const char* name;
        std::function<std::int32_t(std::int32_t, std::int32_t)> of;
    };
    const Case cases[] = {
        {"sum", [](auto a, auto b) { return a + b; }},
        {"product",
         [](auto a, auto b) { return static_cast<std::int32_t>(std::uint32_t(a) * std::uint32_t(b)); }},
        {"min", [](auto a, auto b) { return std::min(a, b); }},
        {"max", [](auto a, auto b) { return std::max(a, b); }},
        {"and", [](auto a, auto b) { return a & b; }},
        {"or", [](auto a, auto b) { return a | b; }},
        {"xor", [](auto a, auto b) { return a ^ b; }}};
    const std::vector<std::int32_t> in = integers();
    for (const Case& c : cases)
        for (const MslSchedule& schedule : {kForward, kReverse, kShuffled}) {
            const auto out =
                collective<std::int32_t>("int", "int", "simd_" + std::string(c.name) + "(x)", in, schedule);
            const auto quads =
                collective<std::int32_t>("int", "int", "quad_" + std::string(c.name) + "(x)", in, schedule);
            for (std::size_t at = 0; at < kLanes; ++at) {
                const std::size_t first = at / 32 * 32, quad = at / 4 * 4;
                ASSERT_EQ(out[at],
                          std::accumulate(in.begin() + first + 1, in.begin() + std::min(first + 32, kLanes),
                                          in[first], c.of))
                    << c.name << at;
                ASSERT_EQ(quads[at],
                          std::accumulate(in.begin() + quad + 1, in.begin() + quad + 4, in[quad], c.of))
                    << c.name << at;
            }
        }
}

TEST_F(MslSimdgroup, OtherTypesAndVectors) {
    std::vector<std::uint16_t> halves(64, 0x3c00);  // 1.0
    EXPECT_EQ(collective<std::uint16_t>("half", "half", "simd_sum(x)", halves),
              std::vector<std::uint16_t>(64, 0x5000));
    std::vector<std::uint16_t> shorts(64, 40000);
    EXPECT_EQ(collective<std::uint16_t>("ushort", "ushort", "simd_max(x)", shorts), shorts);
    EXPECT_EQ(collective<std::uint16_t>("ushort", "ushort", "simd_sum(x)", shorts),
              std::vector<std::uint16_t>(64, static_cast<std::uint16_t>(40000 * 32)));
    struct Four {
        float v[4];
    };
    std::vector<Four> fours(32);
    for (int k = 0; k < 32; ++k) fours[k] = {{float(k), float(-k), 1, 0.5f}};
    for (const Four& f : collective<Four>("float4", "float4", "simd_sum(x)", fours)) {
        EXPECT_EQ(f.v[0], 496.0f);
        EXPECT_EQ(f.v[1], -496.0f);
        EXPECT_EQ(f.v[2], 32.0f);
        EXPECT_EQ(f.v[3], 16.0f);
    }
    const auto shuffled = collective<Four>("float4", "float4", "simd_shuffle_xor(x, 5)", fours);
    for (int k = 0; k < 32; ++k) EXPECT_EQ(shuffled[k].v[0], float(k ^ 5));
    EXPECT_NE(refused("kernel void k(device bfloat* x [[buffer(0)]]) { x[0] = simd_sum(x[0]); }")
                  .find("no reduction"),
              std::string::npos);
}

// Sums of floats take the lanes in one tree, whatever the order of turns, unless the schedule asks for others.
TEST_F(MslSimdgroup, SumsOfFloatsAreTheSameInEveryOrder) {
    std::vector<float> in(32);
    std::mt19937 random(3);
    for (float& v : in)
        v = std::ldexp(static_cast<float>(random() % 1000) / 7, static_cast<int>(random() % 20));
    std::vector<float> tree = in;
    for (std::size_t stride = 16; stride > 0; stride /= 2)
        for (std::size_t k = 0; k < stride; ++k) tree[k] += tree[k + stride];
    for (const MslSchedule& schedule : {kForward, kReverse, kShuffled})
        EXPECT_EQ(collective<float>("float", "float", "simd_sum(x)", in, schedule),
                  std::vector<float>(32, tree[0]));
    bool differs = false;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const auto out =
            collective<float>("float", "float", "simd_sum(x)", in, {kShuffled.order, seed, true});
        EXPECT_EQ(out, std::vector<float>(32, out[0])) << "all lanes get the same";
        EXPECT_NEAR(out[0], tree[0], tree[0] * 1e-5f);
        differs = differs || out[0] != tree[0];
    }
    EXPECT_TRUE(differs);
}

TEST_F(MslSimdgroup, ValuesOfOtherLanes) {
    std::vector<std::int32_t> in(64);
    std::iota(in.begin(), in.end(), 100);
    struct Case {
        const char* expression;
        std::function<int(int)> source;  // by the lane in the group
    };
    const Case cases[] = {{"simd_shuffle(x, (ushort)(31 - lane))", [](int l) { return 31 - l; }},
                          {"simd_shuffle_xor(x, 9)", [](int l) { return l ^ 9; }},
                          {"simd_shuffle_up(x, 3)", [](int l) { return l < 3 ? l : l - 3; }},
                          {"simd_shuffle_down(x, 5)", [](int l) { return l > 26 ? l : l + 5; }},
                          {"simd_shuffle_rotate_down(x, 5)", [](int l) { return (l + 5) % 32; }},
                          {"simd_shuffle_rotate_up(x, 5)", [](int l) { return (l + 27) % 32; }},
                          {"simd_broadcast(x, 7)", [](int) { return 7; }},
                          {"simd_broadcast_first(x)", [](int) { return 0; }},
                          {"quad_broadcast(x, 2)", [](int l) { return l / 4 * 4 + 2; }},
                          {"quad_shuffle_xor(x, 1)", [](int l) { return l ^ 1; }}};
    for (const Case& c : cases) {
        const auto out = collective<std::int32_t>("int", "int", c.expression, in, kShuffled);
        for (int at = 0; at < 64; ++at)
            ASSERT_EQ(out[at], 100 + at / 32 * 32 + c.source(at % 32)) << c.expression << at;
    }
}

TEST_F(MslSimdgroup, PrefixSumsAndVotes) {
    const std::vector<std::int32_t> in = integers();
    const auto inclusive =
        collective<std::int32_t>("int", "int", "simd_prefix_inclusive_sum(x)", in, kReverse);
    const auto exclusive =
        collective<std::int32_t>("int", "int", "simd_prefix_exclusive_sum(x)", in, kReverse);
    std::int32_t sum = 0;
    for (std::size_t at = 0; at < kLanes; ++at) {
        if (at % 32 == 0) sum = 0;
        EXPECT_EQ(exclusive[at], sum);
        EXPECT_EQ(inclusive[at], sum += in[at]);
    }
    const auto votes =
        collective<std::uint64_t>("ulong", "int", "(ulong)(simd_vote::vote_t)simd_ballot(x > 0)", in);
    const auto any = collective<std::int32_t>("int", "int", "simd_any(x > 990) ? 1 : 0", in);
    const auto all = collective<std::int32_t>("int", "int", "simd_all(x < 999) ? 1 : 0", in);
    for (std::size_t at = 0; at < kLanes; ++at) {
        std::uint64_t expected = 0;
        bool over = false, under = true;
        for (std::size_t k = at / 32 * 32; k < std::min(at / 32 * 32 + 32, kLanes); ++k) {
            expected |= std::uint64_t{in[k] > 0} << k % 32;
            over = over || in[k] > 990;
            under = under && in[k] < 999;
        }
        EXPECT_EQ(votes[at], expected);
        EXPECT_EQ(any[at], over ? 1 : 0);
        EXPECT_EQ(all[at], under ? 1 : 0);
    }
}

TEST_F(MslSimdgroup, PlacesInTheGroup) {
    std::vector<std::uint32_t> out(80 * 4);
    run("kernel void k(device uint4* out [[buffer(0)]], uint at [[thread_index_in_threadgroup]], uint lane "
        "[[thread_index_in_simdgroup]], uint group [[simdgroup_index_in_threadgroup]], uint width "
        "[[threads_per_simdgroup]], uint groups [[simdgroups_per_threadgroup]]) {\n"
        "    out[at] = uint4(lane, group, width, groups);\n}\n",
        {1}, {10, 4, 2}, {bound(out)});
    for (std::uint32_t at = 0; at < 80; ++at) {
        EXPECT_EQ(out[at * 4], at % 32);
        EXPECT_EQ(out[at * 4 + 1], at / 32);
        EXPECT_EQ(out[at * 4 + 2], 32u);
        EXPECT_EQ(out[at * 4 + 3], 3u);
    }
}

// A sum of a threadgroup in two stages, as kernels have it, and the defects that one can have.
const char* const kTwoStages =
    "kernel void k(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],\n"
    "              uint at [[thread_position_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],\n"
    "              uint group [[simdgroup_index_in_threadgroup]], uint groups "
    "[[simdgroups_per_threadgroup]]) {\n"
    "    threadgroup float partial[32];\n"
    "    const float sum = simd_sum(in[at]);\n"
    "    if (lane == 0) partial[group] = sum;\n"
    "    threadgroup_barrier(mem_flags::mem_threadgroup);\n"
    "    if (group == 0) {\n"
    "        const float whole = simd_sum(lane < groups ? partial[lane] : 0.0f);\n"
    "        if (lane == 0) out[0] = whole;\n"
    "    }\n"
    "}\n";
std::string without(const std::string& source, const std::string& piece) {
    const std::size_t at = source.find(piece);
    return source.substr(0, at) + source.substr(at + piece.size());
}

TEST_F(MslSimdgroup, ASumInTwoStagesAndItsDefects) {
    std::vector<float> in(256), out(1);
    std::iota(in.begin(), in.end(), 1.0f);
    for (const MslSchedule& schedule : {kForward, kReverse, kShuffled}) {
        out[0] = 0;
        run(kTwoStages, {1}, {256}, {bound(in), bound(out)}, schedule);
        EXPECT_EQ(out[0], 256 * 257 / 2.0f);
    }
    // Without its barrier the first group reads what the others have not written: NaN.
    out[0] = 0;
    run(without(kTwoStages, "    threadgroup_barrier(mem_flags::mem_threadgroup);\n"), {1}, {256},
        {bound(in), bound(out)}, kForward);
    EXPECT_TRUE(std::isnan(out[0]));
}

TEST_F(MslSimdgroup, LanesThatDoNotComeAreReported) {
    const auto error = [](const std::string& body, std::uint32_t lanes) {
        std::vector<float> out(128);
        return error_of([&] {
            run("kernel void k(device float* out [[buffer(0)]], uint lane "
                "[[thread_position_in_threadgroup]]) {\n"
                "float x = lane;\n" +
                    body + "out[lane] = x;\n}\n",
                {1}, {lanes}, {bound(out)});
        });
    };
    EXPECT_EQ(error("x = simd_sum(x);\n", 70), "");
    EXPECT_EQ(error("if (lane < 40)\nx = simd_sum(x);\n", 70),
              "metal-sim: kernel 'k': not all lanes of SIMD-group 1 of threadgroup 0,0,0 come to one "
              "collective: lane 32 "
              "waits at the collective of line 6, 24 have ended");
    EXPECT_EQ(error("if (lane < 32)\nx = simd_sum(x);\n", 70), "") << "whole groups may go apart";
    EXPECT_EQ(error("if (lane % 32 < 8)\nx = simd_sum(x);\nelse\nx = simd_max(x);\n", 32),
              "metal-sim: kernel 'k': not all lanes of SIMD-group 0 of threadgroup 0,0,0 come to one "
              "collective: lane 0 "
              "waits at the collective of line 6, lane 8 waits at the collective of line 8");
    EXPECT_EQ(error("if (lane < 8)\nx = simd_sum(x);\nthreadgroup_barrier(mem_flags::mem_none);\n", 32),
              "metal-sim: kernel 'k': not all lanes of SIMD-group 0 of threadgroup 0,0,0 come to one "
              "collective: lane 0 "
              "waits at the collective of line 6, lane 8 waits at the barrier of line 7");
    EXPECT_NE(error("if (lane == 3) return;\nsimdgroup_barrier(mem_flags::mem_none);\n", 32), "");
}

}  // namespace
}  // namespace invar::test
