// SPDX-License-Identifier: Apache-2.0
// Compiled functions: one schedule for every length, donations, captured tensors, wrong inputs, no allocation in a
// replay, and the same results as evaluation without compile.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/state.h>

#include <thread>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "device/faults.h"
#include "graph/executor.h"
#include "support/heap_counter.h"
#include "support/left_out.h"
#include "support/one_device.h"

namespace invar {
namespace {

Tensor small_numbers(const Shape& shape) {
    std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 17) - 8.0f;
    return Tensor::of(v, shape);
}

TEST(Compile, OneScheduleForEveryLength) {
    const test::OneDevice one;
    const auto device = find_device();
    const Tensor w = small_numbers({6, 4}), b = small_numbers({6});
    const auto f = [&](const Tensor& x) { return silu(linear(x * 0.25, w, b)) + softmax(linear(x, w), -1); };
    const Symbol n{0, 50};
    const InputSpec specs[] = {{DType::f32, {n, 4}}};
    const CompiledFunction g =
        compile([&](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0])}; }, specs, device);
    for (const std::int64_t length : {1, 7, 50, 3, 0}) {
        const Tensor x = small_numbers({length, 4});
        const Tensor in[] = {x};
        const std::vector<Tensor> got = g(in);
        EXPECT_EQ(got[0].shape(), (Shape{length, 6}));
        EXPECT_EQ(got[0].to_vector<float>(), f(x).to_vector<float>()) << length;
    }
    const Tensor too_long[] = {small_numbers({51, 4})}, other[] = {small_numbers({3, 5})},
                 type[] = {small_numbers({3, 4}).astype(DType::f16).eval()};
    EXPECT_THROW(g(too_long), InvalidArgument);
    EXPECT_THROW(g(other), InvalidArgument);
    EXPECT_THROW(g(type), InvalidArgument);
    EXPECT_THROW(g({}), InvalidArgument);
    EXPECT_THROW(CompiledFunction().run({}, {}), InvalidArgument);
}

TEST(Compile, SymbolicSlicesAndReshapes) {
    const auto device = find_device();
    const Dim n = Symbol{0, 40};
    const InputSpec specs[] = {{DType::f32, {n, 6}}};
    const CompiledFunction g = compile(
        [&](std::span<const Tensor> in) {
            const Tensor heads = in[0].reshape({n, 2, 3}).permute({1, 0, 2});
            return std::vector<Tensor>{in[0].slice(0, n - Dim(1), n) * 2.0, heads + 1.0, in[0]};
        },
        specs, device);
    const Tensor x = small_numbers({5, 6});
    const Tensor in[] = {x};
    const auto out = g(in);
    EXPECT_EQ(out[0].to_vector<float>(), (x.slice(0, 4, 5) * 2.0).to_vector<float>());
    EXPECT_EQ(out[1].to_vector<float>(),
              (x.reshape(Shape{5, 2, 3}).permute({1, 0, 2}) + 1.0).to_vector<float>());
    EXPECT_EQ(out[2].to_vector<float>(), x.to_vector<float>());
}

TEST(Compile, DonationFeedsTheNextRun) {
    const auto device = find_device();
    const InputSpec specs[] = {{DType::i32, {3}}, {DType::f32, {3}}};
    const CompiledFunction step = compile(
        [](std::span<const Tensor> in) {
            return std::vector<Tensor>{in[0] + 1.0, in[1] * 2.0 + in[0].astype(DType::f32)};
        },
        specs, device, {.donations = {{0, 0}, {1, 1}}});
    const Tensor count = Tensor::of(std::vector<std::int32_t>{0, 10, 20}, {3}),
                 value = Tensor::of(std::vector<float>{1, 1, 1}, {3});
    const Tensor in[] = {count, value}, out[2];
    for (int i = 0; i < 3; ++i) step.run(in, out);
    EXPECT_EQ(count.to_vector<std::int32_t>(), (std::vector<std::int32_t>{3, 13, 23}));
    EXPECT_EQ(value.to_vector<float>(), (std::vector<float>{12, 82, 152}));
    EXPECT_THROW(compile([](std::span<const Tensor> t) { return std::vector<Tensor>{t[0] + 1.0}; }, specs,
                         device, {.donations = {{0, 1}}}),
                 InvalidArgument);
    EXPECT_THROW(compile([](std::span<const Tensor> t) { return std::vector<Tensor>{t[0] + 1.0}; }, specs,
                         device, {.donations = {{1, 0}}}),
                 InvalidArgument);
}

