// SPDX-License-Identifier: Apache-2.0
// What sources of grid programs have for tiles and accumulators (tile_writer.h). Two forms: one of FMAs that every language
// takes, as macros that stand in a kernel, so that they need no words for address spaces; and one of CUDA's matrix units.
//
// A language needs TILE_UNROLL (before a loop whose rounds should be written out, so that accumulators are registers) and
// COPY_TILE or a function of its own. kTilePlain serves any C dialect without more, OpenCL C and Metal's among them.
#pragma once

namespace invar {

inline constexpr const char* kTilePlain = R"(
#define TILE_UNROLL
)";
inline constexpr const char* kTileCuda = R"(
#define TILE_UNROLL _Pragma("unroll")
)";

// The statements read tid, and of COPY.TILE and MMA.store e (the first element), pitch, rows and columns.
// Large pitches are looked at row by row: with others every row lies between the first and the last.
inline constexpr const char* kTileCommon = R"(
PRIVATE u32 tile_clip(i64 wanted, u32 most) { return wanted < 0 ? 0 : wanted > (i64)most ? most : (u32)wanted; }
PRIVATE u32 tile_rows(u64 start, u64 pitch, u32 wanted, u32 columns, u64 held) {
    if (wanted == 0 || columns == 0) return wanted;
    if (columns > held) return 0;
    const u64 most = held - columns;
    if (pitch >> 40 == 0 && start <= most && start + (wanted - 1) * pitch <= most) return wanted;
    u32 rows = 0;
    while (rows < wanted && start + rows * pitch <= most) ++rows;
    return rows;
}
PRIVATE u64 tile_outside(u64 row, u64 held) { return row < held ? held : row; }
#define TILE_f32(x) (x)
#define COPY_TILE(TILE, R, C, FROM, LANES)                                                            \
    for (u32 k = tid; k < (R) * (C); k += (LANES)) {                                                  \
        const u32 r = k / (C), c = k % (C);                                                           \
        TILE[k] = r < rows && c < columns ? FROM[e + r * pitch + c] : 0;                              \
    }
// An accumulator's patches of PR x PC elements, dealt out to the lanes in turn: the rounds of one lane.
#define TILE_PATCHES(M, N, PR, PC, LANES)                                                             \
    TILE_UNROLL for (u32 own = 0; own < ((M) / (PR) * ((N) / (PC)) + (LANES) - 1) / (LANES); ++own)   \
        if (tid + own * (LANES) < (M) / (PR) * ((N) / (PC)))
#define TILE_PATCH_PLACE(N, PR, PC, LANES)                                                            \
    const u32 patch = tid + own * (LANES);                                                            \
    const u32 row = patch / ((N) / (PC)) * (PR), column = patch % ((N) / (PC)) * (PC);
#define MMA_FMA(LOAD, ACC, A, B, M, N, K, BK, BN, PR, PC, LANES)                                      \
    TILE_PATCHES(M, N, PR, PC, LANES) {                                                               \
        TILE_PATCH_PLACE(N, PR, PC, LANES)                                                            \
        for (u32 s = 0; s < (K); ++s) {                                                               \
            f32 left[PR], right[PC];                                                                  \
            TILE_UNROLL for (u32 i = 0; i < (PR); ++i) left[i] = LOAD(A[(row + i) * (K) + s]);        \
            TILE_UNROLL for (u32 j = 0; j < (PC); ++j) right[j] = LOAD(B[s * (BK) + (column + j) * (BN)]);  \
            TILE_UNROLL for (u32 i = 0; i < (PR); ++i)                                                \
                TILE_UNROLL for (u32 j = 0; j < (PC); ++j)                                            \
                    ACC[(own * (PR) + i) * (PC) + j] = FMA_f32(left[i], right[j], ACC[(own * (PR) + i) * (PC) + j]);  \
        }                                                                                             \
    }
#define MMA_STORE_FMA(STORE, ACC, OUT, M, N, PR, PC, LANES)                                           \
    TILE_PATCHES(M, N, PR, PC, LANES) {                                                               \
        TILE_PATCH_PLACE(N, PR, PC, LANES)                                                            \
        TILE_UNROLL for (u32 i = 0; i < (PR); ++i)                                                    \
            TILE_UNROLL for (u32 j = 0; j < (PC); ++j)                                                \
                if (row + i < rows && column + j < columns)                                           \
                    OUT[e + (row + i) * pitch + (column + j)] = STORE(ACC[(own * (PR) + i) * (PC) + j]);  \
    }
#define MMA_ZERO(ACC, COUNT) TILE_UNROLL for (u32 k = 0; k < (COUNT); ++k) ACC[k] = 0;
)";

