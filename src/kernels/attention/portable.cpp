// SPDX-License-Identifier: Apache-2.0
// Attention in portable C: types become definitions of the source, sizes its parameters.
#include "kernels/attention/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kAttentionParams;
extern const char* const kAttentionPortable;

namespace attention {
namespace {

constexpr std::int64_t kThreads = 128, kPortableSplit = 128;  // as in portable.k
// Splits go to blocks of their own where tokens and heads alone would leave a large card idle.
constexpr std::int64_t kEnoughBlocks = 1024;

const Module* module_of(const Device& device, const char* name, Definitions definitions) {
    return portable_module(device, name, {kAttentionParams, kAttentionPortable}, definitions, kCacheFaults);
}

}  // namespace

void plan_kv_append_portable(const Device& device, const KvAppendSpec& s, KernelCall& call) {
    const KvLayout& c = s.cache;
    call.module = module_of(device, "kv_append",
                            {{"APPEND", "1"},
                             {"NEW", kernel_type(s.kv)},
                             {"KV", kernel_type(c.dtype)},
                             {"CONVERTED", flag(s.kv != c.dtype)}});
    call.entry = "kv_append";
    call.config = portable_launch(kThreads, s.tokens, ceil_div(c.kv_heads * c.head_dim, kThreads));
    call.buffer_bytes = append_buffers(s);
    call.set_params(append_params(s));
}

void plan_attention_portable(const Device& device, const AttentionSpec& s, KernelCall& call) {
    AttentionParams p = attention_params(s);
    const std::int64_t units = s.tokens * s.heads, splits = ceil_div(p.longest, kPortableSplit);
    const bool split_up = units > 0 && splits > 1 && rounded_tokens(s) * s.heads <= kEnoughBlocks;
    if (split_up) p.splits = splits;
    call.module = module_of(device, "attention",
                            {{"APPEND", "0"},
                             {"Q", kernel_type(s.q)},
                             {"KV", kernel_type(s.cache.dtype)},
                             {"Y", kernel_type(s.y)},
                             {"HEAD_DIM", digits(s.cache.head_dim)},
                             {"MASK", flag(s.mask_columns > 0)},
                             {"SPLIT_UP", flag(split_up)}});
    call.entry = "attention";
    call.config = portable_launch(kThreads, checked_mul<std::int64_t>(units, p.splits, "attention"));
    if (split_up) {
        call.next_entry = "combine";
        call.next_config = portable_launch(kThreads, units);
        call.workspace_bytes = static_cast<std::size_t>(checked_mul<std::int64_t>(
            checked_mul(units, splits, "attention"),
            (s.cache.head_dim + 2) * static_cast<std::int64_t>(sizeof(float)), "attention"));
    }
    call.buffer_bytes = attention_buffers(s);
    call.set_params(p);
}

}  // namespace attention
}  // namespace invar::kernels
