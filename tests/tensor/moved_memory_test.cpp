// SPDX-License-Identifier: Apache-2.0
// Tensors whose memory is moved or offloaded where there is no room: the rung that is taken, the bits of what is computed and
// of everything else that lives, memory that comes back when it is used, and nothing that stays behind. Budgets on the device's
// allocator make the pressure, so that it is the same on every device.
#include <invar/compile.h>
#include <invar/defragment.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/program.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "graph/executor.h"
#include "graph/node.h"
#include "support/ladder.h"
#include "support/one_device.h"

namespace invar {
namespace {

using test::Ladder;

constexpr std::int64_t kMiB = 1 << 20;

class MovedMemory : public ::testing::Test {
protected:
    MovedMemory() {
        pool.trim();
        in_use_ = pool.statistics().bytes_in_use;
    }
    ~MovedMemory() override {
        pool.set_budget({});
        set_memory_moves(before_);
    }
    void TearDown() override {
        set_faults("");
        // What work in flight held is let go behind it.
        graph::Executor::of(*device)->synchronize();
        EXPECT_EQ(pool.statistics().bytes_in_use, in_use_) << "memory was lost";
        EXPECT_EQ(memory_statistics(device).bytes_offloaded, 0u);
    }

    // Numbers of their own for each seed.
    static std::vector<float> values(std::int64_t bytes, std::uint64_t seed) {
        std::vector<float> v(static_cast<std::size_t>(bytes) / sizeof(float));
        std::uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
        for (float& f : v) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            f = static_cast<float>(x >> 40) * 0x1p-24f - 0.5f;
        }
        return v;
    }
    static Tensor make(std::int64_t bytes, std::uint64_t seed) {
        return Tensor::of(values(bytes, seed), {bytes / 4});
    }
    static bool intact(const Tensor& t, std::uint64_t seed) {
        return t.to_vector<float>() == values(t.elements() * 4, seed);
    }
    // Segments with one tensor of 2 MiB left in each.
    std::vector<Tensor> fragmented(std::size_t segments) {
        std::vector<Tensor> all, kept;
        for (std::size_t i = 0; i < segments * 8; ++i) all.push_back(make(2 * kMiB, i));
        for (std::size_t s = 0; s < segments; ++s) kept.push_back(all[s * 8]);
        return kept;
    }
    // What is held may grow by so many bytes.
    void leave(std::int64_t bytes) {
        graph::Executor::of(*device)->synchronize();  // memory that work in flight held is free behind it
        pool.trim();
        const AllocatorStatistics s = pool.statistics();
        pool.set_budget(
            {.bytes = s.bytes_in_use + s.bytes_cached + static_cast<std::uint64_t>(bytes), .objects = 0});
    }
    bool offloads() const { return device->name() != "cpu"; }
    static bool away(const Tensor& t) { return t.node()->storage->offloaded() != nullptr; }

