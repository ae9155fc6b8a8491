#include <metal_stdlib>
using namespace metal;
#if __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#else
#pragma clang fp contract(off)
#ifdef __FAST_MATH__
#error "compile it without fast mathematics: NaN and -0 count"
#endif
#endif
typedef char i8; typedef short i16; typedef int i32; typedef long i64;
typedef uchar u8; typedef ushort u16; typedef uint u32; typedef ulong u64;
typedef float f32;
#define PRIVATE static inline
typedef uchar pred;
#define as_float as_type<float>
#define as_uint as_type<uint>
#define as_int as_type<int>
#define MATH_f32(name) METAL_##name
#define METAL_fmod precise::fmod
#define METAL_fma metal::fma
#define METAL_fabs metal::fabs
#define METAL_copysign metal::copysign
#define METAL_floor metal::floor
#define METAL_ceil metal::ceil
#define METAL_trunc metal::trunc
#define METAL_rint metal::rint
#define METAL_exp precise::exp
#define METAL_exp2 precise::exp2
#define METAL_log precise::log
#define METAL_log2 precise::log2
#define METAL_log10 precise::log10
#define METAL_sqrt precise::sqrt
#define METAL_sin precise::sin
#define METAL_cos precise::cos
#define METAL_tan precise::tan
#define METAL_tanh near_tanh
#define METAL_erf near_erf
PRIVATE f32 bits_f32(u64 w) { return as_float((u32)w); }
PRIVATE f32 near_exp2(f32 x) { return precise::exp2(x); }
PRIVATE f32 near_reciprocal(f32 x) { return 1 / x; }
PRIVATE void load2(thread void* to, device const void* from) { *(thread uchar2*)to = *(device const uchar2*)from; }
PRIVATE void load4(thread void* to, device const void* from) { *(thread uchar4*)to = *(device const uchar4*)from; }
PRIVATE void load8(thread void* to, device const void* from) { *(thread uint2*)to = *(device const uint2*)from; }
PRIVATE void load16(thread void* to, device const void* from) { *(thread uint4*)to = *(device const uint4*)from; }
PRIVATE void store2(device void* to, thread const void* from) { *(device uchar2*)to = *(thread const uchar2*)from; }
PRIVATE void store4(device void* to, thread const void* from) { *(device uchar4*)to = *(thread const uchar4*)from; }
PRIVATE void store8(device void* to, thread const void* from) { *(device uint2*)to = *(thread const uint2*)from; }
PRIVATE void store16(device void* to, thread const void* from) { *(device uint4*)to = *(thread const uint4*)from; }

PRIVATE f32 LDG_f16(u16 x) {
    const u32 sign = (u32)(x & 0x8000) << 16, m = x & 0x7fff;
    const u32 small = as_uint((f32)m * 0x1p-24f), normal = (m << 13) + 0x38000000, special = 0x7f800000 | m << 13;
    return as_float(sign | (m < 0x400 ? small : m < 0x7c00 ? normal : special));
}
PRIVATE u16 STG_f16(f32 x) {
    const u32 b = as_uint(x), m = b & 0x7fffffff, sign = b >> 16 & 0x8000;
    const u32 small = (u32)rint(as_float(min(m, (u32)0x38800000)) * 0x1p24f);
    const u32 normal = (m + 0xfff + (m >> 13 & 1) - 0x38000000) >> 13;
    const u32 special = m > 0x7f800000 ? 0x7e00 : 0x7c00;
    return (u16)(sign | (m < 0x38800000 ? small : m < 0x477ff000 ? normal : special));
}
PRIVATE f32 LDG_bf16(u16 x) { return as_float((u32)x << 16); }
PRIVATE u16 STG_bf16(f32 x) {
    const u32 b = as_uint(x), m = b & 0x7fffffff;
    return (u16)(m > 0x7f800000 ? 0x7fff : (b + 0x7fff + (b >> 16 & 1)) >> 16);
}

