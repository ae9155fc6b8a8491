// SPDX-License-Identifier: Apache-2.0
// The programs of the matrix, their operands, and the comparison with the interpreter.
#include "backends/program_matrix.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>

#include "base/half.h"
#include "base/thread_pool.h"
#include "program/edge_values.h"
#include "program/grid_interpreter.h"
#include "program/interpreter.h"
#include "program/pointwise.h"
#include "program/reference.h"
#include "program/sizes.h"

namespace invar::test {
namespace {

std::string name_of(DType t) { return std::string(dtype_name(t)); }

// What a case reads: elements of the source type, for SEL a pred first.
struct SourcedCase {
    MatrixProgram::Case c;
    DType source;
};

std::vector<SourcedCase> matrix_cases(bool f64) {
    std::vector<SourcedCase> cases;
    for (int s = 0; s < kDTypeCount; ++s)
        for (const InstructionInfo& row : instruction_table())
            for (int t = 0; t < kDTypeCount; ++t) {
                const auto source = static_cast<DType>(s), type = static_cast<DType>(t);
                if ((row.types & type_bit(type)) == 0 || row.opcode == Opcode::STG ||
                    !is_pointwise(row.opcode) || (!f64 && (source == DType::f64 || type == DType::f64)))
                    continue;
                if (row.opcode == Opcode::CVT || type == source) cases.push_back({{&row, type}, source});
            }
    return cases;
}

MatrixProgram write_program(std::span<const SourcedCase> cases, const std::string& name) {
    static const char* const kLetters[] = {"a", "b", "d"};
    const DType source = cases.front().source;
    int operands = 1;
    bool condition = false;
    for (const SourcedCase& c : cases) {
        const bool select = c.c.row->opcode == Opcode::SEL;
        condition = condition || select;
        operands = std::max(operands, c.c.row->operands - (select ? 1 : 0));
    }
    MatrixProgram program;
    std::string head = ".program " + name + "\n", text;
    if (condition) {
        head += ".param p: pred*\n";
        text += "LDG.pred xp, [p + gid]\n";
    }
    for (int k = 0; k < operands; ++k) {
        const std::string letter = kLetters[k];
        head += ".param " + letter + ": " + name_of(source) + "*\n";
        text += "LDG." + name_of(source) + " x" + letter + ", [" + letter + " + gid]\n";
    }
    for (const SourcedCase& c : cases) {
        const InstructionInfo& row = *c.c.row;
        const std::string out = "o" + std::to_string(program.cases.size()),
                          result = is_set(row.opcode) ? "pred" : name_of(c.c.type);
        std::string value = "xa";  // LDG: through memory and back
        if (row.opcode != Opcode::LDG) {
            value = "y";
            text += std::string(row.name) + "." + name_of(c.c.type) + " y";
            if (row.opcode == Opcode::SEL) text += ", xp";
            for (int k = 0; k < row.operands - (row.opcode == Opcode::SEL ? 1 : 0); ++k)
                text += std::string(", x") + kLetters[k];
            text += "\n";
        }
        head += ".param " + out + ": " + result + "*\n";
        text += "STG." + result + " [" + out + " + gid], " + value + "\n";
        program.cases.push_back(c.c);
    }
    program.text = head + text;
    return program;
}

template <class T>
T element(const std::vector<std::byte>& bytes, std::size_t i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    return value;
}

// Distance in units of the last place; 0 for two NaNs.
template <class F, class I>
double ulps(F a, F b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b) ? 0 : INFINITY;
    if (a == 0 && b == 0) return std::signbit(a) == std::signbit(b) ? 0 : INFINITY;
    // The bits of a float as an integer that grows with it; the distance may not fit I.
    const auto order = [](F x) -> I {
        I bits;
        std::memcpy(&bits, &x, sizeof x);
        return bits < 0 ? static_cast<I>(std::numeric_limits<I>::min() - bits) : bits;
    };
    using U = std::make_unsigned_t<I>;
    const I x = order(a), y = order(b);
    return static_cast<double>(x > y ? static_cast<U>(x) - static_cast<U>(y)
                                     : static_cast<U>(y) - static_cast<U>(x));
}

bool is_nan16(std::uint16_t bits, DType t) {
    return t == DType::f16 ? (bits & 0x7fff) > 0x7c00 : (bits & 0x7fff) > 0x7f80;
}

// Empty, or what differs at element i.
std::string differs(DType t, const std::vector<std::byte>& got, const std::vector<std::byte>& want,
                    std::size_t i, double max_ulp) {
    const std::size_t n = size_of(t);
    if (std::memcmp(got.data() + i * n, want.data() + i * n, n) == 0) return {};
    if (t == DType::f32) {
        const auto a = element<float>(got, i), b = element<float>(want, i);
        if (ulps<float, std::int32_t>(a, b) <= max_ulp) return {};
        return std::to_string(a) + " instead of " + std::to_string(b);
    }
    if (t == DType::f64) {
        const auto a = element<double>(got, i), b = element<double>(want, i);
        // The two mathematics libraries stay within a few units of each other.
        if (ulps<double, std::int64_t>(a, b) <= (max_ulp > 0 ? 4 : 0)) return {};
        return std::to_string(a) + " instead of " + std::to_string(b);
    }
    if (t == DType::f16 || t == DType::bf16) {
        const auto a = element<std::uint16_t>(got, i), b = element<std::uint16_t>(want, i);
        if (is_nan16(a, t) && is_nan16(b, t)) return {};
        // Functions: neighbours, any two zeros, and numbers that are both below the normal ones of f32.
        const auto distance = [](std::uint16_t x) { return x & 0x8000 ? 0x8000 - x : int{x}; };
        const bool tiny = t == DType::bf16 && (a & 0x7fff) < 0x80 && (b & 0x7fff) < 0x80;
        if (max_ulp > 0 && (tiny || std::abs(distance(a) - distance(b)) <= 1)) return {};
    }
    return "other bits";
}

// What cancels in GELU counts in units of its operand, up to 16: whether two results at x are as near as those.
bool cancels_alike(DType t, const std::vector<std::byte>& got, const std::vector<std::byte>& want,
                   const std::vector<std::byte>& x, std::size_t i, double units) {
    if (t == DType::f32)
        return std::fabs(element<float>(got, i) - element<float>(want, i)) <=
               units * 0x1p-24 * std::fmin(std::fabs(static_cast<double>(element<float>(x, i))), 16);
    if (compute_type(t) != t) {
        const auto value = [&](const std::vector<std::byte>& bytes) {
            return to_double(DType::f32, widen(t, element<std::uint16_t>(bytes, i)));
        };
        return std::fabs(value(got) - value(want)) <= 0x1p-20 * std::fmin(std::fabs(value(x)), 16);
    }
    return t == DType::f64 && std::fabs(element<double>(got, i) - element<double>(want, i)) <=
                                  units * 0x1p-53 * std::fmin(std::fabs(element<double>(x, i)), 16);
}

// n values of operand `which` of an instruction (edge_values.h). Of 16 bits what is random has all of them.
std::vector<std::byte> values(DType t, std::size_t n, std::mt19937_64& random, int which = 0) {
    const std::vector<std::uint64_t> bits = operand_values(t, which, n, random());
    std::vector<std::byte> bytes(n * size_of(t));
    for (std::size_t i = 0; i < n; ++i) std::memcpy(bytes.data() + i * size_of(t), &bits[i], size_of(t));
    return bytes;
}

}  // namespace

