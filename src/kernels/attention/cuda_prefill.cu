// SPDX-License-Identifier: Apache-2.0
// Attention of prompts over a 16-bit cache with tensor cores: T. Dao, "FlashAttention-2" (2023), over a paged cache.
// Definitions: KV (type of q, cache and y), HEAD_DIM (64 or 128), GROUP (heads that share a kv head, 1 to 8), SOFTCAP (0 or
// 1). The scale is positive.
//
// A block takes 128 rows: kTokens tokens with all heads of a group. It walks over the slots of their sequence in tiles of
// 64 counted from slot 0, the next tile on its way while one is worked on; a warp has 32 rows. A row's bits depend on its
// own slots alone: tiles that it does not attend to leave its state as it is.
// This is the slowest kernel to compile: loops are unrolled where registers are indexed and no further, and what a tile or a
// block does rarely is a loop over rows that move through the registers, or a function of its own.
// Where tokens of several sequences meet in a block, their runs are worked on one after the other, the other rows masked.
constexpr u32 kThreads = 128;
constexpr int kRows = 128, kTile = 64, kTokens = kRows / GROUP;
constexpr int kPieces = HEAD_DIM / 8;  // of 16 bytes, in a row of q, v or y
constexpr int kKeyPieces = kTile / 8;  // the same in a row of k, which holds one dimension of a tile's tokens
constexpr int kStage = kTile * HEAD_DIM / 8;  // pieces of a tile of k, as of v

