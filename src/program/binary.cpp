// SPDX-License-Identifier: Apache-2.0
// Writes and reads program files. The reader trusts nothing: what it builds is given to verify().
#include "program/binary.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>

#include <xxhash.h>

namespace invar {
namespace {

static_assert(std::endian::native == std::endian::little, "the header is copied as it lies in memory");

constexpr unsigned char kMagic[8] = {0x89, 'I', 'N', 'V', 'P', 'R', 'G', '\n'};
constexpr std::size_t kHeaderBytes = 32;
constexpr std::uint64_t kScalar = 0, kBuffer = 1, kStrided = 2;
// Kinds of operands as they are written; their order in the code may change.
constexpr Operand::Kind kKinds[] = {Operand::Kind::none,      Operand::Kind::reg, Operand::Kind::scalar,
                                    Operand::Kind::immediate, Operand::Kind::gid, Operand::Kind::special,
                                    Operand::Kind::size};

struct Header {
    unsigned char magic[8];
    std::uint32_t version, zero;
    std::uint64_t bytes, sum;
};
static_assert(sizeof(Header) == kHeaderBytes);

class Writer {
public:
    std::vector<std::byte> write(std::span<const Program> programs) {
        number(programs.size());
        for (const Program& p : programs) program(p);
        std::vector<std::byte> rest = std::move(out_);
        out_.clear();
        number(names_.size());
        for (const std::string& n : names_) {
            number(n.size());
            for (const char c : n) out_.push_back(static_cast<std::byte>(c));
        }
        out_.insert(out_.end(), rest.begin(), rest.end());
        Header header{{}, kProgramBinaryVersion, 0, out_.size(), XXH3_64bits(out_.data(), out_.size())};
        std::memcpy(header.magic, kMagic, sizeof kMagic);
        std::vector<std::byte> file(kHeaderBytes + out_.size());
        std::memcpy(file.data(), &header, kHeaderBytes);
        std::copy(out_.begin(), out_.end(), file.begin() + kHeaderBytes);
        return file;
    }

private:
    void number(std::uint64_t n) {
        for (; n > 127; n >>= 7) out_.push_back(static_cast<std::byte>(n | 128));
        out_.push_back(static_cast<std::byte>(n));
    }
    void name(std::string_view text) {
        const auto [at, added] = numbers_.emplace(text, names_.size());
        if (added) names_.emplace_back(text);
        number(at->second);
    }
    void operand(const Operand& o) {
        number(static_cast<std::uint64_t>(std::find(std::begin(kKinds), std::end(kKinds), o.kind) - kKinds));
        if (o.kind == Operand::Kind::special)
            name(special_name(static_cast<Special>(o.value)));
        else if (o.kind != Operand::Kind::none && o.kind != Operand::Kind::gid)
            number(o.value);
    }
    void program(const Program& p) {
        name(p.name);
        number(p.parameters.size());
        for (const Parameter& q : p.parameters) {
            name(q.name);
            name(dtype_name(q.dtype));
            number(!q.buffer ? kScalar : q.strided ? kStrided : kBuffer);
        }
        number(p.shared.size());
        for (const SharedArray& a : p.shared) {
            name(a.name);
            name(dtype_name(a.dtype));
            number(static_cast<std::uint64_t>(a.count));
            number(static_cast<std::uint64_t>(a.columns));
        }
        number(p.accumulators.size());
        for (const Accumulator& a : p.accumulators) {
            name(a.name);
            number(static_cast<std::uint64_t>(a.rows));
            number(static_cast<std::uint64_t>(a.columns));
        }
        for (const std::uint32_t size : p.block) number(size);
        number(p.instructions.size());
        for (const Instruction& i : p.instructions) {
            const InstructionInfo& row = info(i.opcode);
            name(row.name);
            if (row.types != 0) name(dtype_name(i.type));
            if (writes_register(i.opcode)) number(static_cast<std::uint64_t>(i.dst));
            for (int k = 0; k < tile_count(i.opcode); ++k) number(static_cast<std::uint64_t>(i.tiles[k]));
            if (has_address(i.opcode)) {
                number(i.shared ? 1 : 0);
                number(static_cast<std::uint64_t>(i.buffer));
                operand(i.address);
            }
            // A condition is there or not; everything else has as many operands as its row says.
            const int operands = takes_condition(i.opcode) ? 1 : row.operands;
            for (int k = 0; k < operands; ++k) operand(i.src[k]);
        }
    }

