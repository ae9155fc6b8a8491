// SPDX-License-Identifier: Apache-2.0
// Every task runs exactly once, exceptions come back to the caller, nested and concurrent use work, and workers that
// went to sleep wake again.
#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace invar {
namespace {

TEST(ThreadPool, EveryTaskOnce) {
    ThreadPool pool(4);
    EXPECT_EQ(pool.threads(), 4);
    for (int round = 0; round < 300; ++round) {
        const int tasks = round * 7 % 101;
        std::vector<std::atomic<int>> hits(static_cast<std::size_t>(tasks) + 1);
        pool.parallel_for(tasks, [&](std::int64_t i) { hits[static_cast<std::size_t>(i)].fetch_add(1); });
        for (int i = 0; i < tasks; ++i) ASSERT_EQ(hits[static_cast<std::size_t>(i)].load(), 1);
    }
}

TEST(ThreadPool, ExceptionComesBackAndPoolLives) {
    ThreadPool pool(3);
    for (int round = 0; round < 20; ++round) {
        EXPECT_THROW(pool.parallel_for(50,
                                       [](std::int64_t i) {
                                           if (i == 17) throw std::runtime_error("task");
                                       }),
                     std::runtime_error);
        std::atomic<int> sum{0};
        pool.parallel_for(10, [&](std::int64_t i) { sum += static_cast<int>(i); });
        EXPECT_EQ(sum.load(), 45);
    }
}

TEST(ThreadPool, NestedRunsInline) {
    ThreadPool pool(3);
    std::atomic<int> count{0};
    pool.parallel_for(8,
                      [&](std::int64_t) { pool.parallel_for(5, [&](std::int64_t) { count.fetch_add(1); }); });
    EXPECT_EQ(count.load(), 40);
}

TEST(ThreadPool, CallersFromSeveralThreads) {
    ThreadPool pool(2);
    std::atomic<int> count{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 4; ++c)
        callers.emplace_back([&] {
            for (int i = 0; i < 200; ++i) pool.parallel_for(6, [&](std::int64_t) { count.fetch_add(1); });
        });
    for (auto& t : callers) t.join();
    EXPECT_EQ(count.load(), 4 * 200 * 6);
}

TEST(ThreadPool, WakesAfterSleep) {
    ThreadPool pool(3);
    for (int i = 0; i < 5; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        std::atomic<int> count{0};
        pool.parallel_for(9, [&](std::int64_t) { count.fetch_add(1); });
        EXPECT_EQ(count.load(), 9);
    }
}

}  // namespace
}  // namespace invar
