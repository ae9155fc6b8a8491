// SPDX-License-Identifier: Apache-2.0
// Attention of single tokens over a 16-bit cache, bound by reading keys and values. Definitions: KV (type of q and cache),
// Y, HEAD_DIM (64 or 128), GROUP (heads that share a kv head) and PADDED (the same up to 1, 2, 4 or 8);
//   MERGE   where the splits of a token meet: 0: it has one; 1: in `combine`; 2: in the shared memory of a cluster of
//           kClusterSplits blocks
//   APPEND  1: the one token of the call is appended here, from k_new and v_new
//   ROTARY  1: its q and k are rotated first (halves of a head paired, as apply_rope has them), and stored in their type
//
// A token's slots are cut into splits of 64, 128, 256 or 512 slots, so that there are at most 8 of them up to 4096 slots,
// and at most 64 thereafter; the cut depends on the token's own length alone. A block takes one split of one kv head for
// all heads of the group: its four warps take blocks of 16 tokens in turn, keys and values asked for together, and fold
// scores with an online softmax; the warps are merged in order, then the splits. Scores are in units of log2.
constexpr u32 kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kLoads = HEAD_DIM / 16;              // 16-byte loads of a lane for the keys of 16 tokens, as for the values
constexpr int kDimLanes = HEAD_DIM / 8;            // lanes that hold one token's values, 8 dimensions each
constexpr int kTokensOfLoad = kWarp / kDimLanes;
constexpr int kPartial = HEAD_DIM + 2;             // floats: values, maximum, sum
constexpr int kHalf = HEAD_DIM / 2, kClusterSplits = 8;

PRIVATE i64 split_length(i64 slots) {
    i64 length = 64;
    while (length * kClusterSplits < slots && length < 512) length *= 2;
    while (length * 64 < slots) length *= 2;
    return length;
}

// Not by the path of constant data: this kernel, or the one before it, may just have appended.
PRIVATE uint4 load_cache(const KV* p) {
    uint4 r;
    asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p) : "memory");
    return r;
}

#if ROTARY
#define ROTARY_ARGUMENTS , const f32* cosines, const f32* sines
// Dimensions d and d + kHalf of a head of the call's token.
PRIVATE void rotate(const KV* x, int d, const f32* cosines, const f32* sines, KV& low, KV& high) {
    const f32 a = widen(x[d]), b = widen(x[d + kHalf]), c = cosines[d], s = sines[d];
    low = narrow<KV>(a * c - b * s);
    high = narrow<KV>(b * c + a * s);
}
#else
#define ROTARY_ARGUMENTS
#endif
#if APPEND
#define APPEND_ARGUMENTS , const KV* k_new, const KV* v_new ROTARY_ARGUMENTS
#else
#define APPEND_ARGUMENTS
#endif
#if MERGE == 1
#define WORKSPACE_ARGUMENT , f32* workspace
#else
#define WORKSPACE_ARGUMENT
#endif
#define ARGUMENTS                                                                                                       \
    const KV *q, KV *keys, KV *values, const i32 *table, const i32 *sequence, const i32 *slot, Y *y APPEND_ARGUMENTS \
        WORKSPACE_ARGUMENT, AttentionParams p, FaultBox *faults

#if MERGE == 2
#if __CUDA_ARCH__ < 900
#error "clusters need compute capability 9.0"
#endif
PRIVATE void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// What another block of the cluster has where this one has p.
PRIVATE f32 load_remote(const f32* p, u32 rank) {
    u32 at;
    f32 r;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"((u32)__cvta_generic_to_shared(p)), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(r) : "r"(at) : "memory");
    return r;
}
#define CLUSTER __cluster_dims__(kClusterSplits, 1, 1)
#else
#define CLUSTER
#endif

// The scores and values of a split, slots from to end - 1, for all heads of the group: merged over the warps.
struct Split {
    f32 sums[GROUP][HEAD_DIM], top[PADDED], total[PADDED];
};

