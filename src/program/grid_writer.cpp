// SPDX-License-Identifier: Apache-2.0
// Writes the kernel of a grid program: one statement an instruction, IF and LOOP as those of C, every access checked.
#include "program/grid_writer.h"

#include <algorithm>

#include "program/grid_prelude.h"
#include "program/program_faults.h"
#include "program/tile_writer.h"
#include "program/writer_common.h"

namespace invar {
namespace {

// Rounds of its loops after which a lane is taken to go on for ever.
constexpr const char* kMostRounds = "0xffffffffu";

struct GridDialect {
    const char *literal_end, *memory, *shared, *word;
    const char *thread, *size, *block, *blocks;  // of a dimension; then kDims of the language
    const char* dims[3];
    const char* barrier;
    const char* fence;
    Language language;
};
constexpr GridDialect kCuda = {"ull",
                               "",
                               "__shared__ ",
                               "p.w[",
                               "threadIdx.",
                               "blockDim.",
                               "blockIdx.",
                               "gridDim.",
                               {"x", "y", "z"},
                               "__syncthreads();",
                               "__threadfence();",
                               Language::cuda};
constexpr GridDialect kOpencl = {"ul",
                                 "global ",
                                 "local ",
                                 "p->w[",
                                 "get_local_id",
                                 "get_local_size",
                                 "get_group_id",
                                 "get_num_groups",
                                 {"(0)", "(1)", "(2)"},
                                 "MEET();",
                                 "mem_fence(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);",
                                 Language::opencl};
constexpr GridDialect kMetal = {
    "ul",       "device ",  "threadgroup ",     "p.w[",    "thread_at", "block_dim",
    "block_at", "grid_dim", {".x", ".y", ".z"}, "MEET();", "FENCE();",  Language::metal};

bool uses(std::span<const Program> programs, bool (*what)(const Program&)) {
    return std::any_of(programs.begin(), programs.end(), what);
}
bool uses_f64(const Program& p) { return uses_type(p, DType::f64); }

class GridWriter {
public:
    GridWriter(const Program& program, const GridDialect& dialect)
        : d_(dialect),
          p_(program),
          buffers_(program.buffers()),
          scalars_(program.scalars()),
          opencl_(dialect.language == Language::opencl),
          metal_(dialect.language == Language::metal),
          spaces_(opencl_ || metal_),
          tiles_(program, dialect.language) {}

    std::string text() {
        const std::string words = p_.name + "_words";
        out_ = "\nstruct " + words + " { i64 w[" + std::to_string(1 + buffers_.size() + scalars_.size()) +
               "]; };\n";
        const std::uint64_t lanes = p_.block_lanes();
        const std::string most = std::to_string(lanes > 0 ? lanes : kMaxBlockLanes);
        if (opencl_) {
            out_ += "kernel ";
            if (lanes > 0)
                out_ += "__attribute__((reqd_work_group_size(" + std::to_string(p_.block[0]) + ", " +
                        std::to_string(p_.block[1]) + ", " + std::to_string(p_.block[2]) + "))) ";
            out_ += "void ";
        } else if (metal_) {
            out_ += "[[kernel, max_total_threads_per_threadgroup(" + most + ")]] void ";
        } else {
            out_ += "extern \"C\" __global__ void __launch_bounds__(" + most + ") ";
        }
        out_ += p_.name + "_grid(";
        for (std::size_t b = 0; b < buffers_.size(); ++b) {
            const std::string n = std::to_string(b);
            out_ += written_pointer(parameter(buffers_[b]), d_.memory, metal_) + " " +
                    (opencl_ ? "m" + n + ", u64 f" + n : "b" + n) + (metal_ ? written_binding(b) : "") + ", ";
        }
        out_ += last_arguments(words) + ") {\n";
        head(words);
        for (std::size_t k = 0; k < p_.instructions.size(); ++k) statement(k, p_.instructions[k]);
        return out_ + "}\n";
    }

private:
    const Parameter& parameter(int index) const { return p_.parameters[static_cast<std::size_t>(index)]; }
    std::string element(std::size_t b) const { return written_storage(parameter(buffers_[b]).dtype); }
    std::size_t buffer_number(int parameter) const {
        return static_cast<std::size_t>(std::find(buffers_.begin(), buffers_.end(), parameter) -
                                        buffers_.begin());
    }
    // The words, where to report faults, and in Metal the lane's place.
    std::string last_arguments(const std::string& words) const {
        if (metal_)
            return "constant const " + words + "& p" + written_binding(buffers_.size()) +
                   ", device i64* faults" + written_binding(buffers_.size() + 1) + ", uint3 " + d_.thread +
                   " [[thread_position_in_threadgroup]], uint3 " + d_.size +
                   " [[threads_per_threadgroup]], uint3 " + d_.block +
                   " [[threadgroup_position_in_grid]], uint3 " + d_.blocks + " [[threadgroups_per_grid]]";
        if (opencl_)
            return (opencl_words_in_memory(p_) ? "constant struct " + words + "* p"
                                               : "const struct " + words + " words") +
                   ", global i64* faults";
        return "const " + words + " p, FaultBox* faults";
    }
    std::string word(std::size_t w) const { return d_.word + std::to_string(w) + "]"; }
    void line(const std::string& text) { out_.append(depth_ * 2, ' ') += text + "\n"; }

