// SPDX-License-Identifier: Apache-2.0
// Timing of a product's algorithms, for GemmTuner. Each is captured as a graph of launches over several sets of operands: many
// enough to go past the caches where the product is large, all of them in the cache where they fit it, as a program that
// calls it again and again has them. Algorithms take turns, so that a device that grows slower does so for all.
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <utility>

#include <invar/error.h>

#include "backends/cuda/routine.h"
#include "base/checked.h"
#include "base/half.h"
#include "base/log.h"

namespace invar::cuda {
namespace {

constexpr std::size_t kRotated = std::size_t{512}
                                 << 20;  // bytes that the operands of a timing rotate over, about
constexpr std::size_t kMostSets = 64;
constexpr std::size_t kFinalists = 6;
constexpr int kFirstRounds = 3, kFinalRounds = 15;
constexpr double kSeconds = 0.003;  // of one sample, about
// By how much an algorithm must be faster than one that the library advises before it: less is noise.
constexpr double kFaster = 0.99;

// Random numbers between -1 and 1: products of zeros run faster than those of data.
std::vector<std::byte> sample(DType type, std::size_t elements) {
    std::vector<std::byte> bytes(elements * size_of(type));
    std::mt19937 random(1);
    for (std::size_t i = 0; i < elements; ++i) {
        const float x = static_cast<float>(random()) * 0x1p-31f - 1.0f;
        if (type == DType::f32) {
            std::memcpy(&bytes[i * 4], &x, 4);
        } else {
            const std::uint16_t h = type == DType::bf16 ? f32_to_bf16(x) : f32_to_f16(x);
            std::memcpy(&bytes[i * 2], &h, 2);
        }
    }
    return bytes;
}

std::size_t bytes_of(std::int64_t batch, std::int64_t batch_stride, std::int64_t rows, std::int64_t row,
                     std::int64_t inner, DType type) {
    return checked_mul(static_cast<std::size_t>((batch - 1) * batch_stride + (rows - 1) * row + inner),
                       size_of(type), "gemm: an operand");
}

class Timing {
public:
    Timing(Device& device, Kernel& kernel, const GemmParams& p)
        : device_(device), kernel_(kernel), params_(p), stream_(device.make_stream()) {
        sizes_ = {bytes_of(p.batch, p.x_batch, p.m, p.x_row, p.k, p.x),
                  p.w_transposed ? bytes_of(p.batch, p.w_batch, p.n, p.w_row, p.k, p.w)
                                 : bytes_of(p.batch, p.w_batch, p.k, p.w_row, p.n, p.w),
                  bytes_of(p.batch, p.y_batch, p.m, p.y_row, p.n, p.y)};
        types_ = {p.x, p.w, p.y};
        if (p.has_bias) add(bytes_of(1, 0, 1, 0, p.n, p.y), p.y);
        if (p.has_residual) add(bytes_of(p.batch, p.residual_batch, p.m, p.residual_row, p.n, p.y), p.y);
        std::size_t all = 0;
        for (const std::size_t size : sizes_) all += size;
        sets_ = std::clamp<std::size_t>(kRotated / std::max<std::size_t>(all, 1), 1, kMostSets);
        for (std::size_t set = 0; set < sets_; ++set)
            for (std::size_t b = 0; b < sizes_.size(); ++b) {
                buffers_.push_back(device.allocate_raw(sizes_[b]));
                fill(*buffers_.back(), types_[b]);
            }
        workspace_ = device.allocate_raw(kGemmWorkspaceBytes);
        stream_->synchronize();
    }

    // Makes ready what is timed, and says whether it runs at all.
    bool capture() {
        try {
            launch(0);
            stream_->synchronize();
            stream_->begin_capture();
            for (std::size_t set = 0; set < sets_; ++set) launch(set);
            graphs_.push_back(stream_->end_capture());
            return true;
        } catch (const LaunchFailed& e) {
            log(LogLevel::kInfo, std::string("an algorithm is left out: ") + e.what());
            stream_ = device_.make_stream();
            graphs_.push_back(nullptr);
            return false;
        }
    }

    // Seconds of one product of what was captured as number i.
    double seconds(std::size_t i) {
        const double once = time(i, 1);
        return time(i, static_cast<int>(std::clamp(kSeconds / std::max(once, 1e-7), 1.0, 200.0))) /
               static_cast<double>(sets_);
    }

