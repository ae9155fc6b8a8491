// SPDX-License-Identifier: Apache-2.0
// Running a kernel: the lanes of a threadgroup are fibers that take turns, each up to its next barrier. When all have had
// theirs, all must wait at the same one or have ended.
//
// A fiber is entered once by makecontext and from then on left and entered by _setjmp and _longjmp, which ask the system for
// nothing. glibc's checked longjmp takes a jump to another stack for a mistake.
#undef _FORTIFY_SOURCE
#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#include "metalsim/msl_library.h"

namespace invar::test {
namespace {

constexpr std::size_t kMostLanes = 1024;
constexpr std::size_t kGuard = 4096, kStack = 256 << 10;  // bytes; a stack that is too small ends the process

struct Fiber {
    enum class State { ready, waits, ended };
    State state = State::ended;
    bool entered = false;
    MslPlace place{};
    const void* where = nullptr;  // the barrier that it waits at
    int line = 0;
    std::jmp_buf inside;
    ucontext_t context;
};

// The fibers of the process, used by one launch at a time.
class Fibers {
public:
    static Fibers& shared() {
        static Fibers fibers;
        return fibers;
    }
    std::mutex& mutex() noexcept { return mutex_; }
    Fiber& operator[](std::size_t lane) { return fibers_[lane]; }
    void use(const MslEntry& kernel) { kernel_ = &kernel; }

    // Lets the fiber run until it waits or ends.
    void resume(Fiber& fiber) {
        current_ = &fiber;
        if (_setjmp(outside_) != 0) return;
        if (fiber.entered) _longjmp(fiber.inside, 1);
        fiber.entered = true;
        ::setcontext(&fiber.context);
    }
    // What waits is given up: its fibers begin anew.
    void give_up(std::size_t lanes) {
        for (std::size_t lane = 0; lane < lanes; ++lane)
            if (fibers_[lane].state != Fiber::State::ended) prepare(lane);
    }
    static void barrier(const void* where, int line) {
        Fiber& fiber = *shared().current_;
        fiber.where = where;
        fiber.line = line;
        shared().leave(fiber, Fiber::State::waits);
    }

private:
    Fibers() : fibers_(kMostLanes) {
        void* const stacks = ::mmap(nullptr, kMostLanes * (kGuard + kStack), PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) throw OutOfMemory("metal-sim: no room for stacks", kMostLanes * kStack, 0);
        stacks_ = static_cast<std::byte*>(stacks);
        for (std::size_t lane = 0; lane < kMostLanes; ++lane) {
            ::mprotect(stacks_ + lane * (kGuard + kStack), kGuard, PROT_NONE);
            prepare(lane);
        }
    }
    void prepare(std::size_t lane) {
        Fiber& fiber = fibers_[lane];
        fiber.state = Fiber::State::ended;
        fiber.entered = false;
        ::getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stacks_ + lane * (kGuard + kStack) + kGuard;
        fiber.context.uc_stack.ss_size = kStack;
        fiber.context.uc_link = nullptr;
        ::makecontext(&fiber.context, &Fibers::body, 0);
    }
    void leave(Fiber& fiber, Fiber::State state) {
        fiber.state = state;
        if (_setjmp(fiber.inside) == 0) _longjmp(outside_, 1);
    }
    // One lane after another, for as long as the process lives.
    static void body() {
        Fibers& fibers = shared();
        for (;;) {
            Fiber& fiber = *fibers.current_;
            fibers.kernel_->run(&fiber.place);
            fibers.leave(fiber, Fiber::State::ended);
        }
    }

