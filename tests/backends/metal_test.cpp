// SPDX-License-Identifier: Apache-2.0
// The metal backend's own work, on the software Metal device: what is encoded (barriers, command buffers), the order of bytes that
// pass between host and device, memory of the host used in place, and failures, each of which poisons its stream alone.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/metal_backend.h"
#include "device/allocator.h"
#include "device/registry.h"
#include "device/routines.h"
#include "metalsim/control.h"
#include "program/grid.h"
#include "program/pointwise.h"

namespace invar::test {
namespace {

template <class F>
std::string message(ErrorKind kind, const F& work) {
    try {
        work();
    } catch (const Error& e) {
        EXPECT_EQ(error_kind_name(e.kind()), error_kind_name(kind)) << e.what();
        return e.what();
    }
    return "nothing was thrown";
}

TEST_F(MetalBackend, BarriersStandOnlyWhereLaunchesConflict) {
    const auto a = buffer(64), b = buffer(64), c = buffer(64), d = buffer(64);
    stream->fill(a->ref(), 0);
    stream->synchronize();
    metalsim::reset_counters();
    add_one(*stream, b->ref(), a->ref(), 64);  // both only read a
    add_one(*stream, c->ref(), a->ref(), 64);
    stream->synchronize();
    EXPECT_EQ(metalsim::counters().barriers, 0u);
    EXPECT_EQ(metalsim::counters().dispatches, 2u);
    metalsim::reset_counters();
    add_one(*stream, b->ref(), a->ref(), 64);
    add_one(*stream, d->ref(), b->ref(), 64);  // reads what the first writes
    add_one(*stream, c->ref(), a->ref(), 64);  // reads and writes other memory
    add_one(*stream, a->ref(), d->ref(), 64);  // writes what the third reads, reads what the second writes
    EXPECT_EQ(read(*stream, a->ref()), std::vector<std::uint32_t>(64, 3));
    EXPECT_EQ(metalsim::counters().barriers, 3u) << "one is for reading a back";
    // Halves of one buffer are two pieces of memory.
    metalsim::reset_counters();
    add_one(*stream, {b.get(), 0, 128}, {a.get(), 0, 128}, 32);
    add_one(*stream, {b.get(), 128, 128}, {a.get(), 128, 128}, 32);
    stream->synchronize();
    EXPECT_EQ(metalsim::counters().barriers, 0u);
}

TEST_F(MetalBackend, ACommandBufferHoldsWhatFitsIt) {
    const auto a = buffer(16), b = buffer(16);
    stream->fill(a->ref(), 0);
    stream->synchronize();
    metalsim::reset_counters();
    for (int i = 0; i < 500; ++i) add_one(*stream, b->ref(), a->ref(), 16);
    EXPECT_EQ(metalsim::counters().command_buffers, 0u) << "nothing runs before it is committed";
    stream->synchronize();
    EXPECT_EQ(metalsim::counters().command_buffers, 1u);
    EXPECT_EQ(metalsim::counters().dispatches, 500u);
    for (int i = 0; i < 2 * 2048 + 1; ++i) stream->launch(kernel_module->kernel("nothing"), {}, {}, {});
    stream->synchronize();
    EXPECT_EQ(metalsim::counters().command_buffers, 4u);
    // What writes much goes off early.
    const auto large = device->allocate_raw(std::size_t{100} << 20);
    metalsim::reset_counters();
    stream->fill(large->ref(), 1);
    stream->fill(a->ref(), 2);
    stream->synchronize();
    EXPECT_EQ(metalsim::counters().command_buffers, 2u);
}

TEST_F(MetalBackend, BytesPassInTheOrderOfTheStream) {
    const std::uint32_t sizes[] = {1,    3,    16,
                                   1000, 5000, 400000};  // elements: by value, staged, and waited for
    for (const std::uint32_t n : sizes) {
        const auto a = buffer(n), b = buffer(n);
        std::vector<std::uint32_t> first(n, 7), second(n, 70), before(n), after(n);
        stream->fill(a->ref(), 0);
        stream->upload(a->ref(), first.data(), 4 * n);
        add_one(*stream, b->ref(), a->ref(), n);
        stream->download(before.data(), b->ref(), 4 * n);
        stream->upload(a->ref(), second.data(), 4 * n);
        add_one(*stream, b->ref(), a->ref(), n);
        stream->download(after.data(), b->ref(), 4 * n);
        const auto event = stream->record();
        event->wait();
        EXPECT_EQ(before, std::vector<std::uint32_t>(n, 8)) << n;
        EXPECT_EQ(after, std::vector<std::uint32_t>(n, 71)) << n;
    }
}

TEST_F(MetalBackend, CopiesAndFillsOfAnyAlignment) {
    const auto a = device->allocate_raw(256), b = device->allocate_raw(256);
    std::vector<std::uint8_t> bytes(256), expected(256, 0);
    std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
    stream->upload(a->ref(), bytes.data(), 256);
    for (const std::size_t at : {0, 1, 15, 16, 32})
        for (const std::size_t from : {0, 3, 16})
            for (const std::size_t size : {1, 15, 16, 17, 100}) {
                stream->fill(b->ref(), 0);
                stream->copy({b.get(), at, size}, {a.get(), from, size});
                stream->fill({b.get(), at + size, 5}, 0xab);
                std::fill(expected.begin(), expected.end(), std::uint8_t{0});
                std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), size,
                            expected.begin() + static_cast<std::ptrdiff_t>(at));
                std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at + size), 5, std::uint8_t{0xab});
                std::vector<std::uint8_t> got(256);
                stream->download(got.data(), b->ref(), 256);
                stream->synchronize();
                ASSERT_EQ(got, expected) << at << " " << from << " " << size;
            }
}

