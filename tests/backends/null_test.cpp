// SPDX-License-Identifier: Apache-2.0
// The null backend: its log as golden text, deferred work and late errors, its memory limit, and that errors thrown in
// a loaded module are caught here by their types.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/faults.h"
#include "device/registry.h"
#include "device/services.h"

namespace invar {
namespace {

class NullTest : public ::testing::Test {
protected:
    void SetUp() override { reset(); }
    void TearDown() override { reset(); }
    void reset() {
        set_faults("");
        ::unsetenv("INVAR_NULL_MEMORY");
        ::unsetenv("INVAR_NULL_DEFERRED");
        inline_device->launch_log()->clear();
        deferred->launch_log()->clear();
    }
    std::shared_ptr<Device> inline_device = find_device("null"), deferred = find_device("null:1");
};

TEST_F(NullTest, LogIsTheGoldenFormOfASchedule) {
    const auto module = inline_device->compile({"any", SourceText{"null", "matvec and empty", {}}});
    const auto stream = inline_device->make_stream();
    const auto a = inline_device->allocate_raw(1024), b = inline_device->allocate_raw(256);
    const std::byte params[12] = {};
    std::uint8_t host[16] = {};
    stream->upload(a->ref(), host, 16);
    stream->launch(module->kernel("matvec"), {{4, 2, 1}, {128, 1, 1}, 512}, {{a->ref(24), b->ref()}}, params);
    stream->copy(b->ref(), a->ref());
    stream->fill({b.get(), 0, 100}, 7);
    stream->download(host, a->ref(), 8);
    stream->launch(module->kernel("empty"), {}, {}, {});
    stream->synchronize();
    EXPECT_EQ(inline_device->launch_log()->text(),
              "upload 16\n"
              "launch matvec grid=4,2,1 block=128,1,1 shared=512 buffers=1000,256 params=12\n"
              "copy 256\n"
              "fill 100 value=7\n"
              "download 8\n"
              "launch empty grid=1,1,1 block=1,1,1 shared=0 buffers= params=0\n");
    inline_device->launch_log()->clear();
    EXPECT_EQ(inline_device->launch_log()->text(), "");
}

TEST_F(NullTest, ReplayIsLoggedStepByStepAndCaptureIsNot) {
    const auto module = inline_device->compile({"any", ProgramText{"..."}});
    const auto stream = inline_device->make_stream();
    stream->begin_capture();
    stream->launch(module->kernel("k"), {}, {}, {});
    const auto graph = stream->end_capture();
    EXPECT_EQ(inline_device->launch_log()->text(), "");
    stream->replay(*graph);
    stream->replay(*graph);
    const std::string line = "launch k grid=1,1,1 block=1,1,1 shared=0 buffers= params=0\n";
    EXPECT_EQ(inline_device->launch_log()->text(), line + line);
}

TEST_F(NullTest, OnlyCpuHasNoLog) {
    EXPECT_EQ(find_device("cpu")->launch_log(), nullptr);
    EXPECT_EQ(inline_device->bandwidth(), nullptr);
}

TEST_F(NullTest, DeferredWorkHappensWhenItIsWaitedFor) {
    const auto stream = deferred->make_stream();
    const auto a = deferred->allocate_raw(4);
    std::uint32_t value = 1, back = 99;
    stream->upload(a->ref(), &value, 4);
    const auto uploaded = stream->record();
    stream->download(&back, a->ref(), 4);
    const auto downloaded = stream->record();
    value = 2;  // not yet read: whoever changes host memory too early is found out
    EXPECT_EQ(back, 99u);
    EXPECT_FALSE(uploaded->done());
    EXPECT_EQ(deferred->launch_log()->text(), "");
    uploaded->wait();
    EXPECT_TRUE(uploaded->done());
    EXPECT_FALSE(downloaded->done());
    EXPECT_EQ(back, 99u);
    stream->synchronize();
    EXPECT_TRUE(downloaded->done());
    EXPECT_EQ(back, 2u);
    EXPECT_EQ(deferred->launch_log()->text(), "upload 4\ndownload 4\n");
}

TEST_F(NullTest, DeferredErrorsComeLate) {
    set_faults("launch@bad");
    const auto module = deferred->compile({"any", BinaryImage{"x", {}}});
    const auto stream = deferred->make_stream();
    const auto a = deferred->allocate_raw(4);
    std::uint32_t back = 99;
    stream->launch(module->kernel("good"), {}, {}, {});
    stream->launch(module->kernel("bad"), {}, {}, {});
    stream->download(&back, a->ref(), 4);  // accepted, and dropped when the failure comes to light
    EXPECT_FALSE(stream->poisoned());
    EXPECT_THROW(stream->synchronize(), LaunchFailed);
    EXPECT_TRUE(stream->poisoned());
    EXPECT_EQ(back, 99u);
    EXPECT_EQ(deferred->launch_log()->text(),
              "launch good grid=1,1,1 block=1,1,1 shared=0 buffers= params=0\n");
}

TEST_F(NullTest, DeferredStreamsPullTheWorkTheyWaitFor) {
    const auto producer = deferred->make_stream(), consumer = deferred->make_stream();
    const auto a = deferred->allocate_raw(4);
    std::uint32_t value = 5, back = 0;
    producer->upload(a->ref(), &value, 4);
    const auto ready = producer->record();
    consumer->wait(*ready);
    consumer->download(&back, a->ref(), 4);
    EXPECT_FALSE(ready->done());
    consumer->synchronize();
    EXPECT_TRUE(ready->done());
    EXPECT_EQ(back, 5u);
}

TEST_F(NullTest, EnvironmentMakesStreamsDeferred) {
    ::setenv("INVAR_NULL_DEFERRED", "1", 1);
    const auto stream = inline_device->make_stream();
    const auto event_free = stream->record();
    EXPECT_TRUE(event_free->done());
    const auto a = inline_device->allocate_raw(4);
    stream->fill(a->ref(), 1);
    const auto event = stream->record();
    EXPECT_FALSE(event->done());
    event->wait();
    ::setenv("INVAR_NULL_DEFERRED", "yes", 1);
    EXPECT_THROW(inline_device->make_stream(), InvalidArgument);
}

TEST_F(NullTest, MemoryLimitIsATypedErrorAcrossTheModule) {
    inline_device->allocator().trim();
    ::setenv("INVAR_NULL_MEMORY", "100000", 1);
    const auto kept = inline_device->allocate_raw(60000);
    try {
        inline_device->allocate_raw(50000);
        FAIL() << "the limit was exceeded";
    } catch (const OutOfMemory& e) {
        EXPECT_EQ(e.requested(), 50000u);
        EXPECT_EQ(e.available(), 40000u);
        EXPECT_EQ(e.kind(), ErrorKind::kOutOfMemory);
    }
    EXPECT_EQ(inline_device->properties().memory_free, 40000u);
    EXPECT_NO_THROW(inline_device->allocate_raw(40000));
    EXPECT_THROW(inline_device->allocate_raw(~std::size_t{0}), OutOfMemory);

    CachingAllocator& pool = inline_device->allocator();
    const auto before = pool.statistics();
    pool.allocate(20000).reset();
    const Allocation big = pool.allocate(35000);  // only after the cached block went back
    EXPECT_EQ(pool.statistics().oom_retries, before.oom_retries + 1);
    EXPECT_EQ(pool.statistics().oom_failures, before.oom_failures);
    EXPECT_THROW(pool.allocate(35000), OutOfMemory);
    EXPECT_EQ(pool.statistics().oom_failures, before.oom_failures + 1);
}

TEST_F(NullTest, HugeBuffersCostNothingUntilWritten) {
    const auto model = inline_device->allocate_raw(std::size_t{200} << 30);
    std::uint8_t byte = 3;
    const auto stream = inline_device->make_stream();
    stream->upload(model->ref(std::size_t{150} << 30), &byte, 1);
    std::uint8_t back[2] = {9, 9};
    stream->download(back, model->ref(std::size_t{150} << 30), 2);
    stream->synchronize();
    EXPECT_EQ(back[0], 3);
    EXPECT_EQ(back[1], 0);
}

TEST_F(NullTest, EveryErrorTypeCrossesTheModuleBoundary) {
    const auto module = inline_device->compile({"m", NativeEntries{}});
    EXPECT_THROW(module->kernel("none"), InvalidArgument);
    set_faults("compile@1");
    try {
        inline_device->compile({"m", NativeEntries{}});
        FAIL();
    } catch (const CompileFailed& e) {
        EXPECT_EQ(e.log(), "1: injected");
    }
    set_faults("launch@1");
    auto stream = inline_device->make_stream();
    const auto kept = inline_device->compile({"m", SourceText{}});
    stream->launch(kept->kernel("k"), {}, {}, {});
    EXPECT_THROW(stream->synchronize(), LaunchFailed);
    EXPECT_THROW(stream->synchronize(), Error);
    EXPECT_THROW(stream->synchronize(), std::runtime_error);
}

TEST_F(NullTest, ThreadsWithTheirOwnStreamsShareADevice) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            const auto& device = t % 2 ? deferred : inline_device;
            const auto module = device->compile({"m", SourceText{}});
            const auto stream = device->make_stream();
            for (int i = 0; i < 50; ++i) {
                const Allocation a = device->allocator().allocate(64 + static_cast<std::size_t>(i));
                const std::uint8_t sent = static_cast<std::uint8_t>(t * 50 + i);
                std::uint8_t got = 0;
                stream->upload(a.ref(), &sent, 1);
                stream->launch(module->kernel("k"), {}, {{a.ref()}}, {});
                const auto event = stream->record();
                stream->download(&got, a.ref(), 1);
                event->wait();
                stream->synchronize();
                if (got != sent) ++wrong;
            }
        });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace invar
