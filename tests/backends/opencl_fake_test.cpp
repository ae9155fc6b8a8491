// SPDX-License-Identifier: Apache-2.0
// What the opencl backend makes of devices and failures that no driver at hand has: devices that cannot be used or lack
// precision, commands that fail while they run. The driver is a fake (fake_opencl.cpp).
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/fake_opencl.h"
#include "base/env.h"
#include "device/registry.h"

namespace invar::test {
namespace {

template <class F>
std::string message(ErrorKind kind, const F& work) {
    try {
        work();
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), kind) << e.what();
        return e.what();
    }
    return "nothing was thrown";
}

class OpenclFake : public ::testing::Test {
protected:
    void SetUp() override {
        void* driver = dlopen(INVAR_FAKE_OPENCL, RTLD_NOW | RTLD_LOCAL);
        ASSERT_NE(driver, nullptr) << dlerror();
        using Control = FakeOpencl* (*)();
        control = reinterpret_cast<Control>(dlsym(driver, kFakeOpenclControl))();
        *control = {};
    }

    // A second backend object of the module: it asks the driver that the environment names.
    std::unique_ptr<Backend> backend(const char* driver = INVAR_FAKE_OPENCL) {
        ::setenv("INVAR_OPENCL_DRIVER", driver, 1);
        std::unique_ptr<Backend> made = load_backend_module("opencl", INVAR_OPENCL_MODULE);
        made->unavailable_reason();  // discovers
        ::unsetenv("INVAR_OPENCL_DRIVER");
        return made;
    }

    // The card, with a stream and kernels.
    void start() {
        device = backend()->devices().at(0);
        stream = device->make_stream();
        module = device->compile(
            {"m", SourceText{"opencl", "kernel void first() {}\nkernel void second() {}", {}}});
    }
    void launch(Stream& on, const char* kernel, int status = 0) {
        control->next_command = status;
        on.launch(module->kernel(kernel), {}, {}, {});
    }

    FakeOpencl* control = nullptr;
    std::shared_ptr<Device> device;
    std::unique_ptr<Stream> stream;
    std::shared_ptr<LoadedModule> module;
};

TEST_F(OpenclFake, NoLoaderOrAnotherLibraryIsAReason) {
    const std::string none = backend("/nonexistent/libOpenCL.so.1")->unavailable_reason();
    EXPECT_NE(none.find("no OpenCL loader: /nonexistent/libOpenCL.so.1"), std::string::npos) << none;
    EXPECT_NE(none.find("install"), std::string::npos) << none;
    const auto other = backend(INVAR_OPENCL_MODULE);
    EXPECT_NE(other->unavailable_reason().find("has no clGetPlatformIDs"), std::string::npos)
        << other->unavailable_reason();
    EXPECT_TRUE(other->devices().empty());
}

TEST_F(OpenclFake, CardsComeBeforeProcessorsAndUnfitDevicesAreLeftOut) {
    const auto devices = backend()->devices();
    ASSERT_EQ(devices.size(), 2u);
    EXPECT_EQ(devices[0]->name(), "opencl");
    EXPECT_EQ(devices[1]->name(), "opencl:1");
    const DeviceProperties card = devices[0]->properties(), processor = devices[1]->properties();
    EXPECT_EQ(card.description, "card");
    EXPECT_EQ(card.warp_width, 64);
    EXPECT_EQ(card.max_block_threads, 64);
    EXPECT_EQ(processor.description, "processor");
    EXPECT_EQ(processor.warp_width, 1);
    EXPECT_FALSE(devices[0]->supports(Feature::f64));
    EXPECT_TRUE(devices[1]->supports(Feature::f64));
}

TEST_F(OpenclFake, EachUnfitDeviceIsNamedWithItsReason) {
    control->only_unfit = true;
    const auto made = backend();
    const std::string why = made->unavailable_reason();
    EXPECT_TRUE(made->devices().empty());
    for (const char* word : {"'old' of platform 'Fake' cannot be used: it speaks 'OpenCL 1.1 fake'",
                             "'small' of platform 'Fake' cannot be used: it has only the embedded profile",
                             "'flushing' of platform 'Fake' cannot be used: its f32 arithmetic lacks"})
        EXPECT_NE(why.find(word), std::string::npos) << why;
}

TEST_F(OpenclFake, WhatADeviceCannotComputeExactlyIsRefusedByName) {
    start();
    const auto compile = [&](const std::string& body) {
        device->compile({"m", ProgramText{".program p\n.param a: f32*\nLDG.f32 x, [a + gid]\n" + body +
                                          "STG.f32 [a + gid], x\n"}});
    };
    const std::string f64 =
        message(ErrorKind::kUnsupported, [&] { compile("CVT.f64 y, x\nCVT.f32 x, y\n"); });
    EXPECT_NE(f64.find("program 'p' uses f64, and 'card' has no double precision"), std::string::npos) << f64;
    for (const char* name :
         {"DIV.f32 x, x, x\n", "SQRT.f32 x, x\n", "RSQRT.f32 x, x\n", "SIGMOID.f32 x, x\n"}) {
        const std::string what = message(ErrorKind::kUnsupported, [&] { compile(name); });
        EXPECT_NE(what.find("does not round divisions"), std::string::npos) << what;
    }
    EXPECT_NO_THROW(compile("EXP.f32 x, x\n"));
    const auto refusal = [&](const std::string& text) {
        return message(ErrorKind::kUnsupported, [&] { device->compile({"m", ProgramText{text}}); });
    };
    const std::string wide = refusal(".program p\n.param a: u64*\nATOM.add.u64 x, [a + 0], 1");
    EXPECT_NE(wide.find("has atomics of 64 bits, and 'card' has none"), std::string::npos) << wide;
    const std::string large = refusal(
        ".program p\n.param a: f32*\n.shared s: f32[7000]\nLDG.f32 x, [a + 0]\nRED.add.block.f32 x, x");
    EXPECT_NE(large.find("takes more of a block's memory than 'card' has (32768 bytes)"), std::string::npos)
        << large;
}

