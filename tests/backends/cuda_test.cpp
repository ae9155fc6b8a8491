// SPDX-License-Identifier: Apache-2.0
// What the cuda backend does beyond the contract of streams (stream_contract_test.cpp), on the first CUDA device; skipped
// where there is none.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cuda_device.h"
#include "device/allocator.h"
#include "device/bandwidth.h"
#include "device/disk_cache.h"

namespace invar {
namespace {

constexpr const char* kSource = R"(
struct Scale { float factor; int n; };
extern "C" __global__ void scale(float* y, const float* x, Scale p) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.n) y[i] = p.factor * x[i];
}
extern "C" __global__ void reverse(float* y) {  // one block, through shared memory
    extern __shared__ float room[];
    for (int i = threadIdx.x; i < 40000; i += blockDim.x) room[i] = i;
    __syncthreads();
    for (int i = threadIdx.x; i < 40000; i += blockDim.x) y[i] = room[39999 - i];
}
extern "C" __global__ void stray(float* y) { y[(1ull << 40) + threadIdx.x] = 1; }
)";

struct CudaScaleParams {
    float factor;
    std::int32_t n;
};

class CudaTest : public ::testing::Test {
protected:
    void SetUp() override {
        device = test::first_cuda_device();
        if (!device) GTEST_SKIP() << "no CUDA device here";
        start();
    }

    void start() {
        stream = device->make_stream();
        module = device->compile({"cuda_test", SourceText{"cuda", kSource, {}}});
    }

    // y = factor * x through the kernel; checks every element.
    void scale_and_check(float factor) {
        const std::int32_t n = 1000;
        std::vector<float> x(n), y(n, -1);
        std::iota(x.begin(), x.end(), 1.0f);
        const auto a = device->allocate_raw(n * 4), b = device->allocate_raw(n * 4);
        stream->fill(b->ref(), 0xff);
        stream->upload(a->ref(), x.data(), n * 4);
        const CudaScaleParams p{factor, n};
        LaunchConfig config;
        config.grid.x = 8;
        config.block.x = 128;
        stream->launch(module->kernel("scale"), config, {{b->ref(), a->ref()}},
                       std::as_bytes(std::span(&p, 1)));
        stream->download(y.data(), b->ref(), n * 4);
        stream->synchronize();
        for (int i = 0; i < n; ++i)
            ASSERT_EQ(y[static_cast<std::size_t>(i)], factor * static_cast<float>(i + 1));
    }

    std::shared_ptr<Device> device;
    std::unique_ptr<Stream> stream;
    std::shared_ptr<LoadedModule> module;
};

TEST_F(CudaTest, KernelsTakeBuffersAndParameters) { scale_and_check(2.5f); }

TEST_F(CudaTest, SharedMemoryBeyondTheDefault) {
    const auto y = device->allocate_raw(40000 * 4);
    LaunchConfig config;
    config.block.x = 256;
    config.shared_bytes = 40000 * 4;
    stream->launch(module->kernel("reverse"), config, {{y->ref()}}, {});
    std::vector<float> got(40000);
    stream->download(got.data(), y->ref(), got.size() * 4);
    stream->synchronize();
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], static_cast<float>(39999 - i));
}

TEST_F(CudaTest, LargeCopiesGoThereAndBack) {
    std::uint32_t state = 1;
    for (const std::size_t bytes :
         {(std::size_t{1} << 20) - 1, std::size_t{1} << 20, (std::size_t{4} << 20) + 1, std::size_t{16} << 20,
          (std::size_t{70} << 20) + 12345}) {
        std::vector<std::uint32_t> sent(bytes / 4 + 1), got(bytes / 4 + 1, 0xabababab);
        for (auto& word : sent) word = state = state * 1664525u + 1013904223u;
        const auto a = device->allocate_raw(bytes), b = device->allocate_raw(bytes);
        stream->fill(a->ref(), 0xee);
        stream->upload(a->ref(), sent.data(), bytes);
        // The host's memory may be changed once the stream has passed the call.
        stream->synchronize();
        stream->copy(b->ref(), a->ref());
        stream->download(got.data(), b->ref(), bytes);
        stream->synchronize();
        EXPECT_EQ(std::memcmp(sent.data(), got.data(), bytes), 0) << bytes;
        EXPECT_EQ(got.back() >> 24, 0xabu) << "beyond the end of " << bytes;
    }
}

TEST_F(CudaTest, LaunchesThatCannotBeAreRefusedAtTheCall) {
    const auto y = device->allocate_raw(4096);
    LaunchConfig config;
    EXPECT_THROW(stream->launch(module->kernel("scale"), config, {{y->ref()}}, {}), LaunchFailed)
        << "too few arguments";
    config.block.x = 2048;
    EXPECT_THROW(stream->launch(module->kernel("stray"), config, {{y->ref()}}, {}), InvalidArgument);
    config.block.x = 0;
    EXPECT_THROW(stream->launch(module->kernel("stray"), config, {{y->ref()}}, {}), InvalidArgument);
    EXPECT_FALSE(stream->poisoned());
    scale_and_check(1.5f);
}

TEST_F(CudaTest, AFailedCompileShowsTheNumberedSource) {
    const std::string text = "extern \"C\" __global__ void bad(float* y) {\n    y[0] = missing;\n}\n";
    try {
        device->compile({"bad", SourceText{"cuda", text, {}}});
        FAIL();
    } catch (const CompileFailed& e) {
        EXPECT_NE(std::string(e.what()).find("missing"), std::string::npos) << e.what();
        EXPECT_NE(e.log().find("2:     y[0] = missing;"), std::string::npos) << e.log();
    }
}

