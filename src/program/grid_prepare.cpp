// SPDX-License-Identifier: Apache-2.0
// From a verified grid program to steps: a place for each value, the kernel of each instruction, and where control flow goes.
#include <algorithm>
#include <map>
#include <tuple>

#include "program/grid_prepared.h"

namespace invar {
namespace {

class GridPreparer {
public:
    explicit GridPreparer(const Program& p) : p_(p) {}

    PreparedGrid run() {
        out_.program = p_;
        out_.buffers = p_.buffers();
        out_.scalars = p_.scalars();
        std::int64_t at = 0;
        for (const SharedArray& a : p_.shared) {
            out_.shared_offset.push_back(at);
            at += a.bytes();
        }
        at = 0;
        for (const Accumulator& a : p_.accumulators) {
            out_.accumulator_offset.push_back(at);
            at += a.rows * a.columns;
        }
        for (const DType t : p_.registers) add_value(t);
        written_.resize(p_.registers.size(), false);
        for (std::size_t k = 0; k < p_.instructions.size(); ++k)
            step(static_cast<int>(k), p_.instructions[k]);
        find_ends();
        return std::move(out_);
    }

private:
    int add_value(DType t) {
        out_.values.push_back({out_.bytes_per_lane, t});
        out_.bytes_per_lane += static_cast<int>(size_of(t));
        return static_cast<int>(out_.values.size()) - 1;
    }

    int value(const Operand& o, DType type) {
        if (o.kind == Operand::Kind::none) return -1;
        if (o.kind == Operand::Kind::reg) return static_cast<int>(o.value);
        Operand source = o;
        if (o.kind == Operand::Kind::scalar) {
            type = p_.parameters[static_cast<std::size_t>(o.value)].dtype;
            source.value = static_cast<std::uint64_t>(
                std::find(out_.scalars.begin(), out_.scalars.end(), static_cast<int>(o.value)) -
                out_.scalars.begin());
        }
        if (o.kind == Operand::Kind::size)
            source.value = static_cast<std::uint64_t>(
                std::find(out_.buffers.begin(), out_.buffers.end(), static_cast<int>(o.value)) -
                out_.buffers.begin());
        const auto [found, added] = known_.try_emplace({o.kind, type, source.value}, 0);
        if (!added) return found->second;
        found->second = add_value(type);
        const GridFill fill{found->second, source};
        if (o.kind == Operand::Kind::gid)
            out_.of_block.push_back(fill);
        else if (o.kind != Operand::Kind::special)
            out_.constants.push_back(fill);
        else
            (is_uniform(static_cast<Special>(o.value)) ? out_.of_block : out_.of_lane).push_back(fill);
        return found->second;
    }

    Kernel kernel_of(const Instruction& i) const {
        switch (i.opcode) {
            case Opcode::LDG:
            case Opcode::LDS: return load_kernel(i.type);
            case Opcode::STG:
            case Opcode::STS: return store_kernel(i.type);
            case Opcode::RED_ADD_WARP:
            case Opcode::RED_ADD_BLOCK: return find_kernel({Opcode::ADD, i.type, i.type});
            case Opcode::RED_MUL_WARP:
            case Opcode::RED_MUL_BLOCK: return find_kernel({Opcode::MUL, i.type, i.type});
            case Opcode::RED_MIN_WARP:
            case Opcode::RED_MIN_BLOCK: return find_kernel({Opcode::MIN, i.type, i.type});
            case Opcode::RED_MAX_WARP:
            case Opcode::RED_MAX_BLOCK: return find_kernel({Opcode::MAX, i.type, i.type});
            default: break;
        }
        if (!is_pointwise(i.opcode)) return nullptr;
        DType source = i.type;
        if (i.opcode == Opcode::CVT)
            source = i.src[0].kind == Operand::Kind::reg
                         ? p_.registers[static_cast<std::size_t>(i.src[0].value)]
                         : p_.parameters[static_cast<std::size_t>(i.src[0].value)].dtype;
        return find_kernel({i.opcode, i.type, source});
    }