std::vector<MatrixProgram> matrix_programs(int per_program, bool f64) {
    const std::vector<SourcedCase> cases = matrix_cases(f64);
    std::vector<MatrixProgram> programs;
    for (std::size_t begin = 0, end = 0; begin < cases.size(); begin = end) {
        while (end < cases.size() && cases[end].source == cases[begin].source &&
               end - begin < static_cast<std::size_t>(per_program))
            ++end;
        programs.push_back(write_program(std::span(cases).subspan(begin, end - begin),
                                         "m" + std::to_string(programs.size())));
    }
    return programs;
}

std::string joined(std::span<const MatrixProgram> programs) {
    std::string text;
    for (const MatrixProgram& program : programs) text += program.text;
    return text;
}

const char* const kMorePrograms = R"(
.program narrow
.param a: f32*
.param h: f16*
.param b: bf16*
LDG.f32 x, [a + gid]
STG.f16 [h + gid], x
STG.bf16 [b + gid], x
.program mixed
.param a: bf16* strided
.param b: f32* strided
.param out: f32* strided
.param scale: f32
LDG.bf16 x, [a + gid]
LDG.f32 y, [b + gid]
FMA.f32 z, x, scale, y
MUL.f32 z, z, 0.5
STG.f32 [out + gid], z
.program count
.param out: i64*
.param small: u8*
.param step: i64
MOV.i64 i, gid
MAD.i64 j, i, step, 7
STG.i64 [out + gid], j
CVT.u8 k, j
STG.u8 [small + gid], k
.program constant
.param a: f32*
.param out: f32*
LDG.f32 x, [a + 3]
LDG.f32 y, [a + gid]
ADD.f32 z, x, y
STG.f32 [out + gid], z
)";

