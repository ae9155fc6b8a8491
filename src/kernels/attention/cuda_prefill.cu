// SPDX-License-Identifier: Apache-2.0
// Attention of prompts over a 16-bit cache with tensor cores: T. Dao, "FlashAttention-2" (2023), over a paged cache.
// Definitions: KV (type of q, cache and y), HEAD_DIM (64 or 128), GROUP (heads that share a kv head, 1 to 8), SOFTCAP (0 or
// 1). The scale is positive.
//
// A block takes 128 rows: kTokens tokens with all heads of a group. It walks over the slots of their sequence in tiles of
// 64 counted from slot 0, the next tile on its way while one is worked on; a warp has 32 rows. A row's bits depend on its
// own slots alone: tiles that it does not attend to leave its state as it is.
// Loops are unrolled where registers are indexed and no further: this is the slowest kernel to compile.
// Where tokens of several sequences meet in a block, their runs are worked on one after the other, the other rows masked.
constexpr u32 kThreads = 128;
constexpr int kRows = 128, kTile = 64, kTokens = kRows / GROUP;
constexpr int kPieces = HEAD_DIM / 8;  // of 16 bytes, in a row of q, v or y
constexpr int kKeyPieces = kTile / 8;  // the same in a row of k, which holds one dimension of a tile's tokens
constexpr int kStage = kTile * HEAD_DIM / 8;  // pieces of a tile of k, as of v