// Rows of 16-byte pieces in shared memory, moved about so that eight rows at one column lie in different banks: the offset in
// bytes. In a tile that begins at a multiple of its row, piece ^ n lies at the address ^ 16 n, and eight rows further on is a
// constant further on: the addresses of a loop come from one register.
PRIVATE u32 place(u32 row, u32 piece, u32 pieces) { return 16 * (row * pieces + (piece ^ (row & 7))); }
PRIVATE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
PRIVATE void load_matrices(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
PRIVATE void load_transposed(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
template <class T> INLINE void multiply_add(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1);
template <> INLINE void multiply_add<bf16>(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <> INLINE void multiply_add<f16>(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The four rows of a lane move up, the first one to the end: registers are indexed by constants, so a loop over rows that is
// not unrolled works on row 0.
template <int N> INLINE void next_row(f32 (&x)[2][N][4]) {
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const f32 first = x[0][n][k];
            x[0][n][k] = x[0][n][2 + k];
            x[0][n][2 + k] = x[1][n][k];
            x[1][n][k] = x[1][n][2 + k];
            x[1][n][2 + k] = first;
        }
}
// 16 bytes to shared memory while work goes on; zeros where not wanted.
PRIVATE void fetch(u32 to, const void* from, bool wanted) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
PRIVATE f32 power_of_two(f32 x) { f32 r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
// The highest bit of each number of a word that is infinite or NaN; the word with such numbers made 0.
constexpr u32 kExponents = Convert<KV, f16>::same ? 0x7c007c00u : 0x7f807f80u;
constexpr u32 kLowestOfExponents = kExponents & ~(kExponents << 1);
PRIVATE u32 unbounded(u32 w) { return ((w & kExponents) + kLowestOfExponents) & 0x80008000u; }
PRIVATE u32 bounded(u32 w) { return w & ~((unbounded(w) >> 15) * 0xffffu); }

// The first slot that the token of a slot attends to; 0 for slot -1.
PRIVATE int first_seen(int slot, int window) { return slot - window + 1 > 0 ? slot - window + 1 : 0; }

// Adds the values that are infinite or NaN of slots first to last to row r of the results. Rare, so apart.
static __device__ __noinline__ void add_unbounded(u32* results, int r, const i32* columns, i64 blocks, const KV* values,
                                                  i64 block_size, int first, int last) {
#pragma unroll 1
    for (int s = first; s <= last; ++s) {
        const i64 id = columns[s / kBlockTokens];
        if (id < 0 || id >= blocks) return;  // reported with the run
        const u32* v = (const u32*)(values + id * block_size + s % kBlockTokens * HEAD_DIM);
#pragma unroll 1
        for (int k = 0; k < HEAD_DIM / 2; ++k) {
            const u32 w = v[k];
            if (!unbounded(w)) continue;
            u32* at = results + place(r, k / 4, kPieces) / 4 + k % 4;
            f32 low, high, x, y;
            widen2<KV>(w, low, high);
            widen2<KV>(*at, x, y);
            *at = narrow2<KV>(unbounded(w & 0xffffu) ? x + low : x, unbounded(w & 0xffff0000u) ? y + high : y);
        }
    }
}

KERNEL_AT_LEAST(kThreads, 2) prefill(const KV* q, const KV* keys, const KV* values, const i32* table, const i32* sequence,
                                     const i32* slot, KV* y, AttentionParams p, FaultBox* faults) {
    // q, two stages of k and v, and what is known of the block's tokens. Nothing else lies in shared memory, so that it begins
    // where its alignment says.
    extern __shared__ __align__(kPieces * 16) uint4 memory[];
    i32 *const slots = (i32*)(memory + kRows * kPieces + 4 * kStage), *const sequences = slots + kTokens;
    i32* const last_of_row = sequences + kTokens;  // in the run at hand, -1 for rows outside it
    const CacheParams& c = p.cache;
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const i64 kv_head = blockIdx.x;
    // The longest tiles first.
    const i64 first_token = (i64)(gridDim.y - 1 - blockIdx.y) * kTokens;
    const int count = p.tokens - first_token < kTokens ? (int)(p.tokens - first_token) : kTokens;
    const u32 q_tile = shared_address(memory), kv_tiles = q_tile + kRows * kPieces * 16;
    let_next_start();
    wait_for_earlier();

    if (const int t = threadIdx.x; t < count) {
        const i64 i = first_token + t, at = slot[i], row = sequence[i];
        bool sound = at >= 0 && check_token(c, p.longest, i, row, at, faults);
        if (sound && i > 0 && sequence[i - 1] == row && slot[i - 1] >= at) {
            report(faults, kLaunchFailed, "attention: token {0} of sequence {1} has slot {2}; those of a call must ascend", i, row, at);
            sound = false;
        }
        slots[t] = sound ? (i32)at : -1;
        sequences[t] = sound ? (i32)row : -1;  // -1 attends to nothing
    }
    // A warp's rows of q are its own, as are those of y. They are there with the first tile.
    const bool aligned = aligned16(q) && p.q_token % 8 == 0 && p.q_head % 8 == 0;
#pragma unroll 1
    for (int e = lane; e < 32 * kPieces; e += kWarp) {
        const int r = warp * 32 + e / kPieces, piece = e % kPieces, t = r / GROUP;
        const u32 to = place(r, piece, kPieces);
        const KV* from = q;
        if (t < count) from += (first_token + t) * p.q_token + (kv_head * GROUP + r % GROUP) * p.q_head + piece * 8;
        if (aligned) {
            fetch(q_tile + to, from, t < count);
            continue;
        }
#pragma unroll 1
        for (int k = 0; k < 8; ++k) ((KV*)((char*)memory + to))[k].bits = t < count ? from[k].bits : 0;
    }
    __syncthreads();

    // Sums of the values: rows lane / 4 and lane / 4 + 8 of two tiles of 16 rows; the state of those rows.
    f32 sums[2][HEAD_DIM / 8][4], top[2][2], total[2][2];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; ++n)
#pragma unroll
            for (int k = 0; k < 4; ++k) sums[m][n][k] = 0;
#pragma unroll
        for (int h = 0; h < 2; ++h) { top[m][h] = -INFINITE; total[m][h] = 0; }
    }
    bool wild = false;  // whether values were left out
    // Of a block of the cache, which is HEAD_DIM rows of 2 pieces in k and kBlockTokens rows of kPieces in v: what a thread
    // fetches, and where to.
    const i64 block_size = (i64)c.kv_heads * (HEAD_DIM * kBlockTokens), own_head = kv_head * (HEAD_DIM * kBlockTokens);
    const KV *own_keys = keys + own_head + threadIdx.x * 8, *own_values = values + own_head + threadIdx.x * 8;
    const u32 own_k = kv_tiles + place(threadIdx.x / 2, threadIdx.x % 2, kKeyPieces);
    const u32 own_v = kv_tiles + kStage * 16 + place(threadIdx.x / kPieces, threadIdx.x % kPieces, kPieces);
    const int window = p.window > 0 && p.window < 0x7fffffff ? (int)p.window : 0x7fffffff;
    const f32 scale = (SOFTCAP ? 1.0f : p.scale) * 1.44269504088896341f;  // to powers of two

    // Loops that run once at least say so, or the sums would be set twice.
    int begin = 0, end = 0;
    do {
        begin = end;
        const i32 row = sequences[begin];
        end = begin + 1;
        if (row < 0) continue;
        if (sequences[count - 1] == row) end = count;  // tokens of a sequence stand together, but for padding
#pragma unroll 1
        while (end < count && sequences[end] == row) ++end;
        const int first_slot_of_run = slots[begin], last = slots[end - 1];
        const int first_tile = first_seen(first_slot_of_run, window) / kTile, last_tile = last / kTile;
        const int last_column = last / kBlockTokens;
        const i32* columns = table + row * c.table_columns;
        bool sound = true;
#pragma unroll 1
        for (int column = first_tile * (kTile / kBlockTokens) + threadIdx.x; column <= last_column; column += kThreads)
            sound = sound && find_block(c, table, row, column, faults) >= 0;
        const int t = threadIdx.x / GROUP;
        last_of_row[threadIdx.x] = t >= begin && t < end && sequences[t] == row ? slots[t] : -1;
        if (!__syncthreads_and(sound)) continue;
        // Whether every token of the block attends to something in this run.
        const bool whole = __syncthreads_and(t >= count || last_of_row[threadIdx.x] >= 0);

        i32 ids[kTile / kBlockTokens];  // blocks of the tile that is asked for next
        const auto find_ids = [&](int tile) {
#pragma unroll
            for (int b = 0; b < kTile / kBlockTokens; ++b) {
                const int column = tile * (kTile / kBlockTokens) + b;
                ids[b] = column <= last_column ? columns[column] : -1;
            }
        };
        const auto ask_for = [&](int tile, int stage) {
            // Values behind the last slot may be anything, NaN too: those of tokens above this are not wanted.
            const int last_token = last - tile * kTile - (int)threadIdx.x / kPieces;
            const u32 k_to = own_k + stage * kStage * 32, v_to = own_v + stage * kStage * 32;
#pragma unroll
            for (int b = 0; b < kTile / kBlockTokens; ++b) {
                const i64 block = (ids[b] < 0 ? 0 : ids[b]) * block_size;
#pragma unroll
                for (int part = 0; part < HEAD_DIM / 64; ++part) {
                    const int token = b * kBlockTokens + part * (int)kThreads / kPieces;
                    const i64 from = block + part * kThreads * 8;
                    fetch((k_to ^ b * 32) + part * kThreads / 2 * kKeyPieces * 16, own_keys + from, ids[b] >= 0);
                    fetch(v_to + token * kPieces * 16, own_values + from, token <= last_token);
                }
            }
            asm volatile("cp.async.commit_group;" ::: "memory");
        };
        find_ids(first_tile);
        int tile = first_tile - 1;  // the first only asks for the next
        do {
            const int stage = (tile - first_tile) & 1;
            asm volatile("cp.async.wait_group 0;" ::: "memory");
            __syncthreads();
            if (tile < last_tile) {
                ask_for(tile + 1, 1 - stage);
                find_ids(tile + 2);
            }
            if (tile < first_tile) continue;
            // The lane's addresses: of eight rows and a piece at a time, for ldmatrix.
            const u32 q_at = q_tile + place(warp * 32 + lane % 16, lane / 16, kPieces);
            const u32 k_at = kv_tiles + stage * kStage * 32 + place(lane % 16, lane / 16, kKeyPieces);
            const u32 v_at = kv_tiles + stage * kStage * 32 + kStage * 16 + place(lane % 16, lane / 16, kPieces);

            f32 score[2][kTile / 8][4];
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int n = 0; n < kTile / 8; ++n)
#pragma unroll
                    for (int k = 0; k < 4; ++k) score[m][n][k] = 0;
#pragma unroll 2
            for (int d = 0; d < HEAD_DIM / 16; ++d) {
                u32 a[2][4];
#pragma unroll
                for (int m = 0; m < 2; ++m)
                    load_matrices(a[m], (q_at ^ d * 32) + m * 16 * kPieces * 16);
#pragma unroll
                for (int n = 0; n < kTile / 16; ++n) {
                    u32 b[4];
                    load_transposed(b, (k_at + d * 16 * kKeyPieces * 16) ^ n * 32);
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        multiply_add<KV>(score[m][2 * n], a[m], b[0], b[1]);
                        multiply_add<KV>(score[m][2 * n + 1], a[m], b[2], b[3]);
                    }
                }
            }

#if SOFTCAP
#pragma unroll 1
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int n = 0; n < kTile / 8; ++n)
#pragma unroll
                    for (int k = 0; k < 2; ++k) score[0][n][k] = p.softcap * tanhf(score[0][n][k] * p.scale / p.softcap);
                next_row(score);
            }
#endif
            // Rows that do not attend to the whole tile: those of other runs, of earlier slots, behind the window.
            const bool masked = !whole || (tile + 1) * kTile - 1 > first_slot_of_run || tile * kTile < first_seen(last, window);
            if (masked) {
#pragma unroll 1
                for (int i = 0; i < 4; ++i) {
                    // Slots low to last_slot, counted from the lane's first; a row outside the run has none.
                    const int last_slot = last_of_row[warp * 32 + i * 8 + lane / 4], low = first_seen(last_slot, window);
                    const int at = tile * kTile + (int)lane % 4 * 2 - low;
                    const u32 seen = last_slot + 1 - low;
#pragma unroll
                    for (int n = 0; n < kTile / 8; ++n)
#pragma unroll
                        for (int k = 0; k < 2; ++k)
                            if ((u32)(at + n * 8 + k) >= seen) score[0][n][k] = -INFINITE;
                    next_row(score);
                }
            }

            // Scores become weights, packed as the left operand of the next product.
            u32 weights[2][kTile / 8][2];
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    f32 highest = -INFINITE;
#pragma unroll
                    for (int n = 0; n < kTile / 8; ++n)
                        highest = Largest()(highest, Largest()(score[m][n][h * 2], score[m][n][h * 2 + 1]));
                    highest = Largest()(highest, __shfl_xor_sync(kAllLanes, highest, 1));
                    highest = Largest()(highest, __shfl_xor_sync(kAllLanes, highest, 2));
                    const f32 joint = Largest()(top[m][h], highest), base = joint == -INFINITE ? 0.0f : joint * scale;
                    const f32 old = power_of_two(fmaf(top[m][h], scale, -base));
                    top[m][h] = joint;
                    f32 sum = 0;
#pragma unroll
                    for (int n = 0; n < kTile / 8; ++n) {
                        const f32 e = power_of_two(fmaf(score[m][n][h * 2], scale, -base));
                        const f32 f = power_of_two(fmaf(score[m][n][h * 2 + 1], scale, -base));
                        sum += e + f;
                        weights[m][n][h] = narrow2<KV>(e, f);
                    }
                    total[m][h] = fmaf(total[m][h], old, sum);
#pragma unroll
                    for (int n = 0; n < HEAD_DIM / 8; ++n) {
                        sums[m][n][h * 2] *= old;
                        sums[m][n][h * 2 + 1] *= old;
                    }
                }

            // An infinite or NaN value times a weight of 0 would reach rows that do not attend to it: such values are left
            // out of the product here, and put into the rows that do attend to them at the end.
            if (masked) {
                uint4* v_tile = memory + kRows * kPieces + (stage * 2 + 1) * kStage;
                u32 found = 0;
#pragma unroll 2
                for (int e = threadIdx.x; e < kStage; e += kThreads) {
                    const uint4 v = v_tile[e];
                    found |= unbounded(v.x) | unbounded(v.y) | unbounded(v.z) | unbounded(v.w);
                }
                if (__syncthreads_or(found)) {
                    wild = true;
#pragma unroll 1
                    for (int e = threadIdx.x; e < kStage; e += kThreads) {
                        const uint4 v = v_tile[e];
                        v_tile[e] = make_uint4(bounded(v.x), bounded(v.y), bounded(v.z), bounded(v.w));
                    }
                    __syncthreads();
                }
            }
            // By halves of the tile, since this is what takes longest to compile; the weights move up for the second.
