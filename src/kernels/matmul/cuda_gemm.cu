// SPDX-License-Identifier: Apache-2.0
// The product y = f(x w' + bias) of 16-bit x (m, k) and w (n, k) on Hopper, with an activation that the vendor's library does not
// have: products of warp groups (wgmma) from shared memory, which the copy engine fills. Definitions: X (f16 or bf16: x, w, y and
// bias), BIAS, ACTIVATION (as in cuda_linear.cu), and the tile:
//   TILE_M, TILE_N    results of a block's tile
//   STAGES            pieces of 64 along k that lie in shared memory at once
//   TOGETHER          1: the two consumers share a tile, TILE_M / 2 rows each; 0: they take tiles in turn, so that one stores its
//                     results while the other multiplies
//   CLUSTER           blocks with tiles one below the other, 1, 2 or 4, each of which loads a part of their w for all of them
//
// Of three warp groups the first loads and the other two multiply. A stage is a piece of x, TILE_M rows of 128 bytes, then one of w,
// TILE_N rows, each with its pieces of 16 bytes swizzled by the row, as the copy engine writes them and wgmma reads them. `full` of a
// stage counts bytes that have come, `empty` the warps, of all blocks of a cluster, that need it no more.
// Where x or w lies at no multiple of 16 bytes, the first group loads by itself, and the results have the same bits. A sum is the
// chain of the matrix unit over pieces of 16 along k, ascending, whatever the tile.
// Sources: PTX ISA, asynchronous warpgroup matrix instructions, and tensor copies.
constexpr int kPiece = 64, kThreads = 384;
constexpr int kBlocks = TILE_M / (TOGETHER ? 128 : 64);  // of 64 rows, that a consumer forms at once
constexpr u32 kRowBytes = 128, kXBytes = TILE_M * kRowBytes, kWBytes = TILE_N * kRowBytes, kStageBytes = kXBytes + kWBytes;
constexpr u32 kStripBytes = 16 * kRowBytes;  // 16 x 64 results on their way from a warp
constexpr u32 kStrips = STAGES * kStageBytes, kBias = kStrips + 8 * kStripBytes, kBarriers = kBias + 2 * TILE_N * 4;
constexpr int kGroup = 8 / CLUSTER;  // tiles (rows of them in a cluster) down before the next to the right, so that L2 keeps both operands

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// ---- barriers in shared memory ----
PRIVATE void init(u32 barrier, u32 arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(arrivals) : "memory"); }
PRIVATE void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
PRIVATE void wait(u32 barrier, u32 parity) {
    asm volatile("{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}"
                 :: "r"(barrier), "r"(parity) : "memory");
}
PRIVATE void arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory"); }
PRIVATE void arrive_expecting(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(barrier), "r"(bytes) : "memory");
}
// At the same barrier of a block of the cluster.
PRIVATE void arrive_at(u32 barrier, u32 rank) {
    asm volatile("{\n.reg .b32 at;\nmapa.shared::cluster.u32 at, %0, %1;\nmbarrier.arrive.shared::cluster.b64 _, [at];\n}"
                 :: "r"(barrier), "r"(rank) : "memory");
}
PRIVATE void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
PRIVATE void warp_group_barrier(u32 number) { asm volatile("bar.sync %0, 128;" :: "r"(number) : "memory"); }
// The consumers' turns at multiplying, where they take tiles in turn: a barrier for each, at which the other arrives.
PRIVATE void wait_for_turn(int team) { asm volatile("bar.sync %0, 256;" :: "r"(4 + team) : "memory"); }
PRIVATE void give_turn(int team) { asm volatile("bar.arrive %0, 256;" :: "r"(4 + team) : "memory"); }

// ---- tiles by the copy engine ----
PRIVATE void prefetch_map(const void* map) { asm volatile("prefetch.tensormap [%0];" :: "l"(map) : "memory"); }
// What ordinary stores wrote to shared memory before is seen by the matrix units.
PRIVATE void publish_stores() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
PRIVATE void load_tile(u32 to, const void* map, int column, int row, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 :: "r"(to), "l"(map), "r"(barrier), "r"(column), "r"(row) : "memory");
}
PRIVATE void load_tile_for_all(u32 to, const void* map, int column, int row, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;"
                 :: "r"(to), "l"(map), "r"(barrier), "r"(column), "r"(row), "h"((u16)((1 << CLUSTER) - 1)) : "memory");
}

