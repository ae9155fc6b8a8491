// SPDX-License-Identifier: Apache-2.0
// Generation: prefill in chunks and a decode step, each compiled once. The decode step feeds itself: the sampled token,
// the next position and the next slot are written into its own inputs, so that between steps the host only reads.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>

#include <algorithm>
#include <array>

#include "device/device.h"
#include "device/memory_log.h"
#include "device/recovery.h"
#include "graph/executor.h"
#include "nn/model_impl.h"
#include "tensor/checkpoint.h"

namespace invar {
namespace {

// Enough rows to keep the device's arithmetic busy; beyond that, chunks only take memory.
std::int64_t suitable_chunk(const Device& device) { return device.supports(Feature::native) ? 512 : 4096; }

}  // namespace

struct Session::Impl {
    std::shared_ptr<const Model> model;
    const Model::Impl& m;
    std::int64_t sequences, capacity, chunk;
    nn::KvCache cache;
    Tensor sampling_rows, sampler_memory, rows;    // rows: 0, 1, 2, ... (sequences) i32
    Tensor chunk_tokens, chunk_slots, chunk_rows;  // (chunk) i32
    std::vector<Tensor> decode_inputs;             // tokens, positions, slots (sequences) i32
    std::vector<Tensor> no_outputs;
    Tensor first_token;
    CompiledFunction prefill, prefill_last, decode;
    std::int64_t length = 0;  // of the longest sequence
    std::vector<std::vector<std::int32_t>>
        histories;  // of each sequence: its prompt and what was sampled so far
    bool started = false;
    const std::shared_ptr<graph::Executor> executor;
    std::uint64_t own_work = 0;  // the executor's number when this session last gave it work
    // One sequence on an accelerator: the next step is started before the token of the last one is read, so that the
    // device does not wait for the host. Tokens are then read from the sampler's history, where they stay.
    const bool runs_ahead;
    bool ahead = false;                // the next step has been started
    std::int64_t steps = 0;            // that were started
    std::array<Checkpoint, 2> behind;  // of the last two steps

    Impl(std::shared_ptr<const Model> owner, const Model::Impl& impl, const SessionOptions& o,
         std::int64_t size)
        : model(std::move(owner)),
          m(impl),
          sequences(o.sequences),
          capacity(size),
          chunk(std::min(o.prefill_chunk > 0 ? o.prefill_chunk : suitable_chunk(*impl.device), size)),
          cache(impl, o.sequences, size),
          executor(graph::Executor::of(*impl.device)),
          runs_ahead(o.sequences == 1 && !impl.device->supports(Feature::native)),
          behind{Checkpoint(impl.device), Checkpoint(impl.device)} {
        const auto ints = [&](std::int64_t n) { return Tensor::empty(DType::i32, {n}, m.device, true); };
        chunk_tokens = ints(chunk);
        chunk_slots = ints(chunk);
        chunk_rows = ints(chunk);
        decode_inputs = {ints(sequences), ints(sequences), ints(sequences)};
        no_outputs.resize(3);
        first_token = ints(1);
        rows = arange(0, sequences, 1, DType::i32).to(m.device).eval();
        sampling_rows =
            make_sampling_rows(std::vector<SamplingOptions>(static_cast<std::size_t>(sequences)), m.device);
        sampler_memory = make_sampler_memory(sequences, capacity + 1, m.device);
        compile_prefill();
        compile_decode();
    }

