// SPDX-License-Identifier: Apache-2.0
// When work runs. Nothing runs at commit: it runs in the threads that wait for it, so that a wait that is missing shows as data
// that is not there yet. Who asks instead of waiting (status, signaledValue) makes some progress at every third call. The command
// buffers of a queue run in the order of their commits, one encoder after another; queues are independent of each other but for
// events, and the schedule (control.h) chooses among those that can go on.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "metalsim/api/objects.h"

namespace metalsim {

class Engine {
public:
    static Engine& shared();

    void add(Queue* queue);
    void remove(Queue* queue);
    // Waits until the queue has room for one more command buffer, and takes it.
    void open(Queue* queue);
    void close(Queue* queue);
    void enqueue(CommandBuffer* buffer);
    void commit(CommandBuffer* buffer);
    void wait_scheduled(CommandBuffer* buffer);
    void wait_completed(CommandBuffer* buffer);
    MTL::CommandBufferStatus ask_status(CommandBuffer* buffer);

    void signal(Event* event, std::uint64_t value);
    std::uint64_t ask_value(Event* event);
    bool wait_value(Event* event, std::uint64_t value, std::uint64_t milliseconds);

    std::mutex& mutex() { return mutex_; }

private:
    using Lock = std::unique_lock<std::mutex>;
    using Garbage = std::vector<Ref<objc_object>>;  // released when the lock is not held

    // Runs one pass of some queue; of the preferred one, where the schedule has no other wish. False where nothing can run.
    bool step(Queue* preferred, Garbage& garbage);
    void run_pass(CommandBuffer& buffer, Garbage& garbage);
    void finish(CommandBuffer& buffer, Ref<Error> error, Garbage& garbage);
    // Waits for other threads; false where that has taken too long, and then what waits for an event has been given up.
    void stuck(Lock& lock, Garbage& garbage);
    bool poll();
    template <typename Done>
    void run_until(Queue* preferred, const Done& done);

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Queue*> queues_;
    unsigned asked_ = 0;
};

// Calls handlers one after another on a thread of its own, each in a pool.
void call_later(std::function<void()> handler);

// Runs the operations of an encoder, in an order that its barriers allow. Throws what a kernel throws.
void run_operations(const Pass& pass);
// What Metal's error would be for a failure.
Error* error_of(Failure failure, const std::string& detail, const CommandBuffer& buffer);

}  // namespace metalsim
