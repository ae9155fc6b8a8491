// SPDX-License-Identifier: Apache-2.0
// Loops of the form
//
//   MOV i, first;  LOOP;  SET p, i, last;  [NOT p, p;] ...  BREAK where p;  ... ADD i, i, step ...;  ENDLOOP
//
// with known numbers, where nothing else writes i, nothing else writes or reads p, and no other BREAK or CONTINUE is of this
// loop.
#include <algorithm>
#include <optional>

#include "program/optimize/optimize.h"
#include "program/optimize/passes.h"

namespace invar::optimize_passes {
namespace {

struct Counted {
    std::size_t body = 0, end = 0;  // the first instruction behind BREAK, and ENDLOOP
    std::size_t step = 0;           // where i is advanced
    std::int32_t counter = -1;
    std::vector<std::uint64_t> values;  // of i in each round, and behind the loop
};

class Unroller {
public:
    explicit Unroller(Program& p) : p_(p), writes_(write_counts(p)) {}

    // Unrolls the first loop that it can; false where there is none.
    bool run() {
        for (std::size_t at = 0; at < p_.instructions.size(); ++at) {
            const Instruction& i = p_.instructions[at];
            if (i.opcode == Opcode::LOOP) {
                if (const auto loop = counted(at)) {
                    rewrite(at, *loop);
                    return true;
                }
            }
        }
        return false;
    }

private:
    std::size_t end_of(std::size_t loop) const {
        int depth = 0;
        for (std::size_t at = loop;; ++at) {
            if (p_.instructions[at].opcode == Opcode::LOOP) ++depth;
            if (p_.instructions[at].opcode == Opcode::ENDLOOP && --depth == 0) return at;
        }
    }
    int reads_of(std::uint64_t reg) const {
        int n = 0;
        for (const Instruction& i : p_.instructions)
            for_each_operand(i,
                             [&](const Operand& o) { n += o.kind == Operand::Kind::reg && o.value == reg; });
        return n;
    }

    std::optional<Counted> counted(std::size_t loop) const {
        Counted c;
        c.end = end_of(loop);
        const Instruction& compare = p_.instructions[loop + 1];
        if (!is_set(compare.opcode) || compare.src[0].kind != Operand::Kind::reg ||
            compare.src[1].kind != Operand::Kind::immediate || !is_int(compare.type))
            return std::nullopt;
        c.counter = static_cast<std::int32_t>(compare.src[0].value);
        std::size_t at = loop + 2;
        std::uint64_t leaves = 1;  // the value of the comparison with which lanes leave
        auto flag = static_cast<std::uint64_t>(compare.dst);
        for (; p_.instructions[at].opcode == Opcode::NOT && p_.instructions[at].src[0] == reg(flag); ++at) {
            if (reads_of(flag) != 1 || writes_[static_cast<std::size_t>(flag)] != 1) return std::nullopt;
            flag = static_cast<std::uint64_t>(p_.instructions[at].dst);
            leaves = 1 - leaves;
        }
        const Instruction& leave = p_.instructions[at];
        if (leave.opcode != Opcode::BREAK || leave.src[0] != reg(flag) || reads_of(flag) != 1 ||
            writes_[static_cast<std::size_t>(flag)] != 1)
            return std::nullopt;
        c.body = at + 1;
        const auto first = first_value(loop, c.counter);
        if (!first || !find_step(c)) return std::nullopt;
        return count(c, compare, leaves, *first) ? std::optional(c) : std::nullopt;
    }
    static Operand reg(std::uint64_t r) { return {Operand::Kind::reg, r}; }

    // What the counter holds where the loop begins: its first write is a constant, in the same round of all loops around.
    std::optional<std::uint64_t> first_value(std::size_t loop, std::int32_t counter) const {
        if (writes_[static_cast<std::size_t>(counter)] != 2) return std::nullopt;
        int depth = 0;
        for (std::size_t at = loop; at-- > 0;) {
            const Instruction& i = p_.instructions[at];
            if (i.opcode == Opcode::ENDLOOP) ++depth;
            if (i.opcode == Opcode::LOOP && depth-- == 0) return std::nullopt;
            if (i.dst != counter) continue;
            if (i.opcode != Opcode::MOV || i.src[0].kind != Operand::Kind::immediate) return std::nullopt;
            return i.src[0].value;
        }
        return std::nullopt;
    }

    // Finds the step, which every round comes to, and that nothing else leaves or restarts the loop.
    bool find_step(Counted& c) const {
        int loops = 0, ifs = 0;
        for (std::size_t at = c.body; at < c.end; ++at) {
            const Instruction& i = p_.instructions[at];
            loops += i.opcode == Opcode::LOOP ? 1 : i.opcode == Opcode::ENDLOOP ? -1 : 0;
            ifs += i.opcode == Opcode::IF ? 1 : i.opcode == Opcode::ENDIF ? -1 : 0;
            if ((i.opcode == Opcode::BREAK || i.opcode == Opcode::CONTINUE) && loops == 0) return false;
            // Each is loops of its own in a device's source: copies of them only make it long.
            if (is_tile(i.opcode)) return false;
            if (i.dst != c.counter) continue;
            const bool adds = i.opcode == Opcode::ADD &&
                              i.src[0] == reg(static_cast<std::uint64_t>(c.counter)) &&
                              i.src[1].kind == Operand::Kind::immediate;
            if (!adds || loops != 0 || ifs != 0) return false;
            c.step = at;
        }
        return c.step != 0;
    }

