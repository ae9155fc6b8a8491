// SPDX-License-Identifier: Apache-2.0
// From text to programs. The grammar stands in program.h. What a statement means by itself is checked here,
// with line and column; what holds for a whole program is left to the verifier.
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "device/module.h"
#include "program/number.h"
#include "program/program.h"
#include "program/scanner.h"

namespace invar {
namespace {

constexpr std::size_t kMaxPrograms = 1024;

std::optional<DType> type_of_name(std::string_view name) {
    for (int i = 0; i < kDTypeCount; ++i)
        if (dtype_name(static_cast<DType>(i)) == name) return static_cast<DType>(i);
    return std::nullopt;
}

class Assembler {
public:
    explicit Assembler(std::string_view text) : scan_(text, "program") {}

    std::vector<Program> run() {
        std::vector<Program> done;
        std::set<std::string> names;
        while (scan_.next_statement()) {
            if (scan_.accept('.')) {
                const std::string_view directive = scan_.word();
                if (directive == "program") {
                    if (open_) done.push_back(finish());
                    if (done.size() == kMaxPrograms)
                        scan_.fail_at_mark("more than 1024 programs in one text");
                    begin_program(names);
                } else if (directive == "param") {
                    if (!open_) scan_.fail_at_mark("'.param' before '.program'");
                    parameter();
                } else {
                    scan_.fail_at_mark("unknown directive '." + std::string(directive) +
                                       "'; there are .program and .param");
                }
            } else {
                if (!open_) scan_.fail("an instruction before '.program'; begin with '.program NAME'");
                instruction();
            }
            scan_.end_statement();
        }
        if (open_) done.push_back(finish());
        if (done.empty()) scan_.fail("no program in the text; begin with '.program NAME'");
        return done;
    }

private:
    void begin_program(std::set<std::string>& names) {
        program_ = {};
        registers_.clear();
        parameters_.clear();
        const std::string_view name = scan_.word();
        if (name.empty()) scan_.fail_at_mark("expected the program's name");
        program_.name = name;
        if (!names.insert(program_.name).second)
            scan_.fail_at_mark("a second program of the name '" + program_.name + "'");
        open_ = true;
    }

    Program finish() {
        open_ = false;
        Program p = std::exchange(program_, {});
        verify(p);
        return p;
    }

    void parameter() {
        if (!program_.instructions.empty())
            scan_.fail_at_mark("parameters stand before the first instruction");
        const std::string name(scan_.word());
        if (name.empty()) scan_.fail_at_mark("expected the parameter's name");
        if (program_.parameters.size() >= std::size_t{kMaxProgramBuffers} + kMaxProgramScalars)
            scan_.fail_at_mark("too many parameters");
        if (!parameters_.emplace(name, static_cast<int>(program_.parameters.size())).second)
            scan_.fail_at_mark("a second parameter '" + name + "'");
        scan_.expect(':', "after the parameter's name");
        Parameter p;
        p.name = name;
        const std::string_view type = scan_.word();
        if (const auto t = type_of_name(type)) {
            p.dtype = *t;
        } else {
            scan_.fail_at_mark("unknown type '" + std::string(type) + "'");
        }
        p.buffer = scan_.accept('*');
        if (const std::string_view word = scan_.word(); word == "strided" && p.buffer) {
            p.strided = true;
        } else if (!word.empty()) {
            scan_.fail_at_mark("unexpected '" + std::string(word) + "'; only a buffer may be 'strided'");
        }
        program_.parameters.push_back(std::move(p));
    }

    // The buffer and index of "[name + index]".
    void address(Instruction& i) {
        scan_.expect('[', "before the address");
        const std::string name(scan_.word());
        const auto found = parameters_.find(name);
        if (found == parameters_.end()) scan_.fail_at_mark("'" + name + "' is no parameter");
        Parameter& p = program_.parameters[static_cast<std::size_t>(found->second)];
        if (!p.buffer) scan_.fail_at_mark("'" + name + "' is a scalar, it has no address");
        if (p.dtype != i.type)
            scan_.fail_at_mark("'" + name + "' holds " + std::string(dtype_name(p.dtype)) +
                               ", the instruction names " + std::string(dtype_name(i.type)));
        i.buffer = found->second;
        const auto bit = i.opcode == Opcode::LDG ? Access::read : Access::write;
        p.access = static_cast<Access>(static_cast<int>(p.access) | static_cast<int>(bit));
        scan_.expect('+', "between buffer and index");
        if (const std::string_view n = scan_.number(); !n.empty()) {
            i.address.kind = Operand::Kind::immediate;
            std::string error;
            if (!parse_immediate(n, DType::i64, i.address.value, error)) scan_.fail_at_mark(error);
        } else {
            const std::string word(scan_.word());
            if (word == "gid") {
                i.address.kind = Operand::Kind::gid;
            } else if (const auto r = registers_.find(word); r != registers_.end()) {
                i.address = {Operand::Kind::reg, static_cast<std::uint64_t>(r->second)};
            } else {
                scan_.fail_at_mark("'" + word +
                                   "' is neither gid, a number nor a register that has been written");
            }
        }
        scan_.expect(']', "after the address");
    }

