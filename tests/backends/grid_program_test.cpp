// SPDX-License-Identifier: Apache-2.0
// Grid programs on the devices that compile them from source (and on the software Metal device of
// tests/metalsim), against the interpreter: random ones bit by bit (NaN apart),
// every collective and atomic at every type, and accesses outside their buffers. With no device: what the
// writer makes of them and of the examples compiles for the CUDA architectures that count.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "backends/cuda/driver.h"
#include "backends/grid_device.h"
#include "backends/program_matrix.h"
#include "program/examples.h"
#include "program/grid_matrix.h"
#include "program/grid_writer.h"
#include "program/writer.h"
#include "support/heap_counter.h"

namespace invar::test {
namespace {

constexpr int kParts = 4;  // of the random programs

std::string device_error(Stream& stream) {
    try {
        stream.synchronize();
    } catch (const LaunchFailed& e) {
        return e.what();
    }
    return "";
}

std::string example_texts() {
    std::string text;
    for (const auto& file : example_files()) text += read_file(file) + "\n";
    return text;
}

class GridOnDevice : public GridDevice, public testing::WithParamInterface<std::string> {};

// In four parts, which ctest runs side by side: PoCL takes half a second for a kernel.
class RandomGridsOnDevice : public GridDevice,
                            public testing::WithParamInterface<std::tuple<std::string, int>> {
    // PoCL's optimiser takes two thirds of that. It is given the programs of one part, the others do without.
    void SetUp() override {
        before_ = env_string("INVAR_OPENCL_OPTIONS");
        if (std::get<1>(GetParam()) != 0) ::setenv("INVAR_OPENCL_OPTIONS", "-cl-opt-disable", 1);
    }
    void TearDown() override { ::setenv("INVAR_OPENCL_OPTIONS", before_.c_str(), 1); }
    std::string before_;
};

TEST_P(RandomGridsOnDevice, GiveTheInterpretersBits) {
    const std::string& name = std::get<0>(GetParam());
    if (!open(name)) GTEST_SKIP() << why_;
    const std::int64_t few = name == "metal" ? 200 : kCountsHeap ? 100 : 20;
    const std::int64_t count = env_int("INVAR_GRID_PROGRAMS_ON_DEVICE", few, 1, 1000000000);
    const std::int64_t first = env_int("INVAR_GRID_FIRST_SEED", 1, 0, 1000000000);  // for runs side by side
    // Compilers take longer to begin than for a program. What PoCL declines stands alone, so that no other is lost with it.
    const std::size_t together = name == "metal" ? 25 : name == "opencl" ? 10 : 1;
    std::int64_t ran = 0;
    for (std::int64_t seed = first + std::get<1>(GetParam()); ran < count / kParts;) {
        std::vector<std::pair<std::int64_t, GridCase>> cases;
        std::string text;
        bool alone = false;
        for (; !alone && cases.size() < together && ran + std::ssize(cases) < count / kParts;
             seed += kParts) {
            GridCase c = random_grid_case(static_cast<std::uint64_t>(seed));
            const std::string own = grid_text(c, "random" + std::to_string(seed));
            try {
                const Program p = assemble(own);
                if (name == "metal" && (c.has('d') || uses_wide_atomics(p))) continue;
                alone = name == "opencl" && meets_under_if(p);
            } catch (const FormatError&) {
                continue;  // few: grid_random_test counts them
            }
            if (alone && !cases.empty()) break;  // it comes next
            text += own;
            cases.emplace_back(seed, std::move(c));
        }
        const std::vector<Program> programs = assemble_module(text);
        std::shared_ptr<LoadedModule> module;
        try {
            module = device_->compile({"random programs", ProgramText{text}});
        } catch (const Unsupported& e) {
            ASSERT_TRUE(meets_under_if(programs[0])) << e.what();  // opencl_declines.txt
            continue;
        }
        for (std::size_t k = 0; k < cases.size(); ++k) {
            const auto& [number, c] = cases[k];
            const Program& p = programs[k];
            const std::string d =
                difference(module->kernel(p.name), p, c.buffers, c.scalars, c.grid, c.block);
            ASSERT_EQ(d, "") << "seed " << number << ", smallest that fails:\n" << shrunk(c);
            ++ran;
        }
    }
}

// For Apple's compiler: INVAR_METAL_SOURCES names a folder for them (tests/graph/metal_source_test.cpp writes the kernels of families).
TEST(MetalWriter, ProgramsAreWrittenWhereAFolderIsNamed) {
    const std::string folder = env_string("INVAR_METAL_SOURCES");
    if (folder.empty()) GTEST_SKIP() << "INVAR_METAL_SOURCES names no folder";
    std::filesystem::create_directories(folder);
    int number = 0;
    const auto write = [&](const std::string& text) {
        std::ofstream out(std::filesystem::path(folder) / ("program" + std::to_string(number++) + ".metal"));
        out << "// programs\n" << write_source(assemble_module(text), Language::metal);
        ASSERT_TRUE(out.good());
    };
    for (const MatrixProgram& program : matrix_programs(12, false)) write(program.text);
    write(grid_matrix_text(false, false));
    for (const auto& file : example_files()) write(read_file(file));
    std::string text;
    int programs = 0;
    for (std::uint64_t seed = 1; programs < 250; ++seed) {
        const GridCase c = random_grid_case(seed);
        const std::string own = grid_text(c, "random" + std::to_string(seed));
        try {
            if (c.has('d') || uses_wide_atomics(assemble(own))) continue;
        } catch (const FormatError&) {
            continue;
        }
        text += own;
        if (++programs % 25 == 0) write(std::exchange(text, {}));
    }
}

INSTANTIATE_TEST_SUITE_P(
    Devices, RandomGridsOnDevice,
    testing::Combine(testing::Values(std::string("cuda"), std::string("opencl"), std::string("metal")),
                     testing::Range(0, kParts)),
    [](const auto& info) { return std::get<0>(info.param) + "_" + std::to_string(std::get<1>(info.param)); });

TEST_P(GridOnDevice, EveryCollectiveAndAtomicAtEveryType) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    const bool metal = GetParam() == "metal";
    const std::string text = grid_matrix_text(!metal, !metal);
    const auto module = device_->compile({"grid matrix", ProgramText{text}});
    Random random(7);
    for (const Program& p : assemble_module(text)) {
        const auto check = [&](std::uint32_t lanes, std::uint32_t blocks, std::size_t n) {
            const GridMatrixLaunch launch = grid_matrix_launch(p, lanes, blocks, n, random);
            EXPECT_EQ(difference(module->kernel(p.name), p, launch.buffers, {n}, launch.grid, launch.block),
                      "")
                << p.name << ", " << n << " lanes";
        };
        for (const std::uint32_t lanes : {1u, 31u, 32u, 33u, 1023u}) {
            const std::uint32_t blocks = grid_matrix_blocks(lanes);
            try {
                check(lanes, blocks, std::size_t{blocks} * lanes - lanes / 3);
            } catch (const InvalidArgument& e) {
                // A driver of OpenCL may give a kernel of many registers smaller blocks.
                ASSERT_TRUE(GetParam() == "opencl" && lanes > 256) << e.what();
                ASSERT_NE(std::string(e.what()).find("a block of this kernel has at most"),
                          std::string::npos);
            }
        }
        check(33, 1, 0);
        check(33, 0, 0);
    }
}

// What is never below zero compared with what is not above it, for NaN too: compilers fold such comparisons, and ptxas 13.0
// folds |x| >= 0 to true (writer_dialect.h).
TEST_P(GridOnDevice, ComparisonsOfWhatIsNeverNegativeKnowNaN) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    std::string text;
    int serial = 0;
    std::vector<DType> types = {DType::f32};
    if (device_->supports(Feature::f64)) types.push_back(DType::f64);
    for (const DType t : types)
        for (const char* body : {"ABS.T y, x", "RELU.T y, x", "SQRT.T y, x", "MUL.T y, x, x", "EXP.T y, x",
                                 "SIGMOID.T y, x", "ABS.T y, x; NEG.T y, y"}) {
            std::string one =
                ".program p" + std::to_string(serial++) + "\n.param in: T*\n.param flags: u32*\n" +
                ".param a: T*\n.param b: T*\n.param c: T*\n.param d: T*\nMOV.u32 i, thread.x\n" +
                "LDG.T x, [in + i]\n" + body + "\nMOV.u32 f, 0\n";
            for (const char* compare : {"lt", "le", "gt", "ge", "eq", "ne"})
                for (const char* constant : {"0", "-0", "-3", "-inf"})
                    one += "SET." + std::string(compare) + ".T p, y, " + constant +
                           "\nSEL.u32 g, p, 1, 0\nMAD.u32 f, f, 2, g\n";
            one +=
                "STG.u32 [flags + i], f\nMIN.T u, y, 0\nSTG.T [a + i], u\nMAX.T u, y, -3\nSTG.T [b + i], u\n"
                "MIN.T u, -3, y\nSTG.T [c + i], u\nMAX.T u, 0, y\nSTG.T [d + i], u\n";
            for (std::size_t at; (at = one.find(".T ")) != std::string::npos;)
                one.replace(at, 3, "." + std::string(dtype_name(t)) + " ");
            for (std::size_t at; (at = one.find("T*")) != std::string::npos;)
                one.replace(at, 2, std::string(dtype_name(t)) + "*");
            text += one;
        }
    const auto module = device_->compile({"comparisons", ProgramText{text}});
    for (const Program& p : assemble_module(text)) {
        const DType t = p.parameters[0].dtype;
        Bits in;
        for (const double x :
             {0.0, -0.0, 1.0, -1.0, 9.0, 1e-310, double(INFINITY), -double(INFINITY), double(NAN)})
            in.push_back(value_bits(t, x));
        const std::size_t n = in.size();
        std::vector<Bits> buffers{in, Bits(n), Bits(n), Bits(n), Bits(n), Bits(n)}, got = buffers,
                                                                                    want = buffers;
        const GridDims grid{1, 1, 1}, block{static_cast<std::uint32_t>(n), 1, 1};
        run_grid(p, want, {}, grid, block, 0, 10000);
        launch(module->kernel(p.name), p, got, {}, grid, block);
        EXPECT_EQ(got[1], want[1]) << to_text(p);
        for (std::size_t b = 2; b < got.size(); ++b)  // functions may differ in their last bits
            for (std::size_t i = 0; i < n; ++i)
                EXPECT_EQ(is_nan(t, got[b][i]), is_nan(t, want[b][i])) << to_text(p) << b << " " << i;
    }
}

