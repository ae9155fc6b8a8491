// SPDX-License-Identifier: Apache-2.0
// A session on one device: prefill in chunks and a decode step, each compiled once. The decode step feeds itself: the sampled
// token, the next position and the next slot are written into its own inputs, so that between steps the host only reads.
#include "nn/session_run.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <invar/error.h>
#include <invar/ops.h>

#include "base/log.h"
#include "device/device.h"
#include "device/memory_log.h"
#include "device/recovery.h"

namespace invar::nn {
namespace {

// Enough rows to keep the device's arithmetic busy; beyond that, chunks only take memory.
std::int64_t suitable_chunk(const Device& device) { return device.supports(Feature::native) ? 512 : 4096; }

void put(const Tensor& t, std::span<const std::int32_t> values) { t.write(std::as_bytes(values)); }

// Tokens of the longest sequence that lie in the cache once the next step has run, less that one.
std::int64_t longest(Histories histories) {
    std::size_t most = 1;
    for (const std::vector<std::int32_t>& h : histories) most = std::max(most, h.size());
    return static_cast<std::int64_t>(most) - 1;
}

}  // namespace

SessionRun::SessionRun(std::shared_ptr<const Model> model, const Model::Impl& impl,
                       const SessionOptions& options, std::int64_t capacity)
    : model_(std::move(model)),
      m_(impl),
      epoch_(impl.device->memory_epoch()),
      architecture_(impl.architecture()),
      sequences_(options.sequences),
      capacity_(capacity),
      chunk_(std::min(options.prefill_chunk > 0 ? options.prefill_chunk : suitable_chunk(*impl.device),
                      capacity)),
      cache_(impl, options.sequences, capacity),
      executor_(graph::Executor::of(*impl.device)),
      runs_ahead_(options.sequences == 1 && !impl.device->supports(Feature::native)),
      behind_{Checkpoint(impl.device), Checkpoint(impl.device)} {
    const auto ints = [&](std::int64_t n) { return Tensor::empty(DType::i32, {n}, m_.device, true); };
    chunk_tokens_ = ints(chunk_);
    chunk_slots_ = ints(chunk_);
    chunk_rows_ = ints(chunk_);
    decode_inputs_ = {ints(sequences_), ints(sequences_), ints(sequences_)};
    no_outputs_.resize(3);
    first_token_ = ints(1);
    rows_ = ints(sequences_);
    std::vector<std::int32_t> numbers(static_cast<std::size_t>(sequences_));
    std::iota(numbers.begin(), numbers.end(), 0);
    put(rows_, numbers);
    sampling_rows_ =
        make_sampling_rows(std::vector<SamplingOptions>(static_cast<std::size_t>(sequences_)), m_.device);
    sampler_memory_ = make_sampler_memory(sequences_, capacity_ + 1, m_.device);
    fused_ = compile_functions(true);
}

SessionRun::Functions SessionRun::compile_functions(bool fuse) const {
    Functions made;
    const Dim n = Symbol{0, chunk_};
    const std::vector<InputSpec> specs(3, InputSpec{DType::i32, {n}});
    const auto forward = [this](std::span<const Tensor> in, std::vector<State>& states) {
        // Positions are slots: prompts begin at the start of their sequence.
        return architecture_->hidden({in[0], in[1], {cache_.block_table(), in[2], in[1], {}}}, states);
    };
    // Chunks before the last only fill the cache; nothing after the last layer's append is computed.
    made.prefill = compile(
        [&](std::span<const Tensor> in) {
            std::vector<State> states = cache_.states();
            forward(in, states);
            return std::vector<Tensor>{states.back().value()};
        },
        specs, m_.device, {.fuse = fuse});
    if (sequences_ == 1)
        made.prefill_last = compile(
            [&](std::span<const Tensor> in) {
                std::vector<State> states = cache_.states();
                const Tensor last = forward(in, states).slice(0, n - Dim(1), n);
                return std::vector<Tensor>{
                    sample(architecture_->logits(last), sampling_rows_, State(sampler_memory_))};
            },
            specs, m_.device, {.fuse = fuse});
    const std::vector<InputSpec> step_specs(3, InputSpec{DType::i32, {sequences_}});
    made.decode = compile(
        [&](std::span<const Tensor> in) {
            std::vector<State> states = cache_.states();
            const Tensor h =
                architecture_->hidden({in[0], in[1], {cache_.block_table(), rows_, in[2], {}}}, states);
            const Tensor next = sample(architecture_->logits(h), sampling_rows_, State(sampler_memory_));
            return std::vector<Tensor>{next, in[1] + 1.0, in[2] + 1.0};
        },
        step_specs, m_.device, {.donations = {{0, 0}, {1, 1}, {2, 2}}, .fuse = fuse});
    return made;
}

void SessionRun::set_fused(bool fused) {
    if (!fused && !unfused_.decode.defined()) unfused_ = compile_functions(false);
    functions_ = fused ? &fused_ : &unfused_;
}

void SessionRun::start_step() {
    functions_->decode.run(decode_inputs_, no_outputs_);
    behind_[static_cast<std::size_t>(steps_++ % 2)].set();
}

// A step that ran ahead and that nobody wants: whether it failed is nobody's concern either.
void SessionRun::drop_step_ahead() {
    const std::lock_guard lock(executor_->mutex());
    if (!std::exchange(ahead_, false) || executor_->work_number() != own_work_) return;
    try {
        executor_->synchronize();
    } catch (const Error& e) {
        log(LogLevel::kDebug, device().name() + ": a step that was not wanted failed: " + e.what());
    }
}

void SessionRun::step_once(std::int64_t length, std::span<std::int32_t> next, bool more) {
    if (!runs_ahead_) {
        functions_->decode.run(decode_inputs_, no_outputs_);
        decode_inputs_[0].read(std::as_writable_bytes(next));
        return;
    }
    if (!ahead_) start_step();
    ahead_ = false;
    const Checkpoint& done = behind_[static_cast<std::size_t>((steps_ - 1) % 2)];
    if (more && length + 1 < capacity_) {
        start_step();
        ahead_ = true;
    }
    // The sampler's memory is a length, then the tokens.
    done.read(sampler_memory_, static_cast<std::size_t>(length + 2) * sizeof(std::int32_t),
              std::as_writable_bytes(next));
}

// What the next step reads besides the cache, whose rows before it are right, as it would be had no later step run.
void SessionRun::set_step(std::span<const std::int32_t> tokens, std::span<const std::int32_t> slots) {
    put(decode_inputs_[0], tokens);
    put(decode_inputs_[1], slots);
    put(decode_inputs_[2], slots);
}
void SessionRun::set_step(Histories histories) {
    std::vector<std::int32_t> tokens, slots;
    for (const std::vector<std::int32_t>& history : histories) {
        tokens.push_back(history.back());
        slots.push_back(static_cast<std::int32_t>(history.size()) - 1);
    }
    set_step(tokens, slots);
}
void SessionRun::set_histories(Histories histories) {
    for (std::size_t r = 0; r < histories.size(); ++r)
        set_sampler_history(sampler_memory_, sequences_, static_cast<std::int64_t>(r), histories[r]);
}

// Computes the tokens of one sequence; with several of them the last token of each is left to the step that samples.
void SessionRun::run_prompt(Histories histories, std::size_t row, bool sampling,
                            const std::function<void(std::int64_t)>& progress) {
    std::span<const std::int32_t> tokens = histories[row];
    if (!sampling) tokens = tokens.first(tokens.size() - 1);
    const auto size = static_cast<std::int64_t>(tokens.size());
    std::vector<std::int32_t> slots, row_of;
    for (std::int64_t at = 0; at < size; at += chunk_) {
        const std::int64_t n = std::min(chunk_, size - at);
        slots.clear();
        for (std::int64_t i = 0; i < n; ++i) slots.push_back(static_cast<std::int32_t>(at + i));
        row_of.assign(static_cast<std::size_t>(n), static_cast<std::int32_t>(row));
        const Tensor in[] = {chunk_tokens_.slice(0, 0, n), chunk_slots_.slice(0, 0, n),
                             chunk_rows_.slice(0, 0, n)};
        put(in[0], tokens.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)));
        put(in[1], slots);
        put(in[2], row_of);
        const bool last = at + n == size && sampling;
        const CompiledFunction& f = last ? functions_->prefill_last : functions_->prefill;
        const auto run = [&] {
            f.run(in, std::span(last ? &first_token_ : no_outputs_.data(), 1));
            f.synchronize();
        };
        executor_->settle();  // what failed before is not this chunk's to mend
        replay_once(
            device().name(), "a chunk of a prompt", run, [&](const Error&) { set_histories(histories); },
            false);
        if (progress) progress(n);
    }
}

