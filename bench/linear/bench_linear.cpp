// SPDX-License-Identifier: Apache-2.0
// The products of few rows of a decode step on a device whose kernels fuse them: GB/s of weights read and the share of the
// copy ceiling measured in the same run. Each line is one launch repeated over weights that together are far larger than
// the cache, captured as one graph and replayed.
//   bench_linear [DEVICE] [--rows M]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <invar/device.h>
#include <invar/error.h>

#include "device/allocator.h"
#include "device/bandwidth.h"
#include "device/device.h"
#include "kernels/matmul/family.h"

namespace {

using namespace invar;
using namespace invar::kernels;

struct Case {
    const char* name;
    LinearSpec spec;
};

LinearSpec linear(std::int64_t m, std::int64_t k, std::vector<std::int64_t> n, bool norm, Gate gate,
                  bool residual) {
    LinearSpec s;
    s.x = s.w = s.y = s.bias = s.residual = s.norm_weight = DType::bf16;
    s.m = m;
    s.k = s.x_row = k;
    s.parts = static_cast<std::int32_t>(n.size());
    for (std::size_t i = 0; i < n.size(); ++i) {
        s.n[i] = s.y_row[i] = n[i];
        s.w_row[i] = k;
    }
    s.residual_row = n[0];
    s.has_norm = norm;
    s.eps = 1e-5f;
    s.gate = gate;
    s.has_residual = residual;
    return s;
}

class Runner {
public:
    Runner(Device& device, std::size_t weight_bytes)
        : device_(device),
          stream_(device.make_stream()),
          weights_(device.allocator().allocate(weight_bytes)),
          rest_(device.allocator().allocate(std::size_t{64} << 20)) {
        fill(weights_);
        fill(rest_);
    }

    // Seconds of one launch.
    double time(const LinearSpec& s) {
        const KernelCall call = plan_linear(device_, s);
        const auto module = device_.compile(*call.module);
        Kernel& kernel = module->kernel(call.entry);
        std::size_t at = 0, launches = 0, total = 0;
        const auto play = [&](std::size_t count) {
            for (std::size_t i = 0; i < count; ++i) {
                std::vector<BufferRef> refs;
                std::size_t used = 0;
                const auto small = [&](std::int64_t elements) {
                    refs.push_back(rest_.ref(used));
                    used += (static_cast<std::size_t>(elements) * 2 + 255) / 256 * 256;
                };
                small(s.m * s.k);
                if (s.has_norm) small(s.k);
                for (std::int32_t p = 0; p < s.parts; ++p) {
                    const auto bytes = static_cast<std::size_t>(s.n[p] * s.k * 2);
                    if (at + bytes > weights_.size()) at = 0;
                    refs.push_back(weights_.ref(at));
                    at += bytes;
                    total += bytes;
                }
                if (s.has_residual) small(s.m * s.n[0]);
                for (std::int32_t p = 0; p < (s.gate == Gate::none ? s.parts : 1); ++p) small(s.m * s.n[p]);
                stream_->launch(kernel, call.config, refs, call.params());
                ++launches;
            }
        };
        play(1);
        stream_->synchronize();
        const std::size_t count =
            std::max<std::size_t>(8, (std::size_t{6} << 30) / std::max<std::size_t>(total, 1));
        launches = total = 0;
        stream_->begin_capture();
        play(std::min<std::size_t>(count, 512));
        const auto graph = stream_->end_capture();
        std::vector<double> seconds;
        for (int i = 0; i < 12; ++i) {
            stream_->synchronize();
            const auto begin = std::chrono::steady_clock::now();
            stream_->replay(*graph);
            stream_->synchronize();
            seconds.push_back(
                std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
        }
        std::sort(seconds.begin(), seconds.end());
        return seconds[seconds.size() / 2] / static_cast<double>(launches);
    }

private:
    // Random bf16 numbers of about 0.02, a piece of the host's repeated: zeros would run faster than data does.
    void fill(const Allocation& memory) {
        static const std::vector<std::uint16_t> piece = [] {
            std::vector<std::uint16_t> words(std::size_t{32} << 20);
            std::uint64_t state = 1;
            for (std::uint16_t& w : words) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                const auto bits = static_cast<std::uint32_t>(state >> 33);
                w = static_cast<std::uint16_t>((bits & 0x80ffu) | 0x3c00u);
            }
            return words;
        }();
        for (std::size_t at = 0; at < memory.size(); at += piece.size() * 2)
            stream_->upload(memory.ref(at), piece.data(), std::min(piece.size() * 2, memory.size() - at));
        stream_->synchronize();
    }

    Device& device_;
    std::unique_ptr<Stream> stream_;
    Allocation weights_, rest_;
};

void run(const std::string& name, std::int64_t m) {
    const std::shared_ptr<Device> device = find_device(name);
    const MeasuredBandwidth memory = measure_bandwidth(*device);
    std::printf("%s, copy %.0f GB/s, read %.0f GB/s, rows %lld\n", device->properties().description.c_str(),
                memory.copy / 1e9, memory.read / 1e9, static_cast<long long>(m));
    Runner runner(*device, std::size_t{8} << 30);
    const Case cases[] = {
        {"8B norm qkv", linear(m, 4096, {4096, 1024, 1024}, true, Gate::none, false)},
        {"8B o residual", linear(m, 4096, {4096}, false, Gate::none, true)},
        {"8B norm gate up", linear(m, 4096, {14336, 14336}, true, Gate::silu, false)},
        {"8B down residual", linear(m, 14336, {4096}, false, Gate::none, true)},
        {"8B head", linear(m, 4096, {128256}, true, Gate::none, false)},
        {"1B norm qkv", linear(m, 2048, {2048, 512, 512}, true, Gate::none, false)},
        {"1B o residual", linear(m, 2048, {2048}, false, Gate::none, true)},
        {"1B norm gate up", linear(m, 2048, {8192, 8192}, true, Gate::silu, false)},
        {"1B down residual", linear(m, 8192, {2048}, false, Gate::none, true)},
        {"1B head", linear(m, 2048, {128256}, true, Gate::none, false)},
    };
    std::printf("%-18s %10s %10s %8s\n", "product", "us", "GB/s", "of copy");
    for (const Case& c : cases) {
        double bytes = 0;
        for (std::int32_t p = 0; p < c.spec.parts; ++p)
            bytes += static_cast<double>(c.spec.n[p]) * static_cast<double>(c.spec.k) * 2;
        const double seconds = runner.time(c.spec);
        std::printf("%-18s %10.2f %10.0f %7.1f%%\n", c.name, seconds * 1e6, bytes / seconds / 1e9,
                    100 * bytes / seconds / memory.copy);
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::string device = "cuda";
    std::int64_t rows = 1;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--rows") == 0 && i + 1 < argc)
            rows = std::atoll(argv[++i]);
        else if (argv[i][0] == '-') {
            std::fprintf(stderr, "usage: bench_linear [DEVICE] [--rows M]\n");
            return 2;
        } else
            device = argv[i];
    }
    try {
        run(device, rows);
    } catch (const Error& e) {
        std::fprintf(stderr, "bench_linear: %s\n", e.what());
        return 1;
    }
    return 0;
}