// ---- products of a warp group ----
PRIVATE void keep_few_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 40;"); }
PRIVATE void take_many_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 232;"); }
// 64 or more rows of 128 bytes, swizzled, from a multiple of 1024 on: groups of 8 rows lie 1024 bytes apart.
PRIVATE u64 describe(u32 shared) { return (u64)(shared >> 4) | (u64)1 << 16 | (u64)64 << 32 | (u64)1 << 62; }
PRIVATE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
PRIVATE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> INLINE void wait_products() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }
PRIVATE void keep(f32 (&sums)[TILE_N / 2]) {
#pragma unroll
    for (int i = 0; i < TILE_N / 2; ++i) asm volatile("" : "+f"(sums[i]) :: "memory");
}

template <class T> struct Multiply;
#define SUM4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SUM16(i) SUM4(i), SUM4(i + 4), SUM4(i + 8), SUM4(i + 12)
#if TILE_N == 64
#define SUM_NAMES \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SUMS SUM16(0), SUM16(16)
#define OPERANDS "%32, %33, more, 1, 1, 0, 0"
#define MORE "%34"
#elif TILE_N == 128
#define SUM_NAMES \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, " \
    "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, " \
    "%60, %61, %62, %63"
#define SUMS SUM16(0), SUM16(16), SUM16(32), SUM16(48)
#define OPERANDS "%64, %65, more, 1, 1, 0, 0"
#define MORE "%66"
#elif TILE_N == 256
#define SUM_NAMES \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, " \
    "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, " \
    "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, " \
    "%100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, " \
    "%120, %121, %122, %123, %124, %125, %126, %127"
#define SUMS SUM16(0), SUM16(16), SUM16(32), SUM16(48), SUM16(64), SUM16(80), SUM16(96), SUM16(112)
#define OPERANDS "%128, %129, more, 1, 1, 0, 0"
#define MORE "%130"
#endif
#define TEXT(N) #N
#define SHAPE(N) "m64n" TEXT(N) "k16"
#define MULTIPLY(T, NAME)                                                                                                \
    template <> struct Multiply<T> {                                                                                      \
        /* d += x w' of 64 rows of x and TILE_N of w, 16 along k; d = x w' where more is 0 */                              \
        static INLINE void run(f32 (&d)[TILE_N / 2], u64 x, u64 w, int more) {                                              \
            asm volatile("{\n.reg .pred more;\nsetp.ne.b32 more, " MORE ", 0;\nwgmma.mma_async.sync.aligned." SHAPE(TILE_N)    \
                         ".f32." NAME "." NAME " {" SUM_NAMES "}, " OPERANDS ";\n}"                                        \
                         : SUMS : "l"(x), "l"(w), "r"(more) : "memory");                                                  \
        }                                                                                                               \
    }
MULTIPLY(f16, "f16");
MULTIPLY(bf16, "bf16");
// Four 8 x 8 matrices of 16-bit elements, of which a lane has two neighbours of row lane / 4 each; `at` is where row lane % 8 of
// matrix lane / 8 goes.
PRIVATE void store_matrices(u32 at, const u32 (&words)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 :: "r"(at), "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
}
PRIVATE uint4 load_shared(u32 at) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at) : "memory");
    return v;
}

template <class T> constexpr bool is_f16 = false;
template <> constexpr bool is_f16<f16> = true;