TEST_P(GridOnDevice, AccessesOutsideAreTheInterpretersErrors) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    const std::string head = ".program p\n.param u: u32*\n.shared s: i32[4]\nMOV.i32 i, thread.x\n";
    for (const auto& [body, lanes] : {std::pair{"STG.u32 [u + gid], 7", 6u},
                                      {"SUB.i32 i, i, 1\nLDG.u32 x, [u + i]\nSTG.u32 [u + 0], x", 3u},
                                      {"STS.i32 [s + i], 1", 5u},
                                      {"ATOM.add.u32 x, [u + i], 1", 6u}}) {
        const std::string text = head + body;
        const auto module = device_->compile({"faults", ProgramText{text}});
        const Program p = assemble(text);
        std::vector<Bits> buffers{Bits(5)};
        std::string want, got;
        try {
            run_grid(p, buffers, {}, {1, 1, 1}, {lanes, 1, 1});
        } catch (const LaunchFailed& e) {
            want = e.what();
        }
        try {
            launch(module->kernel("p"), p, buffers, {}, {1, 1, 1}, {lanes, 1, 1});
        } catch (const LaunchFailed& e) {
            got = e.what();
        }
        // The first lane that fails is not the same everywhere; here one fails.
        EXPECT_NE(want, "");
        EXPECT_EQ(got, want);
        EXPECT_TRUE(stream_->poisoned());
        stream_ = device_->make_stream();
        std::vector<Bits> good{Bits(16)};
        const std::string fine = ".program p\n.param u: u32*\nBAR.SYNC\nSTG.u32 [u + gid], 7";
        launch(device_->compile({"fine", ProgramText{fine}})->kernel("p"), assemble(fine), good, {},
               {2, 1, 1}, {8, 1, 1});
        EXPECT_EQ(good[0], Bits(16, 7));
    }
    EXPECT_EQ(device_error(*stream_), "");
}

