// SPDX-License-Identifier: Apache-2.0
// Language models: a folder as Hugging Face lays it out becomes a Model; a Session runs it with a KV cache and samples.
//
//   auto model = invar::Model::load("models/tiny");
//   invar::Session session(model, {.capacity = 256});
//   session.start({{1, 2, 3}}, {invar::SamplingOptions{}});
//   std::vector<std::int32_t> next = session.step();
//
// Threads: a Model may be shared; a Session is used by one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <invar/export.h>
#include <invar/state.h>
#include <invar/tensor.h>

namespace invar {

struct ModelInfo {
    std::string architecture;  // "LlamaForCausalLM"
    std::int64_t vocab_size = 0, hidden_size = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
    std::int64_t max_positions = 0;  // tokens that the model was made for
    std::int64_t context = 0;        // tokens that this instance can place (LoadOptions::max_context)
    std::vector<std::int64_t> stop_ids;
    DType dtype = DType::f32;  // of weights, activations and cache
    std::uint64_t parameters = 0;
    std::uint64_t weight_bytes = 0;  // all weights as they lie on the device
    std::uint64_t bytes_per_token =
        0;  // weights that one decode step reads (an untied embedding is only looked up)
    std::uint64_t flops_per_token =
        0;  // products of the weights, two for each multiply and add; attention not counted
};

struct LoadOptions {
    std::string device = {};          // "" = the default
    std::optional<DType> dtype = {};  // f32, f16, bf16; default: as the weights were saved
    std::int64_t max_context = 0;     // positions to prepare for; 0 = the model's, at most 8192
    std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};  // bytes of weights
};

struct ForwardOptions {
    // One a token; default 0, 1, 2, ... As in transformers, Model::forward takes position ids without a mask as packed
    // sequences: one begins wherever they do not go up by one.
    std::span<const std::int32_t> position_ids = {};
    std::span<const std::int32_t> attention_mask = {};  // one a token; 0 hides it from the others
};

struct ForwardResult {
    Tensor logits;  // (tokens, vocab) f32
    Tensor hidden;  // (tokens, hidden) after the final norm
};

class INVAR_API Model {
public:
    // Throws IoError, FormatError (files that are malformed or do not fit the architecture) or Unsupported (an
    // architecture that is not there; the message lists those that are).
    static std::shared_ptr<Model> load(const std::filesystem::path& folder, const LoadOptions& options = {});
    // Random weights in the shape of "llama-1b", "llama-8b", "gpt2" or "tiny", for measuring without a download.
    static std::shared_ptr<Model> random(std::string_view shape, const LoadOptions& options = {});
    static std::vector<std::string> architectures();
    static std::vector<std::string> shapes();

    ~Model();
    const ModelInfo& info() const noexcept;
    const std::shared_ptr<Device>& device() const noexcept;
    // All tokens at once, nothing kept. Throws InvalidArgument for ids out of range or more tokens than context.
    ForwardResult forward(std::span<const std::int32_t> tokens, const ForwardOptions& options = {}) const;

    struct Impl;

private:
    friend class Session;
    friend class Sequence;
    explicit Model(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// One sequence fed piece by piece, with the logits of every token: for scoring and for looking inside.
class INVAR_API Sequence {
public:
    Sequence(std::shared_ptr<const Model> model, std::int64_t capacity);
    ~Sequence();
    ForwardResult append(std::span<const std::int32_t> tokens, const ForwardOptions& options = {});
    std::int64_t length() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

struct SessionOptions {
    std::int64_t sequences = 1;
    std::int64_t capacity = 0;  // tokens of one sequence, prompt and generated; 0 = the model's context
    // Prompt tokens computed at once; 0: as many as suit the device (512 where the host computes, else 4096).
    std::int64_t prefill_chunk = 0;
};

// Generation for a fixed number of sequences at once. A step after the first plans nothing and allocates nothing.
class INVAR_API Session {
public:
    Session(std::shared_ptr<const Model> model, const SessionOptions& options = {});
    ~Session();
    // Begins anew with one prompt a sequence (none empty) and computes them; returns the first token of each.
    // progress is told prompt tokens done. Throws InvalidArgument for ids out of range or prompts without room.
    std::vector<std::int32_t> start(
        std::span<const std::vector<std::int32_t>> prompts, std::span<const SamplingOptions> sampling,
        const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});
    // The next token of each sequence. Throws InvalidArgument when the capacity is used up.
    std::vector<std::int32_t> step();
    // As step, into next (one a sequence), without any allocation. more: another step is likely to follow; a session of
    // one sequence on an accelerator then starts it at once, so that the device does not wait for the host.
    void step(std::span<std::int32_t> next, bool more = true);
    std::int64_t length() const noexcept;  // tokens of the longest sequence so far
    // Whether a rung of the recovery ladder with other bits computed something since the start (invar/recovery.h).
    bool degraded() const noexcept;
    std::int64_t capacity() const noexcept;
    std::int64_t prefill_chunk() const noexcept;
    // The decode step's schedule, one line a step.
    std::string decode_schedule() const;
    // The same of a prompt chunk, whose length is a symbol.
    std::string prefill_schedule() const;
    // The arenas of both as pictures (SVG): steps across, offsets up, one rectangle a value.
    std::string decode_arena_picture() const;
    std::string prefill_arena_picture() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace invar