std::vector<std::vector<std::byte>> ProgramOnDevice::run_both(const Program& program, Kernel& kernel,
                                                              std::vector<std::vector<std::byte>>& host,
                                                              std::span<const std::byte> params,
                                                              std::size_t shift, const LaunchConfig& config) {
    constexpr std::size_t kGuard = 64;
    std::vector<std::unique_ptr<Buffer>> memory;
    std::vector<BufferRef> refs;
    for (const auto& bytes : host) {
        memory.push_back(device->allocate_raw(bytes.size() + shift + kGuard));
        stream->fill(memory.back()->ref(), 0xab);
        refs.push_back({memory.back().get(), shift, bytes.size()});
        stream->upload(refs.back(), bytes.data(), bytes.size());
    }
    stream->launch(kernel, config, refs, params);
    std::vector<std::vector<std::byte>> got;
    for (std::size_t b = 0; b < host.size(); ++b) {
        std::vector<std::byte> all(memory[b]->size());
        stream->download(all.data(), memory[b]->ref(), all.size());
        stream->synchronize();
        for (std::size_t i = 0; i < shift; ++i) EXPECT_EQ(all[i], std::byte{0xab}) << "before buffer " << b;
        for (std::size_t i = shift + host[b].size(); i < all.size(); ++i)
            EXPECT_EQ(all[i], std::byte{0xab}) << "after buffer " << b;
        got.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(shift),
                         all.begin() + static_cast<std::ptrdiff_t>(shift + host[b].size()));
    }
    std::vector<NativeBuffer> native;
    for (auto& bytes : host) native.push_back({bytes.data(), bytes.size()});
    const Dim3 &g = config.grid, &b = config.block;
    if (program.is_grid())
        GridProgram(program).run({g.x, g.y, g.z}, {b.x, b.y, b.z}, native, params, ThreadPool::shared());
    else
        CompiledProgram(program).run(native, params, ThreadPool::shared());
    return got;
}

void ProgramOnDevice::check_every_instruction(int per_program) { check_matrix(per_program, false, false); }
void ProgramOnDevice::check_every_instruction_of_grids(int per_program, bool compiles_for_each_block) {
    check_matrix(per_program, true, compiles_for_each_block);
}