TEST_P(GridOnDevice, BuffersKnowTheirSize) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    const std::string text =
        ".program sizes\n.param a: f16*\n.param b: u8*\n.param out: i64*\nMOV.i64 n, a.size\nSTG.i64 [out + "
        "0], "
        "n\nMOV.u32 m, b.size\nCVT.i64 w, m\nSTG.i64 [out + 1], w\nMOV.i32 k, out.size\nCVT.i64 w, "
        "k\nSTG.i64 [out + "
        "2], w\n";
    const auto module = device_->compile({"sizes", ProgramText{text}});
    std::vector<Bits> buffers{Bits(33), Bits(7), Bits(3)};
    launch(module->kernel("sizes"), assemble(text), buffers, {}, {1, 1, 1}, {1, 1, 1});
    EXPECT_EQ(buffers[2], (Bits{33, 7, 3}));
}

TEST_P(GridOnDevice, LaunchesThatDoNotFitAreRefused) {
    if (!open(GetParam())) GTEST_SKIP() << why_;
    const std::string text = ".program p\n.param u: u32*\n.block 8\nSTG.u32 [u + gid], 1";
    const auto module = device_->compile({"sizes", ProgramText{text}});
    const Program p = assemble(text);
    std::vector<Bits> buffers{Bits(8)};
    EXPECT_THROW(launch(module->kernel("p"), p, buffers, {}, {1, 1, 1}, {4, 1, 1}), InvalidArgument);
    EXPECT_THROW(launch(module->kernel("p"), p, buffers, {1}, {1, 1, 1}, {8, 1, 1}), InvalidArgument);
    launch(module->kernel("p"), p, buffers, {}, {0, 1, 1}, {8, 1, 1});
    EXPECT_EQ(buffers[0], Bits(8));
    launch(module->kernel("p"), p, buffers, {}, {1, 1, 1}, {8, 1, 1});
    EXPECT_EQ(buffers[0], Bits(8, 1));
}

