// SPDX-License-Identifier: Apache-2.0
// Sorting on the CPU: elements become items (key, place in the row), which differ all, so that every way of sorting them gives
// the one stable order: by digits of their keys, the least first, where there are many of them. In a row of several chunks
// each chunk counts and moves its own items. Where few elements are kept, they are selected first.
#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/thread_pool.h"
#include "kernels/native.h"
#include "kernels/sort/variants.h"

namespace invar::kernels::sort {
namespace {

// Items that one thread sorts: with its scratch they stay in the second-level cache.
constexpr std::int64_t kChunk = 32768;
constexpr std::int64_t kMostTasks = 64;   // over short rows, each with a workspace of its own
constexpr std::int64_t kRadixFrom = 512;  // items; fewer are compared
constexpr int kDigits = 256;

// Keys of up to 32 bits stand above the place in one word.
struct NarrowItem {
    std::uint64_t word;
    static NarrowItem of(std::uint64_t key, std::uint32_t place) { return {key << 32 | place}; }
    std::uint64_t key() const { return word >> 32; }
    std::uint32_t place() const { return static_cast<std::uint32_t>(word); }
    friend bool operator<(NarrowItem a, NarrowItem b) { return a.word < b.word; }
};
struct WideItem {
    std::uint64_t word;
    std::uint32_t at;
    static WideItem of(std::uint64_t key, std::uint32_t place) { return {key, place}; }
    std::uint64_t key() const { return word; }
    std::uint32_t place() const { return at; }
    friend bool operator<(WideItem a, WideItem b) { return a.word != b.word ? a.word < b.word : a.at < b.at; }
};

template <class Word>
struct Sorter {
    using Item = std::conditional_t<sizeof(Word) == 8, WideItem, NarrowItem>;
    const SortSpec& spec;
    const KeyRule rule;
    const Word flip;

    explicit Sorter(const SortSpec& s)
        : spec(s), rule(key_rule(s.x)), flip(s.descending ? static_cast<Word>(~Word{0}) : Word{0}) {}

    // NaN is greater than all numbers, -0 is 0.
    Word key(Word bits) const {
        const auto sign = static_cast<Word>(rule.sign);
        Word k = static_cast<Word>(bits ^ sign);
        if (rule.infinity != 0) {
            const Word magnitude = static_cast<Word>(bits & ~sign);
            k = magnitude > rule.infinity ? static_cast<Word>(~Word{0})
                : magnitude == 0          ? sign
                : (bits & sign) != 0      ? static_cast<Word>(~bits)
                                          : k;
        }
        return static_cast<Word>(k ^ flip);
    }

    void make_items(const Word* x, std::int64_t first, std::int64_t count, Item* items) const {
        for (std::int64_t i = 0; i < count; ++i)
            items[i] = Item::of(key(x[first + i]), static_cast<std::uint32_t>(first + i));
    }

    // Items in the order of their places; the scratch has room for as many.
    static void sort_items(Item* items, std::int64_t count, Item* scratch) {
        if (count < kRadixFrom) {
            std::sort(items, items + count);
            return;
        }
        std::uint32_t counts[sizeof(Word)][kDigits] = {};
        for (std::int64_t i = 0; i < count; ++i)
            for (std::size_t d = 0; d < sizeof(Word); ++d)
                ++counts[d][items[i].key() >> (8 * d) & (kDigits - 1)];
        Item *from = items, *to = scratch;
        for (std::size_t d = 0; d < sizeof(Word); ++d) {
            std::uint32_t* starts = counts[d];
            if (starts[from[0].key() >> (8 * d) & (kDigits - 1)] == count)
                continue;  // all have the same digit
            std::uint32_t sum = 0;
            for (int digit = 0; digit < kDigits; ++digit) sum += std::exchange(starts[digit], sum);
            for (std::int64_t i = 0; i < count; ++i)
                to[starts[from[i].key() >> (8 * d) & (kDigits - 1)]++] = from[i];
            std::swap(from, to);
        }
        if (from != items) std::copy(from, from + count, items);
    }

