// SPDX-License-Identifier: Apache-2.0
// A verified program over small buffers of any content: it ends, is refused, or runs out of steps, and touches nothing
// outside them (the sanitizers watch).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include <invar/error.h>

#include "base/thread_pool.h"
#include "program/grid_interpreter.h"
#include "program/interpreter.h"
#include "program/optimize/optimize.h"
#include "program/pointwise.h"

namespace invar::fuzz {

struct Numbers {  // a small generator seeded by the input
    std::uint64_t state;
    std::uint64_t next(std::uint64_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return (state >> 33) % below;
    }
};

inline void run_pointwise(const Program& program, Numbers& numbers) {
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

inline void run_grid(const Program& program, Numbers& numbers) {
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

// Also that its text is read back as the same program, and that the optimiser makes a program of it.
inline void run(const Program& program, Numbers& numbers) {
    Program faster;
    try {
        const std::string printed = to_text(program);
        if (to_text(assemble(printed)) != printed) std::abort();
        faster = optimize(program);
    } catch (const FormatError&) {
        std::abort();
    }
    for (const Program& p : {program, faster})
        if (p.is_grid())
            run_grid(p, numbers);
        else
            run_pointwise(p, numbers);
}

// Seeded by the input.
inline Numbers numbers_of(const std::uint8_t* data, std::size_t size) {
    Numbers numbers{size};
    for (std::size_t i = 0; i < size; ++i) numbers.state = numbers.state * 31 + data[i];
    return numbers;
}

}  // namespace invar::fuzz