TEST_F(OpenclFake, TheCompilerIsAskedForExactArithmeticWhereItHasIt) {
    const auto devices = backend()->devices();
    const auto options = [&](std::size_t which, std::vector<std::string> own) {
        std::memset(control->options, 0, sizeof control->options);
        devices[which]->compile({"m", SourceText{"opencl", "kernel void k() {}", std::move(own)}});
        return std::string(control->options);
    };
    const std::string before = env_string("INVAR_OPENCL_OPTIONS");
    ::unsetenv("INVAR_OPENCL_OPTIONS");
    EXPECT_EQ(options(0, {}), "-cl-std=CL1.2");
    EXPECT_EQ(options(1, {"-DX=1"}), "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt -DX=1");
    ::setenv("INVAR_OPENCL_OPTIONS", "-cl-opt-disable", 1);
    EXPECT_EQ(options(0, {"-DX=1"}), "-cl-std=CL1.2 -DX=1 -cl-opt-disable");
    ::setenv("INVAR_OPENCL_OPTIONS", before.c_str(), 1);
}

TEST_F(OpenclFake, AKernelThatFailsPoisonsItsStreamAtTheNextWait) {
    start();
    control->hold = true;
    launch(*stream, "first");
    const auto before = stream->record();
    ASSERT_NO_THROW(launch(*stream, "second", -5));
    const auto after = stream->record();
    const auto other = device->make_stream();
    other->wait(*after);
    EXPECT_FALSE(before->done());
    EXPECT_NO_THROW(before->wait());
    EXPECT_THROW(after->wait(), LaunchFailed);
    const std::string what = message(ErrorKind::kLaunchFailed, [&] { stream->synchronize(); });
    EXPECT_EQ(what, "opencl: kernel 'second': CL_OUT_OF_RESOURCES (-5)");
    EXPECT_EQ(message(ErrorKind::kLaunchFailed, [&] { launch(*stream, "first"); }), what);
    EXPECT_EQ(message(ErrorKind::kLaunchFailed, [&] { other->synchronize(); }), what)
        << "it waited for work that failed";
    EXPECT_TRUE(other->poisoned());
    const auto third = device->make_stream();
    launch(*third, "second");
    EXPECT_NO_THROW(third->synchronize());
    EXPECT_NO_THROW(before->wait());
}

TEST_F(OpenclFake, EveryResultHasItsType) {
    start();
    control->next_launch = -54;
    message(ErrorKind::kInvalidArgument, [&] { launch(*stream, "first"); });
    EXPECT_FALSE(stream->poisoned()) << "a wrong block is the caller's fault";
    control->next_launch = -5;
    const auto first = device->make_stream();
    ASSERT_NO_THROW(launch(*first, "first"));
    message(ErrorKind::kLaunchFailed, [&] { first->synchronize(); });
    const auto buffer = device->allocate_raw(64);
    stream->fill(buffer->ref(), 1);
    control->next_command = -4;
    stream->fill(buffer->ref(), 1);
    EXPECT_EQ(message(ErrorKind::kOutOfMemory, [&] { stream->synchronize(); })
                  .find("opencl: a fill of 64 bytes: CL_MEM_OBJECT_ALLOCATION_FAILURE (-4)"),
              0u);
    const auto second = device->make_stream();
    control->finish = -36;
    message(ErrorKind::kDeviceLost, [&] { second->synchronize(); });
    control->finish = 0;
    message(ErrorKind::kDeviceLost, [&] { second->fill(buffer->ref(), 1); });
    control->next_buffer = -4;
    try {
        device->allocate_raw(1000);
        FAIL();
    } catch (const OutOfMemory& e) {
        EXPECT_EQ(e.requested(), 1000u);
    }
    EXPECT_NO_THROW(device->allocate_raw(1000));
    try {
        device->allocate_raw((1u << 28) + 1);
        FAIL();
    } catch (const OutOfMemory& e) {
        EXPECT_EQ(e.available(), 1u << 28) << "the largest buffer";
    }
}

TEST_F(OpenclFake, EverythingIsGivenBack) {
    {
        start();
        control->hold = true;
        const auto buffer = device->allocate_raw(64);
        for (int i = 0; i < 100; ++i) {
            launch(*stream, "first");
            stream->fill(buffer->ref(), 1);
            if (i % 10 == 0) stream->record()->wait();
        }
        EXPECT_GT(control->objects, 0);
        stream.reset();
        module.reset();
    }
    device.reset();
    EXPECT_EQ(control->objects, 0);
}

}  // namespace
}  // namespace invar::test
