// SPDX-License-Identifier: Apache-2.0
// `invar bench device` (DEV-8): what memory, copies, launches and operators cost on each device, side by side.
#include <cstddef>
#include <map>
#include <memory>

#include <nlohmann/json.hpp>

#include <invar/error.h>
#include <invar/ops.h>
#include <invar/program.h>
#include <invar/recovery.h>

#include "base/log.h"
#include "bench.h"
#include "device/allocator.h"
#include "device/bandwidth.h"
#include "device/device.h"
#include "program/pointwise.h"

namespace invar::cli {

namespace {

constexpr std::size_t kSmall = 4 << 10,
                      kLarge = 64 << 20;  // bytes of a copy that measures latency, and bandwidth
constexpr std::size_t kFigures = 60;      // about so many are taken, for the progress bar

struct Figure {
    std::string name;
    std::string unit;
    double value = 0;  // median
    double deviation = 0;
    double share = 0;  // of the device's copy bandwidth, for what moves bytes; 0: does not apply
};

class DeviceBench {
public:
    DeviceBench(std::shared_ptr<Device> device, Progress& progress)
        : device_(std::move(device)), progress_(progress) {}

    std::vector<Figure> run() {
        memory();
        streams();
        programs();
        copies();
        bandwidth();
        operators();
        large_pointwise();
        return std::move(figures_);
    }

private:
    void add_time(const std::string& name, const Samples& seconds) {
        figures_.push_back({name, "us", seconds.median() * 1e6, seconds.deviation() * 1e6, 0});
        show_progress();
    }
    void add_rate(const std::string& name, const Samples& seconds, double amount, const std::string& unit) {
        Samples rates;
        for (const double s : seconds.values) rates.add(amount / s / 1e9);
        const double share =
            unit == "GB/s" && copy_bandwidth_ > 0 ? rates.median() * 1e9 / copy_bandwidth_ : 0;
        figures_.push_back({name, unit, rates.median(), rates.deviation(), share});
        show_progress();
    }
    void show_progress() { progress_.update(std::min(figures_.size(), kFigures), kFigures); }

    void memory() {
        constexpr std::size_t kBytes = 1 << 20;
        CachingAllocator& allocator = device_->allocator();
        add_time("allocate 1 MiB, from the cache", time_calls([&] { allocator.allocate(kBytes); }, 1000));
        add_time("allocate 1 MiB, from the driver", time_calls([&] { device_->allocate_raw(kBytes); }, 10));
        add_time("allocate 256 MiB, from the driver",
                 time_calls([&] { device_->allocate_raw(std::size_t{256} << 20); }));
    }

    void streams() {
        add_time("create a stream", time_calls([&] { device_->make_stream(); }, 10));
        const std::unique_ptr<Stream> stream = device_->make_stream();
        add_time("synchronise an idle stream", time_calls([&] { stream->synchronize(); }, 100));
        add_time("record an event and wait for it", time_calls([&] { stream->record()->wait(); }, 100));
        Module module{"bench", NativeEntries{{{"empty", [](const NativeLaunch&) {}}}}};
        const Allocation memory = device_->allocator().allocate(256, true);
        std::vector<BufferRef> buffers;
        std::byte room[kMaxPointwiseParamsBytes];
        std::span<const std::byte> params;
        if (!device_->supports(Feature::native)) {
            // The nearest to nothing that a program can do: one lane moves one number.
            module.body =
                ProgramText{".program empty\n.param x: f32*\nLDG.f32 a, [x + gid]\nSTG.f32 [x + gid], a\n"};
            buffers.push_back(memory.ref());
            const std::int64_t one[] = {1};
            params = {room, write_pointwise_params(room, one, {}, {})};
        }
        if (!device_->supports(Feature::native) && !device_->supports(Feature::programs)) return;
        add_time("load a kernel module", time_calls([&] { device_->compile(module); }, 1, 0.1));
        const std::shared_ptr<LoadedModule> loaded = device_->compile(module);
        Kernel& kernel = loaded->kernel("empty");
        add_time("launch an empty kernel",
                 time_calls([&] { stream->launch(kernel, {}, buffers, params); }, 100));
        add_time("launch an empty kernel and wait", time_calls(
                                                        [&] {
                                                            stream->launch(kernel, {}, buffers, params);
                                                            stream->synchronize();
                                                        },
                                                        100));
    }