// x Phi(x) = max(x, 0) - |x| 2^q(|x|) with a polynomial q near to log2 Phi(-t), minimax by Lawson's iteration: at most 0.15 units in the
// last place of f16 off with five coefficients, 0.04 of bf16 with eight down to -12.9, 0 from there. 9 instructions where
// erff takes 26, which the matrix unit would wait for. NaN stays; -infinity gives 0, as the limit has it.
PRIVATE f32 exact_gelu(f32 x) {
    f32 t, q, e, positive;
    if constexpr (is_f16<X>) {
        asm("min.NaN.f32 %0, %1, 0f40C00000;" : "=f"(t) : "f"(fabsf(x)));  // 6
        q = fmaf(-0x1.5d7388p-12f, t, 0x1.860050p-8f);
        q = fmaf(q, t, -0x1.8e8d3ep-5f);
        q = fmaf(q, t, -0x1.dab0a6p-2f);
        q = fmaf(q, t, -0x1.26412cp+0f);
        q = fmaf(q, t, -0x1.0006b8p+0f);
    } else {
        asm("min.NaN.f32 %0, %1, 0f41533333;" : "=f"(t) : "f"(fabsf(x)));  // 13.2
        q = fmaf(0x1.d2a6bep-26f, t, -0x1.d0b998p-20f);
        q = fmaf(q, t, 0x1.8edfaap-15f);
        q = fmaf(q, t, -0x1.85cc9ap-11f);
        q = fmaf(q, t, 0x1.e6083ep-8f);
        q = fmaf(q, t, -0x1.a01c60p-5f);
        q = fmaf(q, t, -0x1.d9e5c0p-2f);
        q = fmaf(q, t, -0x1.262730p+0f);
        q = fmaf(q, t, -0x1.000c0cp+0f);
    }
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(q));
    asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(positive) : "f"(x));
    return fmaf(-t, e, positive);
}
PRIVATE f32 activate(f32 x) {
    if constexpr (ACTIVATION == 1) return x / (1.0f + expf(-x));
    if constexpr (ACTIVATION == 2) return exact_gelu(x);
    if constexpr (ACTIVATION == 3) return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * fmaf(0.044715f * x * x, x, x)));
    if constexpr (ACTIVATION == 4) return x > 0.0f || x != x ? x : 0.0f;
    return x;
}

// The tiles of a block, one after the other: the same for all of its threads.
struct Tiles {
    int down, across, all;  // tiles (a cluster's are one) in each direction
    INLINE Tiles(const WarpGroupGemmParams& p)
        : down(((int)p.m + TILE_M * CLUSTER - 1) / (TILE_M * CLUSTER)), across(((int)p.n + TILE_N - 1) / TILE_N), all(down * across) {}
    INLINE void place(int tile, u32 rank, int& row, int& column) const {
        const int first = tile / (kGroup * across) * kGroup, within = tile % (kGroup * across);
        const int rows = down - first < kGroup ? down - first : kGroup;
        row = ((first + within % rows) * CLUSTER + (int)rank) * TILE_M;
        column = within / rows * TILE_N;
    }
};

// Where the copy engine cannot: 8 elements of a row, as 16 bytes.
PRIVATE uint4 load_piece(const X* from, i64 row, i64 rows, i64 stride, int column, i64 columns) {
    if (row >= rows || column >= columns) return make_uint4(0, 0, 0, 0);  // columns is a multiple of 8
    const X* at = from + row * stride + column;
    u32 words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) words[i] = at[2 * i].bits | (u32)at[2 * i + 1].bits << 16;
    return make_uint4(words[0], words[1], words[2], words[3]);
}

#if CLUSTER > 1
#define CLUSTER_OF __cluster_dims__(CLUSTER, 1, 1)
#else
#define CLUSTER_OF
#endif
#endif

