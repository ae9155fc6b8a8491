// SPDX-License-Identifier: Apache-2.0
// Random graphs of pointwise operators, views, reductions, scans, sorts and products: simplified and fused evaluation gives the
// bits of operator by operator evaluation, in f32 where fusion leaves out no rounding. A graph that fails is shrunk until no
// operator can be left out. On the device that INVAR_DEVICE names; INVAR_RANDOM_GRAPHS says how many on the
// cpu, INVAR_RANDOM_GRAPHS_ON_DEVICE elsewhere, INVAR_RANDOM_GRAPHS_FIRST the first seed.
#include <invar/error.h>
#include <invar/ops.h>

#include <algorithm>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "base/env.h"
#include "device/device.h"
#include "graph/executor.h"
#include "support/left_out.h"
#include "support/one_device.h"

namespace invar {
namespace {

// One operator of a program over a growing list of tensors, three of them inputs: a and b are places in the list.
struct Instruction {
    unsigned op, a, b, c;
};

constexpr unsigned kOps = 30;
constexpr std::size_t kInputs = 3;

Tensor execute(const Instruction& i, const std::vector<Tensor>& values) {
    const Tensor &a = values[i.a], &b = values[i.b];
    const auto axis = static_cast<int>(i.c % 2);
    switch (i.op % kOps) {
        case 0: return a + b;
        case 1: return a * b;
        case 2: return a - b;
        case 3: return maximum(a, b);
        case 4: return tanh(a);
        case 5: return sigmoid(a) * b;
        case 6: return a.transpose();
        case 7: return sum(a, axis, true) * 0.125 + b;
        case 8: return matmul(a, b) * 0.125;
        case 9: return a.slice(axis, 7, -1, -1);
        case 10: return cat({a.slice(axis, 0, 4), b.slice(axis, 4, 8)}, axis);
        case 11: return where(less(a, b), a, b * 0.5);
        case 12: return matmul(a, b) * 0.0 + matmul(b, a) + a;
        case 13: return softmax(a, axis);
        // What the passes take apart: pairs that undo each other, equal nodes, operands that change nothing.
        case 14: return -(-a) + b.transpose().transpose();
        case 15: return softmax(a) - softmax(a) * softmax(b);
        case 16: return (a * 1.0 - 0.0) / 1.0 + relu(relu(b));
        case 17: return where(greater(a, b), a, a).reshape({4, 16}).reshape({8, 8}) * b;
        case 18: return cumsum(a, axis) * 0.125;
        case 19: return sort(a, axis, i.c % 3 == 0);
        case 20: return a - mean(a) + max(b, axis, true);
        case 21: return layer_norm(a, {}, {}, 1e-3) + rms_norm(b, {}, 1e-3);
        // What reductions and row operations take along: operands that lie as x, along its rows, one a row, and behind them.
        case 22: return softmax(a * 0.25 + b.slice(0, 3, 4));
        case 23: return sum(square(a - b), -1, true) * b;
        case 24: return silu(rms_norm(a * b.slice(1, 2, 3), {}, 1e-3)) * b;
        case 25: return sqrt(max(abs(a) - b * 0.5, -1, true) * 0.125 + 4.0) + b;
        case 26: return tanh(layer_norm(a + b, {}, {}, 1e-3)) * b.slice(0, 0, 1);
        case 28: return rms_norm(a + b, {}, 1e-3) * (a + b);
        case 29: return (a - b) - max(a - b, -1, true);
        default: return where(any(greater(a, b), -1, true), a, sin(log_softmax(b - a)));
    }
}

std::vector<Tensor> inputs(unsigned seed) {
    std::mt19937 rng(seed);
    std::vector<Tensor> values;
    for (std::size_t i = 0; i < kInputs; ++i) {
        std::vector<float> v(64);
        for (float& x : v) x = std::uniform_real_distribution<float>(-2, 2)(rng);
        values.push_back(Tensor::of(v, {8, 8}));
    }
    return values;
}

std::vector<Instruction> program_of(unsigned seed) {
    std::mt19937 rng(seed);
    std::vector<Instruction> program(1 + rng() % 14);
    for (std::size_t i = 0; i < program.size(); ++i) {
        const auto there = static_cast<unsigned>(kInputs + i);
        program[i].op = static_cast<unsigned>(rng());
        program[i].a = static_cast<unsigned>(rng()) % there;
        program[i].b = static_cast<unsigned>(rng()) % there;
        program[i].c = static_cast<unsigned>(rng());
    }
    return program;
}

// Three programs whose values do not meet, over inputs that stay where they are.
struct Branches {
    std::vector<std::vector<Tensor>> inputs_of;
    std::vector<std::vector<Instruction>> programs;

    explicit Branches(unsigned first_seed) {
        for (unsigned seed = first_seed; seed < first_seed + 3; ++seed) {
            inputs_of.push_back(inputs(seed));
            programs.push_back(program_of(seed));
        }
    }