    std::vector<std::byte> out_;
    std::vector<std::string> names_;
    std::map<std::string, std::size_t, std::less<>> numbers_;
};

[[noreturn]] void refuse(const std::string& what) { throw FormatError("program file: " + what); }

class Reader {
public:
    explicit Reader(std::span<const std::byte> body) : body_(body) {}

    std::vector<Program> read() {
        const std::uint64_t names = count("names");
        for (std::uint64_t n = 0; n < names; ++n) {
            const std::uint64_t length = count("letters of a name");
            if (length > kMaxProgramNameLength) refuse("a name of " + std::to_string(length) + " letters");
            const auto* first = reinterpret_cast<const char*>(body_.data() + at_);
            names_.emplace_back(first, first + length);
            // Names end up in messages.
            if (std::any_of(first, first + length, [](char c) { return c <= ' ' || c > '~'; }))
                refuse("a name with a letter that names do not have");
            at_ += static_cast<std::size_t>(length);
        }
        std::vector<Program> programs;
        std::set<std::string> seen;
        const std::uint64_t programs_there = count("programs");
        for (std::uint64_t n = 0; n < programs_there; ++n) {
            programs.push_back(program());
            verify(programs.back());
            if (!seen.insert(programs.back().name).second)
                refuse("two programs are called '" + programs.back().name + "'");
        }
        if (at_ != body_.size())
            refuse(std::to_string(body_.size() - at_) + " bytes behind the last program");
        return programs;
    }

private:
    std::uint64_t number() {
        std::uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            if (at_ == body_.size()) refuse("it ends within a number");
            const auto byte = static_cast<std::uint64_t>(body_[at_++]);
            if (shift == 63 && byte > 1) refuse("a number of more than 64 bits");
            value |= (byte & 127) << shift;
            if (byte < 128) return value;
        }
    }
    // How many of something follow, each at least a byte long. A program may have fewer than there are bytes: what is read
    // takes a hundred times as much memory.
    std::uint64_t count(const char* what, std::uint64_t most = UINT64_MAX) {
        const std::uint64_t n = number();
        if (n > most) refuse(std::to_string(n) + " " + what + "; at most " + std::to_string(most));
        if (n > body_.size() - at_) refuse(std::to_string(n) + " " + what + ", more than there are bytes");
        return n;
    }
    std::uint64_t limited(std::uint64_t most, const char* what) {
        const std::uint64_t n = number();
        if (n > most) refuse(std::string(what) + " " + std::to_string(n) + " is out of range");
        return n;
    }
    const std::string& name() {
        const std::uint64_t n = number();
        if (n >= names_.size()) refuse("name " + std::to_string(n) + " of " + std::to_string(names_.size()));
        return names_[static_cast<std::size_t>(n)];
    }
    DType type() {
        const std::string& text = name();
        const std::optional<DType> found = find_type(text);
        if (!found) refuse("type '" + text + "' is not known");
        return *found;
    }
    Operand operand() {
        Operand o;
        o.kind = kKinds[limited(std::size(kKinds) - 1, "operand kind")];
        if (o.kind == Operand::Kind::special) {
            const std::string& text = name();
            int s = 0;
            while (s < kSpecialCount && special_name(static_cast<Special>(s)) != text) ++s;
            if (s == kSpecialCount) refuse("special register '" + text + "' is not known");
            o.value = static_cast<std::uint64_t>(s);
        } else if (o.kind != Operand::Kind::none && o.kind != Operand::Kind::gid) {
            o.value = number();
        }
        return o;
    }
    Program program() {
        Program p;
        p.name = name();
        for (std::uint64_t n = count("parameters", kMaxProgramBuffers + kMaxProgramScalars); n > 0; --n) {
            Parameter q;
            q.name = name();
            q.dtype = type();
            const std::uint64_t kind = limited(kStrided, "kind of a parameter");
            q.buffer = kind != kScalar;
            q.strided = kind == kStrided;
            p.parameters.push_back(std::move(q));
        }
        for (std::uint64_t n = count("shared arrays", kMaxSharedArrays); n > 0; --n) {
            SharedArray a;
            a.name = name();
            a.dtype = type();
            a.count = static_cast<std::int64_t>(limited(kMaxSharedBytes, "size of a shared array"));
            a.columns = static_cast<std::int64_t>(limited(kMaxSharedBytes, "length of a tile's rows"));
            p.shared.push_back(std::move(a));
        }
        for (std::uint64_t n = count("accumulators", kMaxAccumulators); n > 0; --n) {
            Accumulator a;
            a.name = name();
            a.rows = static_cast<std::int64_t>(limited(kMaxAccumulatorSide, "rows of an accumulator"));
            a.columns = static_cast<std::int64_t>(limited(kMaxAccumulatorSide, "columns of an accumulator"));
            p.accumulators.push_back(std::move(a));
        }
        for (std::uint32_t& size : p.block)
            size = static_cast<std::uint32_t>(limited(kMaxBlockLanes, "size of a block"));
        for (std::uint64_t n = count("instructions", kMaxProgramInstructions); n > 0; --n) instruction(p);
        return p;
    }
    void instruction(Program& p) {
        const std::string& text = name();
        const InstructionInfo* row = find_instruction(text);
        if (row == nullptr) refuse("instruction '" + text + "' is not known");
        Instruction i;
        i.opcode = row->opcode;
        if (row->types != 0) i.type = type();
        if (writes_register(i.opcode)) {
            const std::uint64_t dst = limited(kMaxProgramInstructions, "register");
            i.dst = static_cast<std::int32_t>(dst);
            if (dst == p.registers.size()) p.registers.push_back(result_type(i.opcode, i.type));
        }
        for (int k = 0; k < tile_count(i.opcode); ++k)
            i.tiles[k] = static_cast<std::int32_t>(
                limited(std::max(kMaxSharedArrays, kMaxAccumulators) - 1, "tile or accumulator"));
        if (has_address(i.opcode)) {
            i.shared = limited(1, "address space") == 1;
            i.buffer = static_cast<std::int32_t>(limited(INT32_MAX, "parameter"));
            i.address = operand();
            if (!i.shared && static_cast<std::size_t>(i.buffer) < p.parameters.size()) {
                Access& access = p.parameters[static_cast<std::size_t>(i.buffer)].access;
                access = access | access_of(i.opcode);
            }
        }
        const int operands = takes_condition(i.opcode) ? 1 : row->operands;
        for (int k = 0; k < operands; ++k) i.src[k] = operand();
        p.instructions.push_back(i);
    }

