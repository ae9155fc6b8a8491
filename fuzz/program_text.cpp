// SPDX-License-Identifier: Apache-2.0
// Any text as kernel programs and as an operator body. What assembles must print to a text that assembles to
// the same text, and must run over small buffers without touching anything outside them: it ends, is refused, or
// runs out of steps.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include <invar/error.h>

#include "base/thread_pool.h"
#include "program/builder.h"
#include "program/grid_interpreter.h"
#include "program/interpreter.h"
#include "program/pointwise.h"

namespace {

using namespace invar;

struct Numbers {  // a small generator seeded by the input
    std::uint64_t state;
    std::uint64_t next(std::uint64_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return (state >> 33) % below;
    }
};

void run(const Program& program, Numbers& numbers) {
    const CompiledProgram compiled(program);
    const std::size_t rank = numbers.next(4);
    std::int64_t dims[3], strides[kMaxProgramBuffers * 3];
    std::int64_t elements = 1;
    for (std::size_t d = 0; d < rank; ++d)
        elements *= dims[d] = static_cast<std::int64_t>(numbers.next(d == 0 ? 5 : 40));
    std::size_t strided = 0;
    std::vector<std::unique_ptr<std::byte[]>> memory;
    std::vector<NativeBuffer> buffers;
    std::vector<std::uint64_t> scalars;
    for (const Parameter& p : program.parameters) {
        if (!p.buffer) {
            scalars.push_back(value_bits(p.dtype, static_cast<double>(numbers.next(100))));
            continue;
        }
        // Sometimes too small: that must be refused.
        const std::size_t bytes =
            static_cast<std::size_t>(elements + (numbers.next(16) == 0 && elements > 0 ? -1 : 3)) *
            size_of(p.dtype);
        memory.push_back(std::make_unique<std::byte[]>(bytes));
        for (std::size_t i = 0; i < bytes; ++i) memory.back()[i] = static_cast<std::byte>(numbers.next(256));
        buffers.push_back({memory.back().get(), bytes});
        if (p.strided) {
            std::int64_t step = 1;
            for (std::size_t d = rank; d-- > 0;) {
                strides[strided * rank + d] =
                    numbers.next(8) == 0 ? static_cast<std::int64_t>(numbers.next(9)) - 4 : step;
                step *= dims[d];
            }
            ++strided;
        }
    }
    std::byte params[kMaxPointwiseParamsBytes];
    const std::size_t n =
        write_pointwise_params(params, std::span(dims, rank), std::span(strides, strided * rank), scalars);
    static ThreadPool pool(1);
    try {
        compiled.run(buffers, std::span(params, n), pool);
    } catch (const InvalidArgument&) {}
}

void run_grid(const Program& program, Numbers& numbers) {
    constexpr std::uint64_t kSteps = 2000;
    const GridProgram compiled(program);
    GridDims grid{1 + static_cast<std::uint32_t>(numbers.next(2)), 1, 1};
    GridDims block{1 + static_cast<std::uint32_t>(numbers.next(40)),
                   1 + static_cast<std::uint32_t>(numbers.next(2)), 1};
    if (program.block[0] != 0) block = program.block;
    std::vector<std::unique_ptr<std::byte[]>> memory;
    std::vector<NativeBuffer> buffers;
    std::vector<std::uint64_t> scalars;
    for (const Parameter& p : program.parameters) {
        if (!p.buffer) {
            scalars.push_back(value_bits(p.dtype, static_cast<double>(numbers.next(100))));
            continue;
        }
        const std::size_t bytes = numbers.next(100) * size_of(p.dtype);
        memory.push_back(std::make_unique<std::byte[]>(bytes));
        for (std::size_t i = 0; i < bytes; ++i) memory.back()[i] = static_cast<std::byte>(numbers.next(256));
        buffers.push_back({memory.back().get(), bytes});
    }
    std::byte params[kMaxGridParamsBytes];
    const std::size_t n = write_grid_params(params, 7, scalars);
    static ThreadPool pool(1);
    try {
        compiled.run(grid, block, buffers, std::span(params, n), pool, kSteps);
    } catch (const LaunchFailed&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    Numbers numbers{size};
    for (std::size_t i = 0; i < size; ++i) numbers.state = numbers.state * 31 + data[i];
    try {
        for (const Program& program : assemble_module(text)) {
            const std::string printed = to_text(program);
            if (to_text(assemble(printed)) != printed) std::abort();
            if (program.is_grid())
                run_grid(program, numbers);
            else
                run(program, numbers);
        }
    } catch (const FormatError&) {}
    try {
        const Body body = parse_body(text);
        ProgramBuilder b;
        std::vector<Reg> inputs, scalars;
        for (int i = 0; i < body.inputs; ++i)
            inputs.push_back(b.load(b.add_buffer(DType::f32, false, Access::read)));
        for (std::size_t i = 0; i < body.scalars.size(); ++i)
            scalars.push_back(b.scalar(b.add_scalar(DType::f32)));
        const Reg y = b.inline_body(body, DType::f32, inputs, scalars);
        b.store(b.add_buffer(b.type(y), true, Access::write), y);
        run(b.finish("body"), numbers);
    } catch (const FormatError&) {
    } catch (const Unsupported&) {}
    return 0;
}
