// SPDX-License-Identifier: Apache-2.0
// State that a model carries from step to step. A State is consumed and returned by the operators that change it, so
// the order of changes follows from the flow of data; the memory is changed in place. Using a State that was consumed
// throws InvalidArgument.
#pragma once

#include <memory>

#include <invar/tensor.h>

namespace invar {

inline constexpr std::int64_t kKvBlockTokens = 16;

class INVAR_API State {
public:
    State() = default;
    // Wraps memory: a tensor made with Tensor::empty.
    explicit State(const Tensor& memory) : value_(memory) {}
    State(State&& other) noexcept : value_(std::move(other.value_)) { other.value_ = {}; }
    State& operator=(State&& other) noexcept {
        value_ = std::move(other.value_);
        other.value_ = {};
        return *this;
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    // The current value, for the operators; throws when the state was consumed.
    const Tensor& value() const;

private:
    Tensor value_;
};

// Which token of a call goes where: token i belongs to row sequence[i] of the block table and takes slot[i] there.
// Tokens of a sequence stand together in ascending slots; a negative slot marks padding.
struct KvTokens {
    Tensor block_table;  // (sequences, blocks a sequence) i32
    Tensor sequence;     // (tokens) i32
    Tensor slot;         // (tokens) i32
    Tensor key_mask;     // (sequences, columns) i32, 0 hides a slot; undefined: every slot is seen
};

// Memory of a KV cache: (2, blocks, kv_heads, kKvBlockTokens, head_dim), zeroed.
INVAR_API Tensor make_kv_cache(DType dtype, std::int64_t blocks, std::int64_t kv_heads, std::int64_t head_dim,
                               const std::shared_ptr<Device>& device);
// Writes k and v (tokens, kv_heads, head_dim) into the cache.
INVAR_API State kv_append(State cache, const Tensor& k, const Tensor& v, const KvTokens& tokens);

struct AttentionOptions {
    double scale = 0;             // 0: 1 / sqrt(head_dim)
    double softcap = 0;           // 0: none
    std::int64_t window = 0;      // 0: none; else a token sees itself and the window - 1 slots before it
    std::int64_t max_length = 0;  // largest slot + 1 that can occur; 0: all that the block table can hold
};
// q (tokens, heads, head_dim) attends to the slots up to its own -> (tokens, heads, head_dim).
INVAR_API Tensor attention(const Tensor& q, const State& cache, const KvTokens& tokens,
                           const AttentionOptions& options = {});

// How each row of logits is sampled; the bytes of one row in the tensor that sample takes.
struct SamplingOptions {
    float temperature = 0;         // 0: greedy
    int top_k = 0;                 // 0: off
    float top_p = 1;               // 1: off
    float min_p = 0;               // 0: off
    float repetition_penalty = 1;  // 1: off
    std::uint64_t seed = 0;
};
// (rows, bytes) u8 for sample; throws InvalidArgument for values out of range.
INVAR_API Tensor make_sampling_rows(std::span<const SamplingOptions> rows,
                                    const std::shared_ptr<Device>& device);
// Memory of a sampler: for each row its length and its history of tokens.
INVAR_API Tensor make_sampler_memory(std::int64_t rows, std::int64_t capacity,
                                     const std::shared_ptr<Device>& device);
// Puts tokens into the history of one row (a prompt); counts from the start.
INVAR_API void set_sampler_history(const Tensor& memory, std::int64_t rows, std::int64_t row,
                                   std::span<const std::int32_t> tokens);
// logits (rows, vocab) -> tokens (rows) i32; appends them to the history.
INVAR_API Tensor sample(const Tensor& logits, const Tensor& sampling_rows, const State& sampler);

}  // namespace invar
