// SPDX-License-Identifier: Apache-2.0
// What the seam promises of every stream, asked of every device there is: copies and fills, bounds, events, capture and
// replay, poisoning. Nothing here may depend on a backend; kernels are launched, not relied upon to compute.
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/opencl_device.h"
#include "backends/test_names.h"
#include "base/trace.h"
#include "device/allocator.h"
#include "device/faults.h"
#include "device/registry.h"
#include "device/services.h"

namespace invar {
namespace {

void do_nothing(const NativeLaunch&) {}

// Kernels "first" and "second" that do nothing, in the form that the device takes.
Module contract_module(const Device& device) {
    if (device.kernel_language() == "cuda")
        return {
            "contract",
            SourceText{"cuda",
                       "extern \"C\" __global__ void first() {}\nextern \"C\" __global__ void second() {}\n",
                       {}}};
    if (device.kernel_language() == "opencl")
        return {"contract", SourceText{"opencl", "kernel void first() {}\nkernel void second() {}\n", {}}};
    if (device.kernel_language() == "metal")
        return {
            "contract",
            SourceText{
                "metal", "#include <metal_stdlib>\nkernel void first() {}\nkernel void second() {}\n", {}}};
    return {"contract", NativeEntries{{{"first", &do_nothing}, {"second", &do_nothing}}}};
}

class StreamContract : public ::testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        set_faults("");
        device = find_device(GetParam());
        stream = device->make_stream();
        module = device->compile(contract_module(*device));
        first = &module->kernel("first");
        second = &module->kernel("second");
    }
    void TearDown() override { set_faults(""); }

    std::vector<std::uint8_t> read(Stream& s, BufferRef ref) {
        std::vector<std::uint8_t> bytes(ref.size, 0xee);
        s.download(bytes.data(), ref, bytes.size());
        s.synchronize();
        return bytes;
    }

    std::shared_ptr<Device> device;
    std::unique_ptr<Stream> stream;
    std::shared_ptr<LoadedModule> module;
    Kernel* first = nullptr;
    Kernel* second = nullptr;
};

std::vector<std::uint8_t> counting(std::size_t n) {
    std::vector<std::uint8_t> bytes(n);
    std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
    return bytes;
}

TEST_P(StreamContract, BytesGoThereAndBack) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{3} << 20}) {
        const Allocation a = device->allocator().allocate(size), b = device->allocator().allocate(size);
        const auto bytes = counting(size);
        stream->upload(a.ref(), bytes.data(), size);
        stream->copy(b.ref(), a.ref());
        EXPECT_EQ(read(*stream, b.ref()), bytes) << size;
    }
}

TEST_P(StreamContract, OffsetsAreRespected) {
    const Allocation a = device->allocator().allocate(64, true);
    const auto bytes = counting(8);
    stream->upload(a.ref(5), bytes.data(), 8);
    stream->fill({&a.buffer(), 30, 4}, 0xab);
    stream->copy({&a.buffer(), 40, 3}, {&a.buffer(), 6, 8});  // the shorter size counts
    std::vector<std::uint8_t> expected(64, 0);
    std::copy(bytes.begin(), bytes.end(), expected.begin() + 5);
    std::fill_n(expected.begin() + 30, 4, 0xab);
    std::copy_n(bytes.begin() + 1, 3, expected.begin() + 40);
    EXPECT_EQ(read(*stream, a.ref()), expected);
}

TEST_P(StreamContract, ZeroedIsZero) {
    device->allocator().allocate(5000).reset();
    const Allocation a = device->allocator().allocate(5000);
    stream->fill(a.ref(), 0x55);
    stream->synchronize();
    Allocation b = device->allocator().allocate(5000, true);
    EXPECT_EQ(read(*stream, b.ref()), std::vector<std::uint8_t>(5000, 0));
}

