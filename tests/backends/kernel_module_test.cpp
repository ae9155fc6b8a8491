// SPDX-License-Identifier: Apache-2.0
// Kernel programs over tensors on the devices that compile them from source: the bytes that the cpu gives, one by one and in
// a batch, what they decline, and errors of launches.
#include <invar/error.h>
#include <invar/program.h>

#include <numeric>

#include <gtest/gtest.h>

#include "backends/cuda_device.h"
#include "backends/opencl_device.h"
#include "program/examples.h"
#include "support/metal_device.h"

namespace invar::test {
namespace {

const char* const kPrograms =
    ".program saxpy\n.param a: f32\n.param x: f32*\n.param y: f32*\n"
    "LDG.f32 u, [x + gid]\nLDG.f32 v, [y + gid]\nFMA.f32 w, a, u, v\nSTG.f32 [y + gid], w\n"
    ".program views\n.param x: f32* strided\n.param y: f32* strided\n.param z: f32* strided\n"
    "LDG.f32 u, [x + gid]\nLDG.f32 v, [y + gid]\nSUB.f32 w, u, v\nSTG.f32 [z + gid], w\n"
    ".program ends\n.param y: u32*\nMOV.u32 i, gid\nSET.lt.u32 p, i, 3\n@p STG.u32 [y + i], i\nMOV.u32 b, "
    "thread.x\n"
    ".program far\n.param y: u32*\nMOV.u32 i, thread.x\nADD.u32 i, i, 7\nSTG.u32 [y + i], i\n";
const char* const kScatter =
    ".program scatter\n.param at: u32*\n.param x: f32*\n.param y: f32*\nLDG.u32 i, [at + gid]\nLDG.f32 v, [x "
    "+ gid]\nSTG.f32 [y + i], v\n";

std::vector<float> numbers(std::int64_t n, float start) {
    std::vector<float> v(static_cast<std::size_t>(n));
    std::iota(v.begin(), v.end(), start);
    return v;
}

class ModuleOnDevice : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        std::string why = "no CUDA device here";
        device_ = GetParam() == "cuda"    ? first_cuda_device()
                  : GetParam() == "metal" ? first_metal_device(why)
                                          : first_opencl_device(why);
        if (GetParam() == "metal" && !device_ && metal_required()) FAIL() << why;
        if (GetParam() == "opencl" && !device_ && !env_string("INVAR_REQUIRE_OPENCL").empty()) FAIL() << why;
        if (!device_) GTEST_SKIP() << why;
    }
    template <class T>
    static Tensor on(const std::shared_ptr<Device>& device, const std::vector<T>& v, const Shape& shape) {
        return Tensor::from_bytes(std::as_bytes(std::span(v)), dtype_of<T>(), shape, device);
    }
    std::string text() const {
        return kPrograms + read_file(example_folder() / "dot.prog") +
               read_file(example_folder() / "histogram.prog");
    }
    static std::vector<ProgramCall> calls(const std::shared_ptr<Device>& device) {
        const Tensor x = on(device, numbers(1000, -3), {1000}), y = on(device, numbers(1000, 5), {1000});
        const Tensor square = on(device, numbers(30, 1), {5, 6}), row = on(device, numbers(5, 10), {5});
        const Tensor bytes = on(device, std::vector<std::uint8_t>(777, 9), {777});
        return {
            {.program = "saxpy", .inputs = {{"x", x}, {"y", y}}, .scalars = {{"a", 0.3}}},
            {.program = "saxpy",
             .inputs = {{"x", x.slice(0, 1, 8)}, {"y", x.slice(0, 3, 10)}},
             .scalars = {{"a", 2}}},
            {.program = "views",
             .inputs = {{"x", square.transpose()}, {"y", row}},
             .outputs = {{"z", Shape{6, 5}}}},
            {.program = "views",
             .inputs = {{"x", square.slice(1, 5, -1, -2)}, {"y", square.slice(1, 0, 3)}},
             .outputs = {{"z", Shape{5, 3}}}},
            {.program = "ends", .outputs = {{"y", Shape{100}}}},
            {.program = "ends", .inputs = {{"y", on(device, std::vector<std::uint32_t>(50, 4), {50})}}},
            {.program = "partials",
             .inputs = {{"a", x}, {"b", y}},
             .scalars = {{"n", 1000}},
             .outputs = {{"out", Shape{4}}},
             .grid = {{4, 1, 1}}},
            {.program = "histogram",
             .inputs = {{"x", bytes}},
             .scalars = {{"n", 777}},
             .outputs = {{"bins", Shape{256}}},
             .count = 777},
        };
    }
    std::shared_ptr<Device> device_;
};

