// SPDX-License-Identifier: Apache-2.0
// `invar bench kernels`: the kernel families at the shapes that models have, beside what the device's memory gives; with --tune what
// there is to choose is chosen by measurement first. For Metal's kernels that changes no bit of a result
// (kernels/metal_tuning.h), for the products of CUDA it does (tensor/product_tuning.h).
#include <cstddef>
#include <filesystem>
#include <memory>

#include <nlohmann/json.hpp>

#include <invar/error.h>
#include <invar/ops.h>
#include <invar/recovery.h>

#include "base/log.h"
#include "bench.h"
#include "device/bandwidth.h"
#include "device/device.h"
#include "kernels/metal_tuning.h"
#include "nn/model_products.h"

namespace invar::cli {
namespace {

using kernels::MetalGemmTile;
using kernels::MetalTuning;

struct Figure {
    std::string name;
    double microseconds = 0, deviation = 0;
    double gigabytes = 0, share_of_copy = 0;  // a second; for what memory bounds
    double teraflops = 0,
           share_of_fastest = 0;  // a second; for products of many rows, of the fastest of the run
};

struct Sizes {
    std::int64_t model, hidden, many;  // elements of a model's rows, of its hidden rows, and rows of a prompt
};
constexpr Sizes kFull = {4096, 14336, 512}, kSmallSizes = {64, 128, 40};

class KernelBench {
public:
    KernelBench(std::shared_ptr<Device> device, const Sizes& sizes, Progress& progress)
        : device_(std::move(device)), sizes_(sizes), progress_(progress) {
        copy_ = measured_properties(*device_).copy_bandwidth;
    }

    // y = x w': x (rows, inner), w (outer, inner).
    Samples product(std::int64_t rows, std::int64_t outer, std::int64_t inner, DType dtype) {
        const Tensor both[] = {sample_tensor({rows, inner}, dtype, device_),
                               sample_tensor({outer, inner}, dtype, device_)};
        return time_operator([](std::span<const Tensor> in) { return matmul(in[0], in[1].transpose()); },
                             both);
    }

    std::vector<Figure> run() {
        for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
            const std::string type = " " + std::string(dtype_name(dtype));
            const auto bytes = static_cast<double>(size_of(dtype));
            for (const std::int64_t rows :
                 {std::int64_t{1}, std::int64_t{8}, std::int64_t{32}, sizes_.many}) {
                const std::int64_t n = sizes_.hidden, k = sizes_.model;
                const auto weights = static_cast<double>(n * k);
                Figure& f = add("product " + std::to_string(rows) + "x" + std::to_string(k) + "x" +
                                    std::to_string(n) + type,
                                product(rows, n, k, dtype));
                if (rows <= 8)
                    rate(f, weights * bytes);
                else
                    f.teraflops = 2 * weights * static_cast<double>(rows) / f.microseconds / 1e6;
            }
            const Shape shape{sizes_.model, sizes_.model};
            const double elements = static_cast<double>(sizes_.model) * static_cast<double>(sizes_.model);
            const Tensor x[] = {sample_tensor(shape, dtype, device_),
                                sample_tensor({sizes_.model}, dtype, device_)};
            rate(add("RMS norm of rows" + type,
                     time_operator([](std::span<const Tensor> in) { return rms_norm(in[0], in[1], 1e-5); },
                                   x)),
                 2 * elements * bytes);
            rate(add("softmax of rows" + type,
                     time_operator([](std::span<const Tensor> in) { return softmax(in[0]); }, x)),
                 2 * elements * bytes);
            rate(add("sum of rows" + type,
                     time_operator([](std::span<const Tensor> in) { return sum(in[0], 1); }, x)),
                 elements * bytes);
            rate(add("sum of columns" + type,
                     time_operator([](std::span<const Tensor> in) { return sum(in[0], 0); }, x)),
                 elements * bytes);
            rate(add("cumulative sum of rows" + type,
                     time_operator([](std::span<const Tensor> in) { return cumsum(in[0], 1); }, x)),
                 2 * elements * bytes);
            rate(add("cumulative sum of columns" + type,
                     time_operator([](std::span<const Tensor> in) { return cumsum(in[0], 0); }, x)),
                 2 * elements * bytes);
        }
        double fastest = 0;
        for (const Figure& f : figures_) fastest = std::max(fastest, f.teraflops);
        for (Figure& f : figures_)
            if (fastest > 0) f.share_of_fastest = f.teraflops / fastest;
        return figures_;
    }

