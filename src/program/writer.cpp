// SPDX-License-Identifier: Apache-2.0
// Writes the kernels of a program: one statement an instruction, each over the few elements that a thread holds.
#include "program/writer.h"

#include <algorithm>

#include "base/checked.h"
#include "program/grid_writer.h"
#include "program/pointwise.h"
#include "program/program_faults.h"
#include "program/writer_common.h"
#include "program/writer_dialect.h"

namespace invar {
namespace {

constexpr int kDims = 2;                             // words before the dims
constexpr int kScalars = kDims + kMaxPointwiseRank;  // words before the scalars

// Whether the program has addresses of that kind into a buffer; by a register: they depend on data.
bool by(const Program& program, int parameter, Operand::Kind kind) {
    return std::any_of(program.instructions.begin(), program.instructions.end(),
                       [&](const Instruction& i) { return i.buffer == parameter && i.address.kind == kind; });
}

int word_count(const Program& program) {
    if (program.is_grid()) return static_cast<int>(1 + program.buffers().size() + program.scalars().size());
    int strided = 0;
    for (const Parameter& p : program.parameters) strided += p.buffer && p.strided;
    int words = kScalars + static_cast<int>(program.scalars().size()) + strided * (1 + kMaxPointwiseRank);
    for (const int b : program.buffers()) words += by(program, b, Operand::Kind::reg);
    return words;
}

class ProgramWriter {
public:
    ProgramWriter(const Program& program, const Dialect& dialect)
        : d_(dialect),
          p_(program),
          buffers_(program.buffers()),
          scalars_(program.scalars()),
          width_(vector_width(program)) {
        for (const int b : buffers_) {
            strided_of_.push_back(parameter(b).strided ? strided_++ : -1);
            checked_of_.push_back(by(p_, b, Operand::Kind::reg) ? checked_++ : -1);
        }
        words_ = word_count(program);
        words_type_ = std::string(d_.words_space) + "const " + d_.structure + p_.name + "_words";
        if (d_.offsets && opencl_words_in_memory(program)) words_type_ = "constant " + words_type_;
        for (const Instruction& i : p_.instructions)
            if (i.opcode == Opcode::STG && i.address.kind == Operand::Kind::reg)
                throw Unsupported("program '" + p_.name +
                                  "': stores to addresses that depend on data are done in the order of the "
                                  "indices; run it on the cpu, or write it as a grid program");
    }

    std::string text() {
        out_ = "\nstruct " + p_.name + "_words { i64 w[" + std::to_string(words_) + "]; };\n";
        run_function("run1", 1, false);
        if (width_ > 1) run_function("run" + std::to_string(width_), width_, false);
        run_function("lane", 1, true);
        flat_kernel();
        view_kernel("view", "u32");
        view_kernel("view_wide", "u64");
        return out_;
    }

private:
    const Parameter& parameter(int index) const { return p_.parameters[static_cast<std::size_t>(index)]; }

    // Position of a buffer parameter among the buffers.
    std::size_t buffer_number(int parameter) const {
        return static_cast<std::size_t>(std::find(buffers_.begin(), buffers_.end(), parameter) -
                                        buffers_.begin());
    }

    std::string buffer_arguments(bool declare, bool bind = false) const {
        std::string text;
        for (std::size_t b = 0; b < buffers_.size(); ++b)
            text += (declare ? written_pointer(parameter(buffers_[b]), d_.memory, d_.bindings) + " " : "") +
                    "b" + std::to_string(b) + (bind ? written_binding(b) : "") + ", ";
        return text;
    }

    // A pointer to each buffer's memory and the offset in bytes of the piece.
    std::string placed_arguments() const {
        std::string text;
        for (std::size_t b = 0; b < buffers_.size(); ++b)
            text += d_.memory + written_storage(parameter(buffers_[b]).dtype) + "* m" + std::to_string(b) +
                    ", u64 f" + std::to_string(b) + ", ";
        return text;
    }

