// SPDX-License-Identifier: Apache-2.0
// `invar devices`: every backend of this build with its devices, or the reason why it has none.
#include <nlohmann/json.hpp>

#include <invar/device.h>
#include <invar/error.h>

#include "commands.h"
#include "common.h"
#include "device/bandwidth.h"

namespace invar::cli {

namespace {

nlohmann::ordered_json to_json(const DeviceProperties& device) {
    return {{"name", device.name},
            {"description", device.description},
            {"driver", device.driver},
            {"memory_total", device.memory_total},
            {"memory_free", device.memory_free},
            {"unified_memory", device.unified_memory},
            {"compute_units", device.compute_units},
            {"warp_width", device.warp_width},
            {"max_block_threads", device.max_block_threads},
            {"shared_memory_bytes", device.shared_memory_bytes},
            {"read_bandwidth", device.read_bandwidth},
            {"copy_bandwidth", device.copy_bandwidth}};
}

void print(const DeviceProperties& device) {
    write_out("  " + device.name + ": " + device.description + "\n");
    write_out("    driver            " + device.driver + "\n");
    write_out("    memory            " + format_bytes(device.memory_total) + ", " +
              format_bytes(device.memory_free) + " free" +
              (device.unified_memory ? ", shared with the host" : "") + "\n");
    write_out(format("    compute units     %d, warps of %d, blocks of up to %d threads\n",
                     device.compute_units, device.warp_width, device.max_block_threads));
    write_out("    shared memory     " + format_bytes(device.shared_memory_bytes) + " a block\n");
    if (device.read_bandwidth > 0) {
        write_out(format("    bandwidth         %.1f GB/s reading, %.1f GB/s copying (measured)\n",
                         device.read_bandwidth / 1e9, device.copy_bandwidth / 1e9));
    } else {
        write_out("    bandwidth         not measured yet (invar bench device)\n");
    }
}

}  // namespace

int run_devices(const DevicesArguments& arguments) {
    std::string chosen;
    if (!arguments.device.empty()) chosen = find_device(arguments.device)->name();
    nlohmann::ordered_json result = {{"backends", nlohmann::ordered_json::array()}};
    for (BackendInfo& backend : list_backends()) {
        nlohmann::ordered_json devices = nlohmann::ordered_json::array();
        bool shown = chosen.empty();
        for (DeviceProperties& device : backend.devices) {
            if (!chosen.empty() && device.name != chosen) continue;
            shown = true;
            device = known_properties(*find_device(device.name));
            devices.push_back(to_json(device));
        }
        if (!shown) continue;
        if (arguments.json) {
            nlohmann::ordered_json entry = {{"name", backend.name},
                                            {"available", backend.unavailable_reason.empty()}};
            if (!backend.unavailable_reason.empty()) entry["reason"] = backend.unavailable_reason;
            entry["devices"] = std::move(devices);
            result["backends"].push_back(std::move(entry));
            continue;
        }
        write_out(backend.name + (backend.unavailable_reason.empty()
                                      ? "\n"
                                      : ": absent: " + backend.unavailable_reason + "\n"));
        for (const DeviceProperties& device : backend.devices) {
            if (chosen.empty() || device.name == chosen) print(device);
        }
    }
    if (arguments.json)
        write_out(result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    return 0;
}

}  // namespace invar::cli
