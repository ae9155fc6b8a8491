// SPDX-License-Identifier: Apache-2.0
// The languages that the writer knows: what each spells differently, and the words that its sources begin with. Another one
// is one more Dialect.
#pragma once

#include "program/writer.h"
#include "program/writer_prelude.h"

namespace invar {

// The rest of a text is the languages' common part.
struct Dialect {
    Language language;
    const char* types;         // of numbers, and PRIVATE; sources of kernel families have them already
    const char* prelude;       // what writer_prelude.h needs besides
    const char* conversions;   // kConversions16, where the prelude has none of its own
    const char* near;          // kNearFunctions, where the language's erf and tanh are missing or slow
    const char* prelude_f64;   // the same for f64
    const char* end;           // after writer_prelude.h
    const char* functions16;   // its own functions at the precision of 16-bit storage
    const char* end_f64;       // the same for f64
    bool always_f64;           // the functions of f64 are there also where no program uses them
    const char* literal_end;   // of an unsigned literal of 64 bits
    const char* memory;        // address space of a pointer into a buffer
    bool offsets;              // a buffer comes as a pointer and an offset in bytes
    bool bindings;             // arguments of a kernel are numbered: [[buffer(0)]]
    const char* structure;     // before the name of a struct where it is used
    const char* words_space;   // address space of the words of the launch
    const char* words;         // how a function takes the words of the launch: "const NAME_words" and this
    const char* word;          // how it reads one: this and "2]"
    const char *load, *store;  // functions that move several elements from and to a buffer
    const char* aligned;       // after an array that they access
    const char* address;       // cast of a pointer to an integer
    const char* kernel;        // before a kernel's name
    const char* places;        // arguments of a kernel that say which thread it is
    const char* begin;         // what a kernel does first
    const char* faults;        // type of where programs report faults
    const char *threads, *thread;  // how many the launch has, and which one this is
};

// The words of CUDA C++. f16 and bf16 are converted by one PTX instruction each (compute capability 8.0). wait_for_earlier waits before it
// lets the next kernel start: a program may be the first step of a run, and the second fetches weights as soon as it starts,
// when what wrote them before the run must have ended.
inline constexpr const char* kCudaPrelude = R"(
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
)";

// erf and tanh for languages that have none, or a slower one. erf has two polynomials (minimax, fitted by Lawson's iteration;
// 1.75 units in the last place over all floats): x + x p(x^2) below 1, 1 - 2^q(|x|) from there; CUDA's chooses each coefficient
// by a select of its own. tanh alike: x + x^3 p(x^2) below 0.55, 1 - 2 / (e^2|x| + 1) from there, which needs no case for large
// x (1.83 units). Needs near_exp2 and near_reciprocal, which may be a few units off.
inline constexpr const char* kNearFunctions = R"(
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
)";

// ptxas 13.0 takes |x| >= 0 (and any comparison of |x| with what is not positive) as true also for NaN: what it does not know
// to be |x| it compares. sigmoid divides by a number between 1 and 2: one step of Newton's does, without the cases of a full
// division.
inline constexpr const char* kCudaEnd =
    R"(#define ABS_f32(x) __uint_as_float(__float_as_uint(x) & 0x7fffffffu)
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
)";

// Functions at the precision of 16-bit storage, by the special function unit where it is exact enough: an SM starts a warp's
// special function every eight clocks, so six to ten other instructions weigh as much as one of them. tanh of f16 is a rational
// function (0.07 units), of bf16 the unit's own (2^-11 of the result, PTX); gelu is max(x, 0) - |x| 2^q(|x|), where 2^q(t) is
// Phi(-t), so that nothing cancels (0.15 units of f16; the tail below -5 counts by its operand); polynomials are minimax
// by Lawson's iteration. bf16 reaches as far down as f32: EXP, SIGMOID and SQRT keep what lies below the normal numbers, which a factor can bring back; an exponential by the square of
// its root, which is normal where the unit would flush it.
inline constexpr const char* kCudaFunctions16 = R"(
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
)";

// f16 and bf16 by integer arithmetic, for languages without an instruction that rounds as asked. (OpenCL's vload_half and
// vstore_half want a pointer, and a value in registers would have to go through one of another type.) A narrowing to f16 adds
// half a unit less one, and one more where the last kept bit is odd, so that ties go to even; below the normal numbers rint
// does that. Needs as_float and as_uint.
inline constexpr const char* kConversions16 = R"(
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
)";

// The words of OpenCL C 1.2, without extensions.
inline constexpr const char* kOpenclTypes = R"(
#pragma OPENCL FP_CONTRACT OFF
typedef char i8; typedef short i16; typedef int i32; typedef long i64;
typedef uchar u8; typedef ushort u16; typedef uint u32; typedef ulong u64;
typedef float f32;
#define PRIVATE static inline
)";
inline constexpr const char* kOpenclPrelude = R"(
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
)";

