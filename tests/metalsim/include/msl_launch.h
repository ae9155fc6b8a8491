// SPDX-License-Identifier: Apache-2.0
// How a launcher, which the device writes behind the source, passes arguments to a kernel. Part of metal_stdlib.
#pragma once

namespace msl {

template <class F>
struct Arguments;
template <class... P>
struct Arguments<void (*)(P...)> {
    template <unsigned N>
    using type = __type_pack_element<N, P...>;
};

// Positions and sizes, of one, two or three numbers.
template <class T>
struct Pass {
    static T value(const unsigned (&place)[3]) {
        if constexpr (metal::msl_width<T> == 1) {
            return static_cast<T>(place[0]);
        } else {
            T all = {};
            for (int k = 0; k < metal::msl_width<T> && k < 3; ++k) all[k] = place[k];
            return all;
        }
    }
    static T value(unsigned place) { return static_cast<T>(place); }
};

template <class T>
struct Named {
    static constexpr bool kReadOnly = false;
    static constexpr unsigned kBytes = sizeof(T), kAlignment = alignof(T);
};
template <>
struct Named<void> {
    static constexpr bool kReadOnly = false;
    static constexpr unsigned kBytes = 1, kAlignment = 1;
};
template <class T>
struct Named<const T> : Named<T> {
    static constexpr bool kReadOnly = true;
};
template <class T>
struct Named<volatile T> : Named<T> {};
template <class T>
struct Named<const volatile T> : Named<const T> {};
template <class T>
struct Pass<T*> : Named<T> {
    static constexpr bool kReference = false;
    static T* buffer(void* bytes) { return static_cast<T*>(bytes); }
};
template <class T>
struct Pass<T&> : Named<T> {
    static constexpr bool kReference = true;
    static T& buffer(void* bytes) { return *static_cast<T*>(bytes); }
};
template <class T>
struct Pass<T* const> : Pass<T*> {};

}  // namespace msl
