// SPDX-License-Identifier: Apache-2.0
// Defragmentation: live blocks move out of shared segments into free blocks of others, the largest block first, into
// the fullest segment that has room and the tightest hole there; segments are emptied in order of what must be moved
// for them, the least first. Where a request only needs a larger block than is free, and no segment can be emptied,
// the blocks beside a free one make way instead.
//
// Blocks are copied, on every device. Where memory is virtual its pages could be mapped elsewhere instead, but blocks
// that share a segment begin and end inside of pages (of 2 MiB on CUDA), so that most pages hold pieces of two of
// them.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include <invar/error.h>

#include "base/svg.h"
#include "device/allocator_core.h"

namespace invar {
namespace {

MemoryStatistics summary(const AllocatorStatistics& s) {
    MemoryStatistics m;
    m.bytes_in_use = s.bytes_in_use;
    m.bytes_held = s.bytes_in_use + s.bytes_cached;
    m.largest_free = s.largest_cached;
    m.external_fragmentation = s.external_fragmentation();
    m.defragmentations = s.defragmentations;
    m.blocks_moved = s.blocks_moved;
    m.bytes_moved = s.bytes_moved;
    return m;
}

}  // namespace

struct Allocation::Mover {
    struct Hole {
        Block* block;
        std::uint64_t bytes;  // of it that the plan has not given away yet
    };
    struct Segment {
        Block* first = nullptr;  // of a new one that is not there yet: nullptr
        std::uint64_t bytes = 0, live = 0, largest = 0;
        bool movable = false;
        bool receives = false, emptied = false;
        std::vector<Hole> holes;  // its free blocks that requests can take
        void find_largest() {
            largest = 0;
            for (const Hole& h : holes) largest = std::max(largest, h.bytes);
        }
    };
    // Some neighbouring blocks that are to become one free block.
    struct Window {
        std::size_t segment;
        std::uint64_t live = 0;
        std::vector<Block*> blocks;  // of them, those in use
        Block *first = nullptr, *last = nullptr;
    };
    struct Move {
        Block* from;
        Block* hole;                 // as it was before the first move into it; they fill it in order
        std::size_t segment, index;  // of the hole
        std::uint64_t before;        // its bytes
        Block* to = nullptr;
    };
    struct Plan {
        std::vector<Move> moves;
        std::uint64_t freed = 0;  // bytes of emptied segments, less those of new ones; of a window
    };

    Core& core;
    const std::unordered_map<Block*, Allocation*>& holders;
    std::vector<Segment> segments;  // by live bytes, the emptiest first

    Mover(Core& c, const std::unordered_map<Block*, Allocation*>& h) : core(c), holders(h) {}

    // The segments that are partly free.
    void look() {
        segments.clear();
        std::unordered_map<Block*, std::size_t> known;
        const Core::Lists& in = core.lists[kSharing][0];
        for (Block* listed : in.free)
            for (Block* hole = listed; hole; hole = hole->class_next) {
                Block* first = hole;
                while (first->left) first = first->left;
                const auto [at, fresh] = known.try_emplace(first, segments.size());
                if (fresh) segments.emplace_back().first = first;
                if (hole->bytes >= kLarge) segments[at->second].holes.push_back({hole, hole->bytes});
            }
        for (Segment& s : segments) {
            s.movable = true;
            for (Block* b = s.first; b; b = b->right) {
                s.bytes += b->bytes;
                if (b->free) continue;
                s.live += b->bytes;
                s.movable = s.movable && holders.contains(b);
            }
            std::sort(s.holes.begin(), s.holes.end(),
                      [](const Hole& a, const Hole& b) { return a.block->offset < b.block->offset; });
            s.find_largest();
        }
        // In an order that does not depend on addresses.
        std::sort(segments.begin(), segments.end(), [](const Segment& a, const Segment& b) {
            return a.live != b.live ? a.live < b.live : a.first->buffer->id() < b.first->buffer->id();
        });
    }

    // Free segments that are there already.
    std::vector<Block*> whole_segments() const {
        std::vector<Block*> found;
        for (Block* listed : core.lists[kSharing][1].free)
            for (Block* b = listed; b; b = b->class_next)
                if (b->bytes == kSegment) found.push_back(b);
        std::sort(found.begin(), found.end(),
                  [](const Block* a, const Block* b) { return a->buffer->id() < b->buffer->id(); });
        return found;
    }

