// SPDX-License-Identifier: Apache-2.0
// Measures the ways of a product through the whole path of a compiled function, as programs run it.
#include "tensor/product_tuning.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>

#include "base/log.h"
#include "kernels/cuda_tuning.h"

namespace invar {
namespace {

using kernels::ActivationWay;
using kernels::Gate;
using kernels::MatmulSpec;

constexpr std::size_t kRotated = std::size_t{512} << 20;  // bytes that the inputs rotate over, about
constexpr std::size_t kMostSets = 64;
constexpr int kRounds = 15;
constexpr double kSample = 0.005;  // seconds, about
// By how much a way must be faster than the one in use to take its place.
constexpr double kFaster = 0.98;

MatmulSpec spec_of(const ProductShape& s) {
    MatmulSpec m;
    m.x = m.w = s.dtype;
    m.y = m.bias = m.residual = s.f32_result ? DType::f32 : s.dtype;
    m.m = s.m;
    m.n = s.n;
    m.k = s.k;
    m.x_row = m.w_row = s.k;
    m.y_row = m.residual_row = s.n;
    m.has_bias = s.bias;
    m.has_residual = s.residual;
    m.activation = s.activation;
    return m;
}

Tensor activate(const Tensor& x, Gate activation) {
    switch (activation) {
        case Gate::silu: return silu(x);
        case Gate::gelu: return gelu(x);
        case Gate::gelu_tanh: return gelu_tanh(x);
        case Gate::relu: return relu(x);
        case Gate::none: break;
    }
    return x;
}

std::string name_of(const ActivationWay& way) {
    if (way.by == ActivationWay::By::step) return "a step of its own";
    if (way.by == ActivationWay::By::library) return "the library's epilogue";
    const kernels::GemmTile& t = kernels::kGemmTiles[way.tile];
    return "tile " + std::to_string(t.m) + "x" + std::to_string(t.n) + ", " + std::to_string(t.stages) +
           " stages, " + (t.together ? "together" : "in turn") + ", cluster of " + std::to_string(t.cluster);
}

// A function of several products of this shape over inputs of their own, compiled the way that is set now.
class Compiled {
public:
    Compiled(const std::shared_ptr<Device>& device, const ProductShape& s, std::span<const Tensor> inputs,
             std::span<const Tensor> outputs)
        : inputs_(inputs), outputs_(outputs) {
        const std::size_t each = s.bias ? 3 : 2;
        std::vector<InputSpec> specs;
        for (const Tensor& t : inputs) specs.push_back({t.dtype(), t.shape()});
        function_ = compile(
            [&](std::span<const Tensor> in) {
                std::vector<Tensor> results;
                for (std::size_t i = 0; i < in.size(); i += each)
                    results.push_back(
                        activate(linear(in[i], in[i + 1], s.bias ? in[i + 2] : Tensor()), s.activation));
                return results;
            },
            specs, device);
        times_ = 1;
        sample();  // what is compiled and captured at the first run
        const double once = sample();
        times_ = static_cast<int>(std::clamp(kSample / std::max(once, 1e-7), 1.0, 1000.0));
    }
    // Seconds of one run of all of them.
    double sample() const {
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < times_; ++i) function_.run(inputs_, outputs_);
        function_.synchronize();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / times_;
    }

private:
    std::span<const Tensor> inputs_, outputs_;
    CompiledFunction function_;
    int times_ = 1;
};

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

// Leaves the way of the product as it was unless another is chosen.
class Restored {
public:
    Restored(const Device& device, const MatmulSpec& spec)
        : device_(device), spec_(spec), way_(kernels::activation_way(device, spec)) {}
    Restored(const Restored&) = delete;
    ~Restored() { kernels::set_activation_way(device_, spec_, way_, false); }
    const ActivationWay& way() const { return way_; }
    void choose(const ActivationWay& way) {
        kernels::set_activation_way(device_, spec_, way, true);
        way_ = way;
    }

private:
    const Device& device_;
    const MatmulSpec& spec_;
    ActivationWay way_;
};

}  // namespace

std::string to_string(const ProductShape& s) {
    constexpr const char* kNames[] = {"", " silu", " gelu", " gelu_tanh", " relu"};
    return std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k) + " " +
           std::string(dtype_name(s.dtype)) + (s.bias ? " bias" : "") + (s.residual ? " residual" : "") +
           (s.f32_result ? " to f32" : "") + kNames[static_cast<int>(s.activation)];
}

