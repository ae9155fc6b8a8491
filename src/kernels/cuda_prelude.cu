// SPDX-License-Identifier: Apache-2.0
// What every CUDA source of a family begins with: types, 16-byte accesses, sums over warps and blocks, the fault record,
// and the words of programmatic dependent launch. No header is needed at run time. Compute capability 8.0 and up.
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned u32; typedef unsigned long long u64;
typedef float f32; typedef double f64;
struct f16 { u16 bits; };
struct bf16 { u16 bits; };
#define PRIVATE static __device__ __forceinline__
#define INLINE __device__ __forceinline__  // of templates
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define KERNEL_AT_LEAST(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)  // on an SM
constexpr u32 kWarp = 32;
constexpr u32 kAllLanes = 0xffffffffu;
#define INFINITE __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fffffff)

// ---- storage types <-> f32 ----
PRIVATE f32 widen(f32 x) { return x; }
PRIVATE f32 widen(f16 x) { f32 r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits)); return r; }
PRIVATE f32 widen(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
template <class T> INLINE T narrow(f32 x);
template <> INLINE f32 narrow<f32>(f32 x) { return x; }
template <> INLINE f16 narrow<f16>(f32 x) { f16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x)); return r; }
template <> INLINE bf16 narrow<bf16>(f32 x) { bf16 r; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x)); return r; }

// From any storage type to any other; the same type is taken over bit for bit.
template <class A, class B> struct Convert {
    static constexpr bool same = false;
    static INLINE B of(A x) { return narrow<B>(widen(x)); }
};
template <class A> struct Convert<A, A> {
    static constexpr bool same = true;
    static INLINE A of(A x) { return x; }
};

// Two storage elements of a 32-bit word, low half first.
template <class T> INLINE void widen2(u32 w, f32& low, f32& high);
template <> INLINE void widen2<bf16>(u32 w, f32& low, f32& high) {
    low = __uint_as_float(w << 16);
    high = __uint_as_float(w & 0xffff0000u);
}
template <> INLINE void widen2<f16>(u32 w, f32& low, f32& high) {
    f16 a, b;
    a.bits = (u16)w;
    b.bits = (u16)(w >> 16);
    low = widen(a);
    high = widen(b);
}
template <class T> INLINE u32 narrow2(f32 low, f32 high);
template <> INLINE u32 narrow2<bf16>(f32 low, f32 high) { u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
template <> INLINE u32 narrow2<f16>(f32 low, f32 high) { u32 r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }

// ---- 16-byte accesses: kLanes<T> elements at an address that is a multiple of 16 ----
template <class T> constexpr int kLanes = 16 / (int)sizeof(T);
PRIVATE bool aligned16(const void* p) { return ((u64)p & 15) == 0; }
// Read once by this kernel: past L1, with the lines around it brought into L2.
PRIVATE uint4 load_stream(const void* p) {
    uint4 r;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p));
    return r;
}
template <class T> INLINE void widen16(uint4 v, f32 (&x)[kLanes<T>]) {
    if constexpr (sizeof(T) == 4) {
        x[0] = __uint_as_float(v.x); x[1] = __uint_as_float(v.y); x[2] = __uint_as_float(v.z); x[3] = __uint_as_float(v.w);
    } else {
        widen2<T>(v.x, x[0], x[1]); widen2<T>(v.y, x[2], x[3]); widen2<T>(v.z, x[4], x[5]); widen2<T>(v.w, x[6], x[7]);
    }
}
template <class T> INLINE uint4 narrow16(const f32 (&x)[kLanes<T>]) {
    if constexpr (sizeof(T) == 4)
        return make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3]));
    else
        return make_uint4(narrow2<T>(x[0], x[1]), narrow2<T>(x[2], x[3]), narrow2<T>(x[4], x[5]), narrow2<T>(x[6], x[7]));
}

// ---- folds in a fixed order: every thread gets the result ----
template <class F> INLINE f32 warp_fold(f32 x, F f) {
#pragma unroll
    for (u32 step = 16; step > 0; step /= 2) x = f(x, __shfl_xor_sync(kAllLanes, x, step));
    return x;
}
struct Sum { INLINE f32 operator()(f32 a, f32 b) const { return a + b; } };
struct Largest {  // NaN wins
    INLINE f32 operator()(f32 a, f32 b) const { f32 r; asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
};
// shared: one f32 a warp and one more. Ends with a barrier, so that it may be called again at once.
template <class F> INLINE f32 block_fold(f32 x, F f, f32* shared) {
    const u32 warp = threadIdx.x / kWarp, warps = (blockDim.x + kWarp - 1) / kWarp;
    x = warp_fold(x, f);
    if (threadIdx.x % kWarp == 0) shared[warp] = x;
    __syncthreads();
    x = shared[0];
    for (u32 w = 1; w < warps; ++w) x = f(x, shared[w]);
    __syncthreads();
    return x;
}

// ---- what a kernel finds wrong (src/device/device_fault.h) ----
struct DeviceFault { u32 claimed, kind; i64 values[4]; char text[216]; };
struct FaultBox { u32 claimed, pad; DeviceFault* record; };  // the record lies in memory of the host
constexpr u32 kInvalidArgument = 1, kLaunchFailed = 2;
static __device__ __noinline__ void report(FaultBox* box, u32 kind, const char* text, i64 a = 0, i64 b = 0, i64 c = 0, i64 d = 0) {
    if (atomicCAS(&box->claimed, 0u, 1u) != 0) return;
    volatile DeviceFault* f = box->record;
    f->values[0] = a;
    f->values[1] = b;
    f->values[2] = c;
    f->values[3] = d;
    for (int i = 0; i < 215 && text[i]; ++i) f->text[i] = text[i];
    __threadfence_system();
    f->kind = kind;
}

// ---- programmatic dependent launch (LaunchConfig::overlap) ----
// Before it, nothing may be read that an earlier kernel writes, and nothing written. Every block must pass it.
PRIVATE void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next kernel's blocks may take places that are free.
PRIVATE void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
