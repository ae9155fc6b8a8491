// SPDX-License-Identifier: Apache-2.0
// Arithmetic on sizes that come from outside: every sum and product is checked before it is used.
#pragma once

#include <concepts>
#include <optional>
#include <string>

#include <invar/error.h>

namespace invar {

template <std::integral T>
std::optional<T> try_add(T a, T b) {
    T r;
    if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
    return r;
}

template <std::integral T>
std::optional<T> try_mul(T a, T b) {
    T r;
    if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
    return r;
}

// a + b, a - b and a * b; what names the quantity in the InvalidArgument thrown when the result does not fit.
template <std::integral T>
T checked_add(T a, T b, const char* what) {
    if (auto r = try_add(a, b)) return *r;
    throw InvalidArgument(std::string(what) + ": " + std::to_string(a) + " + " + std::to_string(b) +
                          " overflows; use a smaller size");
}

template <std::integral T>
T checked_sub(T a, T b, const char* what) {
    T r;
    if (!__builtin_sub_overflow(a, b, &r)) return r;
    throw InvalidArgument(std::string(what) + ": " + std::to_string(a) + " - " + std::to_string(b) +
                          " overflows; use a smaller size");
}

template <std::integral T>
T checked_mul(T a, T b, const char* what) {
    if (auto r = try_mul(a, b)) return *r;
    throw InvalidArgument(std::string(what) + ": " + std::to_string(a) + " * " + std::to_string(b) +
                          " overflows; use a smaller size");
}

}  // namespace invar
