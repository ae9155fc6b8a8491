// SPDX-License-Identifier: Apache-2.0
// The rounds of passes, and what the passes share.
#include "program/optimize/optimize.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string>

#include "base/env.h"
#include "base/log.h"
#include "program/interpreter.h"
#include "program/optimize/passes.h"

namespace invar {
namespace optimize_passes {

void renumber(Program& program) {
    std::vector<std::int32_t> renamed(program.registers.size(), -1);
    std::vector<DType> registers;
    for (Instruction& i : program.instructions) {
        for_each_operand(i, [&](Operand& o) {
            if (o.kind == Operand::Kind::reg)
                o.value = static_cast<std::uint64_t>(renamed[static_cast<std::size_t>(o.value)]);
        });
        if (i.dst < 0) continue;
        std::int32_t& name = renamed[static_cast<std::size_t>(i.dst)];
        if (name < 0) {
            name = static_cast<std::int32_t>(registers.size());
            registers.push_back(program.registers[static_cast<std::size_t>(i.dst)]);
        }
        i.dst = name;
    }
    program.registers = std::move(registers);
}

std::uint64_t evaluate(const Instruction& instruction, DType from) {
    // The interpreter itself says what an instruction means.
    const DType result = result_type(instruction.opcode, instruction.type);
    Program p;
    p.name = "constant";
    p.parameters = {{"y", result, true, false, Access::write}};
    Instruction compute = instruction;
    compute.line = 0;
    if (compute.opcode == Opcode::CVT) {  // takes no immediate
        Instruction source;
        source.opcode = Opcode::MOV;
        source.type = from;
        source.dst = 0;
        source.src[0] = compute.src[0];
        p.instructions.push_back(source);
        p.registers.push_back(from);
        compute.src[0] = {Operand::Kind::reg, 0};
    }
    compute.dst = static_cast<std::int32_t>(p.registers.size());
    p.registers.push_back(result);
    p.instructions.push_back(compute);
    Instruction store;
    store.opcode = Opcode::STG;
    store.type = result;
    store.buffer = 0;
    store.address = {Operand::Kind::gid, 0};
    store.src[0] = {Operand::Kind::reg, static_cast<std::uint64_t>(compute.dst)};
    p.instructions.push_back(store);
    std::uint64_t bits = 0;
    alignas(8) std::byte memory[8] = {};
    const NativeBuffer buffer{memory, size_of(result)};
    CompiledProgram(p).run_tile({&buffer, 1}, 1);
    std::memcpy(&bits, memory, size_of(result));
    if (result == DType::f32) {
        const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
        return value != value ? 0x7fc00000u : bits;
    }
    if (result == DType::f64) {
        const auto value = std::bit_cast<double>(bits);
        return value != value ? 0x7ff8000000000000u : bits;
    }
    return bits;
}

}  // namespace optimize_passes

std::span<const Pass> optimizer_passes() {
    static constexpr std::array<Pass, 4> kPasses{{{"fold", optimize_passes::fold},
                                                  {"share", optimize_passes::share},
                                                  {"sweep", optimize_passes::sweep},
                                                  {"unroll", optimize_passes::unroll}}};
    return kPasses;
}

Program optimize(const Program& program) {
    static const bool print = env_string("INVAR_DEBUG").find("program") != std::string::npos;
    verify(program);
    if (print) log_debug_output("program:\n" + to_text(program));
    constexpr int kMostRounds = 8;  // few programs need more than three
    Program p = program;
    bool changed = true;
    for (int round = 0; changed && round < kMostRounds; ++round) {
        changed = false;
        for (const Pass& pass : optimizer_passes()) {
            Program next = p;
            // What was written as a grid is launched as one, also where nothing of a grid would be left.
            if (!pass.run(next) || next.is_grid() != p.is_grid()) continue;
            changed = true;
            verify(next);
            p = std::move(next);
            if (print) log_debug_output("program after " + std::string(pass.name) + ":\n" + to_text(p));
        }
    }
    return p;
}

}  // namespace invar