std::vector<std::int32_t> SessionRun::begin(Histories histories, std::span<const SamplingOptions> sampling,
                                            const std::function<void(std::int64_t)>& progress) {
    drop_step_ahead();
    const Tensor packed = make_sampling_rows(sampling, m_.device);
    sampling_rows_.write(packed.to_bytes());
    set_histories(histories);
    const bool single = sequences_ == 1;
    for (std::size_t r = 0; r < histories.size(); ++r) run_prompt(histories, r, single, progress);
    std::vector<std::int32_t> next(histories.size());
    if (!single) {
        set_step(histories);
        step(histories, next, true);
        if (progress) progress(sequences_);
        return next;
    }
    first_token_.read(std::as_writable_bytes(std::span(next)));
    const auto slot = static_cast<std::int32_t>(histories[0].size());
    set_step(next, std::span(&slot, 1));
    return next;
}

void SessionRun::step_anew(Histories histories, std::span<std::int32_t> next, bool more) {
    ahead_ = false;
    set_histories(histories);
    set_step(histories);
    step_once(longest(histories), next, more);
    own_work_ = executor_->work_number();
}

void SessionRun::step(Histories histories, std::span<std::int32_t> next, bool more) {
    // Errors of what others have given the device are not this session's to mend.
    const std::lock_guard lock(executor_->mutex());
    const auto run = [&] { step_once(longest(histories), next, more); };
    alone_ = executor_->settled() || executor_->work_number() == own_work_;
    if (alone_)
        replay_once(
            device().name(), "a step", run,
            [&](const Error&) {
                ahead_ = false;
                set_histories(histories);
                set_step(histories);
            },
            false);
    else
        run();
    own_work_ = executor_->work_number();
}

}  // namespace invar::nn
