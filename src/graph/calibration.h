// SPDX-License-Identifier: Apache-2.0
// What a device can do, measured once and kept: the cost of a launch, bandwidths, rates of products and of pointwise work,
// transfers. From it and a cost (kernels/cost.h) follow the seconds that a piece of work takes there, and the size from
// which it is worth going there: what `invar doctor` prints, `invar profile` holds steps against, and a router asks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <invar/dtype.h>
#include <invar/export.h>

#include "device/device.h"
#include "kernels/cost.h"

namespace invar::graph {

// Seconds, bytes/s and operations/s; 0 where the device cannot measure or do it.
struct Calibration {
    double launch = 0;          // of a kernel that does next to nothing, one of many in a row
    double read_bandwidth = 0;  // of the device's memory
    double copy_bandwidth = 0;  // the same, read and written bytes counted
    double upload_bandwidth = 0, upload_latency = 0;  // from the host, and of a few bytes with the wait
    double download_bandwidth = 0, download_latency = 0;
    double pointwise_rate = 0;                                  // f32, chains of fused multiply-adds
    double product_f32 = 0, product_f16 = 0, product_bf16 = 0;  // square products that fill the device

    // The rate at which work of this type runs (Cost::product).
    double rate(DType product) const;
    friend bool operator==(const Calibration&, const Calibration&) = default;
};

// Seconds of work on a device: launch + max(bytes / copy bandwidth, flops / rate) + what must first move there and then back.
// A rate that is 0 does not count. bytes_up, bytes_down: 0 moves nothing and waits for nothing.
INVAR_API double seconds(const Calibration& device, const kernels::Cost& cost, double bytes_up = 0,
                         double bytes_down = 0);
// The least seconds that the device's measured ceilings allow: the same without launch and transfers.
INVAR_API double ceiling_seconds(const Calibration& device, const kernels::Cost& cost);

// How far a calibration goes; the defaults take a few seconds a device.
struct CalibrationEffort {
    double sample_seconds = 0.15;  // spent on each figure, about
    std::size_t memory_bytes = 0;  // of the bandwidth of memory; 0: as measure_bandwidth chooses
    std::size_t transfer_bytes = 64u << 20;
    std::int64_t largest_product = 8192;       // side; larger ones are tried while they are quick
    std::int64_t largest_pointwise = 1 << 24;  // elements
};
// Called before each figure: how many are done, of how many. What it throws ends the measurement.
using CalibrationProgress = std::function<void(int done, int total)>;

// Measures now. Throws Unsupported for a device that computes nothing (the null device), OutOfMemory where the smallest
// buffers find no room.
INVAR_API Calibration measure_calibration(Device& device, const CalibrationEffort& effort = {},
                                          const CalibrationProgress& progress = {});
// From the disk cache, else (or again) measured and stored there, seconds.
INVAR_API Calibration calibration(Device& device, bool again = false,
                                  const CalibrationProgress& progress = {});
// Never measures: nothing where the cache has none.
INVAR_API std::optional<Calibration> known_calibration(Device& device);
// Under which key of kind "calibration" the figures are kept: device, driver, threads, version of the library.
INVAR_API std::string calibration_cache_key(Device& device);

// Classes of work whose size decides whether a device is worth it.
enum class WorkClass {
    matmul,        // y = x w^T, all three square
    fused_linear,  // the same with bias and an activation
    pointwise,     // z = x + y
};
// Its cost for a result of that many f32 elements (for products the next square), and the bytes of its inputs and result.
INVAR_API kernels::Cost representative_cost(WorkClass work, std::int64_t elements);
struct Transfers {
    double up = 0, down = 0;
};
INVAR_API Transfers representative_transfers(WorkClass work, std::int64_t elements);

// The least number of elements of the result from which on the device is faster than the host, up to 2^36; nothing where it
// never is. transfers: inputs come from the host and the result goes back, as when data lies there.
INVAR_API std::optional<std::int64_t> break_even(WorkClass work, const Calibration& host,
                                                 const Calibration& device, bool transfers);
// What is taken where a device has not been measured: elements of the result above which it goes to a GPU.
constexpr std::int64_t default_break_even(WorkClass work) {
    return work == WorkClass::matmul ? 500 : work == WorkClass::fused_linear ? 1000 : 4096;
}

}  // namespace invar::graph
