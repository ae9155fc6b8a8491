// SPDX-License-Identifier: Apache-2.0
// Measures a calibration, through the seam and with the kernels that the library runs. The best of several samples counts,
// because every disturbance only makes a sample slower.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <invar/error.h>

#include "base/checked.h"
#include "base/log.h"
#include "device/allocator.h"
#include "device/bandwidth.h"
#include "graph/calibration.h"
#include "kernels/matmul/family.h"
#include "program/pointwise.h"

namespace invar::graph {
namespace {

constexpr int kFigureCount = 9;
constexpr std::size_t kSmallTransfer = 64;         // bytes, for the latency
constexpr std::int64_t kFirstPointwise = 1 << 12;  // elements
constexpr std::int64_t kFirstProduct = 64;         // side
constexpr int kChain = 64;                         // fused multiply-adds an element
constexpr std::uint8_t kFill = 0x3c;               // ordinary numbers in every float type

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one run of work that `wait` waits for: the best of as many samples as the time allows, each of enough runs to
// drown the wait.
template <class Run, class Wait>
double best_seconds(double budget, Run&& run, Wait&& wait) {
    const auto time = [&](int runs) {
        const double begin = now();
        for (int i = 0; i < runs; ++i) run();
        wait();
        return (now() - begin) / runs;
    };
    time(1);  // caches, sleeping threads, what is compiled late
    double best = std::max(time(1), 1e-9);
    const int runs = static_cast<int>(std::clamp(budget / 20 / best, 1.0, 10000.0));
    const double begin = now();
    do {
        best = std::min(best, std::max(time(runs), 1e-9));
    } while (now() - begin < budget);
    return best;
}

class Measurement {
public:
    Measurement(Device& device, const CalibrationEffort& effort, const CalibrationProgress& progress)
        : device_(device), effort_(effort), progress_(progress), stream_(device.make_stream()) {}

    Calibration run() {
        Calibration c;
        next();
        c.launch = launch();
        next();
        memory(c);
        next();
        std::tie(c.upload_latency, c.upload_bandwidth) = transfer(true);
        next();
        std::tie(c.download_latency, c.download_bandwidth) = transfer(false);
        next();
        c.pointwise_rate = pointwise();
        next();
        c.product_f32 = product(DType::f32);
        next();
        c.product_f16 = product(DType::f16);
        next();
        c.product_bf16 = product(DType::bf16);
        next();
        return c;
    }

private:
    void next() {
        if (progress_) progress_(done_, kFigureCount - 1);
        ++done_;
    }
    void wait() { stream_->synchronize(); }
    double best(double share, auto&& run) {
        return best_seconds(effort_.sample_seconds * share, run, [&] { wait(); });
    }
    // Whether so many bytes may be taken: a quarter of what is free.
    bool room(std::size_t bytes) const {
        const std::uint64_t free = device_.properties().memory_free;
        return free == 0 || bytes <= free / 4;
    }

    double launch() {
        const Allocation memory = device_.allocator().allocate(256, true);
        const auto module = device_.compile(
            {"calibration_launch",
             ProgramText{".program launch\n.param x: f32*\nLDG.f32 a, [x + gid]\nSTG.f32 [x + gid], a\n"}});
        Kernel& kernel = module->kernel("launch");
        std::byte block[kMaxPointwiseParamsBytes];
        const std::int64_t one[] = {1};
        const std::span<const std::byte> params(block, write_pointwise_params(block, one, {}, {}));
        const BufferRef buffers[] = {memory.ref()};
        return best(1, [&] { stream_->launch(kernel, {}, buffers, params); });
    }

    void memory(Calibration& c) {
        if (!device_.bandwidth()) return;
        if (effort_.memory_bytes == 0) {
            const DeviceProperties p = measured_properties(device_);
            c.read_bandwidth = p.read_bandwidth;
            c.copy_bandwidth = p.copy_bandwidth;
        } else {
            const MeasuredBandwidth m = measure_bandwidth(device_, effort_.memory_bytes);
            c.read_bandwidth = m.read;
            c.copy_bandwidth = m.copy;
        }
    }

    // Latency of a few bytes, and bytes/s beyond it.
    std::pair<double, double> transfer(bool up) {
        std::size_t bytes = effort_.transfer_bytes;
        while (bytes > kSmallTransfer && !room(bytes)) bytes /= 2;
        const Allocation there = device_.allocator().allocate(bytes, true);
        std::vector<std::byte> here(bytes, std::byte{kFill});
        const auto move = [&](std::size_t n) {
            const BufferRef ref{&there.buffer(), there.offset(), n};
            if (up)
                stream_->upload(ref, here.data(), n);
            else
                stream_->download(here.data(), ref, n);
            wait();
        };
        const double latency = best(0.5, [&] { move(std::min(bytes, kSmallTransfer)); }),
                     whole = best(1, [&] { move(bytes); });
        return {latency, static_cast<double>(bytes) / std::max(whole - latency, whole / 10)};
    }