TEST_F(MetalBackend, MemoryOfTheHostIsUsedInPlace) {
    ASSERT_TRUE(device->supports(Feature::wrap_host));
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* const pages = ::mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(pages, MAP_FAILED);
    const std::shared_ptr<void> memory(pages, [&](void* p) { ::munmap(p, 4 * page); });
    auto* const data = static_cast<std::byte*>(pages) + 68;
    const auto count = static_cast<std::uint32_t>((3 * page - 68) / 4);
    std::vector<std::uint32_t> values(count);
    std::iota(values.begin(), values.end(), 5U);
    std::memcpy(data, values.data(), 4 * count);
    metalsim::reset_counters();
    auto wrapped = device->wrap_host_memory(data, 4 * count, memory);
    ASSERT_NE(wrapped, nullptr);
    EXPECT_EQ(wrapped->host(), data);
    EXPECT_EQ(metalsim::counters().bytes_allocated, 0u) << "nothing was copied";
    EXPECT_EQ(memory.use_count(), 2) << "the buffer keeps the memory";
    const auto out = buffer(count);
    add_one(*stream, out->ref(), wrapped->ref(), count);
    for (std::uint32_t& value : values) ++value;
    EXPECT_EQ(read(*stream, out->ref()), values);
    // A piece of the same memory under another buffer: writes to one are seen through the other, in order.
    auto again = device->wrap_host_memory(data, 4 * count, memory);
    add_one(*stream, wrapped->ref(), out->ref(), count);
    add_one(*stream, out->ref(), again->ref(), count);
    for (std::uint32_t& value : values) value += 2;
    EXPECT_EQ(read(*stream, out->ref()), values);
    EXPECT_EQ(device->wrap_host_memory(data, SIZE_MAX - 10, memory), nullptr);
}

TEST_F(MetalBackend, ADeviceWithMemoryOfItsOwnIsReachedThroughStaging) {
    metalsim::DeviceOptions options;
    options.unified_memory = false;
    open(options);
    EXPECT_FALSE(device->supports(Feature::host_visible));
    EXPECT_FALSE(device->supports(Feature::wrap_host));
    for (const std::uint32_t n : {1U, 2000U, 5000000U}) {  // the last in pieces
        const auto a = buffer(n), b = buffer(n);
        EXPECT_EQ(a->host(), nullptr);
        std::vector<std::uint32_t> values(n);
        std::iota(values.begin(), values.end(), 1U);
        stream->upload(a->ref(), values.data(), 4 * n);
        stream->copy(b->ref(), a->ref());
        EXPECT_EQ(read(*stream, b->ref()), values) << n;
    }
    // Buffers of odd sizes before it leave the next one as aligned as any.
    const auto programs = device->compile(
        {"p",
         ProgramText{
             ".program p\n.param a: f32*\nLDG.f32 x, [a + gid]\nADD.f32 x, x, 1\nSTG.f32 [a + gid], x\n"}});
    for (const std::size_t odd : {1, 3, 17, 300}) {
        const auto before = device->allocate_raw(odd), a = device->allocate_raw(40);
        std::vector<float> values(10, 1.5f), got(10);
        stream->upload(a->ref(), values.data(), 40);
        stream->copy({a.get(), 4, 12}, {a.get(), 20, 12});
        std::array<std::byte, kMaxPointwiseParamsBytes> params;
        const std::int64_t dims[] = {10};
        const std::size_t size = write_pointwise_params(params, dims, {}, {});
        const BufferRef buffers[] = {a->ref()};
        stream->launch(programs->kernel("p"), {}, buffers, std::span(params).first(size));
        stream->download(got.data(), a->ref(), 40);
        stream->synchronize();
        EXPECT_EQ(got, std::vector<float>(10, 2.5f)) << odd;
    }
}

