// SPDX-License-Identifier: Apache-2.0
// Whole programs, of several kernels and of one, and their memory on every device that runs programs, with each of their steps
// made to fail in turn: the error has its type, nothing is kept, and the same work done again gives the right answer.
#include <algorithm>
#include <functional>
#include <numeric>

#include <gtest/gtest.h>

#include "backends/opencl_device.h"
#include "backends/test_names.h"
#include "device/allocator.h"
#include "device/faults.h"
#include "program/examples.h"
#include "program/grid_helper.h"
#include "support/metal_device.h"

namespace invar::test {
namespace {

using Numbers = std::vector<float>;

struct Step {
    std::string kernel;
    std::vector<std::size_t> buffers;
    LaunchConfig config;
    std::vector<std::byte> params;
};

// A module and its launches. What the buffers hold at first; the last of them holds the result, without rounding.
struct Work {
    std::string module, text;
    std::vector<Numbers> buffers;
    std::vector<Step> steps;
    Numbers want;
};

// The sum of 1 * 2 + 2 * 2 + ... + 1000 * 2 in two grid programs.
Work dot() {
    constexpr std::uint32_t kBlocks = 3;
    constexpr std::size_t kCount = 1000;
    Work w{"dot", read_file(example_folder() / "dot.prog"), {}, {}, {1001000}};
    w.buffers = {Numbers(kCount), Numbers(kCount, 2), Numbers(kBlocks), Numbers(1)};
    std::iota(w.buffers[0].begin(), w.buffers[0].end(), 1.0f);
    w.steps = {{"partials", {0, 1, 2}, {{kBlocks}, {256}}, grid_params(kCount, {kCount})},
               {"total", {2, 3}, {{1}, {256}}, grid_params(kBlocks, {kBlocks})}};
    return w;
}

// Each square's share of their sum: pointwise and grid programs by turns.
Work shares() {
    constexpr std::size_t kCount = 300;
    Work w{"shares",
           ".program squares\n.param x: f32*\n.param y: f32*\nLDG.f32 v, [x + gid]\nMUL.f32 v, v, v\n"
           "STG.f32 [y + gid], v\n"
           ".program sum\n.param y: f32*\n.param out: f32*\n.param n: u32\n.block 256\nMOV.u32 i, thread.x\n"
           "MOV.f32 s, 0\nLOOP\nSET.ge.u32 done, i, n\n@done BREAK\nLDG.f32 v, [y + i]\nADD.f32 s, s, v\n"
           "ADD.u32 i, i, 256\nENDLOOP\nRED.add.block.f32 s, s\nMOV.u32 lane0, thread.x\n"
           "SET.eq.u32 first, lane0, 0\n@first STG.f32 [out + 0], s\n"
           ".program divide\n.param y: f32*\n.param sum: f32*\n.param out: f32*\nLDG.f32 v, [y + gid]\n"
           "LDG.f32 s, [sum + 0]\nDIV.f32 v, v, s\nSTG.f32 [out + gid], v\n",
           {Numbers(kCount), Numbers(kCount), Numbers(1), Numbers(kCount)},
           {},
           Numbers(kCount)};
    float sum = 0;
    for (std::size_t i = 0; i < kCount; ++i) {
        const auto x = static_cast<float>(i % 7);
        w.buffers[0][i] = x;
        sum += x * x;
    }
    for (std::size_t i = 0; i < kCount; ++i) w.want[i] = w.buffers[0][i] * w.buffers[0][i] / sum;
    const std::vector<std::byte> indices = Launcher({kCount}).params;
    w.steps = {{"squares", {0, 1}, {}, indices},
               {"sum", {1, 2}, {{1}, {256}}, grid_params(kCount, {kCount})},
               {"divide", {1, 2, 3}, {}, indices}};
    return w;
}

// One pointwise program that loads where its data says.
Work lookup() {
    constexpr std::size_t kCount = 100;
    const Numbers table = {3, -1, 4, 1, 5};
    Work w{"lookup", read_file(example_folder() / "lookup.prog"), {table, {}, {}}, {}, {}};
    for (std::size_t i = 0; i < kCount; ++i) {
        const float x = static_cast<float>(i % 16) / 4;  // below the last of the table
        const auto below = static_cast<std::size_t>(x);
        w.buffers[1].push_back(x);
        w.want.push_back(table[below] + (x - static_cast<float>(below)) * (table[below + 1] - table[below]));
    }
    w.buffers[2].resize(kCount);
    w.steps = {{"lookup", {0, 1, 2}, {}, Launcher({kCount}, {}, {4}).params}};
    return w;
}

std::vector<Work> all_work() { return {dot(), shares(), lookup()}; }

class ProgramFaults : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        set_faults("");
        std::string why;
        device_ = GetParam() == "metal" ? first_metal_device(why) : find_device(GetParam());
        if (!device_ && metal_required()) FAIL() << why;
        if (!device_) GTEST_SKIP() << why;
    }
    void TearDown() override { set_faults(""); }