    // Tries what fits for one entry after the other, and keeps what is faster by more than measurements differ.
    MetalTuning tune() {
        MetalTuning best = kernels::metal_tuning(*device_);
        struct Slot {
            MetalGemmTile MetalTuning::*tile;
            DType dtype;
            std::int64_t rows;
        };
        const Slot slots[] = {{&MetalTuning::half, DType::f16, sizes_.many},
                              {&MetalTuning::half_few, DType::f16, kernels::kMetalFewRows / 2},
                              {&MetalTuning::single, DType::bf16, sizes_.many},
                              {&MetalTuning::single_few, DType::bf16, kernels::kMetalFewRows / 2}};
        for (const Slot& slot : slots) {
            const int bytes = slot.dtype == DType::f16 ? 2 : 4;
            std::vector<MetalTuning> candidates;
            for (const int m : {32, 64, 128})
                for (const int n : {32, 64, 128})
                    for (const int k : {16, 32, 64})
                        for (const auto& [down, across] : {std::pair{1, 4}, {2, 2}, {2, 4}, {4, 2}}) {
                            MetalTuning candidate = best;
                            candidate.*slot.tile = {m, n, k, down, across};
                            if (slot.rows <= kernels::kMetalFewRows && m > 32) continue;
                            if (kernels::tile_fits(candidate.*slot.tile, bytes))
                                candidates.push_back(candidate);
                        }
            try_all(candidates, best,
                    [&] { return product(slot.rows, sizes_.hidden, sizes_.model, slot.dtype); });
        }
        std::vector<MetalTuning> candidates;
        for (const int streams : {2, 4})
            for (const int loads : {1, 2, 4}) {
                MetalTuning candidate = best;
                candidate.streams = streams;
                candidate.loads = loads;
                candidates.push_back(candidate);
            }
        try_all(candidates, best, [&] { return product(1, sizes_.hidden, sizes_.model, DType::bf16); });
        kernels::set_metal_tuning(*device_, best, &sizes_ == &kFull);
        return best;
    }

private:
    template <class Time>
    void try_all(const std::vector<MetalTuning>& candidates, MetalTuning& best, Time time) {
        constexpr double kFaster = 0.97;  // of the time so far
        kernels::set_metal_tuning(*device_, best, false);
        double least = time().median();
        std::size_t done = 0;
        for (const MetalTuning& candidate : candidates) {
            kernels::set_metal_tuning(*device_, candidate, false);
            progress_.update(++done, candidates.size());
            double seconds = 0;
            try {
                seconds = time().median();
            } catch (const Cancelled&) {
                throw;
            } catch (const Error& e) {  // more registers than this device has, say
                log(LogLevel::kInfo, std::string("a tile is left out: ") + e.what());
                continue;
            }
            if (seconds >= kFaster * least) continue;
            least = seconds;
            best = candidate;
        }
        kernels::set_metal_tuning(*device_, best, false);
    }

    Figure& add(const std::string& name, const Samples& seconds) {
        constexpr std::size_t kFigures = 30;
        figures_.push_back({name, seconds.median() * 1e6, seconds.deviation() * 1e6});
        progress_.update(std::min(figures_.size(), kFigures), kFigures);
        return figures_.back();
    }
    void rate(Figure& f, double bytes) const {
        f.gigabytes = bytes / f.microseconds / 1e3;
        if (copy_ > 0) f.share_of_copy = f.gigabytes * 1e9 / copy_;
    }

    std::shared_ptr<Device> device_;
    const Sizes& sizes_;
    Progress& progress_;
    double copy_ = 0;  // bytes/s
    std::vector<Figure> figures_;
};

std::string text_of(const MetalGemmTile& t) {
    return format("{%d, %d, %d, %d, %d}", t.m, t.n, t.k, t.groups_m, t.groups_n);
}
// As the table in kernels/metal_tuning.h has it.
std::string text_of(const MetalTuning& t) {
    return format("{%d, ", t.generation) + text_of(t.half) + ", " + text_of(t.half_few) + ", " +
           text_of(t.single) + ", " + text_of(t.single_few) + format(", %d, %d}", t.streams, t.loads);
}

// What there is to choose for the products of a model; a line for each, and what was kept.
Table tune_products(const std::shared_ptr<Device>& device, const BenchKernelsArguments& arguments) {
    std::error_code ignored;
    const io::ModelConfig config = std::filesystem::is_directory(arguments.shape, ignored)
                                       ? io::load_model_config(arguments.shape)
                                       : nn::shape_config(arguments.shape);
    const std::vector<std::int64_t> rows = arguments.rows.value_or(
        arguments.small ? std::vector<std::int64_t>{4, 40}
                        : std::vector<std::int64_t>{4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096});
    std::vector<ProductShape> shapes;
    for (const DType dtype : {DType::f16, DType::bf16})
        for (const ProductShape& shape : nn::products_of(config, dtype, rows)) shapes.push_back(shape);
    Progress progress("trying products on " + device->name(), arguments.verbose);
    Table table{{"product", "first us", "best us", "gain", "tried", "kept"}, {}};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        check_interrupted();
        progress.update(i, shapes.size());
        const TunedProduct found = tune_product(device, shapes[i], true);
        const auto add = [&](const std::string& name, double first, double best, std::size_t tried,
                             const std::string& kept) {
            table.rows.push_back({name, format("%.4g", first * 1e6), format("%.4g", best * 1e6),
                                  format("%.1f%%", 100 * (first / best - 1)), std::to_string(tried), kept});
        };
        const std::string name = to_string(shapes[i]);
        if (!found.ways.empty())
            add(name, found.ways[found.used].seconds, found.ways[found.best].seconds, found.ways.size(),
                found.ways[found.best].name);
        else if (found.product)
            add(name, found.product->first, found.product->best,
                static_cast<std::size_t>(found.product->tried), found.product->best_algorithm);
    }
    progress.update(shapes.size(), shapes.size());
    return table;
}

}  // namespace

