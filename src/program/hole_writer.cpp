// SPDX-License-Identifier: Apache-2.0
// Prologues and epilogues as text: statements as the writer of whole kernels has them, over operands of a row.
#include "program/hole_writer.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "program/writer_common.h"
#include "program/writer_dialect.h"

namespace invar {
namespace {

// Preludes of families have no name for truth values in memory.
std::string storage(DType t) { return t == DType::pred ? "u8" : written_storage(t); }
std::string number(std::size_t i) { return std::to_string(i); }

class HoleWriter {
public:
    HoleWriter(const Program& p, std::size_t through, std::span<const HoleOperand> operands, int axes)
        : p_(p), operands_(operands), axes_(static_cast<std::size_t>(axes)) {
        const std::vector<int> buffers = p.buffers();
        for (std::size_t b = 0; b < buffers.size(); ++b)
            operand_of_.emplace_back(buffers[b], b < through ? b : b - 1);
        through_parameter_ = buffers.at(through);
        scalars_ = p.scalars();
    }

    std::string text(std::string_view name) {
        std::string big(name);
        for (char& c : big) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        const DType value = compute_type(p_.parameters[static_cast<std::size_t>(through_parameter_)].dtype);
        out_ = "\nnamespace " + std::string(name) +
               " {\nusing namespace written;\nusing Value = " + storage(value) +
               ";\nconstexpr int kWords = " + std::to_string(std::max(1, words())) + ";\n";
        row_struct();
        row_function();
        out_ += "}\n#define " + big + "_PARAMETERS " + list(true, std::string(1, name[0])) + "\n#define " +
                big + "_ARGUMENTS " + list(false, std::string(1, name[0])) + "\n";
        return out_;
    }

    int words() const {
        std::size_t strided = 0;
        for (const HoleOperand& o : operands_) strided += !o.flat;
        return static_cast<int>((strided > 0 ? axes_ * (1 + strided) : 0) + scalars_.size());
    }

private:
    std::string pointer(const HoleOperand& o) const {
        return (o.written ? "" : "const ") + storage(o.dtype) + "*";
    }
    std::string list(bool declare, const std::string& prefix) const {
        std::string text;
        for (std::size_t b = 0; b < operands_.size(); ++b)
            text += (declare ? pointer(operands_[b]) + " " : "") + prefix + number(b) + ", ";
        return text;
    }

    std::string operand(const Operand& o, DType t) const {
        switch (o.kind) {
            case Operand::Kind::reg: return "r" + std::to_string(o.value) + "[k]";
            case Operand::Kind::scalar: {
                const auto at = std::find(scalars_.begin(), scalars_.end(), static_cast<int>(o.value));
                return "s" + std::to_string(at - scalars_.begin());
            }
            case Operand::Kind::immediate: return written_value(t, written_bits(o.value, "ull"));
            case Operand::Kind::gid:
            case Operand::Kind::special:
            case Operand::Kind::none: break;
        }
        return "0";
    }

    void each(const std::string& statement) {
        out_ += "#pragma unroll\n    for (int k = 0; k < N; ++k) " + statement + ";\n";
    }

    void statement(const Instruction& i) {
        const std::string r = "r" + std::to_string(i.dst);
        if (i.dst >= 0)
            out_ += "    " + storage(p_.registers[static_cast<std::size_t>(i.dst)]) + " " + r + "[N];\n";
        if (i.buffer < 0)
            return each(r + "[k] = " + written_expression(p_, i, [this](const Operand& o, DType t) {
                            return operand(o, t);
                        }));
        const bool load = i.opcode == Opcode::LDG;
        if (i.buffer == through_parameter_) {
            if (load) return each(r + "[k] = v[k]");
            return each("v[k] = " + operand(i.src[0], compute_type(i.type)));
        }
        const auto found = std::find_if(operand_of_.begin(), operand_of_.end(),
                                        [&](const auto& o) { return o.first == i.buffer; });
        const std::size_t b = found->second;
        const std::string pointer = "b" + number(b);
        if (!operands_[b].flat && !operands_[b].along)  // one element a row
            return each(r + "[k] = " + written_load(i.type, "*" + pointer));
        const std::string raw = "x" + number(serial_++);
        out_ += "    alignas(16) " + storage(i.type) + " " + raw + "[N];\n";
        const std::string bytes = "copy_bytes<N * sizeof(" + storage(i.type) + ")>(";
        if (load) {
            out_ += "    " + bytes + raw + ", " + pointer + " + i);\n";
            return each(r + "[k] = " + written_load(i.type, raw + "[k]"));
        }
        each(raw + "[k] = " + written_store(i.type, operand(i.src[0], compute_type(i.type))));
        out_ += "    " + bytes + pointer + " + i, " + raw + ");\n";
    }