void ProgramOnDevice::check_matrix(int per_program, bool grid, bool compiles_for_each_block) {
    std::vector<MatrixProgram> matrix = matrix_programs(per_program, device->supports(Feature::f64));
    if (grid)  // what pointwise programs do not know
        for (MatrixProgram& program : matrix) program.text += "MOV.u32 here, thread.x\n";
    const std::string text = joined(matrix);
    const std::vector<Program> programs = assemble_module(text);
    ASSERT_EQ(programs.size(), matrix.size());
    std::size_t tested = 0;
    const auto module = device->compile({"matrix", ProgramText{text}});
    std::mt19937_64 random(20261121);
    for (std::size_t m = 0; m < matrix.size(); ++m) {
        const Program& program = programs[m];
        const std::span<const MatrixProgram::Case> cases = matrix[m].cases;
        const std::size_t operands = program.parameters.size() - cases.size();
        tested += cases.size();
        ASSERT_EQ(program.is_grid(), grid);
        // Lanes of a block and blocks; of pointwise programs the elements.
        std::vector<std::pair<std::size_t, std::size_t>> sizes;
        if (grid) {
            sizes = {{33, 0}, {33, 1}, {33, 120}};
            if (!compiles_for_each_block) sizes.insert(sizes.end(), {{1, 1}, {31, 120}, {32, 1}, {1023, 5}});
        } else {
            for (const std::size_t n : matrix_sizes()) sizes.push_back({n, 1});
        }
        for (const auto& [lanes, blocks] : sizes) {
            const std::size_t n = lanes * blocks;
            std::vector<std::vector<std::byte>> host;
            int operand = 0;  // a pred that SEL asks stands first, and walks with the last of the others
            for (const Parameter& p : program.parameters)
                host.push_back(values(p.dtype, n, random, p.name == "p" ? 2 : operand++));
            std::byte room[std::max(kMaxPointwiseParamsBytes, kMaxGridParamsBytes)];
            const std::int64_t dims[] = {static_cast<std::int64_t>(n)};
            const std::size_t size =
                grid ? write_grid_params(room, dims[0], {}) : write_pointwise_params(room, dims, {}, {});
            LaunchConfig config;
            if (grid) config = {{static_cast<std::uint32_t>(blocks)}, {static_cast<std::uint32_t>(lanes)}};
            const auto got =
                run_both(program, module->kernel(program.name), host, std::span(room, size), 0, config);
            for (std::size_t c = 0; c < cases.size(); ++c) {
                const InstructionInfo& row = *cases[c].row;
                const bool function = (row.types & kTypesStorage) != 0 && row.opcode >= Opcode::ADD;
                const double bound = compute_type(cases[c].type) != cases[c].type ? (function ? 1 : 0)
                                     : is_float(cases[c].type) ? 2 * row.max_ulp + (row.max_ulp > 0)
                                                               : 0;
                const DType type = program.parameters[operands + c].dtype;
                for (std::size_t i = 0; i < n; ++i) {
                    std::string what = differs(type, got[operands + c], host[operands + c], i, bound);
                    if (what.empty() ||
                        (row.opcode == Opcode::GELU &&
                         cancels_alike(type, got[operands + c], host[operands + c], host[0], i, bound)))
                        continue;
                    for (std::size_t b = 0; b < operands; ++b) {
                        what += "; operand " + program.parameters[b].name + " has the bytes";
                        for (std::size_t k = 0; k < size_of(program.parameters[b].dtype); ++k)
                            what += " " + std::to_string(std::to_integer<int>(
                                              host[b][i * size_of(program.parameters[b].dtype) + k]));
                    }
                    ADD_FAILURE() << row.name << "." << dtype_name(cases[c].type) << " of "
                                  << dtype_name(program.parameters[operands - 1].dtype) << ", n " << n
                                  << ", element " << i << ": " << what;
                    break;
                }
            }
        }
    }
    EXPECT_GT(tested, 400u);
}

void ProgramOnDevice::check_functions_at_16_bits() {
    std::string text;
    std::vector<MatrixProgram::Case> cases;
    for (const InstructionInfo& row : instruction_table())
        for (const DType t : {DType::f16, DType::bf16}) {
            if (row.operands != 1 || (row.types & kTypesFloat) == 0 || (row.types & type_bit(t)) == 0 ||
                !is_pointwise(row.opcode) || row.opcode == Opcode::STG)
                continue;
            text += ".program f" + std::to_string(cases.size()) +
                    "\n.param a: f32*\n.param y: f32*\nLDG.f32 x, [a + gid]\n" + std::string(row.name) + "." +
                    name_of(t) + " x, x\nSTG.f32 [y + gid], x\n";
            cases.push_back({&row, t});
        }
    ASSERT_GE(cases.size(), 10u);
    const std::vector<Program> programs = assemble_module(text);
    const auto module = device->compile({"functions", ProgramText{text}});
    // All exponents and signs, as a prime step meets them.
    std::vector<std::byte> x;
    for (std::uint64_t bits = 0; bits < (1ull << 32); bits += 40009) {
        const auto word = static_cast<std::uint32_t>(bits);
        const auto* raw = reinterpret_cast<const std::byte*>(&word);
        x.insert(x.end(), raw, raw + 4);
    }
    const std::int64_t dims[] = {static_cast<std::int64_t>(x.size() / 4)};
    std::byte room[kMaxPointwiseParamsBytes];
    const std::size_t size = write_pointwise_params(room, dims, {}, {});
    for (std::size_t p = 0; p < cases.size(); ++p) {
        std::vector<std::vector<std::byte>> host = {x, std::vector<std::byte>(x.size())};
        const auto got = run_both(programs[p], module->kernel(programs[p].name), host, std::span(room, size));
        for (std::size_t i = 0; i < x.size() / 4; ++i)
            ASSERT_TRUE(
                is_near(cases[p].row->opcode, cases[p].type, element<float>(x, i), element<float>(got[1], i)))
                << cases[p].row->name << "." << dtype_name(cases[p].type) << " of " << element<float>(x, i)
                << " gave " << element<float>(got[1], i);
    }
}

