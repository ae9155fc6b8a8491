// SPDX-License-Identifier: Apache-2.0
// A kernel program, made from text and called with tensors, on an installed Invar. The README shows what main does.
#include <invar/error.h>
#include <invar/program.h>

#include <iostream>

int main() try {
    const auto module = invar::KernelModule::from_text(R"(
        .program saxpy
        .param a: f32
        .param x: f32*
        .param y: f32*
        LDG.f32 u, [x + gid]
        LDG.f32 v, [y + gid]
        FMA.f32 w, a, u, v
        STG.f32 [y + gid], w
    )");
    const auto x = invar::Tensor::of<float>({1, 2, 3}, {3});
    const auto y = invar::Tensor::of<float>({10, 20, 30}, {3});
    const auto result = module.run({.inputs = {{"x", x}, {"y", y}}, .scalars = {{"a", 2}}});
    for (const float v : result["y"].to_vector<float>()) std::cout << v << " ";  // 12 24 36; y stays as it is
    std::cout << "from " << result.ran_on << "\n";
} catch (const invar::Error& e) {
    std::cerr << "program: " << e.what() << "\n";
    return 1;
}
