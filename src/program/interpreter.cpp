// SPDX-License-Identifier: Apache-2.0
// Runs prepared programs: checks a launch, cuts it into tasks, and walks the steps block by block.
#include "program/interpreter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include <hwy/cache_control.h>

#include "base/checked.h"
#include "base/thread_pool.h"
#include "program/pointwise.h"
#include "program/prepared.h"

namespace invar {
namespace {

constexpr std::size_t kStackScratch = 40 * 1024;
constexpr std::int64_t kAhead = 4;       // ranges
constexpr std::int64_t kShortRow = 128;  // rows below this length are gathered several to a block

// Scratch memory of programs that are too large for the stack: grows on the first launches, then stays.
std::byte* large_scratch(std::size_t bytes) {
    thread_local std::unique_ptr<std::byte[]> memory;
    thread_local std::size_t size = 0;
    if (size < bytes + 64) {
        memory = std::make_unique<std::byte[]>(bytes + 64);
        size = bytes + 64;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(memory.get());
    return memory.get() + ((64 - address % 64) % 64);
}

using Index = PointwiseIndex;

// A checked launch; strided geometry with neighbouring dimensions merged.
struct Launch {
    std::span<const NativeBuffer> buffers;
    std::span<const std::uint64_t> scalars;
    std::int64_t elements = 0;
    int rank = 1;  // at least 1
    Index dims{};
    std::array<Index, kMaxProgramBuffers> strides{};      // of strided buffers
    std::array<std::byte*, kMaxProgramBuffers> origin{};  // of strided buffers: element (0, ..., 0)
    bool rows = false;                                    // blocks end with their rows
    std::int64_t piece = 0;                               // elements of a block
};

[[noreturn]] void refuse(const PreparedProgram& p, const std::string& what) {
    throw InvalidArgument("program '" + p.name + "': " + what);
}

[[noreturn]] void refuse_buffer(const PreparedProgram& p, std::size_t b, const std::string& what) {
    refuse(p, "buffer '" + p.buffer_names[b] + "' " + what);
}

void check_buffers(const PreparedProgram& p, std::span<const NativeBuffer> buffers) {
    if (buffers.size() != p.buffer_names.size())
        refuse(p, "takes " + std::to_string(p.buffer_names.size()) + " buffers, got " +
                      std::to_string(buffers.size()));
    for (std::size_t b = 0; b < buffers.size(); ++b) {
        const std::size_t bytes = size_of(p.buffer_types[b]);
        if (reinterpret_cast<std::uintptr_t>(buffers[b].data) % bytes != 0)
            refuse_buffer(
                p, b, "begins at an address that is not a multiple of " + std::to_string(bytes) + " bytes");
        const std::size_t held = buffers[b].data == nullptr ? 0 : buffers[b].size / bytes;
        if (p.constant_extent[b] > 0 && held < static_cast<std::uint64_t>(p.constant_extent[b]))
            refuse_buffer(p, b,
                          "holds " + std::to_string(held) +
                              " elements, the program reads or writes element " +
                              std::to_string(p.constant_extent[b] - 1));
    }
}

void check_extent(const PreparedProgram& p, std::span<const NativeBuffer> buffers, std::size_t b,
                  std::int64_t needed) {
    const std::size_t held = buffers[b].data == nullptr ? 0 : buffers[b].size / size_of(p.buffer_types[b]);
    if (static_cast<std::uint64_t>(needed) > held)
        refuse_buffer(
            p, b, "holds " + std::to_string(held) + " elements, the launch needs " + std::to_string(needed));
}

void choose_pieces(const PreparedProgram& p, Launch& l) {
    l.piece = p.block;
    const std::int64_t inner = l.dims[l.rank - 1];
    l.rows = p.strided_count > 0 && (l.rank == 1 || inner >= kShortRow);
    if (!l.rows || l.rank == 1) return;
    // Equal pieces of a row, so that the last is not a scrap.
    const std::int64_t pieces = (inner + p.block - 1) / p.block;
    l.piece = std::min(p.block, ((inner + pieces - 1) / pieces + 15) / 16 * 16);
}

// Copies n elements of a strided view, beginning at index at, from or to a contiguous array.
template <class T, bool kStore>
void walk(const Launch& l, const Index& strides, std::byte* origin, Index at, T* flat, std::int64_t n) {
    const int last = l.rank - 1;
    const std::int64_t inner = l.dims[last], step = strides[last];
    std::int64_t offset = 0;
    for (int d = 0; d < l.rank; ++d) offset += at[d] * strides[d];
    for (;;) {
        const std::int64_t count = std::min(n, inner - at[last]);
        T* view = reinterpret_cast<T*>(origin) + offset;
        if (step == 1 && count >= 16) {
            if (kStore)
                std::memcpy(view, flat, static_cast<std::size_t>(count) * sizeof(T));
            else
                std::memcpy(flat, view, static_cast<std::size_t>(count) * sizeof(T));
        } else if (step == 0 && !kStore) {
            std::fill_n(flat, count, *view);
        } else {
            for (std::int64_t i = 0; i < count; ++i) {
                if (kStore)
                    view[i * step] = flat[i];
                else
                    flat[i] = view[i * step];
            }
        }
        flat += count;
        n -= count;
        if (n == 0) return;
        offset += count * step;
        at[last] += count;
        for (int d = last; d > 0 && at[d] == l.dims[d]; --d) {
            offset += strides[d - 1] - at[d] * strides[d];
            at[d] = 0;
            ++at[d - 1];
        }
    }
}

template <bool kStore>
void walk_bytes(const Launch& l, const MemoryAccess& m, const Index& at, void* flat, std::int64_t n) {
    const auto s = static_cast<std::size_t>(m.strided);
    switch (m.element_bytes) {
        case 1:
            return walk<std::uint8_t, kStore>(l, l.strides[s], l.origin[s], at,
                                              static_cast<std::uint8_t*>(flat), n);
        case 2:
            return walk<std::uint16_t, kStore>(l, l.strides[s], l.origin[s], at,
                                               static_cast<std::uint16_t*>(flat), n);
        case 4:
            return walk<std::uint32_t, kStore>(l, l.strides[s], l.origin[s], at,
                                               static_cast<std::uint32_t*>(flat), n);
        default:
            return walk<std::uint64_t, kStore>(l, l.strides[s], l.origin[s], at,
                                               static_cast<std::uint64_t*>(flat), n);
    }
}

// Calls f with a value of the unsigned type of that many bytes.
template <class F>
void with_element(std::size_t bytes, F f) {
    switch (bytes) {
        case 1: return f(std::uint8_t{});
        case 2: return f(std::uint16_t{});
        case 4: return f(std::uint32_t{});
        default: return f(std::uint64_t{});
    }
}
template <class F>
void with_index(DType type, F f) {
    switch (type) {
        case DType::i8: return f(std::int8_t{});
        case DType::i16: return f(std::int16_t{});
        case DType::i32: return f(std::int32_t{});
        case DType::i64: return f(std::int64_t{});
        case DType::u8: return f(std::uint8_t{});
        case DType::u16: return f(std::uint16_t{});
        case DType::u32: return f(std::uint32_t{});
        default: return f(std::uint64_t{});
    }
}

class Runner {
public:
    Runner(const PreparedProgram& p, const Launch& l) : p_(p), l_(l) {}

    void task(std::int64_t begin, std::int64_t end) {
        const std::size_t table_bytes = (p_.table.size() * sizeof(void*) + 63) / 64 * 64;
        const std::size_t bytes =
            table_bytes + static_cast<std::size_t>(p_.scratch_bytes_per_element * p_.block);
        if (bytes <= kStackScratch) {
            alignas(64) std::byte memory[kStackScratch];
            // NOLINTNEXTLINE(clang-analyzer-core.StackAddressEscape): run() is the only reader of what it stores
            run(memory, table_bytes, begin, end);
        } else {
            run(large_scratch(bytes), table_bytes, begin, end);
        }
    }

private:
    void run(std::byte* memory, std::size_t table_bytes, std::int64_t begin, std::int64_t end) {
        table_ = reinterpret_cast<void**>(memory);
        scratch_ = memory + table_bytes;
        for (std::size_t e = 0; e < p_.table.size(); ++e) table_[e] = home(static_cast<int>(e));
        const auto first = static_cast<std::size_t>(std::min(p_.block, end - begin));
        for (const Fill& f : p_.fills) {
            const std::uint64_t bits = f.scalar ? l_.scalars[static_cast<std::size_t>(f.value)] : f.value;
            with_element(f.element_bytes, [&](auto zero) {
                using T = decltype(zero);
                std::fill_n(static_cast<T*>(table_[f.entry]), first, static_cast<T>(bits));
            });
        }
        for (const Step& s : p_.prologue)
            s.kernel(table_[s.dst], table_[s.a], table_[s.b], table_[s.c], first);

        if (p_.strided_count > 0) unravel(begin);
        for (position_ = begin; position_ < end;) {
            std::int64_t n = std::min(l_.piece, end - position_);
            if (l_.rows) n = std::min(n, l_.dims[l_.rank - 1] - at_[l_.rank - 1]);
            for (const int a : p_.contiguous) {
                const MemoryAccess& m = p_.accesses[static_cast<std::size_t>(a)];
                table_[m.entry] =
                    l_.buffers[static_cast<std::size_t>(m.buffer)].data + position_ * m.element_bytes;
            }
            for (const Step& s : p_.steps) {
                if (s.kind == Step::Kind::call) {
                    s.kernel(table_[s.dst], table_[s.a], table_[s.b], table_[s.c],
                             static_cast<std::size_t>(n));
                } else {
                    memory_step(s, n);
                }
            }
            position_ += n;
            if (p_.strided_count > 0) advance(n);
        }
    }

    void* home(int entry) const {
        const int offset = p_.table[static_cast<std::size_t>(entry)].home;
        return offset == kNoHome ? nullptr : scratch_ + offset * p_.block;
    }

    void unravel(std::int64_t position) {
        for (int d = l_.rank - 1; d > 0; --d) {
            at_[d] = position % l_.dims[d];
            position /= l_.dims[d];
        }
        at_[0] = position;
    }
    void advance(std::int64_t n) {
        const int last = l_.rank - 1;
        at_[last] += n;
        if (at_[last] < l_.dims[last]) return;
        for (int d = last; d > 0 && at_[d] >= l_.dims[d]; --d) {
            at_[d - 1] += at_[d] / l_.dims[d];
            at_[d] %= l_.dims[d];
        }
    }

    // The elements of a block where they lie side by side in the buffer, else nullptr.
    std::byte* direct(const MemoryAccess& m) const {
        const Index& strides = l_.strides[static_cast<std::size_t>(m.strided)];
        if (!l_.rows || strides[l_.rank - 1] != 1) return nullptr;
        std::int64_t offset = 0;
        for (int d = 0; d < l_.rank; ++d) offset += at_[d] * strides[d];
        return l_.origin[static_cast<std::size_t>(m.strided)] + offset * m.element_bytes;
    }

    void memory_step(const Step& s, std::int64_t n) {
        switch (s.kind) {
            case Step::Kind::call: return;
            case Step::Kind::load_strided: {
                const MemoryAccess& m = p_.accesses[static_cast<std::size_t>(s.access)];
                std::byte* elements = direct(m);
                if (elements != nullptr && m.borrow) {
                    table_[m.entry] = elements;
                } else {
                    table_[m.entry] = home(m.entry);
                    walk_bytes<false>(l_, m, at_, table_[m.entry], n);
                }
                return;
            }
            case Step::Kind::begin_store: {
                const MemoryAccess& m = p_.accesses[static_cast<std::size_t>(s.access)];
                std::byte* elements = direct(m);
                table_[m.entry] = elements != nullptr ? elements : home(m.entry);
                return;
            }
            case Step::Kind::end_store: {
                const MemoryAccess& m = p_.accesses[static_cast<std::size_t>(s.access)];
                if (table_[m.entry] == home(m.entry)) walk_bytes<true>(l_, m, at_, table_[m.entry], n);
                return;
            }
            case Step::Kind::load_indexed:
            case Step::Kind::store_indexed: return indexed(s, n);
            case Step::Kind::load_constant:
            case Step::Kind::store_constant:
                with_element(s.element_bytes, [&](auto zero) {
                    using T = decltype(zero);
                    T* element = reinterpret_cast<T*>(l_.buffers[static_cast<std::size_t>(s.access)].data) +
                                 s.constant;
                    if (s.kind == Step::Kind::load_constant)
                        std::fill_n(static_cast<T*>(table_[s.dst]), n, *element);
                    else
                        *element = static_cast<const T*>(table_[s.b])[n - 1];
                });
                return;
            case Step::Kind::grid_index:
                with_element(s.element_bytes, [&](auto zero) {
                    using T = decltype(zero);
                    T* out = static_cast<T*>(table_[s.dst]);
                    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(position_ + i);
                });
                return;
        }
    }

    void indexed(const Step& s, std::int64_t n) const {
        const NativeBuffer& buffer = l_.buffers[static_cast<std::size_t>(s.access)];
        const std::uint64_t held = buffer.data == nullptr ? 0 : buffer.size / s.element_bytes;
        const bool store = s.kind == Step::Kind::store_indexed;
        with_element(s.element_bytes, [&](auto element) {
            using T = decltype(element);
            T* elements = reinterpret_cast<T*>(buffer.data);
            with_index(s.index_type, [&](auto index) {
                using I = decltype(index);
                const I* indices = static_cast<const I*>(table_[s.a]);
                for (std::int64_t i = 0; i < n; ++i) {
                    const I wanted = indices[i];
                    // NOLINTNEXTLINE(bugprone-signed-char-misuse): negative ones become huge
                    const auto unsigned_index = static_cast<std::uint64_t>(wanted);
                    if (unsigned_index >= held)
                        refuse_buffer(p_, static_cast<std::size_t>(s.access),
                                      "holds " + std::to_string(held) + " elements, index " +
                                          std::to_string(position_ + i) + " asks for element " +
                                          std::to_string(static_cast<std::int64_t>(wanted)));
                    if (store)
                        elements[unsigned_index] = static_cast<const T*>(table_[s.b])[i];
                    else
                        static_cast<T*>(table_[s.dst])[i] = elements[unsigned_index];
                }
            });
        });
    }

    const PreparedProgram& p_;
    const Launch& l_;
    void** table_ = nullptr;
    std::byte* scratch_ = nullptr;
    std::int64_t position_ = 0;
    Index at_{};
};

}  // namespace

struct CompiledProgram::Impl {
    PreparedProgram program;
};

CompiledProgram::CompiledProgram(const Program& program) {
    verify(program);
    if (program.is_grid())
        throw FormatError("program '" + program.name + "' is a grid program, not a pointwise one");
    impl_ = std::make_unique<const Impl>(Impl{prepare_program(program)});
}
CompiledProgram::~CompiledProgram() = default;
CompiledProgram::CompiledProgram(CompiledProgram&&) noexcept = default;
CompiledProgram& CompiledProgram::operator=(CompiledProgram&&) noexcept = default;

const std::string& CompiledProgram::name() const noexcept { return impl_->program.name; }
int CompiledProgram::buffers() const noexcept { return static_cast<int>(impl_->program.buffer_names.size()); }
int CompiledProgram::scalars() const noexcept { return static_cast<int>(impl_->program.scalar_names.size()); }

namespace {

// A buffer that holds the elements of some ranges alone, and how many these are.
struct Moved {
    std::size_t buffer;
    std::int64_t elements;
};

// Asks for the elements of a range that lie as the indices count.
void prefetch(const PreparedProgram& p, const Launch& l, std::size_t moved, std::int64_t begin,
              std::int64_t length) {
    for (const int a : p.contiguous) {
        const MemoryAccess& m = p.accesses[static_cast<std::size_t>(a)];
        if (static_cast<std::size_t>(m.buffer) == moved) continue;
        const std::byte* first = l.buffers[static_cast<std::size_t>(m.buffer)].data + begin * m.element_bytes;
        for (std::int64_t b = 0; b < length * m.element_bytes; b += 64) hwy::Prefetch(first + b);
    }
}

// The checks of a launch, and its geometry. False where there is nothing to do.
bool check_launch(const PreparedProgram& p, std::span<const NativeBuffer> buffers,
                  const PointwiseParams& params, const Moved* moved, Launch& l) {
    if (static_cast<std::size_t>(params.scalar_count) != p.scalar_names.size())
        refuse(p, "takes " + std::to_string(p.scalar_names.size()) + " scalars, got " +
                      std::to_string(params.scalar_count));
    if (params.rank > 0 && params.strided_buffers != p.strided_count)
        refuse(p, "has " + std::to_string(p.strided_count) + " strided buffers, got strides for " +
                      std::to_string(params.strided_buffers));
    if (buffers.size() != p.buffer_names.size()) check_buffers(p, buffers);
    if (params.elements == 0) return false;
    check_buffers(p, buffers);

    l.buffers = buffers;
    l.scalars = std::span(params.scalars).first(p.scalar_names.size());
    l.elements = params.elements;
    l.rank = params.rank;
    l.dims = params.dims;
    const auto rank = static_cast<std::size_t>(params.rank);
    for (std::size_t b = 0; b < buffers.size(); ++b) {
        if (!p.by_gid[b]) continue;
        const int s = p.strided_of_buffer[b];
        if (moved && moved->buffer == b) {
            if (s >= 0) refuse_buffer(p, b, "is strided; what holds one range alone must be contiguous");
            check_extent(p, buffers, b, moved->elements);
            continue;
        }
        if (s < 0) {
            check_extent(p, buffers, b, l.elements);
            continue;
        }
        const auto strided = static_cast<std::size_t>(s);
        l.strides[strided] = params.strides[strided];
        const OffsetRange range =
            offset_range(std::span(params.dims).first(rank), std::span(l.strides[strided]).first(rank));
        const std::int64_t span =
            checked_add(checked_sub(range.highest, range.lowest, "extent of a strided buffer"),
                        std::int64_t{1}, "extent of a strided buffer");
        check_extent(p, buffers, b, span);
        l.origin[strided] =
            buffers[b].data - range.lowest * static_cast<std::int64_t>(size_of(p.buffer_types[b]));
    }
    if (p.strided_count > 0) {
        merge_dims(l.rank, l.dims, std::span(l.strides).first(static_cast<std::size_t>(p.strided_count)));
    } else {
        l.rank = 1;
        l.dims[0] = l.elements;
    }
    choose_pieces(p, l);
    return true;
}

}  // namespace

void CompiledProgram::run(std::span<const NativeBuffer> buffers, std::span<const std::byte> params,
                          ThreadPool& pool) const {
    const PreparedProgram& p = impl_->program;
    PointwiseParams read;
    read_pointwise_params(params, read);
    Launch l;
    if (!check_launch(p, buffers, read, nullptr, l)) return;
    const std::int64_t task = p.serial ? l.elements : p.task;
    const std::int64_t tasks = (l.elements - 1) / task + 1;
    pool.parallel_for(tasks, [&](std::int64_t t) {
        const std::int64_t begin = t * task;
        Runner(p, l).task(begin, begin + std::min(task, l.elements - begin));
    });
}

void CompiledProgram::run_ranges(std::span<const NativeBuffer> buffers, std::span<const std::byte> params,
                                 std::size_t moved, const IndexRanges& ranges) const {
    const PreparedProgram& p = impl_->program;
    PointwiseParams read;
    read_pointwise_params(params, read);
    const auto [begin, length, count, step] = ranges;
    const bool apart = count < 2 || step >= length;
    if (begin < 0 || length < 0 || count < 0 || !apart || moved >= buffers.size() ||
        (count > 0 &&
         checked_add(begin, checked_add(checked_mul(count - 1, step, "ranges"), length, "ranges"), "ranges") >
             read.elements))
        refuse(p, std::to_string(count) + " ranges of " + std::to_string(length) + " indices from " +
                      std::to_string(begin) + " on, " + std::to_string(step) + " apart, among " +
                      std::to_string(read.elements) + ", moving buffer " + std::to_string(moved));
    const Moved own{moved, checked_mul(length, count, "ranges")};
    Launch l;
    if (!check_launch(p, buffers, read, &own, l) || own.elements == 0) return;
    std::array<NativeBuffer, kMaxProgramBuffers> shifted{};
    std::copy(buffers.begin(), buffers.end(), shifted.begin());
    l.buffers = std::span<const NativeBuffer>(shifted).first(buffers.size());
    Runner runner(p, l);
    for (std::int64_t r = 0; r < count; ++r) {
        const std::int64_t from = begin + r * step;
        // Ranges that are far apart: a processor asks for the next one late by itself.
        if (r + kAhead < count && step > length) prefetch(p, l, moved, from + kAhead * step, length);
        // Accesses add the index to the beginning of a buffer.
        const std::uintptr_t before =
            static_cast<std::uintptr_t>(from - r * length) * size_of(p.buffer_types[moved]);
        shifted[moved].data =  // NOLINTNEXTLINE(performance-no-int-to-ptr): it may lie before the memory
            reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(buffers[moved].data) - before);
        runner.task(from, from + length);
    }
}

void CompiledProgram::run_tile(std::span<const NativeBuffer> buffers, std::int64_t n,
                               std::span<const std::uint64_t> scalars) const {
    const PreparedProgram& p = impl_->program;
    if (n < 0) refuse(p, "a tile of " + std::to_string(n) + " elements");
    if (scalars.size() != p.scalar_names.size())
        refuse(p, "takes " + std::to_string(p.scalar_names.size()) + " scalars, got " +
                      std::to_string(scalars.size()));
    check_buffers(p, buffers);
    if (n == 0) return;
    Launch l;
    l.buffers = buffers;
    l.scalars = scalars;
    l.elements = n;
    l.dims[0] = n;
    for (std::size_t b = 0; b < buffers.size(); ++b) {
        if (!p.by_gid[b]) continue;
        check_extent(p, buffers, b, n);
        if (const int s = p.strided_of_buffer[b]; s >= 0) {
            l.strides[static_cast<std::size_t>(s)][0] = 1;
            l.origin[static_cast<std::size_t>(s)] = buffers[b].data;
        }
    }
    choose_pieces(p, l);
    Runner(p, l).task(0, n);
}

}  // namespace invar