TEST_P(StreamContract, WrongArgumentsThrowAtTheCallAndLeaveTheStreamWell) {
    const Allocation a = device->allocator().allocate(100);
    Buffer& buffer = a.buffer();
    const std::size_t size = buffer.size();
    std::vector<std::uint8_t> host(size + 1);
    const BufferRef bad[] = {{&buffer, 0, size + 1},        {&buffer, size + 1, 0},        {&buffer, 8, size},
                             {&buffer, ~std::size_t{0}, 2}, {&buffer, 2, ~std::size_t{0}}, {nullptr, 0, 1}};
    for (const BufferRef& ref : bad) {
        EXPECT_THROW(stream->launch(*first, {}, {{ref}}, {}), InvalidArgument);
        EXPECT_THROW(stream->copy(ref, a.ref()), InvalidArgument);
        EXPECT_THROW(stream->copy(a.ref(), ref), InvalidArgument);
        EXPECT_THROW(stream->fill(ref, 1), InvalidArgument);
        EXPECT_THROW(stream->upload(ref, host.data(), 1), InvalidArgument);
        EXPECT_THROW(stream->download(host.data(), ref, 1), InvalidArgument);
    }
    EXPECT_THROW(stream->upload(a.ref(), host.data(), 101), InvalidArgument);
    EXPECT_THROW(stream->download(host.data(), a.ref(90), 11), InvalidArgument);
    EXPECT_THROW(stream->copy({&buffer, 0, 10}, {&buffer, 9, 10}), InvalidArgument) << "overlap";
    const std::vector<std::byte> params(kMaxParamsBytes + 1);
    EXPECT_THROW(stream->launch(*first, {}, {}, params), InvalidArgument);
    EXPECT_THROW(module->kernel("third"), InvalidArgument);
    EXPECT_FALSE(stream->poisoned());
    stream->launch(*first, {}, {{a.ref()}}, std::span(params).first(kMaxParamsBytes));
    stream->synchronize();
}

TEST_P(StreamContract, KernelsOfAnotherDeviceAreRefused) {
    class Foreign final : public Kernel {
    public:
        Foreign() : Kernel("foreign") {}
    } foreign;
    EXPECT_THROW(stream->launch(foreign, {}, {}, {}), InvalidArgument);
}

TEST_P(StreamContract, CompileErrorsAreTyped) {
    set_faults("compile@contract");
    Module other = contract_module(*device);
    EXPECT_THROW(device->compile(other), CompileFailed);
    other.name = "other";
    EXPECT_NO_THROW(device->compile(other));
}

TEST_P(StreamContract, AFailedLaunchSurfacesAtTheNextWaitAndStays) {
    set_faults("launch@second");
    stream->launch(*first, {}, {}, {});
    ASSERT_NO_THROW(stream->launch(*second, {}, {}, {})) << "a launch must not throw its own failure";
    EXPECT_THROW(stream->synchronize(), LaunchFailed);
    EXPECT_TRUE(stream->poisoned());
    set_faults("");
    const Allocation a = device->allocator().allocate(16);
    std::uint8_t byte = 0;
    EXPECT_THROW(stream->synchronize(), LaunchFailed);
    EXPECT_THROW(stream->launch(*first, {}, {}, {}), LaunchFailed);
    EXPECT_THROW(stream->copy(a.ref(8), {&a.buffer(), 0, 8}), LaunchFailed);
    EXPECT_THROW(stream->fill(a.ref(), 0), LaunchFailed);
    EXPECT_THROW(stream->upload(a.ref(), &byte, 1), LaunchFailed);
    EXPECT_THROW(stream->download(&byte, a.ref(), 1), LaunchFailed);
    EXPECT_THROW(stream->begin_capture(), LaunchFailed);
    const auto event = stream->record();
    EXPECT_TRUE(event->done());
    EXPECT_THROW(event->wait(), LaunchFailed);

    const auto other = device->make_stream();  // other streams go on
    other->launch(*second, {}, {}, {});
    other->synchronize();
    EXPECT_THROW(
        {
            other->wait(*event);  // unless they wait for work that failed
            other->synchronize();
        },
        LaunchFailed);
    EXPECT_TRUE(other->poisoned());
}

TEST_P(StreamContract, TheSameErrorComesAgain) {
    set_faults("lost@1");
    stream->launch(*first, {}, {}, {});
    std::string message;
    for (int i = 0; i < 2; ++i) {
        try {
            stream->synchronize();
            FAIL() << "the device was lost";
        } catch (const DeviceLost& e) {
            EXPECT_EQ(e.kind(), ErrorKind::kDeviceLost);
            EXPECT_NE(std::string(e.what()).find("first"), std::string::npos) << e.what();
            if (i == 1) {
                EXPECT_EQ(message, e.what());
            }
            message = e.what();
        }
    }
}

TEST_P(StreamContract, EventsBeforeAFailureAreGood) {
    set_faults("launch@second");
    stream->launch(*first, {}, {}, {});
    const auto before = stream->record();
    stream->launch(*second, {}, {}, {});
    const auto after = stream->record();
    EXPECT_NO_THROW(before->wait());
    EXPECT_TRUE(before->done());
    EXPECT_THROW(after->wait(), LaunchFailed);
    EXPECT_NO_THROW(before->wait());
}

