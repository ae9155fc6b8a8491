// SPDX-License-Identifier: Apache-2.0
// The sampler: `largest` takes chunks of a row's vocabulary, `sample` is a block a row. Definitions: LOGITS.
//
// A filter keeps a prefix of the ranking, that is every token whose rank (logit first, then the lower id) is at least a
// cut. The cut is found by a histogram over distance from the largest logit, whose one bucket of interest is then ranked
// in shared memory; where that bucket holds too many, by bisection of the rank. Sums are sums of integers, so that no
// order of threads can change a token: the results are those of sampler.cpp.
constexpr u32 kThreads = 1024, kChunkThreads = 256, kWarps = kThreads / kWarp;
constexpr int kChunk = 2048;  // tokens that a block of `largest` takes
constexpr int kBuckets = 2048, kMaxCandidates = 1536, kTileTokens = 8;
constexpr u32 kDrawTag = 0x64726177u;

struct SamplingRow {
    f32 temperature, top_p, min_p, repetition_penalty;
    i32 top_k, pad;
    u64 seed;
};

// Integers in the order of the floats (no NaN, no -0), and behind them the lower id first.
PRIVATE u64 rank_of(f32 x, i64 id) {
    const u32 bits = __float_as_uint(x), key = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (u64)key << 24 | (0xffffffu - (u32)id);
}
PRIVATE f32 logit_of(u64 rank) {
    const u32 key = (u32)(rank >> 24);
    return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}
PRIVATE i32 id_of(u64 rank) { return (i32)(0xffffffu - (u32)(rank & 0xffffffu)); }
// NaN becomes -infinity, -0 becomes 0.
PRIVATE f32 usable(f32 x) { return x != x ? -INFINITE : x + 0.0f; }

template <class F> INLINE u64 block_fold64(u64 x, F f, u64* shared) {
#pragma unroll
    for (u32 step = 16; step > 0; step /= 2) x = f(x, __shfl_xor_sync(kAllLanes, x, step));
    if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = x;
    __syncthreads();
    x = shared[0];
#pragma unroll 4
    for (u32 w = 1; w < blockDim.x / kWarp; ++w) x = f(x, shared[w]);
    __syncthreads();
    return x;
}
struct Add64 { INLINE u64 operator()(u64 a, u64 b) const { return a + b; } };
struct Max64 { INLINE u64 operator()(u64 a, u64 b) const { return a > b ? a : b; } };

PRIVATE bool only_largest(const SamplingRow& o) { return o.temperature == 0 && o.repetition_penalty == 1; }

// The first of the ranking in each chunk (0: none above -infinity); rows that need more get their usable logits copied.
KERNEL(kChunkThreads) largest(const LOGITS* logits, const SamplingRow* options, i32*, i32*, i32*, u8* workspace,
                              SampleParams p, FaultBox*) {
    __shared__ u64 shared[kChunkThreads / kWarp];
    let_next_start();
    wait_for_earlier();
    const i64 row = blockIdx.y, first = (i64)blockIdx.x * kChunk;
    if (row >= p.rows) return;
    u64* results = (u64*)(workspace + row * p.row_bytes);
    f32* x = (f32*)(results + p.chunks);
    const bool copies = !only_largest(options[row]);
    f32 v[kChunk / kChunkThreads];
#pragma unroll
    for (int i = 0; i < kChunk / (int)kChunkThreads; ++i) {
        const i64 t = first + i * kChunkThreads + threadIdx.x;
        v[i] = t < p.vocab ? usable(widen(logits[row * p.logits_row + t])) : -INFINITE;
    }
    u64 best = 0;
#pragma unroll
    for (int i = 0; i < kChunk / (int)kChunkThreads; ++i) {
        const i64 t = first + i * kChunkThreads + threadIdx.x;
        if (v[i] > -INFINITE) best = Max64()(best, rank_of(v[i], t));
        if (copies && t < p.vocab) x[t] = v[i];
    }
    best = block_fold64(best, Max64(), shared);
    if (threadIdx.x == 0) results[blockIdx.x] = best;
}