    std::shared_ptr<Device> device = find_device();
    CachingAllocator& pool = device->allocator();

private:
    MemoryMoves before_ = memory_moves();
    std::uint64_t in_use_ = 0;
};

Tensor repeated(const Tensor& x, std::int64_t times) {
    return x.reshape({1, x.elements()}).broadcast_to({times, x.elements()}) * 0.5 + 1.0;
}

TEST_F(MovedMemory, AFragmentedPoolIsMovedTogether) {
    for (const Recovery how : {Recovery::any, Recovery::exact}) {
        Ladder ladder(how);
        const std::vector<Tensor> live = fragmented(3);
        const std::vector<std::byte> want = repeated(live[0], 12).to_bytes();
        leave(4 * kMiB);
        const MemoryStatistics before = memory_statistics(device);
        const Tensor y = repeated(live[0], 12);
        y.eval();
        EXPECT_EQ(ladder.taken(), "defragmented 1");
        EXPECT_FALSE(y.degraded());
        EXPECT_EQ(y.to_bytes(), want);
        for (std::size_t i = 0; i < live.size(); ++i) EXPECT_TRUE(intact(live[i], i * 8));
        const MemoryStatistics after = memory_statistics(device);
        EXPECT_EQ(after.defragmentations, before.defragmentations + 1);
        EXPECT_GE(after.bytes_moved, before.bytes_moved + 2 * 2 * kMiB);
        EXPECT_LT(after.external_fragmentation, before.external_fragmentation);
        EXPECT_EQ(after.offloads, before.offloads);
        pool.set_budget({});
    }
}

TEST_F(MovedMemory, NewTensorsFindRoomToo) {
    Ladder ladder(Recovery::exact);
    const std::vector<Tensor> live = fragmented(3);
    leave(4 * kMiB);
    const Tensor t = make(24 * kMiB, 77);
    EXPECT_EQ(ladder.taken(), "defragmented 1");
    EXPECT_TRUE(intact(t, 77));
    for (std::size_t i = 0; i < live.size(); ++i) EXPECT_TRUE(intact(live[i], i * 8));
}

TEST_F(MovedMemory, PreparationsOfFunctionsFindRoom) {
    Ladder ladder(Recovery::exact);
    const std::vector<Tensor> live = fragmented(3);
    const Tensor inputs[] = {live[0]};
    const InputSpec specs[] = {{DType::f32, live[0].shape()}};
    const auto rows = [](std::span<const Tensor> in) {
        return std::vector<Tensor>{sum(cumsum(repeated(in[0], 5), 1), 0)};
    };
    const std::vector<std::byte> want = compile(rows, specs, device)(inputs)[0].to_bytes();
    leave(4 * kMiB);
    const CompiledFunction f = compile(rows, specs, device);
    EXPECT_GE(f.arena_bytes(), static_cast<std::size_t>(10 * kMiB));
    EXPECT_EQ(ladder.taken(), "defragmented 1");
    EXPECT_EQ(f(inputs)[0].to_bytes(), want);
    for (std::size_t i = 0; i < live.size(); ++i) EXPECT_TRUE(intact(live[i], i * 8));
}

// The least recently used first; not what the work at hand uses, however old; not more than is needed.
TEST_F(MovedMemory, TheColdestTensorsAreOffloadedAndComeBack) {
    Ladder ladder(Recovery::exact);
    const Tensor x = make(2 * kMiB, 1), old = make(12 * kMiB, 2), newer = make(12 * kMiB, 3);
    const std::vector<std::byte> want = repeated(x, 6).to_bytes(), want_old = (old + 1.0).to_bytes();
    (void)(newer + 1.0).to_bytes();
    leave(4 * kMiB);
    const MemoryStatistics before = memory_statistics(device);
    {
        const Tensor y = repeated(x, 6);
        if (!offloads()) {
            EXPECT_THROW(y.eval(), OutOfMemory);
            EXPECT_EQ(ladder.taken(), "exhausted 1");
            return;
        }
        y.eval();
        EXPECT_EQ(ladder.taken(), "offloaded 1");
        EXPECT_FALSE(y.degraded());
        EXPECT_EQ(y.to_bytes(), want);
        EXPECT_TRUE(away(old));
        EXPECT_FALSE(away(x) || away(newer));
        MemoryStatistics s = memory_statistics(device);
        EXPECT_EQ(s.bytes_offloaded, static_cast<std::uint64_t>(12 * kMiB));
        EXPECT_EQ(s.offloads, before.offloads + 1);
        // The host reads them where they are.
        EXPECT_TRUE(intact(old, 2));
        EXPECT_EQ(old.slice(0, 5, 6).item(), values(24, 2)[5]);
        EXPECT_TRUE(away(old));
        // The device takes them back, and others go for it.
        const Tensor z = sum(old);
        z.eval();
        EXPECT_FALSE(away(old));
        EXPECT_EQ(ladder.taken(), "offloaded 1");
        s = memory_statistics(device);
        EXPECT_EQ(s.restores, before.restores + 1);
        EXPECT_EQ(s.offloads, before.offloads + 2);
        for (const auto& [t, seed] : {std::pair(x, 1), std::pair(old, 2), std::pair(newer, 3)})
            EXPECT_TRUE(intact(t, static_cast<std::uint64_t>(seed)));
    }
    pool.set_budget({});
    EXPECT_EQ((old + 1.0).to_bytes(), want_old);
    EXPECT_EQ(ladder.taken(), "");
    // Written over where it is, and dropped from there.
    leave(4 * kMiB);
    const Tensor w = make(12 * kMiB, 9);
    EXPECT_EQ(ladder.taken(), "offloaded 1");
    pool.set_budget({});
    const std::vector<float> fresh = values(12 * kMiB, 10);
    old.write(std::as_bytes(std::span(fresh)));
    newer.write(std::as_bytes(std::span(fresh)));
    EXPECT_TRUE(intact(old, 10) && intact(newer, 10) && intact(w, 9));
}

TEST_F(MovedMemory, WhatCannotHelpIsNotBegun) {
    Ladder ladder(Recovery::exact);
    const Tensor x = make(2 * kMiB, 1), cold = make(4 * kMiB, 2);
    leave(kMiB);
    const MemoryStatistics before = memory_statistics(device);
    EXPECT_THROW(repeated(x, 12).eval(), OutOfMemory);
    EXPECT_EQ(ladder.taken(), "exhausted 1");
    EXPECT_EQ(memory_statistics(device).offloads, before.offloads);
    EXPECT_EQ(memory_statistics(device).blocks_moved, before.blocks_moved);
    EXPECT_FALSE(away(cold));
    // Nor what the work itself reads.
    pool.set_budget({});
    const Tensor large = make(12 * kMiB, 3);
    leave(2 * kMiB);
    EXPECT_THROW((large * 0.5 + 1.0).eval(), OutOfMemory);
    EXPECT_EQ(ladder.taken(), "exhausted 1");
    EXPECT_EQ(memory_statistics(device).offloads, before.offloads);
}

TEST_F(MovedMemory, SwitchesKeepMemoryWhereItIs) {
    Ladder ladder(Recovery::exact);
    const std::vector<Tensor> live = fragmented(3);
    const Tensor big = make(30 * kMiB, 5);
    leave(4 * kMiB);
    set_memory_moves({.defragment = false, .offload = false});
    EXPECT_THROW(repeated(live[0], 12).eval(), OutOfMemory);
    EXPECT_EQ(ladder.taken(), "exhausted 1");
    set_memory_moves({.defragment = false, .offload = true});
    if (offloads()) {
        repeated(live[0], 12).eval();
        EXPECT_EQ(ladder.taken(), "offloaded 1");
    }
    set_memory_moves({.defragment = true, .offload = false});
    repeated(live[0], 12).eval();
    EXPECT_EQ(ladder.taken().substr(0, 12), offloads() ? "" : "defragmented");
    set_recovery(Recovery::off);
    leave(0);
    EXPECT_THROW(repeated(live[0], 12).eval(), OutOfMemory);
    EXPECT_THROW(make(24 * kMiB, 1), OutOfMemory);
    EXPECT_TRUE(intact(big, 5));
}

// Replayed graphs are bound to places: a run behind a move is one with the new ones.
TEST_F(MovedMemory, CompiledFunctionsFollow) {
    Ladder ladder(Recovery::exact);
    std::vector<Tensor> live = fragmented(4);
    const InputSpec specs[] = {{DType::f32, {live[0].elements()}}};
    const CompiledFunction f = compile(
        [&](std::span<const Tensor> in) {
            return std::vector<Tensor>{in[0] * live[1] + live[2], cumsum(in[0] - live[3], 0)};
        },
        specs, device);
    const Tensor inputs[] = {live[0]};
    const Tensor outputs[] = {make(2 * kMiB, 20), make(2 * kMiB, 21)};
    const auto run = [&] {
        for (int i = 0; i < 3; ++i) f.run(inputs, outputs);
        f.synchronize();
        return std::pair(outputs[0].to_bytes(), outputs[1].to_bytes());
    };
    const auto want = run();
    const Defragmentation d = defragment(device);
    EXPECT_GE(d.blocks_moved, 3u) << to_text(d);
    f.run(inputs, outputs);
    f.synchronize();
    EXPECT_EQ(std::pair(outputs[0].to_bytes(), outputs[1].to_bytes()), want);
    EXPECT_EQ(run(), want);
}

// An arena lies anywhere in the pool, and would keep its segment.
TEST_F(MovedMemory, ArenasOfFunctionsMoveToo) {
    const Tensor inputs[] = {make(kMiB, 1)}, outputs[] = {make(kMiB, 2)};
    const InputSpec specs[] = {{DType::f32, inputs[0].shape()}};
    std::vector<CompiledFunction> functions;
    std::vector<std::vector<std::byte>> want;
    const auto run = [&](const CompiledFunction& f) {
        for (int i = 0; i < 3; ++i) f.run(inputs, outputs);
        f.synchronize();
        return outputs[0].to_bytes();
    };
    std::vector<Tensor> between;
    for (int n = 0; n < 3; ++n) {
        functions.push_back(compile(
            [&](std::span<const Tensor> in) {
                return std::vector<Tensor>{cumsum(cumsum(in[0] + n, 0) * 0.5, 0) - 1.0};
            },
            specs, device));
        EXPECT_GE(functions.back().arena_bytes(), static_cast<std::size_t>(kMiB));
        EXPECT_LE(functions.back().arena_bytes(), static_cast<std::size_t>(3 * kMiB));
        for (std::size_t i = 0; i < 8; ++i)
            between.push_back(make(2 * kMiB, i));  // so the next lies elsewhere
        want.push_back(run(functions.back()));
    }
    between.clear();
    pool.trim();
    const Defragmentation d = defragment(device);
    EXPECT_GE(d.segments_freed, 2u) << to_text(d) << ", arenas of " << functions[0].arena_bytes();
    for (std::size_t n = 0; n < 3; ++n) {
        functions[n].run(inputs, outputs);
        functions[n].synchronize();
        EXPECT_EQ(outputs[0].to_bytes(), want[n]);
        EXPECT_EQ(run(functions[n]), want[n]);
    }
}

TEST_F(MovedMemory, CompiledFunctionsBringBackWhatTheyUse) {
    if (!offloads()) GTEST_SKIP() << "the cpu's memory is the host's";
    Ladder ladder(Recovery::exact);
    const Tensor w = make(9 * kMiB, 1), b = make(9 * kMiB, 2);
    const Tensor inputs[] = {make(9 * kMiB, 3)}, outputs[] = {make(9 * kMiB, 4)};
    const InputSpec specs[] = {{DType::f32, w.shape()}};
    const CompiledFunction f = compile(
        [&](std::span<const Tensor> in) { return std::vector<Tensor>{in[0] * w + b}; }, specs, device);
    const auto run = [&] {
        for (int i = 0; i < 3; ++i) f.run(inputs, outputs);
        f.synchronize();
        return outputs[0].to_bytes();
    };
    const auto want = run();
    leave(0);
    const Tensor y = make(18 * kMiB, 5);
    EXPECT_TRUE(away(w) && away(b));
    EXPECT_EQ(ladder.taken(), "offloaded 1");
    EXPECT_EQ(run(), want);
    EXPECT_FALSE(away(w) || away(b));
    EXPECT_TRUE(away(y));
    EXPECT_EQ(ladder.taken(), "offloaded 1");
    EXPECT_TRUE(intact(y, 5) && intact(w, 1));
}

TEST_F(MovedMemory, ProgramsAndTheirKeptResultsFollow) {
    Ladder ladder(Recovery::exact);
    std::vector<Tensor> live = fragmented(3);
    const KernelModule module = KernelModule::from_text(
        ".program scale\n.param by: f32\n.param x: f32*\n.param y: f32*\n"
        "LDG.f32 u, [x + gid]\nMUL.f32 v, u, by\nSTG.f32 [y + gid], v\n",
        device, {.reuse = true});
    ProgramCall call;
    call.inputs = {{"x", live[1]}};
    call.scalars = {{"by", 3}};
    call.outputs = {{"y", Like{"x"}}};
    const std::vector<std::byte> want = module.run(call)["y"].to_bytes();
    EXPECT_GE(defragment(device).blocks_moved, 1u);
    const ProgramResult again = module.run(call);
    EXPECT_TRUE(again.reused);
    EXPECT_EQ(again["y"].to_bytes(), want);
    module.release_results();
    EXPECT_EQ(module.run(call)["y"].to_bytes(), want);
    if (!offloads()) return;
    const Tensor x = make(9 * kMiB, 9);
    call.inputs = {{"x", x}};
    const std::vector<std::byte> large = module.run(call)["y"].to_bytes();
    module.release_results();
    module.synchronize();
    leave(0);
    const Tensor y = make(9 * kMiB, 3);
    EXPECT_TRUE(away(x));
    EXPECT_EQ(ladder.taken(), "offloaded 1");
    leave(10 * kMiB);
    EXPECT_EQ(module.run(call)["y"].to_bytes(), large);
    EXPECT_FALSE(away(x));
    EXPECT_TRUE(intact(y, 3));
}

// Whatever request to the driver fails, and how often: the right value or OutOfMemory, and nothing is lost.
TEST_F(MovedMemory, FaultsAtEveryStep) {
    Ladder ladder(Recovery::exact);
    const Tensor x = make(2 * kMiB, 51);
    const std::vector<std::byte> want = repeated(x, 10).to_bytes();
    std::string taken;
    int right = 0, refused = 0;
    // The first request that fails, and how many in a row.
    const std::pair<int, int> cases[] = {{1, 1}, {1, 2}, {1, 4}, {2, 1}, {3, 2},
                                         {5, 1}, {5, 4}, {7, 1}, {1, 9}};
    for (const bool cut_up : {true, false})
        for (const auto& [first, times] : cases) {
            const std::vector<Tensor> live =
                cut_up ? fragmented(3) : std::vector<Tensor>{make(12 * kMiB, 0), make(12 * kMiB, 8)};
            leave(4 * kMiB);
            std::string faults;
            for (int n = first; n < first + times; ++n)
                faults += (n == first ? "oom@" : ",oom@") + std::to_string(n);
            {
                const Tensor y = repeated(x, 10);
                set_faults(faults);
                try {
                    y.eval();
                    set_faults("");
                    EXPECT_EQ(y.to_bytes(), want) << faults;
                    EXPECT_FALSE(y.degraded());
                    ++right;
                } catch (const OutOfMemory&) {
                    set_faults("");
                    ++refused;
                }
            }
            taken += ladder.taken() + (cut_up ? ", " : "; ");
            EXPECT_TRUE(intact(x, 51)) << faults;
            for (std::size_t i = 0; i < live.size(); ++i) EXPECT_TRUE(intact(live[i], i * 8)) << faults;
            pool.set_budget({});
        }
    EXPECT_NE(taken.find("defragmented 1"), std::string::npos);
    EXPECT_EQ(taken.find("offloaded 1") != std::string::npos, offloads());
    EXPECT_GT(right, 0);
    std::printf("%d evaluations right, %d refused: %s\n", right, refused, taken.c_str());
}

// The same work with room and without, moved and not: the same bits.
TEST_F(MovedMemory, NoBitDependsOnIt) {
    const test::OneDevice one;  // pieces that devices share need more room than the steps of one
    for (const std::uint64_t seed : {1, 2}) {
        const auto work = [&](bool pressed) {
            std::mt19937_64 random(seed);
            std::vector<Tensor> live;
            std::vector<std::vector<std::byte>> results;
            if (pressed) leave((offloads() ? 26 : 31) * kMiB);
            for (int step = 0; step < 32; ++step) {
                const std::int64_t elements = static_cast<std::int64_t>(1 + random() % 5) * (kMiB / 4) + 64;
                const std::size_t a = random(), b = random(), how = random() % 4;
                if (live.size() < 3 || how == 0) {
                    live.push_back(make(elements * 4, random()));
                } else if (how < 3) {
                    const Tensor &x = live[a % live.size()], &y = live[b % live.size()];
                    const std::int64_t n = std::min(x.elements(), y.elements());
                    const Tensor z = tanh(x.slice(0, 0, n)) * 0.25 + y.slice(0, 0, n) * sum(x);
                    live.push_back(z.eval());
                } else {
                    results.push_back(live[a % live.size()].to_bytes());
                }
                // So many live at most, so that all fit when they are together.
                std::int64_t bytes = 0;
                for (const Tensor& t : live) bytes += t.elements() * 4;
                while (bytes > 22 * kMiB) {
                    const std::size_t out = random() % live.size();
                    bytes -= live[out].elements() * 4;
                    live.erase(live.begin() + static_cast<std::ptrdiff_t>(out));
                }
            }
            for (const Tensor& t : live) results.push_back(t.to_bytes());
            pool.set_budget({});
            return results;
        };
        Ladder ladder(Recovery::exact);
        set_memory_moves({.defragment = false, .offload = false});
        const auto want = work(false);
        set_memory_moves({.defragment = true, .offload = true});
        EXPECT_EQ(work(true), want) << seed;
        const std::string taken = ladder.taken();
        EXPECT_NE(taken, "") << seed << ": nothing was pressed";
        std::printf("seed %d: %s\n", static_cast<int>(seed), taken.c_str());
    }
}

TEST_F(MovedMemory, OtherThreadsReadAndComputeMeanwhile) {
    Ladder ladder(Recovery::exact);
    const std::vector<Tensor> live = fragmented(3);
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 2; ++t)
        threads.emplace_back([&, t] {
            const std::vector<float> own = values(2 * kMiB, t * 8), other = values(2 * kMiB, (t + 1) * 8);
            while (!stop) {
                const Tensor made = Tensor::of(own, {live[t].elements()});
                const std::vector<float> sums = (made + live[t + 1]).to_vector<float>();
                for (std::size_t i = 0; i < sums.size(); i += 997)
                    if (sums[i] != own[i] + other[i]) ++wrong;
                if (live[t].to_vector<float>() != own) ++wrong;
            }
        });
    for (int i = 0; i < 20; ++i) {
        std::vector<Tensor> all, some;
        for (std::size_t n = 0; n < 16; ++n) all.push_back(make(2 * kMiB, 100 + n));
        for (std::size_t n = 0; n < 16; n += 5) some.push_back(all[n]);
        all.clear();
        (void)defragment(device);
        if (offloads()) graph::Executor::of(*device)->offload(4 * kMiB, {});
        for (std::size_t n = 0; n < some.size(); ++n) wrong += !intact(some[n], 100 + n * 5);
    }
    stop = true;
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, 0);
    for (std::size_t i = 0; i < live.size(); ++i) {
        (void)(live[i] + 1.0).eval();
        EXPECT_FALSE(away(live[i]));
    }
}

