// SPDX-License-Identifier: Apache-2.0
// Facts about the host, from /proc and /sys on Linux and sysctl on macOS.
#include "backends/cpu/cpu_info.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <unistd.h>
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include <hwy/highway.h>

namespace invar {
namespace {

#if defined(__APPLE__)
std::uint64_t sysctl_number(const char* name) {
    std::uint64_t value = 0;
    std::size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}
#else
// The rest of the first line that begins with the key, blanks and a colon removed; "" where there is none.
std::string line_value(const char* file, std::string_view key) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        if (!line.starts_with(key)) continue;
        const std::size_t at = line.find_first_not_of(" \t:", key.size());
        return at == std::string::npos ? "" : line.substr(at);
    }
    return {};
}

std::uint64_t meminfo_bytes(std::string_view key) {
    return std::strtoull(line_value("/proc/meminfo", key).c_str(), nullptr, 10) * 1024;
}

// The number in a file such as a control group's; 0 where there is none or it says "max".
std::uint64_t number_in(const std::string& file) {
    std::ifstream in(file);
    std::uint64_t value = 0;
    return in >> value ? value : 0;
}

// "512K" or "32M" as bytes.
std::uint64_t cache_size(const std::string& file) {
    std::ifstream in(file);
    std::uint64_t value = 0;
    char unit = ' ';
    if (!(in >> value)) return 0;
    in >> unit;
    return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : value;
}
#endif

}  // namespace

std::string cpu_model_name() {
#if defined(__APPLE__)
    char text[256] = {};
    std::size_t size = sizeof text - 1;
    if (sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0) return text;
#else
    for (const char* key : {"model name", "Hardware", "CPU part"})
        if (std::string name = line_value("/proc/cpuinfo", key); !name.empty()) return name;
#endif
    return "processor";
}

std::uint64_t host_memory_total() {
#if defined(__APPLE__)
    return sysctl_number("hw.memsize");
#else
    const std::uint64_t machine = meminfo_bytes("MemTotal"), group = number_in("/sys/fs/cgroup/memory.max");
    return group ? std::min(machine, group) : machine;
#endif
}

std::uint64_t host_memory_free() {
#if defined(__APPLE__)
    return sysctl_number("vm.page_free_count") * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
#else
    const std::uint64_t machine = meminfo_bytes("MemAvailable"),
                        group = number_in("/sys/fs/cgroup/memory.max");
    if (!group) return machine;
    const std::uint64_t used = number_in("/sys/fs/cgroup/memory.current");
    return std::min(machine, group > used ? group - used : 0);
#endif
}

std::uint64_t host_largest_cache() {
#if defined(__APPLE__)
    return std::max(sysctl_number("hw.l3cachesize"), sysctl_number("hw.l2cachesize"));
#else
    std::uint64_t largest = 0;
    for (int index = 0; index < 8; ++index)
        largest = std::max(largest, cache_size("/sys/devices/system/cpu/cpu0/cache/index" +
                                               std::to_string(index) + "/size"));
    return largest;
#endif
}

std::string cpu_instruction_set() {
    const auto usable = hwy::SupportedTargets() & HWY_TARGETS;
    // Highway numbers its targets so that the best one is the lowest bit.
    const auto best = usable & -usable;
    return best ? hwy::TargetName(static_cast<decltype(hwy::SupportedTargets())>(best)) : "scalar";
}

}  // namespace invar