    // Where to report faults, last of the arguments of programs that do.
    std::string faults(bool declare, bool bind = false) const {
        if (checked_ == 0) return "";
        return ", " + std::string(declare ? d_.faults : "") + "faults" +
               (bind ? written_binding(buffers_.size() + 1) : "");
    }

    std::string offset_arguments(bool declare) const {
        std::string text;
        for (int s = 0; s < strided_; ++s)
            text += std::string(declare ? "i64 " : "") + "o" + std::to_string(s) + ", ";
        return text;
    }

    std::string operand(const Operand& o, DType t) const {
        switch (o.kind) {
            case Operand::Kind::reg: return "r" + std::to_string(o.value) + "[k]";
            case Operand::Kind::scalar: {
                const auto at = std::find(scalars_.begin(), scalars_.end(), static_cast<int>(o.value));
                return "s" + std::to_string(at - scalars_.begin());
            }
            case Operand::Kind::immediate: return written_value(t, written_bits(o.value, d_.literal_end));
            case Operand::Kind::gid: return "(" + std::string(dtype_name(t)) + ")(i + k)";
            case Operand::Kind::special:  // of grid programs alone
            case Operand::Kind::size:
            case Operand::Kind::none: break;
        }
        return "0";
    }

    // The value that the instruction computes, for element k.
    std::string expression(const Instruction& i) const {
        return written_expression(p_, i, [this](const Operand& o, DType t) { return operand(o, t); });
    }

    // Of a register, for the elements that a thread holds.
    std::string declaration(std::int32_t reg, int width) const {
        return "  " + std::string(dtype_name(p_.registers[static_cast<std::size_t>(reg)])) + " r" +
               std::to_string(reg) + "[" + std::to_string(width) + "];\n";
    }

    // A load of each element at an address that depends on data. One report for all that a thread holds: the loads stay side by
    // side.
    void checked_load(std::size_t number, const Instruction& i, int width, const std::string& each,
                      const std::string& unroll) {
        const std::size_t b = buffer_number(i.buffer);
        const std::string n = std::to_string(number), to = "r" + std::to_string(i.dst) + "[k]",
                          held = "(u64)" + std::string(d_.word) +
                                 std::to_string(kScalars + static_cast<int>(scalars_.size()) +
                                                strided_ * (1 + kMaxPointwiseRank) + checked_of_[b]) +
                                 "]";
        out_ += declaration(i.dst, width) + "  u64 wrong" + n + " = 0, at" + n + " = ~wrong" + n + ";\n" +
                unroll + each + "{\n    const u64 e = (u64)" + operand(i.address, DType::i64) + ";\n    " +
                to + " = 0;\n    if (e < " + held + ") " + to + " = " +
                written_load(i.type, "b" + std::to_string(b) + "[e]") + "; else { wrong" + n + " = e; at" +
                n + " = i + k; }\n  }\n  if (at" + n + " + 1 != 0) " +
                written_fault(p_, number, d_.language, "at" + n, "0", "wrong" + n, held) + "\n";
    }

