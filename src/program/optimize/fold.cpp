// SPDX-License-Identifier: Apache-2.0
// Constants and copies, and cheaper instructions that give the same bits.
#include <bit>
#include <cmath>
#include <optional>

#include "program/optimize/passes.h"

namespace invar::optimize_passes {
namespace {

constexpr Operand::Kind kImmediate = Operand::Kind::immediate;

class Folder {
public:
    explicit Folder(Program& p) : p_(p), writes_(write_counts(p)), known_(p.registers.size()) {}

    bool run() {
        for (Instruction& i : p_.instructions) {
            substitute(i);
            if (is_pure(i.opcode)) {
                if (!constant(i)) simpler(i);
                remember(i);
            }
        }
        return changed_;
    }

private:
    const Operand* known(const Operand& o) const {
        if (o.kind != Operand::Kind::reg) return nullptr;
        const Operand& k = known_[static_cast<std::size_t>(o.value)];
        return k.kind == Operand::Kind::none ? nullptr : &k;
    }

    // Reads of copies become reads of what was copied.
    void substitute(Instruction& i) {
        if (const Operand* k = known(i.address)) {
            // gid counts elements from a buffer's start where it has no strides; constants stay in registers, since an
            // address that can be seen to be wrong is refused even where no lane comes to it.
            const bool flat = i.shared || !p_.parameters[static_cast<std::size_t>(i.buffer)].strided;
            const bool whole = size_of(type_of(i.address)) == 8;
            if (k->kind == Operand::Kind::reg || (k->kind == Operand::Kind::gid && flat && whole))
                replace(i.address, *k);
        }
        for (Operand& o : i.src) {
            const Operand* k = known(o);
            if (k == nullptr) continue;
            // Which MOV alone reads.
            if (k->kind == Operand::Kind::gid || k->kind == Operand::Kind::special ||
                k->kind == Operand::Kind::size)
                continue;
            // CVT takes no immediate, and what branches on one is left as it is.
            if (k->kind == kImmediate && (i.opcode == Opcode::CVT || is_control(i.opcode))) continue;
            if (k->kind == Operand::Kind::scalar && is_control(i.opcode)) continue;
            replace(o, *k);
        }
    }
    void replace(Operand& o, const Operand& by) {
        o = by;
        changed_ = true;
    }
    DType type_of(const Operand& reg) const { return p_.registers[static_cast<std::size_t>(reg.value)]; }

    bool constant(Instruction& i) {
        // What is only near to the exact result is the device's own.
        const bool near =
            info(i.opcode).max_ulp > 0 || (is_pointwise(i.opcode) && compute_type(i.type) != i.type);
        if (i.opcode == Opcode::MOV || near) return false;
        Instruction of_immediates = i;
        DType from = i.type;
        if (i.opcode == Opcode::CVT) {
            const Operand* k = known(i.src[0]);
            if (k == nullptr || k->kind != kImmediate) return false;
            from = type_of(i.src[0]);
            of_immediates.src[0] = *k;
        }
        for (int k = 0; k < operand_count(i); ++k)
            if (of_immediates.src[k].kind != kImmediate) return false;
        become(i, {kImmediate, evaluate(of_immediates, from)});
        return true;
    }

    void become(Instruction& i, const Operand& value) {
        i.type = result_type(i.opcode, i.type);
        i.opcode = Opcode::MOV;
        i.src[0] = value;
        i.src[1] = i.src[2] = {};
        changed_ = true;
    }
    void become(Instruction& i, Opcode o, const Operand& a, const Operand& b) {
        i.opcode = o;
        i.src[0] = a;
        i.src[1] = b;
        i.src[2] = {};
        changed_ = true;
    }

    // The exponent of an immediate power of two, where the operand is one and not 1 itself.
    static std::optional<int> power(const Operand& o, DType t) {
        if (o.kind != kImmediate || !is_int(t) || o.value < 2 || !std::has_single_bit(o.value))
            return std::nullopt;
        const int exponent = std::countr_zero(o.value);
        // The least of a signed type is a negative number.
        if (!is_unsigned_int(t) && exponent == static_cast<int>(size_of(t)) * 8 - 1) return std::nullopt;
        return exponent;
    }
    static bool is(const Operand& o, DType t, double value) {
        return o.kind == kImmediate && o.value == value_bits(t, value);
    }
    static Operand number(DType t, std::int64_t value) { return {kImmediate, integer_bits(t, value)}; }

    // x / c = x * (1 / c), exactly, where c is a power of two and so is 1 / c.
    static std::optional<Operand> reciprocal(const Operand& o, DType t) {
        if (o.kind != kImmediate || !is_float(t)) return std::nullopt;
        const double c = t == DType::f32 ? std::bit_cast<float>(static_cast<std::uint32_t>(o.value))
                                         : std::bit_cast<double>(o.value);
        int exponent = 0;
        const int most = t == DType::f32 ? 126 : 1022;
        if (!std::isfinite(c) || std::abs(std::frexp(c, &exponent)) != 0.5 || std::abs(exponent - 1) > most)
            return std::nullopt;
        return Operand{kImmediate, value_bits(t, 1 / c)};
    }

    void simpler(Instruction& i) {
        const DType t = i.type;
        const bool integer = is_int(t);
        Operand a = i.src[0], b = i.src[1];
        switch (i.opcode) {
            case Opcode::ADD:
                if (a.kind == kImmediate) std::swap(a, b);
                // x + -0 is x; x + 0 is not, where x is -0.
                if (integer ? is(b, t, 0) : is(b, t, -0.0)) become(i, a);
                break;
            case Opcode::SUB:
                if (is(b, t, 0)) become(i, a);
                break;
            case Opcode::MUL:
                if (a.kind == kImmediate) std::swap(a, b);
                if (is(b, t, 1))
                    become(i, a);
                else if (integer && is(b, t, 0))
                    become(i, b);
                else if (const auto e = power(b, t))
                    become(i, Opcode::SHL, a, number(t, *e));
                break;
            case Opcode::DIV:
                if (is(b, t, 1))
                    become(i, a);
                else if (const auto r = reciprocal(b, t))
                    become(i, Opcode::MUL, a, *r);
                else if (const auto e = power(b, t); e && is_unsigned_int(t))
                    become(i, Opcode::SHR, a, number(t, *e));
                break;
            case Opcode::REM:
                if (power(b, t) && is_unsigned_int(t)) become(i, Opcode::AND, a, {kImmediate, b.value - 1});
                break;
            case Opcode::SHL:
            case Opcode::SHR:
                if (is(b, t, 0)) become(i, a);
                break;
            case Opcode::SEL:
                if (a.kind == kImmediate)
                    become(i, a.value != 0 ? b : i.src[2]);
                else if (b == i.src[2])
                    become(i, b);
                break;
            default: break;
        }
    }

    // What the register holds from here on.
    void remember(const Instruction& i) {
        if (i.opcode != Opcode::MOV || writes_[static_cast<std::size_t>(i.dst)] != 1) return;
        const Operand& o = i.src[0];
        if (o.kind == Operand::Kind::reg && writes_[static_cast<std::size_t>(o.value)] != 1) return;
        known_[static_cast<std::size_t>(i.dst)] = o;
    }

    Program& p_;
    std::vector<int> writes_;
    std::vector<Operand> known_;
    bool changed_ = false;
};

}  // namespace

bool fold(Program& program) { return Folder(program).run(); }

}  // namespace invar::optimize_passes
