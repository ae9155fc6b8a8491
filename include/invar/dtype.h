// SPDX-License-Identifier: Apache-2.0
// Element types. f16 and bf16 are storage types: arithmetic on them happens in f32 unless a matrix unit is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <invar/export.h>

namespace invar {

enum class DType : std::uint8_t { pred, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64 };
inline constexpr int kDTypeCount = 13;

// Bytes of one element.
constexpr std::size_t size_of(DType t) {
    constexpr std::size_t kSizes[kDTypeCount] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8};
    return kSizes[static_cast<int>(t)];
}
constexpr bool is_float(DType t) { return t >= DType::f16; }
constexpr bool is_signed_int(DType t) { return t >= DType::i8 && t <= DType::i64; }
constexpr bool is_unsigned_int(DType t) { return t >= DType::u8 && t <= DType::u64; }
constexpr bool is_int(DType t) { return is_signed_int(t) || is_unsigned_int(t); }

// "f32", "pred", ...
INVAR_API std::string_view dtype_name(DType t);
// The inverse of dtype_name; throws InvalidArgument that lists the names.
INVAR_API DType parse_dtype(std::string_view name);
// The type in which values of storage type t are computed: f16 and bf16 widen to f32, others stay.
constexpr DType compute_type(DType t) { return t == DType::f16 || t == DType::bf16 ? DType::f32 : t; }
// Type promotion of the Python array API standard; throws InvalidArgument for pairs it leaves undefined (u64 with a
// signed type, integer with float is resolved to the float as NumPy users expect, f16 with bf16 gives f32).
INVAR_API DType promote(DType a, DType b);

}  // namespace invar
