// SPDX-License-Identifier: Apache-2.0
// `invar doctor`: checks the installation, measures what each device can do, and says from which sizes on a device is faster
// than the cpu.
#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include <invar/device.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/recovery.h>

#include "base/log.h"
#include "bench.h"
#include "device/disk_cache.h"
#include "device/registry.h"
#include "graph/calibration.h"

namespace invar::cli {

namespace {

using graph::WorkClass;

constexpr const char* kHost = "cpu";
constexpr std::array<std::pair<WorkClass, const char*>, 3> kClasses = {
    {{WorkClass::matmul, "matmul"},
     {WorkClass::fused_linear, "fused_linear"},
     {WorkClass::pointwise, "pointwise"}}};

struct Check {
    std::string name;
    bool good = true;
    std::string text;
};

struct Found {
    std::shared_ptr<Device> device;
    std::optional<graph::Calibration> calibration;
};

// An entry goes into the cache and comes back.
Check check_cache() {
    DiskCache& cache = DiskCache::shared();
    if (cache.folder().empty())
        return {"cache folder", false,
                "none can be written, so kernels are compiled and devices measured at every start; set "
                "INVAR_CACHE_DIR "
                "to a folder that can"};
    const std::array<std::byte, 4> value{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    cache.store("doctor", "check", value);
    const auto back = cache.load("doctor", "check");
    if (!back || !std::equal(back->begin(), back->end(), value.begin(), value.end()))
        return {
            "cache folder", false,
            cache.folder().string() + " keeps nothing; make room or rights there, or set INVAR_CACHE_DIR"};
    return {"cache folder", true, cache.folder().string()};
}

// Compiles and runs a pointwise program and a product, and looks at the numbers.
Check check_device(const std::shared_ptr<Device>& device) {
    const std::string name = "device " + device->name();
    try {
        const auto begin = std::chrono::steady_clock::now();
        constexpr std::int64_t kSide = 16;
        std::vector<float> values(kSide * kSide);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) - 3.0f;
        const Tensor x =
            Tensor::from_bytes(std::as_bytes(std::span(values)), DType::f32, {kSide, kSide}, device);
        const std::vector<float> sums = (x * 2.0 + 1.0).to_vector<float>(),
                                 products = linear(x, x).to_vector<float>();  // x x^T: whole numbers, exact
        for (std::size_t i = 0; i < values.size(); ++i) {
            float product = 0;
            for (std::size_t k = 0; k < kSide; ++k)
                product += values[i / kSide * kSide + k] * values[i % kSide * kSide + k];
            if (sums[i] == values[i] * 2 + 1 && products[i] == product) continue;
            return {name, false, "computes wrong numbers; update its driver, and leave it out until then"};
        }
        return {name, true, format("compiles and computes, %.0f ms", seconds_since(begin) * 1e3)};
    } catch (const Error& e) {
        return {name, false, e.what()};
    }
}

nlohmann::ordered_json break_even_json(const graph::Calibration& host, const graph::Calibration& device) {
    nlohmann::ordered_json json;
    for (const auto& [work, name] : kClasses) {
        const auto number = [&](bool transfers) -> nlohmann::ordered_json {
            if (const auto n = graph::break_even(work, host, device, transfers)) return *n;
            return nullptr;
        };
        json[name] = {{"with_transfers", number(true)},
                      {"resident", number(false)},
                      {"uncalibrated", graph::default_break_even(work)}};
    }
    return json;
}

void print(const graph::Calibration& c) {
    const auto rate = [](double flops) {
        return flops > 0 ? format("%.3g TFLOP/s", flops / 1e12) : std::string("none");
    };
    write_out(format("    launch            %.2f us\n", c.launch * 1e6));
    write_out(format("    memory            %.1f GB/s reading, %.1f GB/s copying\n", c.read_bandwidth / 1e9,
                     c.copy_bandwidth / 1e9));
    write_out(format("    from the host     %.1f GB/s, %.1f us for a few bytes\n", c.upload_bandwidth / 1e9,
                     c.upload_latency * 1e6));
    write_out(format("    to the host       %.1f GB/s, %.1f us for a few bytes\n", c.download_bandwidth / 1e9,
                     c.download_latency * 1e6));
    write_out("    products          f32 " + rate(c.product_f32) + ", f16 " + rate(c.product_f16) +
              ", bf16 " + rate(c.product_bf16) + "\n");
    write_out("    pointwise         f32 " + rate(c.pointwise_rate) + "\n");
}

void print_break_even(const graph::Calibration& host, const graph::Calibration& device) {
    const auto text = [](std::optional<std::int64_t> n) {
        return n ? std::to_string(*n) : std::string("never");
    };
    Table table{
        {"faster than the cpu from", "data on the host", "data on the device", "uncalibrated default"}, {}};
    for (const auto& [work, name] : kClasses)
        table.rows.push_back({name, text(graph::break_even(work, host, device, true)),
                              text(graph::break_even(work, host, device, false)),
                              std::to_string(graph::default_break_even(work))});
    write_out("    elements of the result (f32; products of square matrices):\n" + to_markdown(table));
}

std::optional<graph::Calibration> calibrate(Device& device, const DoctorArguments& a) {
    if (a.no_measure) return graph::known_calibration(device);
    Progress progress("measuring " + device.name(), a.verbose);
    return graph::calibration(device, a.measure, [&](int done, int total) {
        check_interrupted();
        progress.update(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
    });
}

}  // namespace

int run_doctor(const DoctorArguments& a) {
    set_recovery(Recovery::off);  // a device is judged by what it does itself
    if (a.verbose) set_log_level(LogLevel::kInfo);
    catch_interrupts();
    if (!a.device.empty()) find_device(a.device);  // throws for one that is not there
    std::vector<Check> checks = {check_cache()};
    std::vector<Found> found;
    const std::vector<BackendInfo> backends = list_backends();
    for (const BackendInfo& backend : backends)
        for (const DeviceProperties& p : backend.devices) {
            // The host is measured too: the others are held against it.
            if (!a.device.empty() && p.name != a.device && p.name != kHost) continue;
            std::shared_ptr<Device> device = find_device(p.name);
            if (!device->supports(Feature::arithmetic)) continue;
            checks.push_back(check_device(device));
            Found f{std::move(device), std::nullopt};
            if (checks.back().good) try {
                    f.calibration = calibrate(*f.device, a);
                } catch (const Cancelled&) {
                    throw;
                } catch (const Error& e) {
                    checks.push_back({"calibration of " + p.name, false, e.what()});
                }
            found.push_back(std::move(f));
        }
    std::optional<graph::Calibration> host;
    for (const Found& f : found)
        if (f.device->name() == kHost) host = f.calibration;
    const bool good = std::all_of(checks.begin(), checks.end(), [](const Check& c) { return c.good; });

    if (a.json) {
        nlohmann::ordered_json json;
        for (const auto& [name, value] : provenance()) json[name] = value;
        json["good"] = good;
        json["checks"] = nlohmann::ordered_json::array();
        for (const Check& c : checks)
            json["checks"].push_back({{"name", c.name}, {"good", c.good}, {"text", c.text}});
        json["backends"] = nlohmann::ordered_json::array();
        for (const BackendInfo& b : backends) {
            nlohmann::ordered_json entry = {{"name", b.name}, {"available", b.unavailable_reason.empty()}};
            if (!b.unavailable_reason.empty()) entry["reason"] = b.unavailable_reason;
            json["backends"].push_back(std::move(entry));
        }
        json["devices"] = nlohmann::ordered_json::array();
        for (const Found& f : found) {
            const DeviceProperties p = f.device->properties();
            nlohmann::ordered_json entry = {{"name", p.name},
                                            {"description", p.description},
                                            {"driver", p.driver},
                                            {"memory_total", p.memory_total},
                                            {"memory_free", p.memory_free}};
            if (f.calibration) entry["calibration"] = calibration_json(*f.calibration);
            if (f.calibration && host && p.name != kHost)
                entry["break_even"] = break_even_json(*host, *f.calibration);
            json["devices"].push_back(std::move(entry));
        }
        write_out(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
        return good ? 0 : kExitFailed;
    }

    write_out("invar " + std::string(version()) + " (" + std::string(commit()) + ")\n");
    for (const BackendInfo& b : backends)
        write_out("backend " + b.name + ": " +
                  (b.unavailable_reason.empty() ? "works\n" : "absent: " + b.unavailable_reason + "\n"));
    for (const Check& c : checks) write_out(c.name + ": " + (c.good ? "" : "BROKEN: ") + c.text + "\n");
    for (const Found& f : found) {
        const DeviceProperties p = f.device->properties();
        write_out("\n" + p.name + ": " + p.description + ", " + p.driver + ", " +
                  format_bytes(p.memory_total) + ", " + format_bytes(p.memory_free) + " free\n");
        if (!f.calibration) {
            write_out("    not measured" + std::string(a.no_measure ? " yet (invar doctor)\n" : "\n"));
            continue;
        }
        print(*f.calibration);
        if (host && p.name != kHost) print_break_even(*host, *f.calibration);
    }
    write_out(good ? "\nNothing is broken.\n" : "\nSomething is broken: see above.\n");
    return good ? 0 : kExitFailed;
}

}  // namespace invar::cli
