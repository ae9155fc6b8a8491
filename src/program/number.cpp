// SPDX-License-Identifier: Apache-2.0
// Numbers in program text: parsed exactly at their type, printed so that they read back as the same bits.
#include "program/number.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

#include "program/program.h"

namespace invar {
namespace {

std::uint64_t mask_of(DType type) {
    const std::size_t bits = size_of(type) * 8;
    return bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}

template <class F>
bool parse_float(std::string_view text, F& out, std::string& error) {
    bool negative = false;
    std::string_view digits = text;
    if (digits.starts_with('-')) {
        negative = true;
        digits.remove_prefix(1);
    }
    if (digits == "inf" || digits == "nan") {
        out = digits == "inf" ? std::numeric_limits<F>::infinity() : std::numeric_limits<F>::quiet_NaN();
        if (negative && digits == "inf") out = -out;
        return true;
    }
    const bool begins_well = !digits.empty() && (digits[0] == '.' || (digits[0] >= '0' && digits[0] <= '9'));
    const char* end = digits.data() + digits.size();
    F value{};
    auto [stop, code] = begins_well ? std::from_chars(digits.data(), end, value)
                                    : std::from_chars_result{digits.data(), std::errc::invalid_argument};
    if (code == std::errc::result_out_of_range && stop == end) {
        double wide = 0;  // too small rounds to a denormal or zero, too large is refused
        if (std::from_chars(digits.data(), end, wide).ec == std::errc() && wide < 1) {
            value = static_cast<F>(wide);
            code = std::errc();
        } else {
            error = "the number does not fit the type";
            return false;
        }
    }
    if (code != std::errc() || stop != end) {
        error = "not a number";
        return false;
    }
    out = negative ? -value : value;
    return true;
}

bool parse_integer(std::string_view text, DType type, std::uint64_t& bits, std::string& error) {
    const bool negative = text.starts_with('-');
    std::string_view digits = text.substr(negative ? 1 : 0);
    std::uint64_t magnitude = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, code] = std::from_chars(digits.data(), end, magnitude);
    if (code == std::errc::invalid_argument || stop != end || digits.empty()) {
        error = "not a whole number, which this type needs";
        return false;
    }
    const std::uint64_t mask = mask_of(type);
    const std::uint64_t top = is_signed_int(type) ? mask / 2 : mask;
    const std::uint64_t limit = negative ? (is_signed_int(type) ? top + 1 : 0) : top;
    if (code != std::errc() || magnitude > limit) {
        error = "the number does not fit the type";
        return false;
    }
    bits = (negative ? std::uint64_t{0} - magnitude : magnitude) & mask;
    return true;
}

template <class F>
std::string print_float(F value) {
    if (std::isnan(value)) return "nan";
    char buffer[64];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    return {buffer, end};  // infinities come out as inf and -inf
}

}  // namespace

bool parse_immediate(std::string_view text, DType type, std::uint64_t& bits, std::string& error) {
    if (type == DType::pred) {
        if (text != "true" && text != "false" && text != "1" && text != "0") {
            error = "a pred immediate is true, false, 1 or 0";
            return false;
        }
        bits = text == "true" || text == "1";
        return true;
    }
    if (text == "true" || text == "false") {
        error = "true and false are of type pred";
        return false;
    }
    if (text.starts_with("0x") || text.starts_with("0X")) {
        const char* end = text.data() + text.size();
        const auto [stop, code] = std::from_chars(text.data() + 2, end, bits, 16);
        if (code == std::errc::invalid_argument || stop != end) {
            error = "not a hexadecimal number";
            return false;
        }
        if (code != std::errc() || (bits & ~mask_of(type)) != 0) {
            error = "the bits do not fit the type";
            return false;
        }
        if (type == DType::f32 && std::isnan(std::bit_cast<float>(static_cast<std::uint32_t>(bits))))
            bits = value_bits(type, std::numeric_limits<double>::quiet_NaN());
        if (type == DType::f64 && std::isnan(std::bit_cast<double>(bits)))
            bits = value_bits(type, std::numeric_limits<double>::quiet_NaN());
        return true;
    }
    if (type == DType::f32) {
        float value = 0;
        if (!parse_float(text, value, error)) return false;
        bits = std::bit_cast<std::uint32_t>(value);
        return true;
    }
    if (type == DType::f64) {
        double value = 0;
        if (!parse_float(text, value, error)) return false;
        bits = std::bit_cast<std::uint64_t>(value);
        return true;
    }
    return parse_integer(text, type, bits, error);
}

std::string print_immediate(std::uint64_t bits, DType type) {
    switch (type) {
        case DType::pred: return bits != 0 ? "true" : "false";
        case DType::f32: return print_float(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
        case DType::f64: return print_float(std::bit_cast<double>(bits));
        case DType::i8: return std::to_string(static_cast<std::int8_t>(bits));
        case DType::i16: return std::to_string(static_cast<std::int16_t>(bits));
        case DType::i32: return std::to_string(static_cast<std::int32_t>(bits));
        case DType::i64: return std::to_string(static_cast<std::int64_t>(bits));
        default: return std::to_string(bits);
    }
}

std::uint64_t integer_bits(DType type, std::int64_t value) {
    if (type == DType::pred) return value != 0;
    if (type == DType::f32) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
    if (type == DType::f64) return std::bit_cast<std::uint64_t>(static_cast<double>(value));
    return static_cast<std::uint64_t>(value) & mask_of(type);
}

std::uint64_t value_bits(DType type, double value) {
    if (type == DType::pred) return value != 0;
    if (type == DType::f64)
        return std::isnan(value) ? 0x7ff8000000000000u : std::bit_cast<std::uint64_t>(value);
    if (type == DType::f32)
        return std::isnan(value) ? 0x7fc00000u : std::bit_cast<std::uint32_t>(static_cast<float>(value));
    if (!is_int(type))
        throw InvalidArgument("value_bits: " + std::string(dtype_name(type)) +
                              " is a storage type; scalars and immediates are f32");
    // As CVT: towards zero, saturating, NaN to 0.
    if (std::isnan(value)) return 0;
    const bool is_signed = is_signed_int(type);
    const int digits = static_cast<int>(size_of(type)) * 8 - (is_signed ? 1 : 0);
    const double top = std::ldexp(1.0, digits);
    const std::uint64_t greatest = is_signed ? mask_of(type) / 2 : mask_of(type);
    if (value >= top) return greatest;
    if (is_signed && value < -top) return greatest + 1;
    if (!is_signed && value <= 0) return 0;
    return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(value)) & mask_of(type)
                     : static_cast<std::uint64_t>(value);
}

}  // namespace invar
