// SPDX-License-Identifier: Apache-2.0
// Building a program from C++: values are numbered as they are made, bodies of operators are inlined.
#include "program/builder.h"

#include "program/number.h"

namespace invar {

Reg ProgramBuilder::add_value(Operand operand, DType type) {
    values_.push_back({operand, type});
    return {static_cast<int>(values_.size()) - 1};
}

Reg ProgramBuilder::append(Instruction instruction, DType result) {
    if (program_.instructions.size() >= static_cast<std::size_t>(kMaxProgramInstructions))
        throw Unsupported("program builder: more than " + std::to_string(kMaxProgramInstructions) +
                          " instructions; cut the region");
    instruction.dst = static_cast<std::int32_t>(program_.registers.size());
    program_.registers.push_back(result);
    program_.instructions.push_back(instruction);
    return add_value({Operand::Kind::reg, static_cast<std::uint64_t>(instruction.dst)}, result);
}

const ProgramBuilder::Value& ProgramBuilder::value(Reg r) const {
    if (r.id < 0 || static_cast<std::size_t>(r.id) >= values_.size())
        throw InvalidArgument("program builder: " + std::to_string(r.id) + " is no value of this builder");
    return values_[static_cast<std::size_t>(r.id)];
}

int ProgramBuilder::add_buffer(DType dtype, bool strided, Access access) {
    if (buffers() == kMaxProgramBuffers)
        throw Unsupported("program builder: more than " + std::to_string(kMaxProgramBuffers) +
                          " buffers; cut the region");
    buffers_.push_back(static_cast<int>(program_.parameters.size()));
    declared_.push_back(access);
    program_.parameters.push_back({"b" + std::to_string(buffers() - 1), dtype, true, strided, Access::none});
    return buffers() - 1;
}

int ProgramBuilder::add_scalar(DType dtype) {
    if (scalars() == kMaxProgramScalars)
        throw Unsupported("program builder: more than " + std::to_string(kMaxProgramScalars) +
                          " scalars; cut the region");
    if (compute_type(dtype) != dtype)
        throw InvalidArgument("program builder: a scalar of storage type " + std::string(dtype_name(dtype)) +
                              "; make it f32");
    scalars_.push_back(static_cast<int>(program_.parameters.size()));
    program_.parameters.push_back({"s" + std::to_string(scalars() - 1), dtype, false, false, Access::none});
    return scalars() - 1;
}

int ProgramBuilder::buffer_parameter(int buffer, Access wanted, const char* what) const {
    if (buffer < 0 || buffer >= buffers())
        throw InvalidArgument(std::string("program builder: ") + what + " buffer " + std::to_string(buffer) +
                              " of " + std::to_string(buffers()));
    if ((static_cast<int>(declared_[static_cast<std::size_t>(buffer)]) & static_cast<int>(wanted)) == 0)
        throw InvalidArgument(std::string("program builder: ") + what + " b" + std::to_string(buffer) +
                              ", which was not added for that");
    return buffers_[static_cast<std::size_t>(buffer)];
}

Reg ProgramBuilder::load(int buffer) {
    const int parameter = buffer_parameter(buffer, Access::read, "load from");
    if (const auto known = loaded_.find(buffer); known != loaded_.end()) return known->second;
    Instruction i;
    i.opcode = Opcode::LDG;
    i.type = program_.parameters[static_cast<std::size_t>(parameter)].dtype;
    i.buffer = parameter;
    i.address = {Operand::Kind::gid, 0};
    return loaded_[buffer] = append(i, compute_type(i.type));
}

Reg ProgramBuilder::load_at(int buffer, Reg index) {
    Instruction i;
    i.opcode = Opcode::LDG;
    i.buffer = buffer_parameter(buffer, Access::read, "load from");
    i.type = program_.parameters[static_cast<std::size_t>(i.buffer)].dtype;
    if (!is_int(type(index)))
        throw FormatError("program builder: an index of type " + std::string(dtype_name(type(index))) +
                          "; it must be an integer");
    Operand address = value(index).operand;
    // A scalar parameter becomes a register: addresses know registers, constants and gid.
    if (address.kind == Operand::Kind::scalar)
        address = value(emit(Opcode::MOV, type(index), {index})).operand;
    i.address = address;
    return append(i, compute_type(i.type));
}

void ProgramBuilder::store(int buffer, Reg stored) {
    Instruction i;
    i.opcode = Opcode::STG;
    i.buffer = buffer_parameter(buffer, Access::write, "store to");
    i.type = program_.parameters[static_cast<std::size_t>(i.buffer)].dtype;
    if (type(stored) != compute_type(i.type))
        throw FormatError("program builder: a value of type " + std::string(dtype_name(type(stored))) +
                          " stored to b" + std::to_string(buffer) + " of type " +
                          std::string(dtype_name(i.type)) + "; convert it first");
    if (program_.instructions.size() >= static_cast<std::size_t>(kMaxProgramInstructions))
        throw Unsupported("program builder: too many instructions; cut the region");
    i.address = {Operand::Kind::gid, 0};
    i.src[0] = value(stored).operand;
    program_.instructions.push_back(i);
    loaded_.clear();  // buffers may be the same memory
}

void ProgramBuilder::store_at(int buffer, Reg index, Reg stored) {
    if (!is_int(type(index)))
        throw FormatError("program builder: an index of type " + std::string(dtype_name(type(index))) +
                          "; it must be an integer");
    if (value(index).operand.kind == Operand::Kind::scalar) index = emit(Opcode::MOV, type(index), {index});
    store(buffer, stored);
    program_.instructions.back().address = value(index).operand;
}

Reg ProgramBuilder::scalar(int scalar) {
    if (scalar < 0 || scalar >= scalars())
        throw InvalidArgument("program builder: scalar " + std::to_string(scalar) + " of " +
                              std::to_string(scalars()));
    const int parameter = scalars_[static_cast<std::size_t>(scalar)];
    return add_value({Operand::Kind::scalar, static_cast<std::uint64_t>(parameter)},
                     program_.parameters[static_cast<std::size_t>(parameter)].dtype);
}

Reg ProgramBuilder::immediate(DType type, double number) {
    const std::uint64_t bits = value_bits(type, number);
    const auto [at, fresh] = immediates_.try_emplace({static_cast<int>(type), bits});
    if (fresh) at->second = add_value({Operand::Kind::immediate, bits}, type);
    return at->second;
}

Reg ProgramBuilder::immediate_integer(DType type, std::int64_t number) {
    if (!is_int(type)) return immediate(type, static_cast<double>(number));
    const std::uint64_t bits = integer_bits(type, number);
    const auto [at, fresh] = immediates_.try_emplace({static_cast<int>(type), bits});
    if (fresh) at->second = add_value({Operand::Kind::immediate, bits}, type);
    return at->second;
}

Reg ProgramBuilder::grid_index(DType type) {
    if (type != DType::i32 && type != DType::u32 && type != DType::i64 && type != DType::u64)
        throw FormatError("program builder: gid as " + std::string(dtype_name(type)) +
                          "; it may be i32, u32, i64 or u64");
    Instruction i;
    i.opcode = Opcode::MOV;
    i.type = type;
    i.src[0] = {Operand::Kind::gid, 0};
    return append(i, type);
}

Reg ProgramBuilder::convert(Reg from, DType to) {
    if (type(from) == to) return from;
    // Immediates go through a register, so that they are converted by the one definition of CVT.
    if (value(from).operand.kind == Operand::Kind::immediate) from = emit(Opcode::MOV, type(from), {from});
    return emit(Opcode::CVT, to, {from});
}

Reg ProgramBuilder::emit(Opcode opcode, DType at, std::span<const Reg> operands) {
    const InstructionInfo& row = info(opcode);
    const auto refuse = [&](const std::string& why) {
        throw FormatError("program builder: " + std::string(row.name) + "." + std::string(dtype_name(at)) +
                          ": " + why);
    };
    if (opcode == Opcode::LDG || opcode == Opcode::STG) refuse("use load and store");
    if (!is_pointwise(opcode)) refuse(std::string(info(opcode).name) + " is for grid programs");
    if ((row.types & type_bit(at)) == 0) refuse("does not work on this type");
    if (operands.size() != static_cast<std::size_t>(row.operands))
        refuse("takes " + std::to_string(row.operands) + " operands, got " + std::to_string(operands.size()));
    Instruction i;
    i.opcode = opcode;
    i.type = at;
    for (std::size_t k = 0; k < operands.size(); ++k) {
        const DType wanted = operand_type(opcode, at, k);
        if (opcode == Opcode::CVT) {
            if (value(operands[k]).operand.kind == Operand::Kind::immediate) refuse("of an immediate");
        } else if (type(operands[k]) != wanted) {
            refuse("operand " + std::to_string(k + 1) + " is " + std::string(dtype_name(type(operands[k]))) +
                   ", needs " + std::string(dtype_name(wanted)));
        }
        i.src[k] = value(operands[k]).operand;
    }
    return append(i, result_type(opcode, at));
}

Reg ProgramBuilder::inline_body(const Body& body, DType at, DType result_at, std::span<const Reg> inputs,
                                std::span<const Reg> scalars) {
    if (inputs.size() < static_cast<std::size_t>(body.inputs) || scalars.size() != body.scalars.size())
        throw InvalidArgument("program builder: body '" + body.text + "' takes " +
                              std::to_string(body.inputs) + " inputs and " +
                              std::to_string(body.scalars.size()) + " scalars, got " +
                              std::to_string(inputs.size()) + " and " + std::to_string(scalars.size()));
    std::vector<Reg> locals(static_cast<std::size_t>(body.locals));
    std::vector<Reg> operands;
    for (const BodyInstruction& i : body.instructions) {
        using At = BodyInstruction::At;
        const DType type_here = i.at == At::named ? i.type : i.at == At::result ? result_at : at;
        operands.clear();
        for (std::size_t k = 0; k < i.src.size(); ++k) {
            const BodyOperand& o = i.src[k];
            const auto index = static_cast<std::size_t>(o.index);
            const DType wanted = operand_type(i.opcode, type_here, k);
            switch (o.kind) {
                case BodyOperand::Kind::input: operands.push_back(inputs[index]); break;
                case BodyOperand::Kind::scalar: operands.push_back(scalars[index]); break;
                case BodyOperand::Kind::local: operands.push_back(locals[index]); break;
                case BodyOperand::Kind::number: {
                    std::uint64_t bits = 0;
                    std::string error;
                    if (!parse_immediate(o.text, wanted, bits, error))
                        throw FormatError("operator body '" + body.text + "': '" + o.text + "' as " +
                                          std::string(dtype_name(wanted)) + ": " + error);
                    operands.push_back(add_value({Operand::Kind::immediate, bits}, wanted));
                    break;
                }
            }
        }
        Reg& result = locals[static_cast<std::size_t>(i.dst)];
        if (i.opcode == Opcode::CVT) {
            result = convert(operands[0], type_here);
        } else {
            try {
                result = emit(i.opcode, type_here, operands);
            } catch (const FormatError& e) {
                throw FormatError("operator body '" + body.text + "': " + e.what());
            }
        }
    }
    return locals[static_cast<std::size_t>(body.result)];
}

DType ProgramBuilder::type(Reg r) const { return value(r).type; }

Program ProgramBuilder::finish(std::string_view name) {
    // Backwards: what a store needs stays.
    std::vector<bool> needed(program_.registers.size(), false);
    std::vector<bool> keep(program_.instructions.size(), false);
    const auto need = [&](const Operand& o) {
        if (o.kind == Operand::Kind::reg) needed[static_cast<std::size_t>(o.value)] = true;
    };
    for (std::size_t k = program_.instructions.size(); k-- > 0;) {
        const Instruction& i = program_.instructions[k];
        keep[k] = i.opcode == Opcode::STG || needed[static_cast<std::size_t>(i.dst)];
        if (!keep[k]) continue;
        need(i.address);
        for (const Operand& o : i.src) need(o);
    }
    Program out;
    out.name = name;
    out.parameters = std::move(program_.parameters);
    std::vector<std::uint64_t> renamed(program_.registers.size());
    const auto rename = [&](Operand& o) {
        if (o.kind == Operand::Kind::reg) o.value = renamed[static_cast<std::size_t>(o.value)];
    };
    for (std::size_t k = 0; k < program_.instructions.size(); ++k) {
        if (!keep[k]) continue;
        Instruction i = program_.instructions[k];
        rename(i.address);
        for (Operand& o : i.src) rename(o);
        if (i.dst >= 0) {
            renamed[static_cast<std::size_t>(i.dst)] = out.registers.size();
            out.registers.push_back(program_.registers[static_cast<std::size_t>(i.dst)]);
            i.dst = static_cast<std::int32_t>(out.registers.size()) - 1;
        }
        if (i.buffer >= 0) {
            Access& access = out.parameters[static_cast<std::size_t>(i.buffer)].access;
            access = access | access_of(i.opcode);
        }
        out.instructions.push_back(i);
    }
    *this = ProgramBuilder();
    verify(out);
    return out;
}

}  // namespace invar
