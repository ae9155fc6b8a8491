// SPDX-License-Identifier: Apache-2.0
// The bytes that kernels load and store, against counts worked out by hand; and that nothing else differs where they are counted.
#include <cstdint>

#include "metalsim/msl_test.h"

namespace invar::test {
namespace {

class MslTraffics : public MslTest {
protected:
    static MslCounters counted(const std::string& source, const Dim3& grid, const Dim3& block,
                               const std::vector<MslBuffer>& buffers) {
        MslOptions options;
        options.counts_memory = true;
        const MslLibrary library(with_head(source), options);
        MslCounters counters;
        MslLaunch launch;
        launch.grid = grid;
        launch.block = block;
        launch.buffers = buffers;
        launch.counters = &counters;
        run_msl(library.kernels().front(), launch);
        return counters;
    }
};

// y (rows) = w (rows, 64) x (64): a threadgroup of 32 lanes a row, two numbers a lane.
TEST_F(MslTraffics, AMatrixTimesAVector) {
    constexpr std::uint32_t kRows = 6;
    std::vector<float> w(kRows * 64, 2), x(64, 3), y(kRows);
    const MslCounters counters = counted(
        "kernel void k(device const float2* w [[buffer(0)]], device const float2* x [[buffer(1)]], device "
        "float* y "
        "[[buffer(2)]],\n"
        "              uint row [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) "
        "{\n"
        "    const float2 p = w[row * 32 + lane] * x[lane];\n    const float sum = simd_sum(p.x + p.y);\n"
        "    threadgroup_barrier(mem_flags::mem_none);\n"
        "    if (lane == 0) y[row] = sum;\n}\n",
        {kRows}, {32}, {bound(w), bound(x), bound(y)});
    EXPECT_EQ(y, std::vector<float>(kRows, 384.0f));
    EXPECT_EQ(counters.loaded, 2 * kRows * 64 * sizeof(float));
    EXPECT_EQ(counters.loaded_once, (kRows * 64 + 64) * sizeof(float));
    EXPECT_EQ(counters.stored, kRows * sizeof(float));
    EXPECT_EQ(counters.stored_once, kRows * sizeof(float));
    EXPECT_EQ(counters.lanes, kRows * 32);
    EXPECT_EQ(counters.collectives, kRows);
    EXPECT_EQ(counters.barriers, kRows);
}

TEST_F(MslTraffics, EveryWidthAndNoOtherMemory) {
    struct alignas(4) Block {
        std::uint8_t bytes[36];
    };
    std::vector<Block> blocks(4);
    std::vector<std::uint8_t> out(160);
    const MslCounters counters = counted(
        "struct Block { uchar b[36]; };\n"
        "kernel void k(device const Block* in [[buffer(0)]], device uchar* out [[buffer(1)]], uint at "
        "[[thread_position_in_grid]]) {\n"
        "    threadgroup uint t[64]; thread uint own[8];\n"
        "    for (uint i = 0; i < 8; ++i) { own[i] = at * i; t[at * 8 + i] = own[i]; }\n"
        "    device const half4* h = (device const half4*)in; device const char3* c = (device const "
        "char3*)in;\n"
        "    device ushort* s = (device ushort*)out; device ulong2* l = (device ulong2*)out;\n"
        "    if (at == 0) { s[1] = ushort(h[0].x); }\n"                    // loads 2 or 8 bytes, stores 2
        "    if (at == 1) { l[1] = ulong2(t[9], 2); out[3] = c[4].x; }\n"  // stores 16 and 1
        "}\n",
        {1}, {4}, {bound(blocks), bound(out)});
    EXPECT_EQ(counters.stored, 2u + 16 + 1);
    EXPECT_EQ(counters.stored_once, 2u + 16) << "out[3] is part of s[1]";
    EXPECT_GE(counters.loaded, 2u + 1);
    EXPECT_LE(counters.loaded, 8u + 4);
}

TEST_F(MslTraffics, ABufferBoundTwiceIsCountedOnce) {
    std::vector<float> x(16, 1), y(1);
    const MslCounters counters = counted(
        "kernel void k(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]], device "
        "float* y "
        "[[buffer(2)]]) {\n    float sum = 0;\n    for (int i = 0; i < 12; ++i) sum += a[i] * b[i];\n    "
        "y[0] = sum;\n}\n",
        {1}, {1}, {bound(x), {x.data() + 4, 48}, bound(y)});
    EXPECT_EQ(y[0], 12.0f);
    EXPECT_EQ(counters.loaded, 96u);
    EXPECT_EQ(counters.loaded_once, 64u);
}

TEST_F(MslTraffics, OffUnlessALibraryCounts) {
    std::vector<float> x(4, 1);
    const MslLibrary library(with_head("kernel void k(device float* x [[buffer(0)]]) { x[0] += x[1]; }"));
    const MslBuffer buffers[] = {bound(x)};
    MslCounters counters;
    MslLaunch launch;
    launch.buffers = buffers;
    launch.counters = &counters;
    run_msl(library.kernel("k"), launch);
    EXPECT_FALSE(library.kernel("k").counts_memory);
    EXPECT_EQ(counters.lanes, 1u);
    EXPECT_EQ(counters.loaded + counters.stored, 0u);
}

}  // namespace
}  // namespace invar::test
