// SPDX-License-Identifier: Apache-2.0
// What a CUDA device is given, looked at without one: golden schedules of decode steps as "null:cuda" takes them, with the
// number of launches a token, and the compilation of every source that the models ask for, where NVRTC is present.
#include <invar/error.h>
#include <invar/model.h>
#include <invar/ops.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>

#include <gtest/gtest.h>

#include "backends/cuda/driver.h"
#include "base/env.h"
#include "base/thread_pool.h"
#include "device/device.h"
#include "device/services.h"
#include "graph/plan.h"
#include "kernels/convolution/family.h"
#include "kernels/cuda_tuning.h"
#include "kernels/gather/scatter.h"
#include "kernels/gather/take.h"
#include "kernels/reduce/family.h"
#include "kernels/scan/family.h"
#include "kernels/sort/family.h"
#include "kernels/source.h"
#include "support/golden.h"

namespace invar {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models";

TEST(CudaSchedule, DecodeSteps) {
    for (const char* name : {"llama", "gpt2", "mistral", "qwen2", "qwen3"}) {
        const auto model = Model::load(kModels / name, {.device = "null:cuda", .dtype = DType::bf16});
        const Session session(model, {.capacity = 64});
        compare_with_golden(std::string("schedules/cuda-decode-") + name + ".txt", session.decode_schedule());
    }
}

// Steps launch what the schedule says; the first starts the second as well, each later one the next.
TEST(CudaSchedule, LaunchesOfAToken) {
    const auto model = Model::random("llama-1b", {.device = "null:cuda", .dtype = DType::bf16});
    Session session(model, {.capacity = 640});
    compare_with_golden("schedules/cuda-decode-llama-1b.txt", session.decode_schedule());
    const std::vector<std::int32_t> prompt[] = {{1, 2, 3}};
    const SamplingOptions greedy[] = {{}};
    session.start(prompt, greedy);
    LaunchLog* log = model->device()->launch_log();
    ASSERT_NE(log, nullptr);
    std::vector<std::size_t> launches;
    for (int step = 0; step < 3; ++step) {
        log->clear();
        session.step();
        const std::string text = log->text();
        launches.push_back(0);
        for (std::size_t at = 0; (at = text.find("launch ", at)) != std::string::npos; ++at)
            ++launches.back();
    }
    compare_with_golden("schedules/cuda-launches-llama-1b.txt",
                        "launches of a token, 16 layers: " + std::to_string(launches[1]) + "\n");
    EXPECT_EQ(launches[2], launches[1]);
    EXPECT_EQ(launches[0], 2 * launches[1]);
}

// The product of warp groups: every tile, both types, and the other activations by two of the tiles.
void plan_gemms() {
    using kernels::Gate;
    kernels::MatmulSpec s;
    s.m = s.n = s.k = s.x_row = s.w_row = s.y_row = 512;
    const auto plan = [&](std::size_t tile, Gate activation) {
        s.x = s.w = s.y = s.bias = s.residual = tile % 2 ? DType::bf16 : DType::f16;
        s.activation = activation;
        s.has_bias = activation != Gate::none;
        kernels::plan_warp_groups(s, kernels::kGemmTiles[tile], 132);
    };
    for (std::size_t tile = 0; tile < kernels::kGemmTileCount; ++tile) plan(tile, Gate::gelu);
    for (const std::size_t tile : {0, 1})
        for (const Gate g : {Gate::none, Gate::silu, Gate::gelu_tanh, Gate::relu}) plan(tile, g);
}

// Families that models do not ask for: sources that differ in more than a type's name.
void plan_other_families(const Device& device) {
    using kernels::WindowOp;
    for (const DType t : {DType::f16, DType::i64})
        kernels::plan_sort(device, {t, false, false, 1, 5000, 5000, 5000});
    kernels::plan_take(device, {DType::f32, DType::i32, 1, 1, 1, 1});
    kernels::plan_scatter(device, {DType::bf16, DType::i64, true, false, 1, 1, 1, 1});
    kernels::plan_scatter(device, {DType::f16, DType::i64, true, true, 1, 1, 1, 1});
    kernels::plan_scatter(device, {DType::f64, DType::i32, false, true, 1, 1, 1, 1});
    for (const auto& [op, t] : {std::pair{WindowOp::unfold, DType::f16},
                                {WindowOp::channels, DType::bf16},
                                {WindowOp::max, DType::f16},
                                {WindowOp::mean, DType::f32}})
        kernels::plan_window(device, {op, t, true, 1, 1, 1, 1, 1, 1, 1});
}

// Prologues and epilogues: operands of every kind and of different widths, each kernel that has them, each accumulator.
// How many steps have one.
int plan_holes(const Device& device) {
    const std::shared_ptr<Device> shared = find_device("null:cuda");
    const auto input = [&](DType t, const Shape& shape) { return Tensor::empty(t, shape, shared); };
    std::vector<Tensor> results;
    for (const DType t : {DType::f32, DType::f16, DType::bf16})
        for (const std::int64_t n : {1000, 1024, 7000, 40000}) {
            const Tensor x = input(t, {2, 3, n}), v = input(DType::f32, {3, n}),
                         c = input(DType::f16, {2, 3, 1}), keep = input(DType::pred, {2, 3, n}),
                         w = input(t, {n});
            results.push_back(softmax(where(keep, x * 0.125 + v, c)));
            results.push_back(gelu(layer_norm(x + c, w, w, 1e-6)) * x);
            results.push_back(silu(rms_norm(x, w, 1e-6)) * v);
            results.push_back(rms_norm(x * v, w, 1e-6) + x * v);
        }
    for (const std::int64_t rows : {2, 700})
        for (const std::int64_t n : {100, 1024, 1 << 17}) {
            if (rows > 2 && n > 1024) continue;
            const Tensor a = input(DType::f32, {rows, n}), b = input(DType::bf16, {rows, n}),
                         i = input(DType::i8, {rows, n}), v = input(DType::f64, {n});
            results.push_back(sqrt(sum(square(a - b), -1) + 1e-6));
            results.push_back(argmax(a * b, -1));
            results.push_back(any(greater(i, i * i), -1));
            results.push_back(sum(erf(v) * v.broadcast_to({rows, n}), -1));
            results.push_back(sum(i + i, -1) * 3.0);
            results.push_back(logsumexp(tanh(b), -1) - 1.0);
        }
    // Columns, in one chunk and in several; the last keeps what it makes.
    for (const std::int64_t n : {10, 1 << 17}) {
        const Tensor a = input(DType::f16, {n, 64}), v = input(DType::f32, {64}),
                     c = input(DType::bf16, {n, 1}), i = input(DType::i8, {n, 64}), d = square(a * v + c);
        results.push_back(sum(d, 0));
        results.push_back(var(a * v, 0));
        results.push_back(any(greater(i, i * i), 0));
        results.push_back(max(d, 0) + d);
    }
    int joined = 0;
    for (const Tensor& t : results) {
        const graph::Schedule s =
            graph::lower(graph::collect({t.node()}), device, {.fuse = true, .donations = {}});
        for (const graph::Step& step : s.steps) {
            joined += step.label.find(" -> ") != std::string::npos ? 1 : 0;
            std::visit(
                [&](const auto& work) {
                    if constexpr (requires { work.fields; }) graph::plan(device, work.spec);
                },
                step.work);
        }
    }
    return joined;
}

// What the tests can ask a compiler for: of models, then of the families and variants that they leave out.
// holes: so many steps of plan_holes join at least.
void plan_everything(int holes) {
    for (const auto& folder : fs::directory_iterator(kModels)) {
        if (!folder.is_directory()) continue;
        for (const DType type : {DType::bf16, DType::f32}) {
            const auto model = Model::load(folder.path(), {.device = "null:cuda", .dtype = type});
            const std::int64_t long_one = std::min<std::int64_t>(model->info().context, 512);
            const Session one(model, {.capacity = 64}),
                several(model, {.sequences = 3, .capacity = long_one}),
                many(model, {.sequences = 24, .capacity = 64});
        }
    }
    // The shape of head that the tuned attention kernels serve.
    const auto large = Model::random("gpt2", {.device = "null:cuda", .dtype = DType::f16, .max_context = 64});
    const Session session(large);
    plan_other_families(*find_device("null:cuda"));
    plan_gemms();
    EXPECT_GE(plan_holes(*find_device("null:cuda")), holes) << "the graphs of plan_holes do not join";

    // Reductions, along both kinds of axis, whole and in chunks: every accumulator, and each width of an element.
    const auto device = find_device("null:cuda");
    using kernels::Reduction;
    for (const auto& [x, op] : {std::pair{DType::i8, Reduction::sum},
                                {DType::i64, Reduction::argmax},
                                {DType::f16, Reduction::sum},
                                {DType::f16, Reduction::var},
                                {DType::f32, Reduction::logsumexp},
                                {DType::f64, Reduction::argmin}}) {
        const DType y = op == Reduction::argmax || op == Reduction::argmin || !is_float(x) ? DType::i64 : x;
        for (const auto& [outer, n, inner] : {std::array<std::int64_t, 3>{2, 10, 1},
                                              {600, 10, 1},
                                              {2, 1 << 20, 1},
                                              {2, 10, 5},
                                              {2, 1 << 20, 5}})
            kernels::plan_reduce(*device, {.op = op, .x = x, .y = y, .outer = outer, .n = n, .inner = inner});
    }

    // Row operations of each length of row that has a variant.
    for (const std::int64_t n : {1000, 1024, 4096, 30000, 70000})
        for (const kernels::RowOp op : {kernels::RowOp::softmax, kernels::RowOp::layer_norm}) {
            const bool norm = op == kernels::RowOp::layer_norm;
            kernels::plan_row(*device, {.op = op,
                                        .x = DType::f16,
                                        .y = DType::f16,
                                        .weight = DType::f16,
                                        .rows = 2,
                                        .n = n,
                                        .x_row = n,
                                        .y_row = n,
                                        .eps = 1e-5f,
                                        .has_weight = norm,
                                        .has_bias = norm,
                                        .one_plus_weight = false});
        }
    // Scans, which no model has: rows of every length, columns, chunks, and each kind of accumulator.
    using kernels::Scan;
    for (const kernels::ScanSpec& scan :
         std::vector<kernels::ScanSpec>{{Scan::sum, DType::f32, DType::f32, 9, 5, 1},
                                        {Scan::prod, DType::f16, DType::f16, 9, 100, 1},
                                        {Scan::max, DType::bf16, DType::bf16, 9, 1000, 1},
                                        {Scan::sum, DType::f32, DType::f32, 1, 1 << 20, 1},
                                        {Scan::sum, DType::f64, DType::f64, 1, 1 << 20, 3},
                                        {Scan::min, DType::u8, DType::u8, 9, 100, 7},
                                        {Scan::sum, DType::i32, DType::i64, 1, 1 << 20, 1}})
        (void)kernels::plan_scan(*device, scan);
}

TEST(CudaSource, EverySourceCompiles) {
    try {
        cuda::nvrtc();
    } catch (const Unsupported& e) {
        if (!env_string("INVAR_REQUIRE_NVRTC").empty()) throw;
        GTEST_SKIP() << e.what();
    }
    plan_everything(30);
    {
        const kernels::PortableOnly portable;  // what stands in for the tuned kernels
        plan_everything(0);
    }

    struct Job {
        const Module* module;
        const char* architecture;
    };
    std::vector<Job> jobs;
    for (const Module* module : kernels::source_modules("cuda"))
        for (const auto& [architecture, number] : {std::pair{"sm_80", 80}, {"sm_90a", 90}, {"sm_100", 100}})
            // Portable sources have nothing of an architecture in them.
            if (number >= std::get<SourceText>(module->body).oldest &&
                (number == 80 || !module->name.starts_with("portable ")))
                jobs.push_back({module, architecture});
    EXPECT_GT(std::ranges::count_if(
                  jobs, [](const Job& job) { return job.module->name.starts_with("portable attention"); }),
              0);
    ASSERT_GT(jobs.size(), 30u);
    std::mutex mutex;
    ThreadPool::shared().parallel_for(static_cast<std::int64_t>(jobs.size()), [&](std::int64_t i) {
        const Job& job = jobs[static_cast<std::size_t>(i)];
        const auto& source = std::get<SourceText>(job.module->body);
        try {
            const auto compiled =
                cuda::compile_source(job.module->name, source.text, job.architecture, source.options);
            const std::lock_guard lock(mutex);
            EXPECT_FALSE(compiled.cubin.empty());
            EXPECT_EQ(compiled.log, "") << job.module->name << " for " << job.architecture;
        } catch (const CompileFailed& e) {
            const std::lock_guard lock(mutex);
            ADD_FAILURE() << e.what();
        }
    });
}

}  // namespace
}  // namespace invar