TEST_F(MetalBackend, StreamsWaitForEachOthersEvents) {
    const auto other = device->make_stream();
    const auto a = buffer(64), b = buffer(64);
    for (int round = 0; round < 6; ++round) {
        stream->fill(a->ref(), static_cast<std::uint8_t>(round));
        add_one(*stream, b->ref(), a->ref(), 64);
        const auto written = stream->record();
        other->wait(*written);
        add_one(*other, a->ref(), b->ref(), 64);
        const auto back = other->record();
        stream->wait(*back);
        EXPECT_EQ(read(*stream, a->ref()),
                  std::vector<std::uint32_t>(64, 0x01010101U * static_cast<unsigned>(round) + 2));
    }
}

TEST_F(MetalBackend, SharedMemoryOfALaunch) {
    const auto module = device->compile({"shared", SourceText{"metal",
                                                              R"(#include <metal_stdlib>
using namespace metal;
kernel void shared(device uint* out [[buffer(0)]], threadgroup uint* room [[threadgroup(0)]],
                   uint i [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
    room[i] = i;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = room[threads - 1 - i];
}
)",
                                                              {}}});
    const auto out = buffer(96);
    LaunchConfig config;
    config.block.x = 96;
    config.shared_bytes = 96 * 4;
    const BufferRef buffers[] = {out->ref()};
    stream->launch(module->kernel("shared"), config, buffers, {});
    std::vector<std::uint32_t> expected(96);
    for (std::uint32_t i = 0; i < 96; ++i) expected[i] = 95 - i;
    EXPECT_EQ(read(*stream, out->ref()), expected);
    config.shared_bytes = 32769;
    EXPECT_NE(message(ErrorKind::kInvalidArgument,
                      [&] { stream->launch(module->kernel("shared"), config, buffers, {}); })
                  .find("32768 of a block"),
              std::string::npos);
    config.shared_bytes = 0;
    config.block.x = 1025;
    EXPECT_NE(message(ErrorKind::kInvalidArgument,
                      [&] { stream->launch(kernel_module->kernel("nothing"), config, {}, {}); })
                  .find("at most 1024 threads"),
              std::string::npos);
}

TEST_F(MetalBackend, ArgumentsThatAKernelDoesNotGetAreNamed) {
    const auto a = buffer(4);
    const BufferRef one[] = {a->ref()};
    EXPECT_EQ(message(ErrorKind::kLaunchFailed,
                      [&] { stream->launch(kernel_module->kernel("add_one"), {}, one, {}); }),
              "metal: kernel 'add_one' declares arguments beyond index 1, and is given 1: one a buffer, and "
              "one each for "
              "parameters and faults where there are any");
    EXPECT_FALSE(stream->poisoned());
}

