// SPDX-License-Identifier: Apache-2.0
// One job at a time: the caller publishes it under a new epoch, works along, and waits until every task is done and
// every worker that entered has left (the job lives on the caller's stack).
#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "base/env.h"

namespace invar {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

inline void cpu_relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int usable_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

// Set while this thread runs a task: a nested parallel_for then runs inline.
thread_local bool inside_task = false;

}  // namespace

struct ThreadPool::State {
    std::mutex submit;  // serialises parallel_for calls
    std::mutex mutex;   // guards sleeping
    std::condition_variable wake;
    std::atomic<std::uint64_t> epoch{0};  // odd while a job is open
    std::atomic<int> inside{0};           // workers that may touch the job
    std::atomic<int> sleepers{0};
    std::atomic<bool> stop{false};
    std::atomic<std::int64_t> next{0};
    std::int64_t tasks = 0;
    const FunctionRef<void(std::int64_t)>* body = nullptr;
    std::mutex error_mutex;
    std::exception_ptr error;
    std::vector<std::thread> workers;

    void work() {
        inside_task = true;
        for (;;) {
            const std::int64_t task = next.fetch_add(1, std::memory_order_relaxed);
            if (task >= tasks) break;
            try {
                (*body)(task);
            } catch (...) {
                const std::lock_guard lock(error_mutex);
                if (!error) error = std::current_exception();
            }
        }
        inside_task = false;
    }

    void run_worker() {
        std::uint64_t seen = 0;
        for (;;) {
            auto spin_end = std::chrono::steady_clock::now() + kSpin;
            int polls = 0;
            std::uint64_t now = epoch.load(std::memory_order_acquire);
            while ((now == seen || now % 2 == 0) && !stop.load(std::memory_order_relaxed)) {
                cpu_relax();
                if (++polls % 64 == 0 && std::chrono::steady_clock::now() > spin_end) {
                    std::unique_lock lock(mutex);
                    sleepers.fetch_add(1);
                    wake.wait(lock, [&] {
                        now = epoch.load();
                        return stop.load() || (now != seen && now % 2 == 1);
                    });
                    sleepers.fetch_sub(1);
                    break;
                }
                now = epoch.load(std::memory_order_acquire);
            }
            if (stop.load(std::memory_order_relaxed)) return;
            seen = now;
            inside.fetch_add(1);
            // The job may have closed between the look and the entry; the caller waits for inside == 0 after closing.
            if (epoch.load() == now) work();
            inside.fetch_sub(1);
        }
    }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
    for (int i = 1; i < threads; ++i) state_->workers.emplace_back([s = state_.get()] { s->run_worker(); });
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stop.store(true);
    }
    state_->wake.notify_all();
    for (std::thread& t : state_->workers) t.join();
}

int ThreadPool::threads() const noexcept { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(std::int64_t tasks, FunctionRef<void(std::int64_t)> body) {
    if (tasks <= 0) return;
    State& s = *state_;
    if (tasks == 1 || inside_task || s.workers.empty()) {
        for (std::int64_t i = 0; i < tasks; ++i) body(i);
        return;
    }
    const std::lock_guard submit(s.submit);
    s.tasks = tasks;
    s.body = &body;
    s.error = nullptr;
    s.next.store(0, std::memory_order_relaxed);
    s.epoch.fetch_add(1);  // seq_cst: pairs with the sleepers' count, so that no worker sleeps through a job
    if (s.sleepers.load() > 0) {
        { const std::lock_guard lock(s.mutex); }
        s.wake.notify_all();
    }
    s.work();
    s.epoch.fetch_add(1);  // closed: a worker that has not entered yet finds another epoch and leaves
    while (s.inside.load() != 0) cpu_relax();
    if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

ThreadPool& ThreadPool::shared() {
    static ThreadPool pool(static_cast<int>(env_int("INVAR_THREADS", usable_cores(), 1, 1024)));
    return pool;
}

}  // namespace invar
