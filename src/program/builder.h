// SPDX-License-Identifier: Apache-2.0
// Programs made from C++: the graph compiler puts a fused region together with a ProgramBuilder, from loads,
// stores and the bodies of the operator table.
//
// A body is program text for one pointwise operator: "SIGMOID t, x; MUL y, x, t". Inputs are named x for one
// and a, b, c for up to three; y is the result and must be written; a name that is written is a local; any
// other name is a scalar attribute. Instructions without a type suffix are instantiated at the compute type
// when the body is inlined, those with the suffix .result at the type that the result is stored in ("EXP.result y, x" is
// EXP.f16 for a result of f16). Parameters of the finished program are named b0, b1, ... and s0, s1, ... in the
// order in which they were added, so that equal regions give equal text.
#pragma once

#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "program/program.h"

namespace invar {

struct BodyOperand {
    enum class Kind : std::uint8_t { input, scalar, local, number };
    Kind kind = Kind::local;
    int index = 0;     // input 0..2, scalar number, local number
    std::string text;  // number: as written, read at the type of its use
    friend bool operator==(const BodyOperand&, const BodyOperand&) = default;
};

struct BodyInstruction {
    Opcode opcode = Opcode::MOV;
    // Its type: the one that the body is inlined at, that of the operator's result in memory, or one by name.
    enum class At : std::uint8_t { compute, result, named };
    At at = At::compute;
    DType type = DType::f32;  // named
    int dst = 0;              // local number
    std::vector<BodyOperand> src;
};

struct Body {
    std::string text;
    std::vector<BodyInstruction> instructions;
    int inputs = 0;  // 1 where x is used, else one more than the last of a, b, c that is used
    std::vector<std::string> scalars;  // names of attributes, in order of first use
    int locals = 0;
    int result = -1;  // local number of y
};

// Throws FormatError with line and column. LDG and STG are refused.
INVAR_API Body parse_body(std::string_view text);

// A value of a program under construction: a register, a scalar parameter or an immediate.
struct Reg {
    int id = -1;
    friend bool operator==(Reg, Reg) = default;
};

class INVAR_API ProgramBuilder {
public:
    // Number of the buffer or scalar among its kind: the order in which a launch passes them. Throws
    // Unsupported beyond the limits of program.h.
    int add_buffer(DType dtype, bool strided, Access access);
    int add_scalar(DType dtype);

    // The buffer's element at gid, widened to compute_type(dtype). Loading twice gives the same register
    // unless something was stored in between.
    Reg load(int buffer);
    // The element at index (of an integer type, in elements from the buffer's start), checked at run time.
    Reg load_at(int buffer, Reg index);
    // value must have the type compute_type(dtype of the buffer).
    void store(int buffer, Reg value);
    void store_at(int buffer, Reg index, Reg value);
    Reg scalar(int scalar);
    Reg immediate(DType type, double value);
    Reg immediate_integer(DType type, std::int64_t value);
    Reg grid_index(DType type);  // gid as i32, u32, i64 or u64
    // The value as another type (CVT); the same register where the type is the same already.
    Reg convert(Reg value, DType type);
    // One instruction at a type; its result (SET gives pred). Throws FormatError for operands that do not
    // fit.
    Reg emit(Opcode opcode, DType type, std::span<const Reg> operands);
    Reg emit(Opcode opcode, DType type, std::initializer_list<Reg> operands) {
        return emit(opcode, type, std::span<const Reg>(operands.begin(), operands.size()));
    }
    // The body's instructions with inputs and scalars put in; the value of y. result: what y is stored as, of which
    // compute_type is the type in registers.
    Reg inline_body(const Body& body, DType compute_type, DType result, std::span<const Reg> inputs,
                    std::span<const Reg> scalars = {});

    DType type(Reg value) const;
    int buffers() const { return static_cast<int>(buffers_.size()); }
    int scalars() const { return static_cast<int>(scalars_.size()); }
    int instructions() const { return static_cast<int>(program_.instructions.size()); }
    // Removes what no store needs, verifies, and hands the program over; the builder is empty afterwards.
    Program finish(std::string_view name);

private:
    struct Value {
        Operand operand;
        DType type;
    };
    Reg add_value(Operand operand, DType type);
    Reg append(Instruction instruction, DType result);
    const Value& value(Reg r) const;
    int buffer_parameter(int buffer, Access wanted, const char* what) const;

    Program program_;
    std::vector<Value> values_;
    std::vector<int> buffers_, scalars_;  // their parameter indices
    std::vector<Access> declared_;        // of buffers_
    std::map<int, Reg> loaded_;
    std::map<std::pair<int, std::uint64_t>, Reg> immediates_;
};

}  // namespace invar
