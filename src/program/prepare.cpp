// SPDX-License-Identifier: Apache-2.0
// From a verified program to steps: which values are uniform, which loads need no copy, which results go
// straight to memory, and which registers share a place in the scratch memory.
#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "program/pointwise.h"
#include "program/prepared.h"

namespace invar {
namespace {

constexpr std::int64_t kScratchBudget =
    24 * 1024;  // bytes, so that streams still fit beside it in a 32 KB cache
constexpr std::int64_t kLargestBlock = 1024, kLeastBlock = 64;

class Preparer {
public:
    explicit Preparer(const Program& p) : p_(p) {}

    PreparedProgram run() {
        describe_parameters();
        find_lives();
        find_uniform();
        for (k_ = 0; k_ < p_.instructions.size(); ++k_) instruction(p_.instructions[k_]);
        out_.scratch_bytes_per_element = top_;
        const std::int64_t fit = kScratchBudget / std::max(top_, 1) / kLeastBlock * kLeastBlock;
        out_.block = std::clamp(fit, kLeastBlock, kLargestBlock);
        const int cost = p_.cost();
        // By the program alone, never by the number of threads. A multiple of every block size up to 1024.
        const std::int64_t blocks = cost <= 24 ? 32768 : cost <= 120 ? 16384 : 8192;
        out_.task = blocks / out_.block * out_.block;
        return std::move(out_);
    }

private:
    void describe_parameters() {
        out_.name = p_.name;
        number_of_.resize(p_.parameters.size());
        for (std::size_t i = 0; i < p_.parameters.size(); ++i) {
            const Parameter& q = p_.parameters[i];
            if (q.buffer) {
                number_of_[i] = static_cast<int>(out_.buffer_names.size());
                out_.buffer_names.push_back(q.name);
                out_.buffer_types.push_back(q.dtype);
                out_.strided_of_buffer.push_back(q.strided ? out_.strided_count++ : -1);
            } else {
                number_of_[i] = static_cast<int>(out_.scalar_names.size());
                out_.scalar_names.push_back(q.name);
            }
        }
        out_.by_gid.resize(out_.buffer_names.size(), false);
        out_.constant_extent.resize(out_.buffer_names.size(), 0);
    }

    template <class F>
    static void each_register(const Instruction& i, F f) {
        if (i.address.kind == Operand::Kind::reg) f(static_cast<std::size_t>(i.address.value));
        for (const Operand& o : i.src)
            if (o.kind == Operand::Kind::reg) f(static_cast<std::size_t>(o.value));
    }

    void find_lives() {
        const std::size_t n = p_.instructions.size();
        last_use_.assign(p_.registers.size(), 0);
        uses_.assign(p_.registers.size(), 0);
        entry_.assign(p_.registers.size(), -1);
        next_store_.assign(n, n);
        for (std::size_t k = 0; k < n; ++k) {
            if (p_.instructions[k].dst >= 0) last_use_[static_cast<std::size_t>(p_.instructions[k].dst)] = k;
            each_register(p_.instructions[k], [&](std::size_t r) {
                last_use_[r] = k;
                ++uses_[r];
            });
        }
        for (std::size_t k = n; k-- > 0;) {
            if (k + 1 < n)
                next_store_[k] = p_.instructions[k + 1].opcode == Opcode::STG ? k + 1 : next_store_[k + 1];
        }
    }

    void find_uniform() {
        uniform_.assign(p_.registers.size(), false);
        for (const Instruction& i : p_.instructions) {
            if (i.dst < 0 || i.opcode == Opcode::LDG || i.src[0].kind == Operand::Kind::gid) continue;
            bool all = true;
            each_register(i, [&](std::size_t r) { all = all && uniform_[r]; });
            uniform_[static_cast<std::size_t>(i.dst)] = all;
        }
    }

    int add_entry(int home) {
        out_.table.push_back({home});
        return static_cast<int>(out_.table.size()) - 1;
    }

    int take(std::size_t bytes) {
        std::vector<int>& list = free_[bytes];
        if (!list.empty()) {
            const int home = list.back();
            list.pop_back();
            return home;
        }
        return std::exchange(top_, top_ + static_cast<int>(bytes));
    }
    void give(int home, std::size_t bytes) { free_[bytes].push_back(home); }

    // Places of registers that are not read after instruction k_.
    void release(const Instruction& i) {
        std::size_t seen[4];
        int count = 0;
        each_register(i, [&](std::size_t r) {
            if (uniform_[r] || last_use_[r] != k_ || std::find(seen, seen + count, r) != seen + count) return;
            seen[count++] = r;
            const int home = out_.table[static_cast<std::size_t>(entry_[r])].home;
            if (home != kNoHome) give(home, size_of(p_.registers[r]));
        });
    }

    int entry_of(const Operand& o, DType type) {
        switch (o.kind) {
            case Operand::Kind::reg: return entry_[static_cast<std::size_t>(o.value)];
            case Operand::Kind::scalar: {
                const int scalar = number_of_[static_cast<std::size_t>(o.value)];
                return fill_entry(true, static_cast<std::uint64_t>(scalar),
                                  size_of(p_.parameters[static_cast<std::size_t>(o.value)].dtype));
            }
            case Operand::Kind::immediate: return fill_entry(false, o.value, size_of(type));
            default: return 0;
        }
    }

