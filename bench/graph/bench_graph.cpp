// SPDX-License-Identifier: Apache-2.0
// Operators and fused regions through the whole path of a tensor program (graph, schedule, replay), beside what the device can do:
// GB/s of useful bytes and their share of the copy or read ceiling of the same run, TFLOP/s and the share of the fastest plain
// product of the same shape. Inputs rotate over memory far larger than any cache. Then what the host pays for an operator.
// Beside each product stands what else could compute it: the library's algorithms, and the ways of an activation behind it.
//   bench_graph [DEVICE] [--small] [--products] [--tune]      (JSON on standard output; peer_torch.py has the same names)
//     --products: these alone     --tune: what is found fastest for them is kept, and measured (tensor/product_tuning.h)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <invar/compile.h>
#include <invar/device.h>
#include <invar/error.h>
#include <invar/model.h>
#include <invar/ops.h>
#include <invar/recovery.h>

#include "base/switches.h"
#include "device/bandwidth.h"
#include "device/device.h"
#include "kernels/matmul/family.h"
#include "tensor/product_tuning.h"

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
    Bench(std::shared_ptr<Device> device, bool small, bool products_alone, bool tune)
        : device_(std::move(device)), small_(small), tune_(tune) {
        const DeviceProperties p = measured_properties(*device_, true);
        copy_ = p.copy_bandwidth;
        read_ = p.read_bandwidth;
        out_["device"] = p.description;
        out_["copy_gbps"] = copy_ / 1e9;
        out_["read_gbps"] = read_ / 1e9;
        // One computation behind the other, as each would run by itself.
        const unsigned left_out_before = parts_left_out();
        set_left_out(left_out_before | static_cast<unsigned>(Part::streams));
        if (!products_alone) {
            rows();
            joined();
            columns();
            pointwise();
        }
        products();
        set_left_out(left_out_before);
        if (!products_alone) host();
    }
    void print() const { std::printf("%s\n", out_.dump(1).c_str()); }

