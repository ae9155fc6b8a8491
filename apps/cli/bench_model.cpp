// SPDX-License-Identifier: Apache-2.0
// `invar bench model`: prefill and decode rates of a model, or of random weights in the shape of one, beside the ceilings
// that were measured in the same run.
//
// Decode reads every weight that a step needs once, and the keys and values of all tokens before it; its ceiling is the
// device's read bandwidth. Prefill is counted in the arithmetic of the weights' products (attention not counted); its
// ceiling is the largest rate at which this library multiplies two large matrices of that type.
#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include <invar/error.h>
#include <invar/model.h>
#include <invar/ops.h>
#include <invar/recovery.h>

#include "base/log.h"
#include "bench.h"
#include "device/bandwidth.h"

namespace invar::cli {

namespace {

struct Ceilings {
    double read = 0;          // bytes/s over a buffer far larger than the caches
    double copy = 0;          // bytes/s of a copy there, read and written bytes counted
    double read_weights = 0;  // bytes/s over one of the size that a decode step reads
    double product = 0;       // flop/s of a large product
};

struct Result {
    Samples prefill, decode;   // seconds: of a prefill, of a decode step
    double prefill_flops = 0;  // of a prefill
    double step_bytes = 0;     // weights and cache that the average decode step reads
    Ceilings ceilings;
};

void check(const BenchModelArguments& a) {
    const auto need = [](std::int64_t value, const char* name, std::int64_t low, std::int64_t high) {
        if (value < low || value > high) {
            throw InvalidArgument(format("%s: %lld is out of range; it must be %lld to %lld", name,
                                         static_cast<long long>(value), static_cast<long long>(low),
                                         static_cast<long long>(high)));
        }
    };
    need(a.batch, "--batch", 1, 4096);
    need(a.prompt, "--prompt", 1, 1 << 24);
    need(a.generate, "--generate", 1, 1 << 24);
    need(a.repetitions, "--repetitions", 1, 10000);
}

std::shared_ptr<Model> make_model(const BenchModelArguments& arguments) {
    LoadOptions load{.device = arguments.device,
                     .dtype = {},
                     .max_context = arguments.prompt + arguments.generate + 1,
                     .progress = {}};
    if (arguments.dtype) load.dtype = parse_dtype(*arguments.dtype);
    Progress progress("preparing the weights", arguments.verbose);
    load.progress = [&](std::uint64_t done, std::uint64_t total) {
        progress.update(done, total);
        check_interrupted();
    };
    const std::vector<std::string> shapes = Model::shapes();
    if (std::find(shapes.begin(), shapes.end(), arguments.shape) != shapes.end()) {
        return Model::random(arguments.shape, load);
    }
    std::error_code ignored;
    if (!std::filesystem::is_directory(arguments.shape, ignored)) {
        std::string known;
        for (const std::string& shape : shapes) known += shape + ", ";
        throw InvalidArgument("--shape: '" + arguments.shape + "' is neither a known shape (" + known +
                              "whose weights are random) nor a model folder");
    }
    return Model::load(arguments.shape, load);
}

// Prompts that repeat nothing, the same in every run.
std::vector<std::vector<std::int32_t>> make_prompts(std::int64_t batch, std::int64_t length,
                                                    std::int64_t vocabulary) {
    std::uint64_t state = 1;
    std::vector<std::vector<std::int32_t>> prompts(static_cast<std::size_t>(batch));
    for (auto& prompt : prompts) {
        for (std::int64_t i = 0; i < length; ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            prompt.push_back(
                static_cast<std::int32_t>((state >> 33) % static_cast<std::uint64_t>(vocabulary)));
        }
    }
    return prompts;
}

// Arithmetic of the weights' products that a prefill does: the output matrix meets only the last token of a sequence,
// and the last layer is not finished for tokens whose output nobody asks for (Session computes no more).
double prefill_flops(const ModelInfo& info, std::int64_t batch, std::int64_t prompt, std::int64_t chunk) {
    const double head = 2.0 * static_cast<double>(info.vocab_size) * static_cast<double>(info.hidden_size);
    const double layers = static_cast<double>(info.flops_per_token) - head;
    const std::int64_t whole = batch == 1 ? (prompt - 1) % chunk + 1 : 1;
    const double skipped = layers / static_cast<double>(std::max<std::int64_t>(info.layers, 1));
    return static_cast<double>(batch) * (static_cast<double>(whole) * layers +
                                         static_cast<double>(prompt - whole) * (layers - skipped) + head);
}

// Bytes that the average decode step reads: the weights once for the whole batch, keys and values for each sequence.
double step_bytes(const ModelInfo& info, std::int64_t batch, std::int64_t prompt, std::int64_t steps) {
    const double a_token = 2.0 * static_cast<double>(info.layers * info.kv_heads * info.head_dim) *
                           static_cast<double>(size_of(info.dtype));
    const double tokens = static_cast<double>(prompt) + (static_cast<double>(steps) + 1) / 2;
    return static_cast<double>(info.bytes_per_token) + static_cast<double>(batch) * tokens * a_token;
}

// Rows and side of the product that shows the arithmetic of a device: large enough to fill it.
std::pair<std::int64_t, std::int64_t> product_size(const Device& device) {
    return device.supports(Feature::native) ? std::pair<std::int64_t, std::int64_t>{512, 2048}
                                            : std::pair<std::int64_t, std::int64_t>{8192, 8192};
}

double measure_product(const Model& model) {
    const auto [rows, side] = product_size(*model.device());
    const DType dtype = model.info().dtype;
    const Tensor inputs[] = {sample_tensor({rows, side}, dtype, model.device()),
                             sample_tensor({side, side}, dtype, model.device())};
    const Samples samples =
        time_operator([](std::span<const Tensor> in) { return linear(in[0], in[1]); }, inputs);
    return 2.0 * static_cast<double>(rows) * static_cast<double>(side) * static_cast<double>(side) /
           *std::min_element(samples.values.begin(), samples.values.end());
}

// The larger of what was measured before and after: on a machine that others use too, either may have been disturbed.
void raise(Ceilings& ceilings, const Model& model) {
    Device& device = *model.device();
    if (!device.bandwidth()) return;
    check_interrupted();
    const MeasuredBandwidth memory = measure_bandwidth(device);
    ceilings.read = std::max(ceilings.read, memory.read);
    ceilings.copy = std::max(ceilings.copy, memory.copy);
    const auto bytes = static_cast<std::size_t>(model.info().bytes_per_token);
    if (bytes > 0 && bytes < memory_measurement_bytes(device)) {
        ceilings.read_weights = std::max(ceilings.read_weights, measure_read_bandwidth(device, bytes));
    }
    if (device.supports(Feature::arithmetic))
        ceilings.product = std::max(ceilings.product, measure_product(model));
}

Result measure(const BenchModelArguments& arguments, const std::shared_ptr<Model>& model) {
    using Clock = std::chrono::steady_clock;
    const ModelInfo& info = model->info();
    const auto prompts = make_prompts(arguments.batch, arguments.prompt, info.vocab_size);
    const std::vector<SamplingOptions> greedy(prompts.size());
    Session session(model,
                    {.sequences = arguments.batch, .capacity = arguments.prompt + arguments.generate + 1});
    Result result;
    raise(result.ceilings, *model);
    std::vector<std::int32_t> next(prompts.size());
    Progress progress("measuring", arguments.verbose);
    const auto total =
        static_cast<std::uint64_t>((arguments.repetitions + 1) * (arguments.generate + arguments.prompt));
    std::uint64_t done = 0;
    for (std::int64_t repetition = 0; repetition <= arguments.repetitions; ++repetition) {
        const auto begin = Clock::now();
        session.start(prompts, greedy);
        const double prefill = seconds_since(begin);
        progress.update(done += static_cast<std::uint64_t>(arguments.prompt), total);
        // All of the loop: a session may work on the next step while this thread does something else.
        const auto decode_begin = Clock::now();
        for (std::int64_t step = 0; step < arguments.generate; ++step) {
            session.step(next, step + 1 < arguments.generate);
            check_interrupted();
            progress.update(++done, total);
        }
        const double decode = seconds_since(decode_begin);
        if (repetition == 0) continue;  // warm-up
        result.prefill.add(prefill);
        result.decode.add(decode / static_cast<double>(arguments.generate));
    }
    raise(result.ceilings, *model);
    result.prefill_flops = prefill_flops(info, arguments.batch, arguments.prompt, session.prefill_chunk());
    result.step_bytes = step_bytes(info, arguments.batch, arguments.prompt, arguments.generate);
    return result;
}

// value / time of each sample.
Samples rates(const Samples& seconds, double value) {
    Samples result;
    for (const double s : seconds.values) result.add(value / s);
    return result;
}

double share(double value, double ceiling) { return ceiling > 0 ? value / ceiling : 0; }

std::string percent(double share) { return share > 0 ? format("%.0f%%", 100 * share) : "-"; }

}  // namespace

int run_bench_model(const BenchModelArguments& arguments) {
    set_recovery(Recovery::off);  // a device is judged by what it does itself
    if (arguments.verbose) set_log_level(LogLevel::kInfo);
    check(arguments);
    catch_interrupts();
    const std::shared_ptr<Model> model = make_model(arguments);
    const ModelInfo& info = model->info();
    const DeviceProperties device = model->device()->properties();
    const Result r = measure(arguments, model);

    const auto batch = static_cast<double>(arguments.batch);
    const Samples prefill = rates(r.prefill, batch * static_cast<double>(arguments.prompt));
    const Samples decode = rates(r.decode, batch);
    const double bandwidth = r.step_bytes / r.decode.mean();
    const double weights = static_cast<double>(info.bytes_per_token) / r.decode.mean();
    const double decode_flops = batch * static_cast<double>(info.flops_per_token) / r.decode.mean();
    const double arithmetic = r.prefill_flops / r.prefill.mean();

    if (arguments.json || arguments.output == Output::json) {
        nlohmann::ordered_json json;
        for (const auto& [name, value] : provenance()) json[name] = value;
        json["device"] = {{"name", device.name},
                          {"description", device.description},
                          {"driver", device.driver},
                          {"compute_units", device.compute_units}};
        json["model"] = {{"shape", arguments.shape},
                         {"architecture", info.architecture},
                         {"dtype", dtype_name(info.dtype)},
                         {"parameters", info.parameters},
                         {"weight_bytes", info.weight_bytes}};
        json["batch"] = arguments.batch;
        json["prompt"] = arguments.prompt;
        json["generate"] = arguments.generate;
        json["repetitions"] = arguments.repetitions;
        json["prefill"] = {{"tokens_per_second", prefill.mean()},
                           {"deviation", prefill.deviation()},
                           {"tflop_per_second", arithmetic / 1e12},
                           {"share_of_product", share(arithmetic, r.ceilings.product)}};
        json["decode"] = {{"tokens_per_second", decode.mean()},
                          {"deviation", decode.deviation()},
                          {"bytes_per_step", r.step_bytes},
                          {"gigabytes_per_second", bandwidth / 1e9},
                          {"tflop_per_second", decode_flops / 1e12},
                          {"share_of_read_bandwidth", share(bandwidth, r.ceilings.read)},
                          {"weight_bytes_share_of_copy", share(weights, r.ceilings.copy)}};
        json["ceilings"] = {{"read_gigabytes_per_second", r.ceilings.read / 1e9},
                            {"copy_gigabytes_per_second", r.ceilings.copy / 1e9},
                            {"product_tflop_per_second", r.ceilings.product / 1e12}};
        if (r.ceilings.read_weights > 0) {
            json["ceilings"]["read_at_model_size_gigabytes_per_second"] = r.ceilings.read_weights / 1e9;
            json["decode"]["share_of_read_at_model_size"] = share(bandwidth, r.ceilings.read_weights);
        }
        write_out(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
        return 0;
    }
    if (arguments.output == Output::csv) {
        Table table;
        table.rows.emplace_back();
        const auto add = [&](const std::string& name, const std::string& value) {
            table.header.push_back(name);
            table.rows[0].push_back(value);
        };
        for (const auto& [name, value] : provenance()) add(name, value);
        add("device", device.name + " " + device.description);
        add("shape", arguments.shape);
        add("dtype", std::string(dtype_name(info.dtype)));
        for (const auto& [name, value] : {std::pair{"batch", arguments.batch},
                                          {"prompt", arguments.prompt},
                                          {"generate", arguments.generate},
                                          {"repetitions", arguments.repetitions}}) {
            add(name, std::to_string(value));
        }
        for (const auto& [name, value] :
             {std::pair{"prefill_tokens_per_second", prefill.mean()},
              {"prefill_deviation", prefill.deviation()},
              {"prefill_tflop_per_second", arithmetic / 1e12},
              {"decode_tokens_per_second", decode.mean()},
              {"decode_deviation", decode.deviation()},
              {"decode_gigabytes_per_second", bandwidth / 1e9},
              {"read_gigabytes_per_second", r.ceilings.read / 1e9},
              {"read_at_model_size_gigabytes_per_second", r.ceilings.read_weights / 1e9},
              {"product_tflop_per_second", r.ceilings.product / 1e12}}) {
            add(name, format("%.6g", value));
        }
        write_out(to_csv(table));
        return 0;
    }
    write_out(
        format("%s (%s, %.1f million parameters, %s in %s), batch %lld, prompt %lld, %lld decode steps, %lld "
               "repetitions\n",
               arguments.shape.c_str(), info.architecture.c_str(), static_cast<double>(info.parameters) / 1e6,
               format_bytes(info.weight_bytes).c_str(), std::string(dtype_name(info.dtype)).c_str(),
               static_cast<long long>(arguments.batch), static_cast<long long>(arguments.prompt),
               static_cast<long long>(arguments.generate), static_cast<long long>(arguments.repetitions)));
    write_out(device.name + ": " + device.description + format(", %d compute units, ", device.compute_units) +
              device.driver + "\n");
    std::string line;
    for (const auto& [name, value] : provenance()) line += (line.empty() ? "" : ", ") + name + " " + value;
    write_out(line + "\n\n");
    const auto [rows, side] = product_size(*model->device());
    Table table{{"phase", "tokens/s", "deviation", "GB/s", "TFLOP/s", "ceiling", "share"}, {}};
    table.rows.push_back({"prefill", format("%.2f", prefill.mean()), format("%.2f", prefill.deviation()), "-",
                          format("%.3f", arithmetic / 1e12),
                          r.ceilings.product > 0
                              ? format("%.3f TFLOP/s, product %lldx%lldx%lld", r.ceilings.product / 1e12,
                                       static_cast<long long>(rows), static_cast<long long>(side),
                                       static_cast<long long>(side))
                              : "-",
                          percent(share(arithmetic, r.ceilings.product))});
    const auto decode_row = [&](const std::string& ceiling, double value) {
        table.rows.push_back({"decode", format("%.2f", decode.mean()), format("%.2f", decode.deviation()),
                              format("%.2f", bandwidth / 1e9), format("%.3f", decode_flops / 1e12),
                              value > 0 ? format("%.2f GB/s, ", value / 1e9) + ceiling : "-",
                              percent(share(bandwidth, value))});
    };
    decode_row("reading memory", r.ceilings.read);
    if (r.ceilings.read_weights > 0) {
        decode_row("reading " + format_bytes(info.bytes_per_token) + ", the model's size",
                   r.ceilings.read_weights);
    }
    if (r.ceilings.copy > 0) {
        table.rows.push_back({"decode, weights alone", format("%.2f", decode.mean()),
                              format("%.2f", decode.deviation()), format("%.2f", weights / 1e9), "-",
                              format("%.2f GB/s, copying memory", r.ceilings.copy / 1e9),
                              percent(share(weights, r.ceilings.copy))});
    }
    write_out(to_markdown(table));
    return 0;
}

}  // namespace invar::cli
