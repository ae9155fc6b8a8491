// SPDX-License-Identifier: Apache-2.0
// The null device's memory, log and streams. Kernels do nothing; copies, uploads and fills move real bytes, in memory
// that the host cannot see through the seam, as on a GPU of its own memory.
//
// One lock guards the memory, the log and all queues of a device: a deferred stream that waits for another one's event
// runs that stream's work, and both may belong to different threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/services.h"

namespace invar::null {

class Log final : public LaunchLog {
public:
    // Lines also go to the end of that file; "" for none. Throws IoError when it cannot be opened.
    explicit Log(const std::string& file);
    ~Log() override;
    std::string text() const override;
    void clear() override;
    void add(const std::string& line);

private:
    mutable std::mutex mutex_;
    std::string text_;
    std::FILE* file_ = nullptr;
};

// What streams, events and buffers share with their device and may outlive it with.
struct Shared {
    Shared(std::string device_name, const std::string& log_file)
        : name(std::move(device_name)), log(log_file) {}
    std::string name;
    std::recursive_mutex mutex;
    std::atomic<std::uint64_t> memory_used{0};
    Log log;
};

class NullBuffer final : public Buffer {
public:
    // Throws OutOfMemory over limit bytes. Pages are not used before they are written; contents are zero.
    NullBuffer(std::shared_ptr<Shared> shared, std::size_t bytes, std::uint64_t limit);
    ~NullBuffer() override;
    std::byte* bytes() const { return data_; }

private:
    std::shared_ptr<Shared> shared_;
    std::byte* data_ = nullptr;
};

class NullKernel final : public Kernel {
public:
    explicit NullKernel(std::string name) : Kernel(std::move(name)) {}
};

// deferred: work is done when it is waited for, not before.
std::unique_ptr<Stream> make_stream(std::shared_ptr<Shared> shared, bool deferred);

}  // namespace invar::null