    // The first `keep` items in order at the front; what is behind them is left as it comes.
    static void order_first(Item* items, std::int64_t count, std::int64_t keep, Item* scratch) {
        if (keep > count / 4) return sort_items(items, count, scratch);
        if (keep == 0) return;
        std::nth_element(items, items + keep, items + count);
        std::sort(items, items + keep);
    }

    void put(const Word* x, const Item* items, std::int64_t first, std::int64_t end, std::byte* y) const {
        if (spec.indices)
            for (std::int64_t i = first; i < end; ++i)
                reinterpret_cast<std::int64_t*>(y)[i] = items[i].place();
        else
            for (std::int64_t i = first; i < end; ++i) reinterpret_cast<Word*>(y)[i] = x[items[i].place()];
    }

    // The first `keep` of a chunk's elements in order, in the front of items, which has room for all: most elements are only
    // compared with the last that is kept so far.
    void select_first(const Word* x, std::int64_t first, std::int64_t count, std::int64_t keep, Item* items,
                      Item* scratch) const {
        const std::int64_t room = 2 * keep + 64;
        if (keep == 0) return;
        if (room > count / 2) {
            make_items(x, first, count, items);
            return order_first(items, count, keep, scratch);
        }
        std::int64_t held = 0;
        Item limit{};
        const auto cut = [&] {
            std::nth_element(items, items + keep - 1, items + held);
            limit = items[keep - 1];
            held = keep;
        };
        for (std::int64_t i = 0; i < room; ++i)
            items[held++] = Item::of(key(x[first + i]), static_cast<std::uint32_t>(first + i));
        cut();
        for (std::int64_t i = room; i < count; ++i) {
            const Item item = Item::of(key(x[first + i]), static_cast<std::uint32_t>(first + i));
            if (!(item < limit)) continue;
            items[held++] = item;
            if (held == room) cut();
        }
        cut();
        std::sort(items, items + keep);
    }

    // All items of a row by digits, every chunk counting and moving its own.
    void sort_long_row(Item*& items, Item*& scratch, std::uint32_t* counts, ThreadPool& pool) const {
        const std::int64_t n = spec.n, chunks = ceil_div(n, kChunk);
        for (std::size_t d = 0; d < sizeof(Word); ++d) {
            pool.parallel_for(chunks, [&](std::int64_t c) {
                std::uint32_t own[kDigits] = {};
                for (std::int64_t i = c * kChunk; i < std::min(n, (c + 1) * kChunk); ++i)
                    ++own[items[i].key() >> (8 * d) & (kDigits - 1)];
                std::copy_n(own, kDigits, counts + c * kDigits);
            });
            std::uint32_t start = 0;  // rows have fewer than 2^32 elements
            bool moves = true;
            for (int digit = 0; digit < kDigits; ++digit) {
                const std::uint32_t before = start;
                for (std::int64_t c = 0; c < chunks; ++c)
                    start += std::exchange(counts[c * kDigits + digit], start);
                moves = moves && start - before != n;
            }
            if (!moves) continue;  // all have the same digit
            pool.parallel_for(chunks, [&](std::int64_t c) {
                std::uint32_t starts[kDigits];
                std::copy_n(counts + c * kDigits, kDigits, starts);
                for (std::int64_t i = c * kChunk; i < std::min(n, (c + 1) * kChunk); ++i)
                    scratch[starts[items[i].key() >> (8 * d) & (kDigits - 1)]++] = items[i];
            });
            std::swap(items, scratch);
        }
    }