TEST_F(MetalBackend, AFailedCommandBufferPoisonsItsStreamAlone) {
    using metalsim::Failure;
    const struct {
        Failure failure;
        ErrorKind kind;
        const char* text;
    } cases[] = {{Failure::out_of_memory, ErrorKind::kOutOfMemory, "use a smaller model"},
                 {Failure::page_fault, ErrorKind::kLaunchFailed, "outside of its buffers"},
                 {Failure::timeout, ErrorKind::kLaunchFailed, "for too long"},
                 {Failure::access_revoked, ErrorKind::kDeviceLost, "a new stream may start again"},
                 {Failure::not_permitted, ErrorKind::kLaunchFailed, "('add_one' to 'copy')"},
                 {Failure::internal, ErrorKind::kLaunchFailed, "('add_one' to 'copy')"}};
    const auto a = buffer(16), b = buffer(16);
    for (const auto& [failure, kind, text] : cases) {
        stream->fill(a->ref(), 0);
        const auto before = stream->record();
        before->wait();
        metalsim::fail_command_buffer(1, failure);
        add_one(*stream, b->ref(), a->ref(), 16);
        std::uint32_t untouched = 5;
        stream->download(&untouched, b->ref(), 4);
        const auto after = stream->record();
        const std::string first = message(kind, [&] { after->wait(); });
        EXPECT_NE(first.find(text), std::string::npos) << first;
        EXPECT_NE(first.find("kernel"), std::string::npos) << first;
        EXPECT_EQ(untouched, 5u) << "bytes behind a failure do not arrive";
        EXPECT_NO_THROW(before->wait());
        EXPECT_TRUE(stream->poisoned());
        EXPECT_EQ(message(kind, [&] { stream->synchronize(); }), first);
        EXPECT_EQ(message(kind, [&] { add_one(*stream, b->ref(), a->ref(), 16); }), first);
        const auto other = device->make_stream();
        other->fill(a->ref(), 0);
        add_one(*other, b->ref(), a->ref(), 16);
        EXPECT_EQ(read(*other, b->ref()), std::vector<std::uint32_t>(16, 1));
        EXPECT_EQ(message(kind,
                          [&] {
                              other->wait(*after);
                              other->synchronize();
                          }),
                  first);
        stream = device->make_stream();
    }
    // A device that is gone.
    metalsim::fail_command_buffer(1, Failure::device_removed);
    stream->fill(a->ref(), 1);
    message(ErrorKind::kDeviceLost, [&] { stream->synchronize(); });
    EXPECT_NE(message(ErrorKind::kDeviceLost, [&] { device->allocate_raw(100); }).find("has been removed"),
              std::string::npos)
        << "want of room would have caches emptied in vain";
    metalsim::reset();
    metalsim::collect_validation_errors(true);
}

TEST_F(MetalBackend, AFailureReachesAStreamThatWaitsForIt) {
    const auto a = buffer(16), b = buffer(16);
    stream->fill(a->ref(), 0);
    stream->synchronize();
    const auto other = device->make_stream();
    metalsim::fail_command_buffer(1, metalsim::Failure::page_fault);
    add_one(*stream, b->ref(), a->ref(), 16);
    const auto event = stream->record();
    message(ErrorKind::kLaunchFailed, [&] {
        other->wait(*event);  // before anybody knows
        add_one(*other, a->ref(), b->ref(), 16);
        other->synchronize();
    });
    message(ErrorKind::kLaunchFailed, [&] { stream->synchronize(); });
}

TEST_F(MetalBackend, SourcesThatDoNotCompileAreShownWithNumbers) {
    try {
        device->compile(
            {"bad",
             SourceText{"metal", "#include <metal_stdlib>\nkernel void k() { undeclared = 1; }\n", {}}});
        FAIL() << "it compiled";
    } catch (const CompileFailed& e) {
        EXPECT_NE(std::string(e.what()).find("metal: module 'bad' did not compile"), std::string::npos)
            << e.what();
        EXPECT_NE(e.log().find("2: kernel void k()"), std::string::npos) << e.log();
    }
    metalsim::fail_library(1, "program_source:1:1: error: injected");
    EXPECT_NE(message(ErrorKind::kCompileFailed,
                      [&] {
                          device->compile({"worse", SourceText{"metal", kMetalSource, {}}});
                      })
                  .find("program_source:1:1: error: injected"),
              std::string::npos);
    message(ErrorKind::kUnsupported, [&] { device->compile({"c", SourceText{"cuda", "", {}}}); });
    EXPECT_NE(device->compile({"again", SourceText{"metal", kMetalSource, {}}}), nullptr);
}