    void compile_prefill() {
        const Dim n = Symbol{0, chunk};
        const std::vector<InputSpec> specs(3, InputSpec{DType::i32, {n}});
        const auto forward = [this](std::span<const Tensor> in, std::vector<State>& states) {
            // Positions are slots: prompts begin at the start of their sequence.
            return m.architecture->hidden({in[0], in[1], {cache.block_table(), in[2], in[1], {}}}, states);
        };
        // Chunks before the last only fill the cache; nothing after the last layer's append is computed.
        prefill = compile(
            [&](std::span<const Tensor> in) {
                std::vector<State> states = cache.states();
                forward(in, states);
                return std::vector<Tensor>{states.back().value()};
            },
            specs, m.device);
        if (sequences == 1)
            prefill_last = compile(
                [&](std::span<const Tensor> in) {
                    std::vector<State> states = cache.states();
                    const Tensor last = forward(in, states).slice(0, n - Dim(1), n);
                    return std::vector<Tensor>{
                        sample(m.architecture->logits(last), sampling_rows, State(sampler_memory))};
                },
                specs, m.device);
    }

    void compile_decode() {
        const std::vector<InputSpec> specs(3, InputSpec{DType::i32, {sequences}});
        decode = compile(
            [&](std::span<const Tensor> in) {
                std::vector<State> states = cache.states();
                const Tensor h =
                    m.architecture->hidden({in[0], in[1], {cache.block_table(), rows, in[2], {}}}, states);
                const Tensor next = sample(m.architecture->logits(h), sampling_rows, State(sampler_memory));
                return std::vector<Tensor>{next, in[1] + 1.0, in[2] + 1.0};
            },
            specs, m.device, {.donations = {{0, 0}, {1, 1}, {2, 2}}});
    }

    void start_step() {
        decode.run(decode_inputs, no_outputs);
        behind[static_cast<std::size_t>(steps++ % 2)].set();
    }
    void step_ahead(std::span<std::int32_t> next, bool more) {
        if (!ahead) start_step();
        ahead = false;
        const Checkpoint& done = behind[static_cast<std::size_t>((steps - 1) % 2)];
        if (more && length + 1 < capacity) {
            start_step();
            ahead = true;
        }
        // The sampler's memory is a length, then the tokens.
        done.read(sampler_memory, static_cast<std::size_t>(length + 2) * sizeof(std::int32_t),
                  std::as_writable_bytes(next));
    }

    // What the next step reads besides the cache, whose rows before it are right, as it would be had no later step run.
    void set_step() {
        std::vector<std::int32_t> tokens, slots;
        for (const std::vector<std::int32_t>& history : histories) {
            tokens.push_back(history.back());
            slots.push_back(static_cast<std::int32_t>(history.size()) - 1);
        }
        put(decode_inputs[0], tokens);
        put(decode_inputs[1], slots);
        put(decode_inputs[2], slots);
    }
    void set_histories() {
        for (std::size_t r = 0; r < histories.size(); ++r)
            set_sampler_history(sampler_memory, sequences, static_cast<std::int64_t>(r), histories[r]);
    }

    static void put(const Tensor& t, std::span<const std::int32_t> values) { t.write(std::as_bytes(values)); }

