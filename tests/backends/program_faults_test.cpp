// SPDX-License-Identifier: Apache-2.0
// A whole program, two kernels and their memory, on every device that runs programs, with each of its steps made to fail in
// turn: the error has its type, nothing is kept, and the same work done again gives the right answer.
#include <functional>
#include <numeric>

#include <gtest/gtest.h>

#include "backends/opencl_device.h"
#include "backends/test_names.h"
#include "device/allocator.h"
#include "device/faults.h"
#include "program/examples.h"
#include "program/grid_helper.h"

namespace invar::test {
namespace {

class ProgramFaults : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        set_faults("");
        device_ = find_device(GetParam());
        text_ = read_file(example_folder() / "dot.prog");
    }
    void TearDown() override { set_faults(""); }

    // The sum of 1 * 2 + 2 * 2 + ... + 1000 * 2, with everything made anew.
    float dot() {
        constexpr std::uint32_t kBlocks = 3;
        constexpr std::int64_t kCount = 1000;
        std::vector<float> a(kCount), b(kCount, 2.0f);
        std::iota(a.begin(), a.end(), 1.0f);
        const auto stream = device_->make_stream();
        const std::size_t bytes = kCount * sizeof(float);
        const Allocation a_there = device_->allocator().allocate(bytes),
                         b_there = device_->allocator().allocate(bytes),
                         partial = device_->allocator().allocate(kBlocks * sizeof(float)),
                         out = device_->allocator().allocate(sizeof(float));
        const auto module = device_->compile({"dot", ProgramText{text_}});
        float result = 0;
        // Whatever happens, the work ends before its memory does.
        try {
            stream->upload(a_there.ref(), a.data(), bytes);
            stream->upload(b_there.ref(), b.data(), bytes);
            const BufferRef first[] = {a_there.ref(), b_there.ref(), partial.ref()};
            stream->launch(module->kernel("partials"), {{kBlocks}, {256}}, first,
                           grid_params(kCount, {kCount}));
            const BufferRef second[] = {partial.ref(), out.ref()};
            stream->launch(module->kernel("total"), {{1}, {256}}, second, grid_params(kBlocks, {kBlocks}));
            stream->download(&result, out.ref(), sizeof result);
        } catch (const Error&) {
            EXPECT_TRUE(stream->poisoned());  // it says it again
        }
        stream->synchronize();
        return result;
    }

    // Makes the n-th visit of a site fail, n = 1, 2, ..., until the work is done without; how many failed.
    template <class Expected>
    int sweep(const std::function<std::string(int)>& faults) {
        for (int n = 1; n < 100; ++n) {
            device_->allocator().trim();  // so that requests reach the driver, where the fault is
            const std::uint64_t held = device_->allocator().statistics().bytes_in_use;
            set_faults(faults(n));
            bool failed = false;
            try {
                EXPECT_EQ(dot(), 1001000.0f) << faults(n);
            } catch (const Expected&) {
                failed = true;
            } catch (const Error& e) {
                ADD_FAILURE() << faults(n) << ": another error: " << e.what();
            }
            set_faults("");
            EXPECT_EQ(device_->allocator().statistics().bytes_in_use, held) << faults(n);
            if (!failed) return n - 1;
            EXPECT_EQ(dot(), 1001000.0f) << "after " << faults(n);
        }
        return -1;
    }
    static std::function<std::string(int)> nth(const std::string& site) {
        return [site](int n) { return site + "@" + std::to_string(n); };
    }

    std::shared_ptr<Device> device_;
    std::string text_;
};

TEST_P(ProgramFaults, EveryStepFailsInTurn) {
    EXPECT_EQ(sweep<CompileFailed>(nth("compile")), 1);
    EXPECT_EQ(sweep<LaunchFailed>(nth("launch")), 2);
    EXPECT_EQ(sweep<DeviceLost>(nth("lost")), 2);
    // Four buffers, each asked for a second time when the driver has refused it.
    EXPECT_EQ(sweep<OutOfMemory>(
                  [](int n) { return "oom@" + std::to_string(n) + ",oom@" + std::to_string(n + 1); }),
              4);
    for (int n = 1; n <= 4; ++n) {
        device_->allocator().trim();
        set_faults("oom@" + std::to_string(n));
        EXPECT_EQ(dot(), 1001000.0f) << "refused once, buffer " << n;
    }
}

TEST_P(ProgramFaults, FailuresByName) {
    for (const char* kernel : {"partials", "total"}) {
        set_faults(std::string("launch@") + kernel);
        try {
            dot();
            ADD_FAILURE() << kernel;
        } catch (const LaunchFailed& e) {
            EXPECT_NE(std::string(e.what()).find(kernel), std::string::npos) << e.what();
        }
    }
    set_faults("compile@dot");
    try {
        dot();
        ADD_FAILURE();
    } catch (const CompileFailed& e) {
        EXPECT_NE(std::string(e.what()).find("dot"), std::string::npos) << e.what();
    }
    set_faults("");
    EXPECT_EQ(dot(), 1001000.0f);
}

std::vector<std::string> devices_of_programs() {
    use_temporary_pocl_cache();
    std::vector<std::string> names;
    for (const BackendInfo& backend : list_backends())
        for (const DeviceProperties& properties : backend.devices)
            if (backend.name != "null" && find_device(properties.name)->supports(Feature::programs))
                names.push_back(properties.name);
    return names;
}

INSTANTIATE_TEST_SUITE_P(Devices, ProgramFaults, testing::ValuesIn(devices_of_programs()),
                         [](const auto& info) { return test_name(info.param); });

}  // namespace
}  // namespace invar::test
