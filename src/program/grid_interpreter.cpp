// SPDX-License-Identifier: Apache-2.0
// Runs the steps of a prepared grid program, block after block.
//
// Masks: IF keeps the lanes of the other side until ELSE swaps them in, and ENDIF joins both; a lane that breaks or continues
// leaves the mask and waits at its loop; one that exits is gone.
#include "program/grid_interpreter.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/thread_pool.h"
#include "program/grid_prepared.h"

namespace invar {
namespace {

constexpr std::size_t kAlign = 64;  // of arrays, in bytes and in lanes

struct GridLaunch {
    const PreparedGrid& p;
    GridDims grid, block;
    std::span<const NativeBuffer> buffers;
    const GridParams& params;
    std::uint64_t steps = 0;
    int lanes = 0;
};

// Calls f with a value of the type that registers of t have in memory.
template <class F>
auto with_type(DType t, F f) {
    switch (t) {
        case DType::i8: return f(std::int8_t{});
        case DType::i16: return f(std::int16_t{});
        case DType::i32: return f(std::int32_t{});
        case DType::i64: return f(std::int64_t{});
        case DType::u16:
        case DType::f16:
        case DType::bf16: return f(std::uint16_t{});
        case DType::u32: return f(std::uint32_t{});
        case DType::u64: return f(std::uint64_t{});
        case DType::f32: return f(float{});
        case DType::f64: return f(double{});
        case DType::u8:
        case DType::pred: break;
    }
    return f(std::uint8_t{});
}

// MIN and MAX by ATOM: -0 below +0, NaN where there is one.
template <class T>
T lesser(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
        if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
        if (a == b) return std::signbit(a) ? a : b;
    }
    return a < b ? a : b;
}
template <class T>
T greater(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
        if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
        if (a == b) return std::signbit(a) ? b : a;
    }
    return a > b ? a : b;
}

template <class T>
T combined(Opcode o, T old, T a, T b) {
    if constexpr (std::is_integral_v<T>) {
        using U = std::make_unsigned_t<T>;
        switch (o) {
            case Opcode::ATOM_ADD: return static_cast<T>(static_cast<U>(old) + static_cast<U>(a));
            case Opcode::ATOM_AND: return static_cast<T>(old & a);
            case Opcode::ATOM_OR: return static_cast<T>(old | a);
            case Opcode::ATOM_XOR: return static_cast<T>(old ^ a);
            case Opcode::ATOM_EXCH: return a;
            case Opcode::ATOM_CAS: return old == a ? b : old;
            default: break;
        }
    }
    return o == Opcode::ATOM_MIN ? lesser(old, a) : greater(old, a);
}

// At once also for other threads: they may work on other blocks.
template <class T>
T atomically(Opcode o, T& element, T a, T b) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    const std::atomic_ref<Bits> place(reinterpret_cast<Bits&>(element));
    Bits old = place.load();
    while (!place.compare_exchange_weak(old, std::bit_cast<Bits>(combined(o, std::bit_cast<T>(old), a, b)))) {
    }
    return std::bit_cast<T>(old);
}

class BlockRunner {
public:
    explicit BlockRunner(const GridLaunch& l)
        : l_(l),
          p_(l.p),
          lanes_(l.lanes),
          padded_((static_cast<std::size_t>(l.lanes) + kAlign - 1) / kAlign * kAlign) {
        const auto depth = static_cast<std::size_t>(p_.depth);
        const std::size_t values = static_cast<std::size_t>(p_.bytes_per_lane) * padded_;
        shared_bytes_ = static_cast<std::size_t>(p_.program.shared_bytes());
        for (const Accumulator& a : p_.program.accumulators)
            accumulators_.resize(accumulators_.size() + static_cast<std::size_t>(a.rows * a.columns));
        memory_.resize(kAlign + values + 3 * 8 * padded_ + shared_bytes_ + kAlign +
                       (1 + 2 * depth) * padded_);
        std::byte* at = memory_.data();
        at += (kAlign - reinterpret_cast<std::uintptr_t>(at) % kAlign) % kAlign;
        values_ = at;
        at += values;
        for (std::byte** array : {&scratch_, &left_, &right_}) {
            *array = at;
            at += 8 * padded_;
        }
        shared_ = at;
        at += (shared_bytes_ + kAlign - 1) / kAlign * kAlign;
        masks_ = reinterpret_cast<std::uint8_t*>(at);
        fill();
    }