    // Everything made anew; the result.
    Numbers run(const Work& w) {
        const auto stream = device_->make_stream();
        std::vector<Allocation> memory;
        for (const Numbers& b : w.buffers)
            memory.push_back(device_->allocator().allocate(b.size() * sizeof(float)));
        const auto module = device_->compile({w.module, ProgramText{w.text}});
        Numbers result(w.want.size());
        // Whatever happens, the work ends before its memory does.
        try {
            for (std::size_t b = 0; b < memory.size(); ++b)
                stream->upload(memory[b].ref(), w.buffers[b].data(), w.buffers[b].size() * sizeof(float));
            for (const Step& step : w.steps) {
                std::vector<BufferRef> buffers;
                for (const std::size_t b : step.buffers) buffers.push_back(memory[b].ref());
                stream->launch(module->kernel(step.kernel), step.config, buffers, step.params);
            }
            stream->download(result.data(), memory.back().ref(), result.size() * sizeof(float));
        } catch (const Error&) {
            EXPECT_TRUE(stream->poisoned());  // it says it again
        }
        stream->synchronize();
        return result;
    }

    // Makes the n-th visit of a site fail, n = 1, 2, ..., until the work is done without; how many failed.
    template <class Expected>
    int sweep(const Work& w, const std::function<std::string(int)>& faults) {
        for (int n = 1; n < 100; ++n) {
            device_->allocator().trim();  // so that requests reach the driver, where the fault is
            const std::uint64_t held = device_->allocator().statistics().bytes_in_use;
            set_faults(faults(n));
            bool failed = false;
            try {
                EXPECT_EQ(run(w), w.want) << faults(n);
            } catch (const Expected&) {
                failed = true;
            } catch (const Error& e) {
                ADD_FAILURE() << faults(n) << ": another error: " << e.what();
            }
            set_faults("");
            EXPECT_EQ(device_->allocator().statistics().bytes_in_use, held) << faults(n);
            if (!failed) return n - 1;
            EXPECT_EQ(run(w), w.want) << "after " << faults(n);
        }
        return -1;
    }
    static std::function<std::string(int)> nth(const std::string& site) {
        return [site](int n) { return site + "@" + std::to_string(n); };
    }
    template <class Expected>
    void fails_by_name(const Work& w, const std::string& site, const std::string& name) {
        set_faults(site + "@" + name);
        try {
            run(w);
            ADD_FAILURE() << site << "@" << name;
        } catch (const Expected& e) {
            EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
        }
    }

    std::shared_ptr<Device> device_;
};

TEST_P(ProgramFaults, EveryStepFailsInTurn) {
    for (const Work& w : all_work()) {
        SCOPED_TRACE(w.module);
        const int launches = static_cast<int>(w.steps.size()), buffers = static_cast<int>(w.buffers.size());
        EXPECT_EQ(sweep<CompileFailed>(w, nth("compile")), 1);
        EXPECT_EQ(sweep<LaunchFailed>(w, nth("launch")), launches);
        EXPECT_EQ(sweep<DeviceLost>(w, nth("lost")), launches);
        // Each buffer is asked for a second time when the driver has refused it.
        EXPECT_EQ(sweep<OutOfMemory>(
                      w, [](int n) { return "oom@" + std::to_string(n) + ",oom@" + std::to_string(n + 1); }),
                  buffers);
        for (int n = 1; n <= buffers; ++n) {
            device_->allocator().trim();
            set_faults("oom@" + std::to_string(n));
            EXPECT_EQ(run(w), w.want) << "refused once, buffer " << n;
        }
        set_faults("");
    }
}

TEST_P(ProgramFaults, FailuresByName) {
    for (const Work& w : all_work()) {
        SCOPED_TRACE(w.module);
        for (const Step& step : w.steps) {
            fails_by_name<LaunchFailed>(w, "launch", step.kernel);
            fails_by_name<DeviceLost>(w, "lost", step.kernel);
        }
        fails_by_name<CompileFailed>(w, "compile", w.module);
        set_faults("");
        EXPECT_EQ(run(w), w.want);
    }
}

std::vector<std::string> devices_of_programs() {
    use_temporary_pocl_cache();
    std::vector<std::string> names;
    for (const BackendInfo& backend : list_backends())
        for (const DeviceProperties& properties : backend.devices)
            if (backend.name != "null" && find_device(properties.name)->supports(Feature::programs))
                names.push_back(properties.name);
    // The software Metal device is no module of the registry.
    if (std::ranges::find(names, "metal") == names.end()) names.push_back("metal");
    return names;
}

INSTANTIATE_TEST_SUITE_P(Devices, ProgramFaults, testing::ValuesIn(devices_of_programs()),
                         [](const auto& info) { return test_name(info.param); });

}  // namespace
}  // namespace invar::test
