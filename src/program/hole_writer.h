// SPDX-License-Identifier: Apache-2.0
// Writes a pointwise program as a function of a kernel family's own kernel: its prologue, which makes the elements
// that the kernel would have loaded, or its epilogue, which takes those that it would have stored. One buffer of
// the program, the through buffer, stays in registers; the others are the operands. The family's index space has
// rows of n elements.
//
// In CUDA C++ the text is a namespace NAME with
//   using Value                     the type of the elements in registers
//   struct Row                      one row of every operand
//     bool aligned<N>() const         N elements of each operand lie at multiples of their size, or of 16 bytes
//     struct Raw<N>                   what the program reads of N elements, as it lies in memory; kBytes, of several a row
//     void load<N>(i, Raw<N>& raw)    of elements i to i + N - 1 of the row; load<N, true>: nobody reads them again
//     void run<N>(i, raw, Value (&v)[N])  the program for these elements
//     void run<N>(i, Value (&v)[N])   both
//   Row row(OPERANDS, r, n, words)  row number r
//   kWords                          64-bit words of the launch: sizes of the rows' axes, strides of each strided
//                                   operand along them, scalars
// and two macros, PREFIX_PARAMETERS and PREFIX_ARGUMENTS, which declare and pass the operands, each with a comma
// behind it.
//
// In portable C, as OpenCL C 1.2 or in the Metal Shading Language (kernels/portable_prelude.k), it is a struct NAME_Row, made by NAME_row as above, and
//   NAME_Value NAME_run(row, i, v)  the program for element i; a prologue does not look at v and returns the element
// with macros for the kernel's arguments: PREFIX_COUNT of them, PREFIX_PARAMETERS, PREFIX_POINTERS in the body and
// PREFIX_ARGUMENTS to pass on, and PREFIX_WORDS.
#pragma once

#include <span>
#include <string>

#include "program/program.h"
#include "program/writer.h"

namespace invar {

inline constexpr int kMaxHoleAxes = 3;

struct HoleOperand {
    DType dtype = DType::f32;
    bool flat = true;      // row after row without a gap; else strided along the axes of the rows
    bool along = true;     // strided: neighbours of a row lie side by side; else it has one element a row
    bool written = false;  // by the program
    friend bool operator==(const HoleOperand&, const HoleOperand&) = default;
};

// Functions that programs use, in CUDA C++ and on Metal in a namespace of their own: once before the holes of a source. Without
// f64 in OpenCL and on Metal.
std::string hole_prelude(Language language);
// name: of the namespace, in small letters; the macros begin with it in capitals. through: number of that buffer.
// operands: the other buffers, in order; axes: of the rows, 1 to kMaxHoleAxes.
std::string write_hole(const Program& program, std::size_t through, std::span<const HoleOperand> operands,
                       int axes, std::string_view name, Language language);

}  // namespace invar