    void run(std::int64_t number) {
        number_ = number;
        block_[0] = static_cast<std::uint32_t>(number % l_.grid[0]);
        block_[1] = static_cast<std::uint32_t>(number / l_.grid[0] % l_.grid[1]);
        block_[2] = static_cast<std::uint32_t>(number / l_.grid[0] / l_.grid[1]);
        std::memset(shared_, 0, shared_bytes_);
        std::fill(accumulators_.begin(), accumulators_.end(), 0.0f);
        for (const GridFill& f : p_.of_block) fill_special(f);
        std::memset(mask(), 1, static_cast<std::size_t>(lanes_));
        recount();
        depth_ = 0;
        std::uint64_t left = l_.steps;
        for (std::size_t k = 0; k < p_.steps.size();) {
            if (left < p_.steps[k].work)
                fail(p_.steps[k], "block " + std::to_string(number_) + " has run " +
                                      std::to_string(l_.steps) + " instructions without an end");
            left -= p_.steps[k].work;
            k = step(k);
        }
    }

private:
    std::uint8_t* mask() const { return masks_; }
    // Of an open IF the lanes of its other side; of a LOOP those that have left it, and those that wait for its next round.
    std::uint8_t* waiting(int depth, int which) const {
        return masks_ + static_cast<std::size_t>(1 + 2 * depth + which) * padded_;
    }

    template <class T>
    T* array(int value) const {
        return reinterpret_cast<T*>(
            values_ + static_cast<std::size_t>(p_.values[static_cast<std::size_t>(value)].offset) * padded_);
    }
    std::byte* at(int value, std::size_t lane) const {
        const GridValue& v = p_.values[static_cast<std::size_t>(value)];
        return array<std::byte>(value) + lane * size_of(v.type);
    }

    [[noreturn]] void fail(const GridStep& s, const std::string& what) const {
        throw LaunchFailed("program '" + p_.program.name +
                           "': " + (s.line > 0 ? "line " + std::to_string(s.line) + ", " : std::string()) +
                           std::string(info(s.opcode).name) + ": " + what);
    }

    void fill() {
        for (const GridFill& f : p_.constants) {
            const auto number = static_cast<std::size_t>(f.source.value);
            const std::uint64_t bits = f.source.kind == Operand::Kind::scalar ? l_.params.scalars[number]
                                       : f.source.kind == Operand::Kind::size ? held(number)
                                                                              : f.source.value;
            const std::size_t bytes = size_of(p_.values[static_cast<std::size_t>(f.value)].type);
            for (std::size_t n = 0; n < padded_; ++n) std::memcpy(at(f.value, n), &bits, bytes);
        }
        for (const GridFill& f : p_.of_lane) fill_special(f);
    }

