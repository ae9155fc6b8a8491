// SPDX-License-Identifier: Apache-2.0
// The four orders of the memory planner. Temporal and spatial order sweep over the steps with a list of free gaps; the
// orders by size need, for each buffer, the placed ones that live together with it, which are found by blocks of steps.
#include "graph/arena_plan.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>

#include <invar/error.h>

#include "base/checked.h"

namespace invar::graph {
namespace {

constexpr std::size_t kNowhere = std::numeric_limits<std::size_t>::max();
// Pairs that live together: above it a search over them would take longer than what it finds is worth.
constexpr std::uint64_t kMaxPairs = std::uint64_t{1} << 19;
// Rounds that move the buffer on top to the front of its order, and the pairs that all of them may look at.
constexpr std::uint64_t kRounds = 32, kRoundPairs = std::uint64_t{1} << 15;
// Placed buffers that one block of steps should hold, so that lists stay short.
constexpr std::size_t kBlockBuffers = 256;

enum class Fit { lowest, tightest };

std::size_t rounded(std::size_t bytes) {
    return checked_add(bytes, kArenaAlignment - 1, "arena") / kArenaAlignment * kArenaAlignment;
}

// An interval with its bytes rounded; steps may be mirrored.
struct Buffer {
    std::int64_t first, last;
    std::size_t bytes;
    std::size_t index;
};

struct Gap {
    std::size_t begin, end;
};

// Where bytes go among gaps in order of offset, the last of which has no end.
template <class Gaps>
std::size_t choose(const Gaps& gaps, std::size_t bytes, Fit fit) {
    std::size_t best = 0, best_size = kNowhere;
    for (std::size_t i = 0; i < gaps.size(); ++i) {
        const std::size_t size = gaps[i].end - gaps[i].begin;
        if (size < bytes) continue;
        if (fit == Fit::lowest || size == bytes) return i;
        if (size < best_size || gaps[i].end == kNowhere) {
            if (gaps[i].end == kNowhere && best_size != kNowhere) break;
            best = i;
            best_size = size;
        }
    }
    return best;
}

class Plans {
public:
    explicit Plans(std::span<const ArenaInterval> intervals) {
        best_.offsets.assign(intervals.size(), 0);
        for (std::size_t i = 0; i < intervals.size(); ++i) {
            const ArenaInterval& v = intervals[i];
            if (v.first > v.last)
                throw InvalidArgument("arena: interval " + std::to_string(i) + " ends at step " +
                                      std::to_string(v.last) + " before it begins at " +
                                      std::to_string(v.first) + "; give the first step first");
            if (v.bytes == 0) continue;
            buffers_.push_back({v.first, v.last, rounded(v.bytes), i});
            best_.naive_bytes = checked_add(best_.naive_bytes, buffers_.back().bytes, "arena");
        }
        measure();
        best_.arena_bytes = buffers_.empty() ? 0 : kNowhere;
    }

    ArenaPlan run() {
        const bool search = pairs_ <= kMaxPairs;
        constexpr ArenaOrder orders[] = {ArenaOrder::size, ArenaOrder::first_use, ArenaOrder::consumer,
                                         ArenaOrder::lifetime_size};
        for (const ArenaOrder order : orders)
            for (const Fit fit : {Fit::lowest, Fit::tightest}) {
                if (best_.arena_bytes == best_.live_bytes) return std::move(best_);
                const bool swept = order == ArenaOrder::first_use || order == ArenaOrder::consumer;
                if (!swept && !search) continue;
                sort(order);
                offsets_.assign(best_.offsets.size(), 0);
                keep(swept ? sweep(fit) : place_each(fit), order);
            }
        if (!search) return std::move(best_);
        for (const ArenaOrder order : orders) improve(order);
        return std::move(best_);
    }

private:
    void keep(std::size_t arena, ArenaOrder order) {
        if (arena >= best_.arena_bytes) return;
        best_.arena_bytes = arena;
        best_.order = order;
        best_.offsets = offsets_;
    }

