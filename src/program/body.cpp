// SPDX-License-Identifier: Apache-2.0
// Operator bodies: the same statements as in programs, without addresses, with suffixes left out.
#include <algorithm>
#include <optional>

#include "program/builder.h"
#include "program/scanner.h"

namespace invar {
namespace {

constexpr std::size_t kMaxBodyInstructions = 256;

class BodyParser {
public:
    explicit BodyParser(std::string_view text) : scan_(text, "operator body") { body_.text = text; }

    Body run() {
        while (scan_.next_statement()) {
            instruction();
            scan_.end_statement();
        }
        if (x_ && letters_ > 0) scan_.fail("inputs are called x, or a, b and c, not both");
        body_.inputs = x_ ? 1 : letters_;
        const auto y = std::find(locals_.begin(), locals_.end(), "y");
        if (y == locals_.end()) scan_.fail("the result y is never written");
        body_.result = static_cast<int>(y - locals_.begin());
        body_.locals = static_cast<int>(locals_.size());
        return std::move(body_);
    }

private:
    static bool is_input(std::string_view name) {
        return name == "x" || name == "a" || name == "b" || name == "c";
    }

    BodyOperand operand() {
        BodyOperand o;
        if (const std::string_view n = scan_.number(); !n.empty()) {
            o.kind = BodyOperand::Kind::number;
            o.text = n;
            return o;
        }
        const std::string name(scan_.word());
        if (name.empty()) scan_.fail("expected an operand");
        if (const auto l = std::find(locals_.begin(), locals_.end(), name); l != locals_.end()) {
            o.index = static_cast<int>(l - locals_.begin());
        } else if (is_input(name)) {
            o.kind = BodyOperand::Kind::input;
            o.index = name == "x" ? 0 : name[0] - 'a';
            if (name == "x")
                x_ = true;
            else
                letters_ = std::max(letters_, o.index + 1);
        } else if (name == "inf" || name == "nan" || name == "true" || name == "false") {
            o.kind = BodyOperand::Kind::number;
            o.text = name;
        } else {
            if (name == "y") scan_.fail_at_mark("y is read before it is written");
            if (name == "gid") scan_.fail_at_mark("an operator's body cannot read gid");
            o.kind = BodyOperand::Kind::scalar;
            auto s = std::find(body_.scalars.begin(), body_.scalars.end(), name);
            o.index = static_cast<int>(s - body_.scalars.begin());
            if (s == body_.scalars.end()) body_.scalars.push_back(name);
        }
        return o;
    }

    void instruction() {
        std::string name(scan_.word());
        if (name.empty()) scan_.fail("expected an instruction");
        if (body_.instructions.size() == kMaxBodyInstructions)
            scan_.fail_at_mark("more than 256 instructions");
        if (name == "SET") name += "." + std::string(scan_.suffix());
        const InstructionInfo* row = find_instruction(name);
        if (row == nullptr) scan_.fail_at_mark("unknown instruction '" + name + "'");
        if (row->opcode == Opcode::LDG || row->opcode == Opcode::STG || !is_pointwise(row->opcode))
            scan_.fail_at_mark("an operator's body has arithmetic alone");
        BodyInstruction i;
        i.opcode = row->opcode;
        if (const std::string_view suffix = scan_.suffix(); suffix == "result") {
            i.at = BodyInstruction::At::result;
            if ((row->types & kTypesStorage) != kTypesStorage)
                scan_.fail_at_mark(name + " has no precision of its own for 16 bits");
        } else if (!suffix.empty()) {
            i.at = BodyInstruction::At::named;
            const std::optional<DType> type = find_type(suffix);
            if (!type) scan_.fail_at_mark("unknown type '" + std::string(suffix) + "'");
            i.type = *type;
            if ((row->types & type_bit(i.type)) == 0)
                scan_.fail_at_mark(name + " does not work on " + std::string(suffix));
        }
        const std::string target(scan_.word());
        if (target.empty()) scan_.fail("expected a name to write");
        if (is_input(target)) scan_.fail_at_mark("'" + target + "' is an input, it cannot be written");
        if (target == "gid" || target == "inf" || target == "nan" || target == "true" || target == "false")
            scan_.fail_at_mark("'" + target + "' is a reserved word, it cannot be written");
        if (std::find(body_.scalars.begin(), body_.scalars.end(), target) != body_.scalars.end())
            scan_.fail_at_mark("'" + target + "' is read before it is written");
        for (int k = 0; k < row->operands; ++k) {
            scan_.expect(
                ',',
                ("before operand " + std::to_string(k + 1) + " of " + std::to_string(row->operands)).c_str());
            i.src.push_back(operand());
        }
        // An operand may name the target's former value, so the target is entered last.
        auto local = std::find(locals_.begin(), locals_.end(), target);
        i.dst = static_cast<int>(local - locals_.begin());
        if (local == locals_.end()) {
            if (std::find(body_.scalars.begin(), body_.scalars.end(), target) != body_.scalars.end())
                scan_.fail_at_mark("'" + target + "' is read before it is written");
            locals_.push_back(target);
        }
        body_.instructions.push_back(std::move(i));
    }

    Scanner scan_;
    Body body_;
    std::vector<std::string> locals_;
    bool x_ = false;
    int letters_ = 0;
};

}  // namespace

Body parse_body(std::string_view text) { return BodyParser(text).run(); }

}  // namespace invar
