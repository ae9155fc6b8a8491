// SPDX-License-Identifier: Apache-2.0
// What sources of grid programs have besides writer_prelude.h: shuffles, reductions and atomics, with
// the semantics of instructions.h. Names are the instruction's, with '_' for '.', and the type.
#pragma once

namespace invar {

// MIN and MAX of ATOM for floats: -0 below +0, NaN where there is one. Needs IS_NEGATIVE_type.
inline constexpr const char* kGridOrdering = R"(
#define ORDERING(T)                                                                                   \
PRIVATE T LESSER_##T(T a, T b) { return a != a ? a : b != b ? b : a == b ? (IS_NEGATIVE_##T(a) ? a : b) : a < b ? a : b; }  \
PRIVATE T GREATER_##T(T a, T b) { return a != a ? a : b != b ? b : a == b ? (IS_NEGATIVE_##T(a) ? b : a) : a > b ? a : b; }
ORDERING(f32)
)";

inline constexpr const char* kGridCuda = R"(
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
)";
inline constexpr const char* kGridCudaFloats = R"(
ORDERING(f64)
FLOAT_ATOMIC(f32, u32, min, LESSER, __float_as_uint, __uint_as_float)
FLOAT_ATOMIC(f32, u32, max, GREATER, __float_as_uint, __uint_as_float)
FLOAT_ATOMIC(f64, u64, min, LESSER, __double_as_longlong, __longlong_as_double)
FLOAT_ATOMIC(f64, u64, max, GREATER, __double_as_longlong, __longlong_as_double)
)";

inline constexpr const char* kGridOpencl = R"(
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
)";

// Of OpenCL and Metal. Warps through memory of the block (SHARED): no sub-groups are asked for. Everything meets before it
// writes and before it reads.
inline constexpr const char* kGridExchange = R"(
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
)";
inline constexpr const char* kGridOpenclFloats = R"(
TRIED(f32, u32, min, global, _g, atomic_cmpxchg, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, global, _g, atomic_cmpxchg, as_uint, as_float, GREATER_f32(old, a))
TRIED(f32, u32, min, local, _l, atomic_cmpxchg, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, local, _l, atomic_cmpxchg, as_uint, as_float, GREATER_f32(old, a))
)";
// Where a program has atomics of 64 bits.
inline constexpr const char* kGridOpenclWide = R"(
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
)";
inline constexpr const char* kGridOpenclWideFloats = R"(
#define IS_NEGATIVE_f64(x) (as_long(x) < 0)
ORDERING(f64)
TRIED(f64, u64, min, global, _g, atom_cmpxchg, as_ulong, as_double, LESSER_f64(old, a))
TRIED(f64, u64, max, global, _g, atom_cmpxchg, as_ulong, as_double, GREATER_f64(old, a))
TRIED(f64, u64, min, local, _l, atom_cmpxchg, as_ulong, as_double, LESSER_f64(old, a))
TRIED(f64, u64, max, local, _l, atom_cmpxchg, as_ulong, as_double, GREATER_f64(old, a))
)";

inline constexpr const char* kGridMetal = R"(
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
)";
inline constexpr const char* kGridMetalFloats = R"(
TRIED(f32, u32, min, device, _g, swap_g, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, device, _g, swap_g, as_uint, as_float, GREATER_f32(old, a))
TRIED(f32, u32, min, threadgroup, _l, swap_l, as_uint, as_float, LESSER_f32(old, a))
TRIED(f32, u32, max, threadgroup, _l, swap_l, as_uint, as_float, GREATER_f32(old, a))
)";

inline constexpr const char* kGridWarps = R"(
#define WARPS(T) SHUFFLES(T) REDUCTION(T, add, ADD) REDUCTION(T, mul, MUL) REDUCTION(T, min, MIN) REDUCTION(T, max, MAX)
WARPS(i32) WARPS(u32) WARPS(i64) WARPS(u64) WARPS(f32)
)";

}  // namespace invar