    // Places the blocks in holes that `closed` does not exclude: in the fullest segment that has one, the tightest there.
    // Nothing changes where a block has no place.
    template <class Closed>
    bool place(std::vector<Block*> blocks, std::vector<Move>& moves, Closed closed) {
        std::sort(blocks.begin(), blocks.end(), [](const Block* a, const Block* b) {
            return a->bytes != b->bytes ? a->bytes > b->bytes : a->offset < b->offset;
        });
        const std::size_t begin = moves.size();
        const auto find = [&](const Block* b) {
            for (std::size_t s = segments.size(); s-- > 0;) {
                if (segments[s].largest < b->bytes || segments[s].emptied) continue;
                const std::vector<Hole>& holes = segments[s].holes;
                std::size_t best = holes.size();
                for (std::size_t h = 0; h < holes.size(); ++h)
                    if (holes[h].bytes >= b->bytes && !closed(s, holes[h]) &&
                        (best == holes.size() || holes[h].bytes < holes[best].bytes))
                        best = h;
                if (best < holes.size()) return std::pair(s, best);
            }
            return std::pair(segments.size(), std::size_t{0});
        };
        for (Block* b : blocks) {
            const auto [s, index] = find(b);
            if (s == segments.size()) {
                for (; moves.size() > begin; moves.pop_back()) {
                    const Move& m = moves.back();
                    segments[m.segment].holes[m.index].bytes = m.before;
                    segments[m.segment].find_largest();
                }
                return false;
            }
            Hole& hole = segments[s].holes[index];
            moves.push_back({b, hole.block, s, index, hole.bytes});
            const std::uint64_t rest = hole.bytes - b->bytes;
            hole.bytes = rest >= kLarge ? rest : 0;  // a smaller rest goes with the block, or is lost
            segments[s].find_largest();
        }
        return true;
    }

    static std::vector<Block*> live_of(const Segment& s) {
        std::vector<Block*> live;
        for (Block* b = s.first; b; b = b->right)
            if (!b->free) live.push_back(b);
        return live;
    }

    // Empties segments until `need` more bytes have come free than the new ones take (0: as many as can be); the blocks
    // of `fresh` are new segments, null ones such as would have to be asked for.
    Plan plan_segments(std::uint64_t need, const std::vector<Block*>& fresh) {
        look();
        const std::size_t sources = segments.size();
        for (Block* b : fresh) {  // their room is used first
            Segment& s = segments.emplace_back();
            s.holes = {{b, kSegment}};
            s.find_largest();
        }
        Plan plan;
        std::uint64_t freed = 0;
        const std::uint64_t taken = fresh.size() * kSegment;
        for (std::size_t i = 0; i < sources && (need == 0 || freed < need + taken); ++i) {
            Segment& s = segments[i];
            if (!s.movable || s.receives) continue;
            const std::size_t begin = plan.moves.size();
            if (!place(live_of(s), plan.moves, [&](std::size_t to, const Hole&) { return to == i; }))
                continue;
            // Nothing else goes where all is to be free, and what has been put somewhere stays there.
            s.emptied = true;
            freed += s.bytes;
            for (std::size_t m = begin; m < plan.moves.size(); ++m)
                segments[plan.moves[m].segment].receives = true;
        }
        plan.freed = freed > taken ? freed - taken : 0;
        return plan;
    }

    // The cheapest window of so many bytes.
    std::optional<Plan> plan_window(std::uint64_t bytes) {
        look();
        std::vector<Window> windows;
        for (std::size_t i = 0; i < segments.size(); ++i)
            for (Block* first = segments[i].first; first; first = first->right) {
                Window w{i, 0, {}, first, nullptr};
                std::uint64_t sum = 0;
                for (Block* b = first; b && sum < bytes; b = b->right) {
                    if (!b->free) {
                        if (!holders.contains(b)) break;
                        w.live += b->bytes;
                        w.blocks.push_back(b);
                    }
                    sum += b->bytes;
                    w.last = b;
                }
                if (sum >= bytes && w.live > 0) windows.push_back(std::move(w));
            }
        std::sort(windows.begin(), windows.end(), [](const Window& a, const Window& b) {
            if (a.live != b.live) return a.live < b.live;
            return a.segment != b.segment ? a.segment < b.segment : a.first->offset < b.first->offset;
        });
        for (const Window& w : windows) {
            Plan plan;
            const auto inside = [&](std::size_t s, const Hole& h) {
                return s == w.segment && h.block->offset >= w.first->offset &&
                       h.block->offset <= w.last->offset;
            };
            if (!place(w.blocks, plan.moves, inside)) continue;
            plan.freed = bytes;
            return plan;
        }
        return std::nullopt;
    }

