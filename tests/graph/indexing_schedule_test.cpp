// SPDX-License-Identifier: Apache-2.0
// What sorting, indices and convolution are lowered to on an accelerator (as "null:cuda" takes it): which steps, which copies and
// how much memory, so that a copy or a sort that creeps in is seen.
#include <invar/compile.h>
#include <invar/ops.h>

#include <gtest/gtest.h>

#include "support/golden.h"

namespace invar {
namespace {

using Function = std::function<Tensor(std::span<const Tensor>)>;

std::string schedule(const std::string& title, const std::vector<InputSpec>& inputs, const Function& f) {
    const auto compiled = compile([&](std::span<const Tensor> in) { return std::vector<Tensor>{f(in)}; },
                                  inputs, find_device("null:cuda"));
    return title + "\n" + compiled.to_text() + "\n";
}

TEST(IndexingSchedule, Steps) {
    const InputSpec rows{DType::f32, Shape{64, 5000}}, list{DType::i64, Shape{300}};
    const InputSpec table{DType::bf16, Shape{1000, 64}}, updates{DType::bf16, Shape{300, 64}};
    const InputSpec image{DType::f32, Shape{4, 6, 20, 20}};
    std::string text;
    text += schedule("sort of the last axis", {rows}, [](auto in) { return sort(in[0]); });
    text += schedule("sort of another axis", {rows}, [](auto in) { return sort(in[0], 0); });
    text += schedule("values of topk", {rows}, [](auto in) { return topk(in[0], 20).values; });
    text += schedule("take of one list", {rows, list}, [](auto in) { return take(in[0], in[1], 1); });
    text += schedule("many rows added by one list", {table, list, updates},
                     [](auto in) { return scatter_add(in[0], in[1].expand_dims(1), in[2], 0); });
    text += schedule("few updates of each row",
                     {table, {DType::i32, Shape{1000, 8}}, {DType::bf16, Shape{1000, 8}}},
                     [](auto in) { return scatter(in[0], in[1], in[2], 1); });
    text += schedule("many updates of each column", {table, {DType::i32, Shape{300, 64}}, updates},
                     [](auto in) { return scatter(in[0], in[1], in[2], 0); });
    const auto convolve = [&](const char* title, const Shape& weight, std::int64_t groups) {
        text += schedule(title, {image, {DType::f32, weight}}, [=](auto in) {
            return conv2d(in[0], in[1], {}, {{1, 1}, {0, 0}, {1, 1}, groups});
        });
    };
    convolve("convolution", {8, 6, 3, 3}, 1);
    convolve("convolution in groups", {8, 3, 3, 3}, 2);
    convolve("convolution of single elements", {8, 6, 1, 1}, 1);
    convolve("convolution of channels", {12, 1, 3, 3}, 6);
    compare_with_golden("schedules/cuda-indexing.txt", text);
}

}  // namespace
}  // namespace invar
