// SPDX-License-Identifier: Apache-2.0
// Holes: their programs, kept for good, and what a launch of one needs.
#include "kernels/hole.h"

#include <algorithm>
#include <cstring>
#include <map>

#include <invar/error.h>

#include "base/checked.h"
#include "kernels/native.h"
#include "program/optimize/optimize.h"
#include "program/pointwise.h"

namespace invar::kernels {

extern const char* const kHoleEnds;  // hole_ends.k

namespace {

struct Made {
    std::mutex mutex;
    std::map<std::string, std::unique_ptr<const Hole>, std::less<>> holes;
};
Made& made() {
    static Made m;
    return m;
}

std::string kind(const HoleOperand& o) {
    return std::string(dtype_name(o.dtype)) + (o.flat ? "" : o.along ? "-" : "|");
}

// FNV-1a: a name that a process gives the same program on every day.
std::string digest(std::string_view text) {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    static const char* const kDigits = "0123456789abcdef";
    std::string out(16, '0');
    for (std::size_t i = out.size(); i-- > 0; h >>= 4) out[i] = kDigits[h & 15];
    return out;
}

// Stores what the buffer takes into another one besides.
void store_twice(Program& p, std::size_t buffer) {
    const int from = p.buffers().at(buffer);
    Parameter kept = p.parameters[static_cast<std::size_t>(from)];
    kept.name = "kept";
    const auto taken = [&](const Parameter& parameter) { return parameter.name == kept.name; };
    while (std::any_of(p.parameters.begin(), p.parameters.end(), taken)) kept.name += "_";
    p.parameters.push_back(kept);
    const std::size_t count = p.instructions.size();
    for (std::size_t i = 0; i < count; ++i)
        if (p.instructions[i].opcode == Opcode::STG && p.instructions[i].buffer == from) {
            Instruction again = p.instructions[i];
            again.buffer = static_cast<int>(p.parameters.size()) - 1;
            p.instructions.push_back(again);
        }
}

// Every access is at the element's own place, each operand is read or written, and a written one is flat.
bool fits(const Program& p, std::size_t through, std::span<const HoleOperand> operands) {
    const std::vector<int> buffers = p.buffers();
    if (p.is_grid() || through >= buffers.size() || buffers.size() != operands.size() + 1 ||
        operands.size() > kMaxHoleOperands || p.scalars().size() > kMaxHoleScalars)
        return false;
    for (std::size_t b = 0; b < buffers.size(); ++b) {
        const Parameter& parameter = p.parameters[static_cast<std::size_t>(buffers[b])];
        if (parameter.access != Access::read && parameter.access != Access::write) return false;
        if (b == through) continue;
        const HoleOperand& o = operands[b < through ? b : b - 1];
        if (o.dtype != parameter.dtype || o.flat == parameter.strided) return false;
        if (parameter.access == Access::write && !o.flat) return false;
    }
    int through_stores = 0;
    for (const Instruction& i : p.instructions) {
        if (i.buffer >= 0 && i.address.kind != Operand::Kind::gid) return false;
        through_stores += i.opcode == Opcode::STG && i.buffer == buffers[through];
        for (const Operand& o : i.src)
            if (o.kind == Operand::Kind::gid || o.kind == Operand::Kind::special) return false;
    }
    return through_stores <= 1;
}

}  // namespace

const Hole* Hole::make(std::string_view text, std::size_t through, std::vector<HoleOperand> operands,
                       int axes, bool keeps) {
    if (axes < 1 || axes > kMaxHoleAxes) return nullptr;
    std::string key = std::to_string(through) + " " + std::to_string(axes) + (keeps ? " keeps" : "");
    for (const HoleOperand& o : operands) key += " " + kind(o);
    key += "\n" + std::string(text);
    Made& m = made();
    const std::lock_guard lock(m.mutex);
    if (const auto it = m.holes.find(key); it != m.holes.end()) return it->second.get();
    std::unique_ptr<Hole> hole(new Hole);
    Program program = assemble(text);
    if (keeps) {
        if (through >= program.buffers().size()) return nullptr;
        const int buffer = program.buffers()[through];
        operands.push_back({program.parameters[static_cast<std::size_t>(buffer)].dtype});
        store_twice(program, through);
    }
    hole->program_ = optimize(program);
    const Program& p = hole->program_;
    if (!fits(p, through, operands)) return nullptr;
    const std::vector<int> buffers = p.buffers();
    const auto parameter = [&](std::size_t b) { return p.parameters[static_cast<std::size_t>(buffers[b])]; };
    for (std::size_t b = 0; b < buffers.size(); ++b)
        if (b != through) operands[b < through ? b : b - 1].written = writes(parameter(b).access);
    hole->through_ = through;
    hole->prologue_ = writes(parameter(through).access);
    hole->value_ = compute_type(parameter(through).dtype);
    hole->operands_ = std::move(operands);
    hole->axes_ = axes;
    hole->name_ = digest(key);
    return (m.holes[key] = std::move(hole)).get();
}

const char* Hole::source(Language language) const {
    Written& w = written_[static_cast<std::size_t>(language)];
    std::call_once(w.once, [&] {
        w.text =
            write_hole(program_, through_, operands_, axes_, prologue_ ? "prologue" : "epilogue", language);
    });
    return w.text.c_str();
}

HoleParts::HoleParts(const HoleSpec& before, const HoleSpec& behind, Language language) {
    static const std::array<std::string, 3> preludes = {
        hole_prelude(Language::cuda), hole_prelude(Language::opencl), hole_prelude(Language::metal)};
    static_assert(static_cast<int>(Language::cuda) == 0 && static_cast<int>(Language::opencl) == 1 &&
                  static_cast<int>(Language::metal) == 2);
    if (language != Language::cuda) ends = kHoleEnds;
    if (before || behind) prelude = preludes[static_cast<std::size_t>(language)].c_str();
    if (before) {
        prologue = before.hole->source(language);
        prologue_name = before.hole->name();
    }
    if (behind) {
        epilogue = behind.hole->source(language);
        epilogue_name = behind.hole->name();
    }
}

const CompiledProgram& Hole::interpreted() const {
    std::call_once(compiled_, [&] {
        Program wide = program_;
        const int parameter = wide.buffers()[through_];
        wide.parameters[static_cast<std::size_t>(parameter)].dtype = value_;
        for (Instruction& i : wide.instructions)
            if (i.buffer == parameter) i.type = value_;
        interpreted_ = std::make_unique<const CompiledProgram>(wide);
    });
    return *interpreted_;
}

void check_hole(const HoleSpec& s, bool prologue, std::int64_t rows, std::int64_t n, DType through,
                const char* family) {
    if (!s) return;
    const std::string name = std::string(family) + (prologue ? ": the prologue" : ": the epilogue");
    if (s.hole->prologue() != prologue)
        throw InvalidArgument(name +
                              " is a program of the other kind; a prologue stores what the kernel "
                              "takes, an epilogue loads what it makes");
    if (s.hole->value() != compute_type(through))
        throw InvalidArgument(name + " has values of " + std::string(dtype_name(s.hole->value())) +
                              " where the kernel has " + std::string(dtype_name(through)));
    std::int64_t product = 1;
    for (int a = 0; a < s.hole->axes(); ++a) {
        at_least(s.sizes[a], 0, family, "an axis of the rows");
        product = checked_mul(product, s.sizes[a], family);
    }
    // Without strided operands nothing is counted by axes.
    const auto operands = s.hole->operands();
    const bool strided =
        std::any_of(operands.begin(), operands.end(), [](const HoleOperand& o) { return !o.flat; });
    if (strided && product != rows)
        throw InvalidArgument(name + " has " + std::to_string(product) + " rows where the kernel has " +
                              std::to_string(rows));
    std::size_t number = 0;
    for (const HoleOperand& o : operands) {
        if (o.flat) continue;
        std::int64_t extent = n;
        for (int a = 0; a < s.hole->axes(); ++a) {
            const std::int64_t stride = s.strides[number][a];
            at_least(stride, 0, family, "a stride");
            extent = checked_add(extent, checked_mul(stride, s.sizes[a], family), family);
        }
        checked_mul<std::int64_t>(extent, 16, family);
        ++number;
    }
}

void put_bytes(KernelCall& call, std::size_t& at, const HoleSpec& s, std::int64_t rows, std::int64_t n,
               std::size_t array) {
    if (!s) {
        call.buffer_bytes[at++] = array;
        return;
    }
    std::size_t strided = 0;
    for (const HoleOperand& o : s.hole->operands()) {
        std::int64_t elements = rows * n;
        if (!o.flat) {
            const std::int64_t* strides = s.strides[strided++];
            if (elements > 0) {
                elements = o.along ? n : 1;
                for (int a = 0; a < s.hole->axes(); ++a) elements += (s.sizes[a] - 1) * strides[a];
            }
        }
        call.buffer_bytes[at++] = static_cast<std::size_t>(elements) * size_of(o.dtype);
    }
}

void put_words(KernelCall& call, const HoleSpec& s) {
    if (!s) return;
    std::array<std::int64_t, kMaxHoleAxes*(1 + kMaxHoleOperands) + kMaxHoleScalars> words{};
    std::size_t at = 0;
    const auto axes = static_cast<std::size_t>(s.hole->axes());
    std::size_t strided = 0;
    for (const HoleOperand& o : s.hole->operands()) strided += !o.flat;
    if (strided > 0)
        for (std::size_t a = 0; a < axes; ++a) words[at++] = s.sizes[a];
    for (std::size_t b = 0; b < strided; ++b)
        for (std::size_t a = 0; a < axes; ++a) words[at++] = s.strides[b][a];
    for (std::size_t i = 0; i < s.hole->program().scalars().size(); ++i)
        words[at++] = static_cast<std::int64_t>(s.scalars[i]);
    const std::size_t bytes = std::max<std::size_t>(at, 1) * sizeof(std::int64_t);
    if (call.params_bytes + bytes > call.params_data.size())
        throw InvalidArgument("the holes of a kernel need more parameters than a call has");
    std::memcpy(call.params_data.data() + call.params_bytes, words.data(), bytes);
    call.params_bytes += bytes;
}

Cost cost(const HoleSpec& s, std::int64_t rows, std::int64_t n) {
    Cost c;
    const double elements = static_cast<double>(rows) * static_cast<double>(n);
    std::size_t strided = 0;
    for (const HoleOperand& o : s.hole->operands()) {
        double own = elements;
        if (!o.flat) {
            const std::int64_t* strides = s.strides[strided++];
            own = o.along ? static_cast<double>(n) : 1;
            for (int a = 0; a < s.hole->axes() && elements > 0; ++a)
                if (strides[a] != 0) own *= static_cast<double>(s.sizes[a]);
        }
        c.bytes += own * static_cast<double>(size_of(o.dtype));
    }
    c.flops = elements * pointwise_operations(s.hole->program());
    return c;
}

void run_hole(const HoleSpec& s, std::int64_t rows, std::int64_t n, std::span<const NativeBuffer> operands,
              std::byte* values, const IndexRanges& elements) {
    const auto axes = static_cast<std::size_t>(s.hole->axes());
    std::array<std::int64_t, kMaxHoleAxes + 1> dims{};
    std::array<std::int64_t, kMaxHoleOperands*(kMaxHoleAxes + 1)> strides{};
    std::size_t rank = 0, at = 0, strided = 0;
    for (const HoleOperand& o : s.hole->operands()) strided += !o.flat;
    if (strided > 0)
        for (; rank < axes; ++rank) dims[rank] = s.sizes[rank];
    else
        dims[rank++] = rows;
    dims[rank++] = n;
    std::size_t b = 0;
    for (const HoleOperand& o : s.hole->operands()) {
        if (o.flat) continue;
        for (std::size_t a = 0; a < axes; ++a) strides[at++] = s.strides[b][a];
        strides[at++] = o.along ? 1 : 0;
        ++b;
    }
    std::array<std::byte, pointwise_params_bytes(kMaxHoleAxes + 1, kMaxHoleOperands, kMaxHoleScalars)> block;
    const std::size_t bytes =
        write_pointwise_params(block, std::span(dims).first(rank), std::span(strides).first(at),
                               std::span(s.scalars).first(s.hole->program().scalars().size()));
    std::array<NativeBuffer, kMaxHoleOperands + 1> buffers{};
    const std::size_t through = s.hole->through(), count = s.hole->operands().size();
    for (std::size_t i = 0; i < count; ++i) buffers[i < through ? i : i + 1] = operands[i];
    buffers[through] = {
        values, static_cast<std::size_t>(elements.length * elements.count) * size_of(s.hole->value())};
    s.hole->interpreted().run_ranges(std::span(buffers).first(count + 1), std::span(block).first(bytes),
                                     through, elements);
}

}  // namespace invar::kernels