    int fill_entry(bool scalar, std::uint64_t value, std::size_t bytes) {
        const auto [at, fresh] = fills_.try_emplace({scalar, bytes, value}, 0);
        if (fresh) {
            at->second = add_entry(top_);  // never shared: it is filled once for all blocks of a task
            top_ += static_cast<int>(bytes);
            out_.fills.push_back({at->second, static_cast<std::uint8_t>(bytes), scalar, value});
        }
        return at->second;
    }

    int add_access(const Instruction& i, int home, bool borrow) {
        MemoryAccess m;
        m.buffer = number_of_[static_cast<std::size_t>(i.buffer)];
        m.strided = out_.strided_of_buffer[static_cast<std::size_t>(m.buffer)];
        m.entry = add_entry(m.strided >= 0 ? home : kNoHome);
        m.element_bytes = static_cast<std::uint8_t>(size_of(i.type));
        m.store = i.opcode == Opcode::STG;
        m.borrow = borrow;
        out_.by_gid[static_cast<std::size_t>(m.buffer)] = true;
        out_.accesses.push_back(m);
        const int access = static_cast<int>(out_.accesses.size()) - 1;
        if (m.strided < 0) out_.contiguous.push_back(access);
        return access;
    }

    Step access_step(Step::Kind kind, int access) const {
        Step s;
        s.kind = kind;
        s.access = access;
        return s;
    }

    Step call(Kernel kernel, int dst, int a, int b = 0, int c = 0) const {
        Step s;
        s.kernel = kernel;
        s.dst = dst;
        s.a = a;
        s.b = b;
        s.c = c;
        return s;
    }

    // Where the result of instruction k_ goes: into the output of the store that follows when that is its
    // only use and nothing is rounded, else into a place of its own. Returns the entry; sets access_ of the
    // store to begin.
    int result_entry(const Instruction& i) {
        const auto r = static_cast<std::size_t>(i.dst);
        if (k_ + 1 < p_.instructions.size()) {
            const Instruction& next = p_.instructions[k_ + 1];
            if (next.opcode == Opcode::STG && next.address.kind == Operand::Kind::gid &&
                next.src[0] == Operand{Operand::Kind::reg, r} && uses_[r] == 1 &&
                compute_type(next.type) == next.type) {
                begin_store(next);
                return entry_[r] = out_.accesses[static_cast<std::size_t>(pending_)].entry;
            }
        }
        return entry_[r] = add_entry(take(size_of(p_.registers[r])));
    }

    void begin_store(const Instruction& store) {
        const bool strided = p_.parameters[static_cast<std::size_t>(store.buffer)].strided;
        pending_home_ = strided ? take(size_of(store.type)) : kNoHome;
        pending_ = add_access(store, pending_home_, false);
        if (strided) out_.steps.push_back(access_step(Step::Kind::begin_store, pending_));
    }

    void end_store(const Instruction& store) {
        if (pending_home_ != kNoHome) {
            out_.steps.push_back(access_step(Step::Kind::end_store, pending_));
            give(pending_home_, size_of(store.type));
        }
        pending_ = -1;
    }

    void instruction(const Instruction& i) {
        if (i.opcode == Opcode::STG) return store(i);
        if (i.opcode == Opcode::LDG)
            return i.address.kind == Operand::Kind::gid ? load(i) : load_elsewhere(i);
        const auto r = static_cast<std::size_t>(i.dst);
        if (i.src[0].kind == Operand::Kind::gid) {
            Step s;
            s.kind = Step::Kind::grid_index;
            s.element_bytes = static_cast<std::uint8_t>(size_of(i.type));
            s.dst = result_entry(i);
            out_.steps.push_back(s);
            return drop_unused(i);
        }
        KernelKey key{i.opcode, i.type, i.type};
        int sources[3] = {0, 0, 0};
        for (int k = 0; k < info(i.opcode).operands; ++k) {
            const DType type = operand_type(i.opcode, i.type, k);
            sources[k] = entry_of(i.src[k], type);
        }
        if (i.opcode == Opcode::CVT)
            key.source = i.src[0].kind == Operand::Kind::reg
                             ? p_.registers[static_cast<std::size_t>(i.src[0].value)]
                             : p_.parameters[static_cast<std::size_t>(i.src[0].value)].dtype;
        const Kernel kernel = find_kernel(key);
        if (uniform_[r]) {
            entry_[r] = add_entry(top_);
            top_ += static_cast<int>(size_of(p_.registers[r]));
            out_.prologue.push_back(call(kernel, entry_[r], sources[0], sources[1], sources[2]));
            return;
        }
        // A conversion reads one type and writes another: never in the same place.
        if (i.opcode != Opcode::CVT) release(i);
        const int dst = result_entry(i);
        out_.steps.push_back(call(kernel, dst, sources[0], sources[1], sources[2]));
        if (i.opcode == Opcode::CVT) release(i);
        drop_unused(i);
    }

