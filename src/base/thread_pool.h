// SPDX-License-Identifier: Apache-2.0
// The one pool of worker threads. Work is cut into tasks by its shape, never by the number of threads, so results do
// not depend on how many threads there are; threads take tasks in any order. Workers spin for some 50 us after their
// last task (a decode step is a string of short tasks) and then sleep.
#pragma once

#include <cstdint>
#include <memory>

#include <invar/export.h>

#include "base/function_ref.h"

namespace invar {

class INVAR_API ThreadPool {
public:
    // threads: number of threads that work on a parallel_for, the caller included; at least 1.
    explicit ThreadPool(int threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const noexcept;
    // Calls body(task) once for each task in [0, tasks) and returns when all are done. The first exception thrown by a
    // body is rethrown here after the others have finished. Calls from several threads are serialised; a call from
    // inside a body runs inline. No heap allocation.
    void parallel_for(std::int64_t tasks, FunctionRef<void(std::int64_t task)> body);

    // The pool shared by the process: INVAR_THREADS threads, by default one for each core that this process may use.
    static ThreadPool& shared();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace invar