    // Places in the grid, buffers, scalars, shared arrays and registers.
    void head(const std::string& words) {
        if (opencl_) {
            if (!opencl_words_in_memory(p_)) line("const struct " + words + "* const p = &words;");
            for (std::size_t b = 0; b < buffers_.size(); ++b) {
                const std::string n = std::to_string(b), type = "global " + element(b) + "*";
                line(type + " const b" + n + " = (" + type + ")((global uchar*)m" + n + " + f" + n + ");");
            }
        }
        const auto linear = [&](const char* at, const char* size, const char* type) {
            const std::string t = std::string("(") + type + ")";
            return t + at + d_.dims[0] + " + " + t + size + d_.dims[0] + " * (" + t + at + d_.dims[1] +
                   " + " + t + size + d_.dims[1] + " * " + t + at + d_.dims[2] + ")";
        };
        line("const u32 tid = " + linear(d_.thread, d_.size, "u32") + ";");
        line(std::string("const u32 lanes = (u32)") + d_.size + d_.dims[0] + " * (u32)" + d_.size +
             d_.dims[1] + " * (u32)" + d_.size + d_.dims[2] + ";");
        line("const u64 number = " + linear(d_.block, d_.blocks, "u64") + ";");
        line("const u64 gid = number * lanes + tid;");
        for (std::size_t b = 0; b < buffers_.size(); ++b)
            line("const u64 n" + std::to_string(b) + " = (u64)" + word(1 + b) + ";");
        for (std::size_t s = 0; s < scalars_.size(); ++s) {
            const DType t = parameter(scalars_[s]).dtype;
            line("const " + std::string(dtype_name(t)) + " s" + std::to_string(s) + " = " +
                 written_value(t, "(u64)" + word(1 + buffers_.size() + s)) + ";");
        }
        if (spaces_ && grid_scratch_bytes(p_) > 0)
            line(std::string(d_.shared) + "u64 scratch[" + std::to_string(grid_scratch_bytes(p_) / 8) + "];");
        for (std::size_t a = 0; a < p_.shared.size(); ++a) {
            const std::string n = std::to_string(a), count = std::to_string(p_.shared[a].count);
            line(d_.shared + tiles_.alignment(a) + written_storage(p_.shared[a].dtype) + " t" + n + "[" +
                 count + "];");
            line("for (u32 k = tid; k < " + count + "; k += lanes) t" + n + "[k] = 0;");
        }
        if (!p_.shared.empty()) line(d_.barrier);
        for (const std::string& accumulator : tiles_.accumulators()) line(accumulator);
        for (std::size_t r = 0; r < p_.registers.size(); ++r)
            line(std::string(dtype_name(p_.registers[r])) + " r" + std::to_string(r) + " = 0;");
        if (std::any_of(p_.instructions.begin(), p_.instructions.end(),
                        [](const Instruction& i) { return i.opcode == Opcode::LOOP; }))
            line("u32 rounds = 0;");
    }

