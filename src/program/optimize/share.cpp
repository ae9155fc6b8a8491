// SPDX-License-Identifier: Apache-2.0
// Common subexpressions: the second of two equal instructions goes, its readers read the first.
#include <array>
#include <map>
#include <numeric>

#include "program/optimize/passes.h"

namespace invar::optimize_passes {
namespace {

// Of an instruction: opcode, type, space and number of the buffer, kind and value of address and operands.
using Key = std::array<std::uint64_t, 11>;

class Sharer {
public:
    explicit Sharer(Program& p) : p_(p), writes_(write_counts(p)), same_(p.registers.size()) {
        std::iota(same_.begin(), same_.end(), std::uint64_t{0});
    }

    bool run() {
        std::vector<Instruction> kept;
        for (Instruction i : p_.instructions) {
            for_each_operand(i, [&](Operand& o) {
                if (o.kind == Operand::Kind::reg) o.value = same_[static_cast<std::size_t>(o.value)];
            });
            scopes(i);
            if (!is_duplicate(i)) kept.push_back(i);
        }
        const bool changed = kept.size() != p_.instructions.size();
        p_.instructions = std::move(kept);
        if (changed) renumber(p_);
        return changed;
    }

private:
    bool single(const Operand& o) const {
        return o.kind != Operand::Kind::reg || writes_[static_cast<std::size_t>(o.value)] == 1;
    }

    // What was made inside an IF or LOOP ends with it. What was loaded may have changed after anything but arithmetic.
    void scopes(const Instruction& i) {
        if (!is_pure(i.opcode) && i.opcode != Opcode::LDG && i.opcode != Opcode::LDS) loaded_.clear();
        if (i.opcode == Opcode::ENDIF || i.opcode == Opcode::ELSE || i.opcode == Opcode::ENDLOOP)
            scopes_.pop_back();
        if (i.opcode == Opcode::IF || i.opcode == Opcode::ELSE || i.opcode == Opcode::LOOP)
            scopes_.emplace_back();
    }

    bool is_duplicate(const Instruction& i) {
        const bool load = i.opcode == Opcode::LDG || i.opcode == Opcode::LDS;
        if ((!is_pure(i.opcode) && !load) || writes_[static_cast<std::size_t>(i.dst)] != 1) return false;
        bool all_single = true;
        for_each_operand(i, [&](const Operand& o) { all_single = all_single && single(o); });
        if (!all_single) return false;
        Key key{static_cast<std::uint64_t>(i.opcode), static_cast<std::uint64_t>(i.type), i.shared ? 1u : 0u,
                static_cast<std::uint64_t>(i.buffer)};
        std::size_t at = 4;
        const auto add = [&](const Operand& o) {
            // A source's type belongs to it where the instruction does not say it.
            key[at++] = static_cast<std::uint64_t>(o.kind);
            key[at++] = o.value;
        };
        add(load ? i.address : i.src[0]);
        add(i.src[1]);
        add(i.src[2]);
        const auto first = find(key, load);
        if (first >= 0) {
            same_[static_cast<std::size_t>(i.dst)] = static_cast<std::uint64_t>(first);
            return true;
        }
        (load ? loaded_ : scopes_.back())[key] = i.dst;
        return false;
    }
    std::int32_t find(const Key& key, bool load) const {
        if (load) {
            const auto found = loaded_.find(key);
            return found == loaded_.end() ? -1 : found->second;
        }
        for (const auto& scope : scopes_)
            if (const auto found = scope.find(key); found != scope.end()) return found->second;
        return -1;
    }

    Program& p_;
    std::vector<int> writes_;
    std::vector<std::uint64_t> same_;  // the register that stands for each
    std::vector<std::map<Key, std::int32_t>> scopes_{1};
    std::map<Key, std::int32_t> loaded_;
};

}  // namespace

bool share(Program& program) { return Sharer(program).run(); }

bool sweep(Program& program) {
    const std::size_t before = program.instructions.size();
    for (std::size_t size = before + 1; size != program.instructions.size();) {
        size = program.instructions.size();
        // Registers that are read, or written by what stays: the first write of a variable says where it is in scope.
        std::vector<bool> needed(program.registers.size());
        for (const Instruction& i : program.instructions) {
            for_each_operand(i, [&](const Operand& o) {
                if (o.kind == Operand::Kind::reg) needed[static_cast<std::size_t>(o.value)] = true;
            });
            if (i.dst >= 0 && !is_pure(i.opcode)) needed[static_cast<std::size_t>(i.dst)] = true;
        }
        std::vector<Instruction> kept;
        for (const Instruction& i : program.instructions) {
            if (is_pure(i.opcode) && !needed[static_cast<std::size_t>(i.dst)]) continue;
            if (i.opcode == Opcode::ENDIF) {  // an empty ELSE, then an empty IF
                if (kept.back().opcode == Opcode::ELSE) kept.pop_back();
                if (kept.back().opcode == Opcode::IF) {
                    kept.pop_back();
                    continue;
                }
            }
            kept.push_back(i);
        }
        program.instructions = std::move(kept);
    }
    if (program.instructions.size() == before) return false;
    renumber(program);
    return true;
}

}  // namespace invar::optimize_passes