    // What ended on top came too late: it goes to the front, and all are placed anew. For the few buffers of small
    // graphs, where one that lies badly is a large share of the arena.
    void improve(ArenaOrder order) {
        sort(order);
        const std::uint64_t rounds = std::min(kRounds, kRoundPairs / (pairs_ + 1));
        for (std::uint64_t i = 0; i < rounds && best_.arena_bytes > best_.live_bytes; ++i) {
            const std::size_t arena = place_each(Fit::lowest);
            keep(arena, order);
            const auto top = std::find_if(sorted_.begin(), sorted_.end(), [&](const Buffer& b) {
                return offsets_[b.index] + b.bytes == arena;
            });
            std::rotate(sorted_.begin(), top, top + 1);
        }
    }

    // live_bytes and the number of pairs that live together: each buffer meets those that live when it begins.
    void measure() {
        struct Change {
            std::int64_t step;
            bool begins;
            std::size_t bytes;
        };
        std::vector<Change> changes;
        for (const Buffer& b : buffers_) {
            changes.push_back({b.first, true, b.bytes});
            changes.push_back({b.last + 1, false, b.bytes});
        }
        std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
            return a.step != b.step ? a.step < b.step : a.begins < b.begins;
        });
        std::size_t live = 0;
        std::uint64_t alive = 0;
        for (const Change& c : changes) {
            live = c.begins ? live + c.bytes : live - c.bytes;
            best_.live_bytes = std::max(best_.live_bytes, live);
            if (c.begins) pairs_ += alive;
            alive = c.begins ? alive + 1 : alive - 1;
        }
    }

    // The buffers in the order in which they take their places; a sweep from the last step back sees steps mirrored.
    void sort(ArenaOrder order) {
        sorted_ = buffers_;
        if (order == ArenaOrder::consumer)
            for (Buffer& b : sorted_) b = {-b.last, -b.first, b.bytes, b.index};
        const auto key = [&](const Buffer& b) {
            switch (order) {
                case ArenaOrder::size: return static_cast<double>(b.bytes);
                case ArenaOrder::lifetime_size:
                    return static_cast<double>(b.bytes) * static_cast<double>(b.last - b.first + 1);
                case ArenaOrder::first_use:
                case ArenaOrder::consumer: break;
            }
            return -static_cast<double>(b.first);
        };
        std::sort(sorted_.begin(), sorted_.end(), [&](const Buffer& a, const Buffer& b) {
            if (key(a) != key(b)) return key(a) > key(b);
            if (a.bytes != b.bytes) return a.bytes > b.bytes;
            if (a.first != b.first) return a.first < b.first;
            return a.index < b.index;
        });
    }

    // In order of first: what lives at the step is what has been placed and has not ended.
    std::size_t sweep(Fit fit) {
        std::vector<std::size_t> by_last(sorted_.size());
        std::iota(by_last.begin(), by_last.end(), std::size_t{0});
        std::sort(by_last.begin(), by_last.end(), [&](std::size_t a, std::size_t b) {
            return sorted_[a].last != sorted_[b].last ? sorted_[a].last < sorted_[b].last : a < b;
        });
        std::vector<Gap> gaps{{0, kNowhere}};
        std::size_t arena = 0;
        auto ended = by_last.begin();
        for (const Buffer& b : sorted_) {
            for (; ended != by_last.end() && sorted_[*ended].last < b.first; ++ended) {
                const std::size_t begin = offsets_[sorted_[*ended].index];
                give_back(gaps, {begin, begin + sorted_[*ended].bytes});
            }
            const std::size_t at = choose(gaps, b.bytes, fit);
            Gap& gap = gaps[at];
            offsets_[b.index] = gap.begin;
            gap.begin += b.bytes;
            arena = std::max(arena, gap.begin);
            if (gap.begin == gap.end) gaps.erase(gaps.begin() + static_cast<std::ptrdiff_t>(at));
        }
        return arena;
    }

    static void give_back(std::vector<Gap>& gaps, Gap piece) {
        auto next = std::lower_bound(gaps.begin(), gaps.end(), piece.begin,
                                     [](const Gap& g, std::size_t begin) { return g.begin < begin; });
        const bool joins_next = next != gaps.end() && next->begin == piece.end;
        const bool joins_previous = next != gaps.begin() && std::prev(next)->end == piece.begin;
        if (joins_previous && joins_next) {
            std::prev(next)->end = next->end;
            gaps.erase(next);
        } else if (joins_previous) {
            std::prev(next)->end = piece.end;
        } else if (joins_next) {
            next->begin = piece.begin;
        } else {
            gaps.insert(next, piece);
        }
    }