    void run_long_row(const Word* x, std::byte* y, Item* workspace, ThreadPool& pool) const {
        const std::int64_t n = spec.n, chunks = ceil_div(n, kChunk);
        const bool few = spec.keep <= kChunk / 8;
        Item *items = workspace, *scratch = workspace + n;
        pool.parallel_for(chunks, [&](std::int64_t c) {
            const std::int64_t first = c * kChunk, count = std::min(kChunk, n - first);
            if (few)
                select_first(x, first, count, std::min(spec.keep, count), items + first, scratch + first);
            else
                make_items(x, first, count, items + first);
        });
        if (few) {
            std::int64_t left = 0;
            for (std::int64_t c = 0; c < chunks; ++c)
                for (std::int64_t i = c * kChunk; i < std::min(n, c * kChunk + spec.keep); ++i)
                    scratch[left++] = items[i];
            order_first(scratch, left, spec.keep, items);
            put(x, scratch, 0, spec.keep, y);
            return;
        }
        sort_long_row(items, scratch, reinterpret_cast<std::uint32_t*>(workspace + 2 * n), pool);
        pool.parallel_for(ceil_div(spec.keep, kChunk), [&](std::int64_t c) {
            put(x, items, c * kChunk, std::min(spec.keep, (c + 1) * kChunk), y);
        });
    }

    void run(const NativeLaunch& launch) const {
        const std::byte* from = need(launch, 0, extent(spec.rows, spec.x_row, spec.n), spec.x, "sort", "x");
        const DType type = spec.indices ? DType::i64 : spec.x;
        std::byte* y = need(launch, 1, spec.rows * spec.keep, type, "sort", "y");
        if (spec.rows == 0 || spec.keep == 0) return;
        auto* workspace = reinterpret_cast<Item*>(
            need_bytes(launch, 2, static_cast<std::int64_t>(native_workspace(spec)), 8, "sort", "workspace"));
        const auto* x = reinterpret_cast<const Word*>(from);
        const std::int64_t row_bytes = spec.keep * static_cast<std::int64_t>(size_of(type));
        if (spec.n > kChunk) {
            for (std::int64_t r = 0; r < spec.rows; ++r)
                run_long_row(x + r * spec.x_row, y + r * row_bytes, workspace, launch.pool);
            return;
        }
        const std::int64_t tasks = native_tasks(spec), share = ceil_div(spec.rows, tasks);
        launch.pool.parallel_for(tasks, [&](std::int64_t task) {
            Item* items = workspace + task * 2 * spec.n;
            for (std::int64_t r = task * share; r < std::min(spec.rows, (task + 1) * share); ++r) {
                select_first(x + r * spec.x_row, 0, spec.n, spec.keep, items, items + spec.n);
                put(x + r * spec.x_row, items, 0, spec.keep, y + r * row_bytes);
            }
        });
    }
};

}  // namespace

std::int64_t native_tasks(const SortSpec& s) {
    if (s.n > kChunk) return ceil_div(s.n, kChunk);
    return std::min(kMostTasks, ceil_div(s.rows, std::max<std::int64_t>(
                                                     1, kTaskElements / std::max<std::int64_t>(1, s.n))));
}

std::size_t native_workspace(const SortSpec& s) {
    if (s.rows == 0 || s.keep == 0) return 0;
    // Not less than shorter rows need: whoever plans for a symbol asks at few sizes.
    const std::int64_t items =
        2 * (s.n > kChunk ? std::max(s.n, kChunk * std::min(kMostTasks, s.rows)) : s.n * native_tasks(s));
    const std::int64_t counts = s.n > kChunk ? ceil_div(s.n, kChunk) * kDigits : 0;
    return static_cast<std::size_t>(items) * (size_of(s.x) == 8 ? sizeof(WideItem) : sizeof(NarrowItem)) +
           static_cast<std::size_t>(counts) * sizeof(std::uint32_t);
}

void run_sort(const NativeLaunch& launch) {
    const auto& s = params_of<SortSpec>(launch);
    switch (size_of(s.x)) {
        case 1: return Sorter<std::uint8_t>(s).run(launch);
        case 2: return Sorter<std::uint16_t>(s).run(launch);
        case 4: return Sorter<std::uint32_t>(s).run(launch);
        default: return Sorter<std::uint64_t>(s).run(launch);
    }
}

}  // namespace invar::kernels::sort