    std::string special(Special s) const {
        const auto n = static_cast<std::size_t>(s);
        switch (s) {
            case Special::lane: return "(tid & 31)";
            case Special::warp: return "(tid / 32)";
            case Special::count: return word(0);
            default: break;
        }
        const char* const kinds[] = {d_.thread, d_.block, d_.size, d_.blocks};  // in the order of Special
        return std::string(kinds[n / 3]) + d_.dims[n % 3];
    }

    std::string operand(const Operand& o, DType t) const {
        switch (o.kind) {
            case Operand::Kind::reg: return "r" + std::to_string(o.value);
            case Operand::Kind::scalar:
                return "s" +
                       std::to_string(std::find(scalars_.begin(), scalars_.end(), static_cast<int>(o.value)) -
                                      scalars_.begin());
            case Operand::Kind::immediate: return written_value(t, written_bits(o.value, d_.literal_end));
            case Operand::Kind::gid: return "(" + std::string(dtype_name(t)) + ")gid";
            case Operand::Kind::special:
                return "(" + std::string(dtype_name(t)) + ")" + special(static_cast<Special>(o.value));
            case Operand::Kind::size:
                return "(" + std::string(dtype_name(t)) + ")n" +
                       std::to_string(buffer_number(static_cast<int>(o.value)));
            case Operand::Kind::none: break;
        }
        return "0";
    }
    std::string source(const Instruction& i, int k) const {
        return operand(i.src[k], operand_type(i.opcode, i.type, k));
    }

    std::string fault(std::size_t k, const std::string& element, const std::string& held) const {
        return written_fault(p_, k, d_.language, "tid", "number", element, held);
    }

    static std::string function(const Instruction& i) {
        std::string name(info(i.opcode).name);
        std::replace(name.begin(), name.end(), '.', '_');
        return name + "_" + std::string(dtype_name(i.type));
    }

    void access(std::size_t k, const Instruction& i) {
        const std::string n =
            std::to_string(i.shared ? static_cast<std::size_t>(i.buffer) : buffer_number(i.buffer));
        const std::string held =
            i.shared ? std::to_string(p_.shared[static_cast<std::size_t>(i.buffer)].count) : "n" + n;
        // Negative ones become huge.
        const std::string e = i.address.kind == Operand::Kind::immediate
                                  ? written_bits(i.address.value, d_.literal_end)
                                  : "(u64)" + operand(i.address, DType::i64);
        const std::string place =
            i.shared ? tiles_.element(static_cast<std::size_t>(i.buffer), "e") : "b" + n + "[e]";
        std::string done;
        if (i.opcode == Opcode::STG || i.opcode == Opcode::STS) {
            done = place + " = " + written_store(i.type, source(i, 0)) + ";";
        } else if (is_atomic(i.opcode)) {
            done = "r" + std::to_string(i.dst) + " = " + function(i) +
                   (spaces_ ? (i.shared ? "_l" : "_g") : "") + "(&" + place + ", " + source(i, 0) +
                   (i.opcode == Opcode::ATOM_CAS ? ", " + source(i, 1) : std::string()) + ");";
        } else {
            done = "r" + std::to_string(i.dst) + " = " + written_load(i.type, place) + ";";
        }
        line("{ const u64 e = " + e + "; if (e < " + held + ") " + done + " else " + fault(k, "e", held) +
             " }");
    }

