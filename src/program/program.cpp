// SPDX-License-Identifier: Apache-2.0
// The program itself and its canonical text.
#include "program/program.h"

#include "program/number.h"

namespace invar {
namespace {

std::string print_operand(const Program& p, const Operand& o, DType type) {
    switch (o.kind) {
        case Operand::Kind::reg: return "r" + std::to_string(o.value);
        case Operand::Kind::scalar: return p.parameters[static_cast<std::size_t>(o.value)].name;
        case Operand::Kind::immediate: return print_immediate(o.value, type);
        case Operand::Kind::gid: return "gid";
        case Operand::Kind::none: break;
    }
    return "?";
}

}  // namespace

std::vector<int> Program::buffers() const {
    std::vector<int> out;
    for (std::size_t i = 0; i < parameters.size(); ++i)
        if (parameters[i].buffer) out.push_back(static_cast<int>(i));
    return out;
}

std::vector<int> Program::scalars() const {
    std::vector<int> out;
    for (std::size_t i = 0; i < parameters.size(); ++i)
        if (!parameters[i].buffer) out.push_back(static_cast<int>(i));
    return out;
}

int Program::cost() const {
    int sum = 0;
    for (const Instruction& i : instructions) sum += info(i.opcode).cost;
    return sum;
}

std::string to_text(const Program& program) {
    std::string out = ".program " + program.name + "\n";
    for (const Parameter& p : program.parameters) {
        out += ".param " + p.name + ": " + std::string(dtype_name(p.dtype));
        if (p.buffer) out += p.strided ? "* strided" : "*";
        out += '\n';
    }
    for (const Instruction& i : program.instructions) {
        const InstructionInfo& row = info(i.opcode);
        out += std::string(row.name) + "." + std::string(dtype_name(i.type)) + " ";
        const auto address = [&] {
            return "[" + program.parameters[static_cast<std::size_t>(i.buffer)].name + " + " +
                   print_operand(program, i.address, DType::i64) + "]";
        };
        if (i.opcode == Opcode::STG) {
            out += address() + ", " + print_operand(program, i.src[0], compute_type(i.type)) + "\n";
            continue;
        }
        out += "r" + std::to_string(i.dst);
        if (i.opcode == Opcode::LDG) out += ", " + address();
        for (int k = 0; k < row.operands; ++k) {
            // A conversion's source has a type of its own; the verifier allows no immediate there.
            const DType type = i.opcode == Opcode::SEL && k == 0 ? DType::pred : i.type;
            out += ", " + print_operand(program, i.src[k], type);
        }
        out += '\n';
    }
    return out;
}

}  // namespace invar
