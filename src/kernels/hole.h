// SPDX-License-Identifier: Apache-2.0
// Holes of a family's kernels: a pointwise program that runs over the elements as they are loaded (prologue), or
// over the results before they are stored (epilogue). A family whose specification has a HoleSpec lays its work
// out as rows of n elements; the program's operands are arrays of that layout, vectors along the row, one element
// a row, or one of them along some of up to kMaxHoleAxes axes that the rows are counted by. Values pass in
// registers at their compute type: what has 16 bits in memory is not rounded in between, f32 has the bits of two
// kernels.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"
#include "kernels/cost.h"
#include "kernels/kernel_call.h"
#include "program/hole_writer.h"
#include "program/interpreter.h"
#include "program/program.h"

namespace invar::kernels {

inline constexpr std::size_t kMaxHoleOperands = 6;
inline constexpr std::size_t kMaxHoleScalars = 4;

// What a hole runs, apart from sizes: one for each program and kind of operands, made once and kept for good.
class INVAR_API Hole {
public:
    // text: of one pointwise program. through: the buffer (by number) that stays in registers: the one that a
    // prologue stores, or an epilogue loads. operands: the other buffers, in order, `written` apart, which follows
    // from the program. nullptr for what no hole takes: positions as values, addresses that are not the element's
    // own, too many operands, a store to an operand that is not flat.
    // keeps: a prologue whose elements are stored as well, into a flat operand behind the others.
    static const Hole* make(std::string_view text, std::size_t through, std::vector<HoleOperand> operands,
                            int axes, bool keeps = false);

    const Program& program() const { return program_; }
    std::size_t through() const { return through_; }
    bool prologue() const { return prologue_; }
    std::span<const HoleOperand> operands() const { return operands_; }
    int axes() const { return axes_; }
    DType value() const { return value_; }  // of an element in registers
    // Of what it computes, for the titles of modules.
    const char* name() const { return name_.c_str(); }
    // The text called "prologue" or "epilogue" (program/hole_writer.h).
    const char* source(Language language) const;
    bool uses_f64() const { return uses_type(program_, DType::f64); }
    // The same program for the interpreter, the through buffer as wide as its values.
    const CompiledProgram& interpreted() const;

private:
    Hole() = default;
    Program program_;
    std::size_t through_ = 0;
    bool prologue_ = true;
    std::vector<HoleOperand> operands_;
    int axes_ = 1;
    DType value_ = DType::f32;
    std::string name_;
    struct Written {
        std::once_flag once;
        std::string text;
    };
    mutable std::array<Written, 3> written_;  // by language
    mutable std::once_flag compiled_;
    mutable std::unique_ptr<const CompiledProgram> interpreted_;
};

// The part of a specification; plain data. sizes: of the axes that the rows are counted by, outermost first.
// strides: of each operand that is not flat, elements of a step along those axes.
struct HoleSpec {
    const Hole* hole = nullptr;
    std::int64_t sizes[kMaxHoleAxes] = {1, 1, 1};
    std::int64_t strides[kMaxHoleOperands][kMaxHoleAxes] = {};
    std::uint64_t scalars[kMaxHoleScalars] = {};  // bits
    explicit operator bool() const { return hole != nullptr; }
};

// What the holes of a specification bring to a source: the parts that stand before the family's own, and the names
// that its title has them by; "" where there is no hole.
struct HoleParts {
    HoleParts(const HoleSpec& prologue, const HoleSpec& epilogue, Language language);
    const char *prelude = "", *prologue = "", *epilogue = "", *prologue_name = "", *epilogue_name = "";
    const char* ends = "";  // behind them, also without holes: hole_ends.k; not on CUDA
};
// Buffer number `at` of a call and those behind it, and `at` behind them: an array of that many bytes, or the
// operands of a hole in its place.
void put_bytes(KernelCall& call, std::size_t& at, const HoleSpec& hole, std::int64_t rows, std::int64_t n,
               std::size_t array);
// The parameters of a written kernel: its own, a multiple of 8 bytes, then the words of its holes, at least one each.
void put_words(KernelCall& call, const HoleSpec& hole);
template <class P>
void set_params(KernelCall& call, const P& own, const HoleSpec& prologue, const HoleSpec& epilogue) {
    static_assert(sizeof(P) % sizeof(std::int64_t) == 0);
    call.set_params(own);
    put_words(call, prologue);
    put_words(call, epilogue);
}

// Throws InvalidArgument unless the sizes make `rows` and no stride is negative, and unless the hole is of that
// kind and its values are those of `through`.
void check_hole(const HoleSpec& spec, bool prologue, std::int64_t rows, std::int64_t n, DType through,
                const char* family);
// What it moves, and its operations for one pass over the elements.
Cost cost(const HoleSpec& spec, std::int64_t rows, std::int64_t n);

// On the cpu: these elements, counted through all rows; values: theirs, side by side at the compute type.
void run_hole(const HoleSpec& spec, std::int64_t rows, std::int64_t n, std::span<const NativeBuffer> operands,
              std::byte* values, const IndexRanges& elements);

}  // namespace invar::kernels
