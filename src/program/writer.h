// SPDX-License-Identifier: Apache-2.0
// The writer: turns programs into source text for a device's compiler. No header is needed at run time but those that a
// compiler carries in itself (Metal's). grid_writer.h says what becomes of grid programs; the rest here is of pointwise ones.
//
// For a program NAME the text has two kernels, and for large index spaces a third:
//   NAME_flat       every buffer is contiguous over the launch: 16-byte accesses where addresses allow
//   NAME_view       strided buffers are addressed through dims and strides, with 32-bit index arithmetic
//   NAME_view_wide  the same with 64-bit arithmetic
// Arguments: a pointer to the first byte of each buffer in the order of the program (OpenCL: a pointer to its memory, and
// the offset of that byte as a 64-bit number), then one struct of 64-bit words (WrittenLaunch::words; OpenCL: a constant
// pointer to them where opencl_words_in_memory says so; Metal: buffers at the indices 0, 1, ... and the words behind them, in
// constant memory): elements, rank, dims (kMaxPointwiseRank), scalars, for each strided buffer the offset of index 0 in
// elements, for each strided buffer its strides (kMaxPointwiseRank), the elements of each buffer that is loaded from at
// addresses that depend on data; programs with such loads report faults (program_faults.h). Blocks have kWriterBlock threads;
// any grid will do.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <invar/export.h>

#include "program/pointwise.h"
#include "program/program.h"

namespace invar {

inline constexpr int kWriterBlock = 256;

enum class Language { cuda, opencl, metal };

// Throws Unsupported, naming the program, for stores of pointwise programs to addresses that depend on data, which happen in the
// order of the indices (where two meet, the last one stays); in Metal, which has neither, also for f64 and for atomics of
// 64 bits. The OpenCL text needs cl_khr_fp64 where a
// program uses f64, cl_khr_int64_base_atomics where it has atomics of 64 bits, and no other extension. MEMBAR needs Metal 3.2.
INVAR_API std::string write_source(std::span<const Program> programs, Language language);

// Whether a register, a parameter, a shared array or an instruction of the program has that type.
INVAR_API bool uses_type(const Program& program, DType type);
// Whether the arguments of an OpenCL kernel of the program are more than every device takes by value.
INVAR_API bool opencl_words_in_memory(const Program& program);

// Elements that one thread of NAME_flat handles at once.
INVAR_API int vector_width(const Program& program);

// Where a buffer of a launch lies and how much of it the reference holds.
struct PlacedBuffer {
    std::uint64_t address = 0;
    std::size_t bytes = 0;
};

// A launch of a written program: checked against the sizes of the buffers, neighbouring dimensions merged.
struct WrittenLaunch {
    static constexpr std::size_t kMaxWords =
        2 + kMaxPointwiseRank + kMaxProgramScalars + kMaxProgramBuffers * (2 + kMaxPointwiseRank);
    std::int64_t elements = 0;
    bool flat = false;  // NAME_flat may run it
    bool wide = false;  // 32-bit arithmetic does not reach
    std::size_t word_count = 0;
    std::array<std::int64_t, kMaxWords> words;
};
// What a program needs to know of itself to be launched; made once.
class INVAR_API ProgramShape {
public:
    explicit ProgramShape(const Program& program);
    std::size_t buffers() const noexcept { return buffers_.size(); }
    // params: a block of write_pointwise_params. Throws InvalidArgument, as the
    // interpreter does, for a launch that does not fit. Allocates nothing.
    void prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                 WrittenLaunch& out) const;

private:
    struct BufferShape {
        std::string name;
        std::size_t element = 0;           // bytes
        int strided = -1;                  // number among the strided ones
        bool by_gid = false;               // addressed by the index
        bool by_data = false;              // and by what depends on data
        std::int64_t constant_extent = 0;  // elements that constant addresses reach
    };
    std::string name_;
    std::vector<BufferShape> buffers_;
    int strided_ = 0;
    int scalars_ = 0;
};

}  // namespace invar
