// SPDX-License-Identifier: Apache-2.0
// Generation, and what happens when the device fails in the course of it. The tokens of every sequence are kept on the host, so
// whatever a device held can be computed again: by the same device, by it without fusion, or by the cpu.
#include <invar/error.h>

#include <algorithm>

#include "device/allocator.h"
#include "device/device.h"
#include "device/memory_log.h"
#include "device/recovery.h"
#include "nn/session_run.h"

namespace invar {

struct Session::Impl {
    std::shared_ptr<const Model> model;
    const Model::Impl& m;
    const SessionOptions options;
    const std::int64_t capacity;
    std::unique_ptr<nn::SessionRun> home;   // on the model's device; null where that could not be made
    std::unique_ptr<nn::SessionRun> host;   // on the cpu, once home has failed
    nn::SessionRun* current = nullptr;      // which of them goes on; null: none could be made again
    std::int64_t chunk = 0;                 // of the one that went on last
    std::vector<std::size_t> prompt_sizes;  // of each sequence
    std::vector<SamplingOptions> sampling;  // of each sequence
    std::vector<std::vector<std::int32_t>>
        histories;            // of each sequence: its prompt and what was sampled so far
    std::int64_t length = 0;  // of the longest sequence
    bool started = false, degraded = false;

    Impl(std::shared_ptr<const Model> owner, const Model::Impl& impl, const SessionOptions& o,
         std::int64_t size)
        : model(std::move(owner)), m(impl), options(o), capacity(size) {
        make_home("a session");
    }

    // The session on the model's device, or where that fails on the cpu.
    void make_home(const char* what) {
        const auto make = [&] { home = std::make_unique<nn::SessionRun>(model, m, options, capacity); };
        if (recovery() == Recovery::off) {
            make();
        } else {
            try {
                make();
            } catch (const Error& e) {
                if (!recoverable(e)) throw;
                const bool no_room = e.kind() == ErrorKind::kOutOfMemory;
                if (no_room) m.device->allocator().trim();
                const auto restored = [&] {
                    m.restore();
                    make();
                };
                const auto on_host = [&] { make_host(); };
                std::vector<Way> ways;
                if (m.lost())
                    ways.push_back({Rung::restored, restored});
                else if (no_room || e.kind() == ErrorKind::kDeviceLost ||
                         e.kind() == ErrorKind::kLaunchFailed)
                    ways.push_back({no_room ? Rung::trimmed : Rung::replayed, make});
                if (m.has_stand_in()) ways.push_back({Rung::host, on_host});
                climb(m.device->name(), what, e, ways);
            }
        }
        go_on_with(home ? *home : *host);
    }
    void go_on_with(nn::SessionRun& run) {
        current = &run;
        chunk = run.chunk();
    }
    const nn::SessionRun& run() const {
        if (!current)
            throw DeviceLost(m.device->name() + ": the session was lost with its device; start it again",
                             true);
        return *current;
    }
    void make_host() {
        if (host) return;
        const std::shared_ptr<const Model> stand_in = m.stand_in();
        host = std::make_unique<nn::SessionRun>(stand_in, Model::Impl::of(*stand_in), options, capacity);
    }

    // The tokens that follow the histories, computed from their beginning on the cpu.
    std::vector<std::int32_t> begin_on_host(const std::function<void(std::int64_t)>& progress) {
        make_host();
        go_on_with(*host);
        degraded = true;
        return host->begin(histories, sampling, progress);
    }
    // Whether the cpu can go on for the device that runs now.
    bool can_move() const { return current != host.get() && m.has_stand_in(); }

    // Whether the device is there, but not what the session held in its memory.
    bool lost() const { return current == home.get() && (home->lost() || m.lost()); }
    void restore_home() {
        current = nullptr;
        home.reset();  // first, so that there is room for the new weights
        m.restore();
        home = std::make_unique<nn::SessionRun>(model, m, options, capacity);
        go_on_with(*home);
    }
    // The next tokens after a loss: everything once more, step by step as it was, so that the bits are the same.
    void step_restored(std::span<std::int32_t> next, bool more) {
        restore_home();
        std::vector<std::vector<std::int32_t>> so_far = histories;
        for (std::size_t r = 0; r < so_far.size(); ++r) so_far[r].resize(prompt_sizes[r]);
        std::vector<std::int32_t> tokens = home->begin(so_far, sampling, {});
        const auto add = [&] {
            for (std::size_t r = 0; r < so_far.size(); ++r)
                so_far[r].push_back(histories[r][so_far[r].size()]);
        };
        for (add(); so_far[0].size() < histories[0].size(); add()) home->step(so_far, tokens, false);
        home->step_anew(histories, next, more);
    }
};

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options) {
    const Model::Impl& m = *model->impl_;
    const MemoryTag tag("session: cache and sampling");
    const std::int64_t capacity = options.capacity > 0 ? options.capacity : m.info.context;
    m.check_capacity(capacity);
    if (options.sequences < 1 || options.sequences > 4096)
        throw InvalidArgument("a session of " + std::to_string(options.sequences) +
                              " sequences; 1 to 4096 are possible");
    if (options.prefill_chunk < 0)
        throw InvalidArgument("a prefill chunk of " + std::to_string(options.prefill_chunk) +
                              " tokens; use at least 1, or 0 for what suits the device");
    impl_ = std::make_unique<Impl>(std::move(model), m, options, capacity);
}
Session::~Session() = default;
std::int64_t Session::length() const noexcept { return impl_->length; }
std::int64_t Session::capacity() const noexcept { return impl_->capacity; }
std::int64_t Session::prefill_chunk() const noexcept { return impl_->chunk; }
bool Session::degraded() const noexcept { return impl_->degraded; }
std::string Session::decode_schedule() const { return impl_->run().decode().to_text(); }
std::string Session::prefill_schedule() const { return impl_->run().prefill().to_text(); }
std::string Session::decode_arena_picture() const {
    return impl_->run().decode().arena_picture("decode step");
}
std::string Session::prefill_arena_picture() const {
    return impl_->run().prefill().arena_picture("prompt chunk");
}

