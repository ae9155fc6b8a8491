// SPDX-License-Identifier: Apache-2.0
// What grid programs mean, lane by lane in plain C++ and apart from the interpreter: each lane of a block runs alone up to
// the next instruction that all must come to, then the next lane does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

#include "program/grid.h"
#include "program/reference.h"

namespace invar::test {

class GridReference {
public:
    using Bits = std::vector<std::uint64_t>;

    GridReference(const Program& p, std::vector<Bits>& buffers, const Bits& scalars)
        : p_(p), buffers_(buffers) {
        int b = 0;
        std::size_t s = 0;
        for (const Parameter& q : p.parameters) {
            number_.push_back(q.buffer ? b++ : -1);
            scalar_.push_back(q.buffer ? 0 : scalars[s++]);
        }
    }

    void run(const GridDims& grid, const GridDims& block, std::int64_t count) {
        grid_ = grid;
        dims_ = block;
        count_ = count;
        for (block_[2] = 0; block_[2] < grid[2]; ++block_[2])
            for (block_[1] = 0; block_[1] < grid[1]; ++block_[1])
                for (block_[0] = 0; block_[0] < grid[0]; ++block_[0]) run_block();
    }

private:
    struct Lane {
        std::size_t pc = 0;
        bool done = false;
        Bits r;
    };

