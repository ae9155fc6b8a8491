// SPDX-License-Identifier: Apache-2.0
// Pointwise steps that reductions and row operations take along as prologue or epilogue: which are taken and which
// are not, read off schedules; the decision by cost, both ways; what the note of a step says.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/route.h>

#include <gtest/gtest.h>

#include "device/device.h"
#include "graph/executor.h"
#include "graph/plan.h"

namespace invar {
namespace {

using Labels = std::vector<std::string>;

graph::Schedule hole_schedule_of(const Tensor& t, const char* device = "cpu", bool fuse = true) {
    return graph::lower(graph::collect({t.node()}), *find_device(device), {.fuse = fuse, .donations = {}});
}
Labels labels(const Tensor& t, const char* device = "cpu", bool fuse = true) {
    Labels out;
    for (const graph::Step& step : hole_schedule_of(t, device, fuse).steps) out.push_back(step.label);
    return out;
}
Tensor card_input(const Shape& shape, DType t = DType::f32) {
    return Tensor::empty(t, shape, find_device("null:cuda"));
}

TEST(Holes, ReductionsTakeWhatMakesTheirElements) {
    const Tensor a = card_input({40, 64}), b = card_input({40, 64}), v = card_input({64}),
                 c = card_input({40, 1});
    for (const char* device : {"cpu", "null:cuda"}) {
        EXPECT_EQ(labels(sum(square(a - b), -1), device), (Labels{"subtract square -> reduce"}));
        EXPECT_EQ(labels(sum(square(a - b), -1), device, false).size(), 3u);
        EXPECT_EQ(labels(max(a * v + c, -1), device), (Labels{"multiply add -> reduce"}));
        EXPECT_EQ(labels(any(greater(a, b), -1), device), (Labels{"greater -> reduce"}));
        // All of an array is one row.
        EXPECT_EQ(labels(sum(a * b), device), (Labels{"multiply -> reduce"}));
        // What somebody else reads behind is stored as well.
        const Tensor d = a - b;
        EXPECT_EQ(labels(sum(d, -1, true) + d, device), (Labels{"subtract -> reduce", "add"}));
        const Tensor rows = sum(d, -1, true), columns = sum(d, 0);
        EXPECT_EQ(labels(rows + columns, device), (Labels{"subtract -> reduce", "reduce", "add"}));
    }
}

// Columns side by side: on the cpu where they are few enough to be made a row at a time, on CUDA always.
TEST(Holes, ColumnsTakeWhatMakesTheirElements) {
    const Tensor a = card_input({3, 40, 64}), b = card_input({3, 40, 64}), v = card_input({64}),
                 wide = card_input({40, 513});
    EXPECT_EQ(labels(sum(a * b, 0), "cpu"), (Labels{"multiply", "reduce"}));  // 40 * 64 of them
    EXPECT_EQ(labels(sum(a * v, 1), "cpu"), (Labels{"multiply -> reduce"}));
    EXPECT_EQ(labels(sum(square(a - b), {0, 1}), "cpu"), (Labels{"subtract square -> reduce"}));
    EXPECT_EQ(labels(sum(wide * wide, 0), "cpu"), (Labels{"multiply", "reduce"}));
    const Tensor d = a - b, few = card_input({16, 64});
    EXPECT_EQ(labels(sum(d, 1, true) + d, "cpu"), (Labels{"subtract -> reduce", "add"}));
    EXPECT_EQ(labels(sum(few * v, 0), "cpu"), (Labels{"multiply", "reduce"}));
    EXPECT_EQ(labels(sum(a * v, 1), "null:cuda"), (Labels{"multiply -> reduce"}));
    EXPECT_EQ(labels(sum(wide * wide, 0), "null:cuda"), (Labels{"multiply -> reduce"}));
    EXPECT_EQ(labels(sum(d, 1, true) + d, "null:cuda"), (Labels{"subtract -> reduce", "add"}));
}

TEST(Holes, RowOperationsTakeWhatStandsAround) {
    const Tensor x = card_input({2, 4, 16, 32}), mask = card_input({16, 32}), w = card_input({32}),
                 up = card_input({2, 4, 16, 32});
    for (const char* device : {"cpu", "null:cuda"}) {
        EXPECT_EQ(labels(softmax(x * 0.125 + mask), device), (Labels{"multiply add -> softmax"}));
        EXPECT_EQ(labels(silu(rms_norm(x, w, 1e-6)) * up, device), (Labels{"rms_norm -> silu multiply"}));
        EXPECT_EQ(labels(tanh(layer_norm(x + up, w, {}, 1e-6)), device),
                  (Labels{"add -> layer_norm -> tanh"}));
        EXPECT_EQ(labels(tanh(layer_norm(x + up, w, {}, 1e-6)), device, false).size(), 3u);
        // Columns of x are copied first; neighbours of a row lie far apart there.
        EXPECT_EQ(labels(softmax(exp(x).permute({0, 1, 3, 2})), device).size(), 3u);
    }
    // A cast that rounds does; one that does not is part of the program.
    EXPECT_EQ(labels(softmax((x * 2.0).astype(DType::bf16)), "null:cuda"),
              (Labels{"multiply cast", "softmax"}));
    EXPECT_EQ(labels(softmax(x.astype(DType::bf16)), "null:cuda"), (Labels{"cast", "softmax"}));
    EXPECT_EQ(labels(softmax(card_input({8, 32}, DType::bf16).astype(DType::f32)), "null:cuda"),
              (Labels{"cast -> softmax"}));
    // A residual sum that is read again, and one that is a result.
    const Tensor h = x + up;
    for (const char* device : {"cpu", "null:cuda"}) {
        EXPECT_EQ(labels(h * rms_norm(h, w, 1e-6), device), (Labels{"add -> rms_norm", "multiply"}));
        const graph::Schedule s = graph::lower(graph::collect({rms_norm(h, w, 1e-6).node(), h.node()}),
                                               *find_device(device), {.fuse = true, .donations = {}});
        ASSERT_EQ(s.steps.size(), 1u) << graph::to_text(s);
        EXPECT_EQ(s.steps[0].writes.size(), 2u);
    }
    EXPECT_EQ(labels(exp(sum(x, -1)), "null:cuda"), (Labels{"reduce -> exp"}));
    EXPECT_EQ(labels(exp(sum(x, -1))), (Labels{"reduce", "exp"}));
}

TEST(Holes, SymbolicSizes) {
    const auto device = find_device("null:cuda");
    const Dim rows(Symbol{0, 512});
    const Tensor x(graph::make_placeholder(DType::bf16, Shape{rows, 96}, device)),
        v = card_input({96}, DType::bf16);
    const Tensor t = softmax(x * v);
    ASSERT_EQ(labels(t, "null:cuda"), (Labels{"multiply -> softmax"}));
    const graph::Schedule s = hole_schedule_of(t, "null:cuda");
    const auto& work = std::get<graph::Sized<kernels::RowSpec>>(s.steps[0].work);
    for (const std::int64_t m : {1, 7, 512}) {
        const std::int64_t symbols[] = {m};
        const kernels::RowSpec spec = work.resolve(symbols);
        EXPECT_EQ(spec.prologue.sizes[0], m);
        EXPECT_NE(graph::plan(*device, spec).module, nullptr);
    }
    // A row of symbolic length.
    const Tensor y(graph::make_placeholder(DType::bf16, Shape{96, rows}, device));
    EXPECT_EQ(labels(softmax(y * 2.0), "null:cuda"), (Labels{"multiply -> softmax"}));
}

// A row that no thread block keeps is read three times, and a program in front of it runs as often.
TEST(Holes, TheDecisionIsByCost) {
    const Tensor x = card_input({4096, 20000});
    const auto heavy = [](const Tensor& t) {
        Tensor y = t;
        for (int i = 0; i < 8; ++i) y = tanh(sin(y) + y);
        return y;
    };
    EXPECT_EQ(labels(softmax(x * 0.5), "null:cuda"), (Labels{"multiply -> softmax"}));
    const graph::Schedule apart = hole_schedule_of(softmax(heavy(x)), "null:cuda");
    ASSERT_EQ(apart.steps.size(), 2u);
    EXPECT_NE(apart.steps[1].note.find("stays apart: "), std::string::npos) << apart.steps[1].note;
    EXPECT_NE(apart.steps[1].note.find("run 3 times"), std::string::npos) << apart.steps[1].note;
    // A row that is kept is computed once.
    EXPECT_EQ(hole_schedule_of(softmax(heavy(card_input({4096, 4096}))), "null:cuda").steps.size(), 1u);
    const std::string note = graph::notes_text(hole_schedule_of(softmax(x * 0.5), "null:cuda"));
    EXPECT_NE(note.find("multiply -> softmax: "), std::string::npos) << note;
    EXPECT_NE(note.find("us in one step"), std::string::npos) << note;
}

TEST(Holes, ExplainSaysWhy) {
    const Tensor a = Tensor::of(std::vector<float>(64, 0.5f), {8, 8});
    const Tensor t[] = {softmax(a * 0.25)};
    EXPECT_NE(explain(t).find("multiply -> softmax: "), std::string::npos) << explain(t);
}

// Steps that write what an operand reads, and memory that is an input's: nothing is read behind a write to it.
TEST(Holes, WhatIsWrittenBetweenIsReadBefore) {
    const auto device = find_device("null:cuda");
    const Tensor x(graph::make_placeholder(DType::f32, Shape{64, 64}, device)), y = x * 2.0;
    const Tensor t = softmax(y);
    const graph::Schedule s = graph::lower(graph::collect({t.node()}), *device,
                                           {.fuse = true, .simplify = true, .donations = {{0, 0}}});
    EXPECT_EQ(s.steps.size(), 2u) << graph::to_text(s);
}

}  // namespace
}  // namespace invar
