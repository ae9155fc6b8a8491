// SPDX-License-Identifier: Apache-2.0
// Stacks and how to change them, the calls of a compiled source, and signals.
//
// glibc's checked longjmp takes a jump to another stack for a mistake.
#undef _FORTIFY_SOURCE
#include "metalsim/msl_fibers.h"

#include "metalsim/msl_traffic.h"

#include <cstring>

#include <pthread.h>
#include <sys/mman.h>

namespace invar::test {
namespace {

constexpr std::size_t kGuard = 4096, kStack = 256 << 10;  // bytes
constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL};

MslFibers::FaultGuard* g_guard = nullptr;  // of the one launch that runs
pthread_t g_thread;                        // that runs it

}  // namespace

#if defined(__x86_64__)
// What a function must keep goes onto the stack that is left, and comes from the one that is entered. Some 2 ns; swapcontext
// would ask the system for the mask of signals.
extern "C" void invar_msl_switch(void** from, void* to);
__asm__(R"(
    .text
    .hidden invar_msl_switch
    .globl invar_msl_switch
    .type invar_msl_switch, @function
invar_msl_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size invar_msl_switch, .-invar_msl_switch
)");
namespace {
void change(MslContext& from, MslContext& to) { invar_msl_switch(&from, to); }
void begin(MslContext& context, std::byte* stack, std::size_t lane, void (*body)()) {
    // Lanes use the upper ends of their stacks, which must not all fall into the same lines of the cache.
    std::byte* const end = stack + kStack - lane * 448 % 4096;
    // On entry a function finds its stack 8 bytes off a multiple of 16.
    void** const top = reinterpret_cast<void**>(end) - 2;
    top[1] = nullptr;
    top[0] = reinterpret_cast<void*>(body);
    for (int k = 1; k <= 6; ++k) top[-k] = nullptr;
    context = top - 6;
}
}  // namespace
#else
namespace {
void change(MslContext& from, MslContext& to) { ::swapcontext(&from, &to); }
void begin(MslContext& context, std::byte* stack, std::size_t, void (*body)()) {
    ::getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = kStack;
    context.uc_link = nullptr;
    ::makecontext(&context, body, 0);
}
}  // namespace
#endif

MslFibers& MslFibers::shared() {
    static MslFibers fibers;
    return fibers;
}

MslFibers::MslFibers() : fibers_(kMostLanes), meetings_(2 * kMostSimdGroups) {
    void* const stacks = ::mmap(nullptr, kMostLanes * (kGuard + kStack), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) throw OutOfMemory("metal-sim: no room for stacks", kMostLanes * kStack, 0);
    stacks_ = static_cast<std::byte*>(stacks);
    for (std::size_t lane = 0; lane < kMostLanes; ++lane) {
        ::mprotect(stacks_ + lane * (kGuard + kStack), kGuard, PROT_NONE);
        prepare(lane);
    }
}

void MslFibers::prepare(std::size_t lane) {
    fibers_[lane].state = MslFiber::State::ended;
    begin(fibers_[lane].context, stacks_ + lane * (kGuard + kStack) + kGuard, lane, &MslFibers::body);
}

void MslFibers::give_up(std::size_t lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane)
        if (fibers_[lane].state != MslFiber::State::ended) prepare(lane);
}

MslFiber* MslFibers::next() {
    while (gone_ < turn_.size()) {
        MslFiber& fiber = fibers_[turn_[gone_++]];
        if (fiber.state != MslFiber::State::ended) return &fiber;
    }
    return nullptr;
}

void MslFibers::run(const MslEntry& entry, std::span<const std::uint16_t> lanes) {
    entry_ = &entry;
    turn_ = lanes;
    gone_ = 0;
    current_ = next();
    if (current_ != nullptr) change(outside_, current_->context);
}

// To the next lane at once where there is one: half the changes that a way through run would take.
void MslFibers::leave(MslFiber& fiber) {
    current_ = next();
    change(fiber.context, current_ != nullptr ? current_->context : outside_);
}

// One lane after another, for as long as the process lives.
void MslFibers::body() {
    MslFibers& fibers = shared();
    for (;;) {
        MslFiber& fiber = *fibers.current_;
        fibers.entry_->run(&fiber.place);
        fiber.state = MslFiber::State::ended;
        fibers.leave(fiber);
    }
}

void MslFibers::barrier(const void* where, int line) {
    MslFibers& fibers = shared();
    MslFiber& fiber = *fibers.current_;
    fiber.state = MslFiber::State::at_barrier;
    fiber.where = where;
    fiber.line = line;
    fibers.leave(fiber);
}

MslMeeting* MslFibers::meet(const void* where, int line, const void* value, unsigned bytes) {
    MslFibers& fibers = shared();
    MslFiber& fiber = *fibers.current_;
    fiber.state = MslFiber::State::at_collective;
    fiber.where = where;
    fiber.line = line;
    fiber.bytes = bytes;
    // Two meetings take turns: while a lane still reads the one, others may have come to the next.
    MslMeeting& meeting = fibers.meeting(fiber.place.simd_group, fiber.second);
    fiber.second = !fiber.second;
    if (bytes > 0) std::memcpy(meeting.values + std::size_t{fiber.place.simd_lane} * bytes, value, bytes);
    fibers.leave(fiber);
    return &meeting;
}

unsigned MslFibers::simd_lane() { return shared().current_->place.simd_lane; }

void MslFibers::same(int line, unsigned long number) {
    MslFiber& fiber = *shared().current_;
    fiber.same = (fiber.same ^ (number + static_cast<unsigned long>(line))) * 0x9e3779b97f4a7c15ull;
    fiber.same_line = line;
}

MslFibers::FaultGuard::FaultGuard() : stack_(64 << 10) {
    stack_t stack{};
    stack.ss_sp = stack_.data();
    stack.ss_size = stack_.size();
    ::sigaltstack(&stack, &stack_before_);
    g_guard = this;
    g_thread = ::pthread_self();
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    action.sa_sigaction = &FaultGuard::handle;
    for (int k = 0; k < 3; ++k) ::sigaction(kSignals[k], &action, &before_[k]);
}

MslFibers::FaultGuard::~FaultGuard() {
    for (int k = 0; k < 3; ++k) ::sigaction(kSignals[k], &before_[k], nullptr);
    ::sigaltstack(&stack_before_, nullptr);
    g_guard = nullptr;
}

void MslFibers::FaultGuard::handle(int signal, siginfo_t* info, void*) {
    const MslFibers& fibers = shared();
    const bool in_lane = fibers.current_ != nullptr || fibers.whole_ != nullptr;
    if (g_guard == nullptr || ::pthread_equal(::pthread_self(), g_thread) == 0 || !in_lane) {
        // The same instruction runs again, and ends as it would have.
        if (g_guard != nullptr)
            for (int k = 0; k < 3; ++k)
                if (kSignals[k] == signal) ::sigaction(signal, &g_guard->before_[k], nullptr);
        return;
    }
    g_guard->signal_ = signal;
    g_guard->address_ = reinterpret_cast<std::uintptr_t>(info->si_addr);
    siglongjmp(g_guard->back, 1);
}

MslRuntime msl_runtime_of_this_process() {
    return {&MslFibers::barrier, &MslFibers::meet, &MslFibers::simd_lane, &MslFibers::same,
            &count_msl_access};
}

}  // namespace invar::test