extern "C" __global__ void CLUSTER __launch_bounds__(kThreads) decode(ARGUMENTS) {
    __shared__ f32 shared_scores[kWarps][kBlockTokens][PADDED];
    __shared__ f32 shared_scale[kWarps][PADDED];
    __shared__ f32 merged[kWarps][GROUP][HEAD_DIM], tops[kWarps][PADDED], totals[kWarps][PADDED];
#if MERGE == 2
    __shared__ Split mine;
#endif
#if ROTARY
    __shared__ f32 turned[GROUP][HEAD_DIM];
#endif
    const CacheParams& c = p.cache;
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const i64 i = blockIdx.z, kv_head = blockIdx.y;
    let_next_start();
    wait_for_earlier();
    // Up to the splits, what is decided is the same for all blocks of a cluster.
    const i64 last = slot[i], row = sequence[i];
    if (last < 0) {
        if (blockIdx.x == 0)
            for (int e = threadIdx.x; e < GROUP * HEAD_DIM; e += kThreads) y[(i * p.heads + kv_head * GROUP) * HEAD_DIM + e] = narrow<Y>(0.0f);
        return;
    }
    if (row < 0 || row >= c.table_rows || last >= p.longest) {
        if (threadIdx.x == 0) check_token(c, p.longest, i, row, last, faults);
        return;
    }
    const i64 length = split_length(last + 1), begin = first_slot(last, p.window);
    const i64 from = blockIdx.x * length, end = from + length <= last ? from + length : last + 1;
    const bool active = from <= last && end > begin;
    if (MERGE != 2 && !active) return;
    if (active) {
#if APPEND
    if (end == last + 1) {
        const i64 block = table[row * c.table_columns + last / kBlockTokens];
        if (block >= 0 && block < c.blocks) {  // else the loop below reports it
            const i64 base = (block * c.kv_heads + kv_head) * (i64)(HEAD_DIM * kBlockTokens), at = last % kBlockTokens;
            for (int d = threadIdx.x; d < HEAD_DIM; d += kThreads) values[base + at * HEAD_DIM + d] = v_new[kv_head * p.v_head + d];
#if ROTARY
            for (int d = threadIdx.x; d < kHalf; d += kThreads) {
                KV low, high;
                rotate(k_new + kv_head * p.k_head, d, cosines, sines, low, high);
                keys[base + d * kBlockTokens + at] = low;
                keys[base + (d + kHalf) * kBlockTokens + at] = high;
            }
#else
            for (int d = threadIdx.x; d < HEAD_DIM; d += kThreads) keys[base + d * kBlockTokens + at] = k_new[kv_head * p.k_head + d];
#endif
        }
    }
#if ROTARY
    for (int e = threadIdx.x; e < GROUP * kHalf; e += kThreads) {
        const int g = e / kHalf, d = e % kHalf;
        KV low, high;
        rotate(q + (kv_head * GROUP + g) * p.q_head, d, cosines, sines, low, high);
        turned[g][d] = widen(low);
        turned[g][d + kHalf] = widen(high);
    }
#endif
    __syncthreads();
#endif

    // This lane's part of the queries: dimension n * 16 + lane / 2 for every head.
    f32 query[PADDED][kLoads];
#pragma unroll
    for (int g = 0; g < PADDED; ++g)
#pragma unroll
        for (int n = 0; n < kLoads; ++n)
#if ROTARY
            query[g][n] = g < GROUP ? turned[g < GROUP ? g : 0][n * 16 + lane / 2] * p.scale : 0.0f;
#else
            query[g][n] = g < GROUP ? widen(q[i * p.q_token + (kv_head * GROUP + g) * p.q_head + n * 16 + lane / 2]) * p.scale : 0.0f;
#endif

    // State of the heads whose scores this lane folds: head lane / 16 + 2 * j, token lane % 16.
    constexpr int kMine = PADDED > 1 ? PADDED / 2 : 1;
    f32 top[kMine], total[kMine], sums[PADDED][8];
#pragma unroll
    for (int j = 0; j < kMine; ++j) { top[j] = -INFINITE; total[j] = 0; }
#pragma unroll
    for (int g = 0; g < PADDED; ++g)
#pragma unroll
        for (int e = 0; e < 8; ++e) sums[g][e] = 0;

    const i64 first_column = (from > begin ? from : begin) / kBlockTokens;
    for (i64 column = from / kBlockTokens + warp; column * kBlockTokens < end; column += kWarps) {
        if (column < first_column) continue;
        const i64 block = table[row * c.table_columns + column];
        if (block < 0 || block >= c.blocks) {
            if (lane == 0) find_block(c, table, row, column, faults);
            break;
        }
        const i64 base = (block * c.kv_heads + kv_head) * (i64)(HEAD_DIM * kBlockTokens);
        uint4 key[kLoads], value[kLoads];
#pragma unroll
        for (int n = 0; n < kLoads; ++n) key[n] = load_cache(keys + base + (n * kWarp + lane) * 8);
#pragma unroll
        for (int n = 0; n < kLoads; ++n) value[n] = load_cache(values + base + (n * kWarp + lane) * 8);

        // Partial scores of 8 tokens (those of this lane's parity) for all heads, then sums over the 16 lanes of a parity:
        // each step sends half of what is left to the partner.
        f32 score[PADDED * 8];
#pragma unroll
        for (int e = 0; e < PADDED * 8; ++e) score[e] = 0;
#pragma unroll
        for (int n = 0; n < kLoads; ++n) {
            f32 k8[8];
            widen16<KV>(key[n], k8);
#pragma unroll
            for (int g = 0; g < PADDED; ++g)
#pragma unroll
                for (int t = 0; t < 8; ++t) score[g * 8 + t] = fmaf(k8[t], query[g][n], score[g * 8 + t]);
        }
        int left = PADDED * 8, index = 0;
#pragma unroll
        for (u32 bit = 16; bit >= 2; bit /= 2) {
            if (left > 1) {
                left /= 2;
                const bool upper = (lane & bit) != 0;
#pragma unroll
                for (int e = 0; e < PADDED * 4; ++e) {
                    if (e >= left) continue;
                    const f32 send = upper ? score[e] : score[e + left];
                    score[e] = (upper ? score[e + left] : score[e]) + __shfl_xor_sync(kAllLanes, send, bit);
                }
                if (upper) index += left;
            } else {
                score[0] += __shfl_xor_sync(kAllLanes, score[0], bit);
            }
        }
        constexpr int kLeft = PADDED > 1 ? PADDED / 2 : 1;
#pragma unroll
        for (int e = 0; e < kLeft; ++e) {
            const int which = index + e;
            shared_scores[warp][(lane & 1) * 8 + which % 8][which / 8] = score[e];
        }
        __syncwarp();

        const int token = lane % 16;
        const i64 s = column * kBlockTokens + token;
        const bool seen = s >= begin && s <= last;
#pragma unroll
        for (int j = 0; j < kMine; ++j) {
            const int g = PADDED > 1 ? lane / 16 + 2 * j : 0;
            f32 x = shared_scores[warp][token][g];
            if (p.softcap > 0) x = p.softcap * tanhf(x / p.softcap);
            x = seen ? x * 1.44269504088896341f : -INFINITE;
            f32 highest = x;
#pragma unroll
            for (u32 bit = 8; bit > 0; bit /= 2) highest = Largest()(highest, __shfl_xor_sync(kAllLanes, highest, bit));
            const f32 joint = Largest()(top[j], highest);
            const f32 e = seen ? exp2f(x - joint) : 0.0f;
            f32 sum = e;
#pragma unroll
            for (u32 bit = 8; bit > 0; bit /= 2) sum += __shfl_xor_sync(kAllLanes, sum, bit);
            const f32 old = top[j] == -INFINITE ? 0.0f : exp2f(top[j] - joint);
            total[j] = total[j] * old + sum;
            top[j] = joint;
            if (PADDED == 1) __syncwarp();  // both halves of the warp have read the score that one writes over
            if (PADDED > 1 || lane < 16) {
                shared_scores[warp][token][g] = e;
                if (token == 0) shared_scale[warp][g] = old;
            }
        }
        __syncwarp();
#pragma unroll
        for (int g = 0; g < PADDED; ++g) {
            const f32 old = shared_scale[warp][g];
#pragma unroll
            for (int e = 0; e < 8; ++e) sums[g][e] *= old;
        }
#pragma unroll
        for (int n = 0; n < kLoads; ++n) {
            const int t = n * kTokensOfLoad + lane / kDimLanes;
            const i64 at = column * kBlockTokens + t;
            f32 v8[8];
            widen16<KV>(value[n], v8);
            if (at > last || at < begin)
#pragma unroll
                for (int e = 0; e < 8; ++e) v8[e] = 0;  // may be anything, NaN too
#pragma unroll
            for (int g = 0; g < PADDED; ++g) {
                const f32 w = shared_scores[warp][t][g];
#pragma unroll
                for (int e = 0; e < 8; ++e) sums[g][e] = fmaf(w, v8[e], sums[g][e]);
            }
        }
        __syncwarp();
    }

    // Lanes that hold other tokens of the same dimensions, then the warps in order.
#pragma unroll
    for (int g = 0; g < GROUP; ++g)
#pragma unroll
        for (int e = 0; e < 8; ++e) {
#pragma unroll
            for (u32 bit = 16; bit >= kDimLanes; bit /= 2) sums[g][e] += __shfl_xor_sync(kAllLanes, sums[g][e], bit);
            if (lane < kDimLanes) merged[warp][g][lane * 8 + e] = sums[g][e];
        }
    if (lane % 16 == 0)
#pragma unroll
        for (int j = 0; j < kMine; ++j) {
            const int g = PADDED > 1 ? lane / 16 + 2 * j : 0;
            tops[warp][g] = top[j];
            totals[warp][g] = total[j];
        }
    __syncthreads();
    for (int e = threadIdx.x; e < GROUP * HEAD_DIM; e += kThreads) {
        const int g = e / HEAD_DIM, d = e % HEAD_DIM;
        f32 joint = -INFINITE, sum = 0, all = 0;
#pragma unroll
        for (int w = 0; w < (int)kWarps; ++w) joint = Largest()(joint, tops[w][g]);
#pragma unroll
        for (int w = 0; w < (int)kWarps; ++w) {
            const f32 scale = tops[w][g] == -INFINITE ? 0.0f : exp2f(tops[w][g] - joint);
            sum += merged[w][g][d] * scale;
            all += totals[w][g] * scale;
        }
#if MERGE == 2
        mine.sums[g][d] = sum;
        if (d == 0) { mine.top[g] = joint; mine.total[g] = all; }
#else
        const i64 head = kv_head * GROUP + g;
#if MERGE == 0
        y[(i * p.heads + head) * HEAD_DIM + d] = narrow<Y>(sum / all);
#else
        f32* partial = workspace + ((i * p.heads + head) * p.splits + blockIdx.x) * kPartial;
        partial[d] = sum;
        if (d == 0) { partial[HEAD_DIM] = joint; partial[HEAD_DIM + 1] = all; }
#endif
#endif
    }
    }
#if MERGE == 2
    // As `combine` does it; each block finishes a part of the group's values.
    cluster_barrier();
    constexpr int kPart = GROUP * HEAD_DIM / kClusterSplits;
    const u32 first = (u32)(begin / length), behind = (u32)(last / length) + 1;
    if (threadIdx.x < kPart) {
        const int e = blockIdx.x * kPart + threadIdx.x, g = e / HEAD_DIM, d = e % HEAD_DIM;
        f32 joint = -INFINITE, sum = 0, all = 0;
        for (u32 s = first; s < behind; ++s) joint = Largest()(joint, load_remote(&mine.top[g], s));
        for (u32 s = first; s < behind; ++s) {
            const f32 scale = exp2f(load_remote(&mine.top[g], s) - joint);
            sum = fmaf(load_remote(&mine.sums[g][d], s), scale, sum);
            all = fmaf(load_remote(&mine.total[g], s), scale, all);
        }
        y[(i * p.heads + kv_head * GROUP + g) * HEAD_DIM + d] = narrow<Y>(sum / all);
    }
    cluster_barrier();  // nobody's memory goes while another reads it
#endif
}