TEST(Compile, DonationsThatCannotBeWrittenInPlace) {
    const auto device = find_device();
    const InputSpec specs[] = {{DType::f32, {4}}, {DType::f32, {4}}};
    const auto run = [&](const auto& function, const std::vector<std::pair<int, int>>& donations) {
        const CompiledFunction f = compile(function, specs, device, {.donations = donations});
        const Tensor a = Tensor::of(std::vector<float>{1, 2, 3, 4}, {4}),
                     b = Tensor::of(std::vector<float>{10, 20, 30, 40}, {4});
        const Tensor in[] = {a, b}, out[2];
        f.run(in, out);
        return std::pair{a.to_vector<float>(), b.to_vector<float>()};
    };
    // Each is made from what the other one's memory holds.
    const auto crossed = run(
        [](std::span<const Tensor> in) {
            return std::vector<Tensor>{in[0] + in[1], in[0] * in[1]};
        },
        {{0, 1}, {1, 0}});
    EXPECT_EQ(crossed.first, (std::vector<float>{10, 40, 90, 160}));
    EXPECT_EQ(crossed.second, (std::vector<float>{11, 22, 33, 44}));
    // Read in another order than it is written; and read again after it was made.
    const auto turned = run(
        [](std::span<const Tensor> in) {
            return std::vector<Tensor>{in[0].reshape({2, 2}).permute({1, 0}).reshape({4}) + 1.0,
                                       softmax(in[1], 0) + in[0]};
        },
        {{0, 0}, {1, 1}});
    EXPECT_EQ(turned.first, (std::vector<float>{2, 4, 3, 5}));
    EXPECT_NEAR(turned.second[3], 5, 1e-4);
}

TEST(Compile, ReplayAllocatesNothing) {
    const auto device = find_device();
    const Tensor w = small_numbers({32, 32});
    const InputSpec specs[] = {{DType::f32, {2, 32}}};
    const CompiledFunction f = compile(
        [&](std::span<const Tensor> in) {
            return std::vector<Tensor>{rms_norm(in[0] + gelu(linear(in[0], w)), {}, 1e-5)};
        },
        specs, device);
    const Tensor in[] = {small_numbers({2, 32})}, out[] = {Tensor::empty(DType::f32, {2, 32}, device)};
    for (int i = 0; i < 3; ++i) f.run(in, out);
    f.synchronize();
    const auto before = test::heap_allocations();
    const std::uint64_t driver = device->allocator().statistics().allocations;
    for (int i = 0; i < 20; ++i) f.run(in, out);
    f.synchronize();
    // OpenCL's drivers allocate an event for each command, Metal objects for each command buffer.
    if (device->kernel_language() != "opencl" && device->kernel_language() != "metal") {
        EXPECT_EQ(test::heap_allocations(), before);
    }
    EXPECT_EQ(device->allocator().statistics().allocations, driver);
}

TEST(Compile, RepeatedEagerCodeReusesItsSchedule) {
    const test::OneDevice one;
    const auto executor = graph::Executor::of(*find_device());
    const Tensor x = small_numbers({8});
    (exp(x) * 3.0 + 4.0).eval();
    const auto before = executor->statistics();
    const std::vector<float> a = (exp(x) * 3.0 + 4.0).to_vector<float>();
    const std::vector<float> b =
        (exp(x) * 5.0 + 2.0).to_vector<float>();  // other numbers, the same structure
    const auto after = executor->statistics();
    EXPECT_EQ(after.schedules_lowered, before.schedules_lowered);
    EXPECT_EQ(after.schedules_reused, before.schedules_reused + 2);
    EXPECT_EQ(after.steps_launched, before.steps_launched + 2);
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR((a[i] - 4) / 3, (b[i] - 2) / 5, 1e-6);
    // 0 and 1 are numbers that a schedule knows of: here the product is left out.
    EXPECT_EQ((exp(x) * 1.0 + 2.0).to_vector<float>(), (exp(x) + 2.0).to_vector<float>());
    EXPECT_GT(executor->statistics().schedules_lowered, after.schedules_lowered);
}

