// SPDX-License-Identifier: Apache-2.0
// Plans of the attention family: check a specification and answer with the call.
#include "kernels/attention/family.h"

#include <algorithm>
#include <cmath>
#include <map>
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

Cost cost(const KvAppendSpec& s) {
    const double row =
        static_cast<double>(s.tokens) * static_cast<double>(s.cache.kv_heads * s.cache.head_dim);
    Cost c;
    c.bytes = 2 * row * static_cast<double>(size_of(s.kv) + size_of(s.cache.dtype)) +
              2 * array_bytes(DType::i32, s.tokens);
    return c;
}

AttentionLengths attention_lengths(const AttentionSpec& s, std::span<const std::int32_t> sequence,
                                   std::span<const std::int32_t> slot) {
    // Of each sequence, from the first slot that one of its tokens sees to the last.
    std::map<std::int32_t, std::pair<std::int64_t, std::int64_t>> ranges;
    AttentionLengths lengths;
    for (std::size_t i = 0; i < std::min(sequence.size(), slot.size()); ++i) {
        if (slot[i] < 0) continue;  // padding
        const std::int64_t end = std::int64_t{slot[i]} + 1,
                           begin = s.window > 0 ? std::max<std::int64_t>(end - s.window, 0) : 0;
        lengths.pairs += static_cast<double>(end - begin);
        auto [at, added] = ranges.try_emplace(sequence[i], begin, end);
        if (!added) at->second = {std::min(at->second.first, begin), std::max(at->second.second, end)};
    }
    for (const auto& [sequence_id, range] : ranges)
        lengths.keys += static_cast<double>(range.second - range.first);
    return lengths;
}

Cost cost(const AttentionSpec& s, const AttentionLengths& lengths) {
    const double dim = static_cast<double>(s.cache.head_dim);
    Cost c;
    c.product = product_type(s.q, s.cache.dtype);
    c.bytes = array_bytes(s.q, s.tokens, s.heads) * dim + array_bytes(s.y, s.tokens, s.heads) * dim +
              2 * lengths.keys * array_bytes(s.cache.dtype, s.cache.kv_heads) * dim +
              2 * array_bytes(DType::i32, s.tokens);
    if (s.mask_columns > 0) c.bytes += 4 * lengths.keys;
    // A score and its part of the result are products of head_dim each; exp and its sum are small beside them.
    c.flops = lengths.pairs * static_cast<double>(s.heads) * (4 * dim + 3);
    return c;
}

Cost cost(const AttentionSpec& s) {
    const std::int64_t reach = s.window > 0 ? std::min(s.window, s.max_length) : s.max_length;
    const std::int64_t first = std::max<std::int64_t>(s.max_length - s.tokens, 0);
    AttentionLengths lengths;
    lengths.keys =
        static_cast<double>(std::min(s.max_length, reach + std::max<std::int64_t>(s.tokens - 1, 0)));
    if (s.tokens == 0) lengths.keys = 0;
    for (std::int64_t t = 0; t < s.tokens; ++t)
        lengths.pairs += static_cast<double>(std::min(reach, std::min(first + t + 1, s.max_length)));
    return cost(s, lengths);
}

Cost cost(const DecodeSpec& s, const AttentionLengths& lengths) {
    const AttentionSpec& a = s.attention;
    const std::int64_t dim = a.cache.head_dim;
    Cost c = cost(a, lengths);
    c.bytes += 4 * array_bytes(a.cache.dtype, a.cache.kv_heads, dim);  // the new rows, read and stored
    if (s.rotary) {
        c.bytes += array_bytes(DType::f32, dim);  // cos and sin, half a head each
        c.flops += 3.0 * static_cast<double>((a.heads + a.cache.kv_heads) * dim);
    }
    return c;
}

Cost cost(const DecodeSpec& s) {
    const AttentionSpec& a = s.attention;
    const double length = static_cast<double>(a.window > 0 ? std::min(a.window, a.max_length) : a.max_length);
    return cost(s, {length, length});
}

}  // namespace invar::kernels
