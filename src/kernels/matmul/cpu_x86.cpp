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
        const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88),
                      b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
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

constexpr Index kTileBytes = 1024;  // 16 rows of 64 bytes
constexpr Index kStepsK = 64;       // steps of 32 k in a panel
constexpr Index kBlockTiles = 8;    // tiles of x in a block: 128 rows
constexpr Index kPairs = 8;         // pairs of tiles of w in a block: 256 rows

struct alignas(64) TileConfig {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kTileConfig;

// Where tile `tile` of x lies for a step: (pair of tiles, step, tile of the pair, 1024 bytes); a last tile without a
// partner stands alone.
inline Index tile_offset(Index tile, Index m_tiles, Index steps, Index step) {
    const Index pair = tile / 2 * 2 * steps;
    return (pair + (pair + steps == m_tiles * steps ? step : step * 2 + tile % 2)) * kTileBytes;
}

// Sixteen rows of x as tiles of 16 pairs of k by 16 rows, zeros where x ends.
template <DType kType>
INVAR_AVX512_BF16 void pack_tile_row(const MatmulSpec& s, const Operands& o, Index b, Index tile,
                                     Index steps) {
    const Index m_tiles = (s.m + 15) / 16, rows = std::min<Index>(16, s.m - tile * 16);
    std::byte* out = o.workspace + b * m_tiles * steps * kTileBytes;
    const std::byte* from[16];
    for (Index i = 0; i < 16; ++i) from[i] = x_row(s, o, b, tile * 16 + std::min(i, rows - 1));
    for (Index step = 0; step < steps; ++step) {
        __m512i r[16];
        const Index count = s.k - step * 32, at = step * 32 * static_cast<Index>(size_of(kType));
        if (count >= 32) {
#pragma GCC unroll 16
            for (Index i = 0; i < 16; ++i) r[i] = load_bf16(from[i] + at, kType, 32);
        } else {
#pragma GCC unroll 16
            for (Index i = 0; i < 16; ++i)
                r[i] = count > 0 ? load_bf16(from[i] + at, kType, count) : _mm512_setzero_si512();
        }
        for (Index i = rows; i < 16; ++i) r[i] = _mm512_setzero_si512();
        transpose_16x16(r);
        std::byte* to = out + tile_offset(tile, m_tiles, steps, step);
#pragma GCC unroll 16
        for (Index i = 0; i < 16; ++i) _mm512_store_si512(to + i * 64, r[i]);
    }
}

// `rows` rows of w by `count` k as tiles (step, pair of tiles, 16 rows, 64 bytes), zeros where w ends: for
// the edges of w. Whole tiles are read where they lie, which measured faster than copying them first.
INVAR_AVX512_BF16 void copy_left(const std::byte* w, Index stride, Index rows, Index count, std::byte* out) {
    // A product over no k still has one step, of zeros.
    const Index whole = rows == 32 ? count / 32 : 0, steps = (std::max<Index>(count, 1) + 31) / 32;
    for (Index step = 0; step < whole; ++step, out += 2 * kTileBytes, w += 64) {
#pragma GCC unroll 8
        for (Index r = 0; r < 32; ++r) _mm512_store_si512(out + r * 64, _mm512_loadu_si512(w + r * stride));
    }
    for (Index step = whole; step < steps; ++step, out += 2 * kTileBytes, w += 64)
        for (Index r = 0; r < 32; ++r)
            _mm512_store_si512(out + r * 64, r < rows
                                                 ? load_bf16(w + r * stride, DType::bf16, count - step * 32)
                                                 : _mm512_setzero_si512());
}

// What a product prefetches for the next one: `rows` rows, one line of each for every step.
struct Ahead {
    std::uintptr_t w = 0;  // an address, not a pointer: it may lie anywhere
    Index stride = 0, rows = 0;
};

// 32 rows of w, row_stride bytes apart and step_stride bytes a step, by M right tiles: c[n][m] (+)= w x^T; c tiles lie
// kBlockTiles apart in n.
template <int M>
INVAR_AMX void tile_block(const std::byte* left, Index row_stride, Index step_stride, const std::byte* right,
                          Index steps, float* c, bool zero, Ahead ahead) {
    const auto at = [c](int n, int m) { return c + (n * kBlockTiles + m) * 256; };
    if (zero) {
        _tile_zero(0);
        _tile_zero(2);
        if constexpr (M > 1) _tile_zero(1);
        if constexpr (M > 1) _tile_zero(3);
    } else {
        _tile_loadd(0, at(0, 0), 64);
        _tile_loadd(2, at(1, 0), 64);
        if constexpr (M > 1) _tile_loadd(1, at(0, 1), 64);
        if constexpr (M > 1) _tile_loadd(3, at(1, 1), 64);
    }
    for (Index step = 0; step < steps; ++step) {
        _tile_loadd(6, right + step * M * kTileBytes, 64);
        _tile_loadd(4, left + step * step_stride, row_stride);
        std::uintptr_t line = ahead.w + static_cast<std::uintptr_t>(step * 64);
        for (Index r = 0; r < ahead.rows; ++r, line += static_cast<std::uintptr_t>(ahead.stride))
            // NOLINTNEXTLINE(performance-no-int-to-ptr): may lie beyond the end, where no pointer may point
            _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (M > 1) {
            _tile_loadd(7, right + (step * M + 1) * kTileBytes, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        _tile_loadd(5, left + step * step_stride + 16 * row_stride, row_stride);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (M > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, at(0, 0), 64);
    _tile_stored(2, at(1, 0), 64);
    if constexpr (M > 1) _tile_stored(1, at(0, 1), 64);
    if constexpr (M > 1) _tile_stored(3, at(1, 1), 64);
}

// Rows [j0, j1) of w times tiles [t0, t0 + tiles_m) of x; j1 - j0 <= 32 kPairs.
INVAR_AMX void tile_task(const MatmulSpec& s, const Operands& o, Index b, Index j0, Index j1, Index t0,
                         Index tiles_m, FinishFunction finish) {
    alignas(64) std::byte left[kStepsK * 2 * kTileBytes];
    alignas(64) float c[kPairs][2 * kBlockTiles * 256];
    const Index steps = (std::max<Index>(s.k, 1) + 31) / 32, m_tiles = (s.m + 15) / 16;
    const Index w_stride = s.w_row * 2, pairs = (j1 - j0 + 31) / 32, m_pairs = (tiles_m + 1) / 2;
    const std::byte* w = o.w + (s.w_batch * b + j0 * s.w_row) * 2;
    const std::byte* x = o.workspace + b * m_tiles * steps * kTileBytes;
    _tile_loadconfig(&kTileConfig);
    for (Index step0 = 0; step0 < steps; step0 += kStepsK) {
        const Index count = std::min(kStepsK, steps - step0);
        for (Index pair = 0; pair < pairs; ++pair) {
            const std::byte* rows = w + pair * 32 * w_stride + step0 * 64;
            const Index valid = std::min<Index>(32, j1 - j0 - pair * 32),
                        k_left = std::min(kStepsK * 32, s.k - step0 * 32);
            const Index whole = valid == 32 ? k_left / 32 : 0;
            if (whole < count) copy_left(rows + whole * 64, w_stride, valid, k_left - whole * 32, left);
            asm volatile(
                "" ::
                    : "memory");  // tile loads are opaque to the compiler: the copy must be in memory
            // The rows after these, or behind the last ones the start of the next panel of k.
            const bool more = pair + 1 < pairs;
            const std::byte* next = more ? rows + 32 * w_stride : w + std::min(step0 + kStepsK, steps) * 64;
            Index left_rows = more                      ? std::min<Index>(32, j1 - j0 - (pair + 1) * 32)
                              : step0 + kStepsK < steps ? std::min<Index>(32, j1 - j0)
                                                        : 0;
            const Index each = (left_rows + m_pairs - 1) / m_pairs;
            for (Index m = 0; m < tiles_m; m += 2) {
                const Ahead ahead = {reinterpret_cast<std::uintptr_t>(next), w_stride,
                                     std::min(each, left_rows)};
                left_rows -= ahead.rows;
                next += ahead.rows * w_stride;
                const auto run = m + 1 < tiles_m ? tile_block<2> : tile_block<1>;
                float* sums = c[pair] + m * 256;
                if (whole > 0)
                    run(rows, w_stride, 64, x + tile_offset(t0 + m, m_tiles, steps, step0), whole, sums,
                        step0 == 0, ahead);
                if (whole < count)
                    run(left, 64, 2 * kTileBytes, x + tile_offset(t0 + m, m_tiles, steps, step0 + whole),
                        count - whole, sums, step0 + whole == 0, {});
            }
        }
    }
    asm volatile("" ::: "memory");
    for (Index m = 0; m < tiles_m; ++m) {
        alignas(64) float out[16][kPairs * 32];
        for (Index n = 0; n < pairs * 2; ++n) {
            __m512i r[16];
            const float* tile = c[n / 2] + (n % 2 * kBlockTiles + m) * 256;
            for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(tile + i * 16);
            transpose_16x16(r);
            for (int i = 0; i < 16; ++i) _mm512_store_si512(&out[i][n * 16], r[i]);
        }
        const Index i0 = (t0 + m) * 16, valid = std::min<Index>(16, s.m - i0);
        for (Index i = 0; i < valid; ++i) finish(s, o, b, i0 + i, j0, j1 - j0, out[i]);
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
        _mm512_store_si512(
            o.workspace + (row * steps + step) * 64,
            count > 0 ? load_bf16(from + static_cast<std::size_t>(step * 32) * size_of(s.x), s.x, count)
                      : _mm512_setzero_si512());
    }
}

INVAR_AVX512_BF16 void dot_task(const MatmulSpec& s, const Operands& o, Index b, Index i0, Index rows_m,
                                Index j0, Index rows_n, FinishFunction finish) {
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
                const std::byte* row =
                    o.w + (s.w_batch * b + (j0 + j + std::min(r, valid - 1)) * s.w_row + k0) * 2;
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

bool bf16_dot_is_fast() {
    // Measured on Sapphire Rapids: 94 GFLOP/s a core where f32 FMA reaches 126.
    static const bool fast = have_bf16_dot() && __builtin_cpu_is("amd");
    return fast;
}

bool have_bf16_tile() {
    static const bool have = unit_limit() >= 2 && cpu_has_bf16_tile();
    return have;
}

void run_bf16_tile(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    const Index steps = (std::max<Index>(s.k, 1) + 31) / 32, m_tiles = (s.m + 15) / 16;
    const auto pack = s.x == DType::f32   ? pack_tile_row<DType::f32>
                      : s.x == DType::f16 ? pack_tile_row<DType::f16>
                                          : pack_tile_row<DType::bf16>;
    pool.parallel_for(s.batch * m_tiles, [&](Index t) { pack(s, o, t / m_tiles, t % m_tiles, steps); });
    // Where x does not fit L2, long tasks read it less often; otherwise about sixteen, so that threads finish together.
    const Index task_n =
        steps > kStepsK ? kPairs * 32 : std::clamp<Index>(round_up(s.n / 16, 32), 64, kPairs * 32);
    const Index n_tasks = (s.n + task_n - 1) / task_n, m_tasks = (m_tiles + kBlockTiles - 1) / kBlockTiles;
    const FinishFunction finish = finish_function();
    pool.parallel_for(s.batch * n_tasks * m_tasks, [&](Index task) {
        // Blocks of x follow each other for the same weights, so that these come from the cache.
        const Index t0 = task % m_tasks * kBlockTiles, j0 = task / m_tasks % n_tasks * task_n;
        tile_task(s, o, task / m_tasks / n_tasks, j0, std::min(j0 + task_n, s.n), t0,
                  std::min(kBlockTiles, m_tiles - t0), finish);
    });
}

void run_bf16_dot(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    pool.parallel_for(s.batch * s.m, [&](Index row) { pack_dot_row(s, o, row); });
    const Index n_tasks = (s.n + kBlockN - 1) / kBlockN, m_tasks = (s.m + kBlockM - 1) / kBlockM;
    const FinishFunction finish = finish_function();
    pool.parallel_for(s.batch * n_tasks * m_tasks, [&](Index task) {
        const Index i0 = task % m_tasks * kBlockM, j0 = task / m_tasks % n_tasks * kBlockN;
        dot_task(s, o, task / m_tasks / n_tasks, i0, std::min(kBlockM, s.m - i0), j0,
                 std::min(kBlockN, s.n - j0), finish);
    });
}

}  // namespace invar::kernels::matmul

#else

namespace invar::kernels::matmul {

bool have_bf16_dot() { return false; }
bool bf16_dot_is_fast() { return false; }
bool have_bf16_tile() { return false; }
void run_bf16_dot(const MatmulSpec&, const Operands&, ThreadPool&) {
    throw Unsupported("matmul: bf16 dot products need x86 with AVX512_BF16");
}
void run_bf16_tile(const MatmulSpec&, const Operands&, ThreadPool&) {
    throw Unsupported("matmul: tiles need x86 with AMX");
}

}  // namespace invar::kernels::matmul

#endif