    void statement(std::size_t number, int width, bool view) {
        const Instruction& i = p_.instructions[number];
        const std::string each = "  for (int k = 0; k < " + std::to_string(width) + "; ++k) ";
        const std::string unroll = width > 1 ? "  #pragma unroll\n" : "";
        if (i.buffer < 0) {
            out_ += declaration(i.dst, width) + unroll + each + "r" + std::to_string(i.dst) +
                    "[k] = " + expression(i) + ";\n";
            return;
        }
        if (i.address.kind == Operand::Kind::reg) return checked_load(number, i, width, each, unroll);
        const std::size_t b = buffer_number(i.buffer);
        const bool constant = i.address.kind == Operand::Kind::immediate;
        const std::string pointer = "b" + std::to_string(b) + " + " +
                                    (constant ? written_bits(i.address.value, d_.literal_end)
                                     : view && strided_of_[b] >= 0 ? "o" + std::to_string(strided_of_[b])
                                                                   : std::string("i"));
        const std::string element = written_storage(i.type);
        const std::string raw = "x" + std::to_string(serial_++);
        const std::size_t bytes = size_of(i.type) * static_cast<std::size_t>(width);
        const std::string move = width > 1 && !constant
                                     ? (i.opcode == Opcode::LDG ? d_.load : d_.store) + std::to_string(bytes)
                                     : "";
        out_ += "  " + element + " " + raw + "[" + std::to_string(width) + "]" +
                (move.empty() ? "" : d_.aligned) + ";\n";
        if (i.opcode == Opcode::LDG) {
            if (move.empty())
                out_ += unroll + each + raw + "[k] = (" + pointer + ")[" + (constant ? "0" : "k") + "];\n";
            else
                out_ += "  " + move + "(" + raw + ", " + pointer + ");\n";
            out_ += declaration(i.dst, width) + unroll + each + "r" + std::to_string(i.dst) +
                    "[k] = " + written_load(i.type, raw + "[k]") + ";\n";
            return;
        }
        const std::string value = written_store(i.type, operand(i.src[0], compute_type(i.type)));
        out_ += unroll + each + raw + "[k] = " + value + ";\n";
        if (move.empty())
            out_ += unroll + each + "(" + pointer + ")[" + (constant ? "0" : "k") + "] = " + raw + "[k];\n";
        else
            out_ += "  " + move + "(" + pointer + ", " + raw + ");\n";
    }

    // NAME_suffix(i, offsets, buffers, p): the program for elements i .. i + width - 1.
    void run_function(const std::string& suffix, int width, bool view) {
        serial_ = 0;
        out_ += "PRIVATE void " + p_.name + "_" + suffix + "(u64 i, " + (view ? offset_arguments(true) : "") +
                buffer_arguments(true) + words_type_ + d_.words + faults(true) + ") {\n";
        for (std::size_t s = 0; s < scalars_.size(); ++s)
            out_ += "  const " + std::string(dtype_name(parameter(scalars_[s]).dtype)) + " s" +
                    std::to_string(s) + " = " +
                    written_value(parameter(scalars_[s]).dtype,
                                  "(u64)" + std::string(d_.word) +
                                      std::to_string(kScalars + static_cast<int>(s)) + "]") +
                    ";\n";
        for (std::size_t n = 0; n < p_.instructions.size(); ++n) statement(n, width, view);
        out_ += "}\n";
    }

    void kernel_head(const std::string& suffix, bool begins = true) {
        out_ += d_.kernel + p_.name + "_" + suffix + "(" +
                (d_.offsets ? placed_arguments() : buffer_arguments(true, d_.bindings)) + words_type_;
        // A function takes the words by reference, in OpenCL C by pointer; so does a kernel in Metal.
        if (d_.bindings)
            out_ +=
                d_.words + written_binding(buffers_.size()) + faults(true, true) + ", " + d_.places + ") {\n";
        else if (!d_.offsets)
            out_ += " p" + faults(true) + ") {\n";
        else if (opencl_words_in_memory(p_))
            out_ += "* p" + faults(true) + ") {\n";
        else
            out_ += " words" + faults(true) + ") {\n  " + words_type_ + "* const p = &words;\n";
        if (d_.offsets)
            for (std::size_t b = 0; b < buffers_.size(); ++b) {
                const std::string n = std::to_string(b),
                                  type = d_.memory + written_storage(parameter(buffers_[b]).dtype) + "*";
                out_ += "  " + type + " const b" + n + " = (" + type + ")((global uchar*)m" + n + " + f" + n +
                        ");\n";
            }
        out_ += std::string(begins ? d_.begin : "") + "  const u64 n = (u64)" + d_.word +
                "0], lanes = " + d_.threads + ";\n  u64 i = " + d_.thread + ";\n";
    }

