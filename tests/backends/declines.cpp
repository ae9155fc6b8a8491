// SPDX-License-Identifier: Apache-2.0
// Everything that a device may be asked, each with what it takes to ask.
#include "backends/declines.h"

#include <fstream>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

#include "device/services.h"
#include "kernels/attention/family.h"
#include "kernels/convolution/family.h"
#include "kernels/gather/family.h"
#include "kernels/gather/scatter.h"
#include "kernels/gather/take.h"
#include "kernels/matmul/family.h"
#include "kernels/random/family.h"
#include "kernels/reduce/family.h"
#include "kernels/scan/family.h"
#include "kernels/sort/family.h"

namespace invar::test {

std::string declined_by(Device& device, bool wide) {
    using Attempt = std::pair<std::string, std::function<void()>>;
    const auto feature = [&](const char* name, Feature which) {
        return Attempt{std::string("feature ") + name, [&device, which] {
                           if (!device.supports(which)) throw Unsupported("no");
                       }};
    };
    const auto compiles = [&](const char* name, const Module& m) {
        return Attempt{std::string("module ") + name, [&device, m] { device.compile(m); }};
    };
    const auto plans = [&](const char* name, auto plan) {
        return Attempt{std::string("family ") + name, [&device, plan] { plan(device); }};
    };
    kernels::MatmulSpec matmul;
    matmul.m = matmul.n = matmul.k = 1;
    matmul.x_row = matmul.w_row = matmul.y_row = 1;
    kernels::LinearSpec linear;
    linear.m = linear.k = linear.x_row = linear.n[0] = linear.w_row[0] = linear.y_row[0] = 1;
    kernels::ReduceSpec reduce;
    reduce.outer = reduce.n = reduce.inner = 1;
    kernels::RowSpec row;
    row.rows = row.n = row.x_row = row.y_row = 1;
    kernels::GatherSpec gather;
    kernels::KvAppendSpec append;
    append.cache.kv_heads = append.cache.head_dim = 1;
    kernels::AttentionSpec attention;
    attention.cache = append.cache;
    attention.heads = 1;
    kernels::DecodeSpec decode;
    decode.attention = attention;
    kernels::SampleSpec sample;
    sample.vocab = 1;
    std::vector<Attempt> attempts = {
        feature("host_visible", Feature::host_visible),
        feature("wrap_host", Feature::wrap_host),
        feature("programs", Feature::programs),
        feature("native", Feature::native),
        feature("library", Feature::library),
        feature("clusters", Feature::clusters),
        feature("warp_groups", Feature::warp_groups),
        feature("capture", Feature::capture),
        feature("arithmetic", Feature::arithmetic),
        {"stream capture", [&] { device.make_stream()->begin_capture(); }},
        {"device bandwidth",
         [&] {
             if (!device.bandwidth()) throw Unsupported("no");
         }},
        compiles("source in cuda", {"x", SourceText{"cuda", "", {}}}),
        compiles("source in opencl", {"x", SourceText{"opencl", "kernel void x() {}", {}}}),
        compiles("source in metal", {"x", SourceText{"metal", "kernel void x() {}", {}}}),
        compiles("binary in cubin", {"x", BinaryImage{"cubin", {}}}),
        compiles("native entries", {"x", NativeEntries{}}),
        compiles("library routine", {"x", LibraryRoutine{"gemm"}}),
        compiles("program",
                 {"x", ProgramText{".program x\n.param y: f32*\nMOV.f32 v, 1\nSTG.f32 [y + gid], v\n"}}),
        compiles("program that stores to an address that depends on data",
                 {"x", ProgramText{".program x\n.param a: f32*\n.param i: i32*\n.param y: f32*\n"
                                   "LDG.i32 n, [i + gid]\nLDG.f32 v, [a + gid]\nSTG.f32 [y + n], v\n"}}),
        plans("matmul", [&](const Device& d) { kernels::plan_matmul(d, matmul); }),
        plans("matmul, linear", [&](const Device& d) { kernels::plan_linear(d, linear); }),
        plans("reduce", [&](const Device& d) { kernels::plan_reduce(d, reduce); }),
        plans("reduce, row", [&](const Device& d) { kernels::plan_row(d, row); }),
        plans("scan", [&](const Device& d) { kernels::plan_scan(d, {}); }),
        plans("gather", [&](const Device& d) { kernels::plan_gather(d, gather); }),
        plans("gather, take", [&](const Device& d) { kernels::plan_take(d, {}); }),
        plans("gather, scatter", [&](const Device& d) { kernels::plan_scatter(d, {}); }),
        plans("sort", [&](const Device& d) { kernels::plan_sort(d, {}); }),
        plans("convolution", [&](const Device& d) { kernels::plan_window(d, {}); }),
        plans("attention, kv_append", [&](const Device& d) { kernels::plan_kv_append(d, append); }),
        plans("attention", [&](const Device& d) { kernels::plan_attention(d, attention); }),
        plans("attention, decode", [&](const Device& d) { kernels::plan_decode(d, decode); }),
        plans("random, sample", [&](const Device& d) { kernels::plan_sample(d, sample); }),
        plans("random", [&](const Device& d) { kernels::plan_random(d, {}); }),
    };
    if (wide) {
        kernels::ReduceSpec of_f64 = reduce, mean = reduce;
        of_f64.x = of_f64.y = DType::f64;
        mean.x = DType::i32;
        mean.op = kernels::Reduction::mean;
        const Attempt more[] = {
            feature("f64", Feature::f64),
            compiles("program in f64",
                     {"x", ProgramText{".program x\n.param y: f64*\nMOV.f64 v, 1\nSTG.f64 [y + gid], v\n"}}),
            compiles("program with an atomic of 64 bits",
                     {"x", ProgramText{".program x\n.param y: u64*\nATOM.add.u64 v, [y + 0], 1\n"}}),
            plans("reduce, of f64", [=](const Device& d) { kernels::plan_reduce(d, of_f64); }),
            plans("reduce, mean of integers", [=](const Device& d) { kernels::plan_reduce(d, mean); }),
            plans("scan, of f64",
                  [](const Device& d) {
                      kernels::plan_scan(d, {kernels::Scan::sum, DType::f64, DType::f64});
                  }),
            plans("gather, scatter, sums of f64",
                  [](const Device& d) {
                      kernels::plan_scatter(d, {DType::f64, DType::i64, true});
                  }),
        };
        attempts.insert(attempts.end(), std::begin(more), std::end(more));
    }
    std::string declined;
    for (const auto& [name, attempt] : attempts) {
        try {
            attempt();
        } catch (const Unsupported&) {
            declined += name + "\n";
        }
    }
    return declined;
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): the list of functions goes with the scope
}

std::string table_of_declines(const std::string& file) {
    std::ifstream in(std::string(INVAR_SOURCE_DIR "/tests/backends/") + file);
    std::string table, line;
    while (std::getline(in, line))
        if (!line.empty() && line[0] != '#') table += line + "\n";
    return table;
}

}  // namespace invar::test
