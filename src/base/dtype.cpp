// SPDX-License-Identifier: Apache-2.0
// Names and promotion of element types.
#include <invar/dtype.h>
#include <invar/error.h>

#include <array>
#include <string>

namespace invar {
namespace {
constexpr std::array<std::string_view, kDTypeCount> kNames = {
    "pred", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64"};
}  // namespace

std::string_view dtype_name(DType t) { return kNames[static_cast<int>(t)]; }

DType parse_dtype(std::string_view name) {
    for (int i = 0; i < kDTypeCount; ++i)
        if (kNames[i] == name) return static_cast<DType>(i);
    std::string known;
    for (auto n : kNames) known += (known.empty() ? "" : ", ") + std::string(n);
    throw InvalidArgument("dtype '" + std::string(name) + "' is not known; use one of " + known);
}

DType promote(DType a, DType b) {
    if (a == b) return a;
    if (a == DType::pred) return b;
    if (b == DType::pred) return a;
    if (is_float(a) || is_float(b)) {
        if (!is_float(a)) return b;
        if (!is_float(b)) return a;
        if (size_of(a) == size_of(b)) return DType::f32;  // f16 with bf16: neither holds the other
        return size_of(a) > size_of(b) ? a : b;
    }
    if (is_signed_int(a) == is_signed_int(b)) return size_of(a) > size_of(b) ? a : b;
    const DType s = is_signed_int(a) ? a : b, u = is_signed_int(a) ? b : a;
    if (size_of(s) > size_of(u)) return s;
    switch (u) {
        case DType::u8: return DType::i16;
        case DType::u16: return DType::i32;
        case DType::u32: return DType::i64;
        default: break;
    }
    throw InvalidArgument("no common type of " + std::string(dtype_name(a)) + " and " +
                          std::string(dtype_name(b)) + "; cast one of them");
}

}  // namespace invar
