// SPDX-License-Identifier: Apache-2.0
// Operators and fused regions through the whole path of a tensor program (graph, schedule, replay), beside what the device can do:
// GB/s of useful bytes and their share of the copy or read ceiling of the same run, TFLOP/s and the share of the fastest plain
// product of the same shape. Inputs rotate over memory far larger than any cache. Then what the host pays for an operator.
//   bench_graph [DEVICE] [--small]          (JSON on standard output; peer_torch.py has the same names)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <invar/compile.h>
#include <invar/device.h>
#include <invar/error.h>
#include <invar/model.h>
#include <invar/ops.h>
#include <invar/recovery.h>

#include "device/bandwidth.h"
#include "device/device.h"

namespace {

using namespace invar;
using Clock = std::chrono::steady_clock;
using Inputs = std::span<const Tensor>;
using Function = std::function<Tensor(Inputs)>;

constexpr std::size_t kCold = std::size_t{512} << 20;  // bytes that the inputs of a case rotate over

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

// Seconds of one run, some 5 ms of runs between waits.
double seconds(const std::function<void()>& run, const std::function<void()>& wait, int times = 20) {
    const auto together = [&](int count) {
        const auto begin = Clock::now();
        for (int i = 0; i < count; ++i) run();
        wait();
        return since(begin) / count;
    };
    together(1);
    const int count = static_cast<int>(std::clamp(0.005 / together(3), 1.0, 1000.0));
    std::vector<double> all;
    for (int i = 0; i < times; ++i) all.push_back(together(count));
    return median(all);
}

class Bench {
public:
    Bench(std::shared_ptr<Device> device, bool small) : device_(std::move(device)), small_(small) {
        const DeviceProperties p = measured_properties(*device_, true);
        copy_ = p.copy_bandwidth;
        read_ = p.read_bandwidth;
        out_["device"] = p.description;
        out_["copy_gbps"] = copy_ / 1e9;
        out_["read_gbps"] = read_ / 1e9;
        rows();
        columns();
        pointwise();
        products();
        host();
    }
    void print() const { std::printf("%s\n", out_.dump(1).c_str()); }

private:
    Tensor sample(const Shape& shape, DType dtype = DType::f16) {
        return random_uniform(shape, -1, 1, ++seed_, 0, dtype, device_).eval();
    }
    std::int64_t scaled(std::int64_t n) const { return small_ ? std::max<std::int64_t>(n / 64, 8) : n; }

    // Seconds of one computation: a function of as many as it takes to go past the caches, compiled, replayed and divided.
    double time(const Function& f, const std::vector<Shape>& shapes) {
        std::size_t bytes = 0;
        for (const Shape& s : shapes) bytes += static_cast<std::size_t>(s.elements().value()) * 2;
        const std::size_t sets =
            std::clamp<std::size_t>((small_ ? kCold / 64 : kCold) / std::max<std::size_t>(bytes, 1), 1, 64);
        std::vector<Tensor> inputs, outputs;
        std::vector<InputSpec> specs;
        for (std::size_t i = 0; i < sets; ++i)
            for (const Shape& s : shapes) {
                specs.push_back({DType::f16, s});
                inputs.push_back(sample(s));
            }
        const auto of_set = [&](Inputs all, std::size_t i) {
            return f(all.subspan(i * shapes.size(), shapes.size()));
        };
        const CompiledFunction compiled = compile(
            [&](Inputs in) {
                std::vector<Tensor> results;
                for (std::size_t i = 0; i < sets; ++i) results.push_back(of_set(in, i));
                return results;
            },
            specs, device_);
        const Tensor like = of_set(inputs, 0).eval();
        for (std::size_t i = 0; i < sets; ++i)
            outputs.push_back(Tensor::empty(like.dtype(), like.shape(), device_));
        return seconds([&] { compiled.run(inputs, outputs); }, [&] { compiled.synchronize(); }) /
               static_cast<double>(sets);
    }

    void moved(const std::string& name, double each, double bytes, double ceiling) {
        out_["rows"][name] = {
            {"us", each * 1e6}, {"gbps", bytes / each / 1e9}, {"share", bytes / each / ceiling}};
        std::fprintf(stderr, "%-48s %9.2f us %8.0f GB/s %5.1f%%\n", name.c_str(), each * 1e6,
                     bytes / each / 1e9, 100 * bytes / each / ceiling);
    }

