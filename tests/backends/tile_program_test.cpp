// SPDX-License-Identifier: Apache-2.0
// Tiles and accumulators on the devices that compile them from source: products against what they must be (tile_cases.h), copies
// of every type bit by bit, faults word for word. With no device: the texts compile for the CUDA architectures that count.
#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "backends/cuda/driver.h"
#include "backends/grid_device.h"
#include "base/half.h"
#include "program/examples.h"
#include "program/tile_cases.h"
#include "program/writer.h"

namespace invar::test {
namespace {

constexpr int kBlocks = 6;

// The cases, whose blocks are those of the list from the n-th on.
std::vector<TileCase> cases_from(int n) {
    std::vector<GridDims> blocks{{32, 1, 1}, {64, 1, 1}, {128, 1, 1}, {256, 1, 1}, {100, 1, 1}, {16, 3, 2}};
    std::rotate(blocks.begin(), blocks.begin() + n, blocks.end());
    return tile_cases(blocks);
}
std::string texts(const std::vector<TileCase>& cases) {
    std::string text;
    for (std::size_t k = 0; k < cases.size(); ++k) text += tile_text(cases[k], "p" + std::to_string(k));
    return text;
}

class TileProductsOnDevice : public GridDevice,
                             public testing::WithParamInterface<std::tuple<std::string, int>> {};

TEST_P(TileProductsOnDevice, AreThoseOfTheReference) {
    const auto& [name, first] = GetParam();
    if (!open(name)) GTEST_SKIP() << why_;
    std::vector<TileCase> cases = cases_from(first);
    if (name != "cuda") {  // PoCL takes a second for each
        std::vector<TileCase> some;
        for (std::size_t k = static_cast<std::size_t>(first); k < cases.size(); k += kBlocks)
            some.push_back(cases[k]);
        cases = std::move(some);
    }
    const auto module = device_->compile({"tile products", ProgramText{texts(cases)}});
    for (std::size_t k = 0; k < cases.size(); ++k) {
        const TileCase& t = cases[k];
        const std::string program = "p" + std::to_string(k);
        const Program p = assemble(tile_text(t, program));
        const auto before = tile_buffers(t, k);
        auto got = before, again = before;
        launch(module->kernel(program), p, got, t.scalars(), t.grid(), t.block);
        // Matrix units have an order of their own.
        const bool chain = name != "cuda" || t.type == DType::f32 || p.block_lanes() % kWarpLanes != 0;
        ASSERT_EQ(tile_error(t, before, got[2], chain), "") << to_text(p);
        launch(module->kernel(program), p, again, t.scalars(), t.grid(), t.block);
        EXPECT_EQ(again, got);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Devices, TileProductsOnDevice,
    testing::Combine(testing::Values(std::string("cuda"), std::string("opencl"), std::string("metal")),
                     testing::Range(0, kBlocks)),
    [](const auto& info) { return std::get<0>(info.param) + "_" + std::to_string(std::get<1>(info.param)); });

class TilesOnDevice : public GridDevice, public testing::WithParamInterface<std::string> {};

// Copies over whole and clipped regions, on and off 16 bytes, read by lanes as rows.
std::string copy_text(DType type) {
    return replaced(
        R"(.program copy_$T
.param a: $T*
.param out: $T*
.param start: i64
.param pitch: i64
.param rows: i64
.param columns: i64
.shared narrow: $T[5, 6]
.shared wide: $T[8, 32]
MOV.i64 first, start
MOV.u32 i, thread.x
COPY.TILE.$T narrow, [a + first], pitch, rows, columns
COPY.TILE.$T wide, [a + first], pitch, 3, 4
COPY.TILE.$T wide, [a + first], pitch, rows, columns
LOOP
  SET.ge.u32 done, i, 286
  @done BREAK
  MOV.$C x, 0
  SET.lt.u32 p, i, 256
  IF p
    LDS.$T x, [wide + i]
  ELSE
    SUB.u32 j, i, 256
    LDS.$T x, [narrow + j]
  ENDIF
  STG.$T [out + i], x
  MOV.u32 lanes, block_dim.x
  ADD.u32 i, i, lanes
ENDLOOP
)",
        {{"$T", std::string(dtype_name(type))}, {"$C", std::string(dtype_name(compute_type(type)))}});
}

// A tile that lanes write and read beside the matrix units: whatever order it is kept in, it looks like rows.
constexpr const char* kMixed = R"(.program mixed
.param a: bf16*
.param out: bf16*
.param product: f32*
.shared ta: bf16[32, 48]
.shared tb: bf16[48, 16]
.acc sum: f32[32, 16]
.block 64
MOV.u32 t, thread.x
MOV.u32 i, t
LOOP
  SET.ge.u32 done, i, 1536
  @done BREAK
  LDG.bf16 x, [a + i]
  STS.bf16 [ta + i], x
  ADD.u32 i, i, 64
ENDLOOP
BAR.SYNC
COPY.TILE.bf16 tb, [a + 8], 16, 48, 16
MMA.bf16 sum, ta, tb
MOV.u32 i, t
LOOP
  SET.ge.u32 done, i, 768
  @done BREAK
  LDS.bf16 x, [tb + i]
  STG.bf16 [out + i], x
  ADD.u32 i, i, 64
ENDLOOP
MMA.store.f32 [product + 0], sum, 16, 32, 16
)";

TEST_P(TilesOnDevice, CopiesAreTheInterpretersBits) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    Random random(5);
    for (int n = 0; n < kDTypeCount; ++n) {
        const auto type = static_cast<DType>(n);
        if (type == DType::pred || (GetParam() == "opencl" && n % 3 == 0)) continue;
        if (type == DType::f64 && GetParam() == "metal") continue;  // which has none
        const Program p = assemble(copy_text(type));
        const auto module = device_->compile({"copies", ProgramText{copy_text(type)}});
        Bits memory(600);
        for (auto& x : memory)
            x = is_float(type) ? narrow(type, value_bits(type == DType::f64 ? type : DType::f32,
                                                         static_cast<double>(random() % 64)))
                               : random() & mask_of(type);
        for (const auto& [start, pitch, rows, columns] : {std::array<std::int64_t, 4>{0, 32, 8, 32},
                                                          {16, 48, 8, 32},
                                                          {16, 48, 7, 29},
                                                          {1, 48, 8, 32},
                                                          {16, 37, 9, 99},
                                                          {300, -32, 6, 16},
                                                          {0, 16, -1, 8},
                                                          {0, 16, 8, -3}}) {
            Bits scalars;
            for (const std::int64_t v : {start, pitch, rows, columns})
                scalars.push_back(static_cast<std::uint64_t>(v));
            EXPECT_EQ(
                difference(module->kernel(p.name), p, {memory, Bits(286)}, scalars, {1, 1, 1}, {70, 1, 1}),
                "")
                << to_text(p) << start << " " << pitch << " " << rows << " " << columns;
        }
    }
}

