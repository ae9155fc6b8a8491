// SPDX-License-Identifier: Apache-2.0
// Host costs of the cuda module beside the driver's own calls, copies to the device beside the pinned rate of the link, and
// what kernels cost to compile and to load again. Run it with an empty INVAR_CACHE_DIR.
//   bench_cuda
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <invar/device.h>
#include <invar/error.h>
#include <invar/model.h>
#include <invar/program.h>

#include "backends/cuda/driver.h"
#include "device/allocator.h"
#include "device/device.h"
#include "kernels/source.h"
#include "program/pointwise.h"

namespace {

using namespace invar;
using Clock = std::chrono::steady_clock;

double seconds(const std::function<void()>& f) {
    const auto begin = Clock::now();
    f();
    return std::chrono::duration<double>(Clock::now() - begin).count();
}
double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}
double median_of(int times, const std::function<double()>& f) {
    std::vector<double> all;
    for (int i = 0; i < times; ++i) all.push_back(f());
    return median(all);
}
void check(cuda::CUresult result, const char* what) {
    if (result != 0) throw LaunchFailed(std::string(what) + ": driver error " + std::to_string(result));
}

constexpr double kLongCompilation = 0.4;  // seconds; slower ones are named

constexpr const char* kSource =
    "extern \"C\" __global__ void nothing(const float*, const float*, float*, const long long) {}\n";

// Microseconds of host time a launch, the stream being waited for between batches that its queue holds.
void launches(Device& device, const cuda::Driver& driver, cuda::CUstream raw) {
    constexpr int kBatch = 200, kBatches = 100;
    const std::string driver_line = device.properties().driver;
    const std::string architecture = driver_line.substr(driver_line.rfind("sm_"));
    const cuda::Compiled compiled = cuda::compile_source("nothing", kSource, architecture, {});
    cuda::CUmodule module = nullptr;
    cuda::CUfunction function = nullptr;
    check(driver.module_load(&module, compiled.cubin.data()), "loading a module");
    check(driver.module_functions(&function, 1, module), "its kernel");
    cuda::CUdeviceptr memory = 0;
    check(driver.memory_allocate(&memory, 4096), "memory");
    cuda::CUlaunchAttribute attribute{};
    attribute.id = cuda::kProgrammaticStreamSerialization;
    attribute.programmatic_stream_serialization = 1;
    const cuda::CUlaunchConfig config{1, 1, 1, 32, 1, 1, 0, raw, &attribute, 1};
    std::int64_t scalar = 1;
    void* arguments[] = {&memory, &memory, &memory, &scalar};

    const auto loaded = device.compile({"nothing", SourceText{"cuda", kSource, {}}});
    Kernel& kernel = loaded->kernel("nothing");
    const auto stream = device.make_stream();
    const Allocation own = device.allocator().allocate(4096);
    const BufferRef buffers[] = {own.ref(), own.ref(), own.ref()};
    const LaunchConfig ours{{1}, {32}, 0, true};
    const std::span<const std::byte> params = std::as_bytes(std::span(&scalar, 1));

    // The same by a program: launched on a stream, and called by name over tensors, which makes the tensor that it writes.
    const std::string text =
        ".program one\n.param a: f32*\n.param b: f32*\nLDG.f32 x, [a + gid]\nADD.f32 x, x, 1\nSTG.f32 [b + "
        "gid], "
        "x\n";
    const auto programs = device.compile({"one", ProgramText{text}});
    Kernel& program = programs->kernel("one");
    const std::int64_t dims[] = {1};
    std::array<std::byte, kMaxPointwiseParamsBytes> index_space;
    const std::span<const std::byte> indices =
        std::span(index_space).first(write_pointwise_params(index_space, dims, {}, {}));
    const KernelModule called = KernelModule::from_text(text, device.name());
    const float value = 1;
    const ProgramCall call{.inputs = {{"a", Tensor::from_bytes(std::as_bytes(std::span(&value, 1)),
                                                               DType::f32, Shape{1}, called.device())}},
                           .outputs = {{"b", Like{"a"}}}};
    const std::vector<ProgramCall> calls(kBatch, call);

    std::vector<double> of_driver, of_kernel, of_program, of_call, of_batch;
    const auto measure = [&](std::vector<double>& times, const auto& launch_all, const auto& wait) {
        times.push_back(seconds(launch_all) / kBatch * 1e6);
        wait();
    };
    const auto wait_for_stream = [&] { stream->synchronize(); };
    for (int b = 0; b < kBatches; ++b) {
        measure(
            of_driver,
            [&] {
                for (int i = 0; i < kBatch; ++i) driver.launch(&config, function, arguments, nullptr);
            },
            [&] { driver.stream_synchronize(raw); });
        measure(
            of_kernel,
            [&] {
                for (int i = 0; i < kBatch; ++i) stream->launch(kernel, ours, buffers, params);
            },
            wait_for_stream);
        measure(
            of_program,
            [&] {
                for (int i = 0; i < kBatch; ++i)
                    stream->launch(program, {}, std::span(buffers).first(2), indices);
            },
            wait_for_stream);
        measure(
            of_call,
            [&] {
                for (int i = 0; i < kBatch; ++i) (void)called.run(call);
            },
            [&] { called.synchronize(); });
        measure(
            of_batch, [&] { (void)called.run_batch(calls); }, [&] { called.synchronize(); });
    }
    const double theirs = median(of_driver);
    std::printf("launch of a loaded kernel, host time: cuLaunchKernelEx %.2f us\n", theirs);
    const std::pair<const char*, double> ways[] = {
        {"Stream::launch of a kernel", median(of_kernel)},
        {"Stream::launch of a program", median(of_program)},
        {"KernelModule::run of it, with its tensor", median(of_call)},
        {"the same, one of a batch of 200", median(of_batch)},
    };
    for (const auto& [name, us] : ways) std::printf("  %-42s %.2f us, %.2f us more\n", name, us, us - theirs);
    driver.memory_free(memory);
    driver.module_unload(module);
}

