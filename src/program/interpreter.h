// SPDX-License-Identifier: Apache-2.0
// The vectorised interpreter: runs a pointwise program on the CPU, block after block. A block is some 512
// indices whose registers stay in the first-level cache; each instruction is one call of a vector kernel over
// the block. The kernels are compiled for every instruction set that Highway knows here and chosen at run
// time; results have the same bits on all of them.
//
// Aliasing: a buffer may be passed twice, as input and output. A lane's own loads and stores happen in
// program order; where different lanes touch the same element and one of them writes, which comes first is
// not defined. Programs with a store to a data-dependent address run on one thread, in index order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <invar/export.h>

#include "device/module.h"
#include "program/program.h"

namespace invar {

class ThreadPool;

// count ranges of length indices, the first from begin on, the others step behind one another.
struct IndexRanges {
    std::int64_t begin = 0, length = 0, count = 1, step = 0;
};

class INVAR_API CompiledProgram {
public:
    // Verifies the program (FormatError) and prepares it.
    explicit CompiledProgram(const Program& program);
    ~CompiledProgram();
    CompiledProgram(CompiledProgram&&) noexcept;
    CompiledProgram& operator=(CompiledProgram&&) noexcept;

    const std::string& name() const noexcept;
    int buffers() const noexcept;
    int scalars() const noexcept;

    // Runs over the index space that params gives (pointwise.h). buffers: one for each buffer parameter, in
    // order, its data aligned to its element. Every access is checked before anything is written, except
    // data-dependent ones, which are checked as they come. Throws InvalidArgument naming program, parameter
    // and sizes. No heap allocation; small launches run on the calling thread.
    void run(std::span<const NativeBuffer> buffers, std::span<const std::byte> params,
             ThreadPool& pool) const;

    // Some indices of the same index space on the calling thread: what a kernel family runs before or behind its own
    // work (kernels/hole.h). Buffer number `moved`, a contiguous one, holds the elements of these ranges alone, side by
    // side.
    void run_ranges(std::span<const NativeBuffer> buffers, std::span<const std::byte> params,
                    std::size_t moved, const IndexRanges& ranges) const;

    // One tile on the calling thread. Every buffer is contiguous over n indices,
    // strided ones too; scalars: bits.
    void run_tile(std::span<const NativeBuffer> buffers, std::int64_t n,
                  std::span<const std::uint64_t> scalars = {}) const;

private:
    struct Impl;
    std::unique_ptr<const Impl> impl_;
};

// The instruction sets that this machine can run, best first ("AVX3", "AVX2", "SSE4"). Programs prepared
// after use_vector_target(name) run on that one; "" goes back to the best. For tests of equal bits; not
// thread-safe.
INVAR_API std::vector<std::string> vector_targets();
INVAR_API void use_vector_target(std::string_view name);

}  // namespace invar