// Code that repeats, on memory that the allocator gives it again, is captured and replayed; other numbers, other inputs and a
// result that somebody keeps are not taken for it.
TEST(Compile, RepeatedEagerCodeIsReplayed) {
    const test::OneDevice one;
    const auto device = find_device();
    const auto executor = graph::Executor::of(*device);
    const Tensor w = small_numbers({8, 8});
    const auto chain = [&](const Tensor& x, double scale) {
        Tensor y = x;
        for (int i = 0; i < 6; ++i) y = softmax(y.transpose() + w) * scale;
        return y.eval();
    };
    const Tensor inputs[] = {small_numbers({8, 8}), (small_numbers({8, 8}) * 0.5).eval()};
    std::vector<std::vector<float>> want;
    {
        const test::LeftOut guard("capture");
        for (const Tensor& x : inputs)
            for (const double scale : {2.0, 3.0}) want.push_back(chain(x, scale).to_vector<float>());
    }
    const test::LeftOut guard("");
    const std::uint64_t before = executor->statistics().replays;
    std::vector<Tensor> kept;
    for (int i = 0; i < 40; ++i) {
        const int which = i % 4 < 2 ? 0 : i / 4 % 2, scaled = i % 8 == 7 ? 1 : 0;
        const Tensor y = chain(inputs[which], scaled ? 3.0 : 2.0);
        if (i % 10 == 9) kept.push_back(y);
        EXPECT_EQ(y.to_vector<float>(), want[static_cast<std::size_t>(which * 2 + scaled)]) << i;
    }
    if (device->supports(Feature::capture) && !graph::host_runs_launches(*device)) {
        EXPECT_GT(executor->statistics().replays, before + 10);
    } else {
        EXPECT_EQ(executor->statistics().replays, before);
    }
}

// Branches that a captured graph runs side by side (graph/lanes.h) give the bits that they give one behind the other, also where
// the caller has the result written over an input.
TEST(Compile, BranchesSideBySide) {
    const auto device = find_device();
    const std::vector<InputSpec> specs(5, InputSpec{DType::f32, {24, 24}});
    const auto f = [&](std::span<const Tensor> in) {
        std::vector<Tensor> ends;
        for (int branch = 0; branch < 5; ++branch) {
            Tensor y = in[static_cast<std::size_t>(branch)];
            for (int i = 0; i < 6; ++i) y = softmax(matmul(y, in[0]).transpose() * 3.0) + y;
            ends.push_back(y);
        }
        return std::vector<Tensor>{cat(ends, 0), ends[1] * ends[2]};
    };
    const CompiledFunction plain = [&] {
        const test::LeftOut guard("streams,capture");
        return compile(f, specs, device);
    }();
    const test::LeftOut guard("");
    const CompiledFunction branched = compile(f, specs, device);
    const bool captures = device->supports(Feature::capture) && !graph::host_runs_launches(*device);
    if (captures) {
        EXPECT_NE(branched.to_text().find(" lane 3"), std::string::npos) << branched.to_text();
    }
    EXPECT_EQ(plain.to_text().find(" lane "), std::string::npos);
    std::vector<Tensor> inputs;
    for (int i = 0; i < 5; ++i)
        inputs.push_back((small_numbers({24, 24}) * (0.01 * (i + 1)) - 0.02 * i).eval());
    const auto outputs = [&] {
        return std::vector<Tensor>{Tensor::empty(DType::f32, {120, 24}, device),
                                   Tensor::empty(DType::f32, {24, 24}, device)};
    };
    const std::vector<Tensor> want = outputs(), got = outputs();
    plain.run(inputs, want);
    plain.synchronize();
    for (int time = 0; time < 20; ++time) {
        branched.run(inputs, got);
        branched.synchronize();
        for (std::size_t i = 0; i < want.size(); ++i)
            ASSERT_EQ(got[i].to_bytes(), want[i].to_bytes()) << time;
    }
    const auto executor = graph::Executor::of(*device);
    const std::uint64_t in_lanes = executor->statistics().captures_in_lanes;
    EXPECT_EQ(in_lanes > 0, captures);
    // Every branch reads the first input to its end, and the product ends before some of them.
    const std::vector<std::byte> original = inputs[0].to_bytes();
    const std::vector<Tensor> over = {got[0], inputs[0]};
    for (int time = 0; time < 4; ++time) {
        branched.run(inputs, over);
        branched.synchronize();
        EXPECT_EQ(over[0].to_bytes(), want[0].to_bytes()) << time;
        EXPECT_EQ(over[1].to_bytes(), want[1].to_bytes()) << time;
        inputs[0].write(original);
    }
    EXPECT_EQ(executor->statistics().captures_in_lanes, in_lanes) << "captured in one lane";
}