    void rows() {
        for (const auto& [full_rows, n] :
             {std::pair<std::int64_t, std::int64_t>{4096, 4096}, {65536, 1024}}) {
            const std::int64_t m = scaled(full_rows);
            const double bytes = 2.0 * static_cast<double>(m * n);
            const std::string shape = " " + std::to_string(m) + "x" + std::to_string(n) + " f16";
            moved("softmax" + shape, time([](Inputs in) { return softmax(in[0]); }, {{m, n}}), 2 * bytes,
                  copy_);
            moved("layer norm" + shape,
                  time([](Inputs in) { return layer_norm(in[0], in[1], in[2], 1e-5); }, {{m, n}, {n}, {n}}),
                  2 * bytes, copy_);
            moved("RMS norm" + shape,
                  time([](Inputs in) { return rms_norm(in[0], in[1], 1e-5); }, {{m, n}, {n}}), 2 * bytes,
                  copy_);
            moved("sum of rows" + shape, time([](Inputs in) { return sum(in[0], 1); }, {{m, n}}), bytes,
                  read_);
        }
    }

    void columns() {
        for (const auto& [full_rows, n] :
             {std::pair<std::int64_t, std::int64_t>{4096, 4096}, {65536, 1024}}) {
            const std::int64_t m = scaled(full_rows);
            moved("sum of columns " + std::to_string(m) + "x" + std::to_string(n) + " f16",
                  time([](Inputs in) { return sum(in[0], 0); }, {{m, n}}), 2.0 * static_cast<double>(m * n),
                  read_);
        }
    }

    void pointwise() {
        const std::int64_t n = scaled(std::int64_t{1} << 28);
        const double bytes = 2.0 * static_cast<double>(n);
        const std::string shape = " " + std::to_string(n >> 20) + "M f16";
        moved("relu(a + b)" + shape, time([](Inputs in) { return relu(in[0] + in[1]); }, {{n}, {n}}),
              3 * bytes, copy_);
        moved("affine" + shape, time([](Inputs in) { return affine(in[0], 1.5, -0.5); }, {{n}}), 2 * bytes,
              copy_);
        moved("chain" + shape,
              time(
                  [](Inputs in) {
                      const Tensor root = sqrt(in[0]);
                      return sigmoid(exp(-abs(in[0] * in[1])) + tanh(in[0])) * gelu(in[1]) +
                             clamp(where(is_nan(root), in[0] * 0.0, root), -65504.0, 65504.0);
                  },
                  {{n}, {n}}),
              3 * bytes, copy_);
    }

    void products() {
        const auto flops = [](std::int64_t m, std::int64_t n, std::int64_t k) {
            return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
        };
        const auto record = [&](const std::string& name, double each, double work, double plain) {
            out_["rows"][name] = {
                {"us", each * 1e6}, {"tflops", work / each / 1e12}, {"of_plain", plain / each}};
            std::fprintf(stderr, "%-48s %9.2f us %8.1f TFLOP/s %5.1f%% of plain\n", name.c_str(), each * 1e6,
                         work / each / 1e12, 100 * plain / each);
        };
        const Function plain = [](Inputs in) { return linear(in[0], in[1]); };
        for (const std::int64_t full : {256, 512, 1024, 2048, 4096, 8192}) {
            const std::int64_t n = scaled(full);
            const std::string shape = " " + std::to_string(n) + " f16";
            const double each = time(plain, {{n, n}, {n, n}});
            record("matmul" + shape, each, flops(n, n, n), each);
            if (full < 1024) continue;
            record("matmul + bias + gelu" + shape,
                   time([](Inputs in) { return gelu(linear(in[0], in[1], in[2])); }, {{n, n}, {n, n}, {n}}),
                   flops(n, n, n), each);
            record(
                "matmul + bias + gelu tanh" + shape,
                time([](Inputs in) { return gelu_tanh(linear(in[0], in[1], in[2])); }, {{n, n}, {n, n}, {n}}),
                flops(n, n, n), each);
            record("matmul + bias + relu" + shape,
                   time([](Inputs in) { return relu(linear(in[0], in[1], in[2])); }, {{n, n}, {n, n}, {n}}),
                   flops(n, n, n), each);
        }
        const std::int64_t n = scaled(4096);
        for (const std::int64_t m : {1, 2, 4, 8, 16, 32, 64}) {
            const double each = time(plain, {{m, n}, {n, n}});
            moved("matmul " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(n) + " f16",
                  each, 2.0 * static_cast<double>(n * n + 2 * m * n), copy_);
        }
    }

