// SPDX-License-Identifier: Apache-2.0
// Host costs of a launch through the opencl module beside the driver's own calls, as bench_cuda has them for CUDA. The device is the
// first that the module lists.
//   bench_opencl
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <invar/error.h>
#include <invar/program.h>

#include "backends/opencl/driver.h"
#include "device/allocator.h"
#include "device/device.h"
#include "device/registry.h"
#include "program/pointwise.h"

namespace {

using namespace invar;
using Clock = std::chrono::steady_clock;

// Calls between two waits, and how often: the median of a batch counts.
constexpr int kBatch = 200, kBatches = 100;
constexpr const char* kSource =
    "kernel void nothing(global const float* a, ulong ao, global const float* b, ulong bo, global float* c, "
    "ulong co, long n) {}\n";

void check(opencl::cl_int result, const char* what) {
    if (result != opencl::kSuccess) throw LaunchFailed(std::string(what) + ": " + opencl::describe(result));
}

// A kernel of three buffers with their offsets and a number, by the driver alone. Its objects end with the process.
class OwnKernel {
public:
    OwnKernel(const opencl::Driver& driver, opencl::cl_device_id device) : driver_(driver) {
        opencl::cl_int result = opencl::kSuccess;
        const opencl::cl_context context =
            driver_.context_create(nullptr, 1, &device, nullptr, nullptr, &result);
        check(result, "a context");
        queue_ = driver_.queue_create(context, device, 0, &result);
        check(result, "a queue");
        memory_ = driver_.buffer_create(context, opencl::kMemoryReadWrite, 4096, nullptr, &result);
        check(result, "memory");
        const char* text = kSource;
        const opencl::cl_program program = driver_.program_from_source(context, 1, &text, nullptr, &result);
        check(result, "a program");
        check(driver_.program_build(program, 1, &device, "-cl-std=CL1.2", nullptr, nullptr),
              "its compilation");
        check(driver_.kernels_create(program, 1, &kernel_, nullptr), "its kernel");
        arguments();
    }
    void arguments() {
        opencl::cl_uint at = 0;
        const opencl::cl_ulong offset = 0, number = 1;
        for (int b = 0; b < 3; ++b) {
            driver_.kernel_argument(kernel_, at++, sizeof(opencl::cl_mem),
                                    static_cast<const void*>(&memory_));
            driver_.kernel_argument(kernel_, at++, sizeof offset, &offset);
        }
        check(driver_.kernel_argument(kernel_, at, sizeof number, &number), "an argument");
    }
    void enqueue(opencl::cl_event* event) {
        constexpr std::size_t kThreads = 32;
        check(driver_.launch(queue_, kernel_, 1, nullptr, &kThreads, &kThreads, 0, nullptr, event),
              "a launch");
    }
    // What a stream needs of the driver for each launch: other arguments, and an event that says what became of it.
    void launch() {
        arguments();
        opencl::cl_event event = nullptr;
        enqueue(&event);
        driver_.event_release(event);
    }
    void wait() { check(driver_.finish(queue_), "waiting"); }

private:
    const opencl::Driver& driver_;
    opencl::cl_command_queue queue_ = nullptr;
    opencl::cl_mem memory_ = nullptr;
    opencl::cl_kernel kernel_ = nullptr;
};

struct Way {
    const char* name;
    std::function<void()> launch_all, wait;
    std::vector<double> us = {};  // of a launch, one for each batch
    double median() {
        std::sort(us.begin(), us.end());
        return us[us.size() / 2];
    }
};

int run() {
    const opencl::Found found = opencl::find_devices();
    if (found.devices.empty()) throw NoDevice(found.why_none);
    const auto device = find_device("opencl");
    const DeviceProperties p = device->properties();
    std::printf("%s, %s\n", p.description.c_str(), p.driver.c_str());
    OwnKernel own(*found.driver, found.devices[0].device);

    const auto stream = device->make_stream();
    const auto loaded = device->compile({"nothing", SourceText{"opencl", kSource, {}}});
    Kernel& kernel = loaded->kernel("nothing");
    const Allocation memory = device->allocator().allocate(4096);
    const BufferRef buffers[] = {memory.ref(), memory.ref(), memory.ref()};
    const LaunchConfig config{{1}, {32}};
    const std::int64_t number = 1, dims[] = {1};
    const std::span<const std::byte> params = std::as_bytes(std::span(&number, 1));

    const std::string text =
        ".program one\n.param a: f32*\n.param b: f32*\nLDG.f32 x, [a + gid]\n"
        "ADD.f32 x, x, 1\nSTG.f32 [b + gid], x\n";
    const auto programs = device->compile({"one", ProgramText{text}});
    Kernel& program = programs->kernel("one");
    std::array<std::byte, kMaxPointwiseParamsBytes> room;
    const std::span<const std::byte> indices =
        std::span(room).first(write_pointwise_params(room, dims, {}, {}));

    const KernelModule called = KernelModule::from_text(text, device->name());
    const float value = 1;
    const ProgramCall call{.inputs = {{"a", Tensor::from_bytes(std::as_bytes(std::span(&value, 1)),
                                                               DType::f32, Shape{1}, called.device())}},
                           .outputs = {{"b", Like{"a"}}}};
    const std::vector<ProgramCall> calls(kBatch, call);

    const auto many = [](const auto& one) {
        return [one] {
            for (int i = 0; i < kBatch; ++i) one();
        };
    };
    const auto wait_for_own = [&] { own.wait(); };
    const auto wait_for_stream = [&] { stream->synchronize(); };
    const auto wait_for_calls = [&] { called.synchronize(); };
    Way ways[] = {
        {"clEnqueueNDRangeKernel alone", many([&] { own.enqueue(nullptr); }), wait_for_own},
        {"with clSetKernelArg of 7 and an event", many([&] { own.launch(); }), wait_for_own},
        {"Stream::launch of a kernel", many([&] { stream->launch(kernel, config, buffers, params); }),
         wait_for_stream},
        {"Stream::launch of a program",
         many([&] { stream->launch(program, {}, std::span(buffers).first(2), indices); }), wait_for_stream},
        {"KernelModule::run of it, with its tensor", many([&] { (void)called.run(call); }), wait_for_calls},
        {"the same, one of a batch of 200", [&] { (void)called.run_batch(calls); }, wait_for_calls},
    };
    for (int b = 0; b < kBatches; ++b)
        for (Way& way : ways) {
            const auto begin = Clock::now();
            way.launch_all();
            way.us.push_back(std::chrono::duration<double>(Clock::now() - begin).count() / kBatch * 1e6);
            way.wait();
        }
    std::printf("launch of a loaded kernel, host time, median of %d batches of %d\n", kBatches, kBatch);
    for (Way& way : ways) std::printf("  %-42s %.2f us\n", way.name, way.median());
    return 0;
}

}  // namespace

int main() {
    try {
        return run();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench_opencl: %s\n", e.what());
        return 1;
    }
}
