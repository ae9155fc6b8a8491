// SPDX-License-Identifier: Apache-2.0
// Shared layers.
#include "nn/layers.h"

#include <cmath>
#include <numbers>

#include <invar/error.h>
#include <invar/ops.h>

namespace invar::nn {
namespace {

struct NamedActivation {
    const char* name;
    Activation function;
};
constexpr NamedActivation kActivations[] = {
    {"silu", silu},
    {"swish", silu},
    {"gelu", gelu},
    {"gelu_new", gelu_tanh},
    {"gelu_pytorch_tanh", gelu_tanh},
    {"relu", relu},
};

// One frequency of Llama 3.1's scaling: long waves are divided by the factor, short ones stay, those between are mixed.
float llama3_frequency(float frequency, const io::RopeConfig& rope) {
    const double original = static_cast<double>(rope.original_max_positions);
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
    if (wavelength < static_cast<float>(original / rope.high_freq_factor)) return frequency;
    const float scaled = frequency / static_cast<float>(rope.factor);
    if (wavelength > static_cast<float>(original / rope.low_freq_factor)) return scaled;
    const float smooth =
        (static_cast<float>(original) / wavelength - static_cast<float>(rope.low_freq_factor)) /
        static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
    return (1 - smooth) * scaled + smooth * frequency;
}

}  // namespace

Tensor Linear::operator()(const Tensor& x) const { return linear(x, weight, bias); }

RopeTables make_rope_tables(const io::RopeConfig& rope, std::int64_t head_dim, std::int64_t positions,
                            const std::shared_ptr<Device>& device) {
    const auto half = static_cast<std::size_t>(head_dim / 2);
    std::vector<float> frequency(half);
    for (std::size_t i = 0; i < half; ++i) {
        const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
        float f = 1.0f / std::pow(static_cast<float>(rope.theta), exponent);
        if (rope.type == io::RopeType::linear) f /= static_cast<float>(rope.factor);
        if (rope.type == io::RopeType::llama3) f = llama3_frequency(f, rope);
        frequency[i] = f;
    }
    const auto rows = static_cast<std::size_t>(positions);
    std::vector<float> cos(rows * half), sin(rows * half);
    for (std::size_t p = 0; p < rows; ++p)
        for (std::size_t i = 0; i < half; ++i) {
            const float angle = static_cast<float>(p) * frequency[i];
            cos[p * half + i] = std::cos(angle);
            sin[p * half + i] = std::sin(angle);
        }
    const Shape shape{positions, static_cast<std::int64_t>(half)};
    return {Tensor::from_bytes(std::as_bytes(std::span(cos)), DType::f32, shape, device),
            Tensor::from_bytes(std::as_bytes(std::span(sin)), DType::f32, shape, device)};
}

Tensor apply_rope(const Tensor& x, const Tensor& cos, const Tensor& sin) {
    const std::int64_t half = x.dim(2) / 2;
    const Tensor first = x.slice(2, 0, half), second = x.slice(2, half, 2 * half);
    const Tensor c = cos.expand_dims(1), s = sin.expand_dims(1);
    // One statement an operator: the order in which arguments are evaluated is the compiler's, that of a schedule is not.
    const Tensor first_cos = first * c, second_sin = second * s;
    const Tensor second_cos = second * c, first_sin = first * s;
    return cat({(first_cos - second_sin).astype(x.dtype()), (second_cos + first_sin).astype(x.dtype())}, 2);
}

Activation find_activation(const std::string& name) {
    std::string known;
    for (const NamedActivation& a : kActivations) {
        if (name == a.name) return a.function;
        known += (known.empty() ? "" : ", ") + std::string(a.name);
    }
    throw Unsupported("activation '" + name + "' is not supported; those that are: " + known);
}

}  // namespace invar::nn
