// SPDX-License-Identifier: Apache-2.0
// The append to a paged cache (KV: type of the cache, NEW: of the new rows), and attention for everything that no tuned
// kernel takes (Q, Y: types; MASK: 0 or 1): a block for each token and head, splits of kSplit slots in order, f32.
constexpr u32 kThreads = 128;

#if APPEND
KERNEL(kThreads) kv_append(const NEW* k, const NEW* v, KV* keys, KV* values, const i32* table, const i32* sequence,
                           const i32* slot, AppendParams p, FaultBox* faults) {
    let_next_start();
    wait_for_earlier();
    const CacheParams& c = p.cache;
    for (i64 i = blockIdx.x; i < p.tokens; i += gridDim.x) {
        const i64 s = slot[i], row = sequence[i];
        if (s < 0) continue;
        // One thread reports; all leave the token alone.
        const bool sound = row >= 0 && row < c.table_rows && s < c.table_columns * kBlockTokens;
        const i64 block = sound ? table[row * c.table_columns + s / kBlockTokens] : -1;
        if (block < 0 || block >= c.blocks) {
            if (threadIdx.x == 0 && check_token(c, c.table_columns * kBlockTokens, i, row, s, faults))
                find_block(c, table, row, s / kBlockTokens, faults);
            continue;
        }
        const i64 at = s % kBlockTokens;
        for (int e = blockIdx.y * kThreads + threadIdx.x; e < c.kv_heads * c.head_dim; e += gridDim.y * kThreads) {
            const i64 h = e / c.head_dim, d = e % c.head_dim, base = (block * c.kv_heads + h) * c.head_dim * kBlockTokens;
            keys[base + d * kBlockTokens + at] = Convert<NEW, KV>::of(k[i * p.k_token + h * p.k_head + d]);
            values[base + at * c.head_dim + d] = Convert<NEW, KV>::of(v[i * p.v_token + h * p.v_head + d]);
        }
    }
}
#else
constexpr int kSplit = 256, kMaxHeadDim = 256;

KERNEL(kThreads) attention(const Q* q, const KV* keys, const KV* values, const i32* table, const i32* sequence,
                           const i32* slot, Y* y,
#if MASK
                           const i32* mask,
#endif
                           AttentionParams p, FaultBox* faults) {
    __shared__ f32 query[kMaxHeadDim], weight[kSplit], folds[kThreads / kWarp + 1];
    __shared__ i64 block_of[kSplit / kBlockTokens];
    let_next_start();
    wait_for_earlier();
    const CacheParams& c = p.cache;
    if (blockIdx.x >= p.tokens * p.heads) return;
    const i64 i = blockIdx.x / p.heads, head = blockIdx.x % p.heads, kv_head = head / (p.heads / c.kv_heads);
    const i64 last = slot[i], row = sequence[i];
    Y* out = y + (i * p.heads + head) * c.head_dim;
    bool sound = last >= 0 && row >= 0 && row < c.table_rows && last < p.longest;
    if (last >= 0 && !sound && threadIdx.x == 0) check_token(c, p.longest, i, row, last, faults);
    const i64 begin = first_slot(last, p.window);
    // Every block that the token will read is looked up before the first is touched.
    if (sound)
        for (i64 column = begin / kBlockTokens; column <= last / kBlockTokens; ++column) {
            const i64 block = table[row * c.table_columns + column];
            if (block < 0 || block >= c.blocks) {
                if (threadIdx.x == 0) find_block(c, table, row, column, faults);
                sound = false;
                break;
            }
        }
    f32 sums[kMaxHeadDim / kThreads] = {}, top = -INFINITE, total = 0;
    for (int d = threadIdx.x; d < c.head_dim; d += kThreads) query[d] = widen(q[i * p.q_token + head * p.q_head + d]);
    for (i64 split = sound ? begin / kSplit : 0; sound && split <= last / kSplit; ++split) {
        const i64 from = split * kSplit;
        if (threadIdx.x < kSplit / kBlockTokens) {
            const i64 column = from / kBlockTokens + threadIdx.x;
            block_of[threadIdx.x] = column * kBlockTokens <= last && (column + 1) * kBlockTokens > begin
                                        ? table[row * c.table_columns + column] : -1;
        }
        __syncthreads();
        f32 scores[kSplit / kThreads], split_top = -INFINITE;
#pragma unroll
        for (int j = 0; j < kSplit / kThreads; ++j) {
            const int at = threadIdx.x + j * kThreads;
            const i64 s = from + at;
            bool seen = s >= begin && s <= last;
#if MASK
            if (seen && s < p.mask_columns) seen = mask[row * p.mask_columns + s] != 0;
#endif
            scores[j] = -INFINITE;
            if (seen) {
                const KV* key = keys + (block_of[at / kBlockTokens] * c.kv_heads + kv_head) * c.head_dim * kBlockTokens + at % kBlockTokens;
                f32 sum = 0;
                for (int d = 0; d < c.head_dim; ++d) sum = fmaf(query[d], widen(key[d * kBlockTokens]), sum);
                sum *= p.scale;
                scores[j] = p.softcap > 0 ? p.softcap * tanhf(sum / p.softcap) : sum;
            }
            weight[at] = seen ? 1.0f : 0.0f;
            split_top = Largest()(split_top, scores[j]);
        }
        split_top = block_fold(split_top, Largest(), folds);
        f32 part = 0;
#pragma unroll
        for (int j = 0; j < kSplit / kThreads; ++j) {
            const int at = threadIdx.x + j * kThreads;
            const f32 e = weight[at] == 0 ? 0.0f : expf(scores[j] - split_top);
            weight[at] = weight[at] == 0 ? -1.0f : e;  // -1: not looked at
            part += e;
        }
        part = block_fold(part, Sum(), folds);
        if (split_top == -INFINITE) continue;  // all masked
        const f32 joint = Largest()(top, split_top), old = total > 0 ? expf(top - joint) : 0.0f, now = expf(split_top - joint);
        total = total * old + part * now;
        top = joint;
#pragma unroll
        for (int j = 0; j < kMaxHeadDim / kThreads; ++j) {
            const int d = threadIdx.x + j * kThreads;
            if (d >= c.head_dim) break;
            f32 sum = 0;
            for (int at = 0; at < kSplit; ++at) {
                const f32 e = weight[at];
                if (e < 0) continue;
                sum = fmaf(e, widen(values[((block_of[at / kBlockTokens] * c.kv_heads + kv_head) * kBlockTokens + at % kBlockTokens) * c.head_dim + d]), sum);
            }
            sums[j] = sums[j] * old + sum * now;
        }
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < kMaxHeadDim / kThreads; ++j) {
        const int d = threadIdx.x + j * kThreads;
        if (d < c.head_dim) out[d] = narrow<Y>(total > 0 || total != total ? sums[j] / total : 0.0f);
    }
}
#endif