    std::int64_t special(const Operand& o, std::int64_t lane) const {
        const auto& b = l_.block;
        if (o.kind == Operand::Kind::gid) return number_ * lanes_ + lane;
        switch (static_cast<Special>(o.value)) {
            case Special::thread_x: return lane % b[0];
            case Special::thread_y: return lane / b[0] % b[1];
            case Special::thread_z: return lane / b[0] / b[1];
            case Special::block_x: return block_[0];
            case Special::block_y: return block_[1];
            case Special::block_z: return block_[2];
            case Special::block_dim_x: return b[0];
            case Special::block_dim_y: return b[1];
            case Special::block_dim_z: return b[2];
            case Special::grid_dim_x: return l_.grid[0];
            case Special::grid_dim_y: return l_.grid[1];
            case Special::grid_dim_z: return l_.grid[2];
            case Special::lane: return lane % kWarpLanes;
            case Special::warp: return lane / kWarpLanes;
            case Special::count: return l_.params.count;
        }
        return 0;
    }
    void fill_special(const GridFill& f) {
        const std::size_t bytes = size_of(p_.values[static_cast<std::size_t>(f.value)].type);
        for (std::int64_t n = 0; n < lanes_; ++n) {
            const std::int64_t v = special(f.source, n);
            std::memcpy(at(f.value, static_cast<std::size_t>(n)), &v, bytes);
        }
    }

    // After a change of the mask: how many lanes take part, and between which they lie.
    void recount() {
        active_ = 0;
        first_ = static_cast<std::size_t>(lanes_);
        end_ = 0;
        for (std::size_t n = 0; n < static_cast<std::size_t>(lanes_); ++n) {
            if (mask()[n] == 0) continue;
            ++active_;
            first_ = std::min(first_, n);
            end_ = n + 1;
        }
        first_ = active_ == 0 ? 0 : first_ / kAlign * kAlign;
    }
    bool everyone() const { return active_ == lanes_; }
    template <class F>
    void each_lane(F f) const {
        for (std::size_t n = first_; n < end_; ++n)
            if (mask()[n] != 0) f(n);
    }

    // Lanes with the step's condition leave the mask for another one, if there is one.
    void move_lanes(const GridStep& s, std::uint8_t* to) {
        const std::uint8_t* condition = s.a < 0 ? nullptr : array<std::uint8_t>(s.a);
        each_lane([&](std::size_t n) {
            if (condition != nullptr && condition[n] == 0) return;
            mask()[n] = 0;
            if (to != nullptr) to[n] = 1;
        });
        recount();
    }

    std::size_t step(std::size_t k) {
        const GridStep& s = p_.steps[k];
        switch (s.opcode) {
            case Opcode::IF: {
                std::uint8_t* other = waiting(depth_++, 0);
                const auto* condition = array<std::uint8_t>(s.a);
                std::memset(other, 0, padded_);
                each_lane([&](std::size_t n) {
                    other[n] = condition[n] == 0;
                    mask()[n] = condition[n] != 0;
                });
                recount();
                break;
            }
            case Opcode::ELSE:
                std::swap_ranges(mask(), mask() + lanes_, waiting(depth_ - 1, 0));
                recount();
                break;
            case Opcode::ENDIF: join(waiting(--depth_, 0)); break;
            case Opcode::LOOP:
                loops_[depth_] = true;
                std::memset(waiting(depth_, 0), 0, 2 * padded_);
                ++depth_;
                return k + 1;
            case Opcode::ENDLOOP: {
                std::uint8_t* again = waiting(depth_ - 1, 1);
                join(again);
                std::memset(again, 0, padded_);
                if (active_ > 0) return static_cast<std::size_t>(s.begin) + 1;
                loops_[--depth_] = false;
                join(waiting(depth_, 0));
                break;
            }
            case Opcode::BREAK: move_lanes(s, waiting(innermost_loop(), 0)); break;
            case Opcode::CONTINUE: move_lanes(s, waiting(innermost_loop(), 1)); break;
            case Opcode::EXIT: move_lanes(s, nullptr); break;
            case Opcode::BAR_SYNC: return k + 1;
            case Opcode::MEMBAR: std::atomic_thread_fence(std::memory_order_seq_cst); return k + 1;
            default: compute(s); return k + 1;
        }
        return active_ > 0 ? k + 1 : static_cast<std::size_t>(s.next);
    }
    int innermost_loop() const {
        int d = depth_ - 1;
        while (!loops_[d]) --d;
        return d;
    }
    void join(const std::uint8_t* lanes) {
        for (std::size_t n = 0; n < static_cast<std::size_t>(lanes_); ++n)
            mask()[n] = static_cast<std::uint8_t>(mask()[n] | lanes[n]);
        recount();
    }