    void run_block() {
        shared_.clear();
        for (const SharedArray& a : p_.shared) shared_.emplace_back(static_cast<std::size_t>(a.count), 0);
        lanes_.assign(std::size_t{dims_[0]} * dims_[1] * dims_[2], {0, false, Bits(p_.registers.size())});
        for (long meetings = 0;; ++meetings) {
            if (meetings > 20000) throw std::runtime_error("reference: a block without an end");
            for (std::size_t n = 0; n < lanes_.size(); ++n) advance(n);
            if (std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& l) { return l.done; })) return;
            meet();
        }
    }

    std::int64_t special(Special s, std::int64_t lane) const {
        switch (s) {
            case Special::thread_x: return lane % dims_[0];
            case Special::thread_y: return lane / dims_[0] % dims_[1];
            case Special::thread_z: return lane / dims_[0] / dims_[1];
            case Special::block_x: return block_[0];
            case Special::block_y: return block_[1];
            case Special::block_z: return block_[2];
            case Special::block_dim_x: return dims_[0];
            case Special::block_dim_y: return dims_[1];
            case Special::block_dim_z: return dims_[2];
            case Special::grid_dim_x: return grid_[0];
            case Special::grid_dim_y: return grid_[1];
            case Special::grid_dim_z: return grid_[2];
            case Special::lane: return lane % 32;
            case Special::warp: return lane / 32;
            case Special::count: return count_;
        }
        return 0;
    }
    std::int64_t gid(std::size_t lane) const {
        const std::int64_t block =
            block_[0] + std::int64_t{grid_[0]} * (block_[1] + std::int64_t{grid_[1]} * block_[2]);
        return block * static_cast<std::int64_t>(lanes_.size()) + static_cast<std::int64_t>(lane);
    }

    std::uint64_t read(const Operand& o, DType type, std::size_t n) const {
        switch (o.kind) {
            case Operand::Kind::reg: return lanes_[n].r[o.value];
            case Operand::Kind::scalar: return scalar_[o.value];
            case Operand::Kind::immediate: return o.value;
            case Operand::Kind::gid: return static_cast<std::uint64_t>(gid(n)) & mask_of(type);
            case Operand::Kind::special:
                return static_cast<std::uint64_t>(
                           special(static_cast<Special>(o.value), static_cast<std::int64_t>(n))) &
                       mask_of(type);
            case Operand::Kind::size: return buffers_[static_cast<std::size_t>(number_[o.value])].size();
            case Operand::Kind::none: return 0;
        }
        return 0;
    }

    std::uint64_t& element(const Instruction& i, std::size_t n) {
        Wide at = 0;
        if (i.address.kind == Operand::Kind::immediate) at = static_cast<std::int64_t>(i.address.value);
        if (i.address.kind == Operand::Kind::gid) at = gid(n);
        if (i.address.kind == Operand::Kind::reg)
            at = to_wide(p_.registers[i.address.value], lanes_[n].r[i.address.value]);
        Bits& held = i.shared
                         ? shared_[static_cast<std::size_t>(i.buffer)]
                         : buffers_[static_cast<std::size_t>(number_[static_cast<std::size_t>(i.buffer)])];
        if (at < 0 || at >= static_cast<Wide>(held.size()))
            throw std::out_of_range("reference: an element outside");
        return held[static_cast<std::size_t>(at)];
    }

    // The instruction that closes the IF or LOOP that stands at k (an ELSE for an IF that has one), or the depth that k is in.
    std::size_t closing(std::size_t k, bool at_else) const {
        int depth = 0;
        for (++k;; ++k) {
            const Opcode o = p_.instructions[k].opcode;
            if (o == Opcode::IF || o == Opcode::LOOP) ++depth;
            if (depth == 0 && (o == Opcode::ENDIF || o == Opcode::ENDLOOP || (at_else && o == Opcode::ELSE)))
                return k;
            if (o == Opcode::ENDIF || o == Opcode::ENDLOOP) --depth;
        }
    }
    std::size_t opening(std::size_t k) const {
        int depth = 0;
        for (;; --k) {
            const Opcode o = p_.instructions[k].opcode;
            if (o == Opcode::ENDIF || o == Opcode::ENDLOOP) ++depth;
            if ((o == Opcode::IF || o == Opcode::LOOP) && --depth == 0) return k;
        }
    }
    // The end of the loop around k.
    std::size_t loop_end(std::size_t k) const {
        for (k = closing(k, false); p_.instructions[k].opcode != Opcode::ENDLOOP;) k = closing(k, false);
        return k;
    }

    void advance(std::size_t n) {
        Lane& l = lanes_[n];
        for (long steps = 0; !l.done; ++steps) {
            if (l.pc >= p_.instructions.size()) {
                l.done = true;
                return;
            }
            if (steps > 20000) throw std::runtime_error("reference: a lane without an end");
            const Instruction& i = p_.instructions[l.pc];
            if (is_collective(i.opcode)) return;
            const bool taken = i.src[0].kind == Operand::Kind::none || read(i.src[0], DType::pred, n) != 0;
            std::size_t next = l.pc + 1;
            switch (i.opcode) {
                case Opcode::IF:
                    if (!taken) next = closing(l.pc, true) + 1;
                    break;
                case Opcode::ELSE: next = closing(l.pc, false) + 1; break;
                case Opcode::ENDIF:
                case Opcode::LOOP:
                case Opcode::MEMBAR: break;
                case Opcode::ENDLOOP: next = opening(l.pc); break;
                case Opcode::BREAK:
                    if (taken) next = loop_end(l.pc) + 1;
                    break;
                case Opcode::CONTINUE:
                    if (taken) next = loop_end(l.pc);
                    break;
                case Opcode::EXIT: l.done = taken; break;
                default: compute(i, n);
            }
            l.pc = next;
        }
    }

    void compute(const Instruction& i, std::size_t n) {
        Lane& l = lanes_[n];
        const auto src = [&](int k) { return read(i.src[k], operand_type(i.opcode, i.type, k), n); };
        if (has_address(i.opcode)) {
            std::uint64_t& e = element(i, n);
            if (i.opcode == Opcode::STG || i.opcode == Opcode::STS) {
                e = narrow(i.type, src(0));
                return;
            }
            const std::uint64_t old = e;
            if (is_atomic(i.opcode)) e = combine(i.opcode, i.type, old, src(0), src(1));
            l.r[static_cast<std::size_t>(i.dst)] = widen(i.type, old);
            return;
        }
        DType source = i.type;
        if (i.opcode == Opcode::CVT)
            source = i.src[0].kind == Operand::Kind::reg ? p_.registers[i.src[0].value]
                                                         : p_.parameters[i.src[0].value].dtype;
        l.r[static_cast<std::size_t>(i.dst)] =
            i.opcode == Opcode::MOV ? src(0) : evaluate(i.opcode, i.type, source, src(0), src(1), src(2));
    }

    static std::uint64_t combine(Opcode o, DType t, std::uint64_t old, std::uint64_t a, std::uint64_t b) {
        switch (o) {
            case Opcode::ATOM_ADD: return evaluate(Opcode::ADD, t, t, old, a, 0);
            case Opcode::ATOM_AND: return old & a;
            case Opcode::ATOM_OR: return old | a;
            case Opcode::ATOM_XOR: return old ^ a;
            case Opcode::ATOM_EXCH: return a;
            case Opcode::ATOM_CAS: return old == a ? b : old;
            default: break;
        }
        const bool least = o == Opcode::ATOM_MIN;
        if (!is_float(t)) return (to_wide(t, old) < to_wide(t, a)) == least ? old : a;
        if (is_nan(t, old) || is_nan(t, a)) return from_double(t, std::nan(""));
        const double x = to_double(t, old), y = to_double(t, a);
        if (x == y) return std::signbit(x) == least ? old : a;
        return (x < y) == least ? old : a;
    }

    // All lanes that are left stand at the same instruction.
    void meet() {
        const std::size_t pc = lanes_[0].pc;
        for (const Lane& l : lanes_)
            if (l.done || l.pc != pc) throw std::runtime_error("reference: lanes have gone different ways");
        const Instruction& i = p_.instructions[pc];
        Bits values, results, warps;
        for (std::size_t n = 0; n < lanes_.size(); ++n) values.push_back(read(i.src[0], i.type, n));
        if (is_warp_reduction(i.opcode) || is_block_reduction(i.opcode))
            for (std::size_t w = 0; w < lanes_.size(); w += 32) warps.push_back(warp_value(i, values, w));
        if (is_block_reduction(i.opcode)) {
            std::uint64_t all = warps[0];
            for (std::size_t w = 1; w < warps.size(); ++w) all = fold(i, all, warps[w]);
            warps.assign(warps.size(), all);
        }
        for (std::size_t n = 0; n < lanes_.size(); ++n) {
            const std::size_t warp = n / 32 * 32, lane = n % 32;
            if (is_shuffle(i.opcode)) {
                const std::uint64_t by = read(i.src[1], DType::u32, n);
                std::uint64_t from = lane;
                if (i.opcode == Opcode::SHFL_IDX) from = by;
                if (i.opcode == Opcode::SHFL_UP && by <= lane) from = lane - by;
                if (i.opcode == Opcode::SHFL_DOWN) from = lane + by;
                if (i.opcode == Opcode::SHFL_XOR) from = lane ^ by;
                results.push_back(from < 32 && warp + from < lanes_.size() ? values[warp + from] : values[n]);
            } else if (!warps.empty()) {
                results.push_back(warps[n / 32]);
            }
        }
        for (std::size_t n = 0; n < lanes_.size(); ++n) {
            if (i.dst >= 0) lanes_[n].r[static_cast<std::size_t>(i.dst)] = results[n];
            ++lanes_[n].pc;
        }
    }

    static std::uint64_t fold(const Instruction& i, std::uint64_t a, std::uint64_t b) {
        static const Opcode kOpcodes[] = {Opcode::ADD, Opcode::MUL, Opcode::MIN, Opcode::MAX};
        const Opcode first = is_warp_reduction(i.opcode) ? Opcode::RED_ADD_WARP : Opcode::RED_ADD_BLOCK;
        return evaluate(kOpcodes[static_cast<int>(i.opcode) - static_cast<int>(first)], i.type, i.type, a, b,
                        0);
    }
    // The tree as lane 0 of the warp sees it: of lanes from, from + 1, ... it holds those that are multiples of a power of two
    // apart.
    static std::uint64_t tree(const Instruction& i, const Bits& v, std::size_t warp, std::size_t from,
                              std::size_t apart, std::size_t reach) {
        const std::size_t there = std::min<std::size_t>(v.size() - warp, 32);
        if (apart == reach) return v[warp + from];
        // The last step joined lanes that are `apart` from each other, each of which had joined those further apart.
        const std::uint64_t left = tree(i, v, warp, from, apart * 2, reach);
        if (from + apart >= there) return left;
        return fold(i, left, tree(i, v, warp, from + apart, apart * 2, reach));
    }
    static std::uint64_t warp_value(const Instruction& i, const Bits& v, std::size_t warp) {
        return tree(i, v, warp, 0, 1, 32);
    }

    const Program& p_;
    std::vector<Bits>& buffers_;
    std::vector<int> number_;
    Bits scalar_;
    std::vector<Bits> shared_;
    std::vector<Lane> lanes_;
    GridDims grid_{}, dims_{};
    std::uint32_t block_[3] = {};
    std::int64_t count_ = 0;
};

}  // namespace invar::test