TEST_P(TilesOnDevice, LanesSeeTilesAsRows) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    const Program p = assemble(kMixed);
    const auto module = device_->compile({"mixed", ProgramText{kMixed}});
    // Whole numbers, whose sums are exact in any order.
    Random random(6);
    Bits a(1536);
    for (auto& x : a) x = narrow(DType::bf16, value_bits(DType::f32, static_cast<double>(random() % 17) - 8));
    EXPECT_EQ(difference(module->kernel(p.name), p, {a, Bits(768), Bits(512)}, {}, {1, 1, 1}, {64, 1, 1}),
              "");
}

TEST_P(TilesOnDevice, RandomSequencesAreTheInterpretersBits) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    // The compiler of PoCL 3.1 ends the process on number 11 (ParallelRegion::Verify), as grid_program_test.cpp knows of one.
    const std::uint64_t count = GetParam() == "cuda" ? 100 : 10;
    for (std::uint64_t seed = 1; seed <= count; ++seed) {
        const TileSequence s = random_tile_sequence(seed);
        const Program p = assemble(s.text);
        const auto module = device_->compile({"sequence", ProgramText{s.text}});
        ASSERT_EQ(difference(module->kernel(p.name), p, tile_sequence_buffers(s, p.parameters[0].dtype), {},
                             {1, 1, 1}, s.block),
                  "")
            << "seed " << seed << "\n"
            << s.text;
    }
}