PRIVATE f32 near_erf(f32 x) {
    const f32 t = MATH_f32(fabs)(x), s = x * x;
    f32 p = -0x1.274194p-11f, q = -0x1.b5a836p-10f;
    p = MATH_f32(fma)(p, s, 0x1.42477ep-8f);
    q = MATH_f32(fma)(q, t, 0x1.5e9566p-6f);
    p = MATH_f32(fma)(p, s, -0x1.b5a388p-6f);
    q = MATH_f32(fma)(q, t, -0x1.065f2cp-3f);
    p = MATH_f32(fma)(p, s, 0x1.ce0948p-4f);
    q = MATH_f32(fma)(q, t, -0x1.e342bap-1f);
    p = MATH_f32(fma)(p, s, -0x1.812676p-2f);
    q = MATH_f32(fma)(q, t, -0x1.9cc564p+0f);
    p = MATH_f32(fma)(p, s, 0x1.06eba2p-3f);
    q = MATH_f32(fma)(q, t, -0x1.ef440cp-9f);
    const f32 e = near_exp2(q);
    return t >= 1 ? MATH_f32(copysign)(1 - e, x) : MATH_f32(fma)(p, x, x);
}
PRIVATE f32 near_tanh(f32 x) {
    const f32 t = MATH_f32(fabs)(x), s = x * x;
    f32 p = 0x1.0d5006p-6f;
    p = MATH_f32(fma)(p, s, -0x1.af7cc0p-5f);
    p = MATH_f32(fma)(p, s, 0x1.10cef6p-3f);
    p = MATH_f32(fma)(p, s, -0x1.555452p-2f);
    const f32 r = near_reciprocal(near_exp2(t * 2.8853900817779268f) + 1);
    // p s is not -0, so that -0 gives -0.
    return t >= 0.55f ? MATH_f32(copysign)(MATH_f32(fma)(-2, r, 1), x) : MATH_f32(fma)(MATH_f32(fma)(p, s, 0.0f), x, x);
}

#define INT_COMMON(T, W, U, BITS)                                                                     \
PRIVATE T ADD_##T(T a, T b) { return (T)((W)a + (W)b); }                                              \
PRIVATE T SUB_##T(T a, T b) { return (T)((W)a - (W)b); }                                              \
PRIVATE T MUL_##T(T a, T b) { return (T)((W)a * (W)b); }                                              \
PRIVATE T MAD_##T(T a, T b, T c) { return (T)((W)a * (W)b + (W)c); }                                  \
PRIVATE T MIN_##T(T a, T b) { return a < b ? a : b; }                                                 \
PRIVATE T MAX_##T(T a, T b) { return a > b ? a : b; }                                                 \
PRIVATE T NEG_##T(T a) { return (T)((W)0 - (W)a); }                                                   \
PRIVATE T FLOOR_##T(T a) { return a; }                                                                \
PRIVATE T CEIL_##T(T a) { return a; }                                                                 \
PRIVATE T TRUNC_##T(T a) { return a; }                                                                \
PRIVATE T ROUND_##T(T a) { return a; }                                                                \
PRIVATE T AND_##T(T a, T b) { return (T)(a & b); }                                                    \
PRIVATE T OR_##T(T a, T b) { return (T)(a | b); }                                                     \
PRIVATE T XOR_##T(T a, T b) { return (T)(a ^ b); }                                                    \
PRIVATE T NOT_##T(T a) { return (T)~a; }                                                              \
PRIVATE T RELU_##T(T a) { return a > 0 ? a : (T)0; }                                                  \
PRIVATE T SHL_##T(T a, T b) { return (U)b >= BITS ? (T)0 : (T)((W)a << (U)b); }

#define INT_SIGNED(T, W, U, BITS, LEAST, MOST, LOW, HIGH)                                             \
INT_COMMON(T, W, U, BITS)                                                                             \
PRIVATE T DIV_##T(T a, T b) { return b == 0 ? (T)0 : b == (T)-1 ? NEG_##T(a) : (T)(a / b); }          \
PRIVATE T REM_##T(T a, T b) { return b == 0 || b == (T)-1 ? (T)0 : (T)(a % b); }                      \
PRIVATE T ABS_##T(T a) { return a < 0 ? NEG_##T(a) : a; }                                             \
PRIVATE T SHR_##T(T a, T b) { return (U)b >= BITS ? (T)(a < 0 ? -1 : 0) : (T)(a >> (U)b); }           \
INT_FROM_FLOAT(T, LEAST, MOST, LOW, HIGH)

#define INT_UNSIGNED(T, W, BITS, MOST, HIGH)                                                          \
INT_COMMON(T, W, T, BITS)                                                                             \
PRIVATE T DIV_##T(T a, T b) { return b == 0 ? (T)0 : (T)(a / b); }                                    \
PRIVATE T REM_##T(T a, T b) { return b == 0 ? (T)0 : (T)(a % b); }                                    \
PRIVATE T ABS_##T(T a) { return a; }                                                                  \
PRIVATE T SHR_##T(T a, T b) { return b >= BITS ? (T)0 : (T)((W)a >> b); }                             \
INT_FROM_FLOAT(T, 0, MOST, 0, HIGH)

