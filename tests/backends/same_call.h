// SPDX-License-Identifier: Apache-2.0
// Compares a function that we declare with that of a vendor's header: the same number of parameters, each of the same size
// and of the same kind (integer, floating, pointer).
#pragma once

#include <type_traits>

namespace invar::test {

template <class A, class B>
constexpr bool same_type() {
    if constexpr (std::is_void_v<A> || std::is_void_v<B>)
        return std::is_void_v<A> == std::is_void_v<B>;
    else
        // NOLINTNEXTLINE(bugprone-sizeof-expression): the size of the pointer is what is compared
        return sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> &&
               (std::is_integral_v<A> || std::is_enum_v<A>) == (std::is_integral_v<B> || std::is_enum_v<B>);
}

template <class F, class G>
struct SameCall : std::false_type {};
template <class R, class... A, class S, class... B>
struct SameCall<R(A...), S(B...)> {
    static constexpr bool value = [] {
        if constexpr (sizeof...(A) != sizeof...(B))
            return false;
        else
            return same_type<R, S>() && (same_type<A, B>() && ...);
    }();
};

}  // namespace invar::test