    // Where a step's result goes first, and then to the lanes that take part.
    std::byte* result(const GridStep& s) const {
        return s.again && !everyone() ? scratch_ : array<std::byte>(s.dst);
    }
    void keep(const GridStep& s) {
        if (!s.again || everyone()) return;
        with_type(p_.values[static_cast<std::size_t>(s.dst)].type, [&](auto zero) {
            using T = decltype(zero);
            const T* from = reinterpret_cast<const T*>(scratch_);
            T* to = array<T>(s.dst);
            each_lane([&](std::size_t n) { to[n] = from[n]; });
        });
    }

    void compute(const GridStep& s) {
        if (is_tile(s.opcode)) return tile(s);
        if (has_address(s.opcode)) return access(s);
        const std::size_t bytes = size_of(p_.values[static_cast<std::size_t>(s.dst)].type);
        if (is_shuffle(s.opcode)) {
            shuffle(s, bytes);
        } else if (is_warp_reduction(s.opcode) || is_block_reduction(s.opcode)) {
            reduce(s, bytes);
        } else {
            const auto operand = [&](int value) -> const void* {
                return value < 0 ? nullptr : at(value, first_);
            };
            s.kernel(result(s) + first_ * bytes, operand(s.a), operand(s.b), operand(s.c), end_ - first_);
            keep(s);
        }
    }

    // Every lane takes part in what follows: the verifier sees to it.
    void shuffle(const GridStep& s, std::size_t bytes) {
        const auto* by = array<std::uint32_t>(s.b);
        each_lane([&](std::size_t n) {
            const auto lane = static_cast<std::uint32_t>(n) % kWarpLanes;
            const std::uint32_t b = by[n];
            std::uint32_t from = lane;
            switch (s.opcode) {
                case Opcode::SHFL_IDX: from = b; break;
                case Opcode::SHFL_UP: from = b <= lane ? lane - b : lane; break;
                case Opcode::SHFL_DOWN: from = b < kWarpLanes ? lane + b : lane; break;
                default: from = lane ^ b;
            }
            const std::size_t source = n - lane + from;
            std::memcpy(scratch_ + n * bytes,
                        at(s.a, from < kWarpLanes && source < static_cast<std::size_t>(lanes_) ? source : n),
                        bytes);
        });
        // dst may be an operand, which other lanes still read.
        std::memcpy(array<std::byte>(s.dst), scratch_, static_cast<std::size_t>(lanes_) * bytes);
    }

    void reduce(const GridStep& s, std::size_t bytes) {
        const auto lanes = static_cast<std::size_t>(lanes_);
        std::byte* sum = array<std::byte>(s.dst);
        if (s.dst != s.a) std::memcpy(sum, at(s.a, 0), lanes * bytes);
        for (std::uint32_t bit = kWarpLanes / 2; bit > 0; bit /= 2) {
            for (std::size_t n = 0; n < lanes; ++n) {
                const std::size_t partner = (n ^ bit) < lanes ? n ^ bit : n;
                std::memcpy(left_ + n * bytes, sum + std::min(n, partner) * bytes, bytes);
                std::memcpy(right_ + n * bytes, sum + std::max(n, partner) * bytes, bytes);
            }
            s.kernel(scratch_, left_, right_, nullptr, lanes);
            for (std::size_t n = 0; n < lanes; ++n)
                if ((n ^ bit) < lanes) std::memcpy(sum + n * bytes, scratch_ + n * bytes, bytes);
        }
        if (is_block_reduction(s.opcode))
            for (std::size_t n = kWarpLanes; n < lanes; n += kWarpLanes) {
                std::memcpy(right_, sum + n * bytes, bytes);
                std::memcpy(left_, sum, bytes);
                s.kernel(scratch_, left_, right_, nullptr, 1);
                std::memcpy(sum, scratch_, bytes);
            }
        for (std::size_t n = 0; n < lanes; ++n) {
            const std::size_t first = is_block_reduction(s.opcode) ? 0 : n / kWarpLanes * kWarpLanes;
            if (n != first) std::memcpy(sum + n * bytes, sum + first * bytes, bytes);
        }
    }