TEST_P(StreamContract, EventsOrderStreams) {
    const Allocation a = device->allocator().allocate(4096, true);
    const auto bytes = counting(4096);
    stream->upload(a.ref(), bytes.data(), bytes.size());
    const auto event = stream->record();
    const auto other = device->make_stream();
    other->wait(*event);
    EXPECT_EQ(read(*other, a.ref()), bytes);
    EXPECT_TRUE(event->done());
}

TEST_P(StreamContract, EventsOutliveTheirStream) {
    std::unique_ptr<Event> event;
    {
        const auto other = device->make_stream();
        other->launch(*first, {}, {}, {});
        event = other->record();
    }
    EXPECT_NO_THROW(event->wait());
    EXPECT_TRUE(event->done());
}

TEST_P(StreamContract, TimedEventsTellWhatLiesBetween) {
    const std::string file =
        ::testing::TempDir() + "invar-timed-events-" + std::to_string(getpid()) + ".json";
    trace_begin(file);  // some devices keep times only then
    const auto timed = device->make_stream();
    timed->launch(*first, {}, {}, {});
    const auto plain = timed->record();
    const auto begin = timed->record_timed();
    timed->launch(*first, {}, {}, {});
    timed->launch(*second, {}, {}, {});
    const auto end = timed->record_timed();
    timed->synchronize();
    trace_end();
    std::filesystem::remove(file);
    if (!begin) {
        EXPECT_EQ(end, nullptr);
        EXPECT_EQ(device->name().substr(0, 4), "null");  // every other device has a clock
        return;
    }
    const std::optional<double> seconds = end->seconds_since(*begin);
    ASSERT_TRUE(seconds.has_value());
    EXPECT_GE(*seconds, 0);
    EXPECT_LT(*seconds, 60);
    EXPECT_EQ(begin->seconds_since(*begin), 0.0);
    EXPECT_NO_THROW(end->wait());
    EXPECT_NO_THROW(timed->wait(*begin));
    if (device->kernel_language() == "cuda" || device->kernel_language() == "metal") {
        EXPECT_EQ(plain->seconds_since(*begin), std::nullopt);
    }
}

TEST_P(StreamContract, CaptureAndReplay) {
    if (!device->supports(Feature::capture)) {
        EXPECT_THROW(stream->begin_capture(), Unsupported);
        return;
    }
    const Allocation a = device->allocator().allocate(256, true), b = device->allocator().allocate(256, true);
    std::vector<std::uint8_t> host = counting(256), back(256, 0);
    stream->begin_capture();
    EXPECT_THROW(stream->begin_capture(), InvalidArgument);
    EXPECT_THROW(stream->synchronize(), InvalidArgument);
    EXPECT_THROW(stream->record(), InvalidArgument);
    stream->upload({&a.buffer(), 0, 128}, host.data(), 128);
    stream->fill({&a.buffer(), 128, 128}, 9);
    stream->launch(*first, {}, {{a.ref(), b.ref()}}, {});
    stream->copy(b.ref(), a.ref());
    stream->download(back.data(), b.ref(), 256);
    const auto graph = stream->end_capture();
    EXPECT_THROW(stream->end_capture(), InvalidArgument);
    EXPECT_EQ(read(*stream, a.ref()), std::vector<std::uint8_t>(256, 0)) << "capture must run nothing";
    EXPECT_EQ(back, std::vector<std::uint8_t>(256, 0));
    std::vector<std::uint8_t> expected(256, 9);
    for (int round = 0; round < 3; ++round) {
        for (auto& h : host) h = static_cast<std::uint8_t>(h * 3 + round);
        std::copy_n(host.begin(), 128, expected.begin());
        stream->replay(*graph);
        stream->synchronize();
        EXPECT_EQ(back, expected) << round;
    }
    set_faults("launch@first");
    ASSERT_NO_THROW(stream->replay(*graph));
    EXPECT_THROW(stream->synchronize(), LaunchFailed);
    EXPECT_THROW(stream->replay(*graph), LaunchFailed);
}

