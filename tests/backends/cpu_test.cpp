// SPDX-License-Identifier: Apache-2.0
// The cpu device: native entries compute, parameters and offsets reach them, their errors poison the stream with a typed
// error, and launch, replay and synchronize do not touch the heap once warm.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "device/allocator.h"
#include "device/faults.h"
#include "device/registry.h"
#include "program/pointwise.h"
#include "support/heap_counter.h"

namespace invar {
namespace {

struct ScaleParams {
    float scale;
    std::int32_t count;
};

// y[i] = scale * x[i]; buffers: y, x.
void scale_entry(const NativeLaunch& launch) {
    ScaleParams p;
    std::memcpy(&p, launch.params.data(), sizeof p);
    const auto* x = reinterpret_cast<const float*>(launch.buffers[1].data);
    auto* y = reinterpret_cast<float*>(launch.buffers[0].data);
    launch.pool.parallel_for((p.count + 63) / 64, [&](std::int64_t task) {
        for (std::int64_t i = task * 64; i < std::min<std::int64_t>(p.count, task * 64 + 64); ++i)
            y[i] = p.scale * x[i];
    });
}

// Writes the grid, block and the sizes of its buffers to buffer 0.
void report_entry(const NativeLaunch& launch) {
    const std::uint64_t values[] = {launch.config.grid.x,       launch.config.grid.y,   launch.config.block.z,
                                    launch.config.shared_bytes, launch.buffers[1].size, launch.params.size()};
    std::memcpy(launch.buffers[0].data, values, sizeof values);
}

void throws_typed(const NativeLaunch&) { throw FormatError("entry met a bad value"); }
void throws_standard(const NativeLaunch&) { throw std::logic_error("off by one"); }
void throws_no_memory(const NativeLaunch&) { throw std::bad_alloc(); }
void throws_number(const NativeLaunch&) { throw 3; }
void throws_in_task(const NativeLaunch& launch) {
    launch.pool.parallel_for(16, [](std::int64_t i) {
        if (i == 11) throw Unsupported("task 11");
    });
}

class CpuTest : public ::testing::Test {
protected:
    void SetUp() override { set_faults(""); }
    std::shared_ptr<Device> device = find_device("cpu");
    std::unique_ptr<Stream> stream = device->make_stream();
    std::shared_ptr<LoadedModule> module =
        device->compile({"tests", NativeEntries{{{"scale", &scale_entry},
                                                 {"report", &report_entry},
                                                 {"typed", &throws_typed},
                                                 {"standard", &throws_standard},
                                                 {"memory", &throws_no_memory},
                                                 {"number", &throws_number},
                                                 {"task", &throws_in_task}}}});

