// SPDX-License-Identifier: Apache-2.0
// Launches: strides of every kind, aliasing, tiles, data-dependent addresses, and what is refused before or
// during a run; no heap allocation while running.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "base/half.h"
#include "program/builder.h"
#include "program/launch.h"
#include "program/run_helper.h"
#include "program/writer.h"
#include "support/heap_counter.h"

namespace invar {
namespace {

using test::Launcher;
using Dims = std::vector<std::int64_t>;

template <class T>
NativeBuffer native(std::vector<T>& v) {
    return {reinterpret_cast<std::byte*>(v.data()), v.size() * sizeof(T)};
}

std::vector<float> numbers(std::size_t n) {
    std::vector<float> v(n);
    for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<float>(i % 10007) - 5003.0f;
    return v;
}

// Calls f(flat index, offset) for every index of dims.
void each(const Dims& dims, const Dims& strides, std::int64_t origin,
          const std::function<void(std::int64_t, std::int64_t)>& f) {
    std::int64_t n = 1;
    for (const auto d : dims) n *= d;
    for (std::int64_t i = 0; i < n; ++i) {
        std::int64_t rest = i, offset = origin;
        for (std::size_t d = dims.size(); d-- > 0;) {
            offset += rest % dims[d] * strides[d];
            rest /= dims[d];
        }
        f(i, offset);
    }
}

const char* kCopyStrided =
    ".program copy\n.param a: f32* strided\n.param c: f32*\nLDG.f32 r0, [a + gid]\nADD.f32 r0, r0, "
    "1\nSTG.f32 [c + gid], r0";
const char* kScatterStrided =
    ".program put\n.param a: f32*\n.param c: f32* strided\nLDG.f32 r0, [a + gid]\nADD.f32 r0, r0, 1\nSTG.f32 "
    "[c + gid], r0";
const char* kHalfBoth =
    ".program half\n.param a: bf16* strided\n.param c: bf16* strided\nLDG.bf16 r0, [a + gid]\nSTG.bf16 [c + "
    "gid], r0";

struct Geometry {
    Dims dims, strides;
};
const Geometry kGeometries[] = {
    {{}, {}},  // one element
    {{1000}, {1}},
    {{1000}, {3}},
    {{1000}, {-1}},
    {{5000}, {0}},
    {{7, 300}, {300, 1}},  // collapses
    {{7, 300}, {512, 1}},  // padded rows
    {{300, 7}, {1, 300}},  // transposed
    {{40, 3000}, {0, 1}},  // a row for all rows
    {{40, 3000}, {1, 0}},  // a column for all columns
    {{50, 17}, {17, -1}},  // reversed rows, short
    {{3, 2, 130}, {-260, 130, -1}},
    {{2, 3, 4, 5, 6, 7}, {2520, 840, 210, 42, 7, 1}},  // rank 6, collapses
    {{2, 3, 4, 5, 6, 7}, {1, 2, 6, 24, 120, 720}},     // rank 6, reversed order
    {{2, 3, 4, 5, 6, 7}, {0, 7, 0, -21, 0, 1}},
    {{1, 33, 1, 65}, {999, 65, 777, 1}},
    {{0, 5}, {5, 1}},
    {{20000, 3}, {4, 1}},
};

// What device backends check before they launch.
TEST(Launch, TheGreatestConstantAddressIsRefused) {
    const Program p = assemble(
        ".program p\n.param x: f32*\n.param y: f32*\nLDG.f32 a, [x + 9223372036854775807]\nSTG.f32 [y + "
        "gid], a");
    std::array<std::byte, kMaxPointwiseParamsBytes> params;
    const std::size_t size = write_pointwise_params(params, {{1}}, {}, {});
    const PlacedBuffer placed[] = {{0, 16}, {256, 16}};
    WrittenLaunch launch;
    EXPECT_THROW(ProgramShape(p).prepare(std::span(params).first(size), placed, launch), InvalidArgument);
}

TEST(Strides, LoadsAgreeWithPlainIndexing) {
    const CompiledProgram program(assemble(kCopyStrided));
    for (const Geometry& g : kGeometries) {
        const OffsetRange range = offset_range(g.dims, g.strides);
        std::vector<float> a = numbers(static_cast<std::size_t>(range.highest - range.lowest + 1));
        const std::int64_t n =
            std::accumulate(g.dims.begin(), g.dims.end(), std::int64_t{1}, std::multiplies<>());
        std::vector<float> c(static_cast<std::size_t>(n), -1.0f);
        Launcher(g.dims, g.strides).run(program, {native(a), native(c)});
        each(g.dims, g.strides, -range.lowest, [&](std::int64_t i, std::int64_t offset) {
            ASSERT_EQ(c[static_cast<std::size_t>(i)], a[static_cast<std::size_t>(offset)] + 1.0f) << i;
        });
    }
}

TEST(Strides, StoresAgreeWithPlainIndexing) {
    const CompiledProgram program(assemble(kScatterStrided));
    for (const Geometry& g : kGeometries) {
        if (std::count(g.strides.begin(), g.strides.end(), 0) > 0) continue;
        const OffsetRange range = offset_range(g.dims, g.strides);
        const std::int64_t n =
            std::accumulate(g.dims.begin(), g.dims.end(), std::int64_t{1}, std::multiplies<>());
        std::vector<float> a = numbers(static_cast<std::size_t>(n));
        std::vector<float> c(static_cast<std::size_t>(range.highest - range.lowest + 1), -1.0f), want = c;
        Launcher(g.dims, g.strides).run(program, {native(a), native(c)});
        each(g.dims, g.strides, -range.lowest, [&](std::int64_t i, std::int64_t offset) {
            want[static_cast<std::size_t>(offset)] = a[static_cast<std::size_t>(i)] + 1.0f;
        });
        ASSERT_EQ(c, want);  // what lies between stays as it was
    }
}

TEST(Strides, HalfTypesGoThroughTheSameGeometry) {
    const CompiledProgram program(assemble(kHalfBoth));
    for (const Geometry& g : kGeometries) {
        if (std::count(g.strides.begin(), g.strides.end(), 0) > 0) continue;
        const OffsetRange range = offset_range(g.dims, g.strides);
        std::vector<std::uint16_t> a(static_cast<std::size_t>(range.highest - range.lowest + 1)),
            c(a.size(), 7), want = c;
        for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<std::uint16_t>(i % 0x7f00);
        Dims both = g.strides;
        both.insert(both.end(), g.strides.begin(), g.strides.end());
        Launcher(g.dims, both).run(program, {native(a), native(c)});
        each(g.dims, g.strides, -range.lowest, [&](std::int64_t, std::int64_t offset) {
            want[static_cast<std::size_t>(offset)] = a[static_cast<std::size_t>(offset)];
        });
        ASSERT_EQ(c, want);
    }
}

TEST(Aliasing, InPlaceAndRepeatedBuffers) {
    const CompiledProgram program(
        assemble(".program p\n.param a: f32*\n.param b: f32*\n.param c: f32*\n.param d: f32*\nLDG.f32 r0, [a "
                 "+ gid]\nLDG.f32 r1, [b + gid]\n"
                 "ADD.f32 r2, r0, r1\nSTG.f32 [c + gid], r2\nMUL.f32 r3, r0, r1\nSTG.f32 [d + gid], r3"));
    for (const std::size_t n : {1u, 700u, 50000u}) {
        // c is a, and d is b: both results come from what was there before.
        std::vector<float> a = numbers(n), b = numbers(n);
        for (float& v : b) v = v * 0.25f + 3;
        const std::vector<float> a0 = a, b0 = b;
        Launcher({static_cast<std::int64_t>(n)}).run(program, {native(a), native(b), native(a), native(b)});
        for (std::size_t i = 0; i < n; ++i) {
            ASSERT_EQ(a[i], a0[i] + b0[i]);
            ASSERT_EQ(b[i], a0[i] * b0[i]);
        }
    }
}

TEST(Aliasing, LoadsAfterAStoreSeeIt) {
    const CompiledProgram program(
        assemble(".program p\n.param a: f32*\n.param c: f32*\nLDG.f32 r0, [a + gid]\nADD.f32 r1, r0, "
                 "1\nSTG.f32 [c + gid], r1\n"
                 "LDG.f32 r2, [a + gid]\nMUL.f32 r2, r2, r0\nSTG.f32 [c + gid], r2"));
    std::vector<float> a = numbers(3000);
    const std::vector<float> a0 = a;
    Launcher({3000}).run(program, {native(a), native(a)});
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a[i], (a0[i] + 1) * a0[i]);
}

TEST(Aliasing, TwoStridedStoresIntoOneBuffer) {  // as rotary embeddings do
    const CompiledProgram program(
        assemble(".program p\n.param a: f32* strided\n.param b: f32* strided\n.param c: f32* strided\n.param "
                 "d: f32* strided\n"
                 "LDG.f32 r0, [a + gid]\nLDG.f32 r1, [b + gid]\nADD.f32 r2, r0, r1\nSUB.f32 r3, r0, r1\n"
                 "STG.f32 [c + gid], r2\nSTG.f32 [d + gid], r3"));
    for (const std::int64_t half : {8, 32, 200}) {
        std::vector<float> x = numbers(static_cast<std::size_t>(50 * 2 * half));
        const std::vector<float> x0 = x;
        NativeBuffer low = native(x), high = low;
        high.data += half * 4;
        high.size -= static_cast<std::size_t>(half) * 4;
        const Dims s = {2 * half, 1};
        Launcher({50, half}, {s[0], 1, s[0], 1, s[0], 1, s[0], 1}).run(program, {low, high, low, high});
        for (std::int64_t r = 0; r < 50; ++r)
            for (std::int64_t i = 0; i < half; ++i) {
                const auto p = static_cast<std::size_t>(r * 2 * half + i),
                           q = p + static_cast<std::size_t>(half);
                ASSERT_EQ(x[p], x0[p] + x0[q]);
                ASSERT_EQ(x[q], x0[p] - x0[q]);
            }
    }
}

TEST(LaunchSizes, BlocksHoldTheCountOrAreRefused) {
    const Program one = assemble(".program p\n.param u: u32*\n.block 1\nSTG.u32 [u + gid], 1"),
                  any = assemble(".program p\n.param u: u32*\nBAR.SYNC\nSTG.u32 [u + gid], 1");
    const auto error = [](const Program& p, std::int64_t count, const std::optional<GridDims>& block) {
        try {
            (void)choose_sizes(p, count, {}, block, 1024);
        } catch (const InvalidArgument& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    EXPECT_EQ(choose_sizes(one, 0x7fffffff, {}, {}, 1024).grid, (GridDims{0x7fffffff, 1, 1}));
    EXPECT_NE(error(one, 3'000'000'000, {}).find("a count of 3000000000 takes 3000000000 blocks of 1 lanes"),
              std::string::npos);
    EXPECT_NE(error(any, INT64_MAX, GridDims{32, 32, 1}).find("give a larger block"), std::string::npos);
    EXPECT_EQ(choose_sizes(any, 3'000'000'000, {}, {}, 1024).grid, (GridDims{11'718'750, 1, 1}));
    // Whatever the block: its lanes are not multiplied before it is checked.
    EXPECT_NE(
        error(any, 5, GridDims{0xffffffff, 0xffffffff, 1}).find("a block of (4294967295, 4294967295, 1)"),
        std::string::npos);
    EXPECT_NE(error(any, 5, GridDims{0xffffffff, 0xffffffff, 0xffffffff}).find("a block of"),
              std::string::npos);
    EXPECT_NE(error(any, 5, GridDims{0, 1, 1}).find("a block of (0, 1, 1)"), std::string::npos);
}

TEST(Uniform, ScalarsImmediatesAndStoresOfThem) {
    const CompiledProgram program(
        assemble(".program p\n.param c: f32*\n.param d: i64*\n.param s: f32\n.param k: i64\nMUL.f32 r0, s, "
                 "2\nEXP.f32 r1, 0\nADD.f32 r0, r0, r1\n"
                 "STG.f32 [c + gid], r0\nMOV.i64 g, gid\nMAD.i64 g, g, k, -5\nSTG.i64 [d + gid], g"));
    std::vector<float> c(40000);
    std::vector<std::int64_t> d(c.size());
    Launcher({40000}, {}, {value_bits(DType::f32, 1.25), integer_bits(DType::i64, 3)})
        .run(program, {native(c), native(d)});
    for (std::size_t i = 0; i < c.size(); ++i) {
        ASSERT_EQ(c[i], 3.5f);
        ASSERT_EQ(d[i], static_cast<std::int64_t>(i) * 3 - 5);
    }
}

TEST(Addresses, GatherAndScatterThroughRegisters) {
    const CompiledProgram program(
        assemble(".program p\n.param t: bf16*\n.param i: i16*\n.param c: f32*\nLDG.i16 r0, [i + "
                 "gid]\nLDG.bf16 r1, [t + r0]\n"
                 "LDG.bf16 r2, [t + 2]\nADD.f32 r3, r1, r2\nSTG.f32 [c + r0], r3"));
    std::vector<std::uint16_t> table(5000);
    for (std::size_t k = 0; k < table.size(); ++k) table[k] = f32_to_bf16(static_cast<float>(k % 200));
    std::vector<std::int16_t> index(4000);
    for (std::size_t k = 0; k < index.size(); ++k) index[k] = static_cast<std::int16_t>((k * 7) % 4001);
    std::vector<float> c(4001, -1);
    Launcher({4000}).run(program, {native(table), native(index), native(c)});
    for (std::size_t k = 0; k < index.size(); ++k)
        ASSERT_EQ(c[static_cast<std::size_t>(index[k])], static_cast<float>(index[k] % 200) + 2.0f);

    for (const std::int16_t bad : {std::int16_t{5000}, std::int16_t{-1}, std::int16_t{-32768}}) {
        index[3999] = bad;
        try {
            Launcher({4000}).run(program, {native(table), native(index), native(c)});
            ADD_FAILURE() << "read element " << bad;
        } catch (const InvalidArgument& e) {
            const std::string text = e.what();
            EXPECT_NE(text.find("program 'p': buffer 't' holds 5000 elements, index 3999 asks for element " +
                                std::to_string(bad)),
                      std::string::npos)
                << text;
        }
    }
    std::vector<std::uint16_t> tiny(2);
    EXPECT_THROW(Launcher({1}).run(program, {native(tiny), native(index), native(c)}), InvalidArgument);
}

TEST(Addresses, UnsignedIndicesDoNotWrap) {
    const CompiledProgram program(
        assemble(".program p\n.param t: f32*\n.param i: u64*\n.param c: f32*\nLDG.u64 r0, [i + gid]\nLDG.f32 "
                 "r1, [t + r0]\nSTG.f32 [c + gid], r1"));
    std::vector<float> t(4, 2.0f), c(1);
    for (const std::uint64_t bad :
         {std::uint64_t{4}, ~std::uint64_t{0}, std::uint64_t{1} << 62, std::uint64_t{1} << 63}) {
        std::vector<std::uint64_t> i = {bad};
        EXPECT_THROW(Launcher({1}).run(program, {native(t), native(i), native(c)}), InvalidArgument);
    }
}

TEST(Refusals, BuffersAndParameters) {
    const CompiledProgram strided(assemble(kCopyStrided));
    const CompiledProgram plain(
        assemble(".program p\n.param a: f32*\n.param c: f32*\n.param s: f32\nLDG.f32 r0, [a + gid]\nMUL.f32 "
                 "r0, r0, s\nSTG.f32 [c + gid], r0"));
    std::vector<float> a(100), c(100), few(99);
    const auto says = [&](const CompiledProgram& p, const Launcher& l, std::vector<NativeBuffer> buffers,
                          const char* words) {
        try {
            l.run(p, std::move(buffers));
            ADD_FAILURE() << "ran, should say: " << words;
        } catch (const InvalidArgument& e) {
            EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
        }
    };
    const Launcher good({100}, {}, {0});
    EXPECT_NO_THROW(good.run(plain, {native(a), native(c)}));
    says(plain, good, {native(a)}, "takes 2 buffers, got 1");
    says(plain, good, {native(few), native(c)}, "buffer 'a' holds 99 elements, the launch needs 100");
    says(plain, good, {native(a), native(few)}, "buffer 'c' holds 99");
    says(plain, good, {NativeBuffer{}, native(c)}, "holds 0 elements");
    NativeBuffer crooked = native(a);
    crooked.data += 2;
    crooked.size -= 2;
    says(plain, Launcher({10}, {}, {0}), {crooked, native(c)}, "not a multiple of 4 bytes");
    says(plain, Launcher({100}), {native(a), native(c)}, "takes 1 scalars, got 0");
    says(strided, Launcher({100}), {native(a), native(c)}, "has 1 strided buffers, got strides for 0");
    // 2 * 49 + 1 = 99 elements fit, forwards and backwards; one index more does not.
    Launcher({50}, {2}).run(strided, {native(few), native(c)});
    Launcher({50}, {-2}).run(strided, {native(few), native(c)});
    says(strided, Launcher({51}, {2}), {native(few), native(c)},
         "buffer 'a' holds 99 elements, the launch needs 101");
}

TEST(Refusals, ExtentsThatOverflow) {
    const CompiledProgram strided(assemble(kCopyStrided));
    std::vector<float> a(100), c(100);
    constexpr std::int64_t kMax = INT64_MAX;
    const std::vector<Geometry> hostile = {{{100}, {kMax}},
                                           {{3}, {INT64_MIN}},
                                           {{2, 2}, {kMax, kMax}},
                                           {{2, 2}, {kMax, -kMax}},
                                           {{kMax, 2}, {0, 0}},
                                           {{kMax}, {0}},
                                           {{1 << 20, 1 << 20, 1 << 24}, {0, 0, 0}},
                                           {{100}, {2}},
                                           {{100}, {-2}},
                                           {{2, 2}, {INT64_MIN, INT64_MIN}}};
    for (const Geometry& g : hostile)
        EXPECT_THROW(Launcher(g.dims, g.strides).run(strided, {native(a), native(c)}), InvalidArgument)
            << g.dims[0] << " " << g.strides[0];
    // Strides of a dimension that is never walked do not matter.
    Launcher({1, 100}, {INT64_MIN, 1}).run(strided, {native(a), native(c)});
}

TEST(Params, WriterAndReaderCheckEachOther) {
    std::byte room[kMaxPointwiseParamsBytes];
    const std::int64_t dims[] = {2, 3}, strides[] = {3, 1, 0, -1};
    const std::uint64_t scalars[] = {7};
    const std::size_t n = write_pointwise_params(room, dims, strides, scalars);
    EXPECT_EQ(n, pointwise_params_bytes(2, 2, 1));
    PointwiseParams p;
    read_pointwise_params(std::span(room, n), p);
    EXPECT_EQ(p.rank, 2);
    EXPECT_EQ(p.elements, 6);
    EXPECT_EQ(p.strided_buffers, 2);
    EXPECT_EQ(p.strides[1][1], -1);
    EXPECT_EQ(p.scalars[0], 7u);
    for (std::size_t cut = 0; cut < n; ++cut)
        EXPECT_THROW(read_pointwise_params(std::span(room, cut), p), InvalidArgument) << cut;
    EXPECT_THROW(read_pointwise_params(std::span(room, n + 8), p), InvalidArgument);
    for (std::size_t k = 0; k < 16; ++k) {
        const std::byte before = room[k];
        room[k] = std::byte{0xff};
        EXPECT_THROW(read_pointwise_params(std::span(room, n), p), InvalidArgument) << k;
        room[k] = before;
    }
    const std::int64_t negative[] = {-1}, seven[] = {1, 1, 1, 1, 1, 1, 1};
    EXPECT_THROW(write_pointwise_params(room, negative, {}, {}), InvalidArgument);
    EXPECT_THROW(write_pointwise_params(room, seven, {}, {}), InvalidArgument);
    EXPECT_THROW(write_pointwise_params(room, dims, std::span(strides, 3), {}), InvalidArgument);
    EXPECT_THROW(write_pointwise_params(room, {}, std::span(strides, 1), {}), InvalidArgument);
    EXPECT_THROW(write_pointwise_params(std::span(room, n - 1), dims, strides, scalars), InvalidArgument);
    std::memset(room + 16, 0xff, 8);  // a dimension of -1
    EXPECT_THROW(read_pointwise_params(std::span(room, n), p), InvalidArgument);
    const std::uint64_t many[kMaxProgramScalars + 1] = {};
    EXPECT_THROW(write_pointwise_params(room, {}, {}, many), InvalidArgument);
}

TEST(Tiles, RunWithoutParameters) {
    const CompiledProgram program(
        assemble(".program p\n.param a: bf16* strided\n.param c: f32* strided\n.param s: f32\nLDG.bf16 r0, "
                 "[a + gid]\nFMA.f32 r0, r0, s, 1\nSTG.f32 [c + gid], r0"));
    std::vector<std::uint16_t> a(1000, f32_to_bf16(3.0f));
    std::vector<float> c(1001, -1);
    const NativeBuffer buffers[] = {native(a), {reinterpret_cast<std::byte*>(c.data()), 4000}};
    const std::uint64_t s[] = {value_bits(DType::f32, 2)};
    program.run_tile(buffers, 1000, s);
    EXPECT_EQ(c[999], 7.0f);
    EXPECT_EQ(c[1000], -1.0f);
    EXPECT_THROW(program.run_tile(buffers, 1001, s), InvalidArgument);
    EXPECT_THROW(program.run_tile(buffers, -1, s), InvalidArgument);
    EXPECT_THROW(program.run_tile(buffers, 1, {}), InvalidArgument);
}

TEST(Large, ManyLiveRegistersSpillOverTheStackScratch) {
    ProgramBuilder b;
    const int in = b.add_buffer(DType::f64, false, Access::read),
              out = b.add_buffer(DType::f64, false, Access::write);
    std::vector<Reg> live = {b.load(in)};
    for (int i = 1; i < 400; ++i)
        live.push_back(b.emit(Opcode::ADD, DType::f64, {live.back(), b.immediate(DType::f64, 1)}));
    Reg sum = live[0];
    for (std::size_t i = live.size(); i-- > 1;) sum = b.emit(Opcode::ADD, DType::f64, {sum, live[i]});
    b.store(out, sum);
    const CompiledProgram program(b.finish("many"));
    std::vector<double> a(5000), c(5000);
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i);
    Launcher({5000}).run(program, {native(a), native(c)});
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(c[i], 400.0 * a[i] + 399 * 200);
}

TEST(Running, AllocatesNothing) {
    INVAR_NEEDS_HEAP_COUNTER();
    const CompiledProgram program(assemble(kCopyStrided));
    std::vector<float> a(200000), c(200000);
    const NativeBuffer buffers[] = {native(a), native(c)};
    ThreadPool& pool = test::two_threads();
    std::byte room[kMaxPointwiseParamsBytes];
    const std::int64_t dims[] = {1000, 200}, strides[] = {200, 1};
    const std::size_t n = write_pointwise_params(room, dims, strides, {});
    program.run(buffers, std::span(room, n), pool);
    const std::int64_t before = test::heap_allocations();
    for (int i = 0; i < 10; ++i) {
        write_pointwise_params(room, dims, strides, {});
        program.run(buffers, std::span(room, n), pool);
        program.run_tile(buffers, 1000);
    }
    EXPECT_EQ(test::heap_allocations(), before);
    std::vector<float>* counted = new std::vector<float>(3);  // the counter does count
    EXPECT_EQ(test::heap_allocations(), before + 2);
    delete counted;
}

TEST(Running, ThreadsDoNotChangeBits) {
    const CompiledProgram program(
        assemble(".program p\n.param a: f32*\n.param c: f32*\nLDG.f32 r0, [a + gid]\nTANH.f32 r1, "
                 "r0\nEXP.f32 r2, r1\nSTG.f32 [c + gid], r2"));
    std::vector<float> a = numbers(300001), one(a.size()), many(a.size());
    for (float& v : a) v *= 1e-3f;
    ThreadPool single(1), four(4);
    const Launcher l({300001});
    l.run(program, {native(a), native(one)}, single);
    l.run(program, {native(a), native(many)}, four);
    EXPECT_EQ(std::memcmp(one.data(), many.data(), one.size() * 4), 0);
}

}  // namespace
}  // namespace invar
