// SPDX-License-Identifier: Apache-2.0
// Measures bandwidth: each sample is long enough to drown the cost of a launch, and the best sample counts, because
// every disturbance only makes a sample slower.
#include "device/bandwidth.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "base/log.h"
#include "device/disk_cache.h"
#include "device/services.h"

namespace invar {
namespace {

constexpr int kFormatVersion = 1;
constexpr double kSampleSeconds = 2e-3;  // at least
constexpr double kTotalSeconds = 0.4;    // about, for one measurement
constexpr int kMinSamples = 6;

BandwidthService& service_of(Device& device) {
    if (BandwidthService* service = device.bandwidth()) return *service;
    throw Unsupported(device.name() + ": this device does not measure bandwidth; choose another with --device");
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Bytes/s of the fastest sample of a pass that moves that many bytes.
template <class Pass>
double best_rate(Stream& stream, double bytes, Pass pass) {
    const auto time = [&](int passes) {
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < passes; ++i) pass();
        stream.synchronize();
        return seconds_since(start);
    };
    time(1);  // page tables, caches, sleeping threads
    const double once = std::max(time(1), 1e-7);
    const int passes = static_cast<int>(std::clamp(kSampleSeconds / once, 1.0, 10000.0));
    const auto start = std::chrono::steady_clock::now();
    double best = once;
    for (int sample = 0; sample < kMinSamples || (sample < 200 && seconds_since(start) < kTotalSeconds); ++sample)
        best = std::min(best, time(passes) / passes);
    return bytes / best;
}

std::size_t whole_size(Device& device, std::size_t bytes) {
    if (bytes == 0) bytes = memory_measurement_bytes(device);
    return std::max<std::size_t>(bytes / 64 * 64, 64);
}

std::string cache_key(Device& device, const DeviceProperties& p) {
    return "bandwidth\n" + p.name + "\n" + p.description + "\n" + p.driver + "\nthreads " +
           std::to_string(service_of(device).threads()) + "\nformat " + std::to_string(kFormatVersion);
}

DeviceProperties properties_with_bandwidth(Device& device, bool may_measure) {
    DeviceProperties p = device.properties();
    if (!device.bandwidth()) return p;
    const std::string key = cache_key(device, p);
    std::array<double, 2> rates{};
    const auto entry = DiskCache::shared().load("bandwidth", key);
    const bool known = entry && entry->size() == sizeof rates;
    if (known) {
        std::memcpy(rates.data(), entry->data(), sizeof rates);
    } else if (may_measure) {
        log(LogLevel::kInfo, p.name + ": measuring the bandwidth of its memory, once for this machine");
        const MeasuredBandwidth m = measure_bandwidth(device);
        rates = {m.read, m.copy};
        DiskCache::shared().store("bandwidth", key, std::as_bytes(std::span(rates)));
    }
    p.read_bandwidth = rates[0];
    p.copy_bandwidth = rates[1];
    return p;
}

}  // namespace

std::size_t memory_measurement_bytes(Device& device) {
    constexpr std::size_t kGiB = std::size_t{1} << 30;
    const std::size_t wanted = std::clamp(4 * service_of(device).cache_bytes(), kGiB, 2 * kGiB);
    const std::size_t room = static_cast<std::size_t>(device.properties().memory_free / 8);
    return room == 0 ? wanted : std::min(wanted, room);
}

double measure_read_bandwidth(Device& device, std::size_t bytes) {
    BandwidthService& service = service_of(device);
    bytes = whole_size(device, bytes);
    const auto source = device.allocate_raw(bytes), result = device.allocate_raw(64);
    const auto stream = device.make_stream();
    stream->fill(source->ref(), 1);  // pages that were never written are all the same page of zeros
    return best_rate(*stream, static_cast<double>(bytes),
                     [&] { service.read(*stream, source->ref(), {result.get(), 0, 8}); });
}

MeasuredBandwidth measure_bandwidth(Device& device, std::size_t bytes) {
    BandwidthService& service = service_of(device);
    bytes = whole_size(device, bytes);
    MeasuredBandwidth m;
    m.read = measure_read_bandwidth(device, bytes);
    const auto source = device.allocate_raw(bytes), target = device.allocate_raw(bytes);
    const auto stream = device.make_stream();
    stream->fill(source->ref(), 1);
    stream->fill(target->ref(), 2);
    m.copy = best_rate(*stream, 2.0 * static_cast<double>(bytes),
                       [&] { service.copy(*stream, target->ref(), source->ref()); });
    return m;
}

DeviceProperties measured_properties(Device& device) { return properties_with_bandwidth(device, true); }
DeviceProperties known_properties(Device& device) { return properties_with_bandwidth(device, false); }

}  // namespace invar
