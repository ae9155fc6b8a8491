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

constexpr const char* kCacheKind = "bandwidth";
constexpr int kFormatVersion = 2;
constexpr double kSampleSeconds = 2e-3;  // at least
constexpr double kTotalSeconds = 0.4;    // about, for one measurement
constexpr int kMinSamples = 6;
// A pass over the least size that takes longer measures memory as well as any: 4 GiB would take such a device a minute.
constexpr double kLongPassSeconds = 20e-3;
constexpr std::size_t kMiB = std::size_t{1} << 20;

BandwidthService& service_of(Device& device) {
    if (BandwidthService* service = device.bandwidth()) return *service;
    throw Unsupported(device.name() +
                      ": this device does not measure bandwidth; choose another with --device");
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
    for (int sample = 0; sample < kMinSamples || (sample < 200 && seconds_since(start) < kTotalSeconds);
         ++sample)
        best = std::min(best, time(passes) / passes);
    return bytes / best;
}

// One buffer for both measurements, since first use of fresh pages takes longer than all the passes: it is read as a
// whole, and its first half is copied over the second.
class Measurement {
public:
    Measurement(Device& device, std::size_t bytes)
        : service_(service_of(device)),
          bytes_(std::max<std::size_t>(bytes / 128 * 128, 128)),
          buffer_(device.allocate_raw(bytes_)),
          result_(device.allocate_raw(64)),
          stream_(device.make_stream()) {
        stream_->fill(buffer_->ref(), 1);  // pages that were never written are all the same page of zeros
    }

    double read_rate() const {
        return best_rate(*stream_, static_cast<double>(bytes_), [&] {
            service_.read(*stream_, buffer_->ref(), {result_.get(), 0, 8});
        });
    }

    double seconds_of_a_read() const {
        double seconds = 0;
        for (int pass = 0; pass < 2; ++pass) {  // the first compiles
            const auto start = std::chrono::steady_clock::now();
            service_.read(*stream_, buffer_->ref(), {result_.get(), 0, 8});
            stream_->synchronize();
            seconds = seconds_since(start);
        }
        return seconds;
    }

    double copy_rate() const {
        const std::size_t half = bytes_ / 2;
        return best_rate(*stream_, static_cast<double>(bytes_), [&] {
            service_.copy(*stream_, {buffer_.get(), half, half}, {buffer_.get(), 0, half});
        });
    }

private:
    BandwidthService& service_;
    std::size_t bytes_;
    std::unique_ptr<Buffer> buffer_, result_;
    std::unique_ptr<Stream> stream_;
};

// The least size that measures memory and no cache.
std::size_t least_bytes(BandwidthService& service) {
    return std::clamp(4 * service.cache_bytes(), 256 * kMiB, 1024 * kMiB);
}

std::size_t chosen_bytes(Device& device) {
    const std::size_t wanted = memory_measurement_bytes(device), least = least_bytes(service_of(device));
    return least < wanted && Measurement(device, least).seconds_of_a_read() > kLongPassSeconds ? least
                                                                                               : wanted;
}

}  // namespace

std::size_t memory_measurement_bytes(Device& device) {
    BandwidthService& service = service_of(device);
    // A launch on an accelerator takes microseconds, in which its memory moves megabytes.
    const std::size_t wanted = service.threads() == 0 ? 4096 * kMiB : least_bytes(service);
    const auto room = static_cast<std::size_t>(device.properties().memory_free / 4);
    return room == 0 ? wanted : std::min(wanted, room);
}

double measure_read_bandwidth(Device& device, std::size_t bytes) {
    const Measurement m(device, bytes ? bytes : chosen_bytes(device));
    return m.read_rate();
}

MeasuredBandwidth measure_bandwidth(Device& device, std::size_t bytes) {
    const Measurement m(device, bytes ? bytes : chosen_bytes(device));
    return {m.read_rate(), m.copy_rate()};
}

std::string bandwidth_cache_key(Device& device) {
    const DeviceProperties p = device.properties();
    return p.name + "\n" + p.description + "\n" + p.driver + "\nthreads " +
           std::to_string(service_of(device).threads()) + "\nformat " + std::to_string(kFormatVersion);
}

DeviceProperties known_properties(Device& device) {
    DeviceProperties p = device.properties();
    if (!device.bandwidth()) return p;
    const auto entry = DiskCache::shared().load(kCacheKind, bandwidth_cache_key(device));
    std::array<double, 2> rates{};
    if (!entry || entry->size() != sizeof rates) return p;
    std::memcpy(rates.data(), entry->data(), sizeof rates);
    p.read_bandwidth = rates[0];
    p.copy_bandwidth = rates[1];
    return p;
}

DeviceProperties measured_properties(Device& device, bool again) {
    DeviceProperties p = known_properties(device);
    if (!device.bandwidth() || (p.read_bandwidth > 0 && p.copy_bandwidth > 0 && !again)) return p;
    log(LogLevel::kInfo, p.name + ": measuring the bandwidth of its memory, once for this machine");
    const MeasuredBandwidth m = measure_bandwidth(device);
    p.read_bandwidth = m.read;
    p.copy_bandwidth = m.copy;
    const std::array<double, 2> rates{m.read, m.copy};
    DiskCache::shared().store(kCacheKind, bandwidth_cache_key(device), std::as_bytes(std::span(rates)));
    return p;
}

}  // namespace invar
