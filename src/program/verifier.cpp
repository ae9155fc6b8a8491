// SPDX-License-Identifier: Apache-2.0
// What must hold for every program, wherever it came from: after this the interpreter and the writers look at
// nothing again except buffer sizes and data-dependent addresses.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <optional>
#include <set>

#include "program/program.h"
#include "program/uniformity.h"

namespace invar {
namespace {

bool is_name(const std::string& s) {
    if (s.empty() || s.size() > kMaxProgramNameLength || (s[0] >= '0' && s[0] <= '9')) return false;
    return std::all_of(s.begin(), s.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    });
}

bool is_reserved(const std::string& s, bool grid) {
    if (grid && (s == "thread" || s == "block" || s == "block_dim" || s == "grid_dim" || s == "lane" ||
                 s == "warp" || s == "count"))
        return true;
    if (s == "gid" || s == "inf" || s == "nan" || s == "true" || s == "false") return true;
    return s.size() > 1 && s[0] == 'r' &&
           std::all_of(s.begin() + 1, s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class Verifier {
public:
    explicit Verifier(const Program& p) : p_(p), grid_(p.is_grid()) {}

    void run() {
        if (!is_name(p_.name)) refuse("the program's name must be letters, digits and '_', at most 64");
        parameters();
        shared_arrays();
        block();
        accumulators();
        if (p_.instructions.size() > static_cast<std::size_t>(kMaxProgramInstructions))
            refuse(std::to_string(p_.instructions.size()) + " instructions, at most " +
                   std::to_string(kMaxProgramInstructions) + " are allowed");
        for (at_ = 0; at_ < p_.instructions.size(); ++at_) instruction(p_.instructions[at_]);
        if (!open_.empty()) {
            at_ = open_.back().at;
            refuse("it has no end");
        }
        if (grid_) collectives();
        if (written_ != p_.registers.size()) {
            at_ = kNowhere;
            refuse("it lists " + std::to_string(p_.registers.size()) + " registers but writes " +
                   std::to_string(written_));
        }
    }

private:
    static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

    [[noreturn]] void refuse(const std::string& rule) const {
        std::string where = "program '" + (is_name(p_.name) ? p_.name : std::string("?")) + "': ";
        if (at_ != kNowhere) {
            const Instruction& i = p_.instructions[at_];
            where += i.line > 0 ? "line " + std::to_string(i.line) : "instruction " + std::to_string(at_);
            if (static_cast<int>(i.opcode) < kOpcodeCount) where += ", " + std::string(info(i.opcode).name);
            where += ": ";
        }
        throw FormatError(where + rule);
    }

    void parameters() {
        std::set<std::string> names;
        int buffers = 0, scalars = 0;
        for (const Parameter& q : p_.parameters) {
            if (!is_name(q.name)) refuse("a parameter's name must be letters, digits and '_', at most 64");
            check_reserved(q.name);
            if (!names.insert(q.name).second) refuse("two parameters are called '" + q.name + "'");
            if (static_cast<int>(q.dtype) >= kDTypeCount)
                refuse("parameter '" + q.name + "' has no valid type");
            if (!q.buffer && (kTypesCompute & type_bit(q.dtype)) == 0)
                refuse("scalar '" + q.name + "' is " + std::string(dtype_name(q.dtype)) +
                       ", a storage type; make it f32");
            if (!q.buffer && q.strided) refuse("scalar '" + q.name + "' cannot be strided");
            if (q.strided && grid_)
                refuse("buffer '" + q.name +
                       "' is strided, which a grid program cannot have; compute its addresses");
            ++(q.buffer ? buffers : scalars);
        }
        if (buffers > kMaxProgramBuffers)
            refuse(std::to_string(buffers) + " buffers, at most " + std::to_string(kMaxProgramBuffers) +
                   " are allowed");
        if (scalars > kMaxProgramScalars)
            refuse(std::to_string(scalars) + " scalars, at most " + std::to_string(kMaxProgramScalars) +
                   " are allowed");
    }

    void check_reserved(const std::string& name) const {
        if (!is_reserved(name, grid_)) return;
        refuse("parameter '" + name + "' has a reserved name (gid, inf, nan, true, false, r0, r1, ..." +
               (grid_ ? ", thread, block, block_dim, grid_dim, lane, warp, count)" : ")"));
    }

    void shared_arrays() {
        std::set<std::string> names;
        for (const Parameter& q : p_.parameters) names.insert(q.name);
        if (p_.shared.size() > std::size_t{kMaxSharedArrays})
            refuse(std::to_string(p_.shared.size()) + " shared arrays, at most " +
                   std::to_string(kMaxSharedArrays) + " are allowed");
        std::int64_t bytes = 0;
        for (const SharedArray& a : p_.shared) {
            if (!is_name(a.name)) refuse("a shared array's name must be letters, digits and '_', at most 64");
            check_reserved(a.name);
            if (!names.insert(a.name).second) refuse("two parameters are called '" + a.name + "'");
            if (static_cast<int>(a.dtype) >= kDTypeCount)
                refuse("shared array '" + a.name + "' has no valid type");
            // Each count is checked before the sum, so that nothing overflows.
            if (a.count < 1 || a.count > kMaxSharedBytes)
                refuse("shared array '" + a.name + "' has " + std::to_string(a.count) + " elements");
            if (a.columns < 0 || (a.columns > 0 && a.count % a.columns != 0))
                refuse("tile '" + a.name + "' of " + std::to_string(a.count) + " elements has rows of " +
                       std::to_string(a.columns));
            bytes += a.bytes();
        }
        if (bytes > kMaxSharedBytes)
            refuse("its shared arrays take " + std::to_string(bytes) + " bytes, at most " +
                   std::to_string(kMaxSharedBytes) + " are there");
    }

    void block() const {
        std::uint64_t lanes = 1;
        for (const std::uint32_t size : p_.block) {
            if ((size == 0) != (p_.block[0] == 0)) refuse("a block has no lanes in one of its directions");
            if (size > kMaxBlockLanes) lanes = std::uint64_t{kMaxBlockLanes} + 1;
            lanes = size == 0 ? lanes : lanes * size;
        }
        if (lanes > kMaxBlockLanes)
            refuse("a block of more than " + std::to_string(kMaxBlockLanes) + " lanes");
    }

    void accumulators() {
        std::set<std::string> names;
        for (const Parameter& q : p_.parameters) names.insert(q.name);
        for (const SharedArray& a : p_.shared) names.insert(a.name);
        if (p_.accumulators.size() > std::size_t{kMaxAccumulators})
            refuse(std::to_string(p_.accumulators.size()) + " accumulators, at most " +
                   std::to_string(kMaxAccumulators) + " are allowed");
        std::int64_t elements = 0;
        for (const Accumulator& a : p_.accumulators) {
            if (!is_name(a.name)) refuse("an accumulator's name must be letters, digits and '_', at most 64");
            check_reserved(a.name);
            if (!names.insert(a.name).second) refuse("two parameters are called '" + a.name + "'");
            for (const std::int64_t side : {a.rows, a.columns})
                if (side < kTileUnit || side > kMaxAccumulatorSide || side % kTileUnit != 0)
                    refuse("accumulator '" + a.name + "' has a side of " + std::to_string(side) +
                           ", needs a multiple of " + std::to_string(kTileUnit) + " up to " +
                           std::to_string(kMaxAccumulatorSide));
            elements += a.rows * a.columns;
        }
        if (elements == 0) return;
        if (p_.block_lanes() == 0)
            refuse("it has accumulators, which lie in the lanes of a block: name it with '.block'");
        const std::int64_t most =
            std::min(kMaxAccumulatorElements,
                     kMaxAccumulatorElementsPerLane * static_cast<std::int64_t>(p_.block_lanes()));
        if (elements > most)
            refuse("its accumulators have " + std::to_string(elements) + " elements, a block of " +
                   std::to_string(p_.block_lanes()) + " lanes holds " + std::to_string(most));
    }

    DType register_type(std::uint64_t r) const {
        if (r >= written_) refuse("register r" + std::to_string(r) + " is read before it is written");
        if (!in_scope_[static_cast<std::size_t>(r)])
            refuse("register r" + std::to_string(r) + " was made inside an IF or LOOP that has ended");
        return p_.registers[static_cast<std::size_t>(r)];
    }

    void immediate(std::uint64_t bits, DType type) const {
        const std::size_t width = size_of(type) * 8;
        if (width < 64 && (bits >> width) != 0) refuse("an immediate has bits above its type's width");
        if (type == DType::pred && bits > 1) refuse("a pred immediate is 0 or 1");
        const bool odd_nan =
            (type == DType::f32 && std::isnan(std::bit_cast<float>(static_cast<std::uint32_t>(bits))) &&
             bits != 0x7fc00000u) ||
            (type == DType::f64 && std::isnan(std::bit_cast<double>(bits)) && bits != 0x7ff8000000000000u);
        if (odd_nan) refuse("a NaN immediate must be the quiet one");
    }

    void source(const Instruction& i, int k) const {
        const Operand& o = i.src[k];
        const std::string which = "operand " + std::to_string(k + 1);
        const DType wanted = operand_type(i.opcode, i.type, k);
        DType got = wanted;
        switch (o.kind) {
            case Operand::Kind::none: refuse(which + " is missing");
            case Operand::Kind::reg: got = register_type(o.value); break;
            case Operand::Kind::scalar:
                if (o.value >= p_.parameters.size() ||
                    p_.parameters[static_cast<std::size_t>(o.value)].buffer)
                    refuse(which + " is not a scalar parameter");
                got = p_.parameters[static_cast<std::size_t>(o.value)].dtype;
                break;
            case Operand::Kind::immediate:
                if (i.opcode == Opcode::CVT) refuse("CVT of an immediate");
                immediate(o.value, wanted);
                break;
            case Operand::Kind::gid:
                if (i.opcode != Opcode::MOV || !is_index(i.type))
                    refuse(which + ": gid may only be read by MOV.i32, MOV.u32, MOV.i64 and MOV.u64");
                if (o.value != 0) refuse(which + ": gid carries no value");
                break;
            case Operand::Kind::special:
                if (i.opcode != Opcode::MOV || !is_index(i.type))
                    refuse(which + ": " +
                           "a lane's place may only be read by MOV.i32, MOV.u32, MOV.i64 and MOV.u64");
                if (o.value >= std::uint64_t{kSpecialCount}) refuse(which + " names no special register");
                break;
            case Operand::Kind::size:
                if (i.opcode != Opcode::MOV || !is_index(i.type))
                    refuse(
                        which +
                        ": the size of a buffer may only be read by MOV.i32, MOV.u32, MOV.i64 and MOV.u64");
                if (o.value >= p_.parameters.size() ||
                    !p_.parameters[static_cast<std::size_t>(o.value)].buffer)
                    refuse(which + " is the size of no buffer");
                break;
            default: refuse(which + " is of no known kind");
        }
        const bool extent = is_tile(i.opcode) && got == DType::u32;
        if (i.opcode != Opcode::CVT && got != wanted && !extent)
            refuse(which + " is " + std::string(dtype_name(got)) + ", needs " +
                   std::string(dtype_name(wanted)) + (is_tile(i.opcode) ? " or u32" : ""));
    }

    void instruction(const Instruction& i) {
        if (static_cast<int>(i.opcode) >= kOpcodeCount) refuse("unknown instruction");
        if (static_cast<int>(i.type) >= kDTypeCount) refuse("unknown type");
        const InstructionInfo& row = info(i.opcode);
        // The default type, where there is none, so that equal programs are equal.
        if (row.types == 0 && i.type != DType::f32) refuse("has no type");
        if (row.types != 0 && (row.types & type_bit(i.type)) == 0)
            refuse("does not work on " + std::string(dtype_name(i.type)));
        if (has_address(i.opcode)) {
            address(i);
        } else if (i.buffer != -1 || i.shared || i.address.kind != Operand::Kind::none) {
            refuse("has no address");
        }
        tiles(i);
        const int operands = operand_count(i);
        for (int k = 0; k < 3; ++k) {
            if (k < operands) {
                source(i, k);
            } else if (i.src[k].kind != Operand::Kind::none) {
                refuse("takes " + std::to_string(operands) + " operands, got more");
            }
        }
        if (is_control(i.opcode)) control(i);
        if (!writes_register(i.opcode)) {
            if (i.dst != -1) refuse("writes no register");
            return;
        }
        const DType result = result_type(i.opcode, i.type);
        if (!open_.empty() && i.dst >= 0 && static_cast<std::size_t>(i.dst) < written_) {
            if (register_type(static_cast<std::uint64_t>(i.dst)) != result)
                refuse("r" + std::to_string(i.dst) + " has another type than it is written with");
            return;
        }
        if (i.dst < 0 || static_cast<std::size_t>(i.dst) != written_ || written_ >= p_.registers.size())
            refuse("registers must be written once, in the order of their numbers");
        if (p_.registers[written_] != result)
            refuse("r" + std::to_string(i.dst) + " is listed as another type than it is written with");
        ++written_;
        in_scope_.push_back(true);
    }

    void tiles(const Instruction& i) {
        const int named = tile_count(i.opcode);
        for (int k = 0; k < 3; ++k) {
            const std::int32_t t = i.tiles[k];
            if (k >= named) {
                if (t != -1) refuse("names a tile that it does not have");
                continue;
            }
            const bool accumulator = is_accumulator(i.opcode, k);
            const std::size_t there = accumulator ? p_.accumulators.size() : p_.shared.size();
            if (t < 0 || static_cast<std::size_t>(t) >= there)
                refuse(accumulator ? "its accumulator is none" : "its tile is no shared array");
            if (accumulator) continue;
            const SharedArray& a = p_.shared[static_cast<std::size_t>(t)];
            if (a.columns == 0) refuse("'" + a.name + "' has no rows and columns");
            if (a.dtype != i.type)
                refuse("'" + a.name + "' holds " + std::string(dtype_name(a.dtype)) +
                       ", the instruction names " + std::string(dtype_name(i.type)));
        }
        if (is_product(i.opcode)) product(i);
    }
    void product(const Instruction& i) {
        // One layout in the lanes' registers serves one type.
        std::optional<DType>& type = product_type_[static_cast<std::size_t>(i.tiles[0])];
        if (type.value_or(i.type) != i.type)
            refuse("'" + p_.accumulators[static_cast<std::size_t>(i.tiles[0])].name + "' sums products of " +
                   std::string(dtype_name(*type)) + ", an accumulator has those of one type");
        type = i.type;
        const Accumulator& c = p_.accumulators[static_cast<std::size_t>(i.tiles[0])];
        const SharedArray& a = p_.shared[static_cast<std::size_t>(i.tiles[1])];
        const SharedArray& b = p_.shared[static_cast<std::size_t>(i.tiles[2])];
        const bool transposed = i.opcode == Opcode::MMA_NT;
        const std::int64_t k = transposed ? b.columns : b.rows(), n = transposed ? b.rows() : b.columns;
        const auto shape = [](std::int64_t rows, std::int64_t columns) {
            return " (" + std::to_string(rows) + ", " + std::to_string(columns) + ")";
        };
        if (a.rows() != c.rows || n != c.columns || a.columns != k)
            refuse("'" + a.name + "'" + shape(a.rows(), a.columns) + " times '" + b.name + "'" +
                   shape(b.rows(), b.columns) + (transposed ? " transposed" : "") + " is no '" + c.name +
                   "'" + shape(c.rows, c.columns));
        if (k % kTileUnit != 0)
            refuse("it sums over " + std::to_string(k) + " products, needs a multiple of " +
                   std::to_string(kTileUnit));
    }

    void control(const Instruction& i) {
        switch (i.opcode) {
            case Opcode::IF:
            case Opcode::LOOP:
                if (open_.size() >= std::size_t{kMaxNesting})
                    refuse("more than " + std::to_string(kMaxNesting) + " nested IF and LOOP");
                open_.push_back({at_, i.opcode, written_});
                return;
            case Opcode::ELSE:
            case Opcode::ENDIF:
                if (open_.empty() || (open_.back().opcode != Opcode::IF &&
                                      (i.opcode == Opcode::ELSE || open_.back().opcode != Opcode::ELSE)))
                    refuse("no IF is open here");
                end_scope();
                if (i.opcode == Opcode::ENDIF)
                    open_.pop_back();
                else
                    open_.back() = {at_, Opcode::ELSE, written_};
                return;
            case Opcode::ENDLOOP:
                if (open_.empty() || open_.back().opcode != Opcode::LOOP) refuse("no LOOP is open here");
                end_scope();
                open_.pop_back();
                return;
            case Opcode::EXIT: return condition(i);
            case Opcode::BREAK:
            case Opcode::CONTINUE:
                condition(i);
                if (std::none_of(open_.begin(), open_.end(),
                                 [](const Open& o) { return o.opcode == Opcode::LOOP; }))
                    refuse("stands in no LOOP");
                return;
            default: return;
        }
    }
    void condition(const Instruction& i) const {  // what "@p" can say
        if (i.src[0].kind != Operand::Kind::none && i.src[0].kind != Operand::Kind::reg)
            refuse("its condition is no register");
    }
    void end_scope() {
        std::fill(in_scope_.begin() + static_cast<std::ptrdiff_t>(open_.back().registers), in_scope_.end(),
                  false);
    }

    void collectives() {
        const Uniformity uniform(p_);
        for (at_ = 0; at_ < p_.instructions.size(); ++at_) {
            const int culprit = uniform.diverged_by(at_);
            if (is_tile(p_.instructions[at_].opcode)) uniform_operands(uniform, p_.instructions[at_]);
            if (!is_collective(p_.instructions[at_].opcode) || culprit < 0) continue;
            const Instruction& c = p_.instructions[static_cast<std::size_t>(culprit)];
            refuse("all lanes of a block must come here together, but " + std::string(info(c.opcode).name) +
                   (c.line > 0 ? " of line " + std::to_string(c.line)
                               : " of instruction " + std::to_string(culprit)) +
                   " may part them: its condition differs between lanes");
        }
    }

    // What the block does together it does with the same numbers.
    void uniform_operands(const Uniformity& uniform, const Instruction& i) const {
        const char* const names[] = {"its address", "its pitch", "its number of rows",
                                     "its number of columns"};
        const Operand* const operands[] = {&i.address, &i.src[0], &i.src[1], &i.src[2]};
        for (int k = 0; k < 4; ++k)
            if (!uniform.is_uniform(*operands[k]))
                refuse(std::string(names[k]) + " may differ between the lanes of a block");
    }

    void address(const Instruction& i) const {
        if (i.shared) {
            if (i.opcode == Opcode::LDG || i.opcode == Opcode::STG || is_tile(i.opcode))
                refuse("works on parameters alone");
            if (i.buffer < 0 || static_cast<std::size_t>(i.buffer) >= p_.shared.size())
                refuse("its array is no shared one");
            const SharedArray& a = p_.shared[static_cast<std::size_t>(i.buffer)];
            if (a.dtype != i.type)
                refuse("'" + a.name + "' holds " + std::string(dtype_name(a.dtype)) +
                       ", the instruction names " + std::string(dtype_name(i.type)));
            if (i.address.kind == Operand::Kind::immediate &&
                static_cast<std::int64_t>(i.address.value) >= a.count)
                refuse("'" + a.name + "' has " + std::to_string(a.count) + " elements");
            return index(i);
        }
        if (i.opcode == Opcode::LDS || i.opcode == Opcode::STS) refuse("works on shared arrays alone");
        if (i.buffer < 0 || static_cast<std::size_t>(i.buffer) >= p_.parameters.size())
            refuse("its buffer is no parameter");
        const Parameter& q = p_.parameters[static_cast<std::size_t>(i.buffer)];
        if (!q.buffer) refuse("'" + q.name + "' is a scalar, it has no address");
        if (q.dtype != i.type)
            refuse("'" + q.name + "' holds " + std::string(dtype_name(q.dtype)) + ", the instruction names " +
                   std::string(dtype_name(i.type)));
        if ((q.access | access_of(i.opcode)) != q.access)
            refuse("'" + q.name + "' is not declared to be " +
                   (access_of(i.opcode) == Access::read    ? "read"
                    : access_of(i.opcode) == Access::write ? "written"
                                                           : "read and written"));
        index(i);
    }

    void index(const Instruction& i) const {
        switch (i.address.kind) {
            case Operand::Kind::gid: break;
            case Operand::Kind::reg: {
                const DType t = register_type(i.address.value);
                if (!is_int(t))
                    refuse("the index r" + std::to_string(i.address.value) + " is " +
                           std::string(dtype_name(t)) + ", needs an integer");
                break;
            }
            case Operand::Kind::immediate:
                if (static_cast<std::int64_t>(i.address.value) < 0) refuse("a negative constant index");
                break;
            default: refuse("an address is buffer + gid, a register or a constant");
        }
    }

    static bool is_index(DType t) {
        return t == DType::i32 || t == DType::u32 || t == DType::i64 || t == DType::u64;
    }

    struct Open {
        std::size_t at = 0;
        Opcode opcode = Opcode::IF;
        std::size_t registers = 0;  // made before it
    };

    const Program& p_;
    bool grid_ = false;
    std::size_t at_ = kNowhere;
    std::size_t written_ = 0;
    std::vector<bool> in_scope_;  // of the registers written so far
    std::vector<Open> open_;
    std::array<std::optional<DType>, kMaxAccumulators> product_type_;  // of accumulators
};

}  // namespace

void verify(const Program& program) { Verifier(program).run(); }

}  // namespace invar
