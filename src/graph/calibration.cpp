// SPDX-License-Identifier: Apache-2.0
// The cost model, and where calibrations are kept.
#include "graph/calibration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "base/log.h"
#include "base/thread_pool.h"
#include "device/bandwidth.h"
#include "device/disk_cache.h"
#include "kernels/matmul/family.h"

namespace invar::graph {
namespace {

using kernels::Cost;

constexpr const char* kCacheKind = "calibration";
constexpr int kFormatVersion = 1;
constexpr int kLargestPower = 36;  // of the sizes that are compared

// In this order they stand in the cache.
constexpr double Calibration::*kFigures[] = {
    &Calibration::launch,           &Calibration::read_bandwidth, &Calibration::copy_bandwidth,
    &Calibration::upload_bandwidth, &Calibration::upload_latency, &Calibration::download_bandwidth,
    &Calibration::download_latency, &Calibration::pointwise_rate, &Calibration::product_f32,
    &Calibration::product_f16,      &Calibration::product_bf16,
};
constexpr std::size_t kCount = std::size(kFigures);

std::int64_t side_of(std::int64_t elements) {
    auto side = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(elements))));
    return std::max<std::int64_t>(side, 1);
}

}  // namespace

double Calibration::rate(DType product) const {
    switch (product) {
        case DType::f32: return product_f32;
        case DType::f16: return product_f16;
        case DType::bf16: return product_bf16;
        default: return pointwise_rate;
    }
}

double ceiling_seconds(const Calibration& device, const Cost& cost) {
    const double rate = device.rate(cost.product);
    const double moving = device.copy_bandwidth > 0 ? cost.bytes / device.copy_bandwidth : 0,
                 computing = rate > 0 ? cost.flops / rate : 0;
    return std::max(moving, computing);
}

double seconds(const Calibration& device, const Cost& cost, double bytes_up, double bytes_down) {
    const auto transfer = [](double bytes, double bandwidth, double latency) {
        if (bytes <= 0) return 0.0;
        return latency + (bandwidth > 0 ? bytes / bandwidth : 0);
    };
    return device.launch + ceiling_seconds(device, cost) +
           transfer(bytes_up, device.upload_bandwidth, device.upload_latency) +
           transfer(bytes_down, device.download_bandwidth, device.download_latency);
}

Cost representative_cost(WorkClass work, std::int64_t elements) {
    constexpr double kActivation = 14;  // operations an element, as EXP in the instruction table
    if (work == WorkClass::pointwise) {
        Cost c;
        c.bytes = 3 * kernels::array_bytes(DType::f32, elements);
        c.flops = static_cast<double>(elements);
        return c;
    }
    kernels::MatmulSpec s;
    s.m = s.n = s.k = side_of(elements);
    s.has_bias = work == WorkClass::fused_linear;
    Cost c = kernels::cost(s);
    if (work == WorkClass::fused_linear)
        c.flops += kActivation * static_cast<double>(s.m) * static_cast<double>(s.n);
    return c;
}

Transfers representative_transfers(WorkClass work, std::int64_t elements) {
    if (work == WorkClass::pointwise)
        return {2 * kernels::array_bytes(DType::f32, elements), kernels::array_bytes(DType::f32, elements)};
    const std::int64_t side = side_of(elements);
    const double matrix = kernels::array_bytes(DType::f32, side, side);
    return {2 * matrix + (work == WorkClass::fused_linear ? kernels::array_bytes(DType::f32, side) : 0),
            matrix};
}

std::optional<std::int64_t> break_even(WorkClass work, const Calibration& host, const Calibration& device,
                                       bool transfers) {
    const auto faster = [&](std::int64_t elements) {
        const Cost cost = representative_cost(work, elements);
        const Transfers moved = transfers ? representative_transfers(work, elements) : Transfers{};
        return seconds(device, cost, moved.up, moved.down) < seconds(host, cost);
    };
    // Down from the largest size while the device is faster, then between the last two powers of two.
    int power = kLargestPower;
    while (power >= 0 && faster(std::int64_t{1} << power)) --power;
    if (power == kLargestPower) return std::nullopt;
    if (power < 0) return 1;
    std::int64_t slower = std::int64_t{1} << power, quicker = slower * 2;
    while (quicker - slower > 1) {
        const std::int64_t middle = slower + (quicker - slower) / 2;
        (faster(middle) ? quicker : slower) = middle;
    }
    return quicker;
}

std::string calibration_cache_key(Device& device) {
    const DeviceProperties p = device.properties();
    const std::size_t threads =
        device.supports(Feature::native) ? static_cast<std::size_t>(ThreadPool::shared().threads()) : 0;
    return p.name + "\n" + p.description + "\n" + p.driver + "\nthreads " + std::to_string(threads) +
           "\nversion " + INVAR_LIBRARY_VERSION + "\nformat " + std::to_string(kFormatVersion);
}

std::optional<Calibration> known_calibration(Device& device) {
    const auto entry = DiskCache::shared().load(kCacheKind, calibration_cache_key(device));
    std::array<double, kCount> figures{};
    if (!entry || entry->size() != sizeof figures) return std::nullopt;
    std::memcpy(figures.data(), entry->data(), sizeof figures);
    Calibration c;
    for (std::size_t i = 0; i < kCount; ++i) {
        if (!std::isfinite(figures[i]) || figures[i] < 0) return std::nullopt;
        c.*kFigures[i] = figures[i];
    }
    return c;
}

Calibration calibration(Device& device, bool again, const CalibrationProgress& progress) {
    if (!again)
        if (const auto known = known_calibration(device)) return *known;
    log(LogLevel::kInfo, device.name() + ": measuring what it can do, once for this machine");
    if (again) measured_properties(device, true);  // what the measurement would take from the cache
    const Calibration c = measure_calibration(device, {}, progress);
    std::array<double, kCount> figures{};
    for (std::size_t i = 0; i < kCount; ++i) figures[i] = c.*kFigures[i];
    DiskCache::shared().store(kCacheKind, calibration_cache_key(device), std::as_bytes(std::span(figures)));
    return c;
}

}  // namespace invar::graph