    bool count(Counted& c, const Instruction& compare, std::uint64_t leaves, std::uint64_t value) const {
        const std::size_t size = c.end - c.body;
        const std::size_t rest = p_.instructions.size() - size;
        for (;;) {
            c.values.push_back(value);
            Instruction now = compare;
            now.src[0] = {Operand::Kind::immediate, value};
            if (evaluate(now, compare.type) == leaves) return true;
            // Each copy has a MOV for the counter.
            const std::size_t copies = c.values.size() * (size + 1);
            if (copies > std::size_t{kUnrollLimit} ||
                rest + copies + 1 > std::size_t{kMaxProgramInstructions})
                return false;
            Instruction next = p_.instructions[c.step];
            next.src[0] = {Operand::Kind::immediate, value};
            value = evaluate(next, next.type);
        }
    }

    void rewrite(std::size_t loop, const Counted& c) {
        int depth = 0;  // of IF and LOOP around the loop
        for (std::size_t at = 0; at < loop; ++at) depth += change_of_depth(p_.instructions[at].opcode);
        const std::vector<DType> types = p_.registers;
        const std::vector<Instruction> old = std::move(p_.instructions);
        p_.instructions.assign(old.begin(), old.begin() + static_cast<std::ptrdiff_t>(loop));
        std::vector<bool> outer(types.size());  // registers that were made before the loop
        for (const Instruction& i : p_.instructions)
            if (i.dst >= 0) outer[static_cast<std::size_t>(i.dst)] = true;
        names_.resize(types.size());
        for (std::size_t r = 0; r < names_.size(); ++r) names_[r] = static_cast<std::int32_t>(r);
        const Instruction& step = old[c.step];
        for (std::size_t round = 0; round + 1 < c.values.size(); ++round) {
            std::vector<bool> made = outer;
            constant(c.counter, step, c.values[round]);
            int inside = 0;
            for (std::size_t at = c.body; at < c.end; ++at) {
                if (at == c.step) {
                    constant(c.counter, step, c.values[round + 1]);
                    continue;
                }
                Instruction i = old[at];
                rename(i);
                inside += change_of_depth(i.opcode);
                if (i.dst >= 0) {
                    const auto r = static_cast<std::size_t>(i.dst);
                    // A new register for what the body makes, and for each write where no IF or LOOP allows another.
                    if (!made[r] || (depth == 0 && inside == 0)) names_[r] = fresh(types[r]);
                    made[r] = true;
                    i.dst = names_[r];
                }
                p_.instructions.push_back(i);
            }
        }
        if (depth > 0) {
            names_[static_cast<std::size_t>(c.counter)] = c.counter;
            Instruction last = step;
            last.opcode = Opcode::MOV;
            last.src[0] = {Operand::Kind::immediate, c.values.back()};
            last.src[1] = {};
            p_.instructions.push_back(last);
        } else if (c.values.size() == 1) {  // no round at all
            constant(c.counter, step, c.values[0]);
        }
        // What comes behind reads the last names; registers that it makes keep theirs.
        for (std::size_t at = c.end + 1; at < old.size(); ++at) {
            Instruction i = old[at];
            rename(i);
            if (i.dst >= 0) i.dst = names_[static_cast<std::size_t>(i.dst)];
            p_.instructions.push_back(i);
        }
        renumber(p_);
    }
    static int change_of_depth(Opcode o) {
        if (o == Opcode::IF || o == Opcode::LOOP) return 1;
        return o == Opcode::ENDIF || o == Opcode::ENDLOOP ? -1 : 0;
    }
    std::int32_t fresh(DType type) {
        p_.registers.push_back(type);
        return static_cast<std::int32_t>(p_.registers.size()) - 1;
    }
    void rename(Instruction& i) const {
        for_each_operand(i, [&](Operand& o) {
            if (o.kind == Operand::Kind::reg)
                o.value = static_cast<std::uint64_t>(names_[static_cast<std::size_t>(o.value)]);
        });
    }
    void constant(std::int32_t counter, const Instruction& step, std::uint64_t value) {
        Instruction move;
        move.opcode = Opcode::MOV;
        move.type = step.type;
        move.line = step.line;
        move.dst = names_[static_cast<std::size_t>(counter)] = fresh(step.type);
        move.src[0] = {Operand::Kind::immediate, value};
        p_.instructions.push_back(move);
    }

    Program& p_;
    std::vector<int> writes_;
    std::vector<std::int32_t> names_;  // of each register of the old program
};

}  // namespace

bool unroll(Program& program) {
    bool changed = false;
    while (Unroller(program).run())
        changed = true;  // each time one loop less, or inner ones of known numbers
    return changed;
}

}  // namespace invar::optimize_passes