// LOW and HIGH are powers of two (or 0), exact in both types: the least value and the first above the greatest.
#define INT_FROM_FLOAT(T, LEAST, MOST, LOW, HIGH)                                                     \
PRIVATE T CVT_##T##_f32(f32 x) { return x != x ? (T)0 : x >= (f32)HIGH ? (T)MOST : x < (f32)LOW ? (T)LEAST : (T)x; } \


INT_SIGNED(i8, u32, u8, 8, -128, 127, -128.0, 128.0)
INT_SIGNED(i16, u32, u16, 16, -32768, 32767, -32768.0, 32768.0)
INT_SIGNED(i32, u32, u32, 32, (-2147483647 - 1), 2147483647, -2147483648.0, 2147483648.0)
INT_SIGNED(i64, u64, u64, 64, (i64)0x8000000000000000ul, 0x7fffffffffffffffl, -9223372036854775808.0, 9223372036854775808.0)
INT_UNSIGNED(u8, u32, 8, 255, 256.0)
INT_UNSIGNED(u16, u32, 16, 65535, 65536.0)
INT_UNSIGNED(u32, u32, 32, 0xffffffffu, 4294967296.0)
INT_UNSIGNED(u64, u64, 64, 0xfffffffffffffffful, 18446744073709551616.0)

PRIVATE pred AND_pred(pred a, pred b) { return (pred)(a & b); }
PRIVATE pred OR_pred(pred a, pred b) { return (pred)(a | b); }
PRIVATE pred XOR_pred(pred a, pred b) { return (pred)(a ^ b); }
PRIVATE pred NOT_pred(pred a) { return (pred)(1 - a); }

// M(f) names the library's function of that type.
#define FLOAT_FUNCTIONS(T, M)                                                                          \
PRIVATE T ADD_##T(T a, T b) { return a + b; }                                                         \
PRIVATE T SUB_##T(T a, T b) { return a - b; }                                                         \
PRIVATE T MUL_##T(T a, T b) { return a * b; }                                                         \
PRIVATE T DIV_##T(T a, T b) { return a / b; }                                                         \
PRIVATE T REM_##T(T a, T b) { return M(fmod)(a, b); }                                                 \
PRIVATE T FMA_##T(T a, T b, T c) { return M(fma)(a, b, c); }                                          \
PRIVATE T MAD_##T(T a, T b, T c) { const T product = a * b; return product + c; }                     \
PRIVATE T MIN_##T(T a, T b) { return a < b || a != a ? a : b; }                                       \
PRIVATE T MAX_##T(T a, T b) { return a > b || a != a ? a : b; }                                       \
PRIVATE T ABS_##T(T a) { return M(fabs)(a); }                                                         \
PRIVATE T NEG_##T(T a) { return -a; }                                                                 \
PRIVATE T FLOOR_##T(T a) { return M(floor)(a); }                                                      \
PRIVATE T CEIL_##T(T a) { return M(ceil)(a); }                                                        \
PRIVATE T TRUNC_##T(T a) { return M(trunc)(a); }                                                      \
PRIVATE T ROUND_##T(T a) { return M(rint)(a); }                                                       \
PRIVATE T EXP_##T(T a) { return M(exp)(a); }                                                          \
PRIVATE T EXP2_##T(T a) { return M(exp2)(a); }                                                        \
PRIVATE T LOG_##T(T a) { return M(log)(a); }                                                          \
PRIVATE T LOG2_##T(T a) { return M(log2)(a); }                                                        \
PRIVATE T LOG10_##T(T a) { return M(log10)(a); }                                                      \
PRIVATE T SQRT_##T(T a) { return M(sqrt)(a); }                                                        \
PRIVATE T RSQRT_##T(T a) { return (T)1 / M(sqrt)(a); }                                                \
PRIVATE T SIN_##T(T a) { return M(sin)(a); }                                                          \
PRIVATE T COS_##T(T a) { return M(cos)(a); }                                                          \
PRIVATE T TAN_##T(T a) { return M(tan)(a); }                                                          \
PRIVATE T TANH_##T(T a) { return M(tanh)(a); }                                                        \
PRIVATE T ERF_##T(T a) { return M(erf)(a); }                                                          \
PRIVATE T SIGMOID_##T(T a) { const T e = M(exp)(-M(fabs)(a)); return (a < 0 ? e : (T)1) / ((T)1 + e); }   \
PRIVATE T RELU_##T(T a) { return a > (T)0 || a != a ? a : (T)0; }                                     \
PRIVATE T GELU_##T(T a) { const T u = MAX_##T(a, (T)-16) * (T)0.5; return M(fma)(u, ERF_##T(a * (T)0.70710678118654752), u); }

