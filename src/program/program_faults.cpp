// SPDX-License-Identifier: Apache-2.0
// The messages of faults, and the functions that report them.
#include "program/program_faults.h"

#include <algorithm>

namespace invar {
namespace {

static_assert(kFaultWords == 6);  // what the functions below fill

constexpr const char* kCudaReport = R"(
struct DeviceFault { u32 claimed, kind; i64 values[4]; char text[216]; };
struct FaultBox { u32 claimed, pad; DeviceFault* record; };
static __device__ __noinline__ void report(FaultBox* box, u32 kind, const char* text, i64 lane, i64 block, i64 element, i64 held) {
    if (atomicCAS(&box->claimed, 0u, 1u) != 0) return;
    volatile DeviceFault* f = box->record;
    f->values[0] = lane;
    f->values[1] = block;
    f->values[2] = element;
    f->values[3] = held;
    for (int i = 0; i < 215 && text[i]; ++i) f->text[i] = text[i];
    __threadfence_system();
    f->kind = kind;
}
)";

constexpr const char* kOpenclReport = R"(
PRIVATE void report(global i64* faults, i64 instruction, i64 lane, i64 block, i64 element, i64 held) {
    if (atomic_cmpxchg((volatile global int*)faults, 0, 1) != 0) return;
)";
constexpr const char* kMetalReport = R"(
PRIVATE void report(device i64* faults, i64 instruction, i64 lane, i64 block, i64 element, i64 held) {
    if (atomic_exchange_explicit((device atomic_uint*)faults, 1u, memory_order_relaxed) != 0) return;
)";
// The rest of both.
constexpr const char* kRecord = R"(    faults[1] = instruction + 1;
    faults[2] = lane;
    faults[3] = block;
    faults[4] = element;
    faults[5] = held;
}
)";

// As the interpreter refuses: a pointwise launch is given sizes that do not fit, a lane of a grid computes a wrong address.
std::uint32_t kind_of(bool grid) { return grid ? DeviceFault::kLaunchFailed : DeviceFault::kInvalidArgument; }

bool checks(bool grid, const Instruction& i) {
    if (grid) return has_address(i.opcode) || i.opcode == Opcode::LOOP;
    return i.buffer >= 0 && i.address.kind == Operand::Kind::reg;
}

// {0} to {3}: lane, block, element, elements there.
std::string fault_text(const Program& p, bool grid, const Instruction& i) {
    std::string text = "program '" + p.name + "': ";
    const auto b = static_cast<std::size_t>(i.buffer);
    if (!grid)
        return text + "buffer '" + p.parameters[b].name +
               "' holds {3} elements, index {0} asks for element {2}";
    if (i.line > 0) text += "line " + std::to_string(i.line) + ", ";
    text += std::string(info(i.opcode).name) + ": lane {0} of block {1} ";
    if (i.opcode == Opcode::LOOP) return text + "has gone through its loops too often, without an end";
    return text + "asks for element {2} of '" + (i.shared ? p.shared[b].name : p.parameters[b].name) +
           "', which has {3}";
}

}  // namespace

bool reports_faults(const Program& program) {
    return program.is_grid() || std::any_of(program.instructions.begin(), program.instructions.end(),
                                            [](const Instruction& i) { return checks(false, i); });
}

std::string fault_prelude(Language language) {
    if (language == Language::cuda) return kCudaReport;
    return std::string(language == Language::opencl ? kOpenclReport : kMetalReport) + kRecord;
}

std::string written_fault(const Program& program, std::size_t k, Language language, const std::string& lane,
                          const std::string& block, const std::string& element, const std::string& held) {
    std::string what = std::to_string(k);
    if (language == Language::cuda) {
        const bool grid = program.is_grid();
        what = std::to_string(kind_of(grid)) + ", \"" + fault_text(program, grid, program.instructions[k]) +
               "\"";
    }
    return "report(faults, " + what + ", (i64)" + lane + ", (i64)" + block + ", (i64)" + element + ", (i64)" +
           held + ");";
}

ProgramFaults::ProgramFaults(const Program& program) : kind_(kind_of(program.is_grid())) {
    const bool grid = program.is_grid();
    for (const Instruction& i : program.instructions)
        texts_.push_back(checks(grid, i) ? fault_text(program, grid, i) : std::string());
}

DeviceFault ProgramFaults::fault(std::span<const std::int64_t, kFaultWords> words) const {
    DeviceFault fault;
    const std::int64_t number = words[1] - 1;
    if (number < 0 || number >= std::ssize(texts_) || texts_[static_cast<std::size_t>(number)].empty())
        return fault;
    fault.kind = kind_;
    std::copy_n(words.begin() + 2, 4, fault.values);
    texts_[static_cast<std::size_t>(number)].copy(fault.text, sizeof fault.text - 1);
    return fault;
}

}  // namespace invar
