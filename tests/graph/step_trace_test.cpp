// SPDX-License-Identifier: Apache-2.0
// What a trace says of schedules on the device at hand (INVAR_DEVICE): every step of every run, in order, with its cost; the
// same results as without; the weights of a model's decode step. Times are asked to be possible, never to be good.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/model.h>
#include <invar/ops.h>
#include <invar/program.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/trace.h"
#include "device/device.h"
#include "device/faults.h"
#include "io/safetensors.h"

namespace invar {
namespace {

using nlohmann::json;

class StepTrace : public ::testing::Test {
protected:
    void TearDown() override {
        set_faults("");
        trace_end();
        std::filesystem::remove(file_);
    }
    // The spans of that category, in the order in which they were written.
    std::vector<json> spans(const std::string& category) {
        trace_flush();
        std::ifstream in(file_);
        std::vector<json> found;
        for (const json& e : json::parse(in))
            if (e.at("ph") == "X" && e.at("cat") == category) found.push_back(e);
        return found;
    }
    const std::string file_ =
        ::testing::TempDir() + "invar-step-trace-" + std::to_string(::getpid()) + ".json";
};

Tensor counting(const Shape& shape) {
    std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 17) - 8.0f;
    return Tensor::of(v, shape);
}

TEST_F(StepTrace, EveryStepOfEveryRun) {
    const auto device = find_device();
    const Tensor w = counting({6, 4});
    const Symbol n{0, 50};
    const InputSpec specs[] = {{DType::f32, {n, 4}}};
    const CompiledFunction f = compile(
        [&](std::span<const Tensor> in) { return std::vector<Tensor>{softmax(linear(in[0] * 0.25, w), -1)}; },
        specs, device);
    ASSERT_EQ(f.steps(), 3);
    const Tensor in[] = {counting({7, 4})};
    const Tensor out[] = {Tensor::empty(DType::f32, {7, 6}, device)};
    const auto result = [&] {
        f.run(in, out);
        f.synchronize();
        return out[0].to_vector<float>();
    };
    const std::vector<float> want = result();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(result(), want);  // captured and replayed where there is capture
    trace_begin(file_);
    EXPECT_EQ(result(), want);
    EXPECT_EQ(result(), want);
    const std::vector<json> steps = spans("step"), runs = spans("run");
    trace_end();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(result(), want);
    ASSERT_EQ(runs.size(), 2u);
    ASSERT_EQ(steps.size(), 6u);
    const char* const labels[] = {"multiply", "matmul", "softmax"};
    const double bytes[] = {2 * 28 * 4, (28 + 24 + 42) * 4, 2 * 42 * 4},
                 flops[] = {28, 2 * 7 * 6 * 4, 4 * 42};
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const json &e = steps[i], &args = e.at("args");
        EXPECT_EQ(e.at("name"), labels[i % 3]);
        EXPECT_EQ(args.at("step"), i % 3);
        EXPECT_EQ(args.at("device"), device->name());
        EXPECT_EQ(args.at("bytes"), bytes[i % 3]);
        EXPECT_EQ(args.at("flops"), flops[i % 3]);
        EXPECT_FALSE(args.at("kernel").get<std::string>().empty());
        EXPECT_GE(e.at("dur").get<double>(), 0);
        EXPECT_EQ(e.at("tid"), steps[0].at("tid"));
        EXPECT_NE(e.at("tid"), runs[0].at("tid"));
        EXPECT_FALSE(args.contains("clock") && device->name() == "cpu");  // it has times of its own
    }
    EXPECT_EQ(steps[1].at("args").at("sizes"), "batch=1 m=7 n=6 k=4");
    EXPECT_EQ(steps[1].at("args").at("product"), "f32");
    // Steps follow each other and do not overlap (the rounding of the text apart).
    for (std::size_t i = 1; i < steps.size(); ++i)
        EXPECT_GE(steps[i].at("ts").get<double>() + 0.01,
                  steps[i - 1].at("ts").get<double>() + steps[i - 1].at("dur").get<double>());
}