    // All values that nothing reads, by one lazy evaluation.
    std::vector<std::vector<float>> ends() const {
        std::vector<Tensor> last;
        for (std::size_t branch = 0; branch < programs.size(); ++branch) {
            std::vector<Tensor> values = inputs_of[branch];
            std::vector<bool> read(values.size() + programs[branch].size());
            for (const Instruction& i : programs[branch]) {
                read[i.a] = read[i.b] = true;
                values.push_back(execute(i, values));
            }
            for (std::size_t i = kInputs; i < values.size(); ++i)
                if (!read[i]) last.push_back(values[i]);
        }
        eval(last);
        std::vector<std::vector<float>> results;
        for (const Tensor& t : last) results.push_back(t.to_vector<float>());
        return results;
    }
};

bool agrees(unsigned seed, const std::vector<Instruction>& program) {
    std::vector<Tensor> lazy = inputs(seed), eager = inputs(seed);
    for (const Instruction& i : program) {
        lazy.push_back(execute(i, lazy));
        // Evaluated at once: nothing of the graph is left to fuse. Views stay views, because a product may sum in another
        // order where its operand lies in another layout.
        eager.push_back(execute(i, eager).eval());
    }
    const std::vector<float> a = lazy.back().to_vector<float>(), b = eager.back().to_vector<float>();
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The program without operator i, whose readers read its operand instead.
std::vector<Instruction> without(std::vector<Instruction> program, std::size_t i) {
    const unsigned gone = static_cast<unsigned>(kInputs + i), instead = program[i].a;
    program.erase(program.begin() + static_cast<std::ptrdiff_t>(i));
    for (std::size_t j = i; j < program.size(); ++j)
        for (unsigned* operand : {&program[j].a, &program[j].b})
            *operand = *operand == gone ? instead : *operand - (*operand > gone);
    return program;
}

// The program without what it fails just as well without.
std::vector<Instruction> shrunk(unsigned seed, std::vector<Instruction> program) {
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (std::size_t i = program.size(); i-- > 0 && program.size() > 1;) {
            std::vector<Instruction> less = without(program, i);
            if (agrees(seed, less)) continue;
            program = std::move(less);
            smaller = true;
        }
    }
    return program;
}

TEST(RandomGraphs, FusedAgreesWithOperatorByOperator) {
    const test::OneDevice one;  // another evaluation may be placed otherwise
    // Elsewhere a graph is several kernels to compile, and on the software Metal device lanes that take turns.
    const std::string device = find_device()->name();
    const std::int64_t elsewhere = env_int("INVAR_RANDOM_GRAPHS_ON_DEVICE", 20, 1, 1 << 30);
    const std::int64_t count = device == "cpu"     ? env_int("INVAR_RANDOM_GRAPHS", 10000, 1, 1 << 30)
                               : device == "metal" ? std::max<std::int64_t>(elsewhere * 3 / 10, 1)
                                                   : elsewhere;
    const std::int64_t first = env_int("INVAR_RANDOM_GRAPHS_FIRST", 0, 0, 1 << 30);
    for (auto seed = static_cast<unsigned>(first); seed < static_cast<unsigned>(first + count); ++seed) {
        const std::vector<Instruction> program = program_of(seed);
        if (agrees(seed, program)) continue;
        std::string text;
        const std::vector<Instruction> least = shrunk(seed, program);
        for (std::size_t i = 0; i < least.size(); ++i)
            text += "\n  v" + std::to_string(kInputs + i) + " = operator " +
                    std::to_string(least[i].op % kOps) + " of v" + std::to_string(least[i].a) + ", v" +
                    std::to_string(least[i].b) + ", " + std::to_string(least[i].c);
        FAIL() << "seed " << seed << " differs in its last value:" << text;
    }
}

// Each part of the way to the launches left out by itself; and often enough for a capture where there is one.
TEST(RandomGraphs, NoPartOfTheWayChangesABit) {
    const auto device = find_device();
    const auto executor = graph::Executor::of(*device);
    const unsigned count = device->name() == "cpu" ? 300 : 12;
    const auto before = executor->statistics();
    for (unsigned seed = 1000000; seed < 1000000 + 3 * count; seed += 3) {
        const Branches branches(seed);
        const std::vector<std::vector<float>> want = [&] {
            const test::LeftOut guard("planning,capture,streams");
            return branches.ends();
        }();
        for (const char* part : {"", "fusion", "planning", "capture", "streams", "planning,streams"}) {
            const test::LeftOut guard(part);
            for (int time = 0; time < 6; ++time) {
                const std::vector<std::vector<float>> got = branches.ends();
                ASSERT_EQ(got.size(), want.size());
                for (std::size_t i = 0; i < got.size(); ++i)
                    ASSERT_EQ(std::memcmp(got[i].data(), want[i].data(), want[i].size() * sizeof(float)), 0)
                        << "without '" << part << "', time " << time << ", seed " << seed;
            }
        }
    }
    const auto after = executor->statistics();
    if (device->supports(Feature::capture) && !graph::host_runs_launches(*device)) {
        EXPECT_GT(after.replays, before.replays + count);
        EXPECT_GT(after.captures_in_lanes, before.captures_in_lanes);
    }
}

}  // namespace
}  // namespace invar
