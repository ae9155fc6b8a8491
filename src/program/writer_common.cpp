// SPDX-License-Identifier: Apache-2.0
// Values and arithmetic in the common part of the C dialects; writer_prelude.h has the functions that it names.
#include "program/writer_common.h"

#include <bit>

namespace invar {

std::string written_bits(std::uint64_t value, const char* end) {
    static const char* const kDigits = "0123456789abcdef";
    std::string digits;
    do {
        digits.insert(digits.begin(), kDigits[value & 15]);
    } while ((value >>= 4) != 0);
    return "0x" + digits + end;
}

std::string written_storage(DType t) {
    return t == DType::f16 || t == DType::bf16 ? "u16" : std::string(dtype_name(t));
}

std::string written_value(DType t, const std::string& word) {
    if (t == DType::f32 || t == DType::f64) return "bits_" + std::string(dtype_name(t)) + "(" + word + ")";
    return "(" + std::string(dtype_name(t)) + ")" + word;
}

std::string written_pointer(const Parameter& buffer, const char* memory, bool says_const) {
    return memory + std::string(says_const && !writes(buffer.access) ? "const " : "") +
           written_storage(buffer.dtype) + "*";
}

std::string written_binding(std::size_t number) { return " [[buffer(" + std::to_string(number) + ")]]"; }

std::string written_load(DType t, const std::string& raw) {
    if (t == DType::f16 || t == DType::bf16) return "LDG_" + std::string(dtype_name(t)) + "(" + raw + ")";
    return t == DType::pred ? "(pred)(" + raw + " != 0)" : raw;
}
std::string written_store(DType t, const std::string& value) {
    return t == DType::f16 || t == DType::bf16 ? "STG_" + std::string(dtype_name(t)) + "(" + value + ")"
                                               : value;
}

namespace {
// MIN or MAX by a number that is neither NaN nor zero: what the order of two zeros and of NaN asks for falls away.
bool is_limit(const Instruction& i) {
    if ((i.opcode != Opcode::MIN && i.opcode != Opcode::MAX) || i.type != DType::f32 ||
        i.src[1].kind != Operand::Kind::immediate)
        return false;
    const float limit = std::bit_cast<float>(static_cast<std::uint32_t>(i.src[1].value));
    return limit < 0 || limit > 0;
}
}  // namespace

std::string written_expression(const Program& p, const Instruction& i,
                               FunctionRef<std::string(const Operand&, DType)> operand) {
    const std::string type(dtype_name(i.type));
    const auto src = [&](int n) { return operand(i.src[n], operand_type(i.opcode, i.type, n)); };
    if (is_set(i.opcode)) {
        static const char* const kSigns[] = {"==", "!=", "<", "<=", ">", ">="};
        return "(pred)(" + src(0) + " " +
               kSigns[static_cast<int>(i.opcode) - static_cast<int>(Opcode::SET_EQ)] + " " + src(1) + ")";
    }
    switch (i.opcode) {
        case Opcode::MOV: return src(0);
        case Opcode::SEL: return src(0) + " ? " + src(1) + " : " + src(2);
        case Opcode::CVT: {
            const Operand& o = i.src[0];
            const DType from = o.kind == Operand::Kind::reg
                                   ? p.registers[static_cast<std::size_t>(o.value)]
                                   : p.parameters[static_cast<std::size_t>(o.value)].dtype;
            const std::string value = operand(o, from);
            if (i.type == DType::pred) return "(pred)(" + value + " != 0)";
            if (is_float(from) && is_int(i.type))
                return "CVT_" + type + "_" + std::string(dtype_name(from)) + "(" + value + ")";
            return "(" + type + ")" + value;
        }
        default: break;
    }
    std::string text = std::string(info(i.opcode).name) + (is_limit(i) ? "_BY_" : "_") + type + "(";
    for (int n = 0; n < info(i.opcode).operands; ++n) text += (n ? ", " : "") + src(n);
    return text + ")";
}

}  // namespace invar