// Two lanes from the start, a third behind both, and lane 0 behind that; the graph ends behind them all.
TEST_P(StreamContract, LanesOfACapture) {
    if (!device->supports(Feature::capture)) {
        EXPECT_THROW(stream->capture_lane(1, {}), Unsupported);
        return;
    }
    EXPECT_THROW(stream->capture_lane(1, {}), InvalidArgument);
    constexpr std::size_t kBytes = 1 << 20;
    const auto make = [&] { return device->allocator().allocate(kBytes, true); };
    const Allocation source = make(), a = make(), b = make(), both = make(), result = make(), last = make();
    const auto half = [&](const Allocation& of, int which) {
        return BufferRef{&of.buffer(), of.offset() + (which ? kBytes / 2 : 0), kBytes / 2};
    };
    const std::vector<int> zero = {0}, zero_one = {0, 1}, two = {2}, none;
    stream->begin_capture();
    for (const int wrong : {-1, kMaxLanes}) {
        EXPECT_THROW(stream->capture_lane(wrong, none), InvalidArgument);
        EXPECT_THROW(stream->capture_lane(1, {{wrong}}), InvalidArgument);
    }
    stream->copy(a.ref(), source.ref());  // lane 0
    stream->capture_lane(1, none);
    stream->copy(b.ref(), source.ref());
    stream->capture_lane(2, zero_one);
    stream->copy(half(both, 0), half(a, 0));
    stream->copy(half(both, 1), half(b, 1));
    stream->capture_lane(0, two);
    stream->copy(result.ref(), both.ref());
    stream->capture_lane(3, zero);
    stream->copy(last.ref(), result.ref());
    const auto graph = stream->end_capture();
    for (int round = 1; round < 4; ++round) {
        stream->fill(source.ref(), static_cast<std::uint8_t>(round));
        stream->replay(*graph);
        stream->fill(source.ref(), 0);
        stream->synchronize();
        const std::vector<std::uint8_t> want(kBytes, static_cast<std::uint8_t>(round));
        EXPECT_EQ(read(*stream, result.ref()), want);
        EXPECT_EQ(read(*stream, last.ref()), want) << "the graph ends behind every lane";
    }
    // What is thrown while lanes are open leaves a capture that ends.
    stream->begin_capture();
    stream->capture_lane(1, none);
    stream->copy(a.ref(), source.ref());
    EXPECT_THROW(stream->capture_lane(kMaxLanes, none), InvalidArgument);
    EXPECT_NO_THROW((void)stream->end_capture());
    // The stream goes on as before, and captures anew.
    stream->begin_capture();
    stream->capture_lane(7, none);
    stream->copy(a.ref(), last.ref());
    const auto second = stream->end_capture();
    stream->replay(*second);
    stream->synchronize();
    EXPECT_EQ(read(*stream, a.ref()), std::vector<std::uint8_t>(kBytes, 3));
}

TEST_P(StreamContract, GraphsOfAnotherDeviceAreRefused) {
    class Foreign final : public CapturedGraph {
    } foreign;
    EXPECT_THROW(stream->replay(foreign), InvalidArgument);
}

TEST_P(StreamContract, PropertiesAreFilled) {
    const DeviceProperties p = device->properties();
    EXPECT_EQ(p.name, device->name());
    EXPECT_FALSE(p.description.empty());
    EXPECT_GT(p.memory_total, 0u);
    EXPECT_GE(p.warp_width, 1);
    EXPECT_GE(p.max_block_threads, 1);
    EXPECT_FALSE(device->kernel_language().empty());
}

TEST_P(StreamContract, HostPointersWhereTheyArePromised) {
    const auto buffer = device->allocate_raw(1000);
    EXPECT_EQ(buffer->host() != nullptr, device->supports(Feature::host_visible));
    EXPECT_EQ(buffer->size(), 1000u);
    EXPECT_NE(device->allocate_raw(0), nullptr);
    auto bytes = std::make_shared<std::vector<std::byte>>(100, std::byte{7});
    const auto wrapped = device->wrap_host_memory(bytes->data(), 100, bytes);
    ASSERT_EQ(wrapped != nullptr, device->supports(Feature::wrap_host));
    if (wrapped) {
        std::weak_ptr<std::vector<std::byte>> alive = bytes;
        bytes.reset();
        EXPECT_FALSE(alive.expired()) << "the buffer must keep the memory alive";
        EXPECT_EQ(read(*stream, wrapped->ref()), std::vector<std::uint8_t>(100, 7));
    }
}

std::vector<std::string> device_names() {
    test::use_temporary_pocl_cache();
    std::vector<std::string> names;
    for (const BackendInfo& backend : list_backends())
        for (const DeviceProperties& device : backend.devices) names.push_back(device.name);
    return names;
}

INSTANTIATE_TEST_SUITE_P(Devices, StreamContract, ::testing::ValuesIn(device_names()),
                         [](const auto& info) { return test::test_name(info.param); });

}  // namespace
}  // namespace invar