void ProgramOnDevice::check_views_scalars_and_several_outputs() {
    const std::vector<Program> programs = assemble_module(kMorePrograms);
    const auto module = device->compile({"more", ProgramText{kMorePrograms}});
    std::mt19937_64 random(7);
    const auto check = [&](std::size_t which, std::vector<std::vector<std::byte>> host,
                           std::span<const std::int64_t> dims, std::span<const std::int64_t> strides,
                           std::span<const std::uint64_t> scalars, std::size_t shift) {
        std::byte room[kMaxPointwiseParamsBytes];
        const std::size_t size = write_pointwise_params(room, dims, strides, scalars);
        const Program& program = programs[which];
        const auto got = run_both(program, module->kernel(program.name), host, std::span(room, size), shift);
        for (std::size_t b = 0; b < got.size(); ++b) {
            const DType type = program.parameters[b].dtype;
            for (std::size_t i = 0; i < host[b].size() / size_of(type); ++i)
                ASSERT_EQ(differs(type, got[b], host[b], i, 0), "")
                    << program.name << " buffer " << b << " element " << i;
        }
    };
    for (const std::size_t shift : {std::size_t{0}, std::size_t{8}, std::size_t{256}}) {
        for (const std::size_t n : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{4099}}) {
            const std::int64_t dims[] = {static_cast<std::int64_t>(n)};
            check(0,
                  {values(DType::f32, n, random), values(DType::f16, n, random),
                   values(DType::bf16, n, random)},
                  dims, {}, {}, shift);
            const std::uint64_t step[] = {integer_bits(DType::i64, -3)};
            check(2, {values(DType::i64, n, random), values(DType::u8, n, random)}, dims, {}, step, shift);
            if (n > 3)
                check(3, {values(DType::f32, n, random), values(DType::f32, n, random)}, dims, {}, {}, shift);
        }
        // (5, 33, 17): a row of a, a transposed view of b with a negative stride, and a plain output.
        const std::int64_t dims[] = {5, 33, 17};
        const std::int64_t strides[] = {0, 0, 1, 33 * 17, 1, -33, 33 * 17, 17, 1};
        const std::uint64_t scale[] = {value_bits(DType::f32, 1.25)};
        check(1,
              {values(DType::bf16, 17, random), values(DType::f32, 5 * 33 * 17, random),
               values(DType::f32, 5 * 33 * 17, random)},
              dims, strides, scale, shift);
        // All contiguous: the flat kernel. All broadcast but the output.
        const std::int64_t plain[] = {33 * 17, 17, 1, 33 * 17, 17, 1, 33 * 17, 17, 1};
        check(1,
              {values(DType::bf16, 5 * 33 * 17, random), values(DType::f32, 5 * 33 * 17, random),
               values(DType::f32, 5 * 33 * 17, random)},
              dims, plain, scale, shift);
        const std::int64_t one[] = {0, 0, 0, 0, 0, 0, 33 * 17, 17, 1};
        check(1,
              {values(DType::bf16, 1, random), values(DType::f32, 1, random),
               values(DType::f32, 5 * 33 * 17, random)},
              dims, one, scale, shift);
    }
}

