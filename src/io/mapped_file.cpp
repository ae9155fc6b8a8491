// SPDX-License-Identifier: Apache-2.0
// POSIX files for io/mapped_file.h. All reads go through read_exact, so that a short read is noticed (and can
// be provoked) in one place.
#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

#include <invar/error.h>

#include "device/faults.h"

namespace invar::io {
namespace {

std::string errno_text(int error) { return std::generic_category().message(error); }

// A descriptor of a regular file and its size at this moment.
class Descriptor {
public:
    explicit Descriptor(const std::string& path) {
        // O_NONBLOCK: opening a FIFO by mistake must fail below instead of waiting for a writer.
        fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd_ < 0) throw IoError(path + ": cannot open: " + errno_text(errno));
        struct stat st {};
        if (::fstat(fd_, &st) != 0) {
            const int error = errno;
            ::close(fd_);
            throw IoError(path + ": cannot read its size: " + errno_text(error));
        }
        if (!S_ISREG(st.st_mode)) {
            ::close(fd_);
            throw IoError(path + ": is not a regular file; give a file");
        }
        size_ = static_cast<std::uint64_t>(st.st_size);
    }
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }
    std::uint64_t size() const { return size_; }

private:
    int fd_ = -1;
    std::uint64_t size_ = 0;
};

void read_exact(int fd, std::uint64_t offset, std::span<std::byte> into, const std::string& path) {
    std::size_t got = 0;
    std::size_t available = into.size();
    if (!into.empty() && fault_fires(FaultSite::short_read, path)) available = into.size() / 2;
    while (got < available) {
        // Linux moves at most 0x7ffff000 bytes a call; macOS refuses more than INT_MAX.
        const std::size_t step = std::min<std::size_t>(available - got, 1u << 30);
        const ssize_t n = ::pread(fd, into.data() + got, step, static_cast<off_t>(offset + got));
        if (n < 0) {
            if (errno == EINTR) continue;
            throw IoError(path + ": reading " + std::to_string(into.size()) + " bytes at byte " +
                          std::to_string(offset) + " failed: " + errno_text(errno));
        }
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    if (got < into.size()) {
        throw IoError(path + ": short read at byte " + std::to_string(offset) + ": wanted " +
                      std::to_string(into.size()) + " bytes, got " + std::to_string(got) +
                      "; the file was cut while in use or the disk failed");
    }
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
    const std::string name = path.string();
    Descriptor fd(name);
    if (fd.size() > std::numeric_limits<std::size_t>::max() / 2) {
        throw IoError(name + ": " + std::to_string(fd.size()) + " bytes do not fit the address space");
    }
    std::shared_ptr<MappedFile> file(new MappedFile);
    file->path_ = name;
    if (fd.size() > 0) {
        void* p = ::mmap(nullptr, static_cast<std::size_t>(fd.size()), PROT_READ, MAP_SHARED, fd.get(), 0);
        if (p == MAP_FAILED) {
            throw IoError(name + ": cannot map " + std::to_string(fd.size()) +
                          " bytes: " + errno_text(errno));
        }
        file->data_ = static_cast<const std::byte*>(p);
        file->size_ = static_cast<std::size_t>(fd.size());
    }
    file->fd_ = fd.release();
    return file;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
    if (fd_ >= 0) ::close(fd_);
}

void MappedFile::advise(std::size_t offset, std::size_t length, Access access) const noexcept {
    if (offset >= size_) return;
    length = std::min(length, size_ - offset);
    if (length == 0) return;
    int advice = POSIX_MADV_NORMAL;
    switch (access) {
        case Access::normal: break;
        case Access::sequential: advice = POSIX_MADV_SEQUENTIAL; break;
        case Access::random: advice = POSIX_MADV_RANDOM; break;
        case Access::will_need: advice = POSIX_MADV_WILLNEED; break;
        // glibc makes POSIX_MADV_DONTNEED do nothing; on a read-only file map MADV_DONTNEED only drops pages.
        case Access::dont_need: advice = MADV_DONTNEED; break;
    }
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    std::size_t begin = offset / page * page, end = offset + length;
    if (access == Access::dont_need) {
        // Only whole pages: neighbours may be in use.
        begin = (offset + page - 1) / page * page;
        end = end == size_ ? end : end / page * page;
        if (begin >= end) return;
    }
    void* p = const_cast<std::byte*>(data_ + begin);
    if (access == Access::dont_need) {
        (void)::madvise(p, end - begin, advice);
    } else {
        (void)::posix_madvise(p, end - begin, advice);
    }
}

void MappedFile::check_size() const {
    struct stat st {};
    if (::fstat(fd_, &st) != 0) throw IoError(path_ + ": cannot read its size: " + errno_text(errno));
    if (static_cast<std::uint64_t>(st.st_size) < size_) {
        throw IoError(path_ + ": was " + std::to_string(size_) + " bytes when it was opened and is " +
                      std::to_string(st.st_size) + " now; do not change model files while they are in use");
    }
}

void MappedFile::read(std::uint64_t offset, std::span<std::byte> into) const {
    if (offset > size_ || into.size() > size_ - offset) {
        throw IoError(path_ + ": wanted " + std::to_string(into.size()) + " bytes at byte " +
                      std::to_string(offset) + " of a " + std::to_string(size_) + "-byte file");
    }
    read_exact(fd_, offset, into, path_);
}

std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes) {
    const std::string name = path.string();
    Descriptor fd(name);
    if (fd.size() > max_bytes) {
        throw FormatError(name + ": is " + std::to_string(fd.size()) + " bytes; at most " +
                          std::to_string(max_bytes) + " are accepted");
    }
    std::string text(static_cast<std::size_t>(fd.size()), '\0');
    read_exact(fd.get(), 0, std::as_writable_bytes(std::span(text.data(), text.size())), name);
    return text;
}

}  // namespace invar::io
