// SPDX-License-Identifier: Apache-2.0
// Functions over tensors captured once and replayed: the function is called one time with placeholders, the graph that
// it records is fused and planned, and each run afterwards only starts kernels.
//
// Tensors that the function uses without taking them as inputs (weights, caches) are bound where they lie. Dimensions
// may be symbols; their values are read off the inputs at each run, and memory is planned for their maxima.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <invar/tensor.h>

namespace invar {

struct InputSpec {
    DType dtype;
    Shape shape;
};

struct CompileOptions {
    // (output, input): the output is written into the memory of that input at the end of the run; for what one step
    // hands to the next (tokens, positions). Such an output is not returned.
    std::vector<std::pair<int, int>> donations = {};
    // false: an operator a step. Slower; for finding out what fusion does, and for the recovery ladder.
    bool fuse = true;
};

class INVAR_API CompiledFunction {
public:
    CompiledFunction() = default;
    bool defined() const noexcept { return impl_ != nullptr; }
    // inputs: evaluated contiguous tensors that fit the specs. outputs: tensors made with Tensor::empty that receive
    // the results, in order; nothing is allocated. Donated outputs take an undefined Tensor. Does not wait.
    void run(std::span<const Tensor> inputs, std::span<const Tensor> outputs) const;
    // As run, into new tensors.
    std::vector<Tensor> operator()(std::span<const Tensor> inputs) const;
    void synchronize() const;  // waits; throws the error of a failed step
    // The schedule, one line a step.
    std::string to_text() const;
    int steps() const;
    std::size_t arena_bytes() const;
    // The arena as a picture (SVG): steps across, offsets up, one rectangle a value.
    std::string arena_picture(std::string_view title = "compiled function") const;

private:
    friend INVAR_API CompiledFunction
    compile(const std::function<std::vector<Tensor>(std::span<const Tensor>)>& function,
            std::span<const InputSpec> inputs, const std::shared_ptr<Device>& device,
            const CompileOptions& options);
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

INVAR_API CompiledFunction
compile(const std::function<std::vector<Tensor>(std::span<const Tensor>)>& function,
        std::span<const InputSpec> inputs, const std::shared_ptr<Device>& device,
        const CompileOptions& options = {});

}  // namespace invar
