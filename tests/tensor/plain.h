// SPDX-License-Identifier: Apache-2.0
// Plain arrays beside tensors: numbers in row-major order that references read by index.
#pragma once

#include <invar/ops.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "device/device.h"

namespace invar::test {

using Index = std::vector<std::int64_t>;

struct Plain {
    Index shape;
    std::vector<double> data;

    std::int64_t size() const {
        return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    }
    double& at(const Index& index) {
        std::int64_t flat = 0;
        for (std::size_t d = 0; d < shape.size(); ++d) flat = flat * shape[d] + index[d];
        return data[static_cast<std::size_t>(flat)];
    }
    double at(const Index& index) const { return const_cast<Plain*>(this)->at(index); }
};

// body(index) for every index of the shape, in row-major order.
template <class F>
void for_each_index(const Index& shape, const F& body) {
    Index index(shape.size(), 0);
    const std::int64_t n = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    for (std::int64_t i = 0; i < n; ++i) {
        body(index);
        for (std::size_t d = index.size(); d-- > 0;) {
            if (++index[d] < shape[d]) break;
            index[d] = 0;
        }
    }
}

template <class F>
Plain plain(const Index& shape, const F& value) {
    Plain a{shape, {}};
    for_each_index(shape, [&](const Index& i) { a.data.push_back(value(i)); });
    return a;
}

// Multiples of 1/4 from -4 to 4, which every floating-point type holds; whole numbers where step is 1.
inline Plain random_plain(const Index& shape, unsigned seed, double step = 0.25) {
    std::mt19937 rng(seed);
    std::uniform_int_distribution<int> pick(static_cast<int>(-4 / step), static_cast<int>(4 / step));
    return plain(shape, [&](const Index&) { return pick(rng) * step; });
}

inline Tensor tensor_of(const Plain& a, DType dtype = DType::f32) {
    const std::vector<float> values(a.data.begin(), a.data.end());
    return Tensor::of(values, Shape(std::span<const std::int64_t>(a.shape))).astype(dtype).eval();
}

// The values of any dtype.
inline std::vector<double> values_of(const Tensor& t) {
    if (t.dtype() == DType::f64) return t.to_vector<double>();
    if (is_float(t.dtype())) {
        const std::vector<float> v = t.astype(DType::f32).to_vector<float>();
        return {v.begin(), v.end()};
    }
    const std::vector<std::int64_t> v = t.astype(DType::i64).to_vector<std::int64_t>();
    return {v.begin(), v.end()};
}

// The same shape, and values within tolerance * max(1, |want|).
inline ::testing::AssertionResult agrees(const Tensor& got, const Plain& want, double tolerance = 0) {
    Index shape;
    for (int i = 0; i < got.rank(); ++i) shape.push_back(got.dim(i));
    if (shape != want.shape) return ::testing::AssertionFailure() << "shape " << to_string(got.shape());
    const std::vector<double> values = values_of(got);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const bool same = values[i] == want.data[i] || (std::isnan(values[i]) && std::isnan(want.data[i]));
        if (!same &&
            !(std::fabs(values[i] - want.data[i]) <= tolerance * std::max(1.0, std::fabs(want.data[i]))))
            return ::testing::AssertionFailure()
                   << "element " << i << " is " << values[i] << ", want " << want.data[i];
    }
    return ::testing::AssertionSuccess();
}

inline bool device_has_f64() {
    const std::shared_ptr<Device> d = find_device();
    return d->supports(Feature::native) || d->supports(Feature::f64);
}

// The message of the E that f throws, or "" with a failure.
template <class E, class F>
std::string message_of(const F& f) {
    try {
        f();
    } catch (const E& e) {
        return e.what();
    }
    ADD_FAILURE() << "threw nothing";
    return "";
}
inline void expect_contains(const std::string& text, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
        EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

}  // namespace invar::test
