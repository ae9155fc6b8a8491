// SPDX-License-Identifier: Apache-2.0
// The recovery ladder under eval and compiled functions: for each kind of fault the rung that finishes, the bits or the
// tolerance of what it gives, and what is not done again.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/route.h>
#include <invar/state.h>

#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "graph/executor.h"
#include "kernels/source.h"
#include "support/ladder.h"
#include "support/one_device.h"

namespace invar {
namespace {

using test::faults_in_a_row;
using test::Ladder;

bool on_cpu() { return find_device()->name() == "cpu"; }
// Whether the cpu can take over.
std::string last_rung() { return on_cpu() ? "exhausted 1" : "host 1"; }

Tensor counting(const Shape& shape) {
    std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 17) - 8.0f;
    return Tensor::of(v, shape);
}

// Several launches: reductions, a row operator, a product, pointwise regions between them.
std::vector<Tensor> several_steps(const Tensor& x, const Tensor& w) {
    const Tensor h = silu(linear(x * 0.5, w)) + 1.0;
    return {softmax(h * 0.1), sum(h + x, 1)};
}

std::vector<std::byte> all_bytes(const std::vector<Tensor>& tensors) {
    std::vector<std::byte> all;
    for (const Tensor& t : tensors) {
        const std::vector<std::byte> one = t.to_bytes();
        all.insert(all.end(), one.begin(), one.end());
    }
    return all;
}

void expect_near(const Tensor& got, const std::vector<float>& want) {
    const std::vector<float> values = got.to_vector<float>();
    ASSERT_EQ(values.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(values[i], want[i], 1e-5 * (1 + std::abs(want[i])));
}

TEST(Recovery, AFailureAtAnyStepIsReplayedToTheSameBits) {
    Ladder ladder(Recovery::any);
    const Tensor x = counting({5, 8}), w = counting({8, 8});
    const std::vector<std::byte> want = all_bytes(several_steps(x, w));
    const std::uint64_t held = find_device()->allocator().statistics().bytes_in_use;
    for (const char* site : {"launch", "lost"}) {
        int failures = 0;
        for (int n = 1; n <= 50; ++n) {
            const std::vector<Tensor> y = several_steps(x, w);
            set_faults(std::string(site) + "@" + std::to_string(n));
            eval(y);
            set_faults("");
            const std::string taken = ladder.taken();
            EXPECT_EQ(all_bytes(y), want) << site << " " << n;
            EXPECT_FALSE(y[0].degraded());
            if (taken.empty()) break;
            EXPECT_EQ(taken, "replayed 1") << site << " " << n;
            ++failures;
        }
        EXPECT_GE(failures, 4) << site;
    }
    EXPECT_EQ(find_device()->allocator().statistics().bytes_in_use, held);
}

TEST(Recovery, TwoFailuresLeaveTheFusion) {
    const test::OneDevice one;
    Ladder ladder(Recovery::any);
    const Tensor x = counting({5, 8}), w = counting({8, 8});
    const std::vector<float> want = several_steps(x, w)[0].to_vector<float>();
    const Tensor y = several_steps(x, w)[0];
    set_faults(faults_in_a_row("launch", 2));
    y.eval();
    EXPECT_EQ(ladder.taken(), "unfused 1");
    EXPECT_TRUE(y.degraded());
    EXPECT_TRUE(y.reshape({40}).degraded());
    expect_near(y, want);
    EXPECT_FALSE((y + 1.0).eval().degraded());
}

TEST(Recovery, ThreeFailuresEndOnTheHostOrInTheFirstError) {
    const test::OneDevice one;
    Ladder ladder(Recovery::any);
    const Tensor x = counting({5, 8}), w = counting({8, 8});
    const std::vector<Tensor> good = several_steps(x, w);
    for (const char* site : {"launch", "lost"}) {
        const std::vector<Tensor> y = several_steps(x, w);
        // The first is of another kind: it is the one that is thrown.
        set_faults(std::string(site) + "@1,launch@2,launch@3");
        if (on_cpu()) {
            if (std::string(site) == "launch")
                EXPECT_THROW(eval(y), LaunchFailed);
            else
                EXPECT_THROW(eval(y), DeviceLost);
        } else {
            EXPECT_NO_THROW(eval(y));
            EXPECT_TRUE(y[1].degraded());
        }
        EXPECT_EQ(ladder.taken(), last_rung());
        set_faults("");
        for (std::size_t i = 0; i < y.size(); ++i) expect_near(y[i], good[i].to_vector<float>());
        EXPECT_EQ(y[0].device(), x.device());
    }
}

TEST(Recovery, CompilationsAreTriedAgainThenUnfused) {
    const test::OneDevice one;
    Ladder ladder(Recovery::any);
    const Tensor x = counting({300});
    // Programs that the process has not seen.
    const std::vector<std::function<Tensor()>> fresh = {
        [&] { return exp(tanh(sin(x) * 0.25) - abs(x)); },
        [&] { return sqrt(abs(cos(x) + tanh(x))) * sigmoid(x); },
        [&] { return exp2(sin(cos(x) - sigmoid(x * 2.0))); },
    };
    const std::vector<std::string> rungs = {"replayed 1", "unfused 1", last_rung()};
    for (std::size_t i = 0; i < fresh.size(); ++i) {
        const Tensor y = fresh[i]();
        // The unfused ones are compiled side by side, and may be known already: all of them fail. What has portable kernels
        // besides tuned ones has one rung more.
        set_faults(i < 2 ? faults_in_a_row("compile", static_cast<int>(i) + 1)
                         : faults_in_a_row("compile", 2) + "," +
                               faults_in_a_row("launch", kernels::has_tuned(*find_device()) ? 2 : 1));
        if (i == 2 && on_cpu())
            EXPECT_THROW(y.eval(), CompileFailed);
        else
            y.eval();
        set_faults("");
        EXPECT_EQ(ladder.taken(), rungs[i]) << i;
        EXPECT_EQ(y.degraded(), i == 1 || (i == 2 && !on_cpu()));
        expect_near(y, fresh[i]().to_vector<float>());
    }
}

// A request asks the driver twice, and is made twice (allocator.h, graph/executor.h).
TEST(Recovery, NoRoom) {
    const test::OneDevice one;
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const Tensor x = counting({3000, 1000});  // beyond the shared segments
    x.eval();
    const auto work = [&] { return sum(exp(x * 0.1) + x, 0); };
    const std::vector<float> want = work().to_vector<float>();
    const auto large = [&] { return exp(x * 0.1) + x; };
    const std::vector<std::byte> bytes = large().to_bytes();
    const std::uint64_t held = device->allocator().statistics().bytes_in_use;
    const std::vector<std::pair<int, std::string>> cases = {
        {1, ""}, {2, ""}, {4, "trimmed 1"}, {8, "split 1"}, {12, last_rung()}};
    for (const auto& [failures, rung] : cases) {
        const Tensor y = large();
        device->allocator().trim();
        set_faults(faults_in_a_row("oom", failures));
        if (failures == 12 && on_cpu())
            EXPECT_THROW(y.eval(), OutOfMemory);
        else
            y.eval();
        set_faults("");
        EXPECT_EQ(ladder.taken(), rung) << failures;
        EXPECT_EQ(y.degraded(), failures == 8 || (failures == 12 && !on_cpu()));
        if (failures <= 4)
            EXPECT_EQ(y.to_bytes(), bytes);
        else
            EXPECT_EQ(y.to_vector<float>().size(), bytes.size() / sizeof(float));
    }
    EXPECT_EQ(work().to_vector<float>(), want);
    EXPECT_EQ(device->allocator().statistics().bytes_in_use, held);
}

TEST(Recovery, OffAndExact) {
    const Tensor x = counting({5, 8}), w = counting({8, 8});
    {
        Ladder ladder(Recovery::off);
        const Tensor y = several_steps(x, w)[0];
        set_faults("launch@1");
        EXPECT_THROW(y.eval(), LaunchFailed);
        EXPECT_EQ(ladder.taken(), "");
    }
    Ladder ladder(Recovery::exact);
    const Tensor y = several_steps(x, w)[0];
    set_faults("launch@1,launch@2");
    EXPECT_THROW(y.eval(), LaunchFailed);
    EXPECT_EQ(ladder.taken(), "exhausted 1");
    set_faults("launch@1");
    y.eval();
    EXPECT_EQ(ladder.taken(), "replayed 1");
}

TEST(Recovery, WhatACallerAskedForInErrorIsNotDoneAgain) {
    Ladder ladder(Recovery::any);
    const Tensor table = counting({4, 8}), beyond = Tensor::of(std::vector<std::int32_t>{1, 9}, {2});
    EXPECT_THROW(gather(table, beyond).eval(), InvalidArgument);
    EXPECT_EQ(ladder.taken(), "");
}

// A sampler that has run has another memory than before.
TEST(Recovery, ASampleIsNotRepeated) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const std::vector<SamplingOptions> greedy(1);
    const Tensor rows = make_sampling_rows(greedy, device), memory = make_sampler_memory(1, 8, device);
    rows.eval();
    const Tensor token = sample(counting({1, 32}) * 2.0, rows, State(memory));
    set_faults("launch@2");
    EXPECT_THROW(token.eval(), LaunchFailed);
    EXPECT_EQ(ladder.taken(), "");
}

// Nor where it ran in an attempt for another reason than the first.
TEST(Recovery, ASampleThatRanIsNotRepeated) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const std::vector<SamplingOptions> greedy(1);
    const Tensor rows = make_sampling_rows(greedy, device), memory = make_sampler_memory(1, 8, device),
                 logits = counting({1, 3000000});
    rows.eval();
    const Tensor token = sample(logits * 2.0 + 1.0, rows, State(memory));
    device->allocator().trim();
    set_faults(faults_in_a_row("oom", 4) + ",launch@2");
    EXPECT_THROW(token.eval(), OutOfMemory);
    EXPECT_EQ(ladder.taken(), "exhausted 1");
    set_faults("");
    EXPECT_EQ(token.to_vector<std::int32_t>()[0], 16);
}