// Tiles that matrix units read keep their chunks of 16 bytes in an order that differs from row to row, so that eight rows of a
// chunk lie in all banks of shared memory; tile_place says where an element is. A warp has UM x UN units of 16 x 16 of the
// accumulator, each as the two fragments of m16n8k16: lane 4 g + t holds of a fragment rows g and g + 8, columns 2 t and 2 t + 1.
inline constexpr const char* kTileWarps = R"(
template <u32 C> PRIVATE u32 tile_place(u32 row, u32 column) {
    constexpr u32 chunks = C / 8, mask = chunks & (chunks - 1) ? 0 : (chunks < 8 ? chunks : 8) - 1;
    return row * C + (column ^ (row / (chunks < 8 ? 8 / chunks : 1) & mask) * 8);
}
// Copies of 16 bytes, zeros where nothing is wanted, are under way until tile_arrive.
PRIVATE void tile_fetch(void* to, const void* from, bool wanted) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"((u32)__cvta_generic_to_shared(to)), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
PRIVATE void tile_arrive() { asm volatile("cp.async.wait_all;" ::: "memory"); }
template <class T, u32 R, u32 C, bool BANKS>
PRIVATE void copy_tile(T* tile, const T* from, u64 e, u64 pitch, u32 rows, u32 columns, u32 tid, u32 lanes) {
    constexpr u32 V = 16 / sizeof(T), chunks = C / V;
    if constexpr (C % V == 0) {
        if (rows > 0 && columns > 0 && (((u64)from + e * sizeof(T)) | (pitch | columns) * sizeof(T)) % 16 == 0) {
            for (u32 k = tid; k < R * chunks; k += lanes) {
                const u32 r = k / chunks, c = k % chunks * V;
                const bool wanted = r < rows && c < columns;
                tile_fetch(tile + (BANKS ? tile_place<C>(r, c) : r * C + c), from + (wanted ? e + r * pitch + c : e), wanted);
            }
            return;
        }
    }
    for (u32 k = tid; k < R * C; k += lanes) {
        const u32 r = k / C, c = k % C;
        tile[BANKS ? tile_place<C>(r, c) : k] = r < rows && c < columns ? from[e + r * pitch + c] : (T)0;
    }
}

PRIVATE void tile_read(u32 (&m)[4], const u16* p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3]) : "r"((u32)__cvta_generic_to_shared(p)) : "memory");
}
PRIVATE void tile_read_turned(u32 (&m)[4], const u16* p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3]) : "r"((u32)__cvta_generic_to_shared(p)) : "memory");
}
template <bool BRAIN> PRIVATE void tile_mma(f32* c, const u32 (&a)[4], u32 b0, u32 b1) {
    if constexpr (BRAIN)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// NT: b is (N, K). The warps that have a part are WM x WN.
template <u32 M, u32 N, u32 K, u32 WM, u32 WN, bool NT, bool BRAIN>
PRIVATE void mma_warps(f32* acc, const u16* a, const u16* b, u32 tid) {
    constexpr u32 UM = M / 16 / WM, UN = N / 16 / WN;
    const u32 warp = tid / 32, lane = tid % 32;
    if (warp >= WM * WN) return;
    __syncwarp();
    const u32 row = warp / WN * (UM * 16), column = warp % WN * (UN * 16);
#pragma unroll 4
    for (u32 s = 0; s < K; s += 16) {
        u32 left[UM][4];
#pragma unroll
        for (u32 m = 0; m < UM; ++m) tile_read(left[m], a + tile_place<K>(row + m * 16 + lane % 16, s + lane / 16 * 8));
#pragma unroll
        for (u32 n = 0; n < UN; ++n) {
            const u32 first = column + n * 16;
            u32 right[4];
            if constexpr (NT)
                tile_read(right, b + tile_place<K>(first + lane % 8 + lane / 16 * 8, s + lane / 8 % 2 * 8));
            else
                tile_read_turned(right, b + tile_place<N>(s + lane % 16, first + lane / 16 * 8));
#pragma unroll
            for (u32 m = 0; m < UM; ++m) {
                tile_mma<BRAIN>(acc + (m * UN + n) * 8, left[m], right[0], right[1]);
                tile_mma<BRAIN>(acc + (m * UN + n) * 8 + 4, left[m], right[2], right[3]);
            }
        }
    }
}
#define MMA_STORE_WARPS(STORE, ACC, OUT, M, N, WM, WN)                                                \
    if (tid / 32 < (WM) * (WN)) {                                                                     \
        constexpr u32 UM = (M) / 16 / (WM), UN = (N) / 16 / (WN);                                     \
        const u32 row = tid / 32 / (WN) * (UM * 16) + tid % 32 / 4, column = tid / 32 % (WN) * (UN * 16) + tid % 4 * 2;  \
        TILE_UNROLL for (u32 k = 0; k < UM * UN * 8; ++k) {                                           \
            const u32 r = row + k / 8 / UN * 16 + k / 2 % 2 * 8, c = column + k / 8 % UN * 16 + k / 4 % 2 * 8 + k % 2;  \
            if (r < rows && c < columns) OUT[e + r * pitch + c] = STORE(ACC[k]);                      \
        }                                                                                             \
    }
)";

}  // namespace invar
