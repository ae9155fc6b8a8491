// SPDX-License-Identifier: Apache-2.0
// Random graphs of pointwise operators, views, reductions and products: fused evaluation gives the bits of operator by
// operator evaluation, in f32 where fusion leaves out no rounding. A graph that fails is shrunk to its smallest prefix.
#include <invar/error.h>
#include <invar/ops.h>

#include <cstring>
#include <random>

#include <gtest/gtest.h>

namespace invar {
namespace {

// One operator of a program over a growing list of tensors; the numbers choose operands modulo what there is.
struct Instruction {
    unsigned op, a, b, c;
};

constexpr unsigned kOps = 14;

Tensor execute(const Instruction& i, const std::vector<Tensor>& values) {
    const Tensor &a = values[i.a % values.size()], &b = values[i.b % values.size()];
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
        default: return softmax(a, axis);
    }
}

std::vector<Tensor> inputs(unsigned seed) {
    std::mt19937 rng(seed);
    std::vector<Tensor> values;
    for (int i = 0; i < 3; ++i) {
        std::vector<float> v(64);
        for (float& x : v) x = std::uniform_real_distribution<float>(-2, 2)(rng);
        values.push_back(Tensor::of(v, {8, 8}));
    }
    return values;
}

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

TEST(RandomGraphs, FusedAgreesWithOperatorByOperator) {
    for (unsigned seed = 0; seed < 1500; ++seed) {
        std::mt19937 rng(seed);
        std::vector<Instruction> program(1 + rng() % 14);
        for (Instruction& i : program)
            i = {static_cast<unsigned>(rng()), static_cast<unsigned>(rng()), static_cast<unsigned>(rng()),
                 static_cast<unsigned>(rng())};
        if (agrees(seed, program)) continue;
        while (program.size() > 1 &&
               !agrees(seed, std::vector<Instruction>(program.begin(), program.end() - 1)))
            program.pop_back();
        std::string text;
        for (const Instruction& i : program) text += " " + std::to_string(i.op % kOps);
        FAIL() << "seed " << seed << " differs after operators" << text;
    }
}

}  // namespace
}  // namespace invar