#pragma unroll 1
            for (int half = 0; half < 2; ++half) {
                const u32 half_at = v_at + half * (kTile / 2) * kPieces * 16;
#pragma unroll
                for (int s = 0; s < kTile / 32; ++s) {
                    u32 a[2][4];
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        a[m][0] = weights[m][2 * s][0];
                        a[m][1] = weights[m][2 * s][1];
                        a[m][2] = weights[m][2 * s + 1][0];
                        a[m][3] = weights[m][2 * s + 1][1];
                    }
#pragma unroll
                    for (int n = 0; n < HEAD_DIM / 16; ++n) {
                        u32 b[4];
                        load_transposed(b, (half_at ^ n * 32) + s * 16 * kPieces * 16);
#pragma unroll
                        for (int m = 0; m < 2; ++m) {
                            multiply_add<KV>(sums[m][2 * n], a[m], b[0], b[1]);
                            multiply_add<KV>(sums[m][2 * n + 1], a[m], b[2], b[3]);
                        }
                    }
                }
#pragma unroll
                for (int m = 0; m < 2; ++m)
#pragma unroll
                    for (int n = 0; n < kTile / 16; ++n)
#pragma unroll
                        for (int h = 0; h < 2; ++h) weights[m][n][h] = weights[m][n + kTile / 16][h];
            }
        } while (++tile <= last_tile);
        __syncthreads();  // before the next run asks for its first tile
    } while (end < count);

    // Results go out through the rows of q.
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncwarp();
    const u32 result_at = place(warp * 32 + lane / 4, 0, kPieces) + lane % 4 * 4;