    // What the library adds to a launch, and what a batch saves: calls of a program that does next to nothing.
    void programs() {
        if (!device_->supports(Feature::programs)) return;
        constexpr std::size_t kBatch = 256;
        const auto text = [](const std::string& instruction) {
            return ".program next\n.param x: f32*\n.param y: f32*\nLDG.f32 a, [x + gid]\n" + instruction +
                   "\nSTG.f32 [y + gid], b\n";
        };
        const auto call_over = [&](std::int64_t elements) -> ProgramCall {
            return {.inputs = {{"x", sample_tensor({elements}, DType::f32, device_)}},
                    .outputs = {{"y", Like{"x"}}}};
        };
        // One by one, with as many results held, beside a batch.
        const auto add_calls = [&](const std::string& name, const KernelModule& module,
                                   const ProgramCall& call) {
            const std::vector<ProgramCall> batch(kBatch, call);
            const auto of_batch = [&](Samples seconds) {
                for (double& s : seconds.values) s /= kBatch;
                return seconds;
            };
            add_time("call " + name + " and wait", of_batch(time_calls([&] {
                         std::vector<ProgramResult> results;
                         for (const ProgramCall& one : batch) {
                             results.push_back(module.run(one));
                             module.synchronize();
                         }
                     })));
            add_time("call " + name + ", one of a batch of 256", of_batch(time_calls([&] {
                         const std::vector<ProgramResult> results = module.run_batch(batch);
                         module.synchronize();
                     })));
        };
        const ProgramCall one = call_over(1);
        add_calls("a program of 1 element", KernelModule::from_text(text("ADD.f32 b, a, 1"), device_), one);
        add_calls("tanh of 16 K f32", KernelModule::from_text(text("TANH.f32 b, a"), device_),
                  call_over(1 << 14));
        const KernelModule reusing =
            KernelModule::from_text(text("ADD.f32 b, a, 1"), device_, {.reuse = true});
        add_time("call a program of 1 element, its result reused",
                 time_calls([&] { reusing.run(one); }, 100));
    }

    void copies() {
        const std::unique_ptr<Stream> stream = device_->make_stream();
        const Allocation there = device_->allocator().allocate(kLarge, true),
                         twin = device_->allocator().allocate(kLarge, true);
        std::vector<std::byte> here(kLarge, std::byte{1});
        const auto wait = [&] { stream->synchronize(); };
        const auto piece = [](const Allocation& a, std::size_t bytes) {
            return BufferRef{&a.buffer(), a.offset(), bytes};
        };
        add_time("copy 4 KiB to the device",
                 time_calls([&] { stream->upload(piece(there, kSmall), here.data(), kSmall), wait(); }, 10));
        add_time(
            "copy 4 KiB to the host",
            time_calls([&] { stream->download(here.data(), piece(there, kSmall), kSmall), wait(); }, 10));
        add_rate("copy 64 MiB to the device",
                 time_calls([&] { stream->upload(piece(there, kLarge), here.data(), kLarge), wait(); }),
                 kLarge, "GB/s");
        add_rate("copy 64 MiB to the host",
                 time_calls([&] { stream->download(here.data(), piece(there, kLarge), kLarge), wait(); }),
                 kLarge, "GB/s");
        add_rate("fill 64 MiB", time_calls([&] { stream->fill(piece(there, kLarge), 0), wait(); }), kLarge,
                 "GB/s");
        add_rate("copy 64 MiB on the device, read and written",
                 time_calls([&] { stream->copy(piece(twin, kLarge), piece(there, kLarge)), wait(); }),
                 2.0 * kLarge, "GB/s");
    }

    void bandwidth() {
        if (!device_->bandwidth()) return;
        const DeviceProperties measured = measured_properties(*device_, true);
        copy_bandwidth_ = measured.copy_bandwidth;
        figures_.push_back({"read bandwidth of the memory", "GB/s", measured.read_bandwidth / 1e9, 0, 0});
        figures_.push_back(
            {"copy bandwidth of the memory, read and written", "GB/s", measured.copy_bandwidth / 1e9, 0, 0});
    }

    // amount: bytes or operations of one run. An operator that the device does not have leaves a gap.
    void add_operator(const std::string& name, const Operator& compute, std::span<const Tensor> inputs,
                      double amount, const std::string& unit) {
        try {
            const Samples seconds = time_operator(compute, inputs, amount == 0);
            if (amount > 0) {
                add_rate(name, seconds, amount, unit);
            } else {
                add_time(name, seconds);
            }
        } catch (const Unsupported& error) {
            log(LogLevel::kInfo, device_->name() + ": " + name + ": " + error.what());
        }
    }