    // Elements of a buffer.
    std::uint64_t held(std::size_t b) const {
        const NativeBuffer& buffer = l_.buffers[b];
        const DType type = p_.program.parameters[static_cast<std::size_t>(p_.buffers[b])].dtype;
        return buffer.data == nullptr ? 0 : buffer.size / size_of(type);
    }
    struct Target {
        std::byte* data = nullptr;
        std::uint64_t held = 0;  // elements
        const std::string* name = nullptr;
    };
    Target target(const GridStep& s) const {
        const auto b = static_cast<std::size_t>(s.buffer);
        if (s.shared) {
            const SharedArray& a = p_.program.shared[b];
            return {shared_ + p_.shared_offset[b], static_cast<std::uint64_t>(a.count), &a.name};
        }
        return {l_.buffers[b].data, held(b),
                &p_.program.parameters[static_cast<std::size_t>(p_.buffers[b])].name};
    }

    // Calls f(lane, element) for each lane that takes part, the element checked.
    template <class F>
    void each_element(const GridStep& s, const Target& t, F f) const {
        if (s.index < 0) {
            each_lane([&](std::size_t n) {
                if (static_cast<std::uint64_t>(s.constant) >= t.held)
                    outside(s, t, n, std::to_string(s.constant));
                f(n, static_cast<std::size_t>(s.constant));
            });
            return;
        }
        with_type(p_.values[static_cast<std::size_t>(s.index)].type, [&](auto zero) {
            using T = decltype(zero);
            if constexpr (std::is_integral_v<T>) {
                const T* index = array<T>(s.index);
                each_lane([&](std::size_t n) {
                    const T wanted = index[n];
                    // NOLINTNEXTLINE(bugprone-signed-char-misuse): negative ones become huge
                    const auto element = static_cast<std::uint64_t>(wanted);
                    if (element >= t.held) outside(s, t, n, std::to_string(wanted));
                    f(n, static_cast<std::size_t>(element));
                });
            }
        });
    }
    [[noreturn]] void outside(const GridStep& s, const Target& t, std::size_t lane,
                              const std::string& element) const {
        fail(s, "lane " + std::to_string(lane) + " of block " + std::to_string(number_) +
                    " asks for element " + element + " of '" + *t.name + "', which has " +
                    std::to_string(t.held));
    }