    // Copies that follow each other into different tiles meet before the first and after the last.
    void copy_tile(std::size_t k, const Instruction& i) {
        const std::uint32_t filled = 1u << i.tiles[0];
        if (filled_ == 0) line(d_.barrier);
        if ((filled_ & filled) != 0) meet_behind_copies();
        filled_ |= filled;
        region(k, i, tiles_.copy(i, "b" + std::to_string(buffer_number(i.buffer))));
        if (k + 1 == p_.instructions.size() || p_.instructions[k + 1].opcode != Opcode::COPY_TILE)
            meet_behind_copies();
    }
    void meet_behind_copies() {
        if (const std::string arrival = tiles_.arrival(); !arrival.empty()) line(arrival);
        line(d_.barrier);
        filled_ = 0;
    }
    // A statement over the region of a buffer that the instruction names, clipped and checked; lane 0 speaks for the block.
    void region(std::size_t k, const Instruction& i, const std::string& done) {
        const bool copy = i.opcode == Opcode::COPY_TILE;
        const auto number = static_cast<std::size_t>(i.tiles[0]);
        const std::int64_t rows = copy ? p_.shared[number].rows() : p_.accumulators[number].rows;
        const std::int64_t columns = copy ? p_.shared[number].columns : p_.accumulators[number].columns;
        const std::string held = "n" + std::to_string(buffer_number(i.buffer));
        line("{");
        ++depth_;
        line("const u64 e = (u64)" + operand(i.address, DType::i64) + ", pitch = (u64)" + source(i, 0) + ";");
        line("const u32 wanted = tile_clip((i64)" + source(i, 1) + ", " + std::to_string(rows) +
             "), columns = tile_clip((i64)" + source(i, 2) + ", " + std::to_string(columns) + ");");
        line("const u32 rows = tile_rows(e, pitch, wanted, columns, " + held + ");");
        line("if (rows < wanted && tid == 0) " +
             fault(k, "tile_outside(e + rows * pitch, " + held + ")", held));
        line(done);
        --depth_;
        line("}");
    }

    void statement(std::size_t k, const Instruction& i) {
        const auto leave = [&](const char* word) {
            line(i.src[0].kind == Operand::Kind::none
                     ? std::string(word) + ";"
                     : "if (" + operand(i.src[0], DType::pred) + ") " + word + ";");
        };
        switch (i.opcode) {
            case Opcode::IF:
                line("if (" + operand(i.src[0], DType::pred) + ") {");
                ++depth_;
                return;
            case Opcode::ELSE:
                --depth_;
                line("} else {");
                ++depth_;
                return;
            case Opcode::ENDIF:
            case Opcode::ENDLOOP:
                --depth_;
                line("}");
                return;
            case Opcode::LOOP:
                line("for (;;) {");
                ++depth_;
                line(std::string("if (rounds == ") + kMostRounds + ") { " + fault(k, "0", "0") + " break; }");
                line("++rounds;");
                return;
            case Opcode::BREAK: return leave("break");
            case Opcode::CONTINUE: return leave("continue");
            case Opcode::EXIT: return leave("return");
            case Opcode::BAR_SYNC: return line(d_.barrier);
            case Opcode::MEMBAR: return line(d_.fence);
            case Opcode::COPY_TILE: return copy_tile(k, i);
            case Opcode::MMA:
            case Opcode::MMA_NT: return line(tiles_.product(i));
            case Opcode::MMA_ZERO: return line(tiles_.zero(static_cast<std::size_t>(i.tiles[0])));
            case Opcode::MMA_STORE:
                return region(k, i, tiles_.store(i, "b" + std::to_string(buffer_number(i.buffer))));
            default: break;
        }
        if (has_address(i.opcode)) return access(k, i);
        const std::string to = "r" + std::to_string(i.dst) + " = ";
        if (is_collective(i.opcode)) {
            line(to + function(i) + "(" + source(i, 0) +
                 (is_shuffle(i.opcode) ? ", " + source(i, 1) : std::string()) + ", tid, lanes" +
                 (spaces_ ? ", scratch" : "") + ");");
            return;
        }
        line(to + written_expression(p_, i, [this](const Operand& o, DType t) { return operand(o, t); }) +
             ";");
    }

