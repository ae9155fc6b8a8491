// SPDX-License-Identifier: Apache-2.0
// The thread that calls handlers. As with Metal it is none of the program's own, and may call after the program has gone on.
#include <condition_variable>
#include <deque>
#include <thread>

#include "metalsim/api/engine.h"

namespace metalsim {
namespace {

struct Later {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> handlers;
    bool busy = false, started = false;

    void run() {
        for (;;) {
            std::unique_lock lock(mutex);
            busy = false;
            changed.notify_all();
            changed.wait(lock, [&] { return !handlers.empty(); });
            std::function<void()> handler = std::move(handlers.front());
            handlers.pop_front();
            busy = true;
            lock.unlock();
            const Pool pool;
            handler();
            handler = nullptr;
        }
    }
};
Later& later() {
    static auto* const later = new Later;
    return *later;
}

}  // namespace

void call_later(std::function<void()> handler) {
    const std::lock_guard lock(later().mutex);
    later().handlers.push_back(std::move(handler));
    if (!later().started) std::thread([] { later().run(); }).detach();
    later().started = true;
    later().changed.notify_all();
}

void finish_handlers() {
    std::unique_lock lock(later().mutex);
    later().changed.wait(lock, [] { return later().handlers.empty() && !later().busy; });
}

std::map<std::string, long> live_objects() {
    finish_handlers();
    return live_objects_by_class();
}

}  // namespace metalsim
