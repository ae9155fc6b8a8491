// SPDX-License-Identifier: Apache-2.0
// Where clang instruments every access (-fsanitize=kernel-address, whose checks are calls here), each is told to the device, which
// counts those of buffers. Part of metal_stdlib.
#pragma once

#define MSL_UNCOUNTED __attribute__((used, visibility("hidden"), no_sanitize("kernel-address", "undefined")))

extern "C" {

#define MSL_ACCESS(BYTES)                                                  \
    MSL_UNCOUNTED inline void __asan_load##BYTES(unsigned long address) {  \
        MSL_RUNTIME.access(address, BYTES, false);                         \
    }                                                                      \
    MSL_UNCOUNTED inline void __asan_store##BYTES(unsigned long address) { \
        MSL_RUNTIME.access(address, BYTES, true);                          \
    }
MSL_ACCESS(1)
MSL_ACCESS(2)
MSL_ACCESS(4)
MSL_ACCESS(8)
MSL_ACCESS(16)
#undef MSL_ACCESS
MSL_UNCOUNTED inline void __asan_loadN(unsigned long address, unsigned long bytes) {
    MSL_RUNTIME.access(address, bytes, false);
}
MSL_UNCOUNTED inline void __asan_storeN(unsigned long address, unsigned long bytes) {
    MSL_RUNTIME.access(address, bytes, true);
}
MSL_UNCOUNTED inline void* __asan_memcpy(void* to, const void* from, unsigned long bytes) {
    MSL_RUNTIME.access(reinterpret_cast<unsigned long>(from), bytes, false);
    MSL_RUNTIME.access(reinterpret_cast<unsigned long>(to), bytes, true);
    return __builtin_memcpy(to, from, bytes);
}
MSL_UNCOUNTED inline void* __asan_memmove(void* to, const void* from, unsigned long bytes) {
    MSL_RUNTIME.access(reinterpret_cast<unsigned long>(from), bytes, false);
    MSL_RUNTIME.access(reinterpret_cast<unsigned long>(to), bytes, true);
    return __builtin_memmove(to, from, bytes);
}
MSL_UNCOUNTED inline void* __asan_memset(void* to, int value, unsigned long bytes) {
    MSL_RUNTIME.access(reinterpret_cast<unsigned long>(to), bytes, true);
    return __builtin_memset(to, value, bytes);
}

// Before a trap.
MSL_UNCOUNTED inline void __asan_handle_no_return() {}

}  // extern "C"

#undef MSL_UNCOUNTED