void ProgramOnDevice::check_loads_where_data_says() {
    constexpr std::size_t kTables = 3, kHeld = 100, kAt = 0, kStrided = 1 + kTables;
    std::vector<DType> indices;
    for (int t = 0; t < kDTypeCount; ++t)
        if (is_int(static_cast<DType>(t))) indices.push_back(static_cast<DType>(t));
    std::vector<DType> stored;
    for (int t = 0; t < kDTypeCount; ++t)
        if (device->supports(Feature::f64) || static_cast<DType>(t) != DType::f64)
            stored.push_back(static_cast<DType>(t));
    std::string text;
    for (std::size_t k = 0; k < indices.size(); ++k) {
        const std::string index = name_of(indices[k]);
        std::string outputs,
            body = "LDG." + index +
                   " i, [at + gid]\nLDG.f32 w, [s + i]\nLDG.f32 u, [s + gid]\nADD.f32 w, w, u\n";
        text += ".program by_" + index + "\n.param at: " + index + "*\n";
        for (std::size_t t = 0; t < kTables; ++t) {
            const std::string type = name_of(stored[(k * kTables + t) % stored.size()]),
                              n = std::to_string(t);
            text += ".param t" + n + ": " + type + "*\n";
            outputs += ".param o" + n + ": " + type + "*\n";
            body += "LDG." + type + " v" + n + ", [t" + n + " + i]\nSTG." + type + " [o" + n + " + gid], v" +
                    n + "\n";
        }
        text += ".param s: f32* strided\n" + outputs + ".param os: f32*\n" + body + "STG.f32 [os + gid], w\n";
    }
    const std::vector<Program> programs = assemble_module(text);
    const auto module = device->compile({"loads", ProgramText{text}});
    std::mt19937_64 random(11);
    std::byte room[kMaxPointwiseParamsBytes];
    // n indices that lie inside; the strided buffer as n elements that far apart, and more.
    const auto buffers = [&](const Program& program, std::size_t n, std::size_t stride) {
        std::vector<std::vector<std::byte>> host;
        for (std::size_t b = 0; b < program.parameters.size(); ++b)
            host.push_back(values(program.parameters[b].dtype,
                                  b > kAt && b < kStrided ? kHeld
                                  : b == kStrided         ? (n - 1) * stride + kHeld
                                                          : n,
                                  random));
        for (std::size_t i = 0; i < n; ++i) {
            const std::uint64_t wanted = random() % kHeld;
            std::memcpy(host[kAt].data() + i * size_of(program.parameters[kAt].dtype), &wanted,
                        size_of(program.parameters[kAt].dtype));
        }
        return host;
    };
    for (const Program& program : programs)
        for (const std::size_t n : {std::size_t{1}, std::size_t{33}, std::size_t{4099}})
            for (const std::int64_t stride : {1, 2, -1})
                for (const std::size_t shift : {std::size_t{0}, std::size_t{8}}) {
                    auto host = buffers(program, n, static_cast<std::size_t>(std::abs(stride)));
                    const std::int64_t dims[] = {static_cast<std::int64_t>(n)};
                    const std::size_t size =
                        write_pointwise_params(room, dims, std::span(&stride, 1), std::span<std::uint64_t>());
                    const auto got =
                        run_both(program, module->kernel(program.name), host, std::span(room, size), shift);
                    for (std::size_t b = 0; b < got.size(); ++b) {
                        const DType type = program.parameters[b].dtype;
                        for (std::size_t i = 0; i < host[b].size() / size_of(type); ++i)
                            ASSERT_EQ(differs(type, got[b], host[b], i, 0), "")
                                << program.name << ", n " << n << ", stride " << stride << ", buffer "
                                << program.parameters[b].name << " element " << i;
                    }
                }
    // One index that points outside: refused in the words of the interpreter, whatever the width of the index.
    const auto wrong = [&](const Program& program, std::size_t i, std::int64_t element) {
        auto host = buffers(program, 1023, 1);
        const std::size_t bytes = size_of(program.parameters[kAt].dtype);
        std::memcpy(host[kAt].data() + i * bytes, &element, bytes);
        const std::int64_t dims[] = {1023}, stride = 1;
        const std::size_t size =
            write_pointwise_params(room, dims, std::span(&stride, 1), std::span<std::uint64_t>());
        std::string refused[2];
        for (std::string& words : refused) {
            std::vector<NativeBuffer> native;
            std::vector<std::unique_ptr<Buffer>> memory;
            std::vector<BufferRef> refs;
            stream = device->make_stream();
            for (auto& one : host) {
                native.push_back({one.data(), one.size()});
                memory.push_back(device->allocate_raw(one.size()));
                refs.push_back(memory.back()->ref());
                stream->upload(refs.back(), one.data(), one.size());
            }
            try {
                if (&words == refused) {
                    CompiledProgram(program).run(native, std::span(room, size), ThreadPool::shared());
                } else {
                    stream->launch(module->kernel(program.name), {}, refs, std::span(room, size));
                    stream->synchronize();
                }
            } catch (const InvalidArgument& e) {
                words = e.what();
            }
        }
        EXPECT_NE(refused[0], "") << program.name;
        EXPECT_EQ(refused[1], refused[0]);
        EXPECT_TRUE(stream->poisoned());
    };
    for (const Program& program : programs) {
        wrong(program, 1022, kHeld);
        wrong(program, 0, -1);
    }
    stream = device->make_stream();
}

