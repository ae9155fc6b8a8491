// SPDX-License-Identifier: Apache-2.0
// The typed errors of Invar. Every failure that a caller can meet is one of these; each message says what happened,
// to what, and what to do. The types live in libinvar (key functions), so that an exception thrown in a backend
// module is caught by its type in the program.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <invar/export.h>

namespace invar {

enum class ErrorKind {
    kOutOfMemory,
    kDeviceLost,
    kCompileFailed,
    kLaunchFailed,
    kNoDevice,
    kUnsupported,
    kInvalidArgument,
    kIo,
    kFormat,
    kCancelled,
};

// The name by which logs and JSON output call a kind, for example "out_of_memory".
INVAR_API std::string_view error_kind_name(ErrorKind kind);

class INVAR_API Error : public std::runtime_error {
public:
    Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    ~Error() override;
    ErrorKind kind() const noexcept { return kind_; }

private:
    ErrorKind kind_;
};

// A device or budget has no room; requested and available are in bytes (0 when not known).
class INVAR_API OutOfMemory : public Error {
public:
    OutOfMemory(const std::string& message, std::size_t requested, std::size_t available)
        : Error(ErrorKind::kOutOfMemory, message), requested_(requested), available_(available) {}
    ~OutOfMemory() override;
    std::size_t requested() const noexcept { return requested_; }
    std::size_t available() const noexcept { return available_; }

private:
    std::size_t requested_, available_;
};

class INVAR_API DeviceLost : public Error {
public:
    // memory_lost: what lay in the device's memory is gone too.
    explicit DeviceLost(const std::string& message, bool memory_lost = false)
        : Error(ErrorKind::kDeviceLost, message), memory_lost_(memory_lost) {}
    ~DeviceLost() override;
    bool memory_lost() const noexcept { return memory_lost_; }

private:
    bool memory_lost_;
};

// A kernel did not compile; log() holds the compiler's words and the numbered source.
class INVAR_API CompileFailed : public Error {
public:
    CompileFailed(const std::string& message, std::string log)
        : Error(ErrorKind::kCompileFailed, message), log_(std::move(log)) {}
    ~CompileFailed() override;
    const std::string& log() const noexcept { return log_; }

private:
    std::string log_;
};

class INVAR_API LaunchFailed : public Error {
public:
    explicit LaunchFailed(const std::string& message) : Error(ErrorKind::kLaunchFailed, message) {}
    ~LaunchFailed() override;
};

class INVAR_API NoDevice : public Error {
public:
    explicit NoDevice(const std::string& message) : Error(ErrorKind::kNoDevice, message) {}
    ~NoDevice() override;
};

class INVAR_API Unsupported : public Error {
public:
    explicit Unsupported(const std::string& message) : Error(ErrorKind::kUnsupported, message) {}
    ~Unsupported() override;
};

class INVAR_API InvalidArgument : public Error {
public:
    explicit InvalidArgument(const std::string& message) : Error(ErrorKind::kInvalidArgument, message) {}
    ~InvalidArgument() override;
};

class INVAR_API IoError : public Error {
public:
    explicit IoError(const std::string& message) : Error(ErrorKind::kIo, message) {}
    ~IoError() override;
};

// A file, prompt or program from outside that is not what it claims to be.
class INVAR_API FormatError : public Error {
public:
    explicit FormatError(const std::string& message) : Error(ErrorKind::kFormat, message) {}
    ~FormatError() override;
};

// Work that its caller asked to stop.
class INVAR_API Cancelled : public Error {
public:
    explicit Cancelled(const std::string& message) : Error(ErrorKind::kCancelled, message) {}
    ~Cancelled() override;
};

}  // namespace invar
