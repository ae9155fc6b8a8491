// SPDX-License-Identifier: Apache-2.0
// Scalar references for the pointwise operators, written from their definitions in double precision, independently of
// the operator table's bodies. A check in pointwise_test.cpp asks that none is missing.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>

namespace invar::test {

using Reference = std::function<double(double, double, double)>;

inline double nan_min(double a, double b) { return std::isnan(a) ? a : std::isnan(b) ? b : std::fmin(a, b); }
inline double nan_max(double a, double b) { return std::isnan(a) ? a : std::isnan(b) ? b : std::fmax(a, b); }

// Operators that read numbers and give a number; scalars s and t arrive in b and c.
inline const std::map<std::string, Reference>& real_references() {
    static const std::map<std::string, Reference> table = {
        {"negative", [](double x, double, double) { return -x; }},
        {"abs", [](double x, double, double) { return std::fabs(x); }},
        {"square", [](double x, double, double) { return x * x; }},
        {"sign", [](double x, double, double) { return x > 0   ? 1.0
                                                       : x < 0 ? -1.0
                                                               : 0.0; }},
        {"floor", [](double x, double, double) { return std::floor(x); }},
        {"ceil", [](double x, double, double) { return std::ceil(x); }},
        {"trunc", [](double x, double, double) { return std::trunc(x); }},
        {"round", [](double x, double, double) { return std::nearbyint(x); }},
        {"exp", [](double x, double, double) { return std::exp(x); }},
        {"exp2", [](double x, double, double) { return std::exp2(x); }},
        {"log", [](double x, double, double) { return std::log(x); }},
        {"log2", [](double x, double, double) { return std::log2(x); }},
        {"log10", [](double x, double, double) { return std::log10(x); }},
        {"sqrt", [](double x, double, double) { return std::sqrt(x); }},
        {"rsqrt", [](double x, double, double) { return 1 / std::sqrt(x); }},
        {"reciprocal", [](double x, double, double) { return 1 / x; }},
        {"sin", [](double x, double, double) { return std::sin(x); }},
        {"cos", [](double x, double, double) { return std::cos(x); }},
        {"tan", [](double x, double, double) { return std::tan(x); }},
        {"tanh", [](double x, double, double) { return std::tanh(x); }},
        {"erf", [](double x, double, double) { return std::erf(x); }},
        {"sigmoid", [](double x, double, double) { return 1 / (1 + std::exp(-x)); }},
        {"relu", [](double x, double, double) { return nan_max(x, 0); }},
        {"silu", [](double x, double, double) { return x / (1 + std::exp(-x)); }},
        {"gelu", [](double x, double,
                    double) { return x == -INFINITY ? 0.0 : 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }},
        {"gelu_tanh",
         [](double x, double, double) {
             return 0.5 * x *
                    (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
         }},
        {"affine", [](double x, double s, double t) { return x * s + t; }},
        {"clamp", [](double x, double s, double t) { return nan_min(nan_max(x, s), t); }},
        {"leaky_relu", [](double x, double s, double) { return x > 0 ? x : x * s; }},
        {"soft_cap", [](double x, double s, double) { return s * std::tanh(x / s); }},
        {"add", [](double a, double b, double) { return a + b; }},
        {"subtract", [](double a, double b, double) { return a - b; }},
        {"multiply", [](double a, double b, double) { return a * b; }},
        {"divide", [](double a, double b, double) { return a / b; }},
        {"remainder", [](double a, double b, double) { return std::fmod(a, b); }},
        {"minimum", [](double a, double b, double) { return nan_min(a, b); }},
        {"maximum", [](double a, double b, double) { return nan_max(a, b); }},
        {"is_nan", [](double x, double, double) { return std::isnan(x) ? 1.0 : 0.0; }},
        {"logical_not", [](double x, double, double) { return x != 0 ? 0.0 : 1.0; }},
        {"equal", [](double a, double b, double) { return a == b ? 1.0 : 0.0; }},
        {"not_equal", [](double a, double b, double) { return a != b ? 1.0 : 0.0; }},
        {"less", [](double a, double b, double) { return a < b ? 1.0 : 0.0; }},
        {"less_equal", [](double a, double b, double) { return a <= b ? 1.0 : 0.0; }},
        {"greater", [](double a, double b, double) { return a > b ? 1.0 : 0.0; }},
        {"greater_equal", [](double a, double b, double) { return a >= b ? 1.0 : 0.0; }},
        {"logical_and", [](double a, double b, double) { return a != 0 && b != 0 ? 1.0 : 0.0; }},
        {"logical_or", [](double a, double b, double) { return a != 0 || b != 0 ? 1.0 : 0.0; }},
        {"logical_xor", [](double a, double b, double) { return (a != 0) != (b != 0) ? 1.0 : 0.0; }},
        {"where", [](double a, double b, double c) { return a != 0 ? b : c; }},
    };
    return table;
}

using IntegerReference = std::function<std::int64_t(std::int64_t, std::int64_t)>;
inline const std::map<std::string, IntegerReference>& bit_references() {
    static const std::map<std::string, IntegerReference> table = {
        {"bitwise_not", [](std::int64_t a, std::int64_t) { return ~a; }},
        {"bitwise_and", [](std::int64_t a, std::int64_t b) { return a & b; }},
        {"bitwise_or", [](std::int64_t a, std::int64_t b) { return a | b; }},
        {"bitwise_xor", [](std::int64_t a, std::int64_t b) { return a ^ b; }},
        {"shift_left", [](std::int64_t a, std::int64_t b) { return a << b; }},
        {"shift_right", [](std::int64_t a, std::int64_t b) { return a >> b; }},
    };
    return table;
}

}  // namespace invar::test
