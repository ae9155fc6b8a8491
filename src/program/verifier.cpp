// SPDX-License-Identifier: Apache-2.0
// What must hold for every program, wherever it came from: after this the interpreter and the writers look at
// nothing again except buffer sizes and data-dependent addresses.
#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "program/program.h"

namespace invar {
namespace {

bool is_name(const std::string& s) {
    if (s.empty() || s.size() > kMaxProgramNameLength || (s[0] >= '0' && s[0] <= '9')) return false;
    return std::all_of(s.begin(), s.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    });
}

bool is_reserved(const std::string& s) {
    if (s == "gid" || s == "inf" || s == "nan" || s == "true" || s == "false") return true;
    return s.size() > 1 && s[0] == 'r' &&
           std::all_of(s.begin() + 1, s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class Verifier {
public:
    explicit Verifier(const Program& p) : p_(p) {}

    void run() {
        if (!is_name(p_.name)) refuse("the program's name must be letters, digits and '_', at most 64");
        parameters();
        if (p_.instructions.size() > static_cast<std::size_t>(kMaxProgramInstructions))
            refuse(std::to_string(p_.instructions.size()) + " instructions, at most " +
                   std::to_string(kMaxProgramInstructions) + " are allowed");
        for (at_ = 0; at_ < p_.instructions.size(); ++at_) instruction(p_.instructions[at_]);
        if (written_ != p_.registers.size()) {
            at_ = kNowhere;
            refuse("it lists " + std::to_string(p_.registers.size()) + " registers but writes " +
                   std::to_string(written_));
        }
    }

private:
    static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

    [[noreturn]] void refuse(const std::string& rule) const {
        std::string where = "program '" + (is_name(p_.name) ? p_.name : std::string("?")) + "': ";
        if (at_ != kNowhere) {
            const Instruction& i = p_.instructions[at_];
            where += i.line > 0 ? "line " + std::to_string(i.line) : "instruction " + std::to_string(at_);
            if (static_cast<int>(i.opcode) < kOpcodeCount) where += ", " + std::string(info(i.opcode).name);
            where += ": ";
        }
        throw FormatError(where + rule);
    }

    void parameters() {
        std::set<std::string> names;
        int buffers = 0, scalars = 0;
        for (const Parameter& q : p_.parameters) {
            if (!is_name(q.name)) refuse("a parameter's name must be letters, digits and '_', at most 64");
            if (is_reserved(q.name))
                refuse("parameter '" + q.name +
                       "' has a reserved name (gid, inf, nan, true, false, r0, r1, ...)");
            if (!names.insert(q.name).second) refuse("two parameters are called '" + q.name + "'");
            if (static_cast<int>(q.dtype) >= kDTypeCount)
                refuse("parameter '" + q.name + "' has no valid type");
            if (!q.buffer && (kTypesCompute & type_bit(q.dtype)) == 0)
                refuse("scalar '" + q.name + "' is " + std::string(dtype_name(q.dtype)) +
                       ", a storage type; make it f32");
            if (!q.buffer && q.strided) refuse("scalar '" + q.name + "' cannot be strided");
            ++(q.buffer ? buffers : scalars);
        }
        if (buffers > kMaxProgramBuffers)
            refuse(std::to_string(buffers) + " buffers, at most " + std::to_string(kMaxProgramBuffers) +
                   " are allowed");
        if (scalars > kMaxProgramScalars)
            refuse(std::to_string(scalars) + " scalars, at most " + std::to_string(kMaxProgramScalars) +
                   " are allowed");
    }

    DType register_type(std::uint64_t r) const {
        if (r >= written_) refuse("register r" + std::to_string(r) + " is read before it is written");
        return p_.registers[static_cast<std::size_t>(r)];
    }

    void immediate(std::uint64_t bits, DType type) const {
        const std::size_t width = size_of(type) * 8;
        if (width < 64 && (bits >> width) != 0) refuse("an immediate has bits above its type's width");
        if (type == DType::pred && bits > 1) refuse("a pred immediate is 0 or 1");
        const bool odd_nan =
            (type == DType::f32 && std::isnan(std::bit_cast<float>(static_cast<std::uint32_t>(bits))) &&
             bits != 0x7fc00000u) ||
            (type == DType::f64 && std::isnan(std::bit_cast<double>(bits)) && bits != 0x7ff8000000000000u);
        if (odd_nan) refuse("a NaN immediate must be the quiet one");
    }

    void source(const Instruction& i, int k) const {
        const Operand& o = i.src[k];
        const std::string which = "operand " + std::to_string(k + 1);
        const DType wanted = i.opcode == Opcode::SEL && k == 0 ? DType::pred : compute_type(i.type);
        DType got = wanted;
        switch (o.kind) {
            case Operand::Kind::none: refuse(which + " is missing");
            case Operand::Kind::reg: got = register_type(o.value); break;
            case Operand::Kind::scalar:
                if (o.value >= p_.parameters.size() ||
                    p_.parameters[static_cast<std::size_t>(o.value)].buffer)
                    refuse(which + " is not a scalar parameter");
                got = p_.parameters[static_cast<std::size_t>(o.value)].dtype;
                break;
            case Operand::Kind::immediate:
                if (i.opcode == Opcode::CVT) refuse("CVT of an immediate");
                immediate(o.value, wanted);
                break;
            case Operand::Kind::gid:
                if (i.opcode != Opcode::MOV || (i.type != DType::i32 && i.type != DType::u32 &&
                                                i.type != DType::i64 && i.type != DType::u64))
                    refuse(which + ": gid may only be read by MOV.i32, MOV.u32, MOV.i64 and MOV.u64");
                if (o.value != 0) refuse(which + ": gid carries no value");
                break;
            default: refuse(which + " is of no known kind");
        }
        if (i.opcode != Opcode::CVT && got != wanted)
            refuse(which + " is " + std::string(dtype_name(got)) + ", needs " +
                   std::string(dtype_name(wanted)));
    }

    void instruction(const Instruction& i) {
        if (static_cast<int>(i.opcode) >= kOpcodeCount) refuse("unknown instruction");
        if (static_cast<int>(i.type) >= kDTypeCount) refuse("unknown type");
        const InstructionInfo& row = info(i.opcode);
        if ((row.types & type_bit(i.type)) == 0)
            refuse("does not work on " + std::string(dtype_name(i.type)));
        const bool memory = i.opcode == Opcode::LDG || i.opcode == Opcode::STG;
        if (memory) {
            address(i);
        } else if (i.buffer != -1 || i.address.kind != Operand::Kind::none) {
            refuse("only LDG and STG have an address");
        }
        for (int k = 0; k < 3; ++k) {
            if (k < row.operands) {
                source(i, k);
            } else if (i.src[k].kind != Operand::Kind::none) {
                refuse("takes " + std::to_string(row.operands) + " operands, got more");
            }
        }
        if (i.opcode == Opcode::STG) {
            if (i.dst != -1) refuse("writes no register");
            return;
        }
        if (i.dst < 0 || static_cast<std::size_t>(i.dst) != written_ || written_ >= p_.registers.size())
            refuse("registers must be written once, in the order of their numbers");
        const DType result = is_set(i.opcode) ? DType::pred : compute_type(i.type);
        if (p_.registers[written_] != result)
            refuse("r" + std::to_string(i.dst) + " is listed as another type than it is written with");
        ++written_;
    }

    void address(const Instruction& i) const {
        if (i.buffer < 0 || static_cast<std::size_t>(i.buffer) >= p_.parameters.size())
            refuse("its buffer is no parameter");
        const Parameter& q = p_.parameters[static_cast<std::size_t>(i.buffer)];
        if (!q.buffer) refuse("'" + q.name + "' is a scalar, it has no address");
        if (q.dtype != i.type)
            refuse("'" + q.name + "' holds " + std::string(dtype_name(q.dtype)) + ", the instruction names " +
                   std::string(dtype_name(i.type)));
        const auto bit = static_cast<int>(i.opcode == Opcode::LDG ? Access::read : Access::write);
        if ((static_cast<int>(q.access) & bit) == 0)
            refuse("'" + q.name + "' is not declared to be " +
                   (i.opcode == Opcode::LDG ? "read" : "written"));
        switch (i.address.kind) {
            case Operand::Kind::gid: break;
            case Operand::Kind::reg: {
                const DType t = register_type(i.address.value);
                if (!is_int(t))
                    refuse("the index r" + std::to_string(i.address.value) + " is " +
                           std::string(dtype_name(t)) + ", needs an integer");
                break;
            }
            case Operand::Kind::immediate:
                if (static_cast<std::int64_t>(i.address.value) < 0) refuse("a negative constant index");
                break;
            default: refuse("an address is buffer + gid, a register or a constant");
        }
    }

    const Program& p_;
    std::size_t at_ = kNowhere;
    std::size_t written_ = 0;
};

}  // namespace

void verify(const Program& program) { Verifier(program).run(); }

}  // namespace invar
