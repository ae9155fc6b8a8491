// SPDX-License-Identifier: Apache-2.0
// The lanes of a threadgroup as fibers: each has a stack of its own and runs until it comes to a meeting or to its end. Here is
// how they are entered and left, and what happens when one does what ends a process; who goes when is in msl_run.cpp.
#pragma once

#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "metalsim/msl_library.h"

namespace invar::test {

constexpr std::size_t kMostLanes = 1024, kMostSimdGroups = kMostLanes / kMslSimdWidth;

// Where a stack was left.
#if defined(__x86_64__)
using MslContext = void*;
#else
using MslContext = ucontext_t;
#endif

struct MslFiber {
    enum class State : std::uint8_t { ready, at_barrier, at_collective, ended };
    State state = State::ended;
    bool second = false;  // which meeting of its SIMD-group is the next one
    int line = 0, same_line = 0;
    unsigned bytes = 0;           // that it brought to a collective
    const void* where = nullptr;  // the call that it waits in
    std::uint64_t same = 0;       // of the calls that all lanes of its SIMD-group must make alike
    MslPlace place{};
    MslContext context{};
};

class MslFibers {
public:
    static MslFibers& shared();
    std::mutex& mutex() noexcept { return mutex_; }  // one launch uses them at a time
    MslFiber& operator[](std::size_t lane) { return fibers_[lane]; }
    MslMeeting& meeting(std::size_t simd_group, bool second) { return meetings_[simd_group * 2 + second]; }

    // Lets lanes run one after another, each until it waits or ends.
    void run(const MslEntry& entry, std::span<const std::uint16_t> lanes);
    // The same of one lane of a kernel that meets nobody, on the stack of the caller.
    void run_whole(const MslEntry& entry, const MslPlace& place) {
        whole_ = &place;
        entry.run(&place);
    }
    // Fibers that have not ended begin anew.
    void give_up(std::size_t lanes);

    // What a signal found, for as long as the object lives; one at a time, around MslFibers::run in the same function:
    //   MslFaultGuard guard;
    //   if (sigsetjmp(guard.back, 1) != 0) ... guard.signal() and guard.address() say what happened
    // SIGSEGV, SIGBUS and SIGILL of other threads, and those of this one outside of a lane, go where they went before.
    class FaultGuard {
    public:
        FaultGuard();
        ~FaultGuard();
        FaultGuard(const FaultGuard&) = delete;
        FaultGuard& operator=(const FaultGuard&) = delete;
        int signal() const noexcept { return signal_; }
        std::uintptr_t address() const noexcept { return address_; }
        sigjmp_buf back;

    private:
        friend class MslFibers;
        static void handle(int signal, siginfo_t* info, void* context);
        volatile int signal_ = 0;
        volatile std::uintptr_t address_ = 0;
        struct sigaction before_[3]{};
        stack_t stack_before_{};
        std::vector<std::byte> stack_;
    };
    // The lane that is running or has been when a signal came.
    const MslPlace& at() const noexcept { return whole_ != nullptr ? *whole_ : current_->place; }
    void forget_whole() noexcept { whole_ = nullptr; }

    static void barrier(const void* where, int line);
    static MslMeeting* meet(const void* where, int line, const void* value, unsigned bytes);
    static unsigned simd_lane();
    static void same(int line, unsigned long number);

private:
    MslFibers();
    void prepare(std::size_t lane);
    void leave(MslFiber& fiber);
    MslFiber* next();
    static void body();

    std::mutex mutex_;
    std::vector<MslFiber> fibers_;
    std::vector<MslMeeting> meetings_;
    std::byte* stacks_ = nullptr;
    const MslEntry* entry_ = nullptr;
    const MslPlace* whole_ = nullptr;
    MslFiber* current_ = nullptr;
    std::span<const std::uint16_t> turn_;
    std::size_t gone_ = 0;  // of turn_
    MslContext outside_{};
};

}  // namespace invar::test
