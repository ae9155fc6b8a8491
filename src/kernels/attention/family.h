// SPDX-License-Identifier: Apache-2.0
// Attention over a paged KV cache, and the append that fills it.
//
// The cache of one layer is two arrays of blocks of equal size: V is (blocks, kv_heads, kBlockTokens, head_dim), K is
// (blocks, kv_heads, head_dim, kBlockTokens), so that the scores of a block's tokens lie side by side in a vector and
// are formed without transposing. A sequence is a row of the block table: its token in slot s lives in block
// table[row, s / kBlockTokens] at s % kBlockTokens. Bytes of the cache that no token was appended to are never read
// into a result.
// The tokens of one call are flat: token i belongs to sequence sequence[i] and takes slot slot[i]; it attends to the
// slots 0..slot[i] of its sequence (the last window of them when window > 0), except those whose key_mask is 0.
// Tokens of one sequence stand together in the call in ascending slots; all are appended before attention reads.
// A token whose slot is negative is padding: nothing is appended and its output is zero; so is that of a token all of
// whose slots are masked. Slots past the columns of key_mask are not masked.
//
// Softmax is computed in f32 over splits of kSplit slots counted from slot 0. A score is one chain of fused
// multiply-adds over head_dim; in a split the exponentials are summed over 16 lanes by slot modulo 16, folded pairwise,
// and the values are added slot by slot; splits are combined in order. So the result of a token depends on its slots
// alone, not on the batch or on how prompts are chunked. The bits are the same on every target with fused
// multiply-add; SSE4 has none and rounds twice. Other devices have kernels for single tokens and for prompts, each of
// them with these properties (src/kernels/attention/cuda_*.cu): there the bits of a token also depend on which of the two
// its call takes, by the number of its tokens; so on Metal (metal_*.k). In portable C (portable.k) there is one kernel for
// both, with splits of 128 slots and a tree over the threads of a block.
#pragma once

#include <cstdint>
#include <span>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

inline constexpr std::int64_t kBlockTokens = 16;
inline constexpr std::int64_t kSplit = 256;
inline constexpr std::int64_t kMaxHeadDim = 256;

struct KvLayout {
    DType dtype = DType::f32;                             // storage of K and V
    std::int64_t blocks = 0, kv_heads = 0, head_dim = 0;  // head_dim: at most kMaxHeadDim
    std::int64_t table_rows = 0, table_columns = 0;       // block table: (rows, columns) i32
};

struct KvAppendSpec {
    KvLayout cache;
    DType kv = DType::f32;  // of the new rows
    std::int64_t tokens = 0;
    std::int64_t k_token = 0, k_head = 0, v_token = 0, v_head = 0;  // strides in elements; inner stride 1
};
// Buffers: k (tokens, kv_heads, head_dim), v (same), cache K, cache V, block table i32, sequence (tokens) i32,
// slot (tokens) i32. A slot, sequence or block outside the cache throws LaunchFailed.
INVAR_API KernelCall plan_kv_append(const Device& device, const KvAppendSpec& spec);
INVAR_API Cost cost(const KvAppendSpec& spec);

struct AttentionSpec {
    KvLayout cache;
    DType q = DType::f32, y = DType::f32;
    std::int64_t tokens = 0, heads = 0;
    std::int64_t q_token = 0, q_head = 0;  // strides in elements; inner stride 1
    float scale = 1;
    float softcap = 0;        // 0: none; else scores become softcap * tanh(score / softcap)
    std::int64_t window = 0;  // 0: none
    std::int64_t max_length =
        0;  // upper bound of slot + 1 over the call, for the workspace; a longer token throws
    std::int64_t mask_columns = 0;  // 0: no key mask; else key_mask is (table_rows, mask_columns) i32
};
// Buffers: q (tokens, heads, head_dim), cache K, cache V, block table, sequence, slot,
// y (tokens, heads, head_dim) contiguous, key_mask if there is one, then the workspace if there is one.
INVAR_API KernelCall plan_attention(const Device& device, const AttentionSpec& spec);
// What the slots of a call make of it, which the specification does not know.
struct AttentionLengths {
    double keys = 0;   // slots that are read, each sequence's once
    double pairs = 0;  // of a token and a slot that it attends to
};
// sequence and slot: those of the call's tokens.
INVAR_API AttentionLengths attention_lengths(const AttentionSpec& spec,
                                             std::span<const std::int32_t> sequence,
                                             std::span<const std::int32_t> slot);
INVAR_API Cost cost(const AttentionSpec& spec, const AttentionLengths& lengths);
// As if the call were the last tokens of one sequence of max_length.
INVAR_API Cost cost(const AttentionSpec& spec);

// Attention of a call of one token that is appended on the way, and rotated before that where `rotary` is set: q and k
// are then x = (first half, second half) of each head, and become (first * cos - second * sin, second * cos + first * sin)
// in f32, rounded to their type; the result is that of the operators one by one. q, the new rows and the cache have one
// type.
struct DecodeSpec {
    AttentionSpec attention;              // tokens is 1, no key mask
    std::int64_t k_head = 0, v_head = 0;  // strides of the heads of the new row, in elements
    bool rotary = false;
};
// Whether the device has a kernel for it.
INVAR_API bool fuses_decode(const Device& device, const DecodeSpec& spec);
// Buffers: q (heads, head_dim), cache K, cache V, block table, sequence, slot, y, k (kv_heads, head_dim), v, then cos and
// sin (head_dim / 2) f32 where rotary, then the workspace if there is one. Throws Unsupported where fuses_decode is false.
INVAR_API KernelCall plan_decode(const Device& device, const DecodeSpec& spec);
INVAR_API Cost cost(const DecodeSpec& spec, const AttentionLengths& lengths);
INVAR_API Cost cost(const DecodeSpec& spec);

}  // namespace invar::kernels