FLOAT_FUNCTIONS(f32, MATH_f32)

// MIN and MAX by a number that is neither NaN nor zero.
#define MIN_BY_f32 MIN_f32
#define MAX_BY_f32 MAX_f32

// Functions at the precision of 16-bit storage: those of f32, unless the language has cheaper ones.
#define EXP_f16 EXP_f32
#define SQRT_f16 SQRT_f32
#define TANH_f16 TANH_f32
#define SIGMOID_f16 SIGMOID_f32
#define GELU_f16 GELU_f32
#define EXP_bf16 EXP_f16
#define SQRT_bf16 SQRT_f16
#define TANH_bf16 TANH_f16
#define SIGMOID_bf16 SIGMOID_f16
#define GELU_bf16 GELU_f32

#define ABS_f32(x) as_float(as_uint(x) & 0x7fffffffu)

PRIVATE void report(device i64* faults, i64 instruction, i64 lane, i64 block, i64 element, i64 held) {
    if (atomic_exchange_explicit((device atomic_uint*)faults, 1u, memory_order_relaxed) != 0) return;
    faults[1] = instruction + 1;
    faults[2] = lane;
    faults[3] = block;
    faults[4] = element;
    faults[5] = held;
}

#define SHARED threadgroup
#define MEET() threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup)
#if __METAL_VERSION__ >= 320
#define FENCE() \
    atomic_thread_fence(mem_flags::mem_device | mem_flags::mem_threadgroup, memory_order_seq_cst, thread_scope_device)
#else
#define FENCE() static_assert(false, "MEMBAR needs Metal 3.2")
#endif
// The exchange that the language has may fail for no reason.
#define SWAP(SPACE, S)                                                                                \
PRIVATE u32 swap##S(volatile SPACE u32* p, u32 was, u32 to) {                                         \
    u32 now = was;                                                                                    \
    while (!atomic_compare_exchange_weak_explicit((volatile SPACE atomic_uint*)p, &now, to,           \
                                                  memory_order_relaxed, memory_order_relaxed) &&      \
           now == was) {                                                                              \
    }                                                                                                 \
    return now;                                                                                       \
}
SWAP(device, _g) SWAP(threadgroup, _l)
#define ATOMIC32(T, A, NAME, FUNCTION, SPACE, S)                                                      \
PRIVATE T ATOM_##NAME##_##T##S(volatile SPACE T* p, T a) {                                            \
    return FUNCTION((volatile SPACE A*)p, a, memory_order_relaxed);                                   \
}
#define ATOMICS32(T, A, SPACE, S)                                                                     \
ATOMIC32(T, A, add, atomic_fetch_add_explicit, SPACE, S)                                              \
ATOMIC32(T, A, min, atomic_fetch_min_explicit, SPACE, S)                                              \
ATOMIC32(T, A, max, atomic_fetch_max_explicit, SPACE, S)                                              \
ATOMIC32(T, A, and, atomic_fetch_and_explicit, SPACE, S)                                              \
ATOMIC32(T, A, or, atomic_fetch_or_explicit, SPACE, S)                                                \
ATOMIC32(T, A, xor, atomic_fetch_xor_explicit, SPACE, S)                                              \
ATOMIC32(T, A, exch, atomic_exchange_explicit, SPACE, S)                                              \
PRIVATE T ATOM_cas_##T##S(volatile SPACE T* p, T a, T b) {                                            \
    return (T)swap##S((volatile SPACE u32*)p, (u32)a, (u32)b);                                        \
}
ATOMICS32(i32, atomic_int, device, _g) ATOMICS32(i32, atomic_int, threadgroup, _l)
ATOMICS32(u32, atomic_uint, device, _g) ATOMICS32(u32, atomic_uint, threadgroup, _l)