private:
    Tensor sample(const Shape& shape, DType dtype = DType::f16) {
        return random_uniform(shape, -1, 1, ++seed_, 0, dtype, device_).eval();
    }
    std::int64_t scaled(std::int64_t n) const { return small_ ? std::max<std::int64_t>(n / 64, 8) : n; }

    // A function of as many computations as it takes to go past the caches, compiled, with its memory.
    struct Case {
        CompiledFunction compiled;
        std::vector<Tensor> inputs, outputs;

        // Seconds of one computation, some 5 ms of them between waits.
        double burst(int count) const {
            const auto begin = Clock::now();
            for (int i = 0; i < count; ++i) compiled.run(inputs, outputs);
            compiled.synchronize();
            return since(begin) / count / static_cast<double>(outputs.size());
        }
        int burst_size() const {
            burst(1);
            return static_cast<int>(
                std::clamp(0.005 / (burst(3) * static_cast<double>(outputs.size())), 1.0, 1000.0));
        }
    };
    Case make(const Function& f, const std::vector<Shape>& shapes) {
        std::size_t bytes = 0;
        for (const Shape& s : shapes) bytes += static_cast<std::size_t>(s.elements().value()) * 2;
        const std::size_t sets =
            std::clamp<std::size_t>((small_ ? kCold / 64 : kCold) / std::max<std::size_t>(bytes, 1), 1, 64);
        Case made;
        std::vector<InputSpec> specs;
        for (std::size_t i = 0; i < sets; ++i)
            for (const Shape& s : shapes) {
                specs.push_back({DType::f16, s});
                made.inputs.push_back(sample(s));
            }
        const auto of_set = [&](Inputs all, std::size_t i) {
            return f(all.subspan(i * shapes.size(), shapes.size()));
        };
        made.compiled = compile(
            [&](Inputs in) {
                std::vector<Tensor> results;
                for (std::size_t i = 0; i < sets; ++i) results.push_back(of_set(in, i));
                return results;
            },
            specs, device_);
        const Tensor like = of_set(made.inputs, 0).eval();
        for (std::size_t i = 0; i < sets; ++i)
            made.outputs.push_back(Tensor::empty(like.dtype(), like.shape(), device_));
        return made;
    }
    static double time(const Case& c) {
        const int count = c.burst_size();
        std::vector<double> all;
        for (int i = 0; i < 20; ++i) all.push_back(c.burst(count));
        return median(all);
    }
    double time(const Function& f, const std::vector<Shape>& shapes) { return time(make(f, shapes)); }
    // Of two, in turn: a card's clock falls while it works hard, so that what comes first seems faster.
    static std::pair<double, double> in_turn(const Case& a, const Case& b) {
        const int count_a = a.burst_size(), count_b = b.burst_size();
        std::vector<double> of_a, of_b;
        for (int i = 0; i < 20; ++i) {
            of_a.push_back(a.burst(count_a));
            of_b.push_back(b.burst(count_b));
        }
        return {median(of_a), median(of_b)};
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

    // Pointwise work in front of and behind rows, in their kernels (INVAR_WITHOUT=fusion: as steps of their own).
    void joined() {
        const std::int64_t m = scaled(65536), n = 1024;
        const double bytes = 2.0 * static_cast<double>(m * n);
        const std::string shape = " " + std::to_string(m) + "x" + std::to_string(n) + " f16";
        moved("softmax(x / 8 + mask)" + shape,
              time([](Inputs in) { return softmax(in[0] * 0.125 + in[1]); }, {{m, n}, {n}}), 2 * bytes,
              copy_);
        moved(
            "silu(RMS norm(x)) * y" + shape,
            time([](Inputs in) { return silu(rms_norm(in[0], in[2], 1e-5)) * in[1]; }, {{m, n}, {m, n}, {n}}),
            3 * bytes, copy_);
        moved("RMS norm(x + y)" + shape,
              time([](Inputs in) { return rms_norm(in[0] + in[1], in[2], 1e-5); }, {{m, n}, {m, n}, {n}}),
              3 * bytes, copy_);
        moved("sum of rows of (x - y)^2" + shape,
              time([](Inputs in) { return sum(square(in[0] - in[1]), 1); }, {{m, n}, {m, n}}), 2 * bytes,
              read_);
        moved("sum of columns of (x - y)^2" + shape,
              time([](Inputs in) { return sum(square(in[0] - in[1]), 0); }, {{m, n}, {m, n}}), 2 * bytes,
              read_);
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

    std::optional<GemmSearch> searched(const ProductShape& shape) {
        return tune_product(device_, shape, tune_).product;
    }

    // The library's algorithms for the same product, timed in the same run; the seconds of the best, or of what ran.
    double beside_library(const std::string& name, double each, const std::optional<GemmSearch>& search) {
        if (!search) return each;
        out_["rows"][name]["library"] = {
            {"first_us", search->first * 1e6},      {"best_us", search->best * 1e6},
            {"of_best", search->best / each},       {"tried", search->tried},
            {"unrepeatable", search->unrepeatable}, {"first_algorithm", search->first_algorithm},
            {"algorithm", search->best_algorithm}};
        std::fprintf(stderr,
                     "    library: first advice %.2f us, best of %d %.2f us; %5.1f%% of the best (%s)\n",
                     search->first * 1e6, search->tried, search->best * 1e6, 100 * search->best / each,
                     search->best_algorithm.c_str());
        return search->best;
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
        const auto with = [](kernels::Gate activation) -> Function {
            return [activation](Inputs in) {
                const Tensor y = linear(in[0], in[1], in[2]);
                return activation == kernels::Gate::gelu        ? gelu(y)
                       : activation == kernels::Gate::gelu_tanh ? gelu_tanh(y)
                                                                : relu(y);
            };
        };
        for (const std::int64_t full : {256, 512, 1024, 2048, 4096, 8192}) {
            const std::int64_t n = scaled(full);
            const std::string shape = " " + std::to_string(n) + " f16";
            const std::optional<GemmSearch> search = searched({DType::f16, n, n, n});
            const Case plain_case = make(plain, {{n, n}, {n, n}});
            const double each = time(plain_case);
            record("matmul" + shape, each, flops(n, n, n), each);
            const double best = beside_library("matmul" + shape, each, search);
            if (full < 1024) continue;
            for (const auto& [name, activation] : {std::pair{"gelu", kernels::Gate::gelu},
                                                   {"gelu tanh", kernels::Gate::gelu_tanh},
                                                   {"relu", kernels::Gate::relu}}) {
                const std::string title = std::string("matmul + bias + ") + name + shape;
                const TunedProduct found =
                    tune_product(device_, {DType::f16, n, n, n, true, false, false, activation}, tune_);
                const auto [beside, own] = in_turn(plain_case, make(with(activation), {{n, n}, {n, n}, {n}}));
                record(title, own, flops(n, n, n), beside);
                nlohmann::ordered_json& row = out_["rows"][title];
                if (found.epilogue)
                    row["library"] = {{"first_us", found.epilogue->first * 1e6},
                                      {"best_us", found.epilogue->best * 1e6},
                                      {"of_best_plain", best / found.epilogue->best},
                                      {"algorithm", found.epilogue->best_algorithm}};
                for (std::size_t w = 0; w < found.ways.size(); ++w) {
                    const auto& [way, seconds] = found.ways[w];
                    row["ways"][way] = {{"us", seconds * 1e6},
                                        {"of_plain", each / seconds},
                                        {"of_best_plain", best / seconds}};
                    std::fprintf(stderr, "    %-60s %9.2f us %5.1f%% of plain, %5.1f%% of its best%s\n",
                                 way.c_str(), seconds * 1e6, 100 * each / seconds, 100 * best / seconds,
                                 w == found.best ? " *" : "");
                }
            }
        }
        const std::int64_t n = scaled(4096);
        for (const std::int64_t m : {1, 2, 4, 8, 16, 32, 64}) {
            const std::string name =
                "matmul " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(n) + " f16";
            const std::optional<GemmSearch> search = searched({DType::f16, m, n, n});
            const double each = time(plain, {{m, n}, {n, n}});
            moved(name, each, 2.0 * static_cast<double>(n * n + 2 * m * n), copy_);
            kernels::MatmulSpec spec;
            spec.x = spec.w = spec.y = DType::f16;
            spec.m = m;
            spec.n = spec.k = spec.x_row = spec.w_row = spec.y_row = n;
            const std::string kernel = kernels::plan_matmul(*device_, spec).entry;
            out_["rows"][name]["kernel"] = kernel;
            std::fprintf(stderr, "    by the kernel '%s'\n", kernel.c_str());
            beside_library(name, each, search);
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
        eager("host, transpose and add of 64, two operators",
              [&](const Tensor& y) { return y.transpose() + w; });
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
    const bool small_, tune_;
    double copy_ = 0, read_ = 0;
    std::uint64_t seed_ = 0;
    nlohmann::ordered_json out_;
};

}  // namespace

int main(int argc, char** argv) {
    invar::set_recovery(invar::Recovery::off);  // a device is judged by what it does itself
    std::string name;
    bool small = false, products = false, tune = false;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--small") == 0)
            small = true;
        else if (std::strcmp(argv[i], "--products") == 0)
            products = true;
        else if (std::strcmp(argv[i], "--tune") == 0)
            tune = true;
        else
            name = argv[i];
    }
    try {
        Bench(find_device(name), small, products, tune).print();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench_graph: %s\n", e.what());
        return 1;
    }
    return 0;
}