    void launch(const char* name) { stream->launch(module->kernel(name), {}, {}, {}); }
};

float* floats(const Allocation& a) { return reinterpret_cast<float*>(a.host()); }

TEST_F(CpuTest, EntriesCompute) {
    const Allocation x = device->allocator().allocate(4000), y = device->allocator().allocate(4000);
    std::iota(floats(x), floats(x) + 1000, 0.0f);
    std::fill(floats(y), floats(y) + 1000, -1.0f);
    const ScaleParams p{2.5f, 900};
    stream->launch(module->kernel("scale"), {}, {{y.ref(400), x.ref(200)}}, std::as_bytes(std::span(&p, 1)));
    stream->synchronize();
    for (int i = 0; i < 1000; ++i)
        ASSERT_EQ(floats(y)[i], i < 100 ? -1.0f : 2.5f * static_cast<float>(i - 100 + 50)) << i;
}

TEST_F(CpuTest, EntriesSeeTheirLaunch) {
    const Allocation out = device->allocator().allocate(48), in = device->allocator().allocate(1000);
    const std::byte params[5] = {};
    stream->launch(module->kernel("report"), {{3, 4, 5}, {6, 7, 8}, 9}, {{out.ref(), in.ref(100)}}, params);
    std::uint64_t seen[6];
    stream->download(seen, out.ref(), sizeof seen);
    stream->synchronize();
    const std::uint64_t expected[6] = {3, 4, 8, 9, 900, 5};
    for (int i = 0; i < 6; ++i) EXPECT_EQ(seen[i], expected[i]) << i;
}

TEST_F(CpuTest, FailuresOfEntriesAreTypedAndLate) {
    const auto failing = [&](const char* entry) {
        stream = device->make_stream();
        EXPECT_NO_THROW(launch(entry)) << entry;
        EXPECT_TRUE(stream->poisoned()) << entry;
    };
    failing("typed");
    EXPECT_THROW(stream->synchronize(), FormatError);
    failing("task");
    EXPECT_THROW(stream->synchronize(), Unsupported);
    failing("memory");
    EXPECT_THROW(stream->synchronize(), OutOfMemory);
    failing("number");
    EXPECT_THROW(stream->synchronize(), LaunchFailed);
    failing("standard");
    try {
        launch("scale");
        FAIL() << "the stream is poisoned";
    } catch (const LaunchFailed& e) {
        EXPECT_NE(std::string(e.what()).find("kernel 'standard' failed: off by one"), std::string::npos)
            << e.what();
    }
}

TEST_F(CpuTest, ReplayStopsAtTheFirstFailure) {
    const Allocation a = device->allocator().allocate(16, true);
    stream->begin_capture();
    stream->fill({&a.buffer(), 0, 1}, 1);
    launch("typed");
    stream->fill({&a.buffer(), 1, 1}, 1);
    const auto graph = stream->end_capture();
    EXPECT_NO_THROW(stream->replay(*graph));
    EXPECT_THROW(stream->synchronize(), FormatError);
    EXPECT_EQ(a.host()[0], std::byte{1});
    EXPECT_EQ(a.host()[1], std::byte{0});
}

TEST_F(CpuTest, CapturedParametersAreCopies) {
    const Allocation x = device->allocator().allocate(400), y = device->allocator().allocate(400);
    std::iota(floats(x), floats(x) + 100, 0.0f);
    ScaleParams p{3.0f, 100};
    stream->begin_capture();
    stream->launch(module->kernel("report"), {}, {{y.ref(), x.ref()}}, std::as_bytes(std::span("12345", 5)));
    stream->launch(module->kernel("scale"), {}, {{y.ref(), x.ref()}}, std::as_bytes(std::span(&p, 1)));
    const auto graph = stream->end_capture();
    p = {100.0f, 1};
    stream->replay(*graph);
    stream->synchronize();
    for (int i = 0; i < 100; ++i) ASSERT_EQ(floats(y)[i], 3.0f * static_cast<float>(i));
}

TEST_F(CpuTest, NoHeapAllocationOnceWarm) {
    INVAR_NEEDS_HEAP_COUNTER();
    const Allocation x = device->allocator().allocate(4 << 20), y = device->allocator().allocate(4 << 20);
    const ScaleParams p{2.0f, 1000};
    Kernel& kernel = module->kernel("scale");
    stream->begin_capture();
    stream->launch(kernel, {}, {{y.ref(), x.ref()}}, std::as_bytes(std::span(&p, 1)));
    stream->copy(y.ref(), x.ref());
    stream->fill(x.ref(), 0);
    const auto graph = stream->end_capture();
    const auto work = [&] {
        const BufferRef buffers[] = {y.ref(), x.ref()};
        stream->launch(kernel, {}, buffers, std::as_bytes(std::span(&p, 1)));
        stream->copy(y.ref(), x.ref());
        stream->fill(x.ref(), 1);
        stream->upload(x.ref(), &p, sizeof p);
        stream->replay(*graph);
        stream->synchronize();
        const Allocation again = device->allocator().allocate(12345);
    };
    work();
    const std::int64_t before = test::heap_allocations();
    for (int i = 0; i < 20; ++i) work();
    EXPECT_EQ(test::heap_allocations() - before, 0);
    const auto event = stream->record();
    EXPECT_GT(test::heap_allocations() - before, 0) << "the counter does not count";
}

TEST_F(CpuTest, ProgramsRun) {
    const auto programs =
        device->compile({"programs", ProgramText{".program twice\n"
                                                 ".param x: f32*\n.param y: f32*\n"
                                                 "LDG.f32 r0, [x + gid]\n"
                                                 "ADD.f32 r1, r0, r0\n"
                                                 "STG.f32 [y + gid], r1\n"
                                                 ".program add\n"
                                                 ".param x: f32*\n.param y: f32*\n.param s: f32\n"
                                                 "LDG.f32 r0, [x + gid]\n"
                                                 "ADD.f32 r1, r0, s\n"
                                                 "STG.f32 [y + gid], r1\n"}});
    const Allocation x = device->allocator().allocate(4000), y = device->allocator().allocate(4000);
    std::iota(floats(x), floats(x) + 1000, 0.0f);
    std::byte params[kMaxPointwiseParamsBytes];
    const std::int64_t dims[] = {1000};
    const auto launch_program = [&](const char* name, std::span<const std::uint64_t> scalars) {
        const std::size_t size = write_pointwise_params(params, dims, {}, scalars);
        stream->launch(programs->kernel(name), {}, {{x.ref(), y.ref()}}, std::span(params).first(size));
        stream->synchronize();
    };
    launch_program("twice", {});
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(floats(y)[i], 2.0f * static_cast<float>(i)) << i;
    const std::uint64_t scalar[] = {value_bits(DType::f32, 0.5)};
    launch_program("add", scalar);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(floats(y)[i], static_cast<float>(i) + 0.5f) << i;
    EXPECT_THROW(programs->kernel("thrice"), InvalidArgument);
}

TEST_F(CpuTest, ProgramsThatDoNotCompileShowTheirText) {
    try {
        device->compile({"broken", ProgramText{".program broken\n.param x: f32*\nADD.f32 r0, r1, r2\n"}});
        FAIL() << "a program that reads what was never written compiled";
    } catch (const CompileFailed& e) {
        EXPECT_NE(e.log().find("3: ADD.f32 r0, r1, r2"), std::string::npos) << e.log();
        EXPECT_NE(std::string(e.what()).find("'broken'"), std::string::npos) << e.what();
    }
}

TEST_F(CpuTest, ModulesAreChecked) {
    EXPECT_THROW(device->compile({"m", NativeEntries{{{"a", &scale_entry}, {"a", &report_entry}}}}),
                 InvalidArgument);
    EXPECT_THROW(device->compile({"m", NativeEntries{{{"a", nullptr}}}}), InvalidArgument);
    EXPECT_THROW(device->compile({"m", SourceText{"cuda", "", {}}}), Unsupported);
    EXPECT_THROW(device->compile({"m", BinaryImage{}}), Unsupported);
    try {
        module->kernel("scales");
        FAIL();
    } catch (const InvalidArgument& e) {
        EXPECT_NE(std::string(e.what()).find("it has: scale, report"), std::string::npos) << e.what();
    }
}

TEST_F(CpuTest, BuffersAreAligned) {
    for (const std::size_t size : {1u, 255u, 4096u, 5000u, 2u << 20, (2u << 20) + 1, 9u << 20}) {
        const auto buffer = device->allocate_raw(size);
        const auto address = reinterpret_cast<std::uintptr_t>(buffer->host());
        EXPECT_EQ(address % (size >= 2u << 20 ? 2u << 20 : size >= 4096 ? 4096u : 256u), 0u) << size;
        std::memset(buffer->host(), 0xff, size);
    }
    EXPECT_THROW(device->allocate_raw(std::size_t{1} << 60), OutOfMemory);
    EXPECT_THROW(device->allocate_raw(~std::size_t{0}), OutOfMemory);
}

TEST_F(CpuTest, CopiesFromOtherDevicesNeedAHostPointer) {
    const auto far = find_device("null")->allocate_raw(64), near = device->allocate_raw(64);
    EXPECT_THROW(stream->copy(near->ref(), far->ref()), InvalidArgument);
    const auto null_stream = find_device("null")->make_stream();
    std::memset(near->host(), 5, 64);
    null_stream->copy(far->ref(), near->ref());  // the null device reaches host memory
    std::byte back[64] = {};
    null_stream->download(back, far->ref(), 64);
    null_stream->synchronize();
    EXPECT_EQ(back[63], std::byte{5});
}

TEST_F(CpuTest, StreamsOfSeveralThreads) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            const auto own = device->make_stream();
            for (int i = 0; i < 60; ++i) {
                const Allocation x = device->allocator().allocate(4000),
                                 y = device->allocator().allocate(4000);
                std::fill(floats(x), floats(x) + 1000, static_cast<float>(t + i));
                const ScaleParams p{2.0f, 1000};
                own->launch(module->kernel("scale"), {}, {{y.ref(), x.ref()}},
                            std::as_bytes(std::span(&p, 1)));
                own->synchronize();
                for (int j = 0; j < 1000; ++j) wrong += floats(y)[j] != 2.0f * static_cast<float>(t + i);
            }
        });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace invar