#if !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define CLUSTER_OF
#endif
extern "C" __global__ void CLUSTER_OF __launch_bounds__(kThreads, 1) warp_group_gemm(const X* x, const X* w, X* y,
#if BIAS
    const X* bias,
#endif
    const __grid_constant__ WarpGroupGemmParams p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ char dynamic[];
    const u32 room = ((u32)__cvta_generic_to_shared(dynamic) + 1023) & ~1023u;
    char* const generic = dynamic + (room - (u32)__cvta_generic_to_shared(dynamic));
    const u32 full = room + kBarriers, empty = full + 8 * STAGES;
    const u32 thread = threadIdx.x % 128, lane = thread % kWarp, warp = thread / kWarp;
    const u32 rank = CLUSTER > 1 ? blockIdx.x % CLUSTER : 0;
    const int clusters = gridDim.x / CLUSTER, pieces = (int)((p.k + kPiece - 1) / kPiece);
    const Tiles tiles(p);
    if (threadIdx.x == 0) {
        if (aligned16(x) && aligned16(w)) {
            prefetch_map(p.x_map);
            prefetch_map(p.w_map);
        }
        for (u32 s = 0; s < STAGES; ++s) {
            init(full + 8 * s, 1);
            init(empty + 8 * s, CLUSTER * (TOGETHER ? 8 : 4));
        }
        publish_barriers();
    }
    if constexpr (CLUSTER > 1) cluster_barrier();
    else __syncthreads();
    wait_for_earlier();
    let_next_start();

    if (threadIdx.x < 128) {
        keep_few_registers();
        const bool engine = aligned16(x) && aligned16(w);
        u32 stage = 0, parity = 1;  // the first round finds every stage free
        if (engine && thread == 0) {
            for (int tile = blockIdx.x / CLUSTER; tile < tiles.all; tile += clusters) {
                int row, column;
                tiles.place(tile, rank, row, column);
                for (int piece = 0; piece < pieces; ++piece) {
                    const u32 at = room + stage * kStageBytes, barrier = full + 8 * stage;
                    wait(empty + 8 * stage, parity);
                    arrive_expecting(barrier, kStageBytes);
                    load_tile(at, p.x_map, piece * kPiece, row, barrier);
                    if constexpr (CLUSTER > 1)
                        load_tile_for_all(at + kXBytes + rank * (kWBytes / CLUSTER), p.w_map, piece * kPiece,
                                          column + (int)rank * (TILE_N / CLUSTER), barrier);
                    else
                        load_tile(at + kXBytes, p.w_map, piece * kPiece, column, barrier);
                    if (++stage == STAGES) { stage = 0; parity ^= 1; }
                }
            }
        } else if (!engine) {
            for (int tile = blockIdx.x / CLUSTER; tile < tiles.all; tile += clusters) {
                int row, column;
                tiles.place(tile, rank, row, column);
                for (int piece = 0; piece < pieces; ++piece) {
                    wait(empty + 8 * stage, parity);
                    char* const to = generic + stage * kStageBytes;
                    for (int e = thread; e < (TILE_M + TILE_N) * 8; e += 128) {
                        const int r = e / 8, c = e % 8;
                        const uint4 v = r < TILE_M ? load_piece(x, row + r, p.m, p.x_row, piece * kPiece + c * 8, p.k)
                                                   : load_piece(w, column + r - TILE_M, p.n, p.w_row, piece * kPiece + c * 8, p.k);
                        *(uint4*)(to + r * kRowBytes + ((c ^ r % 8) * 16)) = v;
                    }
                    publish_stores();
                    warp_group_barrier(1);
                    if (thread == 0) arrive(full + 8 * stage);
                    if (++stage == STAGES) { stage = 0; parity ^= 1; }
                }
            }
        }
    } else {
        take_many_registers();
        const int team = (int)(threadIdx.x / 128) - 1;
        const u32 strip = room + kStrips + (u32)(team * 4 + (int)warp) * kStripBytes;
        f32* const shared_bias = (f32*)(generic + kBias) + team * TILE_N;
        const bool even = aligned16(y) && p.y_row % 8 == 0;
        u32 stage = 0, parity = 0;
        int turn = 0;
        if (!TOGETHER && team == 1) give_turn(0);
        for (int tile = blockIdx.x / CLUSTER; tile < tiles.all; tile += clusters, turn ^= 1) {
            if (!TOGETHER && turn != team) {  // the other's tile
                stage += (u32)pieces;
                parity ^= stage / STAGES & 1;
                stage %= STAGES;
                continue;
            }
            int row, column;
            tiles.place(tile, rank, row, column);
#if BIAS
            f32 of_column[TILE_N / 128 + 1];
#pragma unroll
            for (int i = 0; i * 128 < TILE_N; ++i) {
                const int j = i * 128 + (int)thread;
                of_column[i] = j < TILE_N && column + j < p.n ? widen(bias[column + j]) : 0.0f;
            }
#endif
            f32 sums[kBlocks][TILE_N / 2];
            u32 last = 0;
            // Only when all stages of the tile before have come does a parity tell which round of a stage is meant.
            if (!TOGETHER) wait_for_turn(team);
            for (int piece = 0; piece < pieces; ++piece) {
                wait(full + 8 * stage, parity);
                const u32 at = room + stage * kStageBytes + (TOGETHER ? (u32)team * (kXBytes / 2) : 0);
                const u64 xs = describe(at), ws = describe(room + stage * kStageBytes + kXBytes);
#pragma unroll
                for (int b = 0; b < kBlocks; ++b) keep(sums[b]);
                begin_products();
#pragma unroll
                for (int q = 0; q < kPiece / 16; ++q)
#pragma unroll
                    for (int b = 0; b < kBlocks; ++b)  // addresses in units of 16 bytes
                        Multiply<X>::run(sums[b], xs + (u64)(b * 64 * (int)kRowBytes / 16 + q * 2), ws + (u64)(q * 2), piece > 0 || q > 0);
                commit_products();
#if BIAS
                if (piece == (pieces > 3 ? 3 : pieces - 1)) {  // it has come by now; behind the products these barriers would count
                    warp_group_barrier(2 + (u32)team);  // the tile before has been stored
#pragma unroll
                    for (int i = 0; i * 128 < TILE_N; ++i)
                        if (i * 128 + (int)thread < TILE_N) shared_bias[i * 128 + (int)thread] = of_column[i];
                    warp_group_barrier(2 + (u32)team);
                }
#endif
                // While these run, the ones before are done with their stage.
                if (piece > 0) {
                    wait_products<1>();
                    if (lane < CLUSTER) { if constexpr (CLUSTER > 1) arrive_at(empty + 8 * last, lane); else arrive(empty + 8 * last); }
                }
                last = stage;
                if (++stage == STAGES) { stage = 0; parity ^= 1; }
            }
            if (!TOGETHER) give_turn(team ^ 1);
            wait_products<0>();
#pragma unroll
            for (int b = 0; b < kBlocks; ++b) keep(sums[b]);
            if (lane < CLUSTER) { if constexpr (CLUSTER > 1) arrive_at(empty + 8 * last, lane); else arrive(empty + 8 * last); }

#pragma unroll
            for (int b = 0; b < kBlocks; ++b) {
                const i64 top = row + (TOGETHER ? team * (TILE_M / 2) : 0) + b * 64 + (int)warp * 16;
#pragma unroll
                for (int c = 0; c < TILE_N / 64; ++c) {
#pragma unroll
                    for (int j = 0; j < 8; j += 2) {  // groups of 8 columns: a lane has two of rows lane / 4 and lane / 4 + 8
                        u32 words[4];
#pragma unroll
                        for (int g = 0; g < 2; ++g) {
                            f32 low = 0.0f, high = 0.0f;
#if BIAS
                            const float2 two = *(const float2*)(shared_bias + c * 64 + (j + g) * 8 + 2 * (lane % 4));
                            low = two.x;
                            high = two.y;
#endif
                            const int first = c * 32 + (j + g) * 4;
                            words[2 * g] = narrow2<X>(activate(sums[b][first] + low), activate(sums[b][first + 1] + high));
                            words[2 * g + 1] = narrow2<X>(activate(sums[b][first + 2] + low), activate(sums[b][first + 3] + high));
                        }
                        const u32 r = lane / 8 % 2 * 8 + lane % 8, chunk = (u32)j + lane / 16;
                        store_matrices(strip + r * kRowBytes + (chunk ^ r % 8) * 16, words);
                    }
                    __syncwarp();
#pragma unroll
                    for (int s = 0; s < 4; ++s) {  // whole rows of 128 bytes
                        const u32 r = (u32)s * 4 + lane / 8, chunk = lane % 8;
                        const uint4 v = load_shared(strip + r * kRowBytes + (chunk ^ r % 8) * 16);
                        const i64 i = top + r, j = column + c * 64 + (int)chunk * 8;
                        if (i < p.m && j < p.n) {
                            X* const to = y + i * p.y_row + j;
                            if (even) {
                                *(uint4*)to = v;
                            } else {
                                const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
                                for (int e = 0; e < 8; ++e) to[e].bits = (u16)(words[e / 2] >> 16 * (e % 2));
                            }
                        }
                    }
                    __syncwarp();
                }
            }
        }
    }
    // A block stays until the others can no more arrive at its barriers.
    if constexpr (CLUSTER > 1) cluster_barrier();
#endif
}