#pragma unroll 1
    for (int i = 0; i < 4; ++i) {  // the four rows of a lane, which move up one after the other
        f32 all = total[0][0];
        all += __shfl_xor_sync(kAllLanes, all, 1);
        all += __shfl_xor_sync(kAllLanes, all, 2);
        const f32 inverse = all == 0.0f ? 0.0f : 1.0f / all;  // 0: attends to nothing
        char* const row = (char*)memory + i * 8 * kPieces * 16;
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; ++n)
            *(u32*)(row + (result_at ^ n % 8 * 16) + n / 8 * 128) =
                narrow2<KV>(sums[0][n][0] * inverse, sums[0][n][1] * inverse);
        total[0][0] = total[0][1];
        total[0][1] = total[1][0];
        total[1][0] = total[1][1];
        next_row(sums);
    }
    __syncwarp();
    if (wild) {
        const int r = warp * 32 + lane, t = r / GROUP;
        if (t < count && sequences[t] >= 0)
            add_unbounded((u32*)memory, r, table + sequences[t] * c.table_columns, c.blocks, values + own_head, block_size,
                          first_seen(slots[t], window), slots[t]);
        __syncwarp();
    }
#pragma unroll 2
    for (int e = lane; e < 32 * kPieces; e += kWarp) {
        const int r = warp * 32 + e / kPieces, piece = e % kPieces, t = r / GROUP;
        if (t >= count) continue;
        *(uint4*)(y + ((first_token + t) * p.heads + kv_head * GROUP + r % GROUP) * HEAD_DIM + piece * 8) =
            *(const uint4*)((char*)memory + place(r, piece, kPieces));
    }
}