TEST(Compile, ReplaysAreOfTheSameMemoryAlone) {
    const test::LeftOut guard("");
    const std::shared_ptr<Device> null = find_device("null");
    const auto executor = graph::Executor::of(*null);
    const auto chain = [&](const Tensor& x) {
        Tensor y = x;
        for (int i = 0; i < 6; ++i) y = softmax(y.transpose());
        return y.eval();
    };
    const Tensor a = Tensor::empty(DType::f32, {8, 8}, null), b = Tensor::empty(DType::f32, {8, 8}, null);
    const auto replays = [&] { return executor->statistics().replays; };
    const std::uint64_t before = replays();
    (void)chain(a);
    EXPECT_EQ(replays(), before) << "the first time is launched";
    (void)chain(a);
    EXPECT_EQ(replays(), before + 1);
    (void)chain(b);
    EXPECT_EQ(replays(), before + 1) << "another input";
    (void)chain(a);
    EXPECT_EQ(replays(), before + 2) << "and back";
    const Tensor kept = chain(a);
    EXPECT_EQ(replays(), before + 3);
    (void)chain(a);
    EXPECT_EQ(replays(), before + 3) << "another output, while the first is kept";
    {
        const test::LeftOut without("capture");
        (void)chain(b);
        (void)chain(b);
    }
    EXPECT_EQ(replays(), before + 3);
    // A device that has no room for a graph gets its steps one by one, from then on.
    const Tensor c = Tensor::empty(DType::f32, {8, 8}, null);
    const auto launched = [&] { return executor->statistics().steps_launched; };
    (void)chain(c);
    const std::uint64_t steps = launched();
    set_faults("oom@1");
    for (int i = 0; i < 3; ++i) (void)chain(c);
    set_faults("");
    EXPECT_EQ(replays(), before + 3);
    EXPECT_EQ(launched(), steps + 3 * 12);
    // Where every run is another one, captures end.
    std::vector<Tensor> all;
    for (int i = 0; i < 60; ++i) {
        all.push_back(Tensor::empty(DType::f32, {8, 8}, null));
        (void)chain(all.back());
        (void)chain(all.back());
    }
    EXPECT_LT(replays(), before + 20);
}

// A run that fails leaves nothing prepared for its numbers: the next one with the old numbers is right.
TEST(Compile, NumbersOfAFailedRunAreNotKept) {
    const Tensor x = small_numbers({4, 8});
    const auto run = [&](double scale, std::int32_t index) {
        return sum(gather(x * scale, Tensor::of(std::vector<std::int32_t>{index}, {1})) + scale, 1)
            .to_vector<float>();
    };
    const std::vector<float> right = run(2, 1);
    EXPECT_THROW(run(5, 77), InvalidArgument);
    EXPECT_EQ(run(2, 1), right);
    EXPECT_THROW(run(2, 77), InvalidArgument);
    EXPECT_NE(run(5, 1), right);
}

TEST(State, StaleUseThrows) {
    const auto device = find_device();
    State s(make_kv_cache(DType::f32, 2, 1, 8, device));
    const auto ints = [](const std::vector<std::int32_t>& v, const Shape& shape) {
        return Tensor::of(v, shape);
    };
    const KvTokens tokens{ints({0, 1}, {1, 2}), ints({0}, {1}), ints({0}, {1}), {}};
    const Tensor k = small_numbers({1, 1, 8});
    const State next = kv_append(std::move(s), k, k, tokens);
    // NOLINTBEGIN(bugprone-use-after-move,clang-analyzer-cplusplus.Move): the use is what is tested
    EXPECT_THROW(attention(k, s, tokens), InvalidArgument);
    EXPECT_THROW(kv_append(std::move(s), k, k, tokens), InvalidArgument);
    // NOLINTEND(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
    // One slot: attention gives back its value.
    EXPECT_EQ(attention(k, next, tokens).to_vector<float>(), k.to_vector<float>());
}