// What failed before is told, not mended by doing something else again.
TEST(Recovery, TheErrorOfEarlierWorkIsThrown) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const InputSpec specs[] = {{DType::f32, {5, 8}}};
    const CompiledFunction f =
        compile(  // one launch: where launches are not calls, nobody hears of it before the next wait
            [&](std::span<const Tensor> one) { return std::vector<Tensor>{one[0] * 3.0 - 1.0}; }, specs,
            device);
    const Tensor in[] = {counting({5, 8})};
    const Tensor out[] = {Tensor::empty(DType::f32, {5, 8}, device)};
    (out[0] + 1.0).eval();
    set_faults("launch@1");
    bool thrown = false;
    try {
        f.run(in, out);
        (out[0] + 1.0).eval();
    } catch (const LaunchFailed&) {
        thrown = true;
    }
    EXPECT_TRUE(thrown);
    EXPECT_EQ(ladder.taken(), "");
}

TEST(Recovery, CompiledFunctionsThatOverwriteNothingAreRunAgain) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const Tensor w = counting({8, 8});
    const InputSpec specs[] = {{DType::f32, {5, 8}}};
    const auto f = [&](std::span<const Tensor> in) { return several_steps(in[0], w); };
    const CompiledFunction good = compile(f, specs, device);
    const Tensor in[] = {counting({5, 8})};
    const std::vector<std::byte> want = all_bytes(good(in));
    set_faults("launch@2");
    EXPECT_EQ(all_bytes(good(in)), want);
    EXPECT_EQ(ladder.taken(), "replayed 1");
    const CompiledFunction donating =
        compile([](std::span<const Tensor> one) { return std::vector<Tensor>{one[0] * 3.0 + 1.0}; }, specs,
                device, {.donations = {{0, 0}}});
    set_faults("launch@1");
    EXPECT_THROW(donating(in), LaunchFailed);
    EXPECT_EQ(ladder.taken(), "");
}