    void row_struct() {
        out_ += "struct Row {\n";
        for (std::size_t b = 0; b < operands_.size(); ++b)
            out_ += "  " + pointer(operands_[b]) + " b" + number(b) + ";\n";
        for (std::size_t s = 0; s < scalars_.size(); ++s)
            out_ += "  " + storage(p_.parameters[static_cast<std::size_t>(scalars_[s])].dtype) + " s" +
                    number(s) + ";\n";
        std::string aligned;
        for (std::size_t b = 0; b < operands_.size(); ++b)
            if (operands_[b].flat || operands_[b].along)
                aligned += " && ((u64)b" + number(b) + " & (N * sizeof(" + storage(operands_[b].dtype) +
                           ") - 1) & 15) == 0";
        out_ += "  template <int N> INLINE bool aligned() const { return true" + aligned +
                "; }\n  template <int N> INLINE void run(i64 i, Value (&v)[N]) const {\n";
        for (const Instruction& i : p_.instructions) statement(i);
        out_ += "  }\n};\n";
    }

    void row_function() {
        out_ += "PRIVATE Row row(" + list(true, "b") + "i64 r, i64 n, const i64* w) {\n  Row o;\n";
        const bool strided =
            std::any_of(operands_.begin(), operands_.end(), [](const HoleOperand& o) { return !o.flat; });
        std::size_t word = strided ? axes_ : 0;
        if (strided) {
            out_ += "  i64 rest = r;\n";
            for (std::size_t a = axes_; a-- > 1;)
                out_ += "  const i64 a" + number(a) + " = rest % w[" + number(a) + "]; rest /= w[" +
                        number(a) + "];\n";
            out_ += "  const i64 a0 = rest;\n";
        }
        for (std::size_t b = 0; b < operands_.size(); ++b) {
            out_ += "  o.b" + number(b) + " = b" + number(b);
            if (operands_[b].flat) {
                out_ += " + r * n";
            } else {
                for (std::size_t a = 0; a < axes_; ++a)
                    out_ += " + a" + number(a) + " * w[" + number(word++) + "]";
            }
            out_ += ";\n";
        }
        for (std::size_t s = 0; s < scalars_.size(); ++s)
            out_ += "  o.s" + number(s) + " = " +
                    written_value(p_.parameters[static_cast<std::size_t>(scalars_[s])].dtype,
                                  "(u64)w[" + number(word++) + "]") +
                    ";\n";
        out_ += "  return o;\n}\n";
    }

    const Program& p_;
    std::span<const HoleOperand> operands_;
    const std::size_t axes_;
    int through_parameter_ = 0;
    std::vector<std::pair<int, std::size_t>> operand_of_;  // parameter, number of the operand
    std::vector<int> scalars_;
    std::size_t serial_ = 0;
    std::string out_;
};

}  // namespace

std::string hole_prelude() {
    std::string text = "\nnamespace written {\n";
    for (const char* part : {kCuda.prelude, kCuda.conversions, kCuda.near, kWriterPrelude, kPreludeCvtF64,
                             kPreludeRest, kPreludeF64, kCuda.end})
        text += part;
    // Several elements of an operand: a register's worth at a time, 16 bytes where there are as many.
    return text + R"(
template <int BYTES> INLINE void copy_bytes(void* to, const void* from) {
    if constexpr (BYTES % 16 == 0) {
#pragma unroll
        for (int j = 0; j < BYTES / 16; ++j) ((uint4*)to)[j] = ((const uint4*)from)[j];
    } else if constexpr (BYTES == 8) {
        *(uint2*)to = *(const uint2*)from;
    } else if constexpr (BYTES == 4) {
        *(u32*)to = *(const u32*)from;
    } else if constexpr (BYTES == 2) {
        *(u16*)to = *(const u16*)from;
    } else {
        static_assert(BYTES == 1, "a power of two");
        *(u8*)to = *(const u8*)from;
    }
}
}
)";
}

std::string write_hole(const Program& program, std::size_t through, std::span<const HoleOperand> operands,
                       int axes, std::string_view name) {
    return HoleWriter(program, through, operands, axes).text(name);
}

int hole_words(const Program& program, std::span<const HoleOperand> operands, int axes) {
    return HoleWriter(program, 0, operands, axes).words();
}

}  // namespace invar
