// SPDX-License-Identifier: Apache-2.0
// What the software Metal device shows: kernels run with the sizes and places of Metal, barriers hold, and what Metal would
// refuse or leave undefined is refused.
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "metalsim/msl_source.h"
#include "metalsim/needs_metalsim.h"

namespace invar::test {
namespace {

using Order = MslSchedule::Order;
constexpr MslSchedule kSchedules[] = {
    {Order::forward, 0}, {Order::reverse, 0}, {Order::shuffled, 1}, {Order::shuffled, 2}};
constexpr const char* kHead = "#include <metal_stdlib>\nusing namespace metal;\n";

class MslLibraryTest : public testing::Test {
protected:
    void SetUp() override { INVAR_NEEDS_METALSIM(); }
    static void run(const std::string& source, const char* kernel, const Dim3& grid, const Dim3& block,
                    const std::vector<void*>& buffers, const MslSchedule& schedule = {}) {
        const MslLibrary library(kHead + source);
        std::vector<MslBuffer> bound;
        for (void* const data : buffers) bound.push_back({data, std::size_t{1} << 20});
        run_msl(library.kernel(kernel), {grid, block, {}, bound, {}, schedule, nullptr});
    }
    // The compiler's log, or "" where it takes the source.
    static std::string refused(const std::string& source) {
        try {
            const MslLibrary library(kHead + source);
        } catch (const CompileFailed& e) {
            return e.what();
        }
        return {};
    }
};

TEST_F(MslLibraryTest, PlacesOfALane) {
    const std::string source =
        "kernel void places(device uint* out [[buffer(1)]], constant uint& stride [[buffer(0)]],\n"
        "                   uint3 at [[thread_position_in_grid]], uint3 size [[threads_per_grid]],\n"
        "                   uint3 lane [[thread_position_in_threadgroup]], uint3 lanes "
        "[[threads_per_threadgroup]],\n"
        "                   uint3 group [[threadgroup_position_in_grid]], uint3 groups "
        "[[threadgroups_per_grid]],\n"
        "                   uint index [[thread_index_in_threadgroup]]) {\n"
        "    device uint* o = out + stride * (at.x + size.x * (at.y + size.y * at.z));\n"
        "    o[0] = lane.x + 10 * lane.y + 100 * lane.z; o[1] = lanes.x + 10 * lanes.y + 100 * lanes.z;\n"
        "    o[2] = group.x + 10 * group.y + 100 * group.z; o[3] = groups.x + 10 * groups.y + 100 * "
        "groups.z;\n"
        "    o[4] = index;\n"
        "}\n";
    const Dim3 grid{2, 3, 2}, block{4, 2, 3};
    std::vector<std::uint32_t> out(8 * 6 * 6 * 5);
    std::uint32_t stride = 5;
    run(source, "places", grid, block, {&stride, out.data()});
    const std::uint32_t* o = out.data();
    for (std::uint32_t z = 0; z < 6; ++z)
        for (std::uint32_t y = 0; y < 6; ++y)
            for (std::uint32_t x = 0; x < 8; ++x, o += 5) {
                EXPECT_EQ(o[0], x % 4 + 10 * (y % 2) + 100 * (z % 3));
                EXPECT_EQ(o[1], 324u);
                EXPECT_EQ(o[2], x / 4 + 10 * (y / 2) + 100 * (z / 3));
                EXPECT_EQ(o[3], 232u);
                EXPECT_EQ(o[4], x % 4 + 4 * (y % 2) + 8 * (z % 3));
            }
}

// Every lane adds what its neighbours have written, round after round.
const char* const kRounds =
    "kernel void rounds(device uint* out [[buffer(0)]], uint lane [[thread_position_in_threadgroup]],\n"
    "                   uint lanes [[threads_per_threadgroup]], uint at [[thread_position_in_grid]]) {\n"
    "    threadgroup uint row[256];\n"
    "    row[lane] = lane;\n"
    "    for (int round = 0; round < 10; ++round) {\n"
    "        threadgroup_barrier(mem_flags::mem_threadgroup);\n"
    "        const uint sum = row[(lane + 1) % lanes] + 3 * row[(lane + lanes - 1) % lanes];\n"
    "        threadgroup_barrier(mem_flags::mem_threadgroup);\n"
    "        row[lane] = sum;\n"
    "    }\n"
    "    out[at] = row[lane];\n"
    "}\n";

TEST_F(MslLibraryTest, BarriersHoldInEveryOrder) {
    constexpr std::uint32_t kLanes = 70;
    std::vector<std::uint32_t> row(kLanes), next(kLanes);
    for (std::uint32_t k = 0; k < kLanes; ++k) row[k] = k;
    for (int round = 0; round < 10; ++round) {
        for (std::uint32_t k = 0; k < kLanes; ++k)
            next[k] = row[(k + 1) % kLanes] + 3 * row[(k + kLanes - 1) % kLanes];
        row = next;
    }
    for (const MslSchedule& schedule : kSchedules) {
        std::vector<std::uint32_t> out(3 * kLanes);
        run(kRounds, "rounds", {3}, {kLanes}, {out.data()}, schedule);
        for (std::uint32_t k = 0; k < 3 * kLanes; ++k) ASSERT_EQ(out[k], row[k % kLanes]) << k;
    }
}

TEST_F(MslLibraryTest, ABarrierThatIsMissingChangesResultsWithTheOrder) {
    std::string source = kRounds;
    source.erase(source.rfind("        threadgroup_barrier"),
                 source.find('\n', source.rfind("        threadgroup_barrier")) -
                     source.rfind("        threadgroup_barrier"));
    std::vector<std::uint32_t> forward(70), reverse(70);
    run(source, "rounds", {1}, {70}, {forward.data()}, {Order::forward, 0});
    run(source, "rounds", {1}, {70}, {reverse.data()}, {Order::reverse, 0});
    EXPECT_NE(forward, reverse);
}

TEST_F(MslLibraryTest, LanesThatDoNotMeetAreReported) {
    const auto error = [](const std::string& body, std::uint32_t lanes) {
        std::vector<std::uint32_t> out(64);
        try {
            run("kernel void k(device uint* out [[buffer(0)]], uint lane [[thread_position_in_threadgroup]]) "
                "{\n" +
                    body + "out[lane] = lane;\n}\n",
                "k", {1}, {lanes}, {out.data()});
        } catch (const LaunchFailed& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    const std::string barrier = "threadgroup_barrier(mem_flags::mem_device);\n";
    EXPECT_EQ(error("if (lane < 5) {\n" + barrier + "} else {\n" + barrier + "}\n", 5), "");
    EXPECT_EQ(
        error("if (lane < 5) {\n" + barrier + "} else {\n" + barrier + "}\n", 8),
        "metal-sim: kernel 'k': not all lanes of threadgroup 0,0,0 come to one barrier: lane 0 waits at the "
        "barrier of line 5, lane 5 waits at the barrier of line 7");
    EXPECT_EQ(
        error("if (lane > 5) return;\n" + barrier, 8),
        "metal-sim: kernel 'k': not all lanes of threadgroup 0,0,0 come to one barrier: lane 0 waits at the "
        "barrier of line 5, 2 have ended");
    EXPECT_NE(error("for (uint k = 0; k < lane; ++k) " + barrier, 3).find("1 have ended"), std::string::npos);
    EXPECT_EQ(error(barrier, 64), "") << "what was given up does no harm";
}

// Two conditions of one value with a meeting between them, of which a compiler that knows nothing of meetings makes two, so that
// lanes would wait in each. In a function too, which is a call like any other until it is put in its place.
TEST_F(MslLibraryTest, AMeetingBetweenEqualConditionsStaysOne) {
    const std::string meetings[] = {"threadgroup_barrier(mem_flags::mem_threadgroup);", "swap(t, lane);",
                                    "all = simd_sum(1u);"};
    for (const std::string& meeting : meetings) {
        const std::string source =
            "static inline void swap(threadgroup uint* t, uint lane) {\n"
            "    threadgroup_barrier(mem_flags::mem_threadgroup);\n    uint other = t[lane ^ 1];\n"
            "    threadgroup_barrier(mem_flags::mem_threadgroup);\n    t[lane] = other;\n}\n"
            "kernel void k(device uint* out [[buffer(0)]], uint lane [[thread_position_in_threadgroup]]) {\n"
            "    threadgroup uint t[32];\n    t[lane] = lane;\n    uint all = 32;\n"
            "    const bool odd = out[lane] % 2 != 0;\n    if (odd) out[lane] *= 3;\n    " +
            meeting + "\n    if (odd) out[lane] += t[lane] * 0 + all;\n}\n";
        for (const MslSchedule& schedule : kSchedules) {
            std::vector<std::uint32_t> out(32);
            for (std::uint32_t k = 0; k < 32; ++k) out[k] = k;
            run(source, "k", {1}, {32}, {out.data()}, schedule);
            for (std::uint32_t k = 0; k < 32; ++k)
                ASSERT_EQ(out[k], k % 2 != 0 ? 3 * k + 32 : k) << meeting << k;
        }
    }
}

TEST_F(MslLibraryTest, MemoryOfAThreadgroupHoldsNothingInTheBeginning) {
    std::vector<std::uint32_t> out(4);
    run("kernel void k(device uint* out [[buffer(0)]], uint at [[thread_position_in_grid]]) {\n"
        "    threadgroup uint word[1];\n    out[at] = word[0];\n    word[0] = 5;\n}\n",
        "k", {4}, {1}, {out.data()});
    EXPECT_EQ(out, std::vector<std::uint32_t>(4, 0xffffffffu));
}

TEST_F(MslLibraryTest, LaunchesThatDoNotFitAreRefused) {
    const MslLibrary library(std::string(kHead) +
                             "[[kernel, max_total_threads_per_threadgroup(8)]] void k(device uint* out "
                             "[[buffer(2)]]) { out[0] = 1; }");
    std::uint32_t word = 0;
    const MslBuffer buffers[] = {{}, {}, {&word, sizeof word}};
    const auto run = [&](const Dim3& grid, const Dim3& block, std::size_t bound) {
        run_msl(library.kernel("k"), {grid, block, {}, std::span(buffers).first(bound)});
    };
    EXPECT_THROW(run({1}, {9}, 3), InvalidArgument);
    EXPECT_THROW(run({0}, {1}, 3), InvalidArgument);
    EXPECT_THROW(run({1}, {1}, 2), InvalidArgument);
    EXPECT_THROW(library.kernel("other"), InvalidArgument);
    EXPECT_EQ(word, 0u);
    run({1}, {8}, 3);
    EXPECT_EQ(word, 1u);
}

TEST_F(MslLibraryTest, AddressSpacesAreKeptApart) {
    const auto kernel = [](const std::string& body) {
        return "kernel void k(device float* a [[buffer(0)]], constant float& c [[buffer(1)]]) {\n"
               "threadgroup float t[4];\nt[0] = c;\nfloat x = t[0];\n" +
               body + "a[0] = x;\n}\n";
    };
    EXPECT_EQ(refused(kernel("")), "");
    EXPECT_EQ(refused(kernel("device float* p = a;\nx += *p;\n")), "");
    for (const char* body :
         {"thread float* p = a;\nx += *p;\n", "device float* p = t;\nx += *p;\n",
          "threadgroup float* p = a;\nx += *p;\n", "device float* p = &x;\nx += *p;\n", "c = 2;\n"})
        EXPECT_NE(refused(kernel(body)), "") << body;
}

TEST_F(MslLibraryTest, SourcesThatAreNoMetalAreRefused) {
    EXPECT_NE(refused("kernel void k(device float* a [[buffer(0)]]) { a[0] = b; }").find("undeclared"),
              std::string::npos);
    const auto translated = [](const std::string& text) {
        try {
            translate_msl(text);
        } catch (const CompileFailed& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    EXPECT_EQ(translated("kernel void k(device float* a) {}"),
              "metal source, line 1: argument 0 of kernel 'k' has no binding");
    EXPECT_EQ(translated("\nkernel void k(device float* a [[buffer(0)]], device int* b [[buffer(0)]]) {}"),
              "metal source, line 2: argument 1 of kernel 'k' is bound to the index of another");
    EXPECT_NE(translated("kernel void k(device float* a [[buffer(31)]]) {}"), "");
    EXPECT_NE(translated("kernel void k(uint a [[thread_index_in_quadgroup]]) {}"), "");
    EXPECT_NE(translated("kernel int k() {}"), "");
    EXPECT_NE(translated("kernel void k(device float* a [[buffer(0)]]"), "");
    EXPECT_NE(translated("threadgroup float t[4];"), "");
    EXPECT_NE(translated("void f() { threadgroup float t[4]; }"), "");
    EXPECT_EQ(
        translated(
            "void f(threadgroup float* t) { threadgroup float* p = t; } // kernel\n/* kernel */ \"kernel\""),
        "");
}

TEST(MslTranslation, PointersHaveAnAddressSpace) {
    const auto refused = [](const std::string& text) {
        try {
            translate_msl(text);
        } catch (const CompileFailed& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    EXPECT_EQ(
        refused("void f() {\n  float x;\n  float* p = &x;\n}"),
        "metal source, line 3: 'p' points without an address space: device, constant, threadgroup or thread");
    for (const char* text :
         {"void f(float* p);", "void f(int a, const float* const p) {}", "void f(vec<float, 4>& v) {}",
          "static inline int g(metal::uint2 & v) {}", "void f() { { int* p; } }"})
        EXPECT_NE(refused(text), "") << text;
    for (const char* text :
         {"void f(device float* p, thread int& x, constant const S& s, volatile threadgroup atomic_uint* a);",
          "int f(int a, int b) { return a * b; }",
          "void f() { x = a * b; g(a * b, c & d); *p = 3; return g(a * b); }",
          "void f() { if (a * b == c && d) h(&x); thread float* p = (thread float*)&x; }",
          "void f() { auto y = (device u32*)x + n * (a & b); for (; a & b;) {} }"})
        EXPECT_EQ(refused(text), "") << text;
}

TEST(MslTranslation, KeepsLinesAndFindsArguments) {
    const MslTranslation t = translate_msl(
        "#define K kernel \\\n void\n"
        "[[kernel, max_total_threads_per_threadgroup(64)]] void a(device X<int, 2>* x [[buffer(3)]],\n"
        "  uint3 at [[thread_position_in_grid]]) {\n  threadgroup int t[4], u;\n  threadgroup int* p = "
        "t;\n}\n"
        "kernel void b() {}\n");
    ASSERT_EQ(t.kernels.size(), 2u);
    EXPECT_EQ(t.kernels[0].function, "a");
    EXPECT_EQ(t.kernels[0].most_lanes, 64u);
    ASSERT_EQ(t.kernels[0].arguments.size(), 2u);
    EXPECT_EQ(t.kernels[0].arguments[0].attribute, "buffer");
    EXPECT_EQ(t.kernels[0].arguments[0].index, 3u);
    EXPECT_EQ(t.kernels[0].arguments[1].attribute, "thread_position_in_grid");
    EXPECT_EQ(t.kernels[1].arguments.size(), 0u);
    EXPECT_NE(t.text.find("{\n  MSL_MEMORY threadgroup int t[4], u;\n  threadgroup int* p"),
              std::string::npos);
}

}  // namespace
}  // namespace invar::test