    std::mutex mutex_;
    std::vector<Fiber> fibers_;
    std::byte* stacks_ = nullptr;
    const MslEntry* kernel_ = nullptr;
    Fiber* current_ = nullptr;
    std::jmp_buf outside_;
};

class Turns {
public:
    explicit Turns(const MslSchedule& schedule) : schedule_(schedule), random_(schedule.seed) {}
    void arrange(std::vector<std::size_t>& order) {
        std::iota(order.begin(), order.end(), std::size_t{0});
        if (schedule_.order == MslSchedule::Order::reverse) std::reverse(order.begin(), order.end());
        if (schedule_.order == MslSchedule::Order::shuffled)
            std::shuffle(order.begin(), order.end(), random_);
    }

private:
    MslSchedule schedule_;
    std::mt19937_64 random_;
};

struct Sizes {
    unsigned of[3];
    explicit Sizes(const Dim3& d) : of{d.x, d.y, d.z} {}
    std::uint64_t product() const { return std::uint64_t{of[0]} * of[1] * of[2]; }
    // The place of a number, x first.
    unsigned at(std::uint64_t number, int dim) const {
        return static_cast<unsigned>(dim == 0   ? number % of[0]
                                     : dim == 1 ? number / of[0] % of[1]
                                                : number / of[0] / of[1]);
    }
};

// Why the lanes that have had their turn may not go on; empty where they may.
std::string apart(Fibers& fibers, std::size_t lanes) {
    std::size_t ended = 0;
    const Fiber* first = nullptr;
    std::string other;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        const Fiber& fiber = fibers[lane];
        if (fiber.state == Fiber::State::ended) {
            ++ended;
        } else if (first == nullptr) {
            first = &fiber;
        } else if (fiber.where != first->where && other.empty()) {
            other = "lane " + std::to_string(lane) + " waits at the barrier of line " +
                    std::to_string(fiber.line);
        }
    }
    if (first == nullptr || (ended == 0 && other.empty())) return {};
    if (other.empty()) other = std::to_string(ended) + " have ended";
    return "lane " + std::to_string(first->place.index) + " waits at the barrier of line " +
           std::to_string(first->line) + ", " + other;
}

void run_group(Fibers& fibers, const MslEntry& kernel, std::size_t lanes, Turns& turns) {
    // Threadgroup memory holds nothing in the beginning: every float of it is NaN.
    if (kernel.memory_begin != nullptr)
        std::memset(kernel.memory_begin, 0xff,
                    static_cast<std::size_t>(kernel.memory_end - kernel.memory_begin));
    std::vector<std::size_t> order(lanes);
    for (std::size_t lane = 0; lane < lanes; ++lane) fibers[lane].state = Fiber::State::ready;
    for (bool going = true; going;) {
        going = false;
        turns.arrange(order);
        for (const std::size_t lane : order) {
            if (fibers[lane].state == Fiber::State::ended) continue;
            fibers.resume(fibers[lane]);
            going = going || fibers[lane].state != Fiber::State::ended;
        }
        if (const std::string why = apart(fibers, lanes); !why.empty()) {
            const MslPlace& at = fibers[0].place;
            const std::string group = std::to_string(at.group[0]) + "," + std::to_string(at.group[1]) + "," +
                                      std::to_string(at.group[2]);
            fibers.give_up(lanes);
            throw LaunchFailed("metal-sim: kernel '" + std::string(kernel.name) +
                               "': not all lanes of threadgroup " + group + " come to one barrier: " + why);
        }
    }
}

}  // namespace

void run_msl(const MslEntry& kernel, const Dim3& grid, const Dim3& block, std::span<void* const> buffers,
             const MslSchedule& schedule) {
    const auto refuse = [&](const std::string& why) {
        throw InvalidArgument("metal-sim: kernel '" + std::string(kernel.name) + "': " + why);
    };
    const Sizes groups(grid), size(block);
    const std::uint64_t count = groups.product(),
                        most = kernel.most_lanes > 0 ? kernel.most_lanes : kMostLanes;
    if (count == 0 || size.product() == 0) refuse("a size of the launch is 0");
    if (size.of[0] > most || size.of[1] > most || size.of[2] > most || size.product() > most)
        refuse("threadgroups have at most " + std::to_string(most) + " lanes");
    for (unsigned b = 0; b < kernel.binding_count; ++b)
        if (kernel.bindings[b] >= buffers.size() || buffers[kernel.bindings[b]] == nullptr)
            refuse("no buffer is bound to index " + std::to_string(kernel.bindings[b]));

    Fibers& fibers = Fibers::shared();
    const std::lock_guard lock(fibers.mutex());
    fibers.use(kernel);
    const auto lanes = static_cast<std::size_t>(size.product());
    Turns turns(schedule);
    std::vector<std::size_t> order(count);
    turns.arrange(order);
    for (const std::size_t group : order) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            MslPlace& at = fibers[lane].place;
            at.index = static_cast<unsigned>(lane);
            at.buffers = buffers.data();
            for (int d = 0; d < 3; ++d) {
                at.group[d] = groups.at(group, d);
                at.groups[d] = groups.of[d];
                at.in_group[d] = size.at(lane, d);
                at.group_size[d] = size.of[d];
                at.in_grid[d] = at.group[d] * size.of[d] + at.in_group[d];
                at.grid_size[d] = groups.of[d] * size.of[d];
            }
        }
        run_group(fibers, kernel, lanes, turns);
    }
}

MslRuntime msl_runtime_of_this_process() { return {&Fibers::barrier}; }

}  // namespace invar::test