// A device that comes back without what lay in its memory: work that has its inputs is done again, what lived there alone is named.
TEST(Recovery, ALostMemoryIsNamedAndCanBeFilledAgain) {
    struct AtHome {  // the memory that is lost is that of the device under test
        RoutingOptions before = routing_options();
        AtHome() { set_routing({}); }
        ~AtHome() { set_routing(before); }
    } const at_home;
    Ladder ladder(Recovery::any);
    const Tensor x = counting({5, 8}), w = counting({8, 8});
    const std::vector<std::byte> x_bytes = x.to_bytes(), w_bytes = w.to_bytes();
    const std::vector<std::byte> want = all_bytes(several_steps(x, w));
    const auto random = [] { return exp(random_uniform({40}, 0.0, 1.0, 5) * 2.0); };
    const std::vector<std::byte> drawn = random().to_bytes();
    const auto device = find_device();
    const InputSpec specs[] = {{DType::f32, {5, 8}}};
    const CompiledFunction f =
        compile([&](std::span<const Tensor> in) { return several_steps(in[0], w); }, specs, device);
    const Tensor in[] = {x};
    const std::vector<std::byte> from_f = all_bytes(f(in));
    (void)ladder.taken();

    set_faults("wiped@1");
    EXPECT_EQ(random().to_bytes(), drawn);  // it has no inputs
    set_faults("");
    EXPECT_EQ(ladder.taken(), "replayed 1");
    const auto named = [&](const std::function<void()>& work, std::initializer_list<Tensor> lost) {
        try {
            work();
            ADD_FAILURE() << "nothing was thrown";
        } catch (const DeviceLost& e) {
            EXPECT_TRUE(e.memory_lost());
            for (const Tensor& t : lost)
                EXPECT_NE(std::string(e.what()).find("f32 " + to_string(t.shape())), std::string::npos)
                    << e.what();
        }
    };
    // That was x and w too: nobody takes what lies there now for them.
    named([&] { eval(several_steps(x, w)); }, {x, w});
    named([&] { (void)x.to_bytes(); }, {x});
    named([&] { (void)f(in); }, {w});
    x.write(x_bytes);
    named([&] { (void)f(in); }, {w});
    w.write(w_bytes);
    EXPECT_EQ(all_bytes(several_steps(x, w)), want);
    EXPECT_EQ(all_bytes(f(in)), from_f);
    (void)ladder.taken();

    for (int n = 1; n <= 4; ++n) {  // in the course of the work
        const std::vector<Tensor> y = several_steps(x, w);
        set_faults("wiped@" + std::to_string(n));
        named([&] { eval(y); }, {x, w});
        EXPECT_EQ(ladder.taken(), "exhausted 1") << n;
        set_faults("");
        x.write(x_bytes);
        w.write(w_bytes);
        EXPECT_EQ(all_bytes(y), want);  // the graph is there still
        set_faults("wiped@" + std::to_string(n));
        named([&] { (void)f(in); }, {w});
        set_faults("");
        x.write(x_bytes);
        w.write(w_bytes);
        EXPECT_EQ(all_bytes(f(in)), from_f);
        (void)ladder.taken();
    }
}