// exp(x) for x <= 0: exp_neg of lanes-inl.h step by step.
PRIVATE f32 exp_neg(f32 x) {
    const f32 n = rintf(x * 1.44269504088896341f);
    f32 f = x - n * 0.693359375f;
    f = f - n * -2.12194440e-4f;
    f32 p = 1.9875691500e-4f;
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = (p * (f * f) + f) + 1.0f;
    return x < -87.3f ? 0.0f : p * __int_as_float(((i32)n + 127) << 23);
}

PRIVATE f32 weight_of(f32 v, f32 top, f32 temperature) { return v == top ? 1.0f : exp_neg((v - top) / temperature); }
PRIVATE u64 mass_of(f32 weight) { return (u64)(weight * 0x1p38f); }
// The mass of a token where it is left, else 0. Not inlined: sixteen copies of a division and an exponential were a fifth of the
// time that this kernel took to compile.
static __device__ __noinline__ u64 mass_left(f32 v, i64 t, f32 top, f32 temperature, f32 min_p, u64 cut) {
    if (rank_of(v, t) < cut) return 0;
    const f32 weight = weight_of(v, top, temperature);
    return weight >= min_p ? mass_of(weight) : 0;
}

// A row in the race: its logits, and which of its tokens are left.
struct Row {
    const f32* x;
    i64 vocab;
    f32 top, temperature, min_p;
    u64 cut;  // least rank that is left

    INLINE u64 left(f32 v, i64 t) const { return mass_left(v, t, top, temperature, min_p, cut); }
    INLINE u64 mass(f32 v) const { return mass_of(weight_of(v, top, temperature)); }
    // Sum over the tokens of at least that rank; each weighs its mass, or 1.
    __device__ __noinline__ u64 sum_from(u64 least, bool by_mass, u64* shared) const {
        u64 sum = 0;
        for (i64 t = threadIdx.x; t < vocab; t += kThreads) {
            const f32 v = x[t];
            if (rank_of(v, t) >= least) sum += by_mass ? mass(v) : 1;
        }
        return block_fold64(sum, Add64(), shared);
    }
};

struct Scratch {
    u64 buckets[kBuckets], candidate[kMaxCandidates], weight[kMaxCandidates], folds[kWarps], answer, above;
    u32 count, bucket;
};

