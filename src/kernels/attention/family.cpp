// SPDX-License-Identifier: Apache-2.0
// Plans of the attention family: check a specification and answer with the call.
#include "kernels/attention/family.h"

#include <cmath>
#include <string>

#include "kernels/attention/variants.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace {

constexpr const char* kFamily = "attention";

const Module& module() {
    static const Module m{kFamily, NativeEntries{{{"kv_append", attention::run_kv_append},
                                                  {"attention", attention::run_attention}}}};
    return m;
}

void check_cache(const KvLayout& c) {
    float_storage(c.dtype, kFamily, "the cache");
    at_least(c.blocks, 0, kFamily, "blocks");
    at_least(c.kv_heads, 1, kFamily, "kv_heads");
    at_least(c.head_dim, 1, kFamily, "head_dim");
    at_least(c.table_rows, 0, kFamily, "table_rows");
    at_least(c.table_columns, 0, kFamily, "table_columns");
    if (c.head_dim > kMaxHeadDim)
        throw InvalidArgument("attention: head_dim is " + std::to_string(c.head_dim) + "; at most " +
                              std::to_string(kMaxHeadDim) + " is supported");
    area(area(c.blocks, c.kv_heads, kFamily), kBlockTokens * c.head_dim, kFamily);
    area(c.table_rows, c.table_columns, kFamily);
    area(c.table_columns, kBlockTokens, kFamily);
}

// (tokens, heads, head_dim) with the given strides.
void check_rows(std::int64_t tokens, std::int64_t token, std::int64_t heads, std::int64_t head,
                std::int64_t dim) {
    at_least(tokens, 0, kFamily, "tokens");
    area(tokens, 1, kFamily);
    strided_extent(tokens, token, strided_extent(heads, head, dim, kFamily), kFamily);
}

void check_attention(const AttentionSpec& s) {
    check_cache(s.cache);
    float_storage(s.q, kFamily, "q");
    float_storage(s.y, kFamily, "y");
    at_least(s.heads, 1, kFamily, "heads");
    check_rows(s.tokens, s.q_token, s.heads, s.q_head, s.cache.head_dim);
    area(area(s.tokens, s.heads, kFamily), s.cache.head_dim, kFamily);
    if (s.heads % s.cache.kv_heads != 0)
        throw InvalidArgument("attention: " + std::to_string(s.heads) + " heads cannot share " +
                              std::to_string(s.cache.kv_heads) + " kv heads evenly");
    at_least(s.window, 0, kFamily, "window");
    at_least(s.max_length, 0, kFamily, "max_length");
    at_least(s.mask_columns, 0, kFamily, "mask_columns");
    area(s.cache.table_rows, s.mask_columns, kFamily);
    if (!std::isfinite(s.scale) || !std::isfinite(s.softcap) || s.softcap < 0)
        throw InvalidArgument("attention: scale " + std::to_string(s.scale) + " and softcap " +
                              std::to_string(s.softcap) + " must be finite, softcap not negative");
}

}  // namespace

KernelCall plan_kv_append(const Device& device, const KvAppendSpec& s) {
    KernelCall call;
    check_cache(s.cache);
    float_storage(s.kv, kFamily, "keys and values");
    check_rows(s.tokens, s.k_token, s.cache.kv_heads, s.k_head, s.cache.head_dim);
    check_rows(s.tokens, s.v_token, s.cache.kv_heads, s.v_head, s.cache.head_dim);
    if (is_cuda(device)) {
        attention::plan_kv_append_cuda(s, call);
        return call;
    }
    if (is_portable(device)) {
        attention::plan_kv_append_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kFamily);
    call.entry = "kv_append";
    call.config.grid.x = grid_of(s.cache.kv_heads);
    call.set_params(s);
    return call;
}

KernelCall plan_attention(const Device& device, const AttentionSpec& s) {
    KernelCall call;
    check_attention(s);
    if (is_cuda(device)) {
        attention::plan_attention_cuda(device, s, call);
        return call;
    }
    if (is_metal(device)) {
        attention::plan_attention_metal(device, s, call);
        return call;
    }
    if (is_portable(device)) {
        attention::plan_attention_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kFamily);
    const attention::Tiling tiling(s);
    const std::int64_t longest = std::min(s.max_length, s.cache.table_columns * kBlockTokens);
    const std::int64_t splits = ceil_div(longest, kSplit);
    AttentionSpec rounded = s;
    rounded.tokens = attention::rounded_tokens(s);
    if (s.tokens > 0 && splits > 1 && attention::Tiling(rounded).tasks < attention::kManyTasks) {
        const std::int64_t floats = s.heads * tiling.partial;  // of a token's split
        const auto most = try_mul<std::int64_t>(rounded.tokens * floats, splits);
        if (most && *most <= attention::kMaxWorkspace / 4)
            call.workspace_bytes = static_cast<std::size_t>(s.tokens * floats * splits) * sizeof(float);
    }
    call.entry = "attention";
    call.config.grid.x = grid_of(tiling.tasks);
    call.config.grid.y = grid_of(call.workspace_bytes ? splits : 1);
    call.set_params(s);
    return call;
}

bool fuses_decode(const Device& device, const DecodeSpec& s) {
    if (is_metal(device)) return attention::fuses_decode_metal(s);
    return is_cuda(device) && attention::fuses_decode_cuda(s);
}

KernelCall plan_decode(const Device& device, const DecodeSpec& s) {
    check_attention(s.attention);
    const KvLayout& c = s.attention.cache;
    check_rows(1, 0, c.kv_heads, s.k_head, c.head_dim);
    check_rows(1, 0, c.kv_heads, s.v_head, c.head_dim);
    if (!fuses_decode(device, s))
        throw Unsupported("attention: " + device.name() + " has no kernel that appends, rotates and attends");
    KernelCall call;
    if (is_metal(device))
        attention::plan_decode_metal(s, call);
    else
        attention::plan_decode_cuda(device, s, call);
    return call;
}

}  // namespace invar::kernels