std::vector<std::int32_t> Session::start(std::span<const std::vector<std::int32_t>> prompts,
                                         std::span<const SamplingOptions> sampling,
                                         const std::function<void(std::int64_t, std::int64_t)>& progress) {
    Impl& s = *impl_;
    const auto count = static_cast<std::size_t>(s.options.sequences);
    if (prompts.size() != count || sampling.size() != count)
        throw InvalidArgument("start: " + std::to_string(prompts.size()) + " prompts and " +
                              std::to_string(sampling.size()) + " sampling options for a session of " +
                              std::to_string(count) + " sequences");
    std::int64_t total = 0, longest = 0;
    for (std::size_t r = 0; r < count; ++r) {
        const auto size = static_cast<std::int64_t>(prompts[r].size());
        if (size == 0)
            throw InvalidArgument("prompt " + std::to_string(r) + " is empty; give at least one token");
        if (size > s.capacity)
            throw InvalidArgument("prompt " + std::to_string(r) + " has " + std::to_string(size) +
                                  " tokens; the context holds " + std::to_string(s.capacity));
        s.m.check_tokens(prompts[r]);
        total += size;
        longest = std::max(longest, size);
    }
    s.started = false;
    s.degraded = false;
    s.histories.assign(prompts.begin(), prompts.end());
    for (std::vector<std::int32_t>& h : s.histories) h.reserve(static_cast<std::size_t>(s.capacity) + 1);
    s.sampling.assign(sampling.begin(), sampling.end());
    s.prompt_sizes.clear();
    for (const std::vector<std::int32_t>& prompt : prompts) s.prompt_sizes.push_back(prompt.size());
    // What failed once need not fail again.
    if (!s.home) s.make_home("a session");
    s.go_on_with(s.home ? *s.home : *s.host);
    s.current->set_fused(true);

    std::int64_t done = 0;
    const auto advance = [&](std::int64_t n) {
        done += n;
        if (progress) progress(done, total);
    };
    std::vector<std::int32_t> next;
    // Each way begins with the first token.
    const auto begin = [&] {
        done = 0;
        next = s.current->begin(s.histories, s.sampling, advance);
    };
    try {
        begin();
    } catch (const Error& e) {
        if (recovery() == Recovery::off || !recoverable(e)) throw;
        const auto restored = [&] {
            s.restore_home();
            begin();
        };
        const auto unfused = [&] {
            s.current->set_fused(false);
            begin();
            s.degraded = true;
        };
        const auto on_host = [&] {
            done = 0;
            next = s.begin_on_host(advance);
        };
        const bool no_room = e.kind() == ErrorKind::kOutOfMemory;
        if (no_room) s.m.device->allocator().trim();
        std::vector<Way> ways;
        const bool any = recovery() == Recovery::any;
        if (s.lost())
            ways.push_back({Rung::restored, restored});
        else if (no_room)
            ways.push_back({Rung::trimmed, begin});
        else if (any)
            ways.push_back({Rung::unfused, unfused});
        if (any && s.can_move()) ways.push_back({Rung::host, on_host});
        climb(s.m.device->name(), "the start of a session", e, ways);
    }
    s.degraded = s.degraded || s.current == s.host.get();
    for (std::size_t r = 0; r < count; ++r) s.histories[r].push_back(next[r]);
    s.length = longest;
    s.started = true;
    return next;
}

void Session::step(std::span<std::int32_t> next, bool more) {
    Impl& s = *impl_;
    if (!s.started)
        throw InvalidArgument("step: the session has not been started; call start with a prompt first");
    if (next.size() != static_cast<std::size_t>(s.options.sequences))
        throw InvalidArgument("step: room for " + std::to_string(next.size()) + " tokens, needs " +
                              std::to_string(s.options.sequences));
    if (s.length >= s.capacity)
        throw InvalidArgument("step: the context of " + std::to_string(s.capacity) +
                              " tokens is full; start a session with a larger capacity");
    s.started = false;  // after an error the device is at some other step
    try {
        s.current->step(s.histories, next, more);
    } catch (const Error& e) {
        if (recovery() == Recovery::off || !recoverable(e) || !(s.current->alone() || s.lost())) throw;
        const bool any = recovery() == Recovery::any;
        const auto restored = [&] { s.step_restored(next, more); };
        const auto unfused = [&] {
            s.current->set_fused(false);
            s.current->step_anew(s.histories, next, more);
            s.degraded = true;
        };
        const auto on_host = [&] { std::ranges::copy(s.begin_on_host({}), next.begin()); };
        std::vector<Way> ways;
        if (s.lost())
            ways.push_back({Rung::restored, restored});
        else if (any)
            ways.push_back({Rung::unfused, unfused});
        if (any && s.can_move()) ways.push_back({Rung::host, on_host});
        climb(s.m.device->name(), "a step", e, ways);
    }
    for (std::size_t r = 0; r < s.histories.size(); ++r) s.histories[r].push_back(next[r]);
    ++s.length;
    s.started = true;
}

std::vector<std::int32_t> Session::step() {
    std::vector<std::int32_t> next(static_cast<std::size_t>(impl_->options.sequences));
    step(next);
    return next;
}

}  // namespace invar
