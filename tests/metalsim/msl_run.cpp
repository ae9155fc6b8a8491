// SPDX-License-Identifier: Apache-2.0
// Running a kernel. The lanes of a SIMD-group have their turns up to their next meeting; when all wait at one collective, it
// is held and they go on; when those of all SIMD-groups wait at one barrier, the threadgroup goes on. Lanes that are elsewhere
// then, or have ended, are a fault of the kernel: Metal leaves open what becomes of them.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include <sys/mman.h>

#include "metalsim/msl_fibers.h"
#include "metalsim/msl_traffic.h"

namespace invar::test {
namespace {

using State = MslFiber::State;
using Order = MslSchedule::Order;

constexpr std::size_t kMostMemory = 32 << 10;  // bytes a threadgroup, on every device of Apple's
constexpr std::size_t kMostIndices = 31;

// splitmix64: cheap, and the same everywhere.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }
    // Below a bound that is not 0.
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(((next() >> 32) * bound) >> 32);
    }
    template <class T>
    void shuffle(std::span<T> items) {
        for (std::size_t k = items.size(); k > 1; --k)
            std::swap(items[k - 1], items[below(static_cast<std::uint32_t>(k))]);
    }

private:
    std::uint64_t state_;
};

// Memory of a threadgroup whose length the launch says: it ends at a page that must not be touched.
class GroupMemory {
public:
    static constexpr std::size_t kPage = 4096;
    static GroupMemory& shared() {
        static GroupMemory memory;
        return memory;
    }
    void* piece(std::size_t index, std::size_t bytes) {
        return pages_ + index * (kMostMemory + 2 * kPage) + kPage + kMostMemory - bytes;
    }

private:
    GroupMemory() {
        constexpr std::size_t kBytes = kMostIndices * (kMostMemory + 2 * kPage);
        void* const memory =
            ::mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) throw OutOfMemory("metal-sim: no room for threadgroup memory", kBytes, 0);
        pages_ = static_cast<std::byte*>(memory);
        for (std::size_t index = 0; index < kMostIndices; ++index)
            ::mprotect(pages_ + index * (kMostMemory + 2 * kPage) + kPage, kMostMemory,
                       PROT_READ | PROT_WRITE);
    }
    std::byte* pages_ = nullptr;
};

std::string text_of(const unsigned (&place)[3]) {
    return std::to_string(place[0]) + "," + std::to_string(place[1]) + "," + std::to_string(place[2]);
}
const char* name_of(State state) { return state == State::at_collective ? "collective" : "barrier"; }

class Run {
public:
    Run(const MslKernel& kernel, const MslLaunch& launch)
        : kernel_(kernel), launch_(launch), fibers_(MslFibers::shared()), random_(launch.schedule.seed) {
        check();
    }

    void go() {
        const std::lock_guard lock(fibers_.mutex());
        MslFibers::FaultGuard guard;
        // sigsetjmp: what this function has changed since is not read behind it.
        if (sigsetjmp(guard.back, 1) != 0) {
            const std::string text = fault_text(guard);
            fibers_.forget_whole();
            fibers_.give_up(kMostLanes);
            if (guard.signal() == SIGILL) throw LaunchFailed(text);
            throw MslPageFault(text);
        }
        if (launch_.counters != nullptr && kernel_.counts_memory) traffic_.emplace(launch_.buffers);
        run_groups();
        fibers_.forget_whole();
        if (traffic_) traffic_->add_to(*launch_.counters);
    }

private:
    [[noreturn]] void refuse(const std::string& why) const {
        throw InvalidArgument("metal-sim: kernel '" + std::string(kernel_.name()) + "': " + why);
    }
    // who: "" of all lanes of a threadgroup, or "SIMD-group 3 of ".
    [[noreturn]] void fail(const std::string& who, const std::string& why) {
        const std::string group = text_of(fibers_[0].place.group);
        fibers_.give_up(lanes_);
        throw LaunchFailed("metal-sim: kernel '" + std::string(kernel_.name()) + "': not all lanes of " +
                           who + "threadgroup " + group + " " + why);
    }