TEST_F(CudaTest, OtherFormsAreDeclined) {
    EXPECT_THROW(device->compile({"x", SourceText{"opencl", "", {}}}), Unsupported);
    EXPECT_THROW(device->compile({"x", BinaryImage{"metallib", {}}}), Unsupported);
    EXPECT_THROW(device->compile({"x", NativeEntries{}}), Unsupported);
    EXPECT_THROW(device->compile({"x", ProgramText{"nonsense"}}), CompileFailed);
}

TEST_F(CudaTest, NoRoomIsAnErrorWithSizesAndTheProcessGoesOn) {
    const std::size_t bytes = std::size_t{1} << 44;
    try {
        device->allocator().allocate(bytes);
        FAIL();
    } catch (const OutOfMemory& e) {
        EXPECT_GE(e.requested(), bytes);
        EXPECT_GT(e.available(), 0u);
    }
    scale_and_check(3.0f);
}

TEST_F(CudaTest, ObjectsOutliveEachOther) {
    const auto y = device->allocate_raw(4000), x = device->allocate_raw(4000);
    stream->fill(x->ref(), 0);
    const CudaScaleParams p{1, 1000};
    LaunchConfig config;
    config.grid.x = 8;
    config.block.x = 128;
    stream->begin_capture();
    stream->launch(module->kernel("scale"), config, {{y->ref(), x->ref()}}, std::as_bytes(std::span(&p, 1)));
    const auto graph = stream->end_capture();
    stream = device->make_stream();
    stream->replay(*graph);
    stream->synchronize();
}

// In a process of its own, because a driver may keep a process that did this away from the device.
TEST_F(CudaTest, AnIllegalAccessIsATypedErrorAndTheProcessGoesOn) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const auto check = [](bool ok, const char* what) {
        if (ok) return;
        std::fprintf(stderr, "not so: %s\n", what);
        std::exit(1);
    };
    const auto throws = [](ErrorKind kind, const auto& work) {
        try {
            work();
        } catch (const Error& e) {
            return e.kind() == kind;
        }
        return false;
    };
    const auto child = [&] {
        const auto before = device->allocate_raw(4096);
        const auto other = device->make_stream();
        const auto event = other->record();
        stream->launch(module->kernel("stray"), {}, {{before->ref()}}, {});
        for (int i = 0; i < 2; ++i)
            check(throws(ErrorKind::kLaunchFailed, [&] { stream->synchronize(); }),
                  "the wait says launch failed");
        check(stream->poisoned(), "the stream is poisoned");
        check(throws(ErrorKind::kDeviceLost, [&] { other->synchronize(); }), "other streams say device lost");
        check(throws(ErrorKind::kDeviceLost, [&] { other->fill(before->ref(), 1); }), "so do their calls");
        check(event->done(), "events are done");
        const auto cpu = find_device("cpu");
        const auto bytes = cpu->allocate_raw(64);
        const auto cpu_stream = cpu->make_stream();
        cpu_stream->fill(bytes->ref(), 3);
        cpu_stream->synchronize();
        check(bytes->host()[5] == std::byte{3}, "another device works");
        const auto kept = module;
        try {
            start();
        } catch (const DeviceLost& e) {
            check(std::string(e.what()).find("restart the program") != std::string::npos, e.what());
            std::exit(0);  // this driver gives nothing back
        }
        check(throws(ErrorKind::kInvalidArgument, [&] { stream->fill(before->ref(), 1); }),
              "old memory is refused");
        check(throws(ErrorKind::kInvalidArgument,
                     [&] { stream->launch(kept->kernel("stray"), {}, {{before->ref()}}, {}); }),
              "old kernels are refused");
        scale_and_check(4.0f);
        std::exit(HasFailure() ? 1 : 0);
    };
    EXPECT_EXIT(child(), ::testing::ExitedWithCode(0), "");
}

// The cache of this test binary lies in a folder of its own (bandwidth_test.cpp).
TEST_F(CudaTest, ACorruptCubinIsCompiledAgain) {
    DiskCache& cache = DiskCache::shared();
    ASSERT_FALSE(cache.folder().empty());
    const auto files = [&] { return std::filesystem::directory_iterator(cache.folder() / "cubin"); };
    // Cut short: the cache itself notices.
    for (const auto& file : files())
        std::filesystem::resize_file(file.path(), std::filesystem::file_size(file.path()) / 2);
    start();
    scale_and_check(5.0f);
    // Whole, and no cubin: only the driver notices. An entry is a header of 48 bytes, its key's length at 16, and the key.
    std::vector<std::string> keys;
    for (const auto& file : files()) {
        std::ifstream in(file.path(), std::ios::binary);
        std::string bytes((std::istreambuf_iterator<char>(in)), {});
        std::uint64_t length = 0;
        ASSERT_GE(bytes.size(), 48u);
        std::memcpy(&length, bytes.data() + 16, sizeof length);
        ASSERT_LE(length, bytes.size() - 48);
        keys.push_back(bytes.substr(48, length));
    }
    ASSERT_FALSE(keys.empty());
    const std::vector<std::byte> zeros(4096);
    for (const std::string& key : keys) cache.store("cubin", key, zeros);
    start();
    scale_and_check(6.0f);
}

TEST_F(CudaTest, CodeThatIsNoneIsRefused) {
    EXPECT_THROW(device->compile({"x", BinaryImage{"cubin", std::vector<std::byte>(4096)}}), CompileFailed);
    scale_and_check(7.0f);
}

}  // namespace
}  // namespace invar