    // Repeated code as people write it: operators on small tensors, evaluated where a value is asked for.
    void host() {
        constexpr int kOperators = 64;
        const Tensor x = sample({64, 64}, DType::f32), w = sample({64, 64}, DType::f32);
        const auto record = [&](const std::string& name, double each) {
            out_["rows"][name] = {{"us", each * 1e6}};
            std::fprintf(stderr, "%-48s %9.3f us\n", name.c_str(), each * 1e6);
        };
        const auto eager = [&](const std::string& name, const std::function<Tensor(const Tensor&)>& step,
                               int operators = 1) {
            Tensor y;
            record(name, seconds(
                             [&] {
                                 y = x;
                                 for (int i = 0; i < kOperators; ++i) y = step(y);
                                 y.eval();
                             },
                             [&] { y.to_bytes(); }) /
                             (kOperators * operators));
        };
        eager("host, an operator of 64, fused", [&](const Tensor& y) { return y + w; });
        eager("host, transpose and add of 64, two operators", [&](const Tensor& y) { return y.transpose() + w; });
        eager(
            "host, an operator of 128, softmax and add", [&](const Tensor& y) { return softmax(y) + w; }, 2);
        const CompiledFunction thousand = compile(
            [&](Inputs in) {
                Tensor y = in[0];
                for (int i = 0; i < 1000; ++i) y = y.transpose() + in[1];
                return std::vector<Tensor>{y};
            },
            std::vector<InputSpec>{{DType::f32, {64, 64}}, {DType::f32, {64, 64}}}, device_);
        const Tensor in[] = {x, w}, result = Tensor::empty(DType::f32, {64, 64}, device_);
        record("a step of 1000 dependent ones, replayed", seconds(
                                                              [&] {
                                                                  thousand.run(in, {&result, 1});
                                                              },
                                                              [&] { thousand.synchronize(); }) /
                                                              thousand.steps());
        // Eight chains of products that fill a small part of the device each.
        const std::vector<InputSpec> chains(9, InputSpec{DType::f16, {256, 256}});
        std::vector<Tensor> many, ends;
        for (std::size_t i = 0; i < chains.size(); ++i) many.push_back(sample({256, 256}));
        const CompiledFunction branched = compile(
            [&](Inputs i) {
                std::vector<Tensor> all;
                for (std::size_t branch = 0; branch < 8; ++branch) {
                    Tensor y = i[branch];
                    for (int j = 0; j < 8; ++j) y = relu(linear(y, i[8]));
                    all.push_back(y);
                }
                return all;
            },
            chains, device_);
        for (std::size_t i = 0; i < 8; ++i) ends.push_back(Tensor::empty(DType::f16, {256, 256}, device_));
        record("8 chains of 8 products of 256 f16, a product",
               seconds([&] { branched.run(many, ends); }, [&] { branched.synchronize(); }) / 64);
        const CompiledFunction merged = compile(
            [&](Inputs i) {
                Tensor y = i[0];
                for (int j = 0; j < 20; ++j) y = y * 0.5 + i[1];
                return std::vector<Tensor>{y};
            },
            std::vector<InputSpec>{{DType::f32, {64, 64}}, {DType::f32, {64, 64}}}, device_);
        out_["steps of a chain of 40 small operators"] = merged.steps();
    }

    std::shared_ptr<Device> device_;
    const bool small_;
    double copy_ = 0, read_ = 0;
    std::uint64_t seed_ = 0;
    nlohmann::ordered_json out_;
};

}  // namespace

int main(int argc, char** argv) {
    invar::set_recovery(invar::Recovery::off);  // a device is judged by what it does itself
    std::string name;
    bool small = false;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--small") == 0)
            small = true;
        else
            name = argv[i];
    }
    try {
        Bench(find_device(name), small).print();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench_graph: %s\n", e.what());
        return 1;
    }
    return 0;
}