#if MERGE == 1
// A block a token and head: the splits of the token, in order.
KERNEL(HEAD_DIM) combine(ARGUMENTS) {
    __shared__ f32 scales[64];
    const i64 head = blockIdx.x, i = blockIdx.y;
    let_next_start();
    wait_for_earlier();
    const i64 last = slot[i], row = sequence[i];
    if (last < 0 || row < 0 || row >= p.cache.table_rows || last >= p.longest) return;
    const i64 length = split_length(last + 1);
    const int first = (int)(first_slot(last, p.window) / length), end = (int)(last / length) + 1;
    const f32* partial = workspace + (i * p.heads + head) * p.splits * kPartial;
    const u32 d = threadIdx.x;
    f32 joint = -INFINITE;
    for (int s = first; s < end; ++s) joint = Largest()(joint, partial[s * kPartial + HEAD_DIM]);
    for (int s = first + (int)d; s < end; s += HEAD_DIM) scales[s] = exp2f(partial[s * kPartial + HEAD_DIM] - joint);
    __syncthreads();
    f32 sum = 0, all = 0;
#pragma unroll 4
    for (int s = first; s < end; ++s) {
        sum = fmaf(partial[s * kPartial + d], scales[s], sum);
        all = fmaf(partial[s * kPartial + HEAD_DIM + 1], scales[s], all);
    }
    y[(i * p.heads + head) * HEAD_DIM + d] = narrow<Y>(sum / all);
}
#endif
