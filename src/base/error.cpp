// SPDX-License-Identifier: Apache-2.0
// Key functions of the error types: they anchor each type's run-time information in libinvar.
#include <invar/error.h>

namespace invar {

Error::~Error() = default;
OutOfMemory::~OutOfMemory() = default;
DeviceLost::~DeviceLost() = default;
CompileFailed::~CompileFailed() = default;
LaunchFailed::~LaunchFailed() = default;
NoDevice::~NoDevice() = default;
Unsupported::~Unsupported() = default;
InvalidArgument::~InvalidArgument() = default;
IoError::~IoError() = default;
FormatError::~FormatError() = default;
Cancelled::~Cancelled() = default;

std::string_view error_kind_name(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::kOutOfMemory: return "out_of_memory";
        case ErrorKind::kDeviceLost: return "device_lost";
        case ErrorKind::kCompileFailed: return "compile_failed";
        case ErrorKind::kLaunchFailed: return "launch_failed";
        case ErrorKind::kNoDevice: return "no_device";
        case ErrorKind::kUnsupported: return "unsupported";
        case ErrorKind::kInvalidArgument: return "invalid_argument";
        case ErrorKind::kIo: return "io";
        case ErrorKind::kFormat: return "format";
        case ErrorKind::kCancelled: return "cancelled";
    }
    return "unknown";
}

}  // namespace invar