    void access(const GridStep& s) {
        const Target t = target(s);
        if (is_atomic(s.opcode)) return atomic(s, t);
        const std::size_t bytes = size_of(s.type), count = end_ - first_;
        const bool store = s.opcode == Opcode::STG || s.opcode == Opcode::STS;
        // Lanes side by side, all within: no copy.
        const std::int64_t origin = number_ * lanes_;
        std::byte* direct = s.by_gid && everyone() && static_cast<std::uint64_t>(origin + lanes_) <= t.held
                                ? t.data + static_cast<std::size_t>(origin) * bytes
                                : nullptr;
        if (store) {
            const std::byte* from = at(s.a, 0);
            if (s.kernel != nullptr) {
                const std::size_t wide = size_of(p_.values[static_cast<std::size_t>(s.a)].type);
                s.kernel(left_ + first_ * bytes, from + first_ * wide, nullptr, nullptr, count);
                from = left_;
            }
            if (direct != nullptr) {
                std::memcpy(direct, from, static_cast<std::size_t>(lanes_) * bytes);
                return;
            }
            with_type(s.type, [&](auto zero) {
                using T = decltype(zero);
                T* elements = reinterpret_cast<T*>(t.data);
                const T* values = reinterpret_cast<const T*>(from);
                each_element(s, t, [&](std::size_t n, std::size_t e) { elements[e] = values[n]; });
            });
            return;
        }
        std::byte* to = result(s);
        std::byte* raw = s.kernel != nullptr ? left_ : to;
        if (direct != nullptr) {
            std::memcpy(raw, direct, static_cast<std::size_t>(lanes_) * bytes);
        } else {
            with_type(s.type, [&](auto zero) {
                using T = decltype(zero);
                const T* elements = reinterpret_cast<const T*>(t.data);
                T* values = reinterpret_cast<T*>(raw);
                each_element(s, t, [&](std::size_t n, std::size_t e) { values[n] = elements[e]; });
            });
        }
        if (s.kernel != nullptr) {
            const std::size_t wide = size_of(p_.values[static_cast<std::size_t>(s.dst)].type);
            s.kernel(to + first_ * wide, raw + first_ * bytes, nullptr, nullptr, count);
        }
        if (s.type == DType::pred)
            for (std::size_t n = first_; n < end_; ++n) to[n] = static_cast<std::byte>(to[n] != std::byte{0});
        keep(s);
    }

    // What the verifier has found to be the same in all lanes, and all lanes take part.
    std::int64_t common(int value) const {
        return with_type(p_.values[static_cast<std::size_t>(value)].type, [&](auto zero) {
            using T = decltype(zero);
            if constexpr (std::is_integral_v<T>) return static_cast<std::int64_t>(*array<T>(value));
            return std::int64_t{0};
        });
    }

    float* accumulator(const GridStep& s) {
        return accumulators_.data() + p_.accumulator_offset[static_cast<std::size_t>(s.tiles[0])];
    }
    std::byte* shared_tile(const GridStep& s, int k) const {
        return shared_ + p_.shared_offset[static_cast<std::size_t>(s.tiles[k])];
    }

    void tile(const GridStep& s) {
        const auto number = static_cast<std::size_t>(s.tiles[0]);
        if (is_product(s.opcode))
            return multiply_tiles(s.product, accumulator(s), shared_tile(s, 1), shared_tile(s, 2), factors_);
        if (s.opcode == Opcode::COPY_TILE) {
            const SharedArray& t = p_.program.shared[number];
            return inside(s, t.rows(), t.columns, [&](const Target& from, const TileRegion& region) {
                copy_tile(shared_tile(s, 0), t.rows(), t.columns, from.data, region, size_of(s.type));
            });
        }
        const Accumulator& c = p_.program.accumulators[number];
        if (s.opcode == Opcode::MMA_ZERO) {
            std::fill_n(accumulator(s), c.rows * c.columns, 0.0f);
            return;
        }
        inside(s, c.rows, c.columns, [&](const Target& to, const TileRegion& region) {
            store_tile(to.data, region, accumulator(s), c.columns, s.type);
        });
    }
    // Calls f for the region of the step's buffer, clipped to rows and columns; then fails where part of it lies outside.
    template <class F>
    void inside(const GridStep& s, std::int64_t rows, std::int64_t columns, F f) {
        const Target t = target(s);
        TileRegion region;
        region.start = static_cast<std::uint64_t>(s.index < 0 ? s.constant : common(s.index));
        region.pitch = static_cast<std::uint64_t>(common(s.a));
        region.columns = std::clamp(common(s.c), std::int64_t{0}, columns);
        const std::int64_t wanted = std::clamp(common(s.b), std::int64_t{0}, rows);
        region.rows = wanted;
        region.rows = whole_rows(region, t.held);
        f(t, region);
        if (region.rows == wanted) return;
        const std::uint64_t first = region.row(region.rows);
        outside(s, t, 0, std::to_string(static_cast<std::int64_t>(first >= t.held ? first : t.held)));
    }