PRIVATE u32 present(u32 tid, u32 lanes) { const u32 left = lanes - (tid & ~31u); return left < 32 ? left : 32; }
#define SHUFFLES(T)                                                                                   \
PRIVATE T SHFL_idx_##T(T v, u32 from, u32 tid, u32 lanes, SHARED u64* scratch) {                       \
    SHARED T* const values = (SHARED T*)scratch;                                                        \
    MEET();                                                                                           \
    values[tid] = v;                                                                                  \
    MEET();                                                                                           \
    return values[from < present(tid, lanes) ? (tid & ~31u) + from : tid];                            \
}                                                                                                     \
PRIVATE T SHFL_up_##T(T v, u32 by, u32 tid, u32 lanes, SHARED u64* scratch) {                          \
    return SHFL_idx_##T(v, by <= (tid & 31) ? (tid & 31) - by : tid & 31, tid, lanes, scratch);       \
}                                                                                                     \
PRIVATE T SHFL_down_##T(T v, u32 by, u32 tid, u32 lanes, SHARED u64* scratch) {                        \
    return SHFL_idx_##T(v, by < 32 ? (tid & 31) + by : tid & 31, tid, lanes, scratch);                \
}                                                                                                     \
PRIVATE T SHFL_xor_##T(T v, u32 by, u32 tid, u32 lanes, SHARED u64* scratch) {                         \
    return SHFL_idx_##T(v, (tid & 31) ^ by, tid, lanes, scratch);                                     \
}
// The lanes that hold a part of what lane 0 will hold join those of twice the distance, until one is left.
#define REDUCTION(T, NAME, OP)                                                                        \
PRIVATE void tree_##NAME##_##T(SHARED T* values, T v, u32 tid, u32 lanes) {                            \
    const u32 there = present(tid, lanes), lane = tid & 31;                                           \
    MEET();                                                                                           \
    values[tid] = v;                                                                                  \
    for (u32 bit = 16; bit > 0; bit /= 2) {                                                           \
        MEET();                                                                                       \
        if (lane < bit && lane + bit < there) values[tid] = OP##_##T(values[tid], values[tid + bit]); \
    }                                                                                                 \
    MEET();                                                                                           \
}                                                                                                     \
PRIVATE T RED_##NAME##_warp_##T(T v, u32 tid, u32 lanes, SHARED u64* scratch) {                        \
    tree_##NAME##_##T((SHARED T*)scratch, v, tid, lanes);                                              \
    return ((SHARED T*)scratch)[tid & ~31u];                                                           \
}                                                                                                     \
PRIVATE T RED_##NAME##_block_##T(T v, u32 tid, u32 lanes, SHARED u64* scratch) {                       \
    SHARED T* const values = (SHARED T*)scratch;                                                        \
    tree_##NAME##_##T(values, v, tid, lanes);                                                         \
    T all = values[0];                                                                                \
    for (u32 w = 32; w < lanes; w += 32) all = OP##_##T(all, values[w]);                              \
    return all;                                                                                       \
}

#define IS_NEGATIVE_f32(x) (as_int(x) < 0)
// A new value from the old one, tried until nobody came between.
#define TRIED(T, B, NAME, SPACE, S, SWAP, TO_BITS, FROM_BITS, NEW)                                    \
PRIVATE T ATOM_##NAME##_##T##S(volatile SPACE T* p, T a) {                                            \
    volatile SPACE B* const q = (volatile SPACE B*)p;                                                 \
    B now = *q, was;                                                                                  \
    do { was = now; const T old = FROM_BITS(was); now = SWAP(q, was, TO_BITS(NEW)); } while (now != was);  \
    return FROM_BITS(now);                                                                            \
}

#define ORDERING(T)                                                                                   \
PRIVATE T LESSER_##T(T a, T b) { return a != a ? a : b != b ? b : a == b ? (IS_NEGATIVE_##T(a) ? a : b) : a < b ? a : b; }  \
PRIVATE T GREATER_##T(T a, T b) { return a != a ? a : b != b ? b : a == b ? (IS_NEGATIVE_##T(a) ? b : a) : a > b ? a : b; }
ORDERING(f32)

TRIED(f32, u32, min, device, _g, swap_g, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, device, _g, swap_g, as_uint, as_float, GREATER_f32(old, a))
TRIED(f32, u32, min, threadgroup, _l, swap_l, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, threadgroup, _l, swap_l, as_uint, as_float, GREATER_f32(old, a))

#define WARPS(T) SHUFFLES(T) REDUCTION(T, add, ADD) REDUCTION(T, mul, MUL) REDUCTION(T, min, MIN) REDUCTION(T, max, MAX)
WARPS(i32) WARPS(u32) WARPS(i64) WARPS(u64) WARPS(f32)

#define TILE_UNROLL

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

