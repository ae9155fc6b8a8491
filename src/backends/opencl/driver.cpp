// SPDX-License-Identifier: Apache-2.0
// Opening libOpenCL, and which of its devices can be used.
#include "backends/opencl/driver.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/env.h"
#include "base/log.h"

namespace invar::opencl {
namespace {

#if defined(__APPLE__)
constexpr const char* kLoader = "/System/Library/Frameworks/OpenCL.framework/OpenCL";
#else
constexpr const char* kLoader = "libOpenCL.so.1";
#endif
#if defined(__linux__)
constexpr const char* kMachine = "/sys/devices/system/cpu";
#else
constexpr const char* kMachine = nullptr;
#endif
constexpr cl_uint kMostPlatforms = 64, kMostDevices = 256;

template <class Ask>
std::string text_of(Ask ask) {
    std::size_t size = 0;
    if (ask(0, nullptr, &size) != kSuccess || size == 0) return {};
    std::string text(size, '\0');
    if (ask(size, text.data(), nullptr) != kSuccess) return {};
    text.resize(std::min(text.find('\0'), text.size()));
    const std::size_t begin = text.find_first_not_of(' ');
    return begin == std::string::npos ? std::string() : text.substr(begin);
}

std::shared_ptr<const Driver> open_loader(std::string& why) {
    const std::string file = env_string("INVAR_OPENCL_DRIVER", kLoader);
    // PoCL ends the process where it cannot see the machine's memory, as in a bare chroot.
    if (file == kLoader && kMachine != nullptr && access(kMachine, R_OK) != 0) {
        why = std::string("'") + kMachine +
              "' cannot be read, without which OpenCL drivers do not see the machine; mount /sys";
        return nullptr;
    }
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char* reason = dlerror();
        why = std::string("no OpenCL loader: ") + (reason ? reason : "no reason given") +
              "; install one (Debian and Ubuntu: ocl-icd-libopencl1) and the OpenCL driver of your device";
        return nullptr;
    }
    auto driver = std::make_shared<Driver>();
    const char* missing = nullptr;
#define INVAR_LOAD(member, symbol, result, parameters)                                    \
    driver->member = reinterpret_cast<decltype(driver->member)>(dlsym(library, #symbol)); \
    if (!driver->member && !missing) missing = #symbol;
    INVAR_OPENCL_API(INVAR_LOAD)
#undef INVAR_LOAD
    if (!missing) return driver;
    why = "the OpenCL loader '" + file + "' has no " + missing + "; install one for OpenCL 1.2 or newer";
    return nullptr;
}

// Why a device cannot be used; empty when it can.
std::string unfit(const Driver& d, const FoundDevice& found) {
    int major = 0, minor = 0;
    if (std::sscanf(found.version.c_str(), "OpenCL %d.%d", &major, &minor) != 2 || major * 10 + minor < 12)
        return "it speaks '" + found.version + "'; OpenCL 1.2 or newer is needed";
    if (d.text(found.device, kDeviceProfile) != "FULL_PROFILE")
        return "it has only the embedded profile, whose arithmetic rounds otherwise";
    if (!d.number<cl_uint>(found.device, kDeviceAvailable)) return "its driver says that it is not available";
    if (!d.number<cl_uint>(found.device, kCompilerAvailable)) return "its driver has no compiler";
    if (!d.number<cl_uint>(found.device, kEndianLittle)) return "it is not little-endian";
    constexpr cl_ulong kNeeded = kFpDenorm | kFpInfNan | kFpRoundToNearest;
    if ((d.number<cl_ulong>(found.device, kSingleConfig) & kNeeded) != kNeeded)
        return "its f32 arithmetic lacks denormals, infinities or rounding to nearest";
    return {};
}

// GPUs before accelerators before processors.
int order(const Driver& driver, const FoundDevice& found) {
    const cl_ulong type = driver.number<cl_ulong>(found.device, kDeviceType);
    return type & kTypeGpu ? 0 : type & kTypeAccelerator ? 1 : 2;
}

}  // namespace

std::string Driver::text(cl_device_id device, cl_uint what) const {
    return text_of([&](std::size_t size, void* to, std::size_t* needed) {
        return device_info(device, what, size, to, needed);
    });
}

std::string Driver::text(cl_platform_id platform, cl_uint what) const {
    return text_of([&](std::size_t size, void* to, std::size_t* needed) {
        return platform_info(platform, what, size, to, needed);
    });
}

std::string describe(cl_int result) {
    const char* name = "an OpenCL error";
    switch (result) {
#define INVAR_CASE(constant, word, value) \
    case value: name = "CL_" #word; break;
        INVAR_OPENCL_RESULTS(INVAR_CASE)
#undef INVAR_CASE
        case kPlatformNotFound: name = "CL_PLATFORM_NOT_FOUND_KHR"; break;
        default: break;
    }
    return std::string(name) + " (" + std::to_string(result) + ")";
}

Found find_devices() {
    Found found;
    found.driver = open_loader(found.why_none);
    if (!found.driver) return found;
    const Driver& driver = *found.driver;
    cl_platform_id platforms[kMostPlatforms] = {};
    cl_uint count = 0;
    const cl_int result = driver.platforms(kMostPlatforms, platforms, &count);
    if (result != kSuccess || count == 0) {
        found.why_none =
            result == kSuccess || result == kPlatformNotFound
                ? "the OpenCL loader knows no driver; install that of your device, or pocl-opencl-icd for "
                  "the processor"
                : "the OpenCL loader does not start: " + describe(result);
        return found;
    }
    std::string unusable;
    const auto refuse = [&](const std::string& what) {
        unusable += (unusable.empty() ? "" : "; ") + what;
        log(LogLevel::kInfo, "opencl: " + what);
    };
    for (cl_uint p = 0; p < std::min(count, kMostPlatforms); ++p) {
        const std::string platform = driver.text(platforms[p], kPlatformName);
        cl_device_id devices[kMostDevices] = {};
        cl_uint device_count = 0;
        const cl_int asked = driver.devices(platforms[p], kTypeCpu | kTypeGpu | kTypeAccelerator,
                                            kMostDevices, devices, &device_count);
        if (asked != kSuccess || device_count == 0) {
            refuse("platform '" + platform + "' has no device" +
                   (asked == kSuccess || asked == kDeviceNotFound ? "" : ": " + describe(asked)));
            continue;
        }
        for (cl_uint d = 0; d < std::min(device_count, kMostDevices); ++d) {
            FoundDevice device{platforms[p],
                               devices[d],
                               driver.text(devices[d], kDeviceName),
                               driver.text(devices[d], kDeviceVersion),
                               driver.text(devices[d], kDriverVersion),
                               platform + ", " + driver.text(platforms[p], kPlatformVersion)};
            if (const std::string why = unfit(driver, device); !why.empty())
                refuse("device '" + device.name + "' of platform '" + platform + "' cannot be used: " + why);
            else
                found.devices.push_back(std::move(device));
        }
    }
    std::stable_sort(
        found.devices.begin(), found.devices.end(),
        [&](const FoundDevice& a, const FoundDevice& b) { return order(driver, a) < order(driver, b); });
    if (found.devices.empty()) found.why_none = unusable;
    return found;
}

}  // namespace invar::opencl