    void atomic(const GridStep& s, const Target& t) {
        with_type(s.type, [&](auto zero) {
            using T = decltype(zero);
            if constexpr (sizeof(T) >= 4) {
                T* to = reinterpret_cast<T*>(result(s));
                const T* a = array<T>(s.a);
                const T* b = s.b >= 0 ? array<T>(s.b) : a;
                each_element(s, t, [&](std::size_t n, std::size_t e) {
                    const T first = a[n], second = b[n];  // dst may be an operand
                    to[n] = atomically(s.opcode, reinterpret_cast<T*>(t.data)[e], first, second);
                });
            }
        });
        keep(s);
    }

    const GridLaunch& l_;
    const PreparedGrid& p_;
    const int lanes_;
    const std::size_t padded_;
    std::vector<std::byte> memory_;
    std::vector<float> accumulators_, factors_;
    std::byte *values_ = nullptr, *scratch_ = nullptr, *left_ = nullptr, *right_ = nullptr,
              *shared_ = nullptr;
    std::uint8_t* masks_ = nullptr;
    std::size_t shared_bytes_ = 0;
    std::int64_t number_ = 0;  // of the block
    std::uint32_t block_[3] = {};
    int depth_ = 0, active_ = 0;
    std::size_t first_ = 0, end_ = 0;
    bool loops_[kMaxNesting] = {};
};

}  // namespace

struct GridProgram::Impl {
    PreparedGrid prepared;
};

GridProgram::GridProgram(const Program& program) {
    verify(program);
    impl_ = std::make_unique<const Impl>(Impl{prepare_grid(program)});
}
GridProgram::~GridProgram() = default;
GridProgram::GridProgram(GridProgram&&) noexcept = default;
GridProgram& GridProgram::operator=(GridProgram&&) noexcept = default;

const std::string& GridProgram::name() const noexcept { return impl_->prepared.program.name; }

void GridProgram::run(const GridDims& grid, const GridDims& block, std::span<const NativeBuffer> buffers,
                      std::span<const std::byte> params, ThreadPool& pool, std::uint64_t steps) const {
    const PreparedGrid& p = impl_->prepared;
    GridParams read;
    read_grid_params(params, read);
    const auto refuse = [&](const std::string& why) {
        throw InvalidArgument("program '" + p.program.name + "': " + why);
    };
    if (read.scalar_count != p.scalars.size())
        refuse("takes " + std::to_string(p.scalars.size()) + " scalars, got " +
               std::to_string(read.scalar_count));
    if (buffers.size() != p.buffers.size())
        refuse("takes " + std::to_string(p.buffers.size()) + " buffers, got " +
               std::to_string(buffers.size()));
    check_grid(p.program, grid, block);
    for (std::size_t b = 0; b < buffers.size(); ++b) {
        const Parameter& q = p.program.parameters[static_cast<std::size_t>(p.buffers[b])];
        if (reinterpret_cast<std::uintptr_t>(buffers[b].data) % size_of(q.dtype) != 0)
            refuse("buffer '" + q.name + "' does not begin at a multiple of its element's " +
                   std::to_string(size_of(q.dtype)) + " bytes");
    }
    const GridLaunch l{
        p, grid, block, buffers, read, steps, static_cast<int>(block[0] * block[1] * block[2])};
    const std::int64_t blocks = std::int64_t{grid[0]} * grid[1] * grid[2];
    if (blocks == 0) return;
    // A few tasks a thread, each with one set of arrays.
    const std::int64_t tasks = std::min<std::int64_t>(blocks, std::int64_t{8} * pool.threads());
    pool.parallel_for(tasks, [&](std::int64_t t) {
        BlockRunner runner(l);
        const std::int64_t each = blocks / tasks, rest = blocks % tasks;
        const std::int64_t begin = each * t + std::min(t, rest);
        for (std::int64_t b = begin; b < begin + each + (t < rest ? 1 : 0); ++b) runner.run(b);
    });
}

}  // namespace invar
