// SPDX-License-Identifier: Apache-2.0
// Everything is taken to be uniform and walks over the program take away what is not, until a walk finds nothing more.
#include "program/uniformity.h"

#include <algorithm>

namespace invar {

Uniformity::Uniformity(const Program& program)
    : p_(program),
      uniform_(program.registers.size(), true),
      diverged_by_(program.instructions.size(), -1),
      loop_parted_by_(program.instructions.size(), -1) {
    while (walk()) {}
}

bool Uniformity::is_uniform(const Operand& o) const {
    switch (o.kind) {
        case Operand::Kind::reg: return uniform_[static_cast<std::size_t>(o.value)];
        case Operand::Kind::gid: return false;
        case Operand::Kind::special: return invar::is_uniform(static_cast<Special>(o.value));
        default: return true;
    }
}

bool Uniformity::uniform_result(const Instruction& i) const {
    if (is_block_reduction(i.opcode)) return true;
    if (is_atomic(i.opcode) || is_shuffle(i.opcode) || is_warp_reduction(i.opcode) || i.opcode == Opcode::LDS)
        return false;
    // What the program writes too may change between two lanes' reads.
    if (i.opcode == Opcode::LDG)
        return p_.parameters[static_cast<std::size_t>(i.buffer)].access == Access::read &&
               is_uniform(i.address);
    return std::all_of(std::begin(i.src), std::end(i.src), [&](const Operand& o) { return is_uniform(o); });
}

bool Uniformity::walk() {
    struct Frame {
        Opcode opcode;
        std::size_t at;
        int parted_by;
    };
    std::vector<Frame> open;
    bool learnt = false;
    const auto part_loop = [&](std::size_t loop, int by) {
        if (loop_parted_by_[loop] >= 0) return;
        loop_parted_by_[loop] = by;
        learnt = true;
    };
    for (std::size_t k = 0; k < p_.instructions.size(); ++k) {
        const Instruction& i = p_.instructions[k];
        const int self = static_cast<int>(k);
        if (i.opcode == Opcode::ENDIF || i.opcode == Opcode::ENDLOOP) open.pop_back();
        int by = exit_ >= 0 && exit_ < self ? exit_ : -1;
        for (const Frame& f : open) {
            if (by >= 0) break;
            by = f.opcode == Opcode::LOOP ? loop_parted_by_[f.at] : f.parted_by;
        }
        diverged_by_[k] = by;
        const int parts = by >= 0 ? by : is_uniform(i.src[0]) ? -1 : self;  // of a condition
        switch (i.opcode) {
            case Opcode::IF: open.push_back({Opcode::IF, k, parts == self ? self : -1}); break;
            case Opcode::LOOP: open.push_back({Opcode::LOOP, k, -1}); break;
            case Opcode::BREAK:
            case Opcode::CONTINUE: {
                // Only what parts lanes within the loop counts: all who are in it may leave it together.
                auto loop = open.rbegin();
                while (loop->opcode != Opcode::LOOP) ++loop;
                int inside = is_uniform(i.src[0]) ? -1 : self;
                for (auto f = loop.base(); f != open.end(); ++f)
                    if (f->parted_by >= 0) inside = f->parted_by;
                if (inside >= 0) part_loop(loop->at, inside);
                break;
            }
            case Opcode::EXIT:
                if (parts < 0) break;
                for (const Frame& f : open)
                    if (f.opcode == Opcode::LOOP) part_loop(f.at, parts);
                if (exit_ < 0 || exit_ > self) {
                    exit_ = self;
                    learnt = true;
                }
                break;
            default: break;
        }
        if (i.dst < 0 || !uniform_[static_cast<std::size_t>(i.dst)]) continue;
        if (by >= 0 || !uniform_result(i)) {
            uniform_[static_cast<std::size_t>(i.dst)] = false;
            learnt = true;
        }
    }
    return learnt;
}

}  // namespace invar
