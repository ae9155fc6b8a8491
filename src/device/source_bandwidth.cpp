// SPDX-License-Identifier: Apache-2.0
// Launching the kernels that measure what a device's memory gives.
#include "device/source_bandwidth.h"

#include <algorithm>
#include <mutex>

namespace invar {
namespace {

void check_piece(const BufferRef& ref, const char* what) {
    check_ref(ref, what);
    if (ref.offset % 16 != 0 || ref.size % 16 != 0)
        throw InvalidArgument(std::string(what) + ": " + std::to_string(ref.size) + " bytes at offset " +
                              std::to_string(ref.offset) + "; both must be multiples of 16");
}

class SourceBandwidth final : public BandwidthService {
public:
    SourceBandwidth(Device& device, BandwidthKernels kernels, const std::atomic<int>* starts)
        : device_(device), kernels_(std::move(kernels)), starts_(starts) {}

    void read(Stream& stream, BufferRef src, BufferRef result) override {
        check_piece(src, "bandwidth: source");
        if (result.size != 8) throw InvalidArgument("bandwidth: the result has 8 bytes");
        stream.fill(result, 0);
        run(stream, "read", src, result, src.size, kernels_.read_threads, kernels_.read_blocks);
    }

    void copy(Stream& stream, BufferRef dst, BufferRef src) override {
        check_piece(dst, "bandwidth: destination");
        check_piece(src, "bandwidth: source");
        if (dst.size != src.size) throw InvalidArgument("bandwidth: source and destination differ in size");
        run(stream, "copy", dst, src, src.size, kernels_.copy_threads,
            static_cast<std::uint32_t>(std::clamp<std::size_t>(src.size / kernels_.copy_bytes, 1, 65536)));
    }

    std::size_t cache_bytes() const override { return kernels_.cache_bytes; }
    int threads() const override { return kernels_.threads; }

private:
    void run(Stream& stream, const char* entry, BufferRef first, BufferRef second, std::size_t bytes,
             std::uint32_t threads, std::uint32_t blocks) {
        const std::lock_guard lock(mutex_);
        const int started = starts_ ? starts_->load() : 0;
        if (!module_ || started_ != started) {
            module_ = device_.compile({"bandwidth", kernels_.source});
            started_ = started;
        }
        const std::uint64_t words = bytes / 16;
        const BufferRef buffers[] = {first, second};
        LaunchConfig config;
        config.grid.x = blocks;
        config.block.x = threads;
        stream.launch(module_->kernel(entry), config, buffers, std::as_bytes(std::span(&words, 1)));
    }

    Device& device_;
    BandwidthKernels kernels_;
    const std::atomic<int>* starts_;
    std::mutex mutex_;
    int started_ = 0;
    std::shared_ptr<LoadedModule> module_;
};

}  // namespace

std::unique_ptr<BandwidthService> make_source_bandwidth(Device& device, BandwidthKernels kernels,
                                                        const std::atomic<int>* starts) {
    return std::make_unique<SourceBandwidth>(device, std::move(kernels), starts);
}

}  // namespace invar