TEST_F(MetalBackend, NoRoomIsSaidWithSizes) {
    metalsim::DeviceOptions options;
    options.working_set = 1 << 20;
    options.max_buffer = 900 << 10;
    open(options);
    EXPECT_NE(message(ErrorKind::kOutOfMemory, [&] { device->allocate_raw(1000 << 10); })
                  .find("the largest that the device gives has 921600"),
              std::string::npos);
    const auto most = device->allocate_raw(800 << 10);
    const std::string text = message(ErrorKind::kOutOfMemory, [&] { device->allocate_raw(400 << 10); });
    EXPECT_NE(text.find("no room for 409600 bytes"), std::string::npos) << text;
    EXPECT_NE(text.find("of 1048576 are free"), std::string::npos) << text;
    metalsim::fail_allocation(1);
    EXPECT_NE(message(ErrorKind::kOutOfMemory, [&] { device->allocate_raw(100); }).find("Metal has no room"),
              std::string::npos);
    EXPECT_NE(device->allocate_raw(100), nullptr);
}

TEST_F(MetalBackend, EveryGridProgramReportsItsOwnFault) {
    // Thousands of launches in flight, each with words of its own for what it finds wrong.
    const auto programs = device->compile(
        {"faults",
         ProgramText{
             ".program reach\n.param a: u32*\n.param i: u32\nMOV.u32 k, i\nSTG.u32 [a + k], 7\nEXIT\n"}});
    const auto a = buffer(4);
    const auto launch = [&](std::uint64_t i) {
        std::array<std::byte, 64> params;
        const std::size_t bytes = write_grid_params(params, 1, std::span(&i, 1));
        const BufferRef buffers[] = {a->ref()};
        stream->launch(programs->kernel("reach"), {}, buffers, std::span(params).first(bytes));
    };
    for (int n = 0; n < 2500; ++n) launch(3);
    const auto good = stream->record();
    launch(4);
    launch(2);
    EXPECT_NO_THROW(good->wait());
    const std::string text = message(ErrorKind::kLaunchFailed, [&] { stream->synchronize(); });
    EXPECT_NE(text.find("reach"), std::string::npos) << text;
    EXPECT_NE(text.find('4'), std::string::npos) << text;
    EXPECT_NO_THROW(good->wait());
}

TEST_F(MetalBackend, AnEventThatIsDoneHasBroughtItsBytes) {
    const auto a = buffer(16), b = buffer(16);
    for (std::uint32_t round = 0; round < 20; ++round) {
        stream->fill(a->ref(), 0);
        add_one(*stream, b->ref(), a->ref(), 16);
        std::uint32_t got = 99;
        stream->download(&got, b->ref(), 4);
        const auto event = stream->record();
        while (!event->done()) {}
        ASSERT_EQ(got, 1u) << round;
    }
}

TEST_F(MetalBackend, AFaultThatAKernelReportsReachesWhoWaitsForIt) {
    const auto programs = device->compile(
        {"faults",
         ProgramText{
             ".program reach\n.param a: u32*\n.param i: u32\nMOV.u32 k, i\nSTG.u32 [a + k], 7\nEXIT\n"}});
    const auto a = buffer(4), b = buffer(4);
    const auto other = device->make_stream();
    // The streams wait for each other in turn, and everything has run before anybody asks.
    stream->fill(a->ref(), 0);
    const auto first = stream->record();
    other->wait(*first);
    add_one(*other, b->ref(), a->ref(), 4);
    const auto second = other->record();
    stream->wait(*second);
    std::array<std::byte, 64> params;
    const std::uint64_t beyond = 4;
    const std::size_t bytes = write_grid_params(params, 1, std::span(&beyond, 1));
    const BufferRef buffers[] = {a->ref()};
    stream->launch(programs->kernel("reach"), {}, buffers, std::span(params).first(bytes));
    const auto third = stream->record();
    std::uint32_t got = 99;
    message(ErrorKind::kLaunchFailed, [&] {
        other->wait(*third);
        other->download(&got, b->ref(), 4);
        message(ErrorKind::kLaunchFailed, [&] { stream->synchronize(); });
        other->synchronize();
    });
    EXPECT_TRUE(other->poisoned());
    EXPECT_EQ(got, 99u);
}

TEST_F(MetalBackend, PiecesThatAreHardlyWrittenKeepACommandBufferOpen) {
    // As a cache of keys is bound: the rest of a large buffer, of which a kernel writes a little.
    const auto cache = device->allocate_raw(std::size_t{200} << 20), b = buffer(16);
    stream->fill(b->ref(), 0);
    stream->synchronize();
    metalsim::reset_counters();
    for (int layer = 0; layer < 40; ++layer) add_one(*stream, cache->ref(), b->ref(), 16);
    stream->synchronize();
    EXPECT_EQ(metalsim::counters().command_buffers, 1u);
}