    std::span<const std::byte> body_;
    std::size_t at_ = 0;
    std::vector<std::string> names_;
};

}  // namespace

bool is_program_binary(std::span<const std::byte> bytes) {
    return bytes.size() >= sizeof kMagic && std::memcmp(bytes.data(), kMagic, sizeof kMagic) == 0;
}

std::vector<std::byte> to_binary(std::span<const Program> programs) { return Writer().write(programs); }

std::vector<Program> from_binary(std::span<const std::byte> bytes) {
    if (!is_program_binary(bytes)) refuse("it does not begin as one");
    if (bytes.size() < kHeaderBytes) refuse("it ends within its header");
    Header header;
    std::memcpy(&header, bytes.data(), kHeaderBytes);
    if (header.version != kProgramBinaryVersion)
        refuse("version " + std::to_string(header.version) + " of the format, this build reads version " +
               std::to_string(kProgramBinaryVersion) + "; save it anew from its text");
    if (header.zero != 0) refuse("its header has a word that is not 0");
    const std::span<const std::byte> body = bytes.subspan(kHeaderBytes);
    if (header.bytes != body.size())
        refuse("its header speaks of " + std::to_string(header.bytes) + " bytes, there are " +
               std::to_string(body.size()));
    if (header.sum != XXH3_64bits(body.data(), body.size()))
        refuse("its checksum does not fit; it is damaged");
    return Reader(body).read();
}

}  // namespace invar