    void flat_kernel() {
        kernel_head("flat");
        if (width_ > 1) {
            const std::string width = std::to_string(width_);
            std::string aligned;
            for (std::size_t b = 0; b < buffers_.size(); ++b) {
                if (!by(p_, buffers_[b], Operand::Kind::gid)) continue;
                aligned +=
                    (aligned.empty() ? "" : " && ") + std::string(d_.address) + "b" + std::to_string(b) +
                    " % " +
                    std::to_string(size_of(parameter(buffers_[b]).dtype) * static_cast<std::size_t>(width_)) +
                    " == 0";
            }
            out_ += "  if (" + (aligned.empty() ? "true" : aligned) + ") {\n    const u64 groups = n / " +
                    width + ";\n    for (u64 g = i; g < groups; g += lanes) " + p_.name + "_run" + width +
                    "(g * " + width + ", " + buffer_arguments(false) + "p" + faults(false) +
                    ");\n    i += groups * " + width + ";\n  }\n";
        }
        out_ += "  for (; i < n; i += lanes) " + p_.name + "_run1(i, " + buffer_arguments(false) + "p" +
                faults(false) + ");\n}\n";
    }

    // Where the device says when its kernels begin (CUDA: behind the launch before), the first element's offsets are computed
    // ahead of it: a quarter of the time of a small launch in a chain of them.
    void view_kernel(const std::string& suffix, const std::string& index) {
        const bool waits = *d_.begin != '\0';
        kernel_head(suffix, false);
        if (waits) out_ += "  bool begun = false;\n";
        const int bases = kScalars + static_cast<int>(scalars_.size()), strides = bases + strided_;
        const auto word = [&](int w) { return d_.word + std::to_string(w) + "]"; };
        out_ += "  const int rank = (int)" + word(1) + ";\n  for (; " + (waits ? "" : "i < n") +
                "; i += lanes) {\n    " + index + " rest = (" + index + ")i;\n";
        for (int s = 0; s < strided_; ++s)
            out_ += "    i64 o" + std::to_string(s) + " = " + word(bases + s) + ";\n";
        // Unrolled by hand, so that the dims are read from constant memory.
        for (int d = kMaxPointwiseRank - 1; d > 0; --d) {
            out_ += "    if (rank > " + std::to_string(d) + ") { const " + index + " size = (" + index + ")" +
                    word(kDims + d) +
                    ", next = rest / size; const i64 at = (i64)(rest - next * size); rest = next;";
            for (int s = 0; s < strided_; ++s)
                out_ +=
                    " o" + std::to_string(s) + " += at * " + word(strides + s * kMaxPointwiseRank + d) + ";";
            out_ += " }\n";
        }
        for (int s = 0; s < strided_; ++s)
            out_ += "    o" + std::to_string(s) + " += (i64)rest * " + word(strides + s * kMaxPointwiseRank) +
                    ";\n";
        if (waits)
            out_ += "    if (!begun) {\n    " + std::string(d_.begin) +
                    "      begun = true;\n    }\n    if (i >= n) break;\n";
        out_ += "    " + p_.name + "_lane(i, " + offset_arguments(false) + buffer_arguments(false) + "p" +
                faults(false) + ");\n  }\n}\n";
    }