inline constexpr const char* kOpenclPreludeF64 = R"(
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double f64;
#define MATH_f64(name) name
PRIVATE f64 bits_f64(u64 w) { return as_double(w); }
)";

// After the rest: the absolute value as above; PoCL's tanh stops a unit short of 1, and gelu_tanh(-inf) relies on it; its floor and the like of a NaN that
// the compiler knows are any number (3.1).
inline constexpr const char* kOpenclEnd = R"(
#define ABS_f32(x) as_float(as_uint(x) & 0x7fffffffu)
#define TANH_f32(x) (fabs(x) > 20 ? sign(x) : TANH_f32(x))
#define UNLESS_NAN(x, f) ((x) != (x) ? (x) : f(x))
#define FLOOR_f32(x) UNLESS_NAN(x, FLOOR_f32)
#define CEIL_f32(x) UNLESS_NAN(x, CEIL_f32)
#define TRUNC_f32(x) UNLESS_NAN(x, TRUNC_f32)
#define ROUND_f32(x) UNLESS_NAN(x, ROUND_f32)
)";
inline constexpr const char* kOpenclEndF64 = R"(
#define TANH_f64(x) (fabs(x) > 20 ? sign(x) : TANH_f64(x))
#define FLOOR_f64(x) UNLESS_NAN(x, FLOOR_f64)
#define CEIL_f64(x) UNLESS_NAN(x, CEIL_f64)
#define TRUNC_f64(x) UNLESS_NAN(x, TRUNC_f64)
#define ROUND_f64(x) UNLESS_NAN(x, ROUND_f64)
)";

// The words of the Metal Shading Language. The host asks for safe mathematics as well (MTLCompileOptions), because a compiler
// before version 3.2 does not know the pragma. What is called precise is within 4 units by Apple's table.
inline constexpr const char* kMetalTypes = R"(#include <metal_stdlib>
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
)";
inline constexpr const char* kMetalPrelude = R"(typedef uchar pred;
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
)";

// The absolute value as on CUDA.
inline constexpr const char* kMetalEnd = R"(
#define ABS_f32(x) as_float(as_uint(x) & 0x7fffffffu)
)";

inline constexpr Dialect kCuda = {
    .language = Language::cuda,
    .types = "",
    .prelude = kCudaPrelude,
    .conversions = "",
    .near = kNearFunctions,
    .prelude_f64 = "",
    .end = kCudaEnd,
    .functions16 = kCudaFunctions16,
    .end_f64 = "",
    .always_f64 = true,
    .literal_end = "ull",
    .memory = "",
    .offsets = false,
    .bindings = false,
    .structure = "",
    .words_space = "",
    .words = "& p",
    .word = "p.w[",
    .load = "copy",
    .store = "copy",
    .aligned = "",
    .address = "(u64)",
    .kernel = "extern \"C\" __global__ void __launch_bounds__(256) ",
    .places = "",
    .begin = "  wait_for_earlier();\n",
    .faults = "FaultBox* ",
    .threads = "(u64)gridDim.x * blockDim.x",
    .thread = "(u64)blockIdx.x * blockDim.x + threadIdx.x",
};
static_assert(kWriterBlock == 256);

inline constexpr Dialect kOpencl = {
    .language = Language::opencl,
    .types = kOpenclTypes,
    .prelude = kOpenclPrelude,
    .conversions = kConversions16,
    .near = "",
    .prelude_f64 = kOpenclPreludeF64,
    .end = kOpenclEnd,
    .functions16 = "",
    .end_f64 = kOpenclEndF64,
    .always_f64 = false,
    .literal_end = "ul",
    .memory = "global ",
    .offsets = true,
    .bindings = false,
    .structure = "struct ",
    .words_space = "",
    .words = "* p",
    .word = "p->w[",
    .load = "load",
    .store = "store",
    .aligned = " __attribute__((aligned(16)))",
    .address = "(size_t)",
    .kernel = "kernel void ",
    .places = "",
    .begin = "",
    .faults = "global i64* ",
    .threads = "get_global_size(0)",
    .thread = "get_global_id(0)",
};

inline constexpr Dialect kMetal = {
    .language = Language::metal,
    .types = kMetalTypes,
    .prelude = kMetalPrelude,
    .conversions = kConversions16,
    .near = kNearFunctions,
    .prelude_f64 = "",
    .end = kMetalEnd,
    .functions16 = "",
    .end_f64 = "",
    .always_f64 = false,
    .literal_end = "ul",
    .memory = "device ",
    .offsets = false,
    .bindings = true,
    .structure = "",
    .words_space = "constant ",
    .words = "& p",
    .word = "p.w[",
    .load = "load",
    .store = "store",
    .aligned = " __attribute__((aligned(16)))",
    .address = "(u64)",
    .kernel = "kernel void ",
    .places = "u32 place [[thread_position_in_grid]], u32 places [[threads_per_grid]]",
    .begin = "",
    .faults = "device i64* ",
    .threads = "places",
    .thread = "place",
};

}  // namespace invar
