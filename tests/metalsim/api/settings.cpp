// SPDX-License-Identifier: Apache-2.0
// The one state behind control.h.
#include "metalsim/api/settings.h"

#include <cstdlib>
#include <mutex>

#include "metalsim/objc/runtime.h"

namespace metalsim {
namespace {

Schedule schedule_of_environment() {
    const char* const text = std::getenv("INVAR_METALSIM_SCHEDULE");
    const std::string order = text == nullptr ? "" : text;
    if (order == "forward") return {Order::forward, 0};
    if (order == "reverse") return {Order::reverse, 0};
    const std::size_t colon = order.find(':');
    return {Order::shuffled,
            colon == std::string::npos ? 0 : std::strtoull(order.c_str() + colon + 1, nullptr, 10)};
}

struct State {
    std::mutex mutex;
    Schedule schedule = schedule_of_environment();
    std::mt19937_64 random{schedule.seed};
    std::uint64_t dispatches = 0;
    DeviceOptions options;
    Counters counters;
    std::map<unsigned, Failure> numbered;  // 1: the next
    std::map<std::string, Failure> labelled;
    std::map<unsigned, std::string> libraries;
    std::map<unsigned, bool> allocations, archives;
    bool removed = false, hazards = true;
    std::vector<std::string> signposts;
    std::vector<CaptureRecord> captures;
    bool capturing = false;  // the last of them
};
State& state() {
    static auto* const state = new State;
    return *state;
}

// What is due at 1; the others come one nearer.
template <typename T>
std::optional<T> take(std::map<unsigned, T>& numbered) {
    std::optional<T> due;
    std::map<unsigned, T> nearer;
    for (auto& [number, what] : numbered) {
        if (number == 1)
            due = std::move(what);
        else
            nearer.emplace(number - 1, std::move(what));
    }
    numbered = std::move(nearer);
    return due;
}

}  // namespace

void add(std::uint64_t Counters::*counter, std::uint64_t amount) {
    const std::lock_guard lock(state().mutex);
    state().counters.*counter += amount;
}

std::optional<Failure> take_command_buffer_failure(const std::string& label) {
    const std::lock_guard lock(state().mutex);
    std::optional<Failure> failure = take(state().numbered);
    if (const auto named = state().labelled.find(label); named != state().labelled.end()) {
        failure = named->second;
        state().labelled.erase(named);
    }
    if (failure == Failure::device_removed) state().removed = true;
    if (state().removed) failure = Failure::device_removed;
    return failure;
}

std::optional<std::string> take_library_failure() {
    const std::lock_guard lock(state().mutex);
    return take(state().libraries);
}

bool take_archive_failure() {
    const std::lock_guard lock(state().mutex);
    return take(state().archives).has_value();
}

bool take_allocation_failure() {
    const std::lock_guard lock(state().mutex);
    return take(state().allocations).has_value() || state().removed;
}

bool device_removed() {
    const std::lock_guard lock(state().mutex);
    return state().removed;
}

void note_signpost(const std::string& text) {
    const std::lock_guard lock(state().mutex);
    state().signposts.push_back(text);
}

std::vector<std::string> take_signposts() {
    const std::lock_guard lock(state().mutex);
    return std::exchange(state().signposts, {});
}

bool begin_capture(const std::string& file) {
    const std::lock_guard lock(state().mutex);
    if (state().capturing) return false;
    state().captures.push_back({file});
    state().capturing = true;
    return true;
}

void end_capture() {
    const std::lock_guard lock(state().mutex);
    if (state().capturing) state().captures.back().ended = true;
    state().capturing = false;
}

bool capturing() {
    const std::lock_guard lock(state().mutex);
    return state().capturing;
}

void note_commit() {
    const std::lock_guard lock(state().mutex);
    if (state().capturing) ++state().captures.back().command_buffers;
}

std::vector<CaptureRecord> captures() {
    const std::lock_guard lock(state().mutex);
    return state().captures;
}

bool hazards_checked() {
    const std::lock_guard lock(state().mutex);
    return state().hazards;
}

std::size_t choose(std::size_t bound) {
    const std::lock_guard lock(state().mutex);
    switch (state().schedule.order) {
        case Order::forward: return 0;
        case Order::reverse: return bound - 1;
        case Order::shuffled: break;
    }
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(state().random);
}

Schedule schedule_of_dispatch() {
    const std::lock_guard lock(state().mutex);
    return {state().schedule.order, state().schedule.seed + state().dispatches++};
}

void set_schedule(const Schedule& schedule) {
    const std::lock_guard lock(state().mutex);
    state().schedule = schedule;
    state().random.seed(schedule.seed);
    state().dispatches = 0;
}

DeviceOptions device_options() {
    const std::lock_guard lock(state().mutex);
    return state().options;
}

void set_device_options(const DeviceOptions& options) {
    install_classes();
    offer_residency_sets(options.residency_sets);
    const std::lock_guard lock(state().mutex);
    state().options = options;
}

void fail_command_buffer(unsigned number, Failure failure) {
    const std::lock_guard lock(state().mutex);
    state().numbered[number] = failure;
}

void fail_command_buffer(const std::string& label, Failure failure) {
    const std::lock_guard lock(state().mutex);
    state().labelled[label] = failure;
}

void fail_library(unsigned number, const std::string& text) {
    const std::lock_guard lock(state().mutex);
    state().libraries[number] = text;
}

void fail_archive(unsigned number) {
    const std::lock_guard lock(state().mutex);
    state().archives[number] = true;
}

void fail_allocation(unsigned number) {
    const std::lock_guard lock(state().mutex);
    state().allocations[number] = true;
}

Counters counters() {
    const std::lock_guard lock(state().mutex);
    return state().counters;
}

void reset_counters() {
    const std::lock_guard lock(state().mutex);
    state().counters = {};
}

void check_hazards(bool check) {
    const std::lock_guard lock(state().mutex);
    state().hazards = check;
}

void reset() {
    collect_validation_errors(false);
    take_validation_errors();
    set_schedule(schedule_of_environment());
    set_device_options({});
    const std::lock_guard lock(state().mutex);
    state().counters = {};
    state().numbered.clear();
    state().labelled.clear();
    state().libraries.clear();
    state().allocations.clear();
    state().archives.clear();
    state().removed = false;
    state().hazards = true;
    state().signposts.clear();
    state().captures.clear();
    state().capturing = false;
}

}  // namespace metalsim
