
#pragma OPENCL FP_CONTRACT OFF
typedef char i8; typedef short i16; typedef int i32; typedef long i64;
typedef uchar u8; typedef ushort u16; typedef uint u32; typedef ulong u64;
typedef float f32;
#define PRIVATE static inline

typedef uchar pred;
#define MATH_f32(name) name
PRIVATE f32 bits_f32(u64 w) { return as_float((u32)w); }
PRIVATE void load2(void* to, global const void* from) { *(uchar2*)to = *(global const uchar2*)from; }
PRIVATE void load4(void* to, global const void* from) { *(uchar4*)to = *(global const uchar4*)from; }
PRIVATE void load8(void* to, global const void* from) { *(uint2*)to = *(global const uint2*)from; }
PRIVATE void load16(void* to, global const void* from) { *(uint4*)to = *(global const uint4*)from; }
PRIVATE void store2(global void* to, const void* from) { *(global uchar2*)to = *(const uchar2*)from; }
PRIVATE void store4(global void* to, const void* from) { *(global uchar4*)to = *(const uchar4*)from; }
PRIVATE void store8(global void* to, const void* from) { *(global uint2*)to = *(const uint2*)from; }
PRIVATE void store16(global void* to, const void* from) { *(global uint4*)to = *(const uint4*)from; }

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

#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double f64;
#define MATH_f64(name) name
PRIVATE f64 bits_f64(u64 w) { return as_double(w); }

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
PRIVATE T CVT_##T##_f64(f64 x) { return x != x ? (T)0 : x >= (f64)HIGH ? (T)MOST : x < (f64)LOW ? (T)LEAST : (T)x; }

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
FLOAT_FUNCTIONS(f64, MATH_f64)

#define ABS_f32(x) as_float(as_uint(x) & 0x7fffffffu)
#define TANH_f32(x) (fabs(x) > 20 ? sign(x) : TANH_f32(x))
#define UNLESS_NAN(x, f) ((x) != (x) ? (x) : f(x))
#define FLOOR_f32(x) UNLESS_NAN(x, FLOOR_f32)
#define CEIL_f32(x) UNLESS_NAN(x, CEIL_f32)
#define TRUNC_f32(x) UNLESS_NAN(x, TRUNC_f32)
#define ROUND_f32(x) UNLESS_NAN(x, ROUND_f32)

#define TANH_f64(x) (fabs(x) > 20 ? sign(x) : TANH_f64(x))
#define FLOOR_f64(x) UNLESS_NAN(x, FLOOR_f64)
#define CEIL_f64(x) UNLESS_NAN(x, CEIL_f64)
#define TRUNC_f64(x) UNLESS_NAN(x, TRUNC_f64)
#define ROUND_f64(x) UNLESS_NAN(x, ROUND_f64)

PRIVATE void report(global i64* faults, i64 instruction, i64 lane, i64 block, i64 element, i64 held) {
    if (atomic_cmpxchg((volatile global int*)faults, 0, 1) != 0) return;
    faults[1] = instruction + 1;
    faults[2] = lane;
    faults[3] = block;
    faults[4] = element;
    faults[5] = held;
}

#define SHARED local
#define MEET() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define ATOMICS32(T, SPACE, S)                                                                        \
PRIVATE T ATOM_add_##T##S(volatile SPACE T* p, T a) { return atomic_add(p, a); }                      \
PRIVATE T ATOM_min_##T##S(volatile SPACE T* p, T a) { return atomic_min(p, a); }                      \
PRIVATE T ATOM_max_##T##S(volatile SPACE T* p, T a) { return atomic_max(p, a); }                      \
PRIVATE T ATOM_and_##T##S(volatile SPACE T* p, T a) { return atomic_and(p, a); }                      \
PRIVATE T ATOM_or_##T##S(volatile SPACE T* p, T a) { return atomic_or(p, a); }                        \
PRIVATE T ATOM_xor_##T##S(volatile SPACE T* p, T a) { return atomic_xor(p, a); }                      \
PRIVATE T ATOM_exch_##T##S(volatile SPACE T* p, T a) { return atomic_xchg(p, a); }                    \
PRIVATE T ATOM_cas_##T##S(volatile SPACE T* p, T a, T b) { return atomic_cmpxchg(p, a, b); }
ATOMICS32(i32, global, _g) ATOMICS32(i32, local, _l) ATOMICS32(u32, global, _g) ATOMICS32(u32, local, _l)

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

TRIED(f32, u32, min, global, _g, atomic_cmpxchg, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, global, _g, atomic_cmpxchg, as_uint, as_float, GREATER_f32(old, a))
TRIED(f32, u32, min, local, _l, atomic_cmpxchg, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, local, _l, atomic_cmpxchg, as_uint, as_float, GREATER_f32(old, a))

#define WARPS(T) SHUFFLES(T) REDUCTION(T, add, ADD) REDUCTION(T, mul, MUL) REDUCTION(T, min, MIN) REDUCTION(T, max, MAX)
WARPS(i32) WARPS(u32) WARPS(i64) WARPS(u64) WARPS(f32)
WARPS(f64)

#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable
#define SAME(x) (x)
#define ATOMICS64(T, SPACE, S)                                                                        \
PRIVATE T ATOM_add_##T##S(volatile SPACE T* p, T a) { return atom_add(p, a); }                        \
PRIVATE T ATOM_exch_##T##S(volatile SPACE T* p, T a) { return atom_xchg(p, a); }                      \
PRIVATE T ATOM_cas_##T##S(volatile SPACE T* p, T a, T b) { return atom_cmpxchg(p, a, b); }            \
TRIED(T, T, min, SPACE, S, atom_cmpxchg, SAME, SAME, old < a ? old : a)                               \
TRIED(T, T, max, SPACE, S, atom_cmpxchg, SAME, SAME, old > a ? old : a)                               \
TRIED(T, T, and, SPACE, S, atom_cmpxchg, SAME, SAME, old & a)                                         \
TRIED(T, T, or, SPACE, S, atom_cmpxchg, SAME, SAME, old | a)                                          \
TRIED(T, T, xor, SPACE, S, atom_cmpxchg, SAME, SAME, old ^ a)
ATOMICS64(i64, global, _g) ATOMICS64(i64, local, _l) ATOMICS64(u64, global, _g) ATOMICS64(u64, local, _l)

#define IS_NEGATIVE_f64(x) (as_long(x) < 0)
ORDERING(f64)
TRIED(f64, u64, min, global, _g, atom_cmpxchg, as_ulong, as_double, LESSER_f64(old, a))
TRIED(f64, u64, max, global, _g, atom_cmpxchg, as_ulong, as_double, GREATER_f64(old, a))
TRIED(f64, u64, min, local, _l, atom_cmpxchg, as_ulong, as_double, LESSER_f64(old, a))
TRIED(f64, u64, max, local, _l, atom_cmpxchg, as_ulong, as_double, GREATER_f64(old, a))

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