void allocations(Device& device) {
    constexpr int kTimes = 100000;
    for (int warm = 0; warm < 2; ++warm) {
        const double s = seconds([&] {
            for (int i = 0; i < kTimes; ++i) (void)device.allocator().allocate(1 << 20);
        });
        if (warm) std::printf("allocation from the cache and its release: %.0f ns\n", s / kTimes * 1e9);
    }
}

void copies(Device& device, const cuda::Driver& driver, cuda::CUstream raw) {
    constexpr std::size_t kPinned = std::size_t{1} << 30, kOrdinary = std::size_t{4} << 30;
    const Allocation memory = device.allocator().allocate(kOrdinary);
    cuda::CUdeviceptr own = 0;
    check(driver.memory_allocate(&own, kPinned), "memory");
    void* pinned = nullptr;
    check(driver.host_allocate(&pinned, kPinned, 0), "pinned memory");
    std::memset(pinned, 1, kPinned);
    const double link = kPinned / median_of(5, [&] {
                            return seconds([&] {
                                driver.copy_to_device(own, pinned, kPinned, raw);
                                driver.stream_synchronize(raw);
                            });
                        });
    const double back = kPinned / median_of(5, [&] {
                            return seconds([&] {
                                driver.copy_to_host(pinned, own, kPinned, raw);
                                driver.stream_synchronize(raw);
                            });
                        });
    driver.host_free(pinned);
    driver.memory_free(own);
    std::vector<std::byte> ordinary(kOrdinary, std::byte{3});
    const auto stream = device.make_stream();
    const double up = kOrdinary / median_of(5, [&] {
                          return seconds([&] {
                              stream->upload(memory.ref(), ordinary.data(), kOrdinary);
                              stream->synchronize();
                          });
                      });
    const double down = kOrdinary / median_of(5, [&] {
                            return seconds([&] {
                                stream->download(ordinary.data(), memory.ref(), kOrdinary);
                                stream->synchronize();
                            });
                        });
    std::printf("1 GiB pinned to the device: %.1f GB/s; back: %.1f GB/s\n", link / 1e9, back / 1e9);
    std::printf(
        "4 GiB of ordinary memory to the device: %.1f GB/s, %.0f%% of pinned; back: %.1f GB/s, %.0f%%\n",
        up / 1e9, 100 * up / link, down / 1e9, 100 * down / back);
}