// Rows of 16-byte pieces in shared memory, moved about so that eight rows at one column lie in different banks.
PRIVATE u32 place(u32 row, u32 piece, u32 pieces) { return row * pieces + (piece ^ (row & 7)); }
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
// 16 bytes to shared memory while work goes on; zeros where not wanted.
PRIVATE void fetch(u32 to, const void* from, bool wanted) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
PRIVATE f32 power_of_two(f32 x) { f32 r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
// Whether one of the two numbers of a word is infinite or NaN; the word with such numbers made 0.
constexpr u32 kExponent = Convert<KV, f16>::same ? 0x7c00u : 0x7f80u;
PRIVATE bool unbounded(u32 w) { return (w & kExponent) == kExponent || (w >> 16 & kExponent) == kExponent; }
PRIVATE u32 bounded(u32 w) {
    if ((w & kExponent) == kExponent) w &= 0xffff0000u;
    if ((w >> 16 & kExponent) == kExponent) w &= 0xffffu;
    return w;
}

KERNEL_AT_LEAST(kThreads, 2) prefill(const KV* q, const KV* keys, const KV* values, const i32* table, const i32* sequence,
                                     const i32* slot, KV* y, AttentionParams p, FaultBox* faults) {
    extern __shared__ uint4 memory[];  // q, then two stages of k and v
    __shared__ i32 slots[kTokens], sequences[kTokens];  // of the block's tokens; a sequence of -1 attends to nothing
    __shared__ i32 last_of_row[kRows];                  // in the run at hand, -1 for rows outside it
    uint4* const q_tile = memory;
    const CacheParams& c = p.cache;
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const i64 kv_head = blockIdx.x;
    // The longest tiles first.
    const i64 first_token = (i64)(gridDim.y - 1 - blockIdx.y) * kTokens;
    const int count = p.tokens - first_token < kTokens ? (int)(p.tokens - first_token) : kTokens;
    let_next_start();
    wait_for_earlier();

    for (int t = threadIdx.x; t < count; t += kThreads) {
        const i64 i = first_token + t, at = slot[i], row = sequence[i];
        bool sound = at >= 0 && check_token(c, p.longest, i, row, at, faults);
        if (sound && i > 0 && sequence[i - 1] == row && slot[i - 1] >= at) {
            report(faults, kLaunchFailed, "attention: token {0} of sequence {1} has slot {2}; those of a call must ascend", i, row, at);
            sound = false;
        }
        slots[t] = sound ? (i32)at : -1;
        sequences[t] = sound ? (i32)row : -1;
    }
    const bool aligned = aligned16(q) && p.q_token % 8 == 0 && p.q_head % 8 == 0;
#pragma unroll 2
    for (int e = threadIdx.x; e < kRows * kPieces; e += kThreads) {
        const int r = e / kPieces, piece = e % kPieces, t = r / GROUP;
        uint4 v = make_uint4(0, 0, 0, 0);
        if (t < count) {
            const KV* from = q + (first_token + t) * p.q_token + (kv_head * GROUP + r % GROUP) * p.q_head + piece * 8;
            if (aligned) {
                v = *(const uint4*)from;
            } else {
                u32 w[4];
#pragma unroll
                for (int k = 0; k < 4; ++k) w[k] = from[2 * k].bits | (u32)from[2 * k + 1].bits << 16;
                v = make_uint4(w[0], w[1], w[2], w[3]);
            }
        }
        q_tile[place(r, piece, kPieces)] = v;
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
    const f32 scale = (SOFTCAP ? 1.0f : p.scale) * 1.44269504088896341f;  // to powers of two

    for (int begin = 0, end; begin < count; begin = end) {
        const i32 row = sequences[begin];
        end = begin + 1;
        if (row < 0) continue;
        if (sequences[count - 1] == row) end = count;  // tokens of a sequence stand together, but for padding
        else while (end < count && sequences[end] == row) ++end;
        const int first_slot_of_run = slots[begin], last = slots[end - 1];
        const int first_tile = (int)(first_slot(first_slot_of_run, p.window) / kTile), last_tile = last / kTile;
        const int last_column = last / kBlockTokens;
        const i32* columns = table + row * c.table_columns;
        bool sound = true;
        for (int column = first_tile * (kTile / kBlockTokens) + threadIdx.x; column <= last_column; column += kThreads)
            sound = sound && find_block(c, table, row, column, faults) >= 0;
        const int own = threadIdx.x / GROUP;
        last_of_row[threadIdx.x] = own >= begin && own < end && sequences[own] == row ? slots[own] : -1;
        if (!__syncthreads_and(sound)) continue;
        // Whether every token of the block attends to something in this run.
        const bool whole = __syncthreads_and(own >= count || last_of_row[threadIdx.x] >= 0);

        i32 ids[kTile / kBlockTokens];  // blocks of the tile that is asked for next
        const auto find_ids = [&](int tile) {
#pragma unroll
            for (int b = 0; b < kTile / kBlockTokens; ++b) {
                const int column = tile * (kTile / kBlockTokens) + b;
                ids[b] = column <= last_column ? columns[column] : -1;
            }
        };
        const auto ask_for = [&](int tile, int stage) {
            uint4* k_tile = memory + kRows * kPieces + stage * 2 * kStage;
            uint4* v_tile = k_tile + kStage;
#pragma unroll
            for (int n = 0; n < kStage / (int)kThreads; ++n) {
                constexpr int kOfBlock = kStage / (kTile / kBlockTokens);  // pieces of a block
                const int e = n * kThreads + threadIdx.x, b = n * kThreads / kOfBlock, in_block = e % kOfBlock;
                const i64 id = ids[b] < 0 ? 0 : ids[b];
                const i64 base = (id * c.kv_heads + kv_head) * (i64)(HEAD_DIM * kBlockTokens) + in_block * 8;
                fetch(shared_address(k_tile + place(in_block / 2, b * 2 + in_block % 2, kKeyPieces)), keys + base, ids[b] >= 0);
                // What lies behind the last slot may be anything, NaN too.
                const int token = b * kBlockTokens + in_block / kPieces;
                fetch(shared_address(v_tile + place(token, in_block % kPieces, kPieces)), values + base,
                      ids[b] >= 0 && tile * kTile + token <= last);
            }
            asm volatile("cp.async.commit_group;" ::: "memory");
        };
        find_ids(first_tile);
        for (int tile = first_tile - 1; tile <= last_tile; ++tile) {  // the first only asks for the next
            const int stage = (tile - first_tile) & 1;
            asm volatile("cp.async.wait_group 0;" ::: "memory");
            __syncthreads();
            if (tile < last_tile) {
                ask_for(tile + 1, 1 - stage);
                find_ids(tile + 2);
            }
            if (tile < first_tile) continue;
            uint4* k_tile = memory + kRows * kPieces + stage * 2 * kStage;
            uint4* v_tile = k_tile + kStage;

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
                    load_matrices(a[m], shared_address(q_tile + place(warp * 32 + m * 16 + lane % 16, d * 2 + lane / 16, kPieces)));
#pragma unroll
                for (int n = 0; n < kTile / 16; ++n) {
                    u32 b[4];
                    load_transposed(b, shared_address(k_tile + place(d * 16 + lane % 16, n * 2 + lane / 16, kKeyPieces)));
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        multiply_add<KV>(score[m][2 * n], a[m], b[0], b[1]);
                        multiply_add<KV>(score[m][2 * n + 1], a[m], b[2], b[3]);
                    }
                }
            }

#if SOFTCAP
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int n = 0; n < kTile / 8; ++n)
#pragma unroll
                    for (int k = 0; k < 4; ++k) score[m][n][k] = p.softcap * tanhf(score[m][n][k] * p.scale / p.softcap);
#endif
            // Rows that do not attend to the whole tile: those of other runs, of earlier slots, behind the window.
            const bool masked = !whole || (tile + 1) * kTile - 1 > first_slot_of_run ||
                                (p.window > 0 && tile * kTile < first_slot(last, p.window));
            if (masked) {
#pragma unroll
                for (int m = 0; m < 2; ++m)
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        const int last_slot = last_of_row[warp * 32 + m * 16 + h * 8 + lane / 4];
                        // Slots low to last_slot, counted from the lane's first; a row outside the run has none.
                        const int low = last_slot < 0 ? 0x7fffffff : (int)first_slot(last_slot, p.window);
                        const int at = tile * kTile + (int)lane % 4 * 2 - low;
                        const u32 seen = last_slot < 0 ? 0 : (u32)(last_slot - low) + 1;
#pragma unroll
                        for (int n = 0; n < kTile / 8; ++n)
#pragma unroll
                            for (int k = 0; k < 2; ++k)
                                if ((u32)(at + n * 8 + k) >= seen) score[m][n][h * 2 + k] = -INFINITE;
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
                bool found = false;
#pragma unroll 2
                for (int e = threadIdx.x; e < kStage; e += kThreads) {
                    const uint4 v = v_tile[e];
                    found = found || unbounded(v.x) || unbounded(v.y) || unbounded(v.z) || unbounded(v.w);
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
#pragma unroll
            for (int s = 0; s < kTile / 16; ++s) {
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
                    load_transposed(b, shared_address(v_tile + place(s * 16 + lane % 16, n * 2 + lane / 16, kPieces)));
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        multiply_add<KV>(sums[m][2 * n], a[m], b[0], b[1]);
                        multiply_add<KV>(sums[m][2 * n + 1], a[m], b[2], b[3]);
                    }
                }
            }
        }
        __syncthreads();  // before the next run asks for its first tile
    }

    // Results go out through the rows of q, which nobody but this warp reads.
    __syncwarp();
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            f32 all = total[m][h];
            all += __shfl_xor_sync(kAllLanes, all, 1);
            all += __shfl_xor_sync(kAllLanes, all, 2);
            const int r = warp * 32 + m * 16 + h * 8 + lane / 4;
            const f32 inverse = all == 0.0f ? 0.0f : 1.0f / all;  // 0: attends to nothing
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 8; ++n)
                ((u32*)(q_tile + place(r, n, kPieces)))[lane % 4] = narrow2<KV>(sums[m][n][h * 2] * inverse, sums[m][n][h * 2 + 1] * inverse);
        }
    __syncwarp();
    if (wild) {
        const int r = warp * 32 + lane, t = r / GROUP;
        const bool attends = t < count && sequences[t] >= 0;
        const i64 last = attends ? slots[t] : -1;
#pragma unroll 1
        for (i64 s = attends ? first_slot(last, p.window) : 0; s <= last; ++s) {
            const i64 id = find_block(c, table, sequences[t], s / kBlockTokens, faults);
            if (id < 0) break;
            const KV* v = values + ((id * c.kv_heads + kv_head) * kBlockTokens + s % kBlockTokens) * HEAD_DIM;
#pragma unroll 1
            for (int k = 0; k < HEAD_DIM / 2; ++k) {
                const u32 w = ((const u32*)v)[k];
                if (!unbounded(w)) continue;
                u32* at = (u32*)(q_tile + place(r, k / 4, kPieces)) + k % 4;
                f32 first, second, x, y;
                widen2<KV>(w, first, second);
                widen2<KV>(*at, x, y);
                *at = narrow2<KV>(unbounded(w & 0xffffu) ? x + first : x, unbounded(w & 0xffff0000u) ? y + second : y);
            }
        }
        __syncwarp();
    }
#pragma unroll 2
    for (int e = lane; e < 32 * kPieces; e += kWarp) {
        const int r = warp * 32 + e / kPieces, piece = e % kPieces, t = r / GROUP;
        if (t >= count) continue;
        *(uint4*)(y + ((first_token + t) * p.heads + kv_head * GROUP + r % GROUP) * HEAD_DIM + piece * 8) = q_tile[place(r, piece, kPieces)];
    }
}