    void check() {
        const Dim3& b = launch_.block;
        const std::uint32_t block[3] = {b.x, b.y, b.z};
        const Dim3 all = launch_.threads.value_or(launch_.grid);
        const std::uint32_t grid[3] = {all.x, all.y, all.z};
        const std::uint64_t most = kernel_.entry.most_lanes > 0 ? kernel_.entry.most_lanes : kMostLanes;
        std::uint64_t lanes = 1, groups = 1;
        for (int d = 0; d < 3; ++d) {
            if (grid[d] == 0 || block[d] == 0) refuse("a size of the launch is 0");
            if (block[d] > most || (lanes *= block[d]) > most)
                refuse("threadgroups have at most " + std::to_string(most) + " lanes");
            block_[d] = block[d];
            groups_[d] = launch_.threads ? (grid[d] - 1) / block[d] + 1 : grid[d];
            const std::uint64_t size = launch_.threads ? grid[d] : std::uint64_t{grid[d]} * block[d];
            if (size > 0xffffffffu) refuse("a grid has fewer than 2^32 lanes along an axis");
            size_[d] = static_cast<unsigned>(size);
            if (groups > 0xffffffffu / groups_[d]) refuse("a grid has fewer than 2^32 threadgroups");
            groups *= groups_[d];
        }
        count_ = groups;
        if (launch_.buffers.size() > kMostIndices || launch_.threadgroup_lengths.size() > kMostIndices)
            refuse("arguments have indices below " + std::to_string(kMostIndices));
        std::size_t memory = kernel_.memory_bytes;
        for (std::size_t index = 0; index < launch_.threadgroup_lengths.size(); ++index) {
            const std::size_t bytes = launch_.threadgroup_lengths[index];
            if (bytes > kMostMemory - std::min(memory, kMostMemory)) memory = kMostMemory + 1;
            memory += bytes > kMostMemory ? 0 : (bytes + 15) / 16 * 16;
        }
        if (memory > kMostMemory) refuse("a threadgroup has at most 32 KiB of memory");
        for (std::size_t index = 0; index < launch_.threadgroup_lengths.size(); ++index)
            if (const std::size_t bytes = launch_.threadgroup_lengths[index]; bytes > 0)
                memories_[index] = GroupMemory::shared().piece(index, (bytes + 15) / 16 * 16);
        for (std::size_t index = 0; index < launch_.buffers.size(); ++index)
            buffers_[index] = launch_.buffers[index].data;
        for (const MslBinding& binding : kernel_.bindings()) {
            const std::string what = std::string(" is bound to index ") + std::to_string(binding.index) +
                                     " ('" + binding.name + "')";
            if (binding.is_memory && memories_[binding.index] == nullptr)
                refuse("no threadgroup memory" + what);
            if (binding.is_memory) continue;
            if (buffers_[binding.index] == nullptr) refuse("no buffer" + what);
            if (const std::size_t size = launch_.buffers[binding.index].size;
                binding.is_reference && size < binding.bytes)
                refuse(std::to_string(size) + " bytes are bound to index " + std::to_string(binding.index) +
                       " ('" + binding.name + "'), which needs " + std::to_string(binding.bytes));
        }
    }

    void run_groups() {
        // Shuffled threadgroups go in steps that have no factor in common with their number.
        std::uint64_t step = 1, first = 0;
        if (launch_.schedule.order == Order::shuffled && count_ > 1) {
            first = random_.next() % count_;
            do step = random_.next() % count_ | 1;
            while (std::gcd(step, count_) != 1);
        }
        for (std::uint64_t k = 0; k < count_; ++k) {
            std::uint64_t group = k;
            if (launch_.schedule.order == Order::reverse) group = count_ - 1 - k;
            if (launch_.schedule.order == Order::shuffled) group = (first + k * step % count_) % count_;
            place(group);
            poison();
            if (kernel_.entry.meets)
                run_group();
            else
                for (const std::uint16_t lane : order_) fibers_.run_whole(kernel_.entry, fibers_[lane].place);
            if (launch_.counters != nullptr) launch_.counters->lanes += lanes_;
        }
    }

