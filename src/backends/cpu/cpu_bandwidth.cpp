// SPDX-License-Identifier: Apache-2.0
// Reading: every 64-bit word is added into one of eight vector accumulators, so that loads and not additions are the
// limit. Copying: vector loads and streaming stores, which do not read the lines that they overwrite.
#include "backends/cpu/cpu_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include <hwy/cache_control.h>

#include "backends/cpu/cpu_info.h"
#include "base/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cpu_bandwidth.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace invar {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// One page ahead: the hardware's own prefetching ends at page borders (10-20% more on a server Xeon than without).
constexpr std::size_t kPrefetchWords = 4096 / 8;

// Sum of the words, modulo 2^64.
std::uint64_t sum_words(const std::uint64_t* words, std::size_t count) {
    const hn::ScalableTag<std::uint64_t> d;
    const std::size_t n = hn::Lanes(d);
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    std::size_t i = 0;
    for (; i + 8 * n <= count; i += 8 * n) {
        const std::uint64_t* p = words + i;
        if (i + kPrefetchWords + 8 * n <= count)
            for (std::size_t line = 0; line < 8 * n; line += 8) hwy::Prefetch(p + kPrefetchWords + line);
        s0 = hn::Add(s0, hn::LoadU(d, p));
        s1 = hn::Add(s1, hn::LoadU(d, p + n));
        s2 = hn::Add(s2, hn::LoadU(d, p + 2 * n));
        s3 = hn::Add(s3, hn::LoadU(d, p + 3 * n));
        s4 = hn::Add(s4, hn::LoadU(d, p + 4 * n));
        s5 = hn::Add(s5, hn::LoadU(d, p + 5 * n));
        s6 = hn::Add(s6, hn::LoadU(d, p + 6 * n));
        s7 = hn::Add(s7, hn::LoadU(d, p + 7 * n));
    }
    const auto s =
        hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
    std::uint64_t sum = hn::GetLane(hn::SumOfLanes(d, s));
    for (; i < count; ++i) sum += words[i];
    return sum;
}

// to and from are aligned to 64 bytes, count is a multiple of 8 words.
void stream_copy(std::uint64_t* to, const std::uint64_t* from, std::size_t count) {
    const hn::CappedTag<std::uint64_t, 8> d;
    const std::size_t n = hn::Lanes(d);
    for (std::size_t i = 0; i < count; i += 8)
        for (std::size_t j = 0; j < 8; j += n) hn::Stream(hn::Load(d, from + i + j), d, to + i + j);
    hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace invar
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar {
namespace {

HWY_EXPORT(sum_words);
HWY_EXPORT(stream_copy);

constexpr std::size_t kTask = 512u << 10;  // bytes that one task moves

// buffers: source, result (8 bytes).
void read_entry(const NativeLaunch& launch) {
    const NativeBuffer& source = launch.buffers[0];
    const std::size_t words = source.size / 8, task_words = kTask / 8;
    const auto* data = reinterpret_cast<const std::uint64_t*>(source.data);
    std::atomic<std::uint64_t> total{0};
    launch.pool.parallel_for(
        static_cast<std::int64_t>((words + task_words - 1) / task_words), [&](std::int64_t task) {
            const std::size_t begin = static_cast<std::size_t>(task) * task_words;
            total.fetch_add(
                HWY_DYNAMIC_DISPATCH(sum_words)(data + begin, std::min(task_words, words - begin)),
                std::memory_order_relaxed);
        });
    const std::uint64_t value = total.load();
    std::memcpy(launch.buffers[1].data, &value, sizeof value);
}

// buffers: destination, source.
void copy_entry(const NativeLaunch& launch) {
    const std::size_t words = std::min(launch.buffers[0].size, launch.buffers[1].size) / 64 * 8;
    const std::size_t task_words = kTask / 8;
    auto* to = reinterpret_cast<std::uint64_t*>(launch.buffers[0].data);
    const auto* from = reinterpret_cast<const std::uint64_t*>(launch.buffers[1].data);
    launch.pool.parallel_for(
        static_cast<std::int64_t>((words + task_words - 1) / task_words), [&](std::int64_t task) {
            const std::size_t begin = static_cast<std::size_t>(task) * task_words;
            HWY_DYNAMIC_DISPATCH(stream_copy)(to + begin, from + begin, std::min(task_words, words - begin));
        });
}

// The kernels read words and store lines: pieces that are not aligned so are the caller's mistake.
void check_piece(const BufferRef& ref, std::size_t unit, const char* what) {
    check_ref(ref, what);
    if (ref.offset % 64 != 0 || ref.size % unit != 0)
        throw InvalidArgument(std::string(what) + ": " + std::to_string(ref.size) + " bytes at offset " +
                              std::to_string(ref.offset) +
                              "; the offset must be a multiple of 64 and the size of " +
                              std::to_string(unit));
}

class CpuBandwidth final : public BandwidthService {
public:
    explicit CpuBandwidth(Device& cpu)
        : module_(cpu.compile({"bandwidth", NativeEntries{{{"read", &read_entry}, {"copy", &copy_entry}}}})),
          read_(module_->kernel("read")),
          copy_(module_->kernel("copy")) {}

    void read(Stream& stream, BufferRef src, BufferRef result) override {
        check_piece(src, 8, "bandwidth: source");
        if (result.size != 8) throw InvalidArgument("bandwidth: the result has 8 bytes");
        const BufferRef buffers[] = {src, result};
        stream.launch(read_, {}, buffers, {});
    }

    void copy(Stream& stream, BufferRef dst, BufferRef src) override {
        check_piece(dst, 64, "bandwidth: destination");
        check_piece(src, 64, "bandwidth: source");
        if (dst.size != src.size) throw InvalidArgument("bandwidth: source and destination differ in size");
        const BufferRef buffers[] = {dst, src};
        stream.launch(copy_, {}, buffers, {});
    }

    std::size_t cache_bytes() const override { return host_largest_cache(); }
    int threads() const override { return ThreadPool::shared().threads(); }

private:
    std::shared_ptr<LoadedModule> module_;
    Kernel &read_, &copy_;
};

}  // namespace

std::unique_ptr<BandwidthService> make_cpu_bandwidth(Device& cpu) {
    return std::make_unique<CpuBandwidth>(cpu);
}

}  // namespace invar
#endif  // HWY_ONCE