void ProgramOnDevice::check_rounding_to_16_bits() {
    std::vector<std::uint32_t> bits;
    const auto add_around = [&](std::uint32_t number, std::uint32_t middle) {
        for (const std::uint32_t x : {number, middle - 1, middle, middle + 1})
            for (const std::uint32_t sign : {0u, 0x80000000u}) bits.push_back(x | sign);
    };
    const auto bits_of = [](float x) {
        std::uint32_t word = 0;
        std::memcpy(&word, &x, sizeof word);
        return word;
    };
    for (std::uint32_t p = 0; p < 0x7bff; ++p) {
        const auto low = f16_to_f32(static_cast<std::uint16_t>(p)),
                   high = f16_to_f32(static_cast<std::uint16_t>(p + 1));
        add_around(bits_of(low), bits_of(low + (high - low) / 2));
    }
    add_around(bits_of(65504.0f), bits_of(65520.0f));  // from there on infinity
    for (std::uint32_t p = 0; p <= 0x7f80; ++p) add_around(p << 16, p << 16 | 0x8000);
    const std::size_t n = bits.size();
    std::vector<std::vector<std::byte>> host(3);
    host[0].resize(n * 4);
    std::memcpy(host[0].data(), bits.data(), n * 4);
    host[1].resize(n * 2);
    host[2].resize(n * 2);
    const Program program = assemble_module(kMorePrograms)[0];
    const auto module = device->compile({"more", ProgramText{kMorePrograms}});
    std::byte room[kMaxPointwiseParamsBytes];
    const std::int64_t dims[] = {static_cast<std::int64_t>(n)};
    const std::size_t size = write_pointwise_params(room, dims, {}, {});
    const auto got = run_both(program, module->kernel(program.name), host, std::span(room, size));
    for (const std::size_t b : {std::size_t{1}, std::size_t{2}})
        for (std::size_t i = 0; i < n; ++i)
            ASSERT_EQ(differs(program.parameters[b].dtype, got[b], host[b], i, 0), "")
                << program.parameters[b].name << " of " << std::hex << bits[i] << " gave "
                << element<std::uint16_t>(got[b], i) << ", not " << element<std::uint16_t>(host[b], i);
}

void ProgramOnDevice::check_launches_that_do_not_fit() {
    const auto module = device->compile({"more", ProgramText{kMorePrograms}});
    Kernel& kernel = module->kernel("constant");
    const auto a = device->allocate_raw(4 * 100), out = device->allocate_raw(4 * 100);
    std::byte room[kMaxPointwiseParamsBytes];
    const auto params = [&](std::int64_t n) {
        const std::int64_t dims[] = {n};
        return std::span<const std::byte>(room, write_pointwise_params(room, dims, {}, {}));
    };
    EXPECT_THROW(stream->launch(kernel, {}, {{a->ref(), out->ref()}}, params(101)), InvalidArgument);
    EXPECT_THROW(stream->launch(kernel, {}, {{a->ref(), out->ref(4)}}, params(100)), InvalidArgument);
    EXPECT_THROW(stream->launch(kernel, {}, {{a->ref()}}, params(5)), InvalidArgument);
    EXPECT_THROW(stream->launch(kernel, {}, {{a->ref(4 * 97), out->ref()}}, params(1)), InvalidArgument)
        << "element 3";
    EXPECT_THROW(stream->launch(kernel, {}, {{a->ref(2), out->ref()}}, params(5)), InvalidArgument)
        << "misaligned";
    EXPECT_THROW(stream->launch(kernel, {}, {{a->ref(), out->ref()}}, {}), InvalidArgument);
    EXPECT_NO_THROW(stream->launch(kernel, {}, {{a->ref(), out->ref()}}, params(0)));
    EXPECT_FALSE(stream->poisoned());
}

}  // namespace invar::test
