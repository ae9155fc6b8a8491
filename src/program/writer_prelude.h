// SPDX-License-Identifier: Apache-2.0
// What every written source begins with: the types, and one function for each instruction that no operator of C gives
// with the semantics of instructions.h. Functions are named OPCODE_type. Written in the common part of the C dialects.
#pragma once

namespace invar {

// Needs PRIVATE (a function of the device), and the functions of the language's own prelude. The pieces of f64 stand
// apart, for devices that have none: the text is kWriterPrelude, kPreludeCvtF64, kPreludeRest, kPreludeF64, with or without
// the two of f64.
inline constexpr const char* kWriterPrelude = R"(
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
)";

// The last line of INT_FROM_FLOAT.
inline constexpr const char* kPreludeCvtF64 =
    R"(PRIVATE T CVT_##T##_f64(f64 x) { return x != x ? (T)0 : x >= (f64)HIGH ? (T)MOST : x < (f64)LOW ? (T)LEAST : (T)x; })";

inline constexpr const char* kPreludeRest = R"(

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
)";

inline constexpr const char* kPreludeF64 = "FLOAT_FUNCTIONS(f64, MATH_f64)\n";

}  // namespace invar