TEST(Threads, SharedTensorsAndOneGraphFromTwoThreads) {
    const Tensor x = small_numbers({64, 64}).eval();
    for (int round = 0; round < 20; ++round) {
        const Tensor shared = exp(x * 0.01) + 1.0;
        std::vector<float> results[2];
        std::thread threads[2];
        for (int i = 0; i < 2; ++i)
            threads[i] = std::thread([&, i] { results[i] = (shared * 2.0).to_vector<float>(); });
        for (std::thread& t : threads) t.join();
        ASSERT_EQ(results[0], results[1]);
    }
}

// Workspaces of sorts, scans and reductions over columns do not grow evenly with a length: one that is enough for the largest
// must be enough for all of them.
TEST(Compile, WorkspacesOfEveryLength) {
    const auto device = find_device();
    const Symbol n{0, 33000};
    const auto f = [](const Tensor& x) {
        return std::vector<Tensor>{sort(x, 0), cumsum(x, 0), sum(x, 0), argsort(x, 0), max(x, 0)};
    };
    for (const std::int64_t columns : {1, 3}) {
        const InputSpec specs[] = {{DType::f32, {n, columns}}};
        const CompiledFunction g =
            compile([&](std::span<const Tensor> in) { return f(in[0]); }, specs, device);
        for (const std::int64_t length : {33000, 1, 32769, 2049, 32768, 16385, 33000}) {
            const Tensor x = small_numbers({length, columns});
            const Tensor in[] = {x};
            const std::vector<Tensor> got = g(in), want = f(x);
            for (std::size_t i = 0; i < want.size(); ++i)
                ASSERT_EQ(got[i].to_bytes(), want[i].to_bytes())
                    << length << "x" << columns << " output " << i;
        }
    }
}

// Its arena is given back behind its work, not under it.
TEST(Compile, AFunctionMayGoWhileItRuns) {
    const auto device = find_device();
    const InputSpec specs[] = {{DType::f32, {1000, 1000}}};
    const Tensor x = small_numbers({1000, 1000});
    const Tensor in[] = {x};
    const auto f = [](std::span<const Tensor> one) {
        return std::vector<Tensor>{sum(softmax(one[0] * 0.5) * 2.0 - cumsum(one[0], 1), 1)};
    };
    const std::vector<float> want = compile(f, specs, device)(in)[0].to_vector<float>();
    for (int round = 0; round < 5; ++round) {
        CompiledFunction g = compile(f, specs, device);
        ASSERT_GT(g.arena_bytes(), 0u);
        const Tensor out[] = {Tensor::empty(DType::f32, {1000}, device)};
        const auto bytes = static_cast<std::int64_t>(g.arena_bytes());
        g.run(in, out);
        g = {};
        // Who takes its memory next writes over it.
        const Tensor next = Tensor::empty(DType::u8, {bytes}, device, true);
        EXPECT_EQ(out[0].to_vector<float>(), want) << round;
    }
}

TEST(Errors, ImpossibleRequestsAreTypedAndTheProcessGoesOn) {
    EXPECT_THROW(find_device("cuda:7"), NoDevice);
    EXPECT_THROW(Tensor::empty(DType::f64, {std::int64_t{1} << 61, 4}, find_device()), InvalidArgument);
    EXPECT_EQ((small_numbers({2}) + 1.0).to_vector<float>(), (std::vector<float>{-7, -6}));
}

// Wherever in a schedule a launch fails, one call throws and the next is right.
TEST(Errors, AFailedLaunchIsThrownOnce) {
    const Tensor x = small_numbers({2, 3});
    for (const char* fault : {"launch@1", "launch@2", "lost@1"}) {
        const Tensor y = softmax(sum(x + 1.0, 1) * 2.0);  // three launches
        set_faults(fault);
        bool thrown = false;
        try {
            y.eval();
        } catch (const Error&) {
            thrown = true;
        }
        set_faults("");
        EXPECT_TRUE(thrown) << fault;
        EXPECT_EQ((x + 1.0).to_vector<float>(), (std::vector<float>{-7, -6, -5, -4, -3, -2})) << fault;
        EXPECT_NEAR(sum(y, 0).item(), 1, 1e-6) << fault;
    }
}

}  // namespace
}  // namespace invar
