
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned u32; typedef unsigned long long u64;
typedef float f32; typedef double f64; typedef unsigned char pred;
#define PRIVATE static __device__ __forceinline__
#define MATH_f32(name) name##f
#define MATH_f64(name) name
PRIVATE void wait_for_earlier() {  // LaunchConfig::overlap
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
PRIVATE f32 bits_f32(u64 w) { return __uint_as_float((u32)w); }
PRIVATE f64 bits_f64(u64 w) { return __longlong_as_double((i64)w); }
PRIVATE f32 LDG_f16(u16 x) { f32 r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x)); return r; }
PRIVATE u16 STG_f16(f32 x) { u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x)); return r; }
PRIVATE f32 LDG_bf16(u16 x) { return __uint_as_float((u32)x << 16); }
PRIVATE u16 STG_bf16(f32 x) { u16 r; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x)); return r; }
PRIVATE f32 nan_min(f32 x, f32 y) { f32 r; asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(x), "f"(y)); return r; }
PRIVATE f32 nan_max(f32 x, f32 y) { f32 r; asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(x), "f"(y)); return r; }
PRIVATE f32 near_exp2(f32 x) { f32 r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
PRIVATE f32 near_reciprocal(f32 x) { f32 r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }

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
#define ABS_f32(x) __uint_as_float(__float_as_uint(x) & 0x7fffffffu)
#define ERF_f32(x) near_erf(x)
#define TANH_f32(x) near_tanh(x)
PRIVATE f32 cuda_sigmoid(f32 x) {
    const f32 e = expf(-ABS_f32(x)), n = x < 0 ? e : 1, d = 1 + e, r = near_reciprocal(d), q = n * r;
    return __fmaf_rn(__fmaf_rn(-d, q, n), r, q);
}
#define SIGMOID_f32(x) cuda_sigmoid(x)
#undef MIN_BY_f32
#undef MAX_BY_f32
#define MIN_BY_f32(x, limit) nan_min(x, limit)
#define MAX_BY_f32(x, limit) nan_max(x, limit)
#define GELU_f32(x) cuda_gelu(x)
PRIVATE f32 cuda_gelu(f32 x) {
    const f32 u = MAX_f32(x, -16.0f) * 0.5f;
    return fmaf(u, near_erf(x * 0.70710678118654752f), u);
}
PRIVATE void copy2(void* to, const void* from) { *(u16*)to = *(const u16*)from; }
PRIVATE void copy4(void* to, const void* from) { *(u32*)to = *(const u32*)from; }
PRIVATE void copy8(void* to, const void* from) { *(uint2*)to = *(const uint2*)from; }
PRIVATE void copy16(void* to, const void* from) { *(uint4*)to = *(const uint4*)from; }

PRIVATE f32 near_sqrt(f32 x) { f32 r; asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
PRIVATE f32 near_sqrt_wide(f32 x) { f32 r; asm("sqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
PRIVATE f32 near_exp(f32 x) { return near_exp2(x * 1.4426950408889634f); }
PRIVATE f32 near_exp_wide(f32 x) { const f32 root = near_exp2(x * 0.7213475204444817f); return root * root; }
PRIVATE f32 near_sigmoid(f32 x) { return near_reciprocal(1 + near_exp2(x * -1.4426950408889634f)); }
PRIVATE f32 near_sigmoid_wide(f32 x) {
    const f32 e = near_exp_wide(nan_min(x, 60.0f));
    return e * near_reciprocal(1 + e);
}
PRIVATE f32 near_tanh_bf16(f32 x) { f32 r; asm("tanh.approx.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
PRIVATE f32 near_tanh_f16(f32 x) {
    const f32 t = nan_min(fabsf(x), 5.625f), s = t * t;
    f32 p = 0x1.991ca4p-10f, q = 0x1.f126d8p-15f;
    p = fmaf(p, s, 0x1.d92fdcp-4f);
    q = fmaf(q, s, 0x1.24e4dap-6f);
    p = fmaf(p, s, 0x1.ffff60p-1f);
    q = fmaf(q, s, 0x1.cb985cp-2f);
    q = fmaf(q, s, 1.0f);
    return copysignf(p * t * near_reciprocal(q), x);
}
PRIVATE f32 near_gelu16(f32 x) {
    const f32 t = nan_min(fabsf(x), 13.2f);  // where 2^q is 0
    f32 q = -0x1.5d7388p-12f;
    q = fmaf(q, t, 0x1.860050p-8f);
    q = fmaf(q, t, -0x1.8e8d3ep-5f);
    q = fmaf(q, t, -0x1.dab0a6p-2f);
    q = fmaf(q, t, -0x1.26412cp+0f);
    q = fmaf(q, t, -0x1.0006b8p+0f);
    return fmaf(-t, near_exp2(q), fmaxf(x, 0.0f));
}
#undef EXP_f16
#undef EXP_bf16
#undef SQRT_f16
#undef SQRT_bf16
#undef TANH_f16
#undef TANH_bf16
#undef SIGMOID_f16
#undef SIGMOID_bf16
#undef GELU_f16
#undef GELU_bf16
#define EXP_f16(x) near_exp(x)
#define EXP_bf16(x) near_exp_wide(x)
#define SQRT_f16(x) near_sqrt(x)
#define SQRT_bf16(x) near_sqrt_wide(x)
#define TANH_f16(x) near_tanh_f16(x)
#define TANH_bf16(x) near_tanh_bf16(x)
#define SIGMOID_f16(x) near_sigmoid(x)
#define SIGMOID_bf16(x) near_sigmoid_wide(x)
#define GELU_f16(x) near_gelu16(x)
#define GELU_bf16(x) near_gelu16(x)

struct DeviceFault { u32 claimed, kind; i64 values[4]; char text[216]; };
struct FaultBox { u32 claimed, pad; DeviceFault* record; };
static __device__ __noinline__ void report(FaultBox* box, u32 kind, const char* text, i64 lane, i64 block, i64 element, i64 held) {
    if (atomicCAS(&box->claimed, 0u, 1u) != 0) return;
    volatile DeviceFault* f = box->record;
    f->values[0] = lane;
    f->values[1] = block;
    f->values[2] = element;
    f->values[3] = held;
    for (int i = 0; i < 215 && text[i]; ++i) f->text[i] = text[i];
    __threadfence_system();
    f->kind = kind;
}

PRIVATE u32 present(u32 tid, u32 lanes) { const u32 left = lanes - (tid & ~31u); return left < 32 ? left : 32; }
PRIVATE u32 everyone(u32 present) { return present == 32 ? 0xffffffffu : (1u << present) - 1; }
#define SHUFFLES(T)                                                                                   \
PRIVATE T SHFL_idx_##T(T v, u32 from, u32 tid, u32 lanes) {                                           \
    const u32 there = present(tid, lanes);                                                            \
    return __shfl_sync(everyone(there), v, from < there ? from : tid & 31);                           \
}                                                                                                     \
PRIVATE T SHFL_up_##T(T v, u32 by, u32 tid, u32 lanes) {                                              \
    return SHFL_idx_##T(v, by <= (tid & 31) ? (tid & 31) - by : tid & 31, tid, lanes);                \
}                                                                                                     \
PRIVATE T SHFL_down_##T(T v, u32 by, u32 tid, u32 lanes) {                                            \
    return SHFL_idx_##T(v, by < 32 ? (tid & 31) + by : tid & 31, tid, lanes);                         \
}                                                                                                     \
PRIVATE T SHFL_xor_##T(T v, u32 by, u32 tid, u32 lanes) { return SHFL_idx_##T(v, (tid & 31) ^ by, tid, lanes); }
#define REDUCTION(T, NAME, OP)                                                                        \
PRIVATE T RED_##NAME##_warp_##T(T v, u32 tid, u32 lanes) {                                            \
    const u32 there = present(tid, lanes), all = everyone(there), lane = tid & 31;                    \
    for (u32 bit = 16; bit > 0; bit /= 2) {                                                           \
        const u32 partner = lane ^ bit;                                                               \
        const T other = __shfl_sync(all, v, partner < there ? partner : lane);                        \
        if (partner < there) v = partner < lane ? OP##_##T(other, v) : OP##_##T(v, other);            \
    }                                                                                                 \
    return __shfl_sync(all, v, 0);                                                                    \
}                                                                                                     \
PRIVATE T RED_##NAME##_block_##T(T v, u32 tid, u32 lanes) {                                           \
    __shared__ T parts[32];                                                                           \
    v = RED_##NAME##_warp_##T(v, tid, lanes);                                                         \
    __syncthreads();                                                                                  \
    if ((tid & 31) == 0) parts[tid / 32] = v;                                                         \
    __syncthreads();                                                                                  \
    v = parts[0];                                                                                     \
    for (u32 w = 1; w * 32 < lanes; ++w) v = OP##_##T(v, parts[w]);                                   \
    return v;                                                                                         \
}

#define ATOMICS(T, N)                                                                                 \
PRIVATE T ATOM_add_##T(T* p, T a) { return (T)atomicAdd((N*)p, (N)a); }                               \
PRIVATE T ATOM_min_##T(T* p, T a) { return atomicMin(p, a); }                                         \
PRIVATE T ATOM_max_##T(T* p, T a) { return atomicMax(p, a); }                                         \
PRIVATE T ATOM_and_##T(T* p, T a) { return (T)atomicAnd((N*)p, (N)a); }                               \
PRIVATE T ATOM_or_##T(T* p, T a) { return (T)atomicOr((N*)p, (N)a); }                                 \
PRIVATE T ATOM_xor_##T(T* p, T a) { return (T)atomicXor((N*)p, (N)a); }                               \
PRIVATE T ATOM_exch_##T(T* p, T a) { return (T)atomicExch((N*)p, (N)a); }                             \
PRIVATE T ATOM_cas_##T(T* p, T a, T b) { return (T)atomicCAS((N*)p, (N)a, (N)b); }
ATOMICS(i32, u32) ATOMICS(u32, u32) ATOMICS(i64, u64) ATOMICS(u64, u64)
#define IS_NEGATIVE_f32(x) (__float_as_int(x) < 0)
#define IS_NEGATIVE_f64(x) (__double_as_longlong(x) < 0)
#define FLOAT_ATOMIC(T, B, NAME, OP, TO_BITS, FROM_BITS)                                              \
PRIVATE T ATOM_##NAME##_##T(T* p, T a) {                                                              \
    B old = *(volatile B*)p, was;                                                                     \
    do { was = old; old = atomicCAS((B*)p, was, (B)TO_BITS(OP##_##T(FROM_BITS(was), a))); } while (old != was);  \
    return FROM_BITS(old);                                                                            \
}

#define ORDERING(T)                                                                                   \
PRIVATE T LESSER_##T(T a, T b) { return a != a ? a : b != b ? b : a == b ? (IS_NEGATIVE_##T(a) ? a : b) : a < b ? a : b; }  \
PRIVATE T GREATER_##T(T a, T b) { return a != a ? a : b != b ? b : a == b ? (IS_NEGATIVE_##T(a) ? b : a) : a > b ? a : b; }
ORDERING(f32)

ORDERING(f64)
FLOAT_ATOMIC(f32, u32, min, LESSER, __float_as_uint, __uint_as_float)
FLOAT_ATOMIC(f32, u32, max, GREATER, __float_as_uint, __uint_as_float)
FLOAT_ATOMIC(f64, u64, min, LESSER, __double_as_longlong, __longlong_as_double)
FLOAT_ATOMIC(f64, u64, max, GREATER, __double_as_longlong, __longlong_as_double)

#define WARPS(T) SHUFFLES(T) REDUCTION(T, add, ADD) REDUCTION(T, mul, MUL) REDUCTION(T, min, MIN) REDUCTION(T, max, MAX)
WARPS(i32) WARPS(u32) WARPS(i64) WARPS(u64) WARPS(f32)
WARPS(f64)

#define TILE_UNROLL _Pragma("unroll")

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