    const Dialect& d_;
    const Program& p_;
    std::string words_type_;
    std::vector<int> buffers_, scalars_, strided_of_, checked_of_;
    int strided_ = 0, checked_ = 0, words_ = 0, width_ = 1, serial_ = 0;
    std::string out_;
};

// Throws Unsupported for what no Metal device has: f64, and atomics of 64 bits.
void check_for_metal(const Program& program) {
    const auto refuse = [&](const std::string& what) {
        throw Unsupported("program '" + program.name + "': " + what + "; run it on the cpu");
    };
    for (const Instruction& i : program.instructions) {
        if (info(i.opcode).types == 0) continue;
        const std::string name = (i.line > 0 ? "line " + std::to_string(i.line) + ", " : std::string()) +
                                 std::string(info(i.opcode).name) + "." + std::string(dtype_name(i.type));
        if (i.type == DType::f64) refuse(name + ": Metal has no double precision");
        if (is_atomic(i.opcode) && size_of(i.type) == 8) refuse(name + ": Metal has no atomics of 64 bits");
    }
    for (const Parameter& p : program.parameters)
        if (p.dtype == DType::f64) refuse("'" + p.name + "' is of f64, and Metal has no double precision");
    for (const SharedArray& a : program.shared)
        if (a.dtype == DType::f64) refuse("'" + a.name + "' is of f64, and Metal has no double precision");
    if (uses_type(program, DType::f64)) refuse("a register is of f64, and Metal has no double precision");
}

}  // namespace

int vector_width(const Program& program) {
    std::size_t largest = 2;  // at most 8 elements, so that registers last
    for (const int b : program.buffers())
        largest = std::max(largest, size_of(program.parameters[static_cast<std::size_t>(b)].dtype));
    return static_cast<int>(16 / largest);
}

bool uses_type(const Program& program, DType type) {
    const auto is = [type](DType t) { return t == type; };
    return std::any_of(program.registers.begin(), program.registers.end(), is) ||
           std::any_of(program.parameters.begin(), program.parameters.end(),
                       [&](const Parameter& p) { return is(p.dtype); }) ||
           std::any_of(program.shared.begin(), program.shared.end(),
                       [&](const SharedArray& a) { return is(a.dtype); }) ||
           std::any_of(program.instructions.begin(), program.instructions.end(),
                       [&](const Instruction& i) { return is(i.type); });
}

bool opencl_words_in_memory(const Program& program) {
    constexpr std::size_t kLeastArguments = 1024;  // bytes; CL_DEVICE_MAX_PARAMETER_SIZE is at least that
    const std::size_t each = sizeof(void*) + sizeof(std::uint64_t);
    const std::size_t faults = reports_faults(program) ? sizeof(void*) : 0;
    return program.buffers().size() * each + static_cast<std::size_t>(word_count(program)) * 8 + faults >
           kLeastArguments;
}

std::string write_source(std::span<const Program> programs, Language language) {
    const Dialect& dialect = language == Language::cuda     ? kCuda
                             : language == Language::opencl ? kOpencl
                                                            : kMetal;
    if (language == Language::metal)
        for (const Program& program : programs) check_for_metal(program);
    const bool f64 = dialect.always_f64 ||
                     std::any_of(programs.begin(), programs.end(),
                                 [](const Program& program) { return uses_type(program, DType::f64); });
    std::string text = std::string(dialect.types) + dialect.prelude + dialect.conversions + dialect.near;
    if (f64) text += dialect.prelude_f64;
    text += kWriterPrelude;
    if (f64) text += kPreludeCvtF64;
    text += kPreludeRest;
    if (f64) text += kPreludeF64;
    text += dialect.end;
    text += dialect.functions16;
    if (f64) text += dialect.end_f64;
    if (std::any_of(programs.begin(), programs.end(), reports_faults)) text += fault_prelude(language);
    if (std::any_of(programs.begin(), programs.end(), [](const Program& p) { return p.is_grid(); }))
        text += grid_prelude(programs, language);
    for (const Program& program : programs)
        text += program.is_grid() ? write_grid_program(program, language)
                                  : ProgramWriter(program, dialect).text();
    return text;
}

ProgramShape::ProgramShape(const Program& program) : name_(program.name) {
    for (const int b : program.buffers()) {
        const Parameter& p = program.parameters[static_cast<std::size_t>(b)];
        BufferShape shape{
            p.name, size_of(p.dtype), p.strided ? strided_++ : -1, false, by(program, b, Operand::Kind::reg),
            0};
        for (const Instruction& i : program.instructions) {
            if (i.buffer != b) continue;
            if (i.address.kind == Operand::Kind::gid) shape.by_gid = true;
            if (i.address.kind == Operand::Kind::immediate)
                shape.constant_extent = std::max(shape.constant_extent,
                                                 constant_extent(static_cast<std::int64_t>(i.address.value)));
        }
        buffers_.push_back(std::move(shape));
    }
    scalars_ = static_cast<int>(program.scalars().size());
}

void ProgramShape::prepare(std::span<const std::byte> params, std::span<const PlacedBuffer> placed,
                           WrittenLaunch& out) const {
    const auto refuse = [&](const std::string& what) {
        throw InvalidArgument("program '" + name_ + "': " + what);
    };
    PointwiseParams p;
    read_pointwise_params(params, p);
    if (p.scalar_count != scalars_)
        refuse("takes " + std::to_string(scalars_) + " scalars, got " + std::to_string(p.scalar_count));
    if (p.rank > 0 && p.strided_buffers != strided_)
        refuse("has " + std::to_string(strided_) + " strided buffers, got strides for " +
               std::to_string(p.strided_buffers));
    if (placed.size() != buffers_.size())
        refuse("takes " + std::to_string(buffers_.size()) + " buffers, got " + std::to_string(placed.size()));
    out.elements = p.elements;
    if (p.elements == 0) return;

    std::array<std::int64_t, kMaxProgramBuffers> base{};
    const auto rank = static_cast<std::size_t>(p.rank);
    for (std::size_t b = 0; b < buffers_.size(); ++b) {
        const BufferShape& shape = buffers_[b];
        if (placed[b].address % shape.element != 0)
            refuse("buffer '" + shape.name + "' begins at an address that is not a multiple of " +
                   std::to_string(shape.element) + " bytes");
        std::int64_t needed = shape.constant_extent;
        if (shape.by_gid && shape.strided < 0) needed = std::max(needed, p.elements);
        if (shape.by_gid && shape.strided >= 0) {
            const auto s = static_cast<std::size_t>(shape.strided);
            const OffsetRange range =
                offset_range(std::span(p.dims).first(rank), std::span(p.strides[s]).first(rank));
            base[s] = -range.lowest;
            needed = std::max(
                needed, checked_add(checked_sub(range.highest, range.lowest, "extent of a strided buffer"),
                                    std::int64_t{1}, "extent of a strided buffer"));
        }
        if (static_cast<std::uint64_t>(needed) > placed[b].bytes / shape.element)
            refuse("buffer '" + shape.name + "' holds " + std::to_string(placed[b].bytes / shape.element) +
                   " elements, the launch needs " + std::to_string(needed));
    }

    if (strided_ > 0) {
        merge_dims(p.rank, p.dims, std::span(p.strides).first(static_cast<std::size_t>(strided_)));
    } else {
        p.rank = 1;
        p.dims[0] = p.elements;
    }
    out.flat = p.rank == 1;
    for (int s = 0; s < strided_; ++s) out.flat = out.flat && p.strides[static_cast<std::size_t>(s)][0] == 1;
    out.wide = p.elements > 0x7fffffff;
    std::size_t at = 0;
    const auto put = [&](std::int64_t word) { out.words[at++] = word; };
    put(p.elements);
    put(p.rank);
    for (const std::int64_t d : p.dims) put(d);
    for (int s = 0; s < scalars_; ++s) put(static_cast<std::int64_t>(p.scalars[static_cast<std::size_t>(s)]));
    for (int s = 0; s < strided_; ++s) put(base[static_cast<std::size_t>(s)]);
    for (int s = 0; s < strided_; ++s)
        for (const std::int64_t stride : p.strides[static_cast<std::size_t>(s)]) put(stride);
    for (std::size_t b = 0; b < buffers_.size(); ++b)
        if (buffers_[b].by_data) put(static_cast<std::int64_t>(placed[b].bytes / buffers_[b].element));
    out.word_count = at;
}

}  // namespace invar