    const GridDialect& d_;
    const Program& p_;
    std::vector<int> buffers_, scalars_;
    bool opencl_, metal_;
    // Atomics have a name for each address space, warps meet through scratch memory, faults are numbers.
    bool spaces_;
    TileWriter tiles_;
    std::uint32_t filled_ = 0;  // tiles that lanes have not met behind since they were copied
    std::size_t depth_ = 1;
    std::string out_;
};

}  // namespace

std::uint64_t grid_scratch_bytes(const Program& program) {
    const bool exchanges =
        std::any_of(program.instructions.begin(), program.instructions.end(), [](const Instruction& i) {
            return is_shuffle(i.opcode) || is_warp_reduction(i.opcode) || is_block_reduction(i.opcode);
        });
    const std::uint64_t lanes = program.block_lanes();
    return exchanges ? 8 * (lanes > 0 ? lanes : kMaxBlockLanes) : 0;
}

bool meets_under_if(const Program& program) {
    int depth = 0;  // of IF
    for (const Instruction& i : program.instructions) {
        if (i.opcode == Opcode::IF) ++depth;
        if (i.opcode == Opcode::ENDIF) --depth;
        if (depth > 0 && is_collective(i.opcode)) return true;
    }
    return false;
}

bool uses_wide_atomics(const Program& program) {
    return std::any_of(program.instructions.begin(), program.instructions.end(),
                       [](const Instruction& i) { return is_atomic(i.opcode) && size_of(i.type) == 8; });
}

std::string grid_prelude(std::span<const Program> programs, Language language) {
    if (language == Language::cuda)
        return std::string(kGridCuda) + kGridOrdering + kGridCudaFloats + kGridWarps + "WARPS(f64)\n" +
               tile_prelude(programs, language);
    if (language == Language::metal)
        return std::string(kGridMetal) + kGridExchange + kGridOrdering + kGridMetalFloats + kGridWarps +
               tile_prelude(programs, language);
    std::string text =
        std::string(kGridOpencl) + kGridExchange + kGridOrdering + kGridOpenclFloats + kGridWarps;
    if (uses(programs, uses_f64)) text += "WARPS(f64)\n";
    if (uses(programs, uses_wide_atomics)) text += kGridOpenclWide;
    if (uses(programs, uses_wide_atomics) && uses(programs, uses_f64)) text += kGridOpenclWideFloats;
    return text + tile_prelude(programs, language);
}

std::string write_grid_program(const Program& program, Language language) {
    return GridWriter(program, language == Language::cuda     ? kCuda
                               : language == Language::opencl ? kOpencl
                                                              : kMetal)
        .text();
}

GridShape::GridShape(const Program& program)
    : program_(program), buffers_(program.buffers()), scalars_(program.scalars().size()) {}

void GridShape::prepare(std::span<const std::byte> params, const GridDims& grid, const GridDims& block,
                        std::span<const PlacedBuffer> placed, GridWords& out) const {
    const auto refuse = [&](const std::string& what) {
        throw InvalidArgument("program '" + program_.name + "': " + what);
    };
    GridParams p;
    read_grid_params(params, p);
    if (p.scalar_count != scalars_)
        refuse("takes " + std::to_string(scalars_) + " scalars, got " + std::to_string(p.scalar_count));
    if (placed.size() != buffers_.size())
        refuse("takes " + std::to_string(buffers_.size()) + " buffers, got " + std::to_string(placed.size()));
    check_grid(program_, grid, block);
    out.count = 0;
    out.words[out.count++] = p.count;
    for (std::size_t b = 0; b < buffers_.size(); ++b) {
        const Parameter& q = program_.parameters[static_cast<std::size_t>(buffers_[b])];
        if (placed[b].address % size_of(q.dtype) != 0)
            refuse("buffer '" + q.name + "' does not begin at a multiple of its element's " +
                   std::to_string(size_of(q.dtype)) + " bytes");
        out.words[out.count++] = static_cast<std::int64_t>(placed[b].bytes / size_of(q.dtype));
    }
    for (std::size_t s = 0; s < scalars_; ++s)
        out.words[out.count++] = static_cast<std::int64_t>(p.scalars[s]);
}

}  // namespace invar