INSTANTIATE_TEST_SUITE_P(Devices, GridOnDevice,
                         testing::Values(std::string("cuda"), std::string("opencl"), std::string("metal")),
                         [](const auto& info) { return info.param; });

TEST(GridWriter, WhatItWritesCompilesForEveryArchitecture) {
    try {
        cuda::nvrtc();
    } catch (const Unsupported& e) {
        if (!env_string("INVAR_REQUIRE_NVRTC").empty()) throw;
        GTEST_SKIP() << e.what();
    }
    const auto compiles = [](const std::string& text, const char* architecture) {
        const std::string source = write_source(assemble_module(text), Language::cuda);
        return cuda::compile_source("grid", source, architecture, {}).cubin.size() > 1000;
    };
    for (const char* architecture : {"sm_80", "sm_90a", "sm_100"}) {
        EXPECT_TRUE(compiles(example_texts(), architecture));
        EXPECT_TRUE(compiles(grid_matrix_text(), architecture));
    }
    std::string random;
    int programs = 0;
    for (std::uint64_t seed = 1; programs < 30; ++seed) {
        const std::string own = grid_text(random_grid_case(seed), "random" + std::to_string(seed));
        try {
            (void)assemble(own);
        } catch (const FormatError&) {
            continue;  // few: grid_random_test counts them
        }
        random += own;
        ++programs;
    }
    EXPECT_TRUE(compiles(random, "sm_90a"));
}

}  // namespace
}  // namespace invar::test