    void operators() {
        if (!device_->supports(Feature::arithmetic)) return;
        using Inputs = std::span<const Tensor>;
        constexpr std::int64_t kElements = 1 << 24, kRows = 4096, kSide = 1024;
        const Tensor one = sample_tensor({1}, DType::f32, device_);
        add_time("evaluate add, 1 element", time_calls([&] { (one + one).to_bytes(); }, 10));
        add_operator(
            "run compiled add, 1 element", [](Inputs in) { return in[0] + in[0]; }, {&one, 1}, 0, "us");
        {
            const Tensor x = sample_tensor({kElements}, DType::f32, device_),
                         rows = x.reshape({kRows, kRows}).eval();
            const Tensor two[] = {x, sample_tensor({kElements}, DType::f32, device_)};
            constexpr double kBytes = 4.0 * kElements;
            add_operator(
                "add, 16 M f32", [](Inputs in) { return in[0] + in[1]; }, two, 3 * kBytes, "GB/s");
            add_operator(
                "exp, 16 M f32", [](Inputs in) { return exp(in[0]); }, {&x, 1}, 2 * kBytes, "GB/s");
            add_operator(
                "add the transposed, 4096 x 4096 f32", [](Inputs in) { return in[0] + in[0].transpose(); },
                {&rows, 1}, 3 * kBytes, "GB/s");
            add_operator(
                "sum of rows, 4096 x 4096 f32", [](Inputs in) { return sum(in[0], 1); }, {&rows, 1}, kBytes,
                "GB/s");
            add_operator(
                "sum of columns, 4096 x 4096 f32", [](Inputs in) { return sum(in[0], 0); }, {&rows, 1},
                kBytes, "GB/s");
            add_operator(
                "softmax, 4096 x 4096 f32", [](Inputs in) { return softmax(in[0]); }, {&rows, 1}, 2 * kBytes,
                "GB/s");
        }
        for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
            const std::string name(dtype_name(dtype));
            const Tensor weight = sample_tensor({kSide, kSide}, dtype, device_);
            const Tensor square[] = {sample_tensor({kSide, kSide}, dtype, device_), weight};
            const Tensor vector[] = {sample_tensor({1, kSide}, dtype, device_), weight};
            const Operator product = [](Inputs in) { return linear(in[0], in[1]); };
            add_operator("product 1024 x 1024 x 1024 " + name, product, square, 2.0 * kSide * kSide * kSide,
                         "GFLOP/s");
            add_operator("product 1 x 1024 x 1024 " + name, product, vector,
                         static_cast<double>(kSide * kSide) * static_cast<double>(size_of(dtype)), "GB/s");
        }
    }

    // 256 M elements, or 64 M where the host computes, far beyond any cache; only where memory is plenty.
    void large_pointwise() {
        const DeviceProperties properties = device_->properties();
        const bool host = properties.unified_memory;
        if (!device_->supports(Feature::arithmetic) ||
            properties.memory_free < (std::uint64_t{host ? 4u : 16u} << 30))
            return;
        using Inputs = std::span<const Tensor>;
        const std::int64_t elements = std::int64_t{1} << (host ? 26 : 28);
        const std::string count = ", " + std::to_string(elements >> 20) + " M ";
        const Tensor sample = sample_tensor({elements}, host ? DType::f32 : DType::f16, device_);
        const std::vector<DType> dtypes = host ? std::vector{DType::f32, DType::i8}
                                               : std::vector{DType::f16, DType::bf16, DType::f32, DType::i8};
        for (const DType dtype : dtypes) {
            const std::string suffix = count + std::string(dtype_name(dtype));
            const bool real = is_float(dtype);
            const Tensor x = (real ? sample : sample * 100).astype(dtype).eval();
            const Tensor two[] = {x, real ? (x * 0.5 - 0.5).eval() : (sample * 50).astype(dtype).eval()};
            const double bytes = static_cast<double>(size_of(dtype)) * static_cast<double>(elements);
            add_operator(
                "add" + suffix, [](Inputs in) { return in[0] + in[1]; }, two, 3 * bytes, "GB/s");
            add_operator(
                "multiply" + suffix, [](Inputs in) { return in[0] * in[1]; }, two, 3 * bytes, "GB/s");
            add_operator(
                "relu(a + b)" + suffix, [](Inputs in) { return relu(in[0] + in[1]); }, two, 3 * bytes,
                "GB/s");
            if (real) {
                add_operator(
                    "gelu" + suffix, [](Inputs in) { return gelu(in[0]); }, {&x, 1}, 2 * bytes, "GB/s");
                add_operator(
                    "gelu_tanh" + suffix, [](Inputs in) { return gelu_tanh(in[0]); }, {&x, 1}, 2 * bytes,
                    "GB/s");
                add_operator("chain of special functions" + suffix, chain, two, 3 * bytes, "GB/s");
            }
            add_operator(
                "sum of all" + suffix, [](Inputs in) { return sum(in[0], 0); }, {&x, 1}, bytes, "GB/s");
            if (real)
                add_operator(
                    "cumulative sum of all" + suffix, [](Inputs in) { return cumsum(in[0], 0); }, {&x, 1},
                    2 * bytes, "GB/s");
            if (device_->bandwidth())
                figures_.push_back({"reading as many bytes" + suffix, "GB/s",
                                    measure_read_bandwidth(*device_, static_cast<std::size_t>(bytes)) / 1e9,
                                    0, 0});
            // One element into its buffer no access of 16 bytes is aligned; every second one halves what a line gives.
            add_operator(
                "add, inputs not aligned" + suffix,
                [&](Inputs in) { return in[0].slice(0, 1, elements) + in[1].slice(0, 1, elements); }, two,
                3 * bytes, "GB/s");
            add_operator(
                "add, every second element" + suffix,
                [&](Inputs in) { return in[0].slice(0, 0, elements, 2) + in[1].slice(0, 0, elements, 2); },
                two, 2.5 * bytes, "GB/s");
        }
    }