TEST_P(TilesOnDevice, RegionsOutsideAreTheInterpretersErrors) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    const std::string text =
        ".program p\n.param a: f16*\n.param f: f32*\n.param start: i64\n.param pitch: i64\n"
        ".shared t: f16[16, 16]\n.acc c: f32[16, 16]\n.block 64\nMOV.i64 s, start\n"
        "COPY.TILE.f16 t, [a + s], pitch, 16, 16\nMMA.store.f32 [f + s], c, pitch, 16, 16\n";
    const Program p = assemble(text);
    const auto module = device_->compile({"faults", ProgramText{text}});
    for (const auto& [start, pitch] : {std::pair<std::int64_t, std::int64_t>{0, 20},
                                       {0, 21},
                                       {-1, 16},
                                       {0, 16},
                                       {300, -17},
                                       {0, INT64_MIN},
                                       {0, std::int64_t{1} << 60}}) {
        std::vector<Bits> buffers{Bits(320), Bits(300)};
        const Bits scalars{static_cast<std::uint64_t>(start), static_cast<std::uint64_t>(pitch)};
        const auto error = [&](auto run) {
            try {
                run();
            } catch (const LaunchFailed& e) {
                return std::string(e.what());
            }
            return std::string();
        };
        const std::string want = error([&] { run_grid(p, buffers, scalars, {1, 1, 1}, {64, 1, 1}); });
        const std::string got = error([&] {
            launch(module->kernel("p"), p, buffers, scalars, {1, 1, 1}, {64, 1, 1});
        });
        EXPECT_EQ(want.empty(), start == 0 && pitch == 16);
        EXPECT_EQ(got, want);
        if (!got.empty()) stream_ = device_->make_stream();
    }
}

TEST_P(TilesOnDevice, TheExampleMultiplies) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    const std::string text = read_file(example_folder() / "matmul.prog");
    const Program p = assemble(text);
    const auto module = device_->compile({"matmul", ProgramText{text}});
    TileCase t;
    t.out = DType::f16;
    t.m = t.n = t.k = 64;
    t.rows = 150;
    t.columns = 70;
    t.depth = 200;
    const auto before = tile_buffers(t, 1);
    auto got = before;
    launch(module->kernel("matmul"), p, got, {150, 70, 200}, {2, 3, 1}, {128, 1, 1});
    EXPECT_EQ(tile_error(t, before, got[2], GetParam() != "cuda"), "");
}

INSTANTIATE_TEST_SUITE_P(Devices, TilesOnDevice,
                         testing::Values(std::string("cuda"), std::string("opencl"), std::string("metal")),
                         [](const auto& info) { return info.param; });

TEST(TileWriter, WhatItWritesCompilesForEveryArchitecture) {
    try {
        cuda::nvrtc();
    } catch (const Unsupported& e) {
        if (!env_string("INVAR_REQUIRE_NVRTC").empty()) throw;
        GTEST_SKIP() << e.what();
    }
    std::string text = kMixed;
    for (int n = 0; n < kDTypeCount; ++n)
        if (static_cast<DType>(n) != DType::pred) text += copy_text(static_cast<DType>(n));
    for (const char* n : {"1", "2", "3", "4"})
        text += replaced(random_tile_sequence(static_cast<std::uint64_t>(*n - '0')).text,
                         {{".program sequence", ".program sequence" + std::string(n)}});
    // The middle ones everywhere, the rest of every other once: the largest take a second each.
    const std::vector<TileCase> cases = cases_from(0);
    text += texts({cases.begin() + 12, cases.begin() + 20});
    std::vector<TileCase> more;
    for (std::size_t k = 0; k < cases.size(); k += 2) more.push_back(cases[k]);
    for (const char* architecture : {"sm_80", "sm_90a", "sm_100"}) {
        const std::string& chosen = architecture == std::string("sm_90a") ? texts(more) : text;
        const std::string source = write_source(assemble_module(chosen), Language::cuda);
        EXPECT_GT(cuda::compile_source("tiles", source, architecture, {}).cubin.size(), 1000u);
    }
}

}  // namespace
}  // namespace invar::test
