// SPDX-License-Identifier: Apache-2.0
// Attention on CUDA: which kernel takes a call. Types, head_dim and the heads of a group become definitions of the source.
#include <algorithm>

#include "kernels/attention/params.h"
#include "kernels/attention/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kAttentionParams;
extern const char* const kAttentionCudaCache;
extern const char* const kAttentionCudaSource;
extern const char* const kAttentionCudaDecode;
extern const char* const kAttentionCudaPrefill;

namespace attention {
namespace {

constexpr std::uint32_t kThreads = 128;
constexpr std::int64_t kMaxDecodeTokens = 64;  // a call of more is a prompt
constexpr std::int64_t kMaxGroup = 8;          // heads of a kv head that a block of the tuned kernels takes
constexpr std::int64_t kPrefillRows = 128, kPrefillTile = 64;  // kRows and kTile of cuda_prefill.cu
constexpr std::int64_t kMaxGridY = 65535;
constexpr std::int64_t kMaxClusters = 32;  // of a launch: more of them wait for places that are free together
// Of cuda_decode.cu: splits of kLeast to kLong slots, at most kFew of them up to kFew * kLong slots, kMany thereafter.
constexpr std::int64_t kLeast = 64, kLong = 512, kFew = 8, kMany = 64;
constexpr std::int64_t kMostBlocks = 0x7fffffff;

// What the tuned kernels are compiled for: 16-bit vectors of whole 16-byte pieces, few heads to a kv head.
bool suits_tuned(const AttentionSpec& s) {
    return s.tokens > 0 && s.q == s.cache.dtype && size_of(s.q) == 2 &&
           (s.cache.head_dim == 64 || s.cache.head_dim == 128) && s.heads / s.cache.kv_heads <= kMaxGroup &&
           s.mask_columns == 0 && s.cache.kv_heads <= kMaxGridY && s.heads <= kMostBlocks;
}
bool suits_prefill(const AttentionSpec& s, std::int64_t longest) {
    return s.y == s.q && s.scale > 0 && ceil_div(s.tokens, kPrefillRows / kMaxGroup) <= kMaxGridY &&
           longest < INT32_MAX;
}

// decode: what else the kernel does, or null.
void plan_tokens(const Device& device, const AttentionSpec& s, const DecodeSpec* decode, std::int64_t longest,
                 AttentionParams& p, KernelCall& call) {
    const std::int64_t group = s.heads / s.cache.kv_heads;
    const bool few = longest <= kFew * kLong;
    p.splits = few ? std::clamp<std::int64_t>(ceil_div(longest, kLeast), 1, kFew)
                   : std::clamp<std::int64_t>(ceil_div(longest, kLong), kFew, kMany);
    // Clusters save a launch where the call is small.
    const bool cluster = p.splits > 1 && few && s.tokens * s.cache.kv_heads <= kMaxClusters &&
                         device.supports(Feature::clusters);
    if (cluster) p.splits = kFew;
    const int merge = p.splits == 1 ? 0 : cluster ? 2 : 1;
    const std::int64_t padded = group <= 2 ? group : group <= 4 ? 4 : 8;
    call.module =
        cuda_module("attention_decode", {kAttentionParams, kAttentionCudaCache, kAttentionCudaDecode},
                    {{"KV", kernel_type(s.cache.dtype)},
                     {"Y", kernel_type(s.y)},
                     {"HEAD_DIM", s.cache.head_dim == 64 ? "64" : "128"},
                     {"GROUP", digits(group)},
                     {"PADDED", digits(padded)},
                     {"MERGE", digits(merge)},
                     {"APPEND", decode ? "1" : "0"},
                     {"ROTARY", decode && decode->rotary ? "1" : "0"}},
                    merge == 2 ? 90 : 80);
    call.entry = "decode";
    call.config = {{static_cast<std::uint32_t>(p.splits), static_cast<std::uint32_t>(s.cache.kv_heads),
                    static_cast<std::uint32_t>(s.tokens)},
                   {kThreads},
                   0,
                   true};
    if (merge != 1) return;
    call.next_entry = "combine";
    call.next_config = {{static_cast<std::uint32_t>(s.heads), static_cast<std::uint32_t>(s.tokens), 1},
                        {static_cast<std::uint32_t>(s.cache.head_dim)},
                        0,
                        true};
    call.workspace_bytes = static_cast<std::size_t>(checked_mul<std::int64_t>(
        checked_mul<std::int64_t>(s.tokens * s.heads, p.splits, "attention"),
        (s.cache.head_dim + 2) * static_cast<std::int64_t>(sizeof(float)), "attention"));
}

void plan_prefill(const AttentionSpec& s, KernelCall& call) {
    const std::int64_t group = s.heads / s.cache.kv_heads;
    call.module =
        cuda_module("attention_prefill", {kAttentionParams, kAttentionCudaCache, kAttentionCudaPrefill},
                    {{"KV", kernel_type(s.cache.dtype)},
                     {"HEAD_DIM", s.cache.head_dim == 64 ? "64" : "128"},
                     {"GROUP", digits(group)},
                     {"SOFTCAP", s.softcap > 0 ? "1" : "0"}});
    call.entry = "prefill";
    // q, two tiles each of k and v, and a number for each row and two for each token.
    const std::int64_t shared = (kPrefillRows + 4 * kPrefillTile) * s.cache.head_dim * 2 +
                                (kPrefillRows + 2 * (kPrefillRows / group)) * 4;
    call.config = {{static_cast<std::uint32_t>(s.cache.kv_heads),
                    static_cast<std::uint32_t>(ceil_div(s.tokens, kPrefillRows / group)), 1},
                   {kThreads},
                   static_cast<std::uint32_t>(shared),
                   true};
}

void plan_general(const AttentionSpec& s, KernelCall& call) {
    call.module = cuda_module("attention", {kAttentionParams, kAttentionCudaCache, kAttentionCudaSource},
                              {{"APPEND", "0"},
                               {"Q", kernel_type(s.q)},
                               {"KV", kernel_type(s.cache.dtype)},
                               {"Y", kernel_type(s.y)},
                               {"MASK", s.mask_columns > 0 ? "1" : "0"}});
    call.entry = "attention";
    call.config = {cuda_grid(s.tokens * s.heads), {kThreads}, 0, true};
}

}  // namespace

void plan_kv_append_cuda(const KvAppendSpec& s, KernelCall& call) {
    const KvLayout& c = s.cache;
    call.module = cuda_module("kv_append", {kAttentionParams, kAttentionCudaCache, kAttentionCudaSource},
                              {{"APPEND", "1"}, {"NEW", kernel_type(s.kv)}, {"KV", kernel_type(c.dtype)}});
    call.entry = "kv_append";
    const std::int64_t pieces = std::clamp<std::int64_t>(ceil_div(c.kv_heads * c.head_dim, kThreads), 1, 64);
    call.config = {cuda_grid(s.tokens, static_cast<std::uint32_t>(pieces)), {kThreads}, 0, true};
    call.buffer_bytes = append_buffers(s);
    call.set_params(append_params(s));
}

void plan_attention_cuda(const Device& device, const AttentionSpec& s, KernelCall& call) {
    const std::int64_t longest = longest_of(s);
    AttentionParams p = attention_params(s);
    if (suits_tuned(s) && s.tokens <= kMaxDecodeTokens)
        plan_tokens(device, s, nullptr, longest, p, call);
    else if (suits_tuned(s) && suits_prefill(s, longest))
        plan_prefill(s, call);
    else
        plan_general(s, call);
    call.buffer_bytes = attention_buffers(s);
    call.set_params(p);
}

bool fuses_decode_cuda(const DecodeSpec& s) { return s.attention.tokens == 1 && suits_tuned(s.attention); }

void plan_decode_cuda(const Device& device, const DecodeSpec& s, KernelCall& call) {
    const AttentionSpec& a = s.attention;
    AttentionParams p = attention_params(a);
    p.k_head = s.k_head;
    p.v_head = s.v_head;
    plan_tokens(device, a, &s, longest_of(a), p, call);
    call.buffer_bytes = decode_buffers(s);
    call.set_params(p);
}

}  // namespace attention
}  // namespace invar::kernels
