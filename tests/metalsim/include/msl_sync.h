// SPDX-License-Identifier: Apache-2.0
// Barriers, fences and atomics. Part of metal_stdlib.
#pragma once

// The device has set it before a kernel runs.
extern "C" {
__attribute__((used, visibility("default"))) inline MslRuntime MSL_RUNTIME = {};
}

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) {
    return static_cast<mem_flags>(static_cast<int>(a) | static_cast<int>(b));
}
enum thread_scope {
    thread_scope_thread,
    thread_scope_simdgroup,
    thread_scope_threadgroup,
    thread_scope_device
};
enum memory_order { memory_order_relaxed, memory_order_seq_cst };

// The address to which these return says which call this is, so the compiler may make neither two of one (convergent) nor one
// of two (nomerge); and it is not to look into the functions (optnone), where it would find that they need not be convergent.
__attribute__((noinline, optnone, convergent, nomerge)) inline void msl_meet(int line) {
    MSL_RUNTIME.barrier(__builtin_return_address(0), line);
}
__attribute__((noinline, optnone, convergent, nomerge)) inline MslMeeting* msl_collect(const void* value,
                                                                                       unsigned bytes,
                                                                                       int line) {
    return MSL_RUNTIME.meet(__builtin_return_address(0), line, value, bytes);
}
__attribute__((always_inline, nomerge)) inline void threadgroup_barrier(mem_flags,
                                                                        int line = __builtin_LINE()) {
    msl_meet(line);
}
__attribute__((always_inline, nomerge)) inline void simdgroup_barrier(mem_flags,
                                                                      int line = __builtin_LINE()) {
    msl_collect(nullptr, 0, line);
}
inline void atomic_thread_fence(mem_flags, memory_order, thread_scope = thread_scope_device) {
    __asm__ volatile("" ::: "memory");
}

// Lanes take turns, so an atomic operation is a plain one that the compiler may not take apart.
template <class T>
struct msl_atomic {
    T value;
};
using atomic_int = msl_atomic<int>;
using atomic_uint = msl_atomic<uint>;

// Weak: it fails without a reason at every third call, as Metal may.
inline bool msl_fails_for_no_reason() {
    static uint calls = 0;
    return ++calls % 3 == 0;
}

#define MSL_FETCH(SPACE, NAME, EXPRESSION)                                         \
    template <class T>                                                             \
    inline T NAME(volatile SPACE msl_atomic<T>* object, T operand, memory_order) { \
        const T old = object->value;                                               \
        object->value = (EXPRESSION);                                              \
        return old;                                                                \
    }
#define MSL_ATOMICS(SPACE)                                                                               \
    MSL_FETCH(SPACE, atomic_exchange_explicit, operand)                                                  \
    MSL_FETCH(SPACE, atomic_fetch_add_explicit, (T)((uint)old + (uint)operand))                          \
    MSL_FETCH(SPACE, atomic_fetch_sub_explicit, (T)((uint)old - (uint)operand))                          \
    MSL_FETCH(SPACE, atomic_fetch_min_explicit, operand < old ? operand : old)                           \
    MSL_FETCH(SPACE, atomic_fetch_max_explicit, operand > old ? operand : old)                           \
    MSL_FETCH(SPACE, atomic_fetch_and_explicit, old& operand)                                            \
    MSL_FETCH(SPACE, atomic_fetch_or_explicit, old | operand)                                            \
    MSL_FETCH(SPACE, atomic_fetch_xor_explicit, old ^ operand)                                           \
    template <class T>                                                                                   \
    inline T atomic_load_explicit(const volatile SPACE msl_atomic<T>* object, memory_order) {            \
        return object->value;                                                                            \
    }                                                                                                    \
    template <class T>                                                                                   \
    inline void atomic_store_explicit(volatile SPACE msl_atomic<T>* object, T value, memory_order) {     \
        object->value = value;                                                                           \
    }                                                                                                    \
    template <class T>                                                                                   \
    inline bool atomic_compare_exchange_weak_explicit(volatile SPACE msl_atomic<T>* object, T* expected, \
                                                      T desired, memory_order, memory_order) {           \
        const T old = object->value;                                                                     \
        if (old != *expected) {                                                                          \
            *expected = old;                                                                             \
            return false;                                                                                \
        }                                                                                                \
        if (msl_fails_for_no_reason()) return false;                                                     \
        object->value = desired;                                                                         \
        return true;                                                                                     \
    }
#ifdef MSL_CHECK
MSL_ATOMICS(__attribute__((address_space(1))))
MSL_ATOMICS(__attribute__((address_space(3))))
#else
MSL_ATOMICS()
#endif
#undef MSL_ATOMICS
#undef MSL_FETCH

}  // namespace metal