    // What it names, and for how many instructions it counts: as many as lanes would need for its elements.
    void tiles(GridStep& s, const Instruction& i) const {
        constexpr auto kLanes = static_cast<std::int64_t>(kMaxBlockLanes);
        std::copy(std::begin(i.tiles), std::end(i.tiles), std::begin(s.tiles));
        if (i.opcode == Opcode::COPY_TILE) {
            s.work += static_cast<std::uint64_t>(shared(i.tiles[0]).count / kLanes);
            return;
        }
        const Accumulator& c = p_.accumulators[static_cast<std::size_t>(i.tiles[0])];
        std::int64_t elements = c.rows * c.columns;
        if (is_product(i.opcode)) {
            const std::int64_t k = shared(i.tiles[1]).columns;
            s.product = {i.type, i.opcode == Opcode::MMA_NT, c.rows, c.columns, k};
            elements *= k;
        }
        s.work += static_cast<std::uint64_t>(elements / kLanes);
    }
    const SharedArray& shared(std::int32_t number) const {
        return p_.shared[static_cast<std::size_t>(number)];
    }

    void step(int number, const Instruction& i) {
        GridStep s;
        s.opcode = i.opcode;
        s.type = i.type;
        s.line = i.line;
        s.kernel = kernel_of(i);
        int* const operands[] = {&s.a, &s.b, &s.c};
        for (int k = 0; k < 3; ++k) *operands[k] = value(i.src[k], operand_type(i.opcode, i.type, k));
        if (i.dst >= 0) {
            s.dst = i.dst;
            s.again = written_[static_cast<std::size_t>(i.dst)];
            written_[static_cast<std::size_t>(i.dst)] = true;
        }
        if (has_address(i.opcode)) {
            s.shared = i.shared;
            s.buffer = i.shared
                           ? i.buffer
                           : static_cast<int>(std::find(out_.buffers.begin(), out_.buffers.end(), i.buffer) -
                                              out_.buffers.begin());
            s.by_gid = i.address.kind == Operand::Kind::gid;
            if (i.address.kind == Operand::Kind::immediate)
                s.constant = static_cast<std::int64_t>(i.address.value);
            else
                s.index = value(i.address, DType::i64);
        }
        if (is_tile(i.opcode)) tiles(s, i);
        if (i.opcode == Opcode::IF || i.opcode == Opcode::LOOP) {
            open_.push_back(number);
            out_.depth = std::max(out_.depth, static_cast<int>(open_.size()));
        } else if (i.opcode == Opcode::ENDIF || i.opcode == Opcode::ENDLOOP) {
            s.begin = open_.back();
            open_.pop_back();
        }
        out_.steps.push_back(s);
    }

    // From the end: what closes the depth that an instruction stands in.
    void find_ends() {
        std::vector<int> next{static_cast<int>(out_.steps.size())};
        for (std::size_t k = out_.steps.size(); k-- > 0;) {
            GridStep& s = out_.steps[k];
            switch (s.opcode) {
                case Opcode::ENDIF:
                case Opcode::ENDLOOP:
                    s.next = next.back();
                    next.push_back(static_cast<int>(k));
                    break;
                case Opcode::ELSE:
                    s.next = next.back();
                    next.back() = static_cast<int>(k);
                    break;
                case Opcode::IF:
                case Opcode::LOOP:
                    s.next = next.back();
                    next.pop_back();
                    break;
                default: s.next = next.back();
            }
        }
    }

    const Program& p_;
    PreparedGrid out_;
    std::vector<bool> written_;
    std::vector<int> open_;
    std::map<std::tuple<Operand::Kind, DType, std::uint64_t>, int> known_;
};

}  // namespace

PreparedGrid prepare_grid(const Program& program) { return GridPreparer(program).run(); }

}  // namespace invar
