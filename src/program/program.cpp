// SPDX-License-Identifier: Apache-2.0
// The program itself and its canonical text.
#include "program/program.h"

#include <iterator>
#include <utility>

#include "program/number.h"

namespace invar {
namespace {

std::string print_operand(const Program& p, const Operand& o, DType type) {
    switch (o.kind) {
        case Operand::Kind::reg: return "r" + std::to_string(o.value);
        case Operand::Kind::scalar: return p.parameters[static_cast<std::size_t>(o.value)].name;
        case Operand::Kind::immediate: return print_immediate(o.value, type);
        case Operand::Kind::gid: return "gid";
        case Operand::Kind::special: return std::string(special_name(static_cast<Special>(o.value)));
        case Operand::Kind::size: return p.parameters[static_cast<std::size_t>(o.value)].name + ".size";
        case Operand::Kind::none: break;
    }
    return "?";
}

constexpr std::string_view kSpecialNames[] = {"thread.x",    "thread.y",   "thread.z",    "block.x",
                                              "block.y",     "block.z",    "block_dim.x", "block_dim.y",
                                              "block_dim.z", "grid_dim.x", "grid_dim.y",  "grid_dim.z",
                                              "lane",        "warp",       "count"};
static_assert(std::size(kSpecialNames) == kSpecialCount);

}  // namespace

std::string_view special_name(Special s) { return kSpecialNames[static_cast<std::size_t>(s)]; }

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

bool Program::is_grid() const {
    if (!shared.empty() || !accumulators.empty() || block[0] != 0) return true;
    for (const Instruction& i : instructions) {
        if (!is_pointwise(i.opcode)) return true;
        for (const Operand& o : i.src)
            if (o.kind == Operand::Kind::special || o.kind == Operand::Kind::size) return true;
    }
    return false;
}

std::int64_t Program::shared_bytes() const {
    std::int64_t bytes = 0;
    for (const SharedArray& a : shared) bytes += a.bytes();
    return bytes;
}

std::string to_text(const Program& program) {
    std::string out = ".program " + program.name + "\n";
    for (const Parameter& p : program.parameters) {
        out += ".param " + p.name + ": " + std::string(dtype_name(p.dtype));
        if (p.buffer) out += p.strided ? "* strided" : "*";
        out += '\n';
    }
    for (const SharedArray& a : program.shared)
        out += ".shared " + a.name + ": " + std::string(dtype_name(a.dtype)) + "[" +
               (a.columns == 0 ? std::to_string(a.count)
                               : std::to_string(a.rows()) + ", " + std::to_string(a.columns)) +
               "]\n";
    for (const Accumulator& a : program.accumulators)
        out +=
            ".acc " + a.name + ": f32[" + std::to_string(a.rows) + ", " + std::to_string(a.columns) + "]\n";
    if (program.block[0] != 0) {
        out += ".block " + std::to_string(program.block[0]);
        if (program.block[1] * program.block[2] > 1) out += ", " + std::to_string(program.block[1]);
        if (program.block[2] > 1) out += ", " + std::to_string(program.block[2]);
        out += '\n';
    }
    std::size_t depth = 0;
    for (const Instruction& i : program.instructions) {
        const InstructionInfo& row = info(i.opcode);
        const bool closes =
            i.opcode == Opcode::ELSE || i.opcode == Opcode::ENDIF || i.opcode == Opcode::ENDLOOP;
        if (closes && depth > 0) --depth;
        out.append(2 * depth, ' ');
        if (i.opcode == Opcode::IF || i.opcode == Opcode::LOOP || i.opcode == Opcode::ELSE) ++depth;
        const int operands = operand_count(i);
        if (i.opcode >= Opcode::BREAK && operands > 0)
            out += "@" + print_operand(program, i.src[0], DType::pred) + " ";
        out += row.name;
        if (row.types != 0) out += "." + std::string(dtype_name(i.type));
        std::string separator = " ";
        const auto add = [&](const std::string& word) { out += std::exchange(separator, ", ") + word; };
        const auto address = [&] {
            const auto b = static_cast<std::size_t>(i.buffer);
            return "[" + (i.shared ? program.shared[b].name : program.parameters[b].name) + " + " +
                   print_operand(program, i.address, DType::i64) + "]";
        };
        const auto tiles = [&] {
            for (int k = 0; k < tile_count(i.opcode); ++k) {
                const auto t = static_cast<std::size_t>(i.tiles[k]);
                add(is_accumulator(i.opcode, k) ? program.accumulators[t].name : program.shared[t].name);
            }
        };
        if (i.dst >= 0) add("r" + std::to_string(i.dst));
        if (i.opcode != Opcode::MMA_STORE) tiles();
        if (has_address(i.opcode)) add(address());
        if (i.opcode == Opcode::MMA_STORE) tiles();
        if (i.opcode < Opcode::BREAK)
            // A conversion's source has a type of its own; the verifier allows no immediate there.
            for (int k = 0; k < operands; ++k)
                add(print_operand(program, i.src[k], operand_type(i.opcode, i.type, k)));
        out += '\n';
    }
    return out;
}

}  // namespace invar