// From there on the device never works again; another length than before, so that symbols count.
TEST(Recovery, CompiledFunctionsLeaveTheFusionThenTheDevice) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const Tensor w = counting({8, 8});
    const Tensor scaled = w * 2.0;  // not evaluated: the function computes it
    const InputSpec specs[] = {{DType::f32, {Dim(Symbol{0, 16}), 8}}};
    const CompiledFunction f = compile(
        [&](std::span<const Tensor> in) {
            return std::vector<Tensor>{softmax(silu(linear(in[0] * 0.5, scaled)) + 1.0)};
        },
        specs, device);
    scaled.eval();  // a leaf now, which it was not for the function
    for (const std::int64_t rows : {5, 3}) {
        const Tensor in[] = {counting({rows, 8})};
        const std::vector<float> want = f(in)[0].to_vector<float>();
        set_faults(faults_in_a_row("launch", 2));
        const Tensor unfused = f(in)[0];
        EXPECT_EQ(ladder.taken(), "unfused 1");
        EXPECT_TRUE(unfused.degraded());
        expect_near(unfused, want);
        for (const char* site : {"launch", "lost"}) {
            set_faults(std::string(site) + "@1+:" + device->name());
            if (on_cpu()) {
                EXPECT_ANY_THROW(f(in));
            } else {
                const Tensor y = f(in)[0];
                EXPECT_TRUE(y.degraded());
                EXPECT_EQ(y.device(), device);
                expect_near(y, want);
            }
            EXPECT_EQ(ladder.taken(), last_rung());
        }
        set_faults("");
        const Tensor again = f(in)[0];
        EXPECT_FALSE(again.degraded());
        EXPECT_EQ(again.to_vector<float>(), want);
    }
}

