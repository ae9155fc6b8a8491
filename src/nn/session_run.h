// SPDX-License-Identifier: Apache-2.0
// A session on one device: the cache, what steps read and write, and the compiled functions over them. Which device that is,
// and what happens when it fails, is the Session's to say (session.cpp); histories of tokens are the Session's too.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <invar/compile.h>

#include "graph/executor.h"
#include "nn/model_impl.h"
#include "tensor/checkpoint.h"

namespace invar::nn {

// Of each sequence: its prompt and what was sampled so far.
using Histories = std::span<const std::vector<std::int32_t>>;

class SessionRun {
public:
    SessionRun(std::shared_ptr<const Model> model, const Model::Impl& impl, const SessionOptions& options,
               std::int64_t capacity);
    SessionRun(const SessionRun&) = delete;
    SessionRun& operator=(const SessionRun&) = delete;

    const Device& device() const noexcept { return *m_.device; }
    // Whether what it holds went with the device's memory.
    bool lost() const noexcept { return epoch_ != m_.device->memory_epoch(); }
    std::int64_t chunk() const noexcept { return chunk_; }
    const CompiledFunction& decode() const noexcept { return fused_.decode; }
    const CompiledFunction& prefill() const noexcept { return fused_.prefill; }

    // Which functions run from here on: the fused ones, or those with an operator a step, which are made when they are first
    // asked for.
    void set_fused(bool fused);

    // Begins with these tokens, computes them in chunks and samples what follows, one token a sequence. Each piece is
    // done again where it fails, if recovery() allows that.
    std::vector<std::int32_t> begin(Histories histories, std::span<const SamplingOptions> sampling,
                                    const std::function<void(std::int64_t)>& progress);
    // The token that follows the histories, whose last tokens are not in the cache yet; done again where it fails.
    void step(Histories histories, std::span<std::int32_t> next, bool more);
    // Whether the device had nothing else to do when the last step began: what others gave it may fail there too.
    bool alone() const noexcept { return alone_; }
    // The same after a step that failed, from the histories.
    void step_anew(Histories histories, std::span<std::int32_t> next, bool more);

private:
    struct Functions {
        CompiledFunction prefill, prefill_last, decode;
    };
    Functions compile_functions(bool fuse) const;
    void run_prompt(Histories histories, std::size_t row, bool sampling,
                    const std::function<void(std::int64_t)>& progress);
    void step_once(std::int64_t length, std::span<std::int32_t> next, bool more);
    void start_step();
    void drop_step_ahead();
    void set_step(std::span<const std::int32_t> tokens, std::span<const std::int32_t> slots);
    void set_step(Histories histories);
    void set_histories(Histories histories);

    std::shared_ptr<const Model> model_;
    const Model::Impl& m_;
    const std::uint64_t epoch_;  // the device's memory_epoch() when all of this was made
    const std::shared_ptr<const Architecture> architecture_;
    const std::int64_t sequences_, capacity_, chunk_;
    KvCache cache_;
    Tensor sampling_rows_, sampler_memory_, rows_;    // rows: 0, 1, 2, ... (sequences) i32
    Tensor chunk_tokens_, chunk_slots_, chunk_rows_;  // (chunk) i32
    std::vector<Tensor> decode_inputs_;               // tokens, positions, slots (sequences) i32
    std::vector<Tensor> no_outputs_;
    Tensor first_token_;
    Functions fused_, unfused_;
    const Functions* functions_ = &fused_;
    const std::shared_ptr<graph::Executor> executor_;
    bool alone_ = true;
    std::uint64_t own_work_ = 0;  // the executor's number when this session last gave it work
    // One sequence on an accelerator: the next step is started before the token of the last one is read, so that the
    // device does not wait for the host. Tokens are then read from the sampler's history, where they stay.
    const bool runs_ahead_;
    bool ahead_ = false;                // the next step has been started
    std::int64_t steps_ = 0;            // that were started
    std::array<Checkpoint, 2> behind_;  // of the last two steps
};

}  // namespace invar::nn