    // Takes the destinations, under the lock; nothing is taken where that throws.
    void begin(Plan& plan) {
        std::unordered_map<Block*, Block*> rest;  // of a hole
        std::size_t spares = 0;
        for (const Block* b = core.spare; b && spares < plan.moves.size(); b = b->class_next) ++spares;
        for (const Move& m : plan.moves) rest.try_emplace(m.hole, m.hole);
        for (; spares < plan.moves.size(); ++spares) {
            auto* const b = new Block;
            b->class_next = std::exchange(core.spare, b);
        }
        for (Move& m : plan.moves) {
            Block*& hole = rest.at(m.hole);
            m.to = hole;
            hole = core.hand_out(m.to, m.from->bytes, holders.at(m.from)->size_);
        }
    }

    // The Allocations take the new places; under the lock.
    void end(const Plan& plan, Chain& chain, Defragmentation& done) {
        for (const Move& m : plan.moves) {
            Allocation& a = *holders.at(m.from);
            a.block_ = m.to;
            a.buffer_ = m.to->buffer;
            a.offset_ = m.to->offset;
            if (MemoryLog* log = MemoryLog::active())
                log->moved(core.device_name, *m.from->buffer, m.from->offset, *m.to->buffer, m.to->offset,
                           m.to->bytes);
            core.count_return(m.from, a.size_);
            ++done.blocks_moved;
            done.bytes_moved += a.size_;
            Block* free = core.merge_free(m.from);
            if (!free->whole()) continue;
            ++done.segments_freed;
            done.bytes_freed += free->bytes;
            core.evict(free, chain);
        }
        ++core.statistics.defragmentations;
        core.statistics.blocks_moved += done.blocks_moved;
        core.statistics.bytes_moved += done.bytes_moved;
    }

