// SPDX-License-Identifier: Apache-2.0
// POSIX files for io/output_file.h.
#include "io/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <invar/error.h>

namespace invar::io {
namespace {

[[noreturn]] void fail_write(const std::string& path, const char* what, int error) {
    throw IoError(path + ": " + what + ": " + std::generic_category().message(error));
}

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& path) : path_(path.string()) {
    // O_EXCL: two threads that write the same file must not share a temporary one, and a name that is taken
    // may be another program's.
    constexpr int kTries = 100;
    const std::string first = path_ + ".tmp" + std::to_string(::getpid());
    int error = 0;
    for (int i = 0; i < kTries; ++i) {
        temporary_ = i == 0 ? first : first + "-" + std::to_string(i);
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd_ >= 0) return;
        error = errno;
        if (error != EEXIST) break;
    }
    fail_write(temporary_, "cannot create", error);
}

OutputFile::~OutputFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(temporary_.c_str());
}

void OutputFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
        const std::size_t step = std::min<std::size_t>(bytes.size() - done, 1u << 30);
        const ssize_t n = ::pwrite(fd_, bytes.data() + done, step, static_cast<off_t>(offset + done));
        if (n < 0) {
            if (errno == EINTR) continue;
            fail_write(temporary_, "cannot write", errno);
        }
        done += static_cast<std::size_t>(n);
    }
}

void OutputFile::finish(bool sync) {
    if (sync && ::fsync(fd_) != 0) fail_write(temporary_, "cannot write to the disk", errno);
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
        const int error = errno;
        ::unlink(temporary_.c_str());
        fail_write(path_, "cannot put the file in place", error);
    }
}

}  // namespace invar::io