TEST_F(StepTrace, TheHostsWorkIsThereToo) {
    trace_begin(file_);
    const Tensor t = counting({3, 5});
    EXPECT_EQ((t * 3.0 + 1.0).to_vector<float>()[0], -23.0f);
    EXPECT_EQ(spans("evaluate").size(), 1u);
    EXPECT_EQ(spans("step").size(), 1u);
    EXPECT_GE(spans("run").size(), 1u);
    // A shape that no other test has is lowered and planned.
    (counting({3, 5, 7, 11}) - 4.0).eval();
    EXPECT_EQ(spans("lower").size(), spans("plan").size());
    EXPECT_GE(spans("lower").size(), 1u);
}

TEST_F(StepTrace, ProgramsOverTensorsAreStepsToo) {
    const auto module = KernelModule::from_text(R"(
        .program saxpy
        .param a: f32
        .param x: f32*
        .param y: f32*
        LDG.f32 u, [x + gid]
        LDG.f32 v, [y + gid]
        FMA.f32 w, a, u, v
        STG.f32 [y + gid], w
    )");
    const ProgramCall call{.inputs = {{"x", counting({100})}, {"y", counting({100})}}, .scalars = {{"a", 2}}};
    const ProgramCall calls[] = {call, call, call};
    const std::vector<float> want = module.run(call)["y"].to_vector<float>();
    trace_begin(file_);
    for (const ProgramResult& result : module.run_batch(calls))
        EXPECT_EQ(result["y"].to_vector<float>(), want);
    const std::vector<json> steps = spans("step");
    ASSERT_EQ(steps.size(), 3u);
    for (const json& e : steps) {
        EXPECT_EQ(e.at("name"), "program saxpy");
        EXPECT_EQ(e.at("args").at("kernel"), "saxpy");
        EXPECT_EQ(e.at("args").at("sizes"), "lanes=100");
        EXPECT_EQ(e.at("args").at("bytes"), 3 * 400);  // x, y as it comes and as it goes
        EXPECT_EQ(e.at("args").at("flops"), 200);
    }
}

TEST_F(StepTrace, AFailedRunLeavesAValidTrace) {
    trace_begin(file_);
    const Tensor t = counting({4, 4});
    set_faults("launch@1");
    EXPECT_THROW((t * 5.0).eval(), LaunchFailed);
    set_faults("");
    EXPECT_GE(spans("run").size(), 1u);
    EXPECT_EQ((t * 5.0).to_vector<float>()[0], -40.0f);
    EXPECT_GE(spans("step").size(), 1u);
}

TEST_F(StepTrace, NullDevicesHaveTheHostsClock) {
    const auto device = find_device("null");
    trace_begin(file_);
    const Tensor x = Tensor::empty(DType::f32, {4, 4}, device);
    (x + x).eval();
    const std::vector<json> steps = spans("step");
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].at("args").at("clock"), "host");
    EXPECT_EQ(steps[0].at("args").at("bytes"), 2 * 16 * 4);  // x is one buffer
}

// The products of a decode step read every weight once; little else moves.
TEST_F(StepTrace, DecodeReadsTheWeightsOnce) {
    const std::filesystem::path folder = std::filesystem::path(INVAR_SOURCE_DIR) / "models" / "tiny";
    const auto model = Model::load(folder);
    double weights = 0;
    for (const char* shard : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
        const auto file = io::SafetensorsFile::open(folder / shard);
        for (const io::TensorInfo& tensor : file->tensors())
            if (tensor.shape.size() == 2) weights += static_cast<double>(tensor.bytes());
    }
    ASSERT_GT(weights, 20e6);
    Session session(model, {.capacity = 64});
    const std::vector<std::int32_t> prompt[] = {{1, 2, 3}};
    const SamplingOptions sampling[] = {SamplingOptions{}};
    session.start(prompt, sampling);
    trace_begin(file_);
    session.step();
    double products = 0, keys = -1;
    int runs = 0;
    for (const json& e : spans("step")) {
        const json& args = e.at("args");
        if (args.at("step") == 0) ++runs;
        if (args.contains("keys")) {
            keys = std::max(keys, args.at("keys").get<double>());
        } else if (args.contains("product")) {
            products += args.at("bytes").get<double>();
        }
    }
    trace_end();
    ASSERT_GE(runs, 1);
    EXPECT_GE(products / runs, weights);
    EXPECT_LT(products / runs, weights * 1.01);
    // Attention reads as far as the sequence goes, not as far as it may: three tokens, and one or two of the steps.
    EXPECT_GE(keys, 4);
    EXPECT_LE(keys, 5);
}

}  // namespace
}  // namespace invar