    // Tells every lane where it is, and in which order lanes go.
    void place(std::uint64_t group) {
        const std::uint64_t at[3] = {group % groups_[0], group / groups_[0] % groups_[1],
                                     group / groups_[0] / groups_[1]};
        unsigned size[3], position[3];
        lanes_ = 1;
        for (int d = 0; d < 3; ++d) {
            position[d] = static_cast<unsigned>(at[d]);
            size[d] = std::min(block_[d], size_[d] - position[d] * block_[d]);
            lanes_ *= size[d];
        }
        simd_groups_ = (lanes_ + kMslSimdWidth - 1) / kMslSimdWidth;
        const unsigned full = block_[0] * block_[1] * block_[2];
        unsigned lane = 0;
        for (unsigned z = 0; z < size[2]; ++z)
            for (unsigned y = 0; y < size[1]; ++y)
                for (unsigned x = 0; x < size[0]; ++x, ++lane) {
                    MslFiber& fiber = fibers_[lane];
                    MslPlace& p = fiber.place;
                    const unsigned in_group[3] = {x, y, z};
                    for (int d = 0; d < 3; ++d) {
                        p.group[d] = position[d];
                        p.groups[d] = groups_[d];
                        p.in_group[d] = in_group[d];
                        p.group_size[d] = size[d];
                        p.full_size[d] = block_[d];
                        p.in_grid[d] = position[d] * block_[d] + in_group[d];
                        p.grid_size[d] = size_[d];
                    }
                    p.index = lane;
                    p.simd_lane = lane % kMslSimdWidth;
                    p.simd_group = lane / kMslSimdWidth;
                    p.simd_width = kMslSimdWidth;
                    p.simd_groups = static_cast<unsigned>(simd_groups_);
                    p.full_simd_groups = (full + kMslSimdWidth - 1) / kMslSimdWidth;
                    p.buffers = buffers_.data();
                    p.memories = memories_.data();
                    fiber.state = State::ready;
                    fiber.second = false;
                    fiber.same = 0;
                    fiber.same_line = 0;
                }
        if (order_.size() != lanes_) {
            order_.resize(lanes_);
            std::iota(order_.begin(), order_.end(), std::uint16_t{0});
            if (launch_.schedule.order == Order::reverse)
                for (std::size_t s = 0; s < simd_groups_; ++s) std::ranges::reverse(turn(s));
        }
        if (launch_.schedule.order == Order::shuffled && !kernel_.entry.meets)
            random_.shuffle(std::span(order_));
    }
    // Threadgroup memory holds nothing in the beginning: every float of it is NaN.
    void poison() const {
        for (const MslKernel::Array& array : kernel_.arrays) std::memset(array.data, 0xff, array.bytes);
        for (std::size_t index = 0; index < launch_.threadgroup_lengths.size(); ++index)
            if (memories_[index] != nullptr)
                std::memset(memories_[index], 0xff, (launch_.threadgroup_lengths[index] + 15) / 16 * 16);
    }

    // The lanes of a SIMD-group, in the order of their turns.
    std::span<std::uint16_t> turn(std::size_t simd_group) {
        const std::size_t first = simd_group * kMslSimdWidth;
        return std::span(order_).subspan(first, std::min<std::size_t>(kMslSimdWidth, lanes_ - first));
    }

