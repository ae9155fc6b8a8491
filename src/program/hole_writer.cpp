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
    HoleWriter(const Program& p, std::size_t through, std::span<const HoleOperand> operands, int axes,
               std::string_view name, Language language)
        : p_(p),
          operands_(operands),
          axes_(static_cast<std::size_t>(axes)),
          through_parameter_(p.buffers().at(through)),
          scalars_(p.scalars()),
          name_(name),
          value_(storage(compute_type(p.parameters[static_cast<std::size_t>(through_parameter_)].dtype))),
          portable_(language != Language::cuda),
          metal_(language == Language::metal) {
        const std::vector<int> buffers = p.buffers();
        for (std::size_t b = 0; b < buffers.size(); ++b)
            operand_of_.emplace_back(buffers[b], b < through ? b : b - 1);
    }

    std::string text() {
        std::string big = name_;
        for (char& c : big) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        const std::string prefix(1, name_[0]), most = std::to_string(std::max(1, words()));
        if (portable_)
            out_ = "\n#define " + big + "_WORDS " + most + "\n" + (metal_ ? "namespace written {\n" : "") +
                   "typedef " + value_ + " " + name_ + "_Value;\n";
        else
            out_ = "\nnamespace " + name_ + " {\nusing namespace written;\nusing Value = " + value_ +
                   ";\nconstexpr int kWords = " + most + ";\n";
        row_struct();
        row_function();
        if (metal_ || !portable_) out_ += "}\n";
        if (metal_)
            for (const char* made : {"_Value", "_Row", "_run", "_row"})
                out_ += "using written::" + name_ + made + ";\n";
        out_ += "#define " + big + "_ARGUMENTS " + list(false, prefix) + "\n#define " + big + "_PARAMETERS ";
        if (!portable_) return out_ + list(true, prefix) + "\n";
        // An epilogue's arguments come behind those of the prologue, or behind x.
        const std::string first = name_ == "epilogue" ? "PROLOGUE_COUNT + " : "";
        std::string pointers;
        for (std::size_t b = 0; b < operands_.size(); ++b) {
            const HoleOperand& o = operands_[b];
            const std::string own = prefix + number(b);
            out_ += (o.written ? "BUFFER(" : "INPUT(") + first + number(b) + ", " + own + "), ";
            pointers +=
                "POINTER(" + std::string(o.written ? "" : "const ") + storage(o.dtype) + ", " + own + "); ";
        }
        return out_ + "\n#define " + big + "_POINTERS " + pointers + "\n#define " + big + "_COUNT " +
               number(operands_.size()) + "\n";
    }

    int words() const {
        std::size_t strided = 0;
        for (const HoleOperand& o : operands_) strided += !o.flat;
        return static_cast<int>((strided > 0 ? axes_ * (1 + strided) : 0) + scalars_.size());
    }