    // sigmoid(exp(-|a b|) + tanh(a)) * gelu(b) + nan_to_num(sqrt(a)): five special functions an element.
    static Tensor chain(std::span<const Tensor> in) {
        const Tensor root = sqrt(in[0]);
        return sigmoid(exp(-abs(in[0] * in[1])) + tanh(in[0])) * gelu(in[1]) +
               clamp(where(is_nan(root), in[0] * 0.0, root), -65504.0, 65504.0);
    }

    std::shared_ptr<Device> device_;
    Progress& progress_;
    double copy_bandwidth_ = 0;  // bytes/s; 0 before it is measured
    std::vector<Figure> figures_;
};

// Every device that computes, or the one that was asked for.
std::vector<std::shared_ptr<Device>> chosen_devices(const std::string& name) {
    if (!name.empty()) return {find_device(name)};
    std::vector<std::shared_ptr<Device>> devices;
    for (const BackendInfo& backend : list_backends()) {
        for (const DeviceProperties& properties : backend.devices) {
            std::shared_ptr<Device> device = find_device(properties.name);
            if (device->supports(Feature::arithmetic)) devices.push_back(std::move(device));
        }
    }
    return devices;
}

}  // namespace

int run_bench_device(const BenchDeviceArguments& arguments) {
    set_recovery(Recovery::off);  // a device is judged by what it does itself
    if (arguments.verbose) set_log_level(LogLevel::kInfo);
    catch_interrupts();
    const std::vector<std::shared_ptr<Device>> devices = chosen_devices(arguments.device);
    std::vector<std::vector<Figure>> figures;
    for (const std::shared_ptr<Device>& device : devices) {
        Progress progress("measuring " + device->name(), arguments.verbose);
        figures.push_back(DeviceBench(device, progress).run());
    }
    if (arguments.json || arguments.output == Output::json) {
        nlohmann::ordered_json json;
        for (const auto& [name, value] : provenance()) json[name] = value;
        json["devices"] = nlohmann::ordered_json::array();
        for (std::size_t i = 0; i < devices.size(); ++i) {
            const DeviceProperties p = devices[i]->properties();
            nlohmann::ordered_json list = nlohmann::ordered_json::array();
            for (const Figure& f : figures[i]) {
                list.push_back(
                    {{"name", f.name}, {"median", f.value}, {"deviation", f.deviation}, {"unit", f.unit}});
                if (f.share > 0) list.back()["share_of_copy_bandwidth"] = f.share;
            }
            json["devices"].push_back({{"name", p.name},
                                       {"description", p.description},
                                       {"driver", p.driver},
                                       {"compute_units", p.compute_units},
                                       {"figures", std::move(list)}});
        }
        write_out(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
        return 0;
    }
    // One row a measurement, in the order in which they first appear; a device that cannot measure one has a dash.
    Table table{{"measurement", "unit"}, {}};
    std::map<std::string, std::size_t> row_of;
    for (const std::shared_ptr<Device>& device : devices) {
        table.header.push_back(device->name());
        table.header.push_back("deviation");
        table.header.push_back("of copy");
    }
    for (std::size_t i = 0; i < devices.size(); ++i) {
        for (const Figure& f : figures[i]) {
            const auto [at, added] = row_of.emplace(f.name, table.rows.size());
            if (added) {
                table.rows.emplace_back(table.header.size(), "-");
                table.rows.back()[0] = f.name;
                table.rows.back()[1] = f.unit;
            }
            table.rows[at->second][2 + 3 * i] = format("%.4g", f.value);
            table.rows[at->second][3 + 3 * i] = format("%.2g", f.deviation);
            if (f.share > 0) table.rows[at->second][4 + 3 * i] = format("%.0f%%", 100 * f.share);
        }
    }
    if (arguments.output == Output::csv) {
        write_out(to_csv(table));
        return 0;
    }
    for (const std::shared_ptr<Device>& device : devices) {
        const DeviceProperties p = device->properties();
        write_out(p.name + ": " + p.description + format(", %d compute units, ", p.compute_units) + p.driver +
                  "\n");
    }
    std::string line;
    for (const auto& [name, value] : provenance()) line += (line.empty() ? "" : ", ") + name + " " + value;
    write_out(line + "\n\n" + to_markdown(table));
    return 0;
}

}  // namespace invar::cli