int run_bench_kernels(const BenchKernelsArguments& arguments) {
    set_recovery(Recovery::off);  // a device is judged by what it does itself
    if (arguments.verbose) set_log_level(LogLevel::kInfo);
    catch_interrupts();
    const std::shared_ptr<Device> device = find_device(arguments.device);
    const Sizes& sizes = arguments.small ? kSmallSizes : kFull;
    if (!device->supports(Feature::arithmetic))
        throw Unsupported(device->name() + ": computes nothing, so there is nothing to measure");
    std::string tuned;
    Table products;
    if (arguments.tune && device->gemm_tuner()) {
        products = tune_products(device, arguments);
    } else if (arguments.tune) {
        if (device->kernel_language() != "metal")
            throw Unsupported(
                device->name() +
                ": --tune chooses the tiles of Metal kernels and cuBLASLt's algorithms, and this "
                "device has neither; leave it out");
        Progress progress("trying tiles on " + device->name(), arguments.verbose);
        tuned = text_of(KernelBench(device, sizes, progress).tune());
    }
    std::vector<Figure> figures;
    {
        Progress progress("measuring " + device->name(), arguments.verbose);
        figures = KernelBench(device, sizes, progress).run();
    }
    const DeviceProperties p = measured_properties(*device);
    if (arguments.json || arguments.output == Output::json) {
        nlohmann::ordered_json json;
        for (const auto& [name, value] : provenance()) json[name] = value;
        json["device"] = {{"name", p.name},
                          {"description", p.description},
                          {"driver", p.driver},
                          {"copy_gigabytes_per_second", p.copy_bandwidth / 1e9}};
        if (!tuned.empty()) json["tuning"] = tuned;
        for (const std::vector<std::string>& row : products.rows) {
            nlohmann::ordered_json one;
            for (std::size_t i = 0; i < row.size(); ++i) one[products.header[i]] = row[i];
            json["products"].push_back(std::move(one));
        }
        json["figures"] = nlohmann::ordered_json::array();
        for (const Figure& f : figures) {
            nlohmann::ordered_json one = {
                {"name", f.name}, {"microseconds", f.microseconds}, {"deviation", f.deviation}};
            if (f.gigabytes > 0) one["gigabytes_per_second"] = f.gigabytes;
            if (f.share_of_copy > 0) one["share_of_copy_bandwidth"] = f.share_of_copy;
            if (f.teraflops > 0) one["tflop_per_second"] = f.teraflops;
            if (f.share_of_fastest > 0) one["share_of_fastest_product"] = f.share_of_fastest;
            json["figures"].push_back(std::move(one));
        }
        write_out(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
        return 0;
    }
    Table table{{"kernel", "us", "deviation", "GB/s", "of copy", "TFLOP/s", "of the fastest"}, {}};
    const auto cell = [](const char* form, double value) {
        return value > 0 ? format(form, value) : std::string("-");
    };
    for (const Figure& f : figures)
        table.rows.push_back({f.name, format("%.4g", f.microseconds), format("%.2g", f.deviation),
                              cell("%.4g", f.gigabytes), cell("%.0f%%", 100 * f.share_of_copy),
                              cell("%.3g", f.teraflops), cell("%.0f%%", 100 * f.share_of_fastest)});
    if (arguments.output == Output::csv) {
        write_out(to_csv(table));
        return 0;
    }
    write_out(p.name + ": " + p.description + ", " + p.driver + "\n");
    std::string line;
    for (const auto& [name, value] : provenance()) line += (line.empty() ? "" : ", ") + name + " " + value;
    write_out(line + "\n\n" + to_markdown(table));
    if (!tuned.empty()) write_out("\nKept for this machine: " + tuned + "\n");
    if (!products.rows.empty()) write_out("\nProducts, kept for this machine:\n\n" + to_markdown(products));
    return 0;
}

}  // namespace invar::cli