private:
    std::string pointer(const HoleOperand& o) const {
        return (metal_      ? "device "
                : portable_ ? "global "
                            : "") +
               std::string(o.written ? "" : "const ") + storage(o.dtype) + "*";
    }
    std::string list(bool declare, const std::string& prefix) const {
        std::string text;
        for (std::size_t b = 0; b < operands_.size(); ++b)
            text += (declare ? pointer(operands_[b]) + " " : "") + prefix + number(b) + ", ";
        return text;
    }

    std::string operand(const Operand& o, DType t) const {
        switch (o.kind) {
            case Operand::Kind::reg: return "r" + std::to_string(o.value) + (portable_ ? "" : "[k]");
            case Operand::Kind::scalar: {
                const auto at = std::find(scalars_.begin(), scalars_.end(), static_cast<int>(o.value));
                return (portable_ ? "o.s" : "s") + std::to_string(at - scalars_.begin());
            }
            case Operand::Kind::immediate:
                return written_value(t, written_bits(o.value, portable_ ? "ul" : "ull"));
            case Operand::Kind::gid:
            case Operand::Kind::special:
            case Operand::Kind::size:
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
        const std::size_t b = operand_number(i.buffer);
        if (load)
            return each(r +
                        "[k] = " + written_load(i.type, "raw.x" + number(b) + (one_a_row(b) ? "" : "[k]")));
        const std::string made = "y" + number(serial_++);
        out_ += "    alignas(16) " + storage(i.type) + " " + made + "[N];\n";
        each(made + "[k] = " + written_store(i.type, operand(i.src[0], compute_type(i.type))));
        out_ +=
            "    copy_bytes<N * sizeof(" + storage(i.type) + ")>(b" + number(b) + " + i, " + made + ");\n";
    }

    bool one_a_row(std::size_t b) const { return !operands_[b].flat && !operands_[b].along; }

    // What the program reads of N elements, as it lies in memory, and how it is loaded: all of it, so that a kernel can ask for
    // several pieces before it computes the first.
    void raw_struct() {
        std::vector<bool> read(operands_.size());
        for (const Instruction& i : p_.instructions)
            if (i.opcode == Opcode::LDG && i.buffer >= 0 && i.buffer != through_parameter_)
                read[operand_number(i.buffer)] = true;
        std::string arrays, single, loads, bytes = "0";
        for (std::size_t b = 0; b < operands_.size(); ++b) {
            if (!read[b]) continue;
            const std::string type = storage(operands_[b].dtype), x = "x" + number(b), from = "b" + number(b);
            if (one_a_row(b)) {
                single += "    " + type + " " + x + ";\n";
                loads += "    raw." + x + " = *" + from + ";\n";
                continue;
            }
            arrays += "    alignas(16) " + type + " " + x + "[N];\n";
            loads += "    copy_bytes<N * sizeof(" + type + ")" + (operands_[b].flat ? ", ONCE" : "") +
                     ">(raw." + x + ", " + from + " + i);\n";
            bytes += " + sizeof(" + type + ")";
        }
        out_ += "  template <int N> struct Raw {\n    static constexpr int kBytes = N * (int)(" + bytes +
                ");\n" + arrays + single +
                "  };\n  template <int N, bool ONCE = false> INLINE void load(i64 i, Raw<N>& raw) const {\n" +
                loads + "  }\n";
    }

    // One element; o is the row.
    void statement_of_one(const Instruction& i) {
        const auto expression = [&] {
            return written_expression(p_, i, [this](const Operand& o, DType t) { return operand(o, t); });
        };
        const std::string made = i.dst < 0
                                     ? ""
                                     : "  const " + storage(p_.registers[static_cast<std::size_t>(i.dst)]) +
                                           " r" + std::to_string(i.dst) + " = ";
        if (i.buffer < 0) {
            out_ += made + expression() + ";\n";
            return;
        }
        const bool load = i.opcode == Opcode::LDG;
        if (i.buffer == through_parameter_) {
            out_ += load ? made + "v;\n" : "  v = " + operand(i.src[0], compute_type(i.type)) + ";\n";
            return;
        }
        const std::size_t b = operand_number(i.buffer);
        const bool one = !operands_[b].flat && !operands_[b].along;
        const std::string element = "o.b" + number(b) + (one ? "[0]" : "[i]");
        out_ += load ? made + written_load(i.type, element) + ";\n"
                     : "  " + element + " = " +
                           written_store(i.type, operand(i.src[0], compute_type(i.type))) + ";\n";
    }

    std::size_t operand_number(int parameter) const {
        return std::find_if(operand_of_.begin(), operand_of_.end(),
                            [&](const auto& o) { return o.first == parameter; })
            ->second;
    }

    void row_struct() {
        const std::string row = portable_ ? name_ + "_Row" : "Row";
        out_ += portable_ ? "typedef struct {\n" : "struct Row {\n";
        for (std::size_t b = 0; b < operands_.size(); ++b)
            out_ += "  " + pointer(operands_[b]) + " b" + number(b) + ";\n";
        for (std::size_t s = 0; s < scalars_.size(); ++s)
            out_ += "  " + storage(p_.parameters[static_cast<std::size_t>(scalars_[s])].dtype) + " s" +
                    number(s) + ";\n";
        if (portable_) {
            if (operands_.empty() && scalars_.empty()) out_ += "  i64 nothing;\n";
            out_ += "} " + row + ";\nPRIVATE " + value_ + " " + name_ + "_run(" + row + " o, i64 i, " +
                    value_ + " v) {\n";
            for (const Instruction& i : p_.instructions) statement_of_one(i);
            out_ += "  return v;\n}\n";
            return;
        }
        std::string aligned;
        for (std::size_t b = 0; b < operands_.size(); ++b)
            if (operands_[b].flat || operands_[b].along)
                aligned += " && ((u64)b" + number(b) + " & (N * sizeof(" + storage(operands_[b].dtype) +
                           ") - 1) & 15) == 0";
        out_ += "  template <int N> INLINE bool aligned() const { return true" + aligned + "; }\n";
        raw_struct();
        out_ += "  template <int N> INLINE void run(i64 i, const Raw<N>& raw, Value (&v)[N]) const {\n";
        for (const Instruction& i : p_.instructions) statement(i);
        out_ +=
            "  }\n  template <int N> INLINE void run(i64 i, Value (&v)[N]) const {\n    Raw<N> raw;\n"
            "    load<N>(i, raw);\n    run<N>(i, raw, v);\n  }\n};\n";
    }

    void row_function() {
        const std::string type = portable_ ? name_ + "_Row" : "Row";
        out_ += "PRIVATE " + type + " " + (portable_ ? name_ + "_row" : "row") + "(" + list(true, "b") +
                "i64 r, i64 n, " + (metal_ ? "constant" : "const") + " i64* w) {\n  " + type + " o;\n";
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
    const int through_parameter_;
    std::vector<std::pair<int, std::size_t>> operand_of_;  // parameter, number of the operand
    const std::vector<int> scalars_;
    const std::string name_, value_;
    const bool portable_, metal_;
    std::size_t serial_ = 0;
    std::string out_;
};

}  // namespace

std::string hole_prelude(Language language) {
    if (language != Language::cuda) {
        const bool metal = language == Language::metal;
        const Dialect& d = metal ? kMetal : kOpencl;
        std::string text = metal ? "\nnamespace written {\n" : "";
        for (const char* part :
             {d.prelude, d.conversions, d.near, kWriterPrelude, kPreludeRest, d.end, d.functions16})
            text += part;
        return metal ? text + "}\n" : text;
    }
    std::string text = "\nnamespace written {\n";
    for (const char* part : {kCuda.prelude, kCuda.conversions, kCuda.near, kWriterPrelude, kPreludeCvtF64,
                             kPreludeRest, kPreludeF64, kCuda.end, kCuda.functions16})
        text += part;
    // Several elements of an operand: a register's worth at a time, 16 bytes where there are as many. ONCE: nobody reads them
    // again, so caches drop them first.
    return text + R"(
template <int BYTES, bool ONCE = false> INLINE void copy_bytes(void* to, const void* from) {
    if constexpr (BYTES % 16 == 0) {
#pragma unroll
        for (int j = 0; j < BYTES / 16; ++j)
            ((uint4*)to)[j] = ONCE ? __ldcs((const uint4*)from + j) : ((const uint4*)from)[j];
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
                       int axes, std::string_view name, Language language) {
    return HoleWriter(program, through, operands, axes, name, language).text();
}

}  // namespace invar