    // A register that nobody reads gives its place back at once.
    void drop_unused(const Instruction& i) {
        const auto r = static_cast<std::size_t>(i.dst);
        const int home = out_.table[static_cast<std::size_t>(entry_[r])].home;
        if (uses_[r] == 0 && home != kNoHome) give(home, size_of(p_.registers[r]));
    }

    void load(const Instruction& i) {
        const auto r = static_cast<std::size_t>(i.dst);
        const bool strided = p_.parameters[static_cast<std::size_t>(i.buffer)].strided;
        const Kernel widen = load_kernel(i.type);
        // A pointer into the buffer is good until something may have been stored there.
        const bool borrow = last_use_[r] <= next_store_[k_];
        if (widen == nullptr) {
            if (strided) {
                const int access = add_access(i, take(size_of(i.type)), borrow);
                entry_[r] = out_.accesses[static_cast<std::size_t>(access)].entry;
                out_.steps.push_back(access_step(Step::Kind::load_strided, access));
                return drop_unused(i);
            }
            const int access = add_access(i, kNoHome, borrow);
            const int from = out_.accesses[static_cast<std::size_t>(access)].entry;
            if (borrow) {
                entry_[r] = from;
            } else {
                const int dst = result_entry(i);
                out_.steps.push_back(call(copy_kernel(size_of(i.type)), dst, from));
            }
            return;
        }
        const int home = strided ? take(size_of(i.type)) : kNoHome;
        const int access = add_access(i, home, true);
        if (strided) out_.steps.push_back(access_step(Step::Kind::load_strided, access));
        const int dst = result_entry(i);
        out_.steps.push_back(call(widen, dst, out_.accesses[static_cast<std::size_t>(access)].entry));
        if (home != kNoHome) give(home, size_of(i.type));
        drop_unused(i);
    }

    Step elsewhere_step(const Instruction& i, bool store) {
        Step s;
        s.access = number_of_[static_cast<std::size_t>(i.buffer)];
        s.element_bytes = static_cast<std::uint8_t>(size_of(i.type));
        if (i.address.kind == Operand::Kind::reg) {
            s.kind = store ? Step::Kind::store_indexed : Step::Kind::load_indexed;
            s.index_type = p_.registers[static_cast<std::size_t>(i.address.value)];
            s.a = entry_[static_cast<std::size_t>(i.address.value)];
        } else {
            s.kind = store ? Step::Kind::store_constant : Step::Kind::load_constant;
            s.constant = static_cast<std::int64_t>(i.address.value);
            std::int64_t& extent = out_.constant_extent[static_cast<std::size_t>(s.access)];
            extent = std::max(extent, constant_extent(s.constant));
        }
        return s;
    }

    void load_elsewhere(const Instruction& i) {
        const auto r = static_cast<std::size_t>(i.dst);
        Step s = elsewhere_step(i, false);
        const Kernel widen = load_kernel(i.type);
        const std::size_t raw_bytes = size_of(i.type);
        const int raw_home = widen != nullptr ? take(raw_bytes) : kNoHome;
        entry_[r] = add_entry(take(size_of(p_.registers[r])));
        s.dst = widen != nullptr ? add_entry(raw_home) : entry_[r];
        out_.steps.push_back(s);
        if (widen != nullptr) {
            out_.steps.push_back(call(widen, entry_[r], s.dst));
            give(raw_home, raw_bytes);
        }
        release(i);  // after the result: index and element are of different types
        drop_unused(i);
    }

    void store(const Instruction& i) {
        const int value = entry_of(i.src[0], compute_type(i.type));
        const Kernel narrow = store_kernel(i.type);
        if (i.address.kind == Operand::Kind::gid) {
            if (pending_ < 0) {
                begin_store(i);
                const int to = out_.accesses[static_cast<std::size_t>(pending_)].entry;
                out_.steps.push_back(
                    call(narrow != nullptr ? narrow : copy_kernel(size_of(i.type)), to, value));
                end_store(i);
                release(i);
            } else {
                end_store(i);  // the value went straight there
            }
            return;
        }
        Step s = elsewhere_step(i, true);
        const int raw_home = narrow != nullptr ? take(size_of(i.type)) : kNoHome;
        s.b = narrow != nullptr ? add_entry(raw_home) : value;
        if (narrow != nullptr) out_.steps.push_back(call(narrow, s.b, value));
        out_.steps.push_back(s);
        if (narrow != nullptr) give(raw_home, size_of(i.type));
        release(i);
        out_.serial = true;
    }

    const Program& p_;
    PreparedProgram out_;
    std::vector<int> number_of_;  // parameter -> number among its kind
    std::vector<std::size_t> last_use_, next_store_;
    std::vector<int> uses_, entry_;
    std::vector<bool> uniform_;
    std::map<std::tuple<bool, std::size_t, std::uint64_t>, int> fills_;
    std::map<std::size_t, std::vector<int>> free_;  // by bytes of an element
    int top_ = 0;
    std::size_t k_ = 0;
    int pending_ = -1, pending_home_ = kNoHome;
};

}  // namespace

PreparedProgram prepare_program(const Program& program) { return Preparer(program).run(); }

}  // namespace invar
