// SPDX-License-Identifier: Apache-2.0
// Attention on Metal: tuned kernels where heads and vectors have the sizes that they are written for, portable C otherwise.
#include <algorithm>
#include <bit>

#include "kernels/attention/params.h"
#include "kernels/attention/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kAttentionParams;
extern const char* const kAttentionMetalCache;
extern const char* const kAttentionMetalDecode;
extern const char* const kAttentionMetalPrefill;

namespace attention {
namespace {

constexpr std::int64_t kDecodeThreads = 128, kDecodeSplit = 256;  // as in metal_decode.k
constexpr std::int64_t kPrefillThreads = 128, kPrefillRows = 32;  // as in metal_prefill.k
constexpr std::int64_t kMaxDecodeTokens = 64;                     // a call of more is a prompt
constexpr std::int64_t kMaxGroup = 8;
// Splits go to threadgroups of their own where tokens and kv heads alone would leave a large GPU idle.
constexpr std::int64_t kEnoughGroups = 512;

bool suits_decode(const AttentionSpec& s) {
    const auto dim = static_cast<std::uint64_t>(s.cache.head_dim);
    return s.tokens > 0 && std::has_single_bit(dim) && dim >= 16 && s.heads / s.cache.kv_heads <= kMaxGroup;
}

bool suits_prefill(const AttentionSpec& s) {
    const std::int64_t dim = s.cache.head_dim;
    return s.tokens > kMaxDecodeTokens && dim >= 32 && dim <= 128 && dim % 32 == 0 &&
           s.heads / s.cache.kv_heads <= kMaxGroup;
}

// decode: what else the kernel does, or null.
void plan_tokens(const AttentionSpec& s, const DecodeSpec* decode, AttentionParams& p, KernelCall& call) {
    const std::int64_t splits = ceil_div(p.longest, kDecodeSplit);
    const bool split_up = splits > 1 && rounded_tokens(s) * s.cache.kv_heads <= kEnoughGroups;
    if (split_up) p.splits = splits;
    call.module =
        metal_module("attention_decode", {kAttentionParams, kAttentionMetalCache, kAttentionMetalDecode},
                     {{"Q", kernel_type(s.q)},
                      {"KV", kernel_type(s.cache.dtype)},
                      {"Y", kernel_type(s.y)},
                      {"HEAD_DIM", digits(s.cache.head_dim)},
                      {"GROUP", digits(s.heads / s.cache.kv_heads)},
                      {"MASK", flag(s.mask_columns > 0)},
                      {"SPLIT_UP", flag(split_up)},
                      {"APPEND", flag(decode != nullptr)},
                      {"ROTARY", flag(decode != nullptr && decode->rotary)}},
                     kCacheFaults);
    call.entry = "attention";
    call.config = portable_launch(
        kDecodeThreads, checked_mul<std::int64_t>(s.tokens * s.cache.kv_heads, p.splits, "attention"));
    if (!split_up) return;
    call.next_entry = "combine";
    call.next_config = portable_launch(s.cache.head_dim, s.tokens * s.heads);
    call.workspace_bytes = static_cast<std::size_t>(checked_mul<std::int64_t>(
        checked_mul<std::int64_t>(s.tokens * s.heads, splits, "attention"),
        (s.cache.head_dim + 2) * static_cast<std::int64_t>(sizeof(float)), "attention"));
}

void plan_prefill(const AttentionSpec& s, KernelCall& call) {
    const std::int64_t group = s.heads / s.cache.kv_heads;
    call.module =
        metal_module("attention_prefill", {kAttentionParams, kAttentionMetalCache, kAttentionMetalPrefill},
                     {{"Q", kernel_type(s.q)},
                      {"KV", kernel_type(s.cache.dtype)},
                      {"Y", kernel_type(s.y)},
                      {"HEAD_DIM", digits(s.cache.head_dim)},
                      {"GROUP", digits(group)},
                      {"MASK", flag(s.mask_columns > 0)}},
                     kCacheFaults);
    call.entry = "prefill";
    call.config =
        portable_launch(kPrefillThreads, ceil_div(s.tokens, kPrefillRows / group) * s.cache.kv_heads);
}

}  // namespace

void plan_attention_metal(const Device& device, const AttentionSpec& s, KernelCall& call) {
    AttentionParams p = attention_params(s);
    if (suits_prefill(s))
        plan_prefill(s, call);
    else if (suits_decode(s))
        plan_tokens(s, nullptr, p, call);
    else
        return plan_attention_portable(device, s, call);
    call.buffer_bytes = attention_buffers(s);
    call.set_params(p);
}

bool fuses_decode_metal(const DecodeSpec& s) {
    const AttentionSpec& a = s.attention;
    return a.tokens == 1 && a.mask_columns == 0 && a.q == a.cache.dtype && suits_decode(a);
}

void plan_decode_metal(const DecodeSpec& s, KernelCall& call) {
    AttentionParams p = attention_params(s.attention);
    p.k_head = s.k_head;
    p.v_head = s.v_head;
    plan_tokens(s.attention, &s, p, call);
    call.buffer_bytes = decode_buffers(s);
    call.set_params(p);
}

}  // namespace attention
}  // namespace invar::kernels