    struct Placed {
        std::size_t begin, end;
        std::int64_t first, last;
    };

    // In any order: each buffer looks at the placed ones that live together with it. A list for each block of steps
    // holds, by offset, those that live in it.
    std::size_t place_each(Fit fit) {
        std::int64_t low = std::numeric_limits<std::int64_t>::max(),
                     high = std::numeric_limits<std::int64_t>::min();
        for (const Buffer& b : sorted_) {
            low = std::min(low, b.first);
            high = std::max(high, b.last);
        }
        const auto wanted = static_cast<std::int64_t>(sorted_.size() / kBlockBuffers) + 1;
        const std::int64_t width = (high - low) / wanted + 1;
        const auto block = [&](std::int64_t step) { return static_cast<std::size_t>((step - low) / width); };
        std::vector<std::vector<Placed>> blocks(block(high) + 1);

        std::size_t arena = 0;
        std::vector<Placed> near;
        std::vector<Gap> gaps;
        for (const Buffer& b : sorted_) {
            const std::size_t from = block(b.first), to = block(b.last);
            near.clear();
            for (std::size_t i = from; i <= to; ++i)
                for (const Placed& p : blocks[i])
                    // Once, in the first block that both live in.
                    if (p.first <= b.last && b.first <= p.last && i == std::max(from, block(p.first)))
                        near.push_back(p);
            if (from != to)
                std::sort(near.begin(), near.end(),
                          [](const Placed& x, const Placed& y) { return x.begin < y.begin; });
            gaps.clear();
            std::size_t top = 0;
            for (const Placed& p : near) {
                if (p.begin > top) gaps.push_back({top, p.begin});
                top = std::max(top, p.end);
            }
            gaps.push_back({top, kNowhere});
            const std::size_t begin = gaps[choose(gaps, b.bytes, fit)].begin;
            offsets_[b.index] = begin;
            const Placed placed{begin, begin + b.bytes, b.first, b.last};
            arena = std::max(arena, placed.end);
            for (std::size_t i = from; i <= to; ++i)
                blocks[i].insert(
                    std::upper_bound(blocks[i].begin(), blocks[i].end(), placed,
                                     [](const Placed& x, const Placed& y) { return x.begin < y.begin; }),
                    placed);
        }
        return arena;
    }

    std::vector<Buffer> buffers_, sorted_;
    std::uint64_t pairs_ = 0;
    std::vector<std::size_t> offsets_;  // of the plan at hand
    ArenaPlan best_;
};

}  // namespace

std::string_view arena_order_name(ArenaOrder order) {
    switch (order) {
        case ArenaOrder::size: return "size";
        case ArenaOrder::first_use: return "first use";
        case ArenaOrder::consumer: return "consumer";
        case ArenaOrder::lifetime_size: return "lifetime x size";
    }
    return "";
}

ArenaPlan plan_arena(std::span<const ArenaInterval> intervals) { return Plans(intervals).run(); }

std::optional<std::pair<std::size_t, std::size_t>> find_arena_conflict(
    std::span<const ArenaInterval> intervals, const ArenaPlan& plan) {
    std::vector<std::size_t> by_offset;
    for (std::size_t i = 0; i < intervals.size(); ++i) {
        if (intervals[i].bytes == 0) continue;
        const std::size_t begin = plan.offsets.at(i);
        if (begin % kArenaAlignment != 0 || begin > plan.arena_bytes ||
            intervals[i].bytes > plan.arena_bytes - begin)
            return std::pair{i, i};
        by_offset.push_back(i);
    }
    std::sort(by_offset.begin(), by_offset.end(),
              [&](std::size_t a, std::size_t b) { return plan.offsets[a] < plan.offsets[b]; });
    for (std::size_t a = 0; a < by_offset.size(); ++a)
        for (std::size_t b = a + 1; b < by_offset.size(); ++b) {
            const ArenaInterval &x = intervals[by_offset[a]], &y = intervals[by_offset[b]];
            if (plan.offsets[by_offset[b]] - plan.offsets[by_offset[a]] >= x.bytes) break;
            if (x.first <= y.last && y.first <= x.last) return std::pair{by_offset[a], by_offset[b]};
        }
    return std::nullopt;
}

}  // namespace invar::graph