// Not inlined, and loops that are seldom walked not unrolled: this is one of the slowest kernels to compile.
// The last rank of the shortest prefix whose weight reaches target: at least 1, at most the weight of what is left.
static __device__ __noinline__ u64 find_prefix(const Row& r, bool by_mass, u64 target, Scratch& s) {
    const f32 scale = (f32)kBuckets / (27.0f * r.temperature);
    const auto bucket_of = [&](f32 v) {
        const f32 distance = v == r.top ? 0.0f : (r.top - v) * scale;
        return distance < kBuckets - 1 ? (u32)distance : (u32)kBuckets - 1;  // 0 is the nearest
    };
    for (u32 b = threadIdx.x; b < kBuckets; b += kThreads) s.buckets[b] = 0;
    if (threadIdx.x == 0) s.count = 0;
    __syncthreads();
    for (i64 t = threadIdx.x; t < r.vocab; t += kThreads) {
        const f32 v = r.x[t];
        const u32 b = bucket_of(v);
        // The farthest bucket, where most tokens are, is never asked for its sum.
        if (b < kBuckets - 1 && rank_of(v, t) >= r.cut) atomicAdd(&s.buckets[b], by_mass ? r.mass(v) : 1ull);
    }
    __syncthreads();
    if (threadIdx.x < kWarp) {
        u64 above = 0;
        u32 chosen = kBuckets - 1;
#pragma unroll 1
        for (u32 from = 0; from < kBuckets; from += kWarp) {
            const u64 mine = s.buckets[from + threadIdx.x];
            u64 upto = mine;
            for (u32 step = 1; step < kWarp; step *= 2) {
                const u64 lower = __shfl_up_sync(kAllLanes, upto, step);
                if (threadIdx.x >= step) upto += lower;
            }
            const u32 reached = __ballot_sync(kAllLanes, above + upto >= target);
            if (reached) {
                const u32 lane = __ffs(reached) - 1;
                chosen = from + lane;
                above += __shfl_sync(kAllLanes, upto - mine, lane);
                break;
            }
            above += __shfl_sync(kAllLanes, upto, kWarp - 1);
        }
        if (threadIdx.x == 0) {
            s.bucket = chosen;
            s.above = above;
        }
    }
    __syncthreads();
    for (i64 t = threadIdx.x; t < r.vocab; t += kThreads) {
        const f32 v = r.x[t];
        const u64 rank = rank_of(v, t);
        if (bucket_of(v) != s.bucket || rank < r.cut) continue;
        const u32 at = atomicAdd(&s.count, 1u);
        if (at < kMaxCandidates) {
            s.candidate[at] = rank;
            s.weight[at] = by_mass ? r.mass(v) : 1;
        }
    }
    __syncthreads();
    const u32 count = s.count;
    if (count <= kMaxCandidates) {
        for (u32 i = threadIdx.x; i < count; i += kThreads) {
            const u64 mine = s.candidate[i];
            u64 before = s.above;
#pragma unroll 1
            for (u32 j = 0; j < count; ++j)
                if (s.candidate[j] > mine) before += s.weight[j];
            if (before < target && before + s.weight[i] >= target) s.answer = mine;
        }
        __syncthreads();
        return s.answer;
    }
    // The largest rank from which the sum reaches target.
    u64 answer = 0;
#pragma unroll 1
    for (int bit = 55; bit >= 0; --bit) {
        const u64 trial = answer | 1ull << bit;
        if (r.sum_from(trial > r.cut ? trial : r.cut, by_mass, s.folds) >= target) answer = trial;
    }
    return answer > r.cut ? answer : r.cut;
}

// The token of what is left at which the sum of masses, by ascending id, passes u * total.
PRIVATE i32 draw(const Row& r, i64 position, u64 seed, Scratch& s) {
    u64 sum = 0;
    for (i64 t = threadIdx.x; t < r.vocab; t += kThreads) sum += r.left(r.x[t], t);
    const u64 total = block_fold64(sum, Add64(), s.folds);
    const Words words = philox((u64)position, (u64)kDrawTag << 32, seed);
    u64 left = __umul64hi(words.w[0] | (u64)words.w[1] << 32, total);
    for (i64 first = 0; first < r.vocab; first += kThreads * kTileTokens) {
        const i64 mine = first + threadIdx.x * kTileTokens;
        u64 masses[kTileTokens], own = 0;
#pragma unroll
        for (int i = 0; i < kTileTokens; ++i) {
            const f32 v = mine + i < r.vocab ? r.x[mine + i] : -INFINITE;  // which weighs nothing
            masses[i] = r.left(v, mine + i);
            own += masses[i];
        }
        u64 upto = own;
        for (u32 step = 1; step < kWarp; step *= 2) {
            const u64 lower = __shfl_up_sync(kAllLanes, upto, step);
            if (threadIdx.x % kWarp >= step) upto += lower;
        }
        if (threadIdx.x % kWarp == kWarp - 1) s.folds[threadIdx.x / kWarp] = upto;
        __syncthreads();
        u64 before = upto - own, tile = 0;
#pragma unroll 4
        for (u32 w = 0; w < kWarps; ++w) {
            if (w < threadIdx.x / kWarp) before += s.folds[w];
            tile += s.folds[w];
        }
        if (left < tile) {
            if (left >= before && left < before + own) {
                u64 rest = left - before;
                int i = 0;
                while (rest >= masses[i]) rest -= masses[i++];
                s.answer = (u64)(mine + i);
            }
            __syncthreads();
            return (i32)s.answer;
        }
        left -= tile;
        __syncthreads();
    }
    return 0;  // not reached: left < total
}