TEST_F(MetalBackend, WrappedMemoryIsOneAlsoAcrossCommandBuffers) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* const pages = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(pages, MAP_FAILED);
    const std::shared_ptr<void> memory(pages, [&](void* p) { ::munmap(p, page); });
    const auto one = device->wrap_host_memory(static_cast<std::byte*>(pages), 256, memory),
               two = device->wrap_host_memory(static_cast<std::byte*>(pages), 256, memory);
    const auto a = buffer(64), b = buffer(64);
    for (std::uint8_t round = 0; round < 10; ++round) {
        stream->fill(a->ref(), round);
        add_one(*stream, one->ref(), a->ref(), 64);
        const auto between = stream->record();
        add_one(*stream, b->ref(), two->ref(), 64);
        ASSERT_EQ(read(*stream, b->ref()), std::vector<std::uint32_t>(64, 0x01010101U * round + 2));
    }
}

TEST_F(MetalBackend, GpusThatTheKernelsDoNotServeAreNotListed) {
    metalsim::DeviceOptions options;
    options.family = 5;
    metalsim::set_device_options(options);
    const auto old = load_backend_module("metal", INVAR_METAL_MODULE);
    EXPECT_NE(old->unavailable_reason().find("no GPU of the family Apple7"), std::string::npos)
        << old->unavailable_reason();
    EXPECT_TRUE(old->devices().empty());
}

TEST_F(MetalBackend, FeaturesOfEachFamily) {
    for (const int family : {7, 8, 9, 10})
        for (const bool metal4 : {false, true}) {
            metalsim::DeviceOptions options;
            options.family = family;
            options.metal4 = metal4;
            options.residency_sets = family > 7;  // also as an older system has it
            open(options);
            const DeviceProperties p = device->properties();
            EXPECT_EQ(p.driver, std::string(metal4 ? "Metal 4" : "Metal 3") + ", Apple" +
                                    std::to_string(family) + ", simdgroup_matrix, bfloat" +
                                    (metal4 ? ", tensor operations" : ""));
            EXPECT_EQ(p.warp_width, 32);
            EXPECT_EQ(p.max_block_threads, 1024);
            EXPECT_EQ(p.shared_memory_bytes, 32768u);
            const auto a = buffer(64), b = buffer(64);
            stream->fill(a->ref(), 0);
            add_one(*stream, b->ref(), a->ref(), 64);
            EXPECT_EQ(read(*stream, b->ref()), std::vector<std::uint32_t>(64, 1)) << family;
        }
}

TEST_F(MetalBackend, AWorkingSetThatIsNearlyFullIsSaidOnce) {
    metalsim::DeviceOptions options;
    options.working_set = std::uint64_t{10} << 20;
    open(options);
    const auto said = [&](std::size_t bytes) {
        testing::internal::CaptureStderr();
        kept.push_back(device->allocate_raw(bytes));
        return testing::internal::GetCapturedStderr();
    };
    EXPECT_EQ(said(8 << 20), "");
    const std::string text = said(3 << 19);
    EXPECT_NE(text.find("warning"), std::string::npos) << text;
    EXPECT_NE(text.find("10485760"), std::string::npos) << text;
    EXPECT_EQ(said(1 << 10), "") << "once";
    kept.clear();
}

// ---- what Apple's tools see ----

TEST_F(MetalBackend, KernelsAreNamedForApplesToolsWhereThatIsAskedFor) {
    const auto work = [&] {
        const auto a = buffer(16), b = buffer(16);
        stream->fill(a->ref(), 0);
        add_one(*stream, b->ref(), a->ref(), 16);
        stream->launch(kernel_module->kernel("nothing"), {}, {}, {});
        stream->synchronize();
        return metalsim::take_signposts();
    };
    EXPECT_TRUE(work().empty());
    ::setenv("INVAR_METAL_LABELS", "1", 1);
    open({});
    EXPECT_EQ(work(), (std::vector<std::string>{"add_one", "nothing"}));
    ::unsetenv("INVAR_METAL_LABELS");
}

