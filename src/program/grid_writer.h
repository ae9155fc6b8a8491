// SPDX-License-Identifier: Apache-2.0
// The writer of grid programs. For a program NAME the text has one kernel NAME_grid, launched with the grid and block of the
// launch. Arguments: the buffers as in writer.h, one struct of 64-bit words (GridWords), and where to report faults
// (program_faults.h). Metal: buffers at the indices 0, 1, ..., then the words, then the faults.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <invar/export.h>

#include "program/grid.h"
#include "program/writer.h"

namespace invar {

// What comes after writer_prelude.h when a text has grid programs.
std::string grid_prelude(std::span<const Program> programs, Language language);
std::string write_grid_program(const Program& program, Language language);

// A launch's words: the element count, the elements of each buffer, the scalars.
struct GridWords {
    std::size_t count = 0;
    std::array<std::int64_t, 1 + kMaxProgramBuffers + kMaxProgramScalars> words;
};

// What a grid program needs to know of itself to be launched; made once.
class INVAR_API GridShape {
public:
    explicit GridShape(const Program& program);
    // params: a block of write_grid_params. Throws InvalidArgument, as the interpreter does, for a launch that does not fit.
    // Allocates nothing unless it throws.
    void prepare(std::span<const std::byte> params, const GridDims& grid, const GridDims& block,
                 std::span<const PlacedBuffer> placed, GridWords& out) const;

private:
    Program program_;
    std::vector<int> buffers_;
    std::size_t scalars_ = 0;
};

// Bytes of a block's memory that the OpenCL and Metal texts take beside the shared arrays: what warps exchange goes through it.
INVAR_API std::uint64_t grid_scratch_bytes(const Program& program);
// Whether lanes meet (SHFL, RED, BAR.SYNC) under an IF, which all lanes of a block then take together.
INVAR_API bool meets_under_if(const Program& program);
// Whether the program has atomics of 64-bit types, which OpenCL devices may lack and Metal devices do.
INVAR_API bool uses_wide_atomics(const Program& program);

}  // namespace invar
