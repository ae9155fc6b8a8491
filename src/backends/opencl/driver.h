// SPDX-License-Identifier: Apache-2.0
// The OpenCL loader (libOpenCL), opened when first needed: the same files run where there is none.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/opencl/driver_api.h"

namespace invar::opencl {

struct Driver {
#define INVAR_MEMBER(member, symbol, result, parameters) result(*member) parameters = nullptr;
    INVAR_OPENCL_API(INVAR_MEMBER)
#undef INVAR_MEMBER

    // What a device answers; the fallback where it does not know the question.
    template <class T>
    T number(cl_device_id device, cl_uint what, T fallback = 0) const {
        T value{};
        return device_info(device, what, sizeof value, &value, nullptr) == kSuccess ? value : fallback;
    }
    std::string text(cl_device_id device, cl_uint what) const;
    std::string text(cl_platform_id platform, cl_uint what) const;
};

// "CL_OUT_OF_RESOURCES (-5)"
std::string describe(cl_int result);

// A device that fits, with what tells it apart from others in messages and in keys of the cache.
struct FoundDevice {
    cl_platform_id platform = nullptr;
    cl_device_id device = nullptr;
    std::string name;              // as its maker calls it
    std::string version, driver;   // "OpenCL 3.0 ...", the driver's own
    std::string platform_version;  // name and version of the platform
};

struct Found {
    std::shared_ptr<const Driver> driver;
    std::vector<FoundDevice> devices;  // GPUs first, then accelerators, then processors
    std::string why_none;              // where there are none
};

// Opens the loader and asks all its platforms. INVAR_OPENCL_DRIVER names another file than libOpenCL.so.1.
Found find_devices();

}  // namespace invar::opencl