TEST(Recovery, AFunctionThatDoesNotCompileRunsOnTheCpu) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const InputSpec specs[] = {{DType::f32, {Dim(Symbol{0, 400})}}};
    const auto g = [](std::span<const Tensor> in) {
        return std::vector<Tensor>{tanh(exp2(cos(in[0] * 0.25)) - sigmoid(in[0])) * 3.0};
    };
    const auto without_kernels = [&] { graph::Executor::of(*device)->forget_kernels(); };
    without_kernels();
    set_faults("compile@1+:" + device->name());
    if (on_cpu()) {
        EXPECT_THROW((void)compile(g, specs, device), CompileFailed);
        EXPECT_EQ(ladder.taken(), "exhausted 1");
        return;
    }
    const CompiledFunction f = compile(g, specs, device);
    EXPECT_EQ(ladder.taken(), "host 1");
    EXPECT_GT(f.steps(), 0);
    const Tensor in[] = {counting({300})};
    const Tensor y = f(in)[0];
    EXPECT_EQ(ladder.taken(), "");
    set_faults("");
    EXPECT_TRUE(y.degraded());
    EXPECT_EQ(y.device(), device);
    expect_near(y, g(in)[0].to_vector<float>());
    // A function that writes into its input needs the device.
    without_kernels();
    set_faults("compile@1+:" + device->name());
    const auto h = [](std::span<const Tensor> in_place) {
        return std::vector<Tensor>{sin(exp2(in_place[0]) - abs(in_place[0]))};
    };
    EXPECT_THROW((void)compile(h, specs, device, {.donations = {{0, 0}}}), CompileFailed);
}

// A source tuned for the device that does not compile: without fusion another one may be asked for, else the portable one of
// the same family stands in.
TEST(Recovery, PortableKernelsStandInForTunedOnes) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    if (!kernels::has_tuned(*device)) GTEST_SKIP() << device->name() << " has one kind of kernels";
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*device);
    const Tensor x = counting({5, 8}), w = counting({8, 8});
    const std::vector<Tensor> good = several_steps(x, w);
    eval(good);
    const std::vector<const Module*> all = kernels::source_modules(device->kernel_language());
    int taken = 0;
    for (const Module* m : all) {
        if (m->name.starts_with("portable") || m->name.find(',') != std::string::npos) continue;
        executor->forget_kernels();
        const std::vector<Tensor> y = several_steps(x, w);
        set_faults("compile@" + m->name);
        eval(y);
        set_faults("");
        const std::string rung = ladder.taken();
        if (rung.empty()) continue;  // another test's module
        EXPECT_TRUE(rung == "portable 1" || rung == "unfused 1") << m->name << ": " << rung;
        taken += rung == "portable 1";
        for (std::size_t i = 0; i < y.size(); ++i) {
            EXPECT_TRUE(y[i].degraded());
            expect_near(y[i], good[i].to_vector<float>());
        }
    }
    EXPECT_GE(taken, 1);
    // The same in the preparation of a function.
    const InputSpec specs[] = {{DType::f32, {5, 8}}};
    for (const Module* m : all) {
        if (m->name.starts_with("portable") || m->name.find(',') != std::string::npos) continue;
        executor->forget_kernels();
        set_faults("compile@" + m->name);
        const CompiledFunction f =
            compile([&](std::span<const Tensor> in) { return several_steps(in[0], w); }, specs, device);
        set_faults("");
        const std::string rung = ladder.taken();
        if (rung.empty()) continue;
        EXPECT_TRUE(rung == "portable 1" || rung == "unfused 1") << m->name << ": " << rung;
        const Tensor in[] = {x};
        const std::vector<Tensor> y = f(in);
        EXPECT_TRUE(y[0].degraded());
        expect_near(y[0], good[0].to_vector<float>());
    }
    executor->forget_kernels();
}

TEST(Recovery, AFunctionThatDoesNotCompileFusedIsMadeUnfused) {
    Ladder ladder(Recovery::any);
    const auto device = find_device();
    const InputSpec specs[] = {{DType::f32, {300}}};
    const auto f = [](std::span<const Tensor> in) {
        return std::vector<Tensor>{tanh(exp(cos(in[0])) - sigmoid(in[0] * 3.0))};
    };
    const Tensor in[] = {counting({300})};
    const std::vector<float> want = f(in)[0].to_vector<float>();
    set_faults(faults_in_a_row("compile", 2));
    // What eval compiled is known to the process; a longer function is not.
    const auto g = [&](std::span<const Tensor> one) { return std::vector<Tensor>{sin(f(one)[0]) - 2.0}; };
    const CompiledFunction made = compile(g, specs, device);
    set_faults("");
    EXPECT_EQ(ladder.taken(), "unfused 1");
    EXPECT_GT(made.steps(), 3);
    const Tensor y = made(in)[0];
    EXPECT_TRUE(y.degraded());
    std::vector<float> last(want.size());
    for (std::size_t i = 0; i < want.size(); ++i) last[i] = std::sin(want[i]) - 2.0f;
    expect_near(y, last);
}

}  // namespace
}  // namespace invar