    Operand operand(DType type) {
        std::string_view text = scan_.number();
        if (text.empty()) text = scan_.word();
        if (text.empty()) scan_.fail("expected an operand");
        const std::string name(text);
        if (const auto r = registers_.find(name); r != registers_.end())
            return {Operand::Kind::reg, static_cast<std::uint64_t>(r->second)};
        if (const auto p = parameters_.find(name); p != parameters_.end()) {
            if (program_.parameters[static_cast<std::size_t>(p->second)].buffer)
                scan_.fail_at_mark("'" + name + "' is a buffer; load from it with LDG");
            return {Operand::Kind::scalar, static_cast<std::uint64_t>(p->second)};
        }
        if (name == "gid") return {Operand::Kind::gid, 0};
        const char first = name[0];
        const bool number = first == '-' || first == '.' || (first >= '0' && first <= '9') || name == "inf" ||
                            name == "nan" || name == "true" || name == "false";
        if (!number) scan_.fail_at_mark("'" + name + "' has not been written and is no parameter");
        Operand o{Operand::Kind::immediate, 0};
        std::string error;
        if (!parse_immediate(name, type, o.value, error))
            scan_.fail_at_mark("'" + name + "' as " + std::string(dtype_name(type)) + ": " + error);
        return o;
    }

    void instruction() {
        Instruction i;
        i.line = scan_.line();
        std::string name(scan_.word());
        if (name.empty()) scan_.fail("expected an instruction");
        if (program_.instructions.size() >= static_cast<std::size_t>(kMaxProgramInstructions))
            scan_.fail_at_mark("more than " + std::to_string(kMaxProgramInstructions) + " instructions");
        if (name == "SET") name += "." + std::string(scan_.suffix());
        const InstructionInfo* row = find_instruction(name);
        if (row == nullptr) scan_.fail_at_mark("unknown instruction '" + name + "'");
        i.opcode = row->opcode;
        const std::string_view suffix = scan_.suffix();
        if (suffix.empty()) scan_.fail_at_mark(name + " needs a type, as in " + name + ".f32");
        const auto type = type_of_name(suffix);
        if (!type) scan_.fail_at_mark("unknown type '" + std::string(suffix) + "'");
        if ((row->types & type_bit(*type)) == 0)
            scan_.fail_at_mark(
                name + " does not work on " + std::string(suffix) +
                (compute_type(*type) != *type ? ", a storage type; load, compute in f32, store" : ""));
        i.type = *type;

        std::string target;
        if (i.opcode == Opcode::STG) {
            address(i);
        } else {
            target = scan_.word();
            if (target.empty()) scan_.fail("expected a register");
            if (parameters_.contains(target))
                scan_.fail_at_mark("'" + target + "' is a parameter, it cannot be written");
            if (target == "gid" || target == "inf" || target == "nan" || target == "true" ||
                target == "false")
                scan_.fail_at_mark("'" + target + "' is a reserved word, it cannot be written");
        }
        if (i.opcode == Opcode::LDG) {
            scan_.expect(',', "before the address");
            address(i);
        }
        for (int k = 0; k < row->operands; ++k) {
            scan_.expect(
                ',',
                ("before operand " + std::to_string(k + 1) + " of " + std::to_string(row->operands)).c_str());
            const DType t = i.opcode == Opcode::SEL && k == 0 ? DType::pred : compute_type(i.type);
            i.src[k] = operand(t);
            if (i.opcode == Opcode::CVT && i.src[k].kind == Operand::Kind::immediate)
                scan_.fail_at_mark("CVT of an immediate; write the immediate at the type that is needed");
        }
        if (i.opcode != Opcode::STG) {
            i.dst = static_cast<std::int32_t>(program_.registers.size());
            program_.registers.push_back(is_set(i.opcode) ? DType::pred : compute_type(i.type));
            registers_[target] = i.dst;
        }
        program_.instructions.push_back(i);
    }

    Scanner scan_;
    Program program_;
    bool open_ = false;
    std::map<std::string, int> registers_;   // name -> number of the last write
    std::map<std::string, int> parameters_;  // name -> index
};

}  // namespace

std::vector<Program> assemble_module(std::string_view text) { return Assembler(text).run(); }

std::vector<Program> assemble_for_device(std::string_view device, std::string_view module,
                                         std::string_view text) {
    try {
        return assemble_module(text);
    } catch (const FormatError& e) {
        throw CompileFailed(
            std::string(device) + ": module '" + std::string(module) + "' did not compile: " + e.what(),
            std::string(e.what()) + "\n" + numbered_source(text));
    }
}

Program assemble(std::string_view text) {
    std::vector<Program> programs = assemble_module(text);
    if (programs.size() != 1)
        throw FormatError("program: the text holds " + std::to_string(programs.size()) +
                          " programs, one is expected");
    return std::move(programs.front());
}

}  // namespace invar
