// SPDX-License-Identifier: Apache-2.0
// Fault injection. One atomic says whether any fault is set; only then is the list looked at, under a lock.
#include "device/faults.h"

#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include <invar/error.h>

#include "base/env.h"
#include "base/log.h"

namespace invar {
namespace {

constexpr std::array<std::string_view, 6> kSites = {"oom",    "short_read", "compile",
                                                    "launch", "lost",       "wiped"};

struct Fault {
    FaultSite site;
    std::uint64_t visit = 0;  // 0: by name
    bool onwards = false;     // that visit and every later one
    std::string name;
    std::string device;      // counts visits of this one alone; "": of all
    std::uint64_t seen = 0;  // that it counted

    bool fires(FaultSite at, std::string_view called, std::string_view on) {
        if (site != at || (!device.empty() && device != on)) return false;
        ++seen;
        return visit == 0 ? name == called : onwards ? seen >= visit : seen == visit;
    }
};

enum State : int { kUnread, kOff, kOn };
std::atomic<int> state{kUnread};

struct Table {
    std::mutex mutex;
    std::vector<Fault> faults;
    std::array<std::uint64_t, kSites.size()> visits{};
};

Table& table() {
    static Table* const t = new Table;  // never destroyed: work may still run while the process ends
    return *t;
}

Fault parse_fault(std::string_view word) {
    const auto wrong = [&](const std::string& why) {
        return InvalidArgument("INVAR_FAULTS: '" + std::string(word) + "': " + why +
                               "; write SITE@N, SITE@N+, either with :DEVICE behind it, or SITE@NAME with "
                               "SITE one of oom, short_read, compile, launch, lost, wiped");
    };
    const std::size_t at = word.find('@');
    if (at == std::string_view::npos) throw wrong("no '@'");
    const std::string_view site = word.substr(0, at);
    std::string_view when = word.substr(at + 1);
    Fault fault{};
    std::size_t index = 0;
    while (index < kSites.size() && kSites[index] != site) ++index;
    if (index == kSites.size()) throw wrong("no site of that name");
    fault.site = static_cast<FaultSite>(index);
    if (when.empty()) throw wrong("nothing after '@'");
    if (when[0] < '0' || when[0] > '9') {
        fault.name = when;
        return fault;
    }
    if (const std::size_t colon = when.find(':'); colon != std::string_view::npos) {
        fault.device = when.substr(colon + 1);
        when = when.substr(0, colon);
        if (fault.device.empty()) throw wrong("no device after ':'");
    }
    fault.onwards = when.ends_with('+');
    const char* const last = when.data() + when.size() - (fault.onwards ? 1 : 0);
    const auto [end, status] = std::from_chars(when.data(), last, fault.visit);
    if (status != std::errc{} || end != last || fault.visit == 0)
        throw wrong("'" + std::string(when) + "' is not a visit number from 1");
    return fault;
}

// Called under the table's lock.
void replace_list(Table& t, std::string_view list) {
    std::vector<Fault> faults;
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        faults.push_back(parse_fault(list.substr(0, comma)));
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
        if (list.empty()) throw InvalidArgument("INVAR_FAULTS: the list ends with a comma; remove it");
    }
    t.faults = std::move(faults);
    t.visits.fill(0);
    state.store(t.faults.empty() ? kOff : kOn, std::memory_order_release);
}

}  // namespace

bool fault_fires(FaultSite site, std::string_view name, std::string_view device) {
    if (state.load(std::memory_order_acquire) == kOff) return false;
    Table& t = table();
    const std::lock_guard lock(t.mutex);
    if (state.load(std::memory_order_relaxed) == kUnread) replace_list(t, env_string("INVAR_FAULTS"));
    if (state.load(std::memory_order_relaxed) == kOff) return false;
    const std::uint64_t visit = ++t.visits[static_cast<std::size_t>(site)];
    bool fires = false;  // every one of them counts the visit
    for (Fault& fault : t.faults) fires = fault.fires(site, name, device) || fires;
    if (fires)
        log(LogLevel::kInfo, "fault injected: " + std::string(kSites[static_cast<std::size_t>(site)]) + "@" +
                                 std::to_string(visit) + " " + std::string(name));
    return fires;
}

std::exception_ptr launch_fault(const std::string& device, const std::string& kernel) {
    if (fault_fires(FaultSite::wiped, kernel, device))
        return std::make_exception_ptr(DeviceLost(
            device + ": device lost in kernel '" + kernel + "', with its memory (injected by INVAR_FAULTS)",
            true));
    if (fault_fires(FaultSite::lost, kernel, device))
        return std::make_exception_ptr(
            DeviceLost(device + ": device lost in kernel '" + kernel + "' (injected by INVAR_FAULTS)"));
    if (fault_fires(FaultSite::launch, kernel, device))
        return std::make_exception_ptr(
            LaunchFailed(device + ": kernel '" + kernel + "' failed (injected by INVAR_FAULTS)"));
    return nullptr;
}

std::uint64_t fault_visits(FaultSite site) {
    Table& t = table();
    const std::lock_guard lock(t.mutex);
    return t.visits[static_cast<std::size_t>(site)];
}

void set_faults(std::string_view list) {
    Table& t = table();
    const std::lock_guard lock(t.mutex);
    replace_list(t, list);
}

}  // namespace invar
