// SPDX-License-Identifier: Apache-2.0
// The order in which queues run, and how threads wait for them.
#include "metalsim/api/engine.h"

#include <algorithm>
#include <chrono>
#include <exception>

namespace metalsim {
namespace {

using Clock = std::chrono::steady_clock;

double now_s() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

bool done(const CommandBuffer& buffer) { return buffer.status >= MTL::CommandBufferStatusCompleted; }

// Whether the first command buffer of the queue can go on.
bool can_run(const Queue& queue) {
    if (queue.enqueued.empty()) return false;
    const CommandBuffer& first = *queue.enqueued.front();
    if (first.status < MTL::CommandBufferStatusCommitted) return false;
    if (first.next >= first.passes.size()) return true;
    const Pass& pass = first.passes[first.next];
    return pass.kind != Pass::Kind::wait || pass.event->value >= pass.value;
}

void call_handlers(CommandBuffer& buffer, std::vector<BlockRef>& blocks) {
    if (blocks.empty()) return;
    // std::function must be copyable, blocks are not.
    auto shared = std::make_shared<std::vector<BlockRef>>(std::move(blocks));
    blocks.clear();
    call_later([shared, held = Ref<CommandBuffer>(&buffer)] {
        for (const BlockRef& block : *shared) block(static_cast<objc_object*>(held.get()));
        shared->clear();
    });
}

}  // namespace

Engine& Engine::shared() {
    static auto* const engine = new Engine;
    return *engine;
}

void Engine::add(Queue* queue) {
    const Lock lock(mutex_);
    queues_.push_back(queue);
}

void Engine::remove(Queue* queue) {
    const Lock lock(mutex_);
    std::erase(queues_, queue);
}

template <typename Done>
void Engine::run_until(Queue* preferred, const Done& done) {
    for (;;) {
        Garbage garbage;
        Lock lock(mutex_);
        if (done()) return;
        if (!step(preferred, garbage)) stuck(lock, garbage);
    }
}

void Engine::open(Queue* queue) {
    run_until(queue, [&] {
        if (queue->open >= queue->most) {
            const bool any = std::any_of(
                queue->enqueued.begin(), queue->enqueued.end(),
                [](const auto& buffer) { return buffer->status >= MTL::CommandBufferStatusCommitted; });
            if (any) return false;
            validation_error("queue '" + queue->label + "' has " + std::to_string(queue->most) +
                             " command buffers that nobody has committed: one more waits forever");
        }
        ++queue->open;
        return true;
    });
}

void Engine::close(Queue* queue) {
    const Lock lock(mutex_);
    --queue->open;
}

void Engine::enqueue(CommandBuffer* buffer) {
    const Lock lock(mutex_);
    if (buffer->enqueued) return;
    buffer->enqueued = true;
    buffer->status = std::max(buffer->status, MTL::CommandBufferStatusEnqueued);
    buffer->queue->enqueued.emplace_back(buffer);
}

void Engine::commit(CommandBuffer* buffer) {
    enqueue(buffer);
    const Lock lock(mutex_);
    buffer->status = MTL::CommandBufferStatusCommitted;
    changed_.notify_all();
}

void Engine::wait_scheduled(CommandBuffer* buffer) {
    const Lock lock(mutex_);
    for (const Ref<CommandBuffer>& before : buffer->queue->enqueued) {
        if (before->status == MTL::CommandBufferStatusCommitted) {
            before->status = MTL::CommandBufferStatusScheduled;
            call_handlers(*before, before->scheduled);
        }
        if (before.get() == buffer) break;
    }
}

void Engine::wait_completed(CommandBuffer* buffer) {
    metalsim::add(&Counters::waits);
    run_until(buffer->queue.get(), [&] { return done(*buffer); });
}

bool Engine::poll() {
    Garbage garbage;
    const Lock lock(mutex_);
    return ++asked_ % 3 == 0 && step(nullptr, garbage);
}

MTL::CommandBufferStatus Engine::ask_status(CommandBuffer* buffer) {
    {
        const Lock lock(mutex_);
        if (done(*buffer) || buffer->status < MTL::CommandBufferStatusCommitted) return buffer->status;
    }
    poll();
    const Lock lock(mutex_);
    return buffer->status;
}

void Engine::signal(Event* event, std::uint64_t value) {
    const Lock lock(mutex_);
    event->value = value;
    changed_.notify_all();
}

std::uint64_t Engine::ask_value(Event* event) {
    poll();
    const Lock lock(mutex_);
    return event->value;
}

bool Engine::wait_value(Event* event, std::uint64_t value, std::uint64_t milliseconds) {
    metalsim::add(&Counters::waits);
    constexpr std::uint64_t kLongest = 3'600'000;
    const auto until = Clock::now() + std::chrono::milliseconds(std::min(milliseconds, kLongest));
    for (;;) {
        Garbage garbage;
        Lock lock(mutex_);
        if (event->value >= value) return true;
        if (!step(nullptr, garbage) && changed_.wait_until(lock, until) == std::cv_status::timeout &&
            event->value < value)
            return false;
    }
}

void Engine::stuck(Lock& lock, Garbage& garbage) {
    const auto patience = std::chrono::duration<double>(device_options().event_patience_s);
    const bool woken = changed_.wait_for(lock, patience, [&] {
        return std::any_of(queues_.begin(), queues_.end(),
                           [](const Queue* queue) { return can_run(*queue); });
    });
    if (woken) return;
    for (Queue* const queue : std::vector<Queue*>(queues_)) {
        if (queue->enqueued.empty()) continue;
        CommandBuffer& first = *queue->enqueued.front();
        if (first.status < MTL::CommandBufferStatusCommitted) continue;
        const Pass& pass = first.passes[first.next];
        const Pool pool;
        finish(first,
               Ref(metalsim::error_of(Failure::timeout,
                                      "it waits for value " + std::to_string(pass.value) + " of event '" +
                                          pass.event->label + "', which has " +
                                          std::to_string(pass.event->value),
                                      first)),
               garbage);
    }
}

bool Engine::step(Queue* preferred, Garbage& garbage) {
    std::vector<Queue*> ready;
    if (preferred != nullptr && can_run(*preferred)) ready.push_back(preferred);
    for (Queue* const queue : queues_)
        if (queue != preferred && can_run(*queue)) ready.push_back(queue);
    if (ready.empty()) return false;
    CommandBuffer& buffer = *ready[choose(ready.size())]->enqueued.front();
    const Ref<CommandBuffer> held(&buffer);
    run_pass(buffer, garbage);
    garbage.emplace_back(&buffer);
    changed_.notify_all();
    return true;
}

void Engine::run_pass(CommandBuffer& buffer, Garbage& garbage) {
    const Pool pool;
    if (buffer.next == 0 && buffer.begin_s == 0) {
        buffer.begin_s = now_s();
        if (buffer.status == MTL::CommandBufferStatusCommitted) {
            buffer.status = MTL::CommandBufferStatusScheduled;
            call_handlers(buffer, buffer.scheduled);
        }
        if (const auto failure = take_command_buffer_failure(buffer.label)) {
            finish(buffer, Ref(error_of(*failure, "", buffer)), garbage);
            return;
        }
    }
    if (buffer.next < buffer.passes.size()) {
        const Pass& pass = buffer.passes[buffer.next];
        try {
            if (pass.kind == Pass::Kind::signal) pass.event->value = pass.value;
            if (pass.kind == Pass::Kind::encoder) {
                metalsim::add(&Counters::encoders);
                run_operations(pass);
            }
        } catch (const invar::test::MslPageFault& fault) {
            finish(buffer, Ref(error_of(Failure::page_fault, fault.what(), buffer)), garbage);
            return;
        } catch (const std::exception& fault) {
            finish(buffer, Ref(error_of(Failure::internal, fault.what(), buffer)), garbage);
            return;
        }
        ++buffer.next;
    }
    if (buffer.next == buffer.passes.size()) finish(buffer, {}, garbage);
}

void Engine::finish(CommandBuffer& buffer, Ref<Error> error, Garbage& garbage) {
    metalsim::add(&Counters::command_buffers);
    buffer.end_s = now_s();
    buffer.status = error ? MTL::CommandBufferStatusError : MTL::CommandBufferStatusCompleted;
    buffer.error = std::move(error);
    for (Ref<objc_object>& kept : buffer.kept) garbage.push_back(std::move(kept));
    buffer.kept.clear();
    buffer.passes.clear();
    buffer.next = 0;
    --buffer.queue->open;
    call_handlers(buffer, buffer.completed);
    garbage.emplace_back(&buffer);
    std::erase_if(buffer.queue->enqueued,
                  [&](const Ref<CommandBuffer>& other) { return other.get() == &buffer; });
}

}  // namespace metalsim