TEST_P(ModuleOnDevice, GivesTheBytesOfTheCpu) {
    const KernelModule here = KernelModule::from_text(text(), device_, {.fallback = false});
    const KernelModule cpu = KernelModule::from_text(text(), "cpu");
    const std::vector<ProgramCall> of_cpu = calls(cpu.device()), of_device = calls(device_);
    const auto batch = here.run_batch(of_device);
    for (std::size_t i = 0; i < of_cpu.size(); ++i) {
        const ProgramResult want = cpu.run(of_cpu[i]), got = here.run(of_device[i]);
        EXPECT_EQ(got.ran_on, device_->name());
        ASSERT_EQ(got.outputs.size(), want.outputs.size());
        for (const auto& [name, tensor] : want.outputs) {
            EXPECT_EQ(got[name].to_bytes(), tensor.to_bytes()) << of_cpu[i].program << ", call " << i;
            EXPECT_EQ(batch[i][name].to_bytes(), tensor.to_bytes()) << of_cpu[i].program << ", batch " << i;
        }
    }
}

TEST_P(ModuleOnDevice, WhatItDeclinesRunsOnTheCpu) {
    EXPECT_THROW(KernelModule::from_text(kScatter, device_, {.fallback = false}), Unsupported);
    const KernelModule module = KernelModule::from_text(kPrograms + std::string(kScatter), device_);
    const Tensor at = on(device_, std::vector<std::uint32_t>{2, 0, 2}, {3}),
                 x = on(device_, numbers(3, 5), {3});
    const ProgramResult r = module.run(
        {.program = "scatter", .inputs = {{"at", at}, {"x", x}}, .outputs = {{"y", Shape{4}}}, .count = 3});
    EXPECT_EQ(r.ran_on, "cpu");
    EXPECT_NE(r.why, "");
    EXPECT_EQ(r["y"].device(), device_);
    EXPECT_EQ(r["y"].to_vector<float>(), (std::vector<float>{6, 0, 7, 0})) << "the last index stays";
    const ProgramResult other = module.run(
        {.program = "saxpy", .inputs = {{"x", x}, {"y", r["y"].slice(0, 0, 3)}}, .scalars = {{"a", 1}}});
    EXPECT_EQ(other.ran_on, device_->name());
    EXPECT_EQ(other["y"].to_vector<float>(), (std::vector<float>{11, 6, 14}));
}

TEST_P(ModuleOnDevice, ErrorsOfALaunchComeAtTheWait) {
    const KernelModule module = KernelModule::from_text(kPrograms, device_, {.reuse = true});
    const ProgramCall far{.program = "far", .outputs = {{"y", Shape{7}}}},
        good{.program = "ends", .outputs = {{"y", Shape{7}}}};
    const ProgramResult r = module.run(far);
    EXPECT_THROW((void)r["y"].to_bytes(), LaunchFailed);
    EXPECT_EQ(module.run(good)["y"].to_vector<std::uint32_t>(),
              (std::vector<std::uint32_t>{0, 1, 2, 0, 0, 0, 0}));
    const ProgramResult again = module.run(far);
    EXPECT_FALSE(again.reused);  // the failed result was not kept
    EXPECT_THROW(module.synchronize(), LaunchFailed);
    EXPECT_NO_THROW(module.synchronize());
}

INSTANTIATE_TEST_SUITE_P(Devices, ModuleOnDevice, testing::Values("cuda", "opencl", "metal"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace invar::test