// The device's own memory instead of a budget.
TEST(MovedMemoryNull, OnADeviceWithLittleMemory) {
    Ladder ladder(Recovery::exact);
    const std::shared_ptr<Device> device = find_device("null:1");
    CachingAllocator& pool = device->allocator();
    pool.trim();
    std::vector<Tensor> live;
    {
        std::vector<Tensor> all;
        for (int i = 0; i < 24; ++i) all.push_back(Tensor::empty(DType::f32, {kMiB / 2}, device));
        for (int i = 0; i < 24; i += 8) live.push_back(all[static_cast<std::size_t>(i)]);
    }
    pool.trim();
    const AllocatorStatistics s = pool.statistics();
    ::setenv("INVAR_NULL_MEMORY", std::to_string(s.bytes_in_use + s.bytes_cached + (4u << 20)).c_str(), 1);
    {
        const Tensor y = repeated(live[0], 12);
        y.eval();
        EXPECT_EQ(ladder.taken(), "defragmented 1");
        const Tensor z = repeated(live[1], 8);
        z.eval();
        EXPECT_EQ(ladder.taken(), "offloaded 1");
        EXPECT_EQ(memory_statistics(device).bytes_offloaded, 28u << 20)
            << "what is used least goes first: the other two of 2 MiB, then y";
    }
    ::unsetenv("INVAR_NULL_MEMORY");
    live.clear();
    EXPECT_EQ(memory_statistics(device).bytes_offloaded, 0u);
}

}  // namespace
}  // namespace invar