    // Computes tokens[from, to) of one sequence; the last chunk also samples when sampling is asked for.
    void run_prompt(std::span<const std::int32_t> tokens, std::int32_t row, bool sampling,
                    const std::function<void(std::int64_t)>& progress) {
        const auto size = static_cast<std::int64_t>(tokens.size());
        std::vector<std::int32_t> slots, row_of;
        for (std::int64_t at = 0; at < size; at += chunk) {
            const std::int64_t n = std::min(chunk, size - at);
            slots.clear();
            for (std::int64_t i = 0; i < n; ++i) slots.push_back(static_cast<std::int32_t>(at + i));
            row_of.assign(static_cast<std::size_t>(n), row);
            const Tensor in[] = {chunk_tokens.slice(0, 0, n), chunk_slots.slice(0, 0, n),
                                 chunk_rows.slice(0, 0, n)};
            put(in[0], tokens.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)));
            put(in[1], slots);
            put(in[2], row_of);
            const bool last = at + n == size && sampling;
            const CompiledFunction& f = last ? prefill_last : prefill;
            const auto run = [&] {
                f.run(in, std::span(last ? &first_token : no_outputs.data(), 1));
                f.synchronize();
            };
            executor->settle();  // what failed before is not this chunk's to mend
            replay_once(m.device->name(), "a chunk of a prompt", run, [&] { set_histories(); });
            if (progress) progress(n);
        }
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
std::string Session::decode_schedule() const { return impl_->decode.to_text(); }
std::string Session::prefill_schedule() const { return impl_->prefill.to_text(); }
std::string Session::decode_arena_picture() const { return impl_->decode.arena_picture("decode step"); }
std::string Session::prefill_arena_picture() const { return impl_->prefill.arena_picture("prompt chunk"); }

std::vector<std::int32_t> Session::start(std::span<const std::vector<std::int32_t>> prompts,
                                         std::span<const SamplingOptions> sampling,
                                         const std::function<void(std::int64_t, std::int64_t)>& progress) {
    Impl& s = *impl_;
    const auto count = static_cast<std::size_t>(s.sequences);
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
    const Tensor packed = make_sampling_rows(sampling, s.m.device);
    s.sampling_rows.write(packed.to_bytes());
    s.started = false;
    s.ahead = false;
    s.histories.assign(prompts.begin(), prompts.end());
    for (std::vector<std::int32_t>& h : s.histories) h.reserve(static_cast<std::size_t>(s.capacity) + 1);
    s.set_histories();

    std::int64_t done = 0;
    const auto advance = [&](std::int64_t n) {
        done += n;
        if (progress) progress(done, total);
    };
    const bool single = count == 1;
    for (std::size_t r = 0; r < count; ++r) {
        // With several sequences the last token of each prompt goes through the decode step, all of them at once.
        const std::span<const std::int32_t> all = prompts[r];
        s.run_prompt(single ? all : all.first(all.size() - 1), static_cast<std::int32_t>(r), single, advance);
    }
    s.started = true;
    s.length = longest;
    if (!single) {
        s.set_step();
        s.length = longest - 1;
        std::vector<std::int32_t> next = step();
        advance(static_cast<std::int64_t>(count));
        return next;
    }
    std::vector<std::int32_t> tokens(count);
    s.first_token.read(std::as_writable_bytes(std::span(tokens)));
    s.histories[0].push_back(tokens[0]);
    s.set_step();
    return tokens;
}

void Session::step(std::span<std::int32_t> next, bool more) {
    Impl& s = *impl_;
    if (!s.started)
        throw InvalidArgument("step: the session has not been started; call start with a prompt first");
    if (next.size() != static_cast<std::size_t>(s.sequences))
        throw InvalidArgument("step: room for " + std::to_string(next.size()) + " tokens, needs " +
                              std::to_string(s.sequences));
    if (s.length >= s.capacity)
        throw InvalidArgument("step: the context of " + std::to_string(s.capacity) +
                              " tokens is full; start a session with a larger capacity");
    const auto run = [&] {
        if (s.runs_ahead) {
            s.step_ahead(next, more);
        } else {
            s.decode.run(s.decode_inputs, s.no_outputs);
            s.decode_inputs[0].read(std::as_writable_bytes(next));
        }
    };
    // Errors of what others have given the device are not this session's to mend.
    const std::lock_guard lock(s.executor->mutex());
    const bool alone = s.executor->settled() || s.executor->work_number() == s.own_work;
    s.started = false;  // after an error the device is at some other step
    if (alone)
        replay_once(s.m.device->name(), "a step", run, [&] {
            s.ahead = false;
            s.set_histories();
            s.set_step();
        });
    else
        run();
    for (std::size_t r = 0; r < s.histories.size(); ++r) s.histories[r].push_back(next[r]);
    ++s.length;
    s.own_work = s.executor->work_number();
    s.started = true;
}

std::vector<std::int32_t> Session::step() {
    std::vector<std::int32_t> next(static_cast<std::size_t>(impl_->sequences));
    step(next);
    return next;
}

}  // namespace invar
