// SPDX-License-Identifier: Apache-2.0
// What the sources of the attention family have in common, whatever their language: parameters and sizes of buffers.
#include <algorithm>

#include "kernels/attention/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels::attention {
namespace {

std::size_t words(std::int64_t count) { return bytes_of(count, DType::i32); }
std::size_t cache_bytes(const KvLayout& c) {
    return bytes_of(c.blocks * c.kv_heads * c.head_dim * kBlockTokens, c.dtype);
}
std::size_t rows_bytes(std::int64_t tokens, std::int64_t token, std::int64_t heads, std::int64_t head,
                       std::int64_t dim, DType t) {
    return bytes_of(extent(tokens, token, extent(heads, head, dim)), t);
}
CacheParams cache_params(const KvLayout& c) {
    return {c.blocks, c.table_rows, c.table_columns, static_cast<int>(c.kv_heads),
            static_cast<int>(c.head_dim)};
}

}  // namespace

std::int64_t longest_of(const AttentionSpec& s) {
    return std::min(s.max_length, s.cache.table_columns * kBlockTokens);
}

AttentionParams attention_params(const AttentionSpec& s) {
    AttentionParams p{};
    p.cache = cache_params(s.cache);
    p.tokens = s.tokens;
    p.heads = s.heads;
    p.q_token = s.q_token;
    p.q_head = s.q_head;
    p.window = s.window;
    p.longest = longest_of(s);
    p.mask_columns = s.mask_columns;
    p.splits = 1;
    p.scale = s.scale;
    p.softcap = s.softcap;
    return p;
}

AppendParams append_params(const KvAppendSpec& s) {
    return {cache_params(s.cache), s.tokens, s.k_token, s.k_head, s.v_token, s.v_head};
}

std::array<std::size_t, 12> attention_buffers(const AttentionSpec& s) {
    const KvLayout& c = s.cache;
    return {rows_bytes(s.tokens, s.q_token, s.heads, s.q_head, c.head_dim, s.q),
            cache_bytes(c),
            cache_bytes(c),
            words(c.table_rows * c.table_columns),
            words(s.tokens),
            words(s.tokens),
            bytes_of(s.tokens * s.heads * c.head_dim, s.y),
            s.mask_columns > 0 ? words(c.table_rows * s.mask_columns) : 0};
}

std::array<std::size_t, 12> decode_buffers(const DecodeSpec& s) {
    const KvLayout& c = s.attention.cache;
    std::array<std::size_t, 12> bytes = attention_buffers(s.attention);
    bytes[7] = bytes_of(extent(c.kv_heads, s.k_head, c.head_dim), s.attention.q);
    bytes[8] = bytes_of(extent(c.kv_heads, s.v_head, c.head_dim), s.attention.q);
    if (s.rotary) bytes[9] = bytes[10] = bytes_of(c.head_dim / 2, DType::f32);
    return bytes;
}

std::array<std::size_t, 12> append_buffers(const KvAppendSpec& s) {
    const KvLayout& c = s.cache;
    return {rows_bytes(s.tokens, s.k_token, c.kv_heads, s.k_head, c.head_dim, s.kv),
            rows_bytes(s.tokens, s.v_token, c.kv_heads, s.v_head, c.head_dim, s.kv),
            cache_bytes(c),
            cache_bytes(c),
            words(c.table_rows * c.table_columns),
            words(s.tokens),
            words(s.tokens)};
}

}  // namespace invar::kernels::attention
