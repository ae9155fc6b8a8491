// SPDX-License-Identifier: Apache-2.0
// The variants that need x86 instructions beyond Highway's targets, for bf16 weights (n, k): AMX tiles and AVX512_BF16
// dot products. Both round x to bf16 while packing it; both are functions with their own target attribute, chosen at
// run time by cpuid.
//
// Tiles compute y^T = W x^T: sixteen rows of W by 32 k are a left operand just as they lie in memory, and only x is
// packed, into pairs of k by sixteen rows of x (the layout of the right operand). A task walks blocks of 128 rows of W:
// for each 512 k, the panel of two tiles of x rests in L1, the block of W comes from L2, where it was prefetched while
// the block before it was computed.
#include "kernels/matmul/variants.h"

#if defined(__x86_64__) && defined(__linux__)

#include <algorithm>
#include <cstring>
#include <string>

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/env.h"

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"  // false alarms in GCC 12's own AVX-512 headers (bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define INVAR_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,f16c")))
#define INVAR_AMX \
    __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,f16c")))

namespace invar::kernels::matmul {
namespace {

using Index = std::int64_t;

// INVAR_MATRIX_UNIT = amx (default), avx512_bf16 or none: the most that may be used.
int unit_limit() {
    static const int limit = [] {
        const std::string unit = env_string("INVAR_MATRIX_UNIT", "amx");
        return unit == "none" ? 0 : unit == "avx512_bf16" ? 1 : 2;
    }();
    return limit;
}

bool cpu_has_bf16_dot() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
}

bool cpu_has_bf16_tile() {
    unsigned a, b, c, d;
    if (!cpu_has_bf16_dot() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
    if ((d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
    // Linux grants a process the state of the tiles only when it asks; threads started before and after share it.
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// ---- x to bf16

// 32 consecutive elements of x as bf16; count of them exist, the others are zero.
INVAR_AVX512_BF16 inline __m512i load_bf16(const std::byte* p, DType type, Index count) {
    const auto mask = count >= 32 ? ~__mmask32{0} : static_cast<__mmask32>((std::uint32_t{1} << count) - 1);
    if (type == DType::bf16) return _mm512_maskz_loadu_epi16(mask, p);
    __m512 low, high;
    if (type == DType::f32) {
        low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p);
        high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), p + 64);
    } else {
        const __m512i half = _mm512_maskz_loadu_epi16(mask, p);
        low = _mm512_cvtph_ps(_mm512_castsi512_si256(half));
        high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1));
    }
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

const std::byte* x_row(const MatmulSpec& s, const Operands& o, Index b, Index i) {
    return o.x + static_cast<std::size_t>(b * s.x_batch + i * s.x_row) * size_of(s.x);
}

// In place: lane j of row i becomes lane i of row j.
INVAR_AVX512_BF16 inline void transpose_16x16(__m512i* r) {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // r[4 g + c] holds in its 128-bit part q column 4 q + c of rows 4 g .. 4 g + 3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88), b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        const __m512i e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        const __m512i f = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(a, e, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(a, e, 0xdd);
        t[4 + c] = _mm512_shuffle_i32x4(b, f, 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(b, f, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = t[i];
}

// ---- tiles

constexpr Index kTileBytes = 1024;              // 16 rows of 64 bytes
constexpr Index kStepsK = 16;                   // steps of 32 k in a panel
constexpr Index kTilesN = 8, kTilesM = 8;       // tiles of a block: 128 rows of w, 128 rows of x

struct alignas(64) TileConfig {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kTileConfig;

// x as (batch, tiles of 16 rows, steps of 32 k) tiles of 16 pairs of k by 16 rows, zeros where x ends.
INVAR_AVX512_BF16 void pack_tile_row(const MatmulSpec& s, const Operands& o, Index b, Index tile, Index steps) {
    const Index m_tiles = (s.m + 15) / 16, rows = std::min<Index>(16, s.m - tile * 16);
    std::byte* out = o.workspace + (b * m_tiles + tile) * steps * kTileBytes;
    const std::byte* from[16];
    for (Index i = 0; i < rows; ++i) from[i] = x_row(s, o, b, tile * 16 + i);
    for (Index step = 0; step < steps; ++step) {
        __m512i r[16];
        const Index count = s.k - step * 32;
        for (Index i = 0; i < 16; ++i)
            r[i] = i < rows && count > 0
                       ? load_bf16(from[i] + static_cast<std::size_t>(step * 32) * size_of(s.x), s.x, count)
                       : _mm512_setzero_si512();
        transpose_16x16(r);
        for (Index i = 0; i < 16; ++i) _mm512_store_si512(out + step * kTileBytes + i * 64, r[i]);
    }
}

// Sixteen rows of w as a left operand: whole steps where they lie, the last few k and missing rows from a copy.
struct LeftTile {
    const std::byte* data;
    Index stride;  // bytes between rows
    const std::byte* tail;
};

// Lines of w that the block after this one reads, prefetched a few at a time.
struct Ahead {
    const std::byte* w = nullptr;
    Index stride = 0, rows = 0, lines = 0;  // bytes between rows; rows; lines of 64 bytes of each row
    Index row = 0, line = 0;
    void take(Index count) {
        for (; count > 0 && row < rows; --count) {
            _mm_prefetch(reinterpret_cast<const char*>(w + row * stride + line * 64), _MM_HINT_T1);
            if (++line == lines) line = 0, ++row;
        }
    }
};

// N left tiles by M right panels over one panel of k: c[n][m] (+)= w x^T; c tiles lie kTilesM apart in n.
template <int N, int M>
INVAR_AMX void tile_block(const LeftTile* left, Index steps, bool tail, const std::byte* right,
                          Index right_stride, float* c, bool zero, Ahead& ahead, Index ahead_lines) {
    const auto at = [c](int n, int m) { return c + (n * kTilesM + m) * 256; };
    if (zero) {
        _tile_zero(0);
        if constexpr (M > 1) _tile_zero(1);
        if constexpr (N > 1) _tile_zero(2);
        if constexpr (N > 1 && M > 1) _tile_zero(3);
    } else {
        _tile_loadd(0, at(0, 0), 64);
        if constexpr (M > 1) _tile_loadd(1, at(0, 1), 64);
        if constexpr (N > 1) _tile_loadd(2, at(1, 0), 64);
        if constexpr (N > 1 && M > 1) _tile_loadd(3, at(1, 1), 64);
    }
    const Index all = steps + (tail ? 1 : 0);
    for (Index step = 0; step < all; ++step) {
        const bool whole = step < steps;
        const std::byte* a0 = whole ? left[0].data + step * 64 : left[0].tail;
        const Index s0 = whole ? left[0].stride : 64;
        const std::byte* b0 = right + step * kTileBytes;
        _tile_loadd(6, b0, 64);
        _tile_loadd(4, a0, s0);
        ahead.take(ahead_lines);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (M > 1) {
            _tile_loadd(7, b0 + right_stride, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if constexpr (N > 1) {
            const std::byte* a1 = whole ? left[1].data + step * 64 : left[1].tail;
            const Index s1 = whole ? left[1].stride : 64;
            _tile_loadd(5, a1, s1);
            _tile_dpbf16ps(2, 5, 6);
            if constexpr (M > 1) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, at(0, 0), 64);
    if constexpr (M > 1) _tile_stored(1, at(0, 1), 64);
    if constexpr (N > 1) _tile_stored(2, at(1, 0), 64);
    if constexpr (N > 1 && M > 1) _tile_stored(3, at(1, 1), 64);
}

// Rows [j0, j1) of w times rows [16 t0, 16 (t0 + tiles_m)) of x.
INVAR_AMX void tile_task(const MatmulSpec& s, const Operands& o, Index b, Index j0, Index j1, Index t0, Index tiles_m,
                         FinishFunction finish) {
    alignas(64) float c[kTilesN * kTilesM * 256];
    alignas(64) std::byte edge[16 * (kStepsK * 64)];      // the rows of an incomplete tile, one panel of k
    alignas(64) std::byte tails[kTilesN][kTileBytes];     // the last k % 32 of each row
    const Index steps = (std::max<Index>(s.k, 1) + 31) / 32, whole_steps = s.k / 32;
    const Index m_tiles = (s.m + 15) / 16;
    const Index w_stride = s.w_row * 2;
    const std::byte* w = o.w + s.w_batch * 2 * b;
    const std::byte* x = o.workspace + (b * m_tiles + t0) * steps * kTileBytes;
    _tile_loadconfig(&kTileConfig);
    for (Index j = j0; j < j1; j += kTilesN * 16) {
        const Index rows = std::min(kTilesN * 16, j1 - j), tiles_n = (rows + 15) / 16;
        for (Index step0 = 0; step0 < steps; step0 += kStepsK) {
            const Index count = std::clamp<Index>(whole_steps - step0, 0, kStepsK);
            const bool tail = step0 + kStepsK >= steps && whole_steps < steps;
            LeftTile left[kTilesN];
            for (Index n = 0; n < tiles_n; ++n) {
                const std::byte* rows_n = w + (j + n * 16) * w_stride;
                const Index valid = std::min<Index>(16, rows - n * 16);
                left[n] = {rows_n + step0 * 64, w_stride, tails[n]};
                if (valid < 16) {
                    std::memset(edge, 0, sizeof edge);
                    for (Index r = 0; r < valid; ++r)
                        std::memcpy(edge + r * kStepsK * 64, rows_n + r * w_stride + step0 * 64,
                                    static_cast<std::size_t>(count) * 64);
                    left[n].data = edge;
                    left[n].stride = kStepsK * 64;
                }
                if (tail) {
                    std::memset(tails[n], 0, kTileBytes);
                    for (Index r = 0; r < valid; ++r)
                        std::memcpy(tails[n] + r * 64, rows_n + r * w_stride + whole_steps * 64,
                                    static_cast<std::size_t>(s.k - whole_steps * 32) * 2);
                }
            }
            asm volatile("" ::: "memory");  // tile loads are opaque to the compiler: the copies must be in memory
            Ahead ahead;
            if (step0 + kStepsK < steps)
                ahead = {w + j * w_stride + (step0 + kStepsK) * 64, w_stride, rows,
                         std::min(kStepsK, steps - step0 - kStepsK)};
            else if (j + kTilesN * 16 < j1)
                ahead = {w + (j + kTilesN * 16) * w_stride, w_stride, std::min(kTilesN * 16, j1 - j - kTilesN * 16),
                         std::min(kStepsK, steps)};
            const Index calls = (tiles_n + 1) / 2 * ((tiles_m + 1) / 2) * std::max<Index>(1, count);
            const Index ahead_lines = (ahead.rows * ahead.lines + calls - 1) / calls;
            for (Index m = 0; m < tiles_m; m += 2)
                for (Index n = 0; n < tiles_n; n += 2) {
                    const std::byte* right = x + (m * steps + step0) * kTileBytes;
                    const auto run = n + 1 < tiles_n ? (m + 1 < tiles_m ? tile_block<2, 2> : tile_block<2, 1>)
                                                     : (m + 1 < tiles_m ? tile_block<1, 2> : tile_block<1, 1>);
                    run(left + n, count, tail, right, steps * kTileBytes, c + (n * kTilesM + m) * 256, step0 == 0,
                        ahead, ahead_lines);
                }
        }
        asm volatile("" ::: "memory");
        for (Index m = 0; m < tiles_m; ++m) {
            alignas(64) float out[16][kTilesN * 16];
            for (Index n = 0; n < tiles_n; ++n) {
                __m512i r[16];
                const float* tile = c + (n * kTilesM + m) * 256;
                for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(tile + i * 16);
                transpose_16x16(r);
                for (int i = 0; i < 16; ++i) _mm512_store_si512(&out[i][n * 16], r[i]);
            }
            const Index i0 = (t0 + m) * 16, valid = std::min<Index>(16, s.m - i0);
            for (Index i = 0; i < valid; ++i) finish(s, o, b, i0 + i, j, rows, out[i]);
        }
    }
    _tile_release();
}

// ---- dot products

constexpr Index kBlockK = 2048, kBlockM = 128, kBlockN = 48;
constexpr int kDotR = 6, kDotC = 4;

// The sums of four vectors in fold order: halves onto each other down to four lanes, then (0 + 2) + (1 + 3).
INVAR_AVX512_BF16 inline __m128 fold4(const __m512* v) {
    __m128 q[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
        q[i] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
    const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(q[0], q[1]), _mm_unpackhi_ps(q[0], q[1]));
    const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(q[2], q[3]), _mm_unpackhi_ps(q[2], q[3]));
    return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

INVAR_AVX512_BF16 void pack_dot_row(const MatmulSpec& s, const Operands& o, Index row) {
    const Index steps = (std::max<Index>(s.k, 1) + 31) / 32;
    const std::byte* from = x_row(s, o, row / s.m, row % s.m);
    for (Index step = 0; step < steps; ++step) {
        const Index count = s.k - step * 32;
        _mm512_store_si512(o.workspace + (row * steps + step) * 64,
                           count > 0 ? load_bf16(from + static_cast<std::size_t>(step * 32) * size_of(s.x), s.x, count)
                                     : _mm512_setzero_si512());
    }
}

INVAR_AVX512_BF16 void dot_task(const MatmulSpec& s, const Operands& o, Index b, Index i0, Index rows_m, Index j0,
                                Index rows_n, FinishFunction finish) {
    alignas(64) std::byte left[kDotR][kBlockK * 2 + 64];
    alignas(64) float waiting[kBlockM / kDotC][kDotR * kDotC * 16];
    alignas(64) float out[kBlockM][kBlockN];
    const Index x_bytes = (std::max<Index>(s.k, 1) + 31) / 32 * 64;
    const std::byte* x = o.workspace + (b * s.m + i0) * x_bytes;
    for (Index j = 0; j < rows_n; j += kDotR) {
        const Index valid = std::min<Index>(kDotR, rows_n - j);
        Index k0 = 0;
        do {
            const Index block_k = std::min(kBlockK, s.k - k0), bytes = (block_k + 31) / 32 * 64;
            for (Index r = 0; r < kDotR; ++r) {
                const std::byte* row = o.w + (s.w_batch * b + (j0 + j + std::min(r, valid - 1)) * s.w_row + k0) * 2;
                for (Index p = 0; p < block_k; p += 32)
                    _mm512_store_si512(left[r] + p * 2, load_bf16(row + p * 2, DType::bf16, block_k - p));
            }
            for (Index i = 0; i < rows_m; i += kDotC) {
                const std::byte* xs[kDotC];
                for (Index c = 0; c < kDotC; ++c) xs[c] = x + std::min(i + c, rows_m - 1) * x_bytes + k0 * 2;
                __m512 acc[kDotR * kDotC];
                float* wait = waiting[i / kDotC];
#pragma GCC unroll 32
                for (int a = 0; a < kDotR * kDotC; ++a)
                    acc[a] = k0 == 0 ? _mm512_setzero_ps() : _mm512_load_ps(wait + a * 16);
                for (Index p = 0; p < bytes; p += 64) {
                    __m512bh xv[kDotC];
#pragma GCC unroll 4
                    for (int c = 0; c < kDotC; ++c) xv[c] = (__m512bh)_mm512_load_si512(xs[c] + p);
#pragma GCC unroll 8
                    for (int r = 0; r < kDotR; ++r) {
                        const __m512bh wv = (__m512bh)_mm512_load_si512(left[r] + p);
#pragma GCC unroll 4
                        for (int c = 0; c < kDotC; ++c)
                            acc[r * kDotC + c] = _mm512_dpbf16_ps(acc[r * kDotC + c], wv, xv[c]);
                    }
                }
                if (k0 + block_k < s.k) {
#pragma GCC unroll 32
                    for (int a = 0; a < kDotR * kDotC; ++a) _mm512_store_ps(wait + a * 16, acc[a]);
                    continue;
                }
                alignas(16) float sums[kDotR * kDotC];
#pragma GCC unroll 8
                for (int a = 0; a < kDotR * kDotC; a += 4) _mm_store_ps(sums + a, fold4(acc + a));
                for (Index r = 0; r < valid; ++r)
                    for (Index c = 0; c < kDotC; ++c) out[i + c][j + r] = sums[r * kDotC + c];
            }
            k0 += block_k;
        } while (k0 < s.k);
    }
    for (Index i = 0; i < rows_m; ++i) finish(s, o, b, i0 + i, j0, rows_n, out[i]);
}

}  // namespace

bool have_bf16_dot() {
    static const bool have = unit_limit() >= 1 && cpu_has_bf16_dot();
    return have;
}

bool have_bf16_tile() {
    static const bool have = unit_limit() >= 2 && cpu_has_bf16_tile();
    return have;
}

void run_bf16_tile(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    const Index steps = (std::max<Index>(s.k, 1) + 31) / 32, m_tiles = (s.m + 15) / 16;
    pool.parallel_for(s.batch * m_tiles, [&](Index t) { pack_tile_row(s, o, t / m_tiles, t % m_tiles, steps); });
    // About sixteen tasks, so that threads finish together; long ones, so that most blocks are prefetched.
    const Index task_n = std::clamp<Index>(round_up(s.n / 16, 32), 64, 512);
    const Index n_tasks = (s.n + task_n - 1) / task_n, m_tasks = (m_tiles + kTilesM - 1) / kTilesM;
    const FinishFunction finish = finish_function();
    pool.parallel_for(s.batch * n_tasks * m_tasks, [&](Index task) {
        // Blocks of x follow each other for the same weights, so that these come from the cache.
        const Index t0 = task % m_tasks * kTilesM, j0 = task / m_tasks % n_tasks * task_n;
        tile_task(s, o, task / m_tasks / n_tasks, j0, std::min(j0 + task_n, s.n), t0,
                  std::min(kTilesM, m_tiles - t0), finish);
    });
}

void run_bf16_dot(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    pool.parallel_for(s.batch * s.m, [&](Index row) { pack_dot_row(s, o, row); });
    const Index n_tasks = (s.n + kBlockN - 1) / kBlockN, m_tasks = (s.m + kBlockM - 1) / kBlockM;
    const FinishFunction finish = finish_function();
    pool.parallel_for(s.batch * n_tasks * m_tasks, [&](Index task) {
        const Index i0 = task % m_tasks * kBlockM, j0 = task / m_tasks % n_tasks * kBlockN;
        dot_task(s, o, task / m_tasks / n_tasks, i0, std::min(kBlockM, s.m - i0), j0, std::min(kBlockN, s.n - j0),
                 finish);
    });
}

}  // namespace invar::kernels::matmul

#else

namespace invar::kernels::matmul {

bool have_bf16_dot() { return false; }
bool have_bf16_tile() { return false; }
void run_bf16_dot(const MatmulSpec&, const Operands&, ThreadPool&) {
    throw Unsupported("matmul: bf16 dot products need x86 with AVX512_BF16");
}
void run_bf16_tile(const MatmulSpec&, const Operands&, ThreadPool&) {
    throw Unsupported("matmul: tiles need x86 with AMX");
}

}  // namespace invar::kernels::matmul

#endif