    double pointwise() {
        std::string text = ".program chain\n.param x: f32*\nLDG.f32 a0, [x + gid]\n";
        for (int i = 0; i < kChain; ++i)
            text += "FMA.f32 a" + std::to_string(i + 1) + ", a" + std::to_string(i) + ", a0, a0\n";
        text += "STG.f32 [x + gid], a" + std::to_string(kChain) + "\n";
        const auto module = device_.compile({"calibration_chain", ProgramText{text}});
        Kernel& kernel = module->kernel("chain");
        double rate = 0;
        for (std::int64_t n = std::min(kFirstPointwise, effort_.largest_pointwise);
             n <= effort_.largest_pointwise && room(static_cast<std::size_t>(n) * 4); n *= 8) {
            const Allocation memory = device_.allocator().allocate(static_cast<std::size_t>(n) * 4, true);
            std::byte block[kMaxPointwiseParamsBytes];
            const std::int64_t dims[] = {n};
            const std::span<const std::byte> params(block, write_pointwise_params(block, dims, {}, {}));
            const BufferRef buffers[] = {memory.ref()};
            const double seconds = best(0.25, [&] { stream_->launch(kernel, {}, buffers, params); });
            rate = std::max(rate, 2.0 * kChain * static_cast<double>(n) / seconds);
            if (seconds > effort_.sample_seconds / 4) break;
        }
        return rate;
    }

    // The best rate over growing squares; 0 where the device has no such product.
    double product(DType type) {
        double rate = 0;
        try {
            for (std::int64_t side = std::min(kFirstProduct, effort_.largest_product);
                 side <= effort_.largest_product; side *= 2) {
                const std::size_t bytes = checked_mul<std::size_t>(static_cast<std::size_t>(side * side),
                                                                   size_of(type), "calibration: a matrix");
                if (!room(4 * bytes)) break;
                const double seconds = product_seconds(type, side, bytes);
                rate = std::max(rate, 2.0 * std::pow(static_cast<double>(side), 3) / seconds);
                if (seconds > effort_.sample_seconds / 4) break;
            }
        } catch (const Unsupported& e) {
            log(LogLevel::kInfo,
                device_.name() + ": no product of " + std::string(dtype_name(type)) + ": " + e.what());
        }
        return rate;
    }

    double product_seconds(DType type, std::int64_t side, std::size_t bytes) {
        kernels::MatmulSpec s;
        s.x = s.w = s.y = type;
        s.m = s.n = s.k = s.x_row = s.w_row = s.y_row = side;
        const kernels::KernelCall call = kernels::plan_matmul(device_, s);
        if (call.module != product_module_) {
            product_ = device_.compile(*call.module);
            product_module_ = call.module;
        }
        Kernel& kernel = product_->kernel(call.entry);
        Kernel* next = call.next_entry ? &product_->kernel(call.next_entry) : nullptr;
        std::array<Allocation, 3> matrices;
        std::vector<BufferRef> buffers;
        for (Allocation& m : matrices) {
            m = device_.allocator().allocate(bytes);
            stream_->fill(m.ref(), kFill);
            buffers.push_back(m.ref());
        }
        Allocation workspace;
        if (call.workspace_bytes > 0) {
            workspace = device_.allocator().allocate(call.workspace_bytes);
            buffers.push_back(workspace.ref());
        }
        LaunchConfig config = call.config;
        config.overlap = false;  // each writes what the one before it wrote
        const double seconds = best(0.25, [&] {
            stream_->launch(kernel, config, buffers, call.params());
            if (next) stream_->launch(*next, call.next_config, buffers, call.params());
        });
        wait();
        return seconds;
    }

    Device& device_;
    const CalibrationEffort& effort_;
    const CalibrationProgress& progress_;
    std::unique_ptr<Stream> stream_;
    int done_ = 0;
    const Module* product_module_ = nullptr;
    std::shared_ptr<LoadedModule> product_;
};

}  // namespace

Calibration measure_calibration(Device& device, const CalibrationEffort& effort,
                                const CalibrationProgress& progress) {
    if (!device.supports(Feature::arithmetic) || !device.supports(Feature::programs))
        throw Unsupported(device.name() + ": this device computes nothing that could be measured");
    return Measurement(device, effort, progress).run();
}

}  // namespace invar::graph
