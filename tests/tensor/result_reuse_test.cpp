// SPDX-License-Identifier: Apache-2.0
// Reuse of results: the same call launches once, any other call launches, and what is kept stays within its bounds. Launches
// are counted in the null device's log.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/program.h>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "device/faults.h"
#include "device/services.h"

namespace invar {
namespace {

const char* const kScale =
    ".program scale\n.param by: f32\n.param x: f32*\n.param y: f32*\n"
    "LDG.f32 u, [x + gid]\nMUL.f32 v, u, by\nSTG.f32 [y + gid], v\n";
const char* const kLanes =
    ".program lanes\n.param x: u32*\n.param seen: u32*\nLDG.u32 a, [x + 0]\nMOV.u32 t, "
    "thread.x\nATOM.add.u32 o, [seen + 0], a\n";

class Reuse : public testing::Test {
protected:
    void SetUp() override {
        graph_wait();
        device_->launch_log()->clear();
    }
    void TearDown() override { set_faults(""); }
    void graph_wait() { KernelModule::from_text(kScale, device_).synchronize(); }

    Tensor numbers(std::int64_t n, float value = 1) const {
        const std::vector<float> v(static_cast<std::size_t>(n), value);
        return Tensor::of(v, {n}, "null");
    }
    ProgramCall scaled(const Tensor& x, double by) const {
        return {.inputs = {{"x", x}}, .scalars = {{"by", by}}, .outputs = {{"y", Like{"x"}}}};
    }
    int launches() const {
        int n = 0;
        const std::string text = device_->launch_log()->text();
        for (std::size_t at = text.find("launch "); at != std::string::npos;
             at = text.find("launch ", at + 1))
            ++n;
        return n;
    }
    const std::shared_ptr<Device> device_ = find_device("null");
};

TEST_F(Reuse, TheSameCallLaunchesOnce) {
    const KernelModule module = KernelModule::from_text(kScale, device_, {.reuse = true});
    const Tensor x = numbers(8);
    const ProgramResult first = module.run(scaled(x, 2)), second = module.run(scaled(x, 2));
    EXPECT_EQ(launches(), 1);
    EXPECT_FALSE(first.reused);
    EXPECT_TRUE(second.reused);
    EXPECT_EQ(second.ran_on, "null");
    EXPECT_EQ(first["y"].node(), second["y"].node());
    // A copy of the tensor, or a view of it that has the same elements in the same place, is the same input.
    EXPECT_TRUE(module.run(scaled(Tensor(x.node()), 2)).reused);
    EXPECT_TRUE(module.run(scaled(x.slice(0, 0, 8), 2)).reused);
    const auto batch = module.run_batch(std::vector{scaled(x, 3), scaled(x, 3), scaled(x, 2)});
    EXPECT_FALSE(batch[0].reused);
    EXPECT_TRUE(batch[1].reused && batch[2].reused);
    EXPECT_EQ(launches(), 2);
    const ReuseStatistics s = module.reuse_statistics();
    EXPECT_EQ(s.hits, 5u);
    EXPECT_EQ(s.misses, 2u);
    EXPECT_EQ(s.entries, 2u);
    EXPECT_EQ(s.bytes, 64u);
}

TEST_F(Reuse, AnyOtherCallLaunches) {
    const KernelModule module =
        KernelModule::from_text(std::string(kScale) + kLanes, device_, {.reuse = true});
    const Tensor x = numbers(8), same_values = numbers(8);
    const auto named = [](ProgramCall call) {
        call.program = "scale";
        return call;
    };
    int wanted = 0;
    const auto launched = [&](const ProgramCall& call) {
        const bool fresh = !module.run(call).reused;
        wanted += fresh;
        return fresh && launches() == wanted;
    };
    EXPECT_TRUE(launched(named(scaled(x, 2))));
    EXPECT_TRUE(launched(named(scaled(x, 2.5))));
    EXPECT_TRUE(launched(named(scaled(x, -2))));
    EXPECT_TRUE(launched(named(scaled(same_values, 2))));
    EXPECT_TRUE(launched(named(scaled(x.slice(0, 0, 4), 2))));
    EXPECT_TRUE(launched(named(scaled(x.slice(0, 4, 8), 2))));
    ProgramCall shaped = named(scaled(x, 2));
    shaped.outputs = {{"y", Shape{2, 4}}};
    EXPECT_TRUE(launched(shaped));
    shaped.count = 5;
    EXPECT_TRUE(launched(shaped));
    ProgramCall lanes{.program = "lanes",
                      .inputs = {{"x", Tensor::of(std::vector<std::uint32_t>{1}, {1}, "null")}},
                      .outputs = {{"seen", Shape{1}}}};
    EXPECT_TRUE(launched(lanes));
    EXPECT_FALSE(launched(lanes));
    lanes.grid = {{2, 1, 1}};
    EXPECT_TRUE(launched(lanes));
    lanes.block = {{64, 1, 1}};
    EXPECT_TRUE(launched(lanes));
    lanes.block = {{32, 2, 1}};
    EXPECT_TRUE(launched(lanes));
    lanes.count = 9;
    EXPECT_TRUE(launched(lanes));
    // What a written buffer begins as is an input too.
    lanes.outputs.clear();
    lanes.inputs.emplace("seen", Tensor::of(std::vector<std::uint32_t>{1}, {1}, "null"));
    EXPECT_TRUE(launched(lanes));
    EXPECT_FALSE(launched(lanes));
    lanes.inputs["seen"] = Tensor::of(std::vector<std::uint32_t>{1}, {1}, "null");
    EXPECT_TRUE(launched(lanes));
    EXPECT_FALSE(launched(named(scaled(x, 2))));
}

TEST_F(Reuse, MemoryThatWasWrittenOverIsAnotherInput) {
    const KernelModule module = KernelModule::from_text(kScale, "cpu", {.reuse = true});
    const Tensor x = Tensor::of(std::vector<float>{1, 2}, {2}, "cpu");
    const auto run = [&] { return module.run(scaled(x, 2)); };
    const std::vector<float> other = {3, 4};
    EXPECT_EQ(run()["y"].to_vector<float>(), (std::vector<float>{2, 4}));
    x.write(std::as_bytes(std::span(other)));
    EXPECT_EQ(run()["y"].to_vector<float>(), (std::vector<float>{6, 8}));
    x.slice(0, 0, 1).write(std::as_bytes(std::span(other).last(1)));
    EXPECT_EQ(run()["y"].to_vector<float>(), (std::vector<float>{8, 8}));
    EXPECT_TRUE(run().reused);
    // By a compiled function, as its output and as an input that it changes.
    const auto cpu = find_device("cpu");
    const InputSpec specs[] = {{DType::f32, {2}}};
    const auto twice = [](std::span<const Tensor> in) { return std::vector<Tensor>{in[0] + in[0]}; };
    const Tensor source = Tensor::of(other, {2}, "cpu"), in[] = {source}, out[] = {x};
    compile(twice, specs, cpu).run(in, out);
    EXPECT_EQ(run()["y"].to_vector<float>(), (std::vector<float>{12, 16}));
    const Tensor itself[] = {x}, none[] = {Tensor()};
    compile(twice, specs, cpu, {.donations = {{0, 0}}}).run(itself, none);
    EXPECT_EQ(run()["y"].to_vector<float>(), (std::vector<float>{24, 32}));
    // A result that somebody wrote over is not given out any more.
    run()["y"].write(std::as_bytes(std::span(other)));
    const ProgramResult fresh = run();
    EXPECT_FALSE(fresh.reused);
    EXPECT_EQ(fresh["y"].to_vector<float>(), (std::vector<float>{24, 32}));
}

TEST_F(Reuse, OldResultsMakeRoom) {
    const Tensor x = numbers(8), large = numbers(100);
    const KernelModule few = KernelModule::from_text(kScale, device_, {.reuse = true, .reuse_entries = 2});
    (void)few.run(scaled(x, 1)), (void)few.run(scaled(x, 2));
    EXPECT_TRUE(few.run(scaled(x, 1)).reused);  // now 2 was used longest ago
    (void)few.run(scaled(x, 3));
    EXPECT_EQ(few.reuse_statistics().entries, 2u);
    EXPECT_TRUE(few.run(scaled(x, 1)).reused);
    EXPECT_FALSE(few.run(scaled(x, 2)).reused);

    const KernelModule small = KernelModule::from_text(kScale, device_, {.reuse = true, .reuse_bytes = 100});
    for (int i = 0; i < 5; ++i) (void)small.run(scaled(x, i));
    EXPECT_EQ(small.reuse_statistics().entries, 3u);  // of 32 bytes each
    EXPECT_EQ(small.reuse_statistics().bytes, 96u);
    EXPECT_FALSE(small.run(scaled(large, 1)).reused);
    EXPECT_FALSE(small.run(scaled(large, 1)).reused);  // too large to be kept
    EXPECT_TRUE(small.run(scaled(x, 4)).reused);
    small.release_results();
    EXPECT_EQ(small.reuse_statistics().bytes, 0u);
    EXPECT_FALSE(small.run(scaled(x, 4)).reused);

    const KernelModule off = KernelModule::from_text(kScale, device_);
    (void)off.run(scaled(x, 1));
    EXPECT_FALSE(off.run(scaled(x, 1)).reused);
    EXPECT_EQ(off.reuse_statistics().entries, 0u);
}

TEST_F(Reuse, KeptResultsMakeRoomForACall) {
    const KernelModule module = KernelModule::from_text(kScale, device_, {.reuse = true});
    const Tensor x = numbers(8), large = numbers(5'000'003);
    (void)module.run(scaled(x, 1));
    device_->allocator().trim();
    set_faults("oom@1,oom@2,oom@3,oom@4");
    EXPECT_NO_THROW((void)module.run(scaled(large, 1)));
    set_faults("");
    EXPECT_FALSE(module.run(scaled(x, 1)).reused);
}

TEST_F(Reuse, InputsAreHeldWeakly) {
    const KernelModule module = KernelModule::from_text(kScale, device_, {.reuse = true});
    const Tensor kept = numbers(8);
    Tensor gone = numbers(1000);
    (void)module.run(scaled(gone, 1));
    module.synchronize();
    const std::uint64_t held = device_->allocator().statistics().bytes_in_use;
    gone = {};
    EXPECT_LT(device_->allocator().statistics().bytes_in_use, held);
    EXPECT_EQ(module.reuse_statistics().bytes, 4000u);
    (void)module.run(scaled(kept, 1));
    EXPECT_EQ(module.reuse_statistics().bytes, 32u);
}

// "null:1" works when it is waited for, so that a result is under way until then.
TEST_F(Reuse, ResultsAreGivenOutBehindTheirWork) {
    const std::shared_ptr<Device> later = find_device("null:1");
    const KernelModule module = KernelModule::from_text(kScale, later, {.reuse = true});
    module.synchronize();
    const Tensor x = Tensor::of(std::vector<float>(8, 1), {8}, "null:1");
    later->launch_log()->clear();
    set_faults("launch@scale");
    (void)module.run(scaled(x, 2));
    EXPECT_THROW((void)module.run(scaled(x, 2)), LaunchFailed);  // not the result of what failed
    set_faults("");
    EXPECT_FALSE(module.run(scaled(x, 2)).reused);
    EXPECT_TRUE(module.run(scaled(x, 2)).reused);
    EXPECT_TRUE(module.run(scaled(x, 2)).reused);
    EXPECT_EQ(later->launch_log()->text(),
              "launch scale grid=1,1,1 block=1,1,1 shared=0 buffers=32,32 params=32\n");
    // Calls of one batch wait for nothing: what is the same is launched once.
    later->launch_log()->clear();
    const auto batch = module.run_batch(std::vector{scaled(x, 3), scaled(x, 3)});
    EXPECT_TRUE(!batch[0].reused && batch[1].reused);
    EXPECT_EQ(batch[0]["y"].node(), batch[1]["y"].node());
    EXPECT_EQ(later->launch_log()->text(), "");
    module.synchronize();
}

TEST_F(Reuse, ResultsOfAFailedStreamAreForgotten) {
    const std::shared_ptr<Device> cpu = find_device("cpu");
    const KernelModule module = KernelModule::from_text(kScale, cpu, {.reuse = true});
    const Tensor x = Tensor::of(std::vector<float>{1, 2}, {2}, "cpu");
    set_faults("launch@scale");
    const ProgramResult failed = module.run(scaled(x, 2));
    set_faults("");
    EXPECT_THROW((void)failed["y"].to_bytes(), LaunchFailed);
    const ProgramResult right = module.run(scaled(x, 2));
    EXPECT_FALSE(right.reused);
    EXPECT_EQ(right["y"].to_vector<float>(), (std::vector<float>{2, 4}));
    EXPECT_TRUE(module.run(scaled(x, 2)).reused);
    // Nor are those of a batch that found no room and was not started.
    const Tensor big = Tensor::of(std::vector<float>(3'000'001, 1), {3'000'001}, "cpu");
    const std::vector<ProgramCall> calls = {scaled(x, 7), scaled(big, 7)};
    cpu->allocator().trim();
    set_faults("oom@1,oom@2,oom@3,oom@4,oom@5,oom@6,oom@7,oom@8,oom@9,oom@10,oom@11,oom@12");
    EXPECT_THROW((void)module.run_batch(calls), OutOfMemory);
    set_faults("");
    EXPECT_FALSE(module.run(scaled(x, 7)).reused);
}

}  // namespace
}  // namespace invar