    void run_group() {
        std::array<std::uint16_t, kMostSimdGroups> going;
        for (bool more = true; more;) {
            std::size_t count = simd_groups_;
            std::iota(going.begin(), going.begin() + static_cast<std::ptrdiff_t>(count), std::uint16_t{0});
            if (launch_.schedule.order == Order::reverse)
                std::reverse(going.begin(), going.begin() + static_cast<std::ptrdiff_t>(count));
            // One SIMD-group up to the barrier and then the next; shuffled ones change at every meeting.
            while (count > 0) {
                const std::size_t chosen = launch_.schedule.order == Order::shuffled
                                               ? random_.below(static_cast<std::uint32_t>(count))
                                               : 0;
                if (run_turn(going[chosen])) continue;
                std::move(going.begin() + static_cast<std::ptrdiff_t>(chosen) + 1,
                          going.begin() + static_cast<std::ptrdiff_t>(count),
                          going.begin() + static_cast<std::ptrdiff_t>(chosen));
                --count;
            }
            more = meet_at_barrier();
        }
    }

    // Gives every lane of a SIMD-group a turn. Whether they may go on at once.
    bool run_turn(std::size_t simd_group) {
        const std::span<std::uint16_t> lanes = turn(simd_group);
        if (launch_.schedule.order == Order::shuffled) random_.shuffle(lanes);
        fibers_.run(kernel_.entry, lanes);
        const std::size_t begin = simd_group * kMslSimdWidth, end = begin + lanes.size();
        const MslFiber& first = fibers_[begin];
        bool collective = false, alike = true;
        for (std::size_t lane = begin; lane < end; ++lane) {
            const MslFiber& fiber = fibers_[lane];
            collective = collective || fiber.state == State::at_collective;
            alike = alike && fiber.state == first.state && fiber.where == first.where &&
                    fiber.bytes == first.bytes;
            if (fiber.same != first.same) fail_same(simd_group, first, fiber);
        }
        if (!collective) return false;
        if (!alike) fail_apart("SIMD-group " + std::to_string(simd_group) + " of ", begin, end);
        hold(fibers_.meeting(simd_group, !first.second), lanes.size(), first.bytes);
        return true;
    }
    void hold(MslMeeting& meeting, std::size_t lanes, unsigned bytes) {
        meeting.lanes = static_cast<unsigned>(lanes);
        meeting.reduced = false;
        // What a lane would bring that is not there: nothing to count on.
        std::memset(meeting.values + lanes * bytes, 0xff, (kMslSimdWidth - lanes) * bytes);
        std::iota(std::begin(meeting.order), std::begin(meeting.order) + lanes,
                  static_cast<unsigned char>(0));
        if (launch_.schedule.shuffle_reductions && launch_.schedule.order == Order::shuffled)
            random_.shuffle(std::span(meeting.order).first(lanes));
        if (launch_.counters != nullptr) ++launch_.counters->collectives;
    }
    // Whether lanes go on behind a barrier, else all have ended.
    bool meet_at_barrier() {
        const MslFiber& first = fibers_[0];
        for (std::size_t lane = 1; lane < lanes_; ++lane) {
            const MslFiber& fiber = fibers_[lane];
            if (fiber.state != first.state || (first.state != State::ended && fiber.where != first.where))
                fail_apart("", 0, lanes_);
        }
        if (first.state == State::ended) return false;
        if (launch_.counters != nullptr) ++launch_.counters->barriers;
        return true;
    }