// c = a + b over 1M f16, as many sets of buffers as no cache holds, in one captured graph: what the device needs for each.
// peer_torch.py does the same with PyTorch.
void small_add(Device& device) {
    constexpr std::size_t kElements = 1 << 20, kSets = 64;
    const auto loaded =
        device.compile({"small add", ProgramText{".program small_add\n.param a: f16*\n.param b: f16*\n"
                                                 ".param c: f16*\nLDG.f16 x, [a + gid]\n"
                                                 "LDG.f16 y, [b + gid]\nADD.f32 x, x, y\n"
                                                 "STG.f16 [c + gid], x\n"}});
    Kernel& kernel = loaded->kernel("small_add");
    const auto stream = device.make_stream();
    std::vector<Allocation> memory;
    for (std::size_t i = 0; i < 3 * kSets; ++i) {
        memory.push_back(device.allocator().allocate(2 * kElements));
        stream->fill(memory.back().ref(), 0);
    }
    std::byte room[kMaxPointwiseParamsBytes];
    const std::int64_t count[] = {kElements};
    const std::span<const std::byte> params(room, write_pointwise_params(room, count, {}, {}));
    const auto launch_all = [&] {
        for (std::size_t i = 0; i < kSets; ++i) {
            const BufferRef buffers[] = {memory[3 * i].ref(), memory[3 * i + 1].ref(),
                                         memory[3 * i + 2].ref()};
            stream->launch(kernel, {}, buffers, params);
        }
    };
    launch_all();
    stream->synchronize();
    stream->begin_capture();
    launch_all();
    const auto graph = stream->end_capture();
    constexpr int kReplays = 20;
    const double each = median_of(20,
                                  [&] {
                                      return seconds([&] {
                                          for (int i = 0; i < kReplays; ++i) stream->replay(*graph);
                                          stream->synchronize();
                                      });
                                  }) /
                        kReplays / kSets;
    std::printf("add of 1M f16, cold, in a graph of %zu: %.2f us, %.0f GB/s\n", kSets, each * 1e6,
                6.0 * kElements / each / 1e9);
}

// Every kernel source that sessions of these shapes ask for, compiled and then loaded from the disk cache.
void compilation() {
    const auto one = Model::random("llama-8b", {.device = "null:cuda", .dtype = DType::bf16});
    const Session a(one, {.capacity = 640}), b(one, {.sequences = 32, .capacity = 640});
    const auto two = Model::random("gpt2", {.device = "null:cuda", .dtype = DType::f16});
    const Session c(two);
    const auto device = find_device("cuda");
    std::vector<double> cold, warm;
    for (const Module* module : kernels::source_modules("cuda")) {
        cold.push_back(seconds([&] { (void)device->compile(*module); }));
        warm.push_back(median_of(5, [&] { return seconds([&] { (void)device->compile(*module); }); }));
        if (cold.back() > kLongCompilation)
            std::printf("  %s: %.0f ms to compile\n", module->name.c_str(), cold.back() * 1e3);
    }
    std::printf(
        "%zu kernel modules: compilation median %.0f ms, slowest %.0f ms; from the disk cache median %.2f "
        "ms, slowest "
        "%.2f ms\n",
        cold.size(), median(cold) * 1e3, *std::max_element(cold.begin(), cold.end()) * 1e3,
        median(warm) * 1e3, *std::max_element(warm.begin(), warm.end()) * 1e3);
}

int run() {
    const auto device = find_device("cuda");
    const DeviceProperties p = device->properties();
    std::printf("%s, %s\n", p.description.c_str(), p.driver.c_str());
    device->make_stream()->synchronize();  // the context
    std::string why;
    const std::unique_ptr<cuda::Driver> driver = cuda::open_driver(why);
    if (!driver) throw NoDevice(why);
    cuda::CUdevice number = 0;
    cuda::CUcontext context = nullptr;
    cuda::CUstream raw = nullptr;
    check(driver->device_get(&number, 0), "the device");
    check(driver->context_retain(&context, number), "its context");
    check(driver->context_set(context), "its context");
    check(driver->stream_create(&raw, 1), "a stream");
    launches(*device, *driver, raw);
    allocations(*device);
    copies(*device, *driver, raw);
    small_add(*device);
    driver->stream_destroy(raw);
    driver->context_release(number);
    compilation();
    return 0;
}

}  // namespace

int main() {
    try {
        return run();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench_cuda: %s\n", e.what());
        return 1;
    }
}