    // Whether what launches use now gives the same bits twice, whatever lay in the result and the workspace before.
    bool repeats() {
        std::vector<std::byte> results[2];
        for (int i = 0; i < 2; ++i) {
            stream_->fill(buffers_[2]->ref(), i == 0 ? 0 : 0xff);
            stream_->fill(workspace_->ref(), i == 0 ? 0xff : 0);
            launch(0);
            results[i].resize(sizes_[2]);
            stream_->download(results[i].data(), buffers_[2]->ref(), sizes_[2]);
            stream_->synchronize();
        }
        // Between rows of y lies what was filled in.
        const std::size_t element = size_of(params_.y);
        for (std::int64_t b = 0; b < params_.batch; ++b)
            for (std::int64_t row = 0; row < params_.m; ++row) {
                const std::size_t at =
                    static_cast<std::size_t>(b * params_.y_batch + row * params_.y_row) * element;
                if (std::memcmp(&results[0][at], &results[1][at],
                                static_cast<std::size_t>(params_.n) * element) != 0)
                    return false;
            }
        return true;
    }

private:
    void add(std::size_t bytes, DType type) {
        sizes_.push_back(bytes);
        types_.push_back(type);
    }

    // A piece of random numbers, then copies of what is there.
    void fill(Buffer& buffer, DType type) {
        const std::size_t piece = std::min(buffer.size(), std::size_t{4} << 20);
        const std::vector<std::byte> bytes = sample(type, piece / size_of(type));
        stream_->upload(buffer.ref(), bytes.data(), bytes.size());
        for (std::size_t done = bytes.size(); done < buffer.size();) {
            const std::size_t more = std::min(done, buffer.size() - done);
            stream_->copy({&buffer, done, more}, {&buffer, 0, more});
            done += more;
        }
        stream_->synchronize();
    }

    void launch(std::size_t set) {
        std::vector<BufferRef> refs;
        for (std::size_t b = 0; b < sizes_.size(); ++b)
            refs.push_back(buffers_[set * sizes_.size() + b]->ref());
        refs.push_back(workspace_->ref());
        stream_->launch(kernel_, {}, refs, std::as_bytes(std::span(&params_, 1)));
    }

    double time(std::size_t i, int times) {
        const auto begin = stream_->record_timed();
        for (int t = 0; t < times; ++t) stream_->replay(*graphs_[i]);
        const auto end = stream_->record_timed();
        stream_->synchronize();
        return end->seconds_since(*begin).value_or(std::numeric_limits<double>::infinity()) / times;
    }

    Device& device_;
    Kernel& kernel_;
    const GemmParams params_;
    std::unique_ptr<Stream> stream_;
    std::vector<std::size_t> sizes_;  // bytes: x, w, y, bias, residual
    std::vector<DType> types_;
    std::size_t sets_ = 1;
    std::vector<std::unique_ptr<Buffer>> buffers_;  // of each set
    std::unique_ptr<Buffer> workspace_;
    std::vector<std::unique_ptr<CapturedGraph>> graphs_;  // of each algorithm; null where it failed
};

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

}  // namespace

GemmTimes time_gemms(Device& device, Kernel& kernel, const GemmParams& params, std::size_t algorithms,
                     FunctionRef<void(std::size_t)> use) {
    Timing timing(device, kernel, params);
    std::vector<std::vector<double>> samples(algorithms);
    std::vector<std::size_t> running;
    for (std::size_t i = 0; i < algorithms; ++i) {
        use(i);
        if (timing.capture()) running.push_back(i);
    }
    if (running.empty()) throw LaunchFailed("gemm: none of the library's algorithms runs");
    for (int round = 0; round < kFirstRounds; ++round)
        for (const std::size_t i : running) samples[i].push_back(timing.seconds(i));
    GemmTimes times;
    times.seconds.assign(algorithms, std::numeric_limits<double>::infinity());
    for (const std::size_t i : running) times.seconds[i] = median(samples[i]);

    // The fastest once more and longer, beside the library's first advice and the last of the list: the one in use.
    std::vector<std::size_t> order = running;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::pair(times.seconds[a], a) < std::pair(times.seconds[b], b);
    });
    std::vector<std::size_t> finalists(
        order.begin(), order.begin() + static_cast<std::ptrdiff_t>(std::min(kFinalists, order.size())));
    for (const std::size_t i : {std::size_t{0}, algorithms - 1})
        if (times.seconds[i] < std::numeric_limits<double>::infinity() &&
            std::find(finalists.begin(), finalists.end(), i) == finalists.end())
            finalists.push_back(i);
    for (const std::size_t i : finalists) samples[i].clear();
    for (int round = 0; round < kFinalRounds; ++round)
        for (const std::size_t i : finalists) samples[i].push_back(timing.seconds(i));
    for (const std::size_t i : finalists) times.seconds[i] = median(samples[i]);

    std::sort(finalists.begin(), finalists.end());  // in the order of the library's advice
    bool any = false;
    for (const std::size_t i : finalists) {
        if (any && times.seconds[i] >= kFaster * times.seconds[times.best]) continue;
        use(i);
        if (!timing.repeats()) {
            ++times.unrepeatable;
            continue;
        }
        times.best = i;
        any = true;
    }
    if (!any) throw LaunchFailed("gemm: none of the library's fastest algorithms gives the same bits twice");
    return times;
}

}  // namespace invar::cuda
