// SPDX-License-Identifier: Apache-2.0
// Messages of device faults.
#include "device/device_fault.h"

#include <cstring>

#include <invar/error.h>

namespace invar {

std::exception_ptr fault_error(const DeviceFault& fault) {
    const std::string format(fault.text, strnlen(fault.text, sizeof fault.text));
    std::string message;
    for (std::size_t i = 0; i < format.size(); ++i) {
        const bool value = format[i] == '{' && i + 2 < format.size() && format[i + 1] >= '0' &&
                           format[i + 1] <= '3' && format[i + 2] == '}';
        if (!value) {
            message += format[i];
            continue;
        }
        message += std::to_string(fault.values[format[i + 1] - '0']);
        i += 2;
    }
    if (fault.kind == DeviceFault::kInvalidArgument) return std::make_exception_ptr(InvalidArgument(message));
    return std::make_exception_ptr(LaunchFailed(message));
}

}  // namespace invar