    // Nothing was moved; under the lock.
    void undo(const Plan& plan) {
        for (const Move& m : plan.moves) {
            core.count_return(m.to, holders.at(m.from)->size_);
            core.merge_free(m.to);
        }
    }
};

MemoryStatistics memory_of(const CachingAllocator& pool) { return summary(pool.statistics()); }

std::uint64_t CachingAllocator::shortfall(std::size_t bytes) const {
    if (bytes > std::size_t{1} << kMaxBits) return bytes;
    const Allocation::Core& core = *core_;
    const DeviceProperties p = core.device->properties();
    const std::lock_guard lock(core.mutex);
    const std::uint64_t size = size_class(bytes).bytes;
    const std::uint64_t reclaimable = core.statistics.bytes_reclaimable, used = core.held() - reclaimable;
    const auto missing = [&](std::uint64_t room) { return size > room ? size - room : 0; };
    std::uint64_t most = 0;
    if (core.budget.bytes) most = missing(core.budget.bytes > used ? core.budget.bytes - used : 0);
    if (p.memory_free > 0)
        most = std::max(most, missing(p.memory_free + reclaimable));
    else if (p.memory_total > 0)  // the driver does not say
        most = std::max(most, missing(p.memory_total > used ? p.memory_total - used : 0));
    return most;
}

Defragmentation CachingAllocator::defragment(std::span<Allocation* const> movable, Stream& stream,
                                             std::size_t wanted) {
    using Mover = Allocation::Mover;
    using Block = Allocation::Block;
    Allocation::Core& core = *core_;
    Defragmentation done;
    done.device = core.device_name;
    done.before = done.after = memory_of(*this);
    if (wanted > std::size_t{1} << kMaxBits) return done;
    std::unordered_map<Block*, Allocation*> holders;
    for (Allocation* a : movable)
        if (a->core_.get() == &core && a->block_ && a->block_->band == kSharing)
            holders.emplace(a->block_, a);
    Mover mover(core, holders);

    const std::size_t size = wanted ? size_class(wanted).bytes : 0;
    // What failed although there seemed to be room needs at least its own size more.
    std::uint64_t need = wanted ? shortfall(wanted) : 0;
    if (need == 0) need = size;
    // How many new segments there is room for.
    const auto room_for_new = [&](std::size_t count) { return shortfall(count * kSegment) == 0; };
    const auto enough = [&](const Mover::Plan& p) {
        return !p.moves.empty() && p.freed > 0 && p.freed >= need;
    };

    // Fewer moves first: without new segments, then with one, two, four ... of them.
    std::size_t fresh = 0;
    bool by_window = false, possible = false;
    std::uint64_t best = 0;
    std::size_t segments = 0;
    const auto consider = [&](std::size_t count) {
        const std::lock_guard lock(core.mutex);
        const Mover::Plan plan = mover.plan_segments(need, std::vector<Block*>(count, nullptr));
        segments = mover.segments.size() - count;
        if (!enough(plan) || plan.freed <= best) return false;
        best = plan.freed;
        fresh = count;
        possible = true;
        return true;
    };
    {
        std::vector<std::shared_ptr<const Event>> passed;
        const std::lock_guard lock(core.mutex);
        core.collect_passed(passed);
    }
    consider(0);
    if (!possible && size >= kLarge && size <= kShared) {
        const std::lock_guard lock(core.mutex);
        by_window = mover.plan_window(size).has_value();
        possible = by_window;
    }
    if (need == 0 || !possible)
        for (std::size_t count = 1; count < segments && room_for_new(count); count *= 2) {
            const bool better = consider(count);
            if (possible && (need > 0 || !better)) break;
        }
    if (!possible) return done;

    // The new ones go to the cache for a moment; all at once, since one that is free pays for the next.
    std::vector<Block*> made;
    made.reserve(fresh);
    const auto release_made = [&] {
        for (Block* b : made) core.release(b, kShared);
    };
    try {
        while (made.size() < fresh) made.push_back(core.ask_driver(kSegment, size_class(kShared), kShared));
    } catch (const OutOfMemory& e) {
        log(LogLevel::kInfo, core.device_name + ": no room to move memory through (" + e.what() + ")");
        release_made();
        return done;
    }
    release_made();

    Mover::Plan plan;
    {
        const std::lock_guard lock(core.mutex);
        std::vector<Block*> whole = mover.whole_segments();
        whole.resize(std::min(whole.size(), fresh));
        if (by_window) {
            if (std::optional<Mover::Plan> window = mover.plan_window(size)) plan = std::move(*window);
        } else if (plan = mover.plan_segments(need, whole); !enough(plan)) {
            plan = {};
        }
        mover.begin(plan);
    }
    if (plan.moves.empty()) return done;  // another thread was quicker
    try {
        for (const Mover::Move& m : plan.moves) {
            const std::size_t bytes = holders.at(m.from)->size();
            stream.copy({m.to->buffer, m.to->offset, bytes}, {m.from->buffer, m.from->offset, bytes});
        }
        stream.synchronize();
    } catch (...) {
        try {
            stream.synchronize();  // copies before the one that failed may still be under way
        } catch (const std::exception& e) {
            log(LogLevel::kDebug, std::string("behind a failed copy: ") + e.what());
        }
        const std::lock_guard lock(core.mutex);
        mover.undo(plan);
        throw;
    }
    {
        Allocation::Chain chain;
        const std::lock_guard lock(core.mutex);
        mover.end(plan, chain, done);
    }
    done.after = memory_of(*this);
    if (MemoryLog* log = MemoryLog::active()) log->mark(core.device_name, to_text(done));
    return done;
}

std::string to_text(const Defragmentation& d) {
    const auto amount = [](std::uint64_t bytes) { return bytes_as_text(static_cast<double>(bytes)); };
    const auto percent = [](double share) {
        char text[16];
        std::snprintf(text, sizeof text, "%.1f%%", 100 * share);
        return std::string(text);
    };
    return "defragmented " + d.device + ": " + std::to_string(d.blocks_moved) + " blocks of " +
           amount(d.bytes_moved) + " moved, " + std::to_string(d.segments_freed) + " segments of " +
           amount(d.bytes_freed) + " given back; held " + amount(d.before.bytes_held) + " -> " +
           amount(d.after.bytes_held) + ", external fragmentation " +
           percent(d.before.external_fragmentation) + " -> " + percent(d.after.external_fragmentation) +
           ", largest free block " + amount(d.before.largest_free) + " -> " + amount(d.after.largest_free);
}

}  // namespace invar