// The only test here that captures: a process captures once.
TEST_F(MetalBackend, TheFirstStreamIsCapturedWhereAFileIsNamed) {
    ::setenv("INVAR_METAL_CAPTURE", "/nowhere/work.gputrace", 1);
    metalsim::DeviceOptions options;
    options.captures = true;
    open(options);
    auto other = device->make_stream();
    const auto a = buffer(16), b = buffer(16);
    for (Stream* on : {stream.get(), other.get()}) {
        on->fill(a->ref(), 0);
        add_one(*on, b->ref(), a->ref(), 16);
        on->synchronize();
    }
    other.reset();
    ASSERT_EQ(metalsim::captures().size(), 1u);
    EXPECT_EQ(metalsim::captures()[0].file, "/nowhere/work.gputrace");
    EXPECT_FALSE(metalsim::captures()[0].ended) << "another stream's end is not its own";
    EXPECT_EQ(metalsim::take_signposts(), (std::vector<std::string>{"add_one", "add_one"}));
    stream.reset();
    EXPECT_TRUE(metalsim::captures()[0].ended);
    EXPECT_EQ(metalsim::captures()[0].command_buffers, 2u) << "of the device, whose streams both worked";
    ::unsetenv("INVAR_METAL_CAPTURE");
}

// ---- Metal Performance Shaders ----

class MetalLibrary : public MetalBackend {
protected:
    void SetUp() override {
        ::setenv("INVAR_METAL_MPS", "1", 1);
        MetalBackend::SetUp();
    }
    void TearDown() override {
        MetalBackend::TearDown();
        ::unsetenv("INVAR_METAL_MPS");
    }
};

TEST_F(MetalLibrary, ProductsAgreeWithAReference) {
    ASSERT_TRUE(device->supports(Feature::library));
    const auto routine = device->compile({"gemm", LibraryRoutine{"gemm"}});
    for (const bool transposed : {false, true}) {
        GemmParams p;
        p.w_transposed = transposed;
        p.batch = 2;
        p.m = 5, p.n = 7, p.k = 3;
        p.x_row = 4, p.x_batch = 20;
        p.w_row = transposed ? 3 : 8, p.w_batch = 24;
        p.y_row = 9, p.y_batch = 45;
        std::vector<float> x(40), w(48), y(90, -1.0f);
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
        for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 5) - 2;
        const auto there = [&](const std::vector<float>& host) {
            auto made = device->allocate_raw(4 * host.size());
            stream->upload(made->ref(), host.data(), 4 * host.size());
            return made;
        };
        const auto a = there(x), b = there(w), c = there(y);
        const BufferRef buffers[] = {a->ref(), b->ref(), c->ref()};
        const auto params = std::as_bytes(std::span(&p, 1));
        stream->launch(routine->kernel("gemm"), {}, buffers, params);
        std::vector<float> got(90);
        stream->download(got.data(), c->ref(), 360);
        stream->synchronize();
        for (std::size_t batch = 0; batch < 2; ++batch)
            for (std::size_t i = 0; i < 5; ++i)
                for (std::size_t j = 0; j < 7; ++j) {
                    float sum = 0;
                    for (std::size_t k = 0; k < 3; ++k)
                        sum +=
                            x[batch * 20 + i * 4 + k] * w[batch * 24 + (transposed ? j * 3 + k : k * 8 + j)];
                    y[batch * 45 + i * 9 + j] = sum;
                }
        EXPECT_EQ(got, y) << transposed;
        p.n = 100;
        EXPECT_THROW(stream->launch(routine->kernel("gemm"), {}, buffers, params), InvalidArgument)
            << "rows overlap";
        p.n = 7;
        p.m = 100;
        EXPECT_THROW(stream->launch(routine->kernel("gemm"), {}, buffers, params), InvalidArgument)
            << "too small";
        p.m = INT64_MAX;
        EXPECT_THROW(stream->launch(routine->kernel("gemm"), {}, buffers, params), InvalidArgument);
        p.m = 5;
        p.has_bias = true;
        EXPECT_THROW(stream->launch(routine->kernel("gemm"), {}, buffers, params), InvalidArgument);
    }
    message(ErrorKind::kUnsupported, [&] { device->compile({"other", LibraryRoutine{"convolution"}}); });
}

TEST_F(MetalBackend, TheLibraryIsUsedOnlyWhereItIsAskedFor) {
    EXPECT_FALSE(device->supports(Feature::library));
    message(ErrorKind::kUnsupported, [&] { device->compile({"gemm", LibraryRoutine{"gemm"}}); });
}

}  // namespace
}  // namespace invar::test