// What is wrong with the options of a row, or null.
PRIVATE const char* refusal(const SamplingRow& o) {
    if (!(o.temperature >= 0 && o.temperature < INFINITE))
        return "random: temperature of row {0} is out of range; it must be 0 or positive and finite";
    if (!(o.top_p > 0 && o.top_p <= 1)) return "random: top_p of row {0} is out of range; it must be above 0 and at most 1";
    if (!(o.min_p >= 0 && o.min_p <= 1)) return "random: min_p of row {0} is out of range; it must be from 0 to 1";
    if (!(o.repetition_penalty > 0 && o.repetition_penalty < INFINITE))
        return "random: repetition_penalty of row {0} is out of range; it must be positive and finite";
    if (o.top_k < 0) return "random: top_k of row {0} is {1}; it must be 0 or positive";
    return nullptr;
}

KERNEL(kThreads) sample(const LOGITS* logits, const SamplingRow* options, i32* history, i32* length, i32* out,
                        u8* workspace, SampleParams p, FaultBox* faults) {
    __shared__ Scratch s;
    let_next_start();
    wait_for_earlier();
    const i64 row = blockIdx.x;
    if (row >= p.rows) return;
    const SamplingRow o = options[row];
    const i64 position = length[row], known = position < p.history_columns ? position : p.history_columns;
    i32* past = history + row * p.history_columns;
    if (const char* why = refusal(o)) {
        if (threadIdx.x == 0) report(faults, kInvalidArgument, why, row, o.top_k);
        return;
    }
    if (position < 0 || position == 0x7fffffff) {
        if (threadIdx.x == 0) report(faults, kLaunchFailed, "random: the history of row {0} has length {1}", row, position);
        return;
    }
    const u64* results = (const u64*)(workspace + row * p.row_bytes);
    f32* x = (f32*)(results + p.chunks);
    if (o.repetition_penalty != 1) {
        // From the logits, not from x: a token that occurs twice in the history is penalised once.
        bool sound = true;
        for (i64 i = threadIdx.x; i < known; i += kThreads) {
            const i64 t = past[i];
            if (t < 0 || t >= p.vocab) {
                // Every thread that finds one names the row's first, so that the error does not depend on their order.
                i64 first = 0;
                while (past[first] >= 0 && past[first] < p.vocab) ++first;
                report(faults, kLaunchFailed, "random: token {0} at position {1} of the history of row {2} is outside the vocabulary of {3}", past[first], first, row, p.vocab);
                sound = false;
                break;
            }
            const f32 v = usable(widen(logits[row * p.logits_row + t]));
            x[t] = (v < 0 ? v * o.repetition_penalty : v / o.repetition_penalty) + 0.0f;
        }
        if (!__syncthreads_and(sound)) return;
    }
    u64 best = 0;
    if (o.repetition_penalty != 1) {
        for (i64 t = threadIdx.x; t < p.vocab; t += kThreads)
            if (x[t] > -INFINITE) best = Max64()(best, rank_of(x[t], t));
    } else {
        for (i64 c = threadIdx.x; c < p.chunks; c += kThreads) best = Max64()(best, results[c]);
    }
    best = block_fold64(best, Max64(), s.folds);
    if (best == 0) {
        if (threadIdx.x == 0)
            report(faults, kLaunchFailed, "random: row {0} has no logit above -infinity to sample from; the model's output is NaN or fully masked", row);
        return;
    }
    i32 token = id_of(best);
    if (o.temperature > 0) {
        Row r = {x, p.vocab, logit_of(best), o.temperature, 0, 0};
        if (o.top_k > 0 && o.top_k < p.vocab) r.cut = find_prefix(r, false, (u64)o.top_k, s);
        if (o.top_p < 1) {
            __syncthreads();
            const u64 total = r.sum_from(r.cut, true, s.folds);
            const u64 share = (u64)ceil((f64)o.top_p * (f64)total);
            r.cut = find_prefix(r, true, share < 1 ? 1 : share > total ? total : share, s);
        }
        r.min_p = o.min_p;
        __syncthreads();
        token = draw(r, position, o.seed, s);
    }
    if (threadIdx.x == 0) {
        out[row] = token;
        if (position < p.history_columns) past[position] = token;
        length[row] = (i32)(position + 1);
    }
}