TunedProduct tune_product(const std::shared_ptr<Device>& device, const ProductShape& s, bool keep) {
    if (s.m < 1 || s.n < 1 || s.k < 1)
        throw InvalidArgument("tuning of a product: its sizes are " + std::to_string(s.m) + ", " +
                              std::to_string(s.n) + " and " + std::to_string(s.k) +
                              "; they must be positive");
    if ((s.residual || s.f32_result) && s.activation != Gate::none)
        throw InvalidArgument(
            "tuning of a product: an activation behind a residual or an f32 result is a step of its own");
    TunedProduct found;
    const MatmulSpec spec = spec_of(s);
    MatmulSpec plain = spec;
    plain.activation = Gate::none;
    found.product = kernels::search_library(*device, plain, keep);
    if (s.activation == Gate::none) return found;
    found.epilogue = kernels::search_library(*device, spec, keep);

    std::vector<ActivationWay> ways = {{ActivationWay::By::step, 0}};
    if (kernels::takes_way(*device, spec, {ActivationWay::By::library, 0}))
        ways.push_back({ActivationWay::By::library, 0});
    for (std::size_t i = 0; i < kernels::kGemmTileCount; ++i)
        if (const ActivationWay way{ActivationWay::By::tile, static_cast<std::int32_t>(i)};
            kernels::takes_way(*device, spec, way))
            ways.push_back(way);
    Restored current(*device, spec);
    // Few rows are multiplied by another kernel, with a step behind it whatever the way.
    std::erase_if(ways, [&](const ActivationWay& way) {
        if (way.by == ActivationWay::By::step) return false;
        kernels::set_activation_way(*device, spec, way, false);
        return !kernels::fuses_activation(*device, spec);
    });
    if (ways.size() < 2) return found;

    std::vector<Tensor> inputs, outputs;
    std::uint64_t seed = 0;
    const auto sample = [&](const Shape& shape) {
        inputs.push_back(random_uniform(shape, -1, 1, ++seed, 0, s.dtype, device).eval());
    };
    const auto bytes = static_cast<std::size_t>(s.m * s.k + s.n * s.k + s.m * s.n) * size_of(s.dtype);
    const std::size_t sets = std::clamp<std::size_t>(kRotated / bytes, 1, kMostSets);
    for (std::size_t i = 0; i < sets; ++i) {
        sample({s.m, s.k});
        sample({s.n, s.k});
        if (s.bias) sample({s.n});
        outputs.push_back(Tensor::empty(s.dtype, {s.m, s.n}, device));
    }
    std::vector<std::optional<Compiled>> compiled;
    for (std::size_t i = 0; i < ways.size(); ++i) {
        if (ways[i] == current.way()) found.used = i;
        found.ways.push_back({name_of(ways[i]), std::numeric_limits<double>::infinity()});
        kernels::set_activation_way(*device, spec, ways[i], false);
        try {
            compiled.emplace_back(std::in_place, device, s, inputs, outputs);
        } catch (const Cancelled&) {
            throw;
        } catch (const DeviceLost&) {
            throw;
        } catch (const Error& e) {  // more shared memory than this device has, say
            log(LogLevel::kInfo, found.ways[i].name + " is left out: " + e.what());
            compiled.emplace_back();
        }
    }
    std::vector<std::vector<double>> samples(ways.size());
    for (int round = 0; round < kRounds; ++round)
        for (std::size_t i = 0; i < ways.size(); ++i)
            if (compiled[i]) samples[i].push_back(compiled[i]->sample());
    found.best = found.used;
    for (std::size_t i = 0; i < ways.size(); ++i)
        if (compiled[i]) found.ways[i].seconds = median(samples[i]) / static_cast<double>(sets);
    for (std::size_t i = 0; i < ways.size(); ++i) {
        const double allowed = found.best == found.used ? kFaster * found.ways[found.used].seconds
                                                        : found.ways[found.best].seconds;
        if (found.ways[i].seconds < allowed) found.best = i;
    }
    if (keep) current.choose(ways[found.best]);
    return found;
}

}  // namespace invar