    // Says where the lanes of a range are that have not met.
    [[noreturn]] void fail_apart(const std::string& who, std::size_t begin, std::size_t end) {
        std::size_t ended = 0;
        const MslFiber* first = nullptr;
        std::string other;
        const auto where = [](const MslFiber& fiber) {
            return "lane " + std::to_string(fiber.place.index) + " waits at the " + name_of(fiber.state) +
                   " of line " + std::to_string(fiber.line);
        };
        // The first that waits at a collective, where there is one: that is the call that the others miss.
        for (std::size_t lane = begin; lane < end; ++lane)
            if (fibers_[lane].state == State::at_collective && first == nullptr) first = &fibers_[lane];
        for (std::size_t lane = begin; lane < end; ++lane) {
            const MslFiber& fiber = fibers_[lane];
            if (fiber.state == State::ended)
                ++ended;
            else if (first == nullptr)
                first = &fiber;
            else if (other.empty() && (fiber.where != first->where || fiber.state != first->state ||
                                       fiber.bytes != first->bytes))
                other = where(fiber);
        }
        if (other.empty()) other = std::to_string(ended) + " have ended";
        fail(who, std::string("come to one ") + name_of(first->state) + ": " + where(*first) + ", " + other);
    }
    [[noreturn]] void fail_same(std::size_t simd_group, const MslFiber& a, const MslFiber& b) {
        const auto where = [](const MslFiber& fiber) {
            return "lane " + std::to_string(fiber.place.index) +
                   (fiber.same_line == 0 ? " none" : " last at line " + std::to_string(fiber.same_line));
        };
        fail("SIMD-group " + std::to_string(simd_group) + " of ",
             "load and store the same matrices of the group: " + where(a) + ", " + where(b));
    }

    std::string fault_text(const MslFibers::FaultGuard& guard) const {
        const MslPlace& at = fibers_.at();
        const std::string begin = "metal-sim: kernel '" + std::string(kernel_.name()) + "', threadgroup " +
                                  text_of(at.group) + ", thread " + text_of(at.in_group) + ": ";
        if (guard.signal() == SIGILL)
            return begin +
                   "undefined behaviour: a signed number that overflows, a shift, an index beyond an array, "
                   "a "
                   "division by 0, a float that its integer does not hold, or a misaligned address";
        // The buffer whose end is the nearest.
        std::string where = "an address of no buffer";
        std::uintptr_t nearest = 1 << 20;
        for (std::size_t index = 0; index < launch_.buffers.size(); ++index) {
            const auto first = reinterpret_cast<std::uintptr_t>(launch_.buffers[index].data);
            const std::uintptr_t end = first + launch_.buffers[index].size;
            if (first == 0) continue;
            const bool behind = guard.address() >= end;
            const std::uintptr_t far = behind ? guard.address() - end : first - guard.address();
            if ((!behind && guard.address() >= first) || far >= nearest) continue;
            nearest = far;
            where = std::to_string(far) + (behind ? " bytes behind the end of" : " bytes before") + " the " +
                    std::to_string(launch_.buffers[index].size) + " bytes at buffer " + std::to_string(index);
        }
        for (std::size_t index = 0; index < launch_.threadgroup_lengths.size(); ++index) {
            const auto first = reinterpret_cast<std::uintptr_t>(memories_[index]);
            const std::uintptr_t end = first + (launch_.threadgroup_lengths[index] + 15) / 16 * 16;
            if (first != 0 && guard.address() >= end && guard.address() - end < GroupMemory::kPage)
                where = std::to_string(guard.address() - end) +
                        " bytes behind the end of threadgroup memory " + std::to_string(index);
        }
        return begin + "page fault: " + where;
    }

    const MslKernel& kernel_;
    const MslLaunch& launch_;
    MslFibers& fibers_;
    Random random_;
    unsigned block_[3], groups_[3], size_[3];  // lanes of a threadgroup, threadgroups, lanes of the grid
    std::uint64_t count_ = 0;                  // of threadgroups
    std::size_t lanes_ = 0, simd_groups_ = 0;  // of the threadgroup that runs
    std::array<void*, kMostIndices> buffers_{}, memories_{};
    std::optional<MslTraffic> traffic_;
    std::vector<std::uint16_t> order_;  // of lanes, SIMD-group by SIMD-group
};

}  // namespace

void run_msl(const MslKernel& kernel, const MslLaunch& launch) { Run(kernel, launch).go(); }

}  // namespace invar::test
