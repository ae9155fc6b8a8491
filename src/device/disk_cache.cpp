// SPDX-License-Identifier: Apache-2.0
// The disk cache: see the header for the format. Reading checks every field against the size of the file before it is
// used; whatever does not fit is removed and counts as a miss.
#include "device/disk_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>

#include <xxhash.h>

#include <invar/error.h>

#include "base/env.h"
#include "base/log.h"

namespace invar {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr char kMagic[8] = {'I', 'N', 'V', 'A', 'R', 'D', 'C', '1'};
constexpr std::uint32_t kFormatVersion = 1;

struct Header {
    char magic[8];
    std::uint32_t version;
    std::uint32_t zero;
    std::uint64_t key_bytes;
    std::uint64_t value_bytes;
    std::uint64_t checksum_low, checksum_high;
};
static_assert(sizeof(Header) == 48);

class File {
public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    ~File() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    explicit operator bool() const { return descriptor_ >= 0; }
    int get() const { return descriptor_; }

private:
    int descriptor_;
};

bool read_all(int descriptor, std::byte* to, std::size_t bytes) {
    while (bytes > 0) {
        const ssize_t n = ::read(descriptor, to, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        to += n;
        bytes -= static_cast<std::size_t>(n);
    }
    return true;
}

bool write_all(int descriptor, const std::byte* from, std::size_t bytes) {
    while (bytes > 0) {
        const ssize_t n = ::write(descriptor, from, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        from += n;
        bytes -= static_cast<std::size_t>(n);
    }
    return true;
}

std::string hex(XXH128_hash_t hash) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const std::uint64_t half : {hash.high64, hash.low64})
        for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[half >> shift & 15];
    return text;
}

std::filesystem::path users_cache_folder() {
    if (std::string folder = env_string("INVAR_CACHE_DIR"); !folder.empty()) return folder;
    if (std::string folder = env_string("XDG_CACHE_HOME"); !folder.empty())
        return std::filesystem::path(folder) / "invar";
    if (std::string folder = env_string("HOME"); !folder.empty())
        return std::filesystem::path(folder) / ".cache" / "invar";
    return {};
}

}  // namespace

DiskCache::DiskCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

DiskCache& DiskCache::shared() {
    static DiskCache* const cache = [] {
        std::filesystem::path folder = users_cache_folder();
        std::error_code error;
        if (!folder.empty()) std::filesystem::create_directories(folder, error);
        if (folder.empty() || error || ::access(folder.c_str(), W_OK | X_OK) != 0) {
            log(LogLevel::kWarning, "cache folder '" + folder.string() +
                                        "' cannot be written; measurements are repeated in every run. Set "
                                        "INVAR_CACHE_DIR to a folder that can");
            folder.clear();
        }
        return new DiskCache(std::move(folder));
    }();
    return *cache;
}

std::filesystem::path DiskCache::entry_path(std::string_view kind, std::string_view key) const {
    if (kind.empty() ||
        kind.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") != std::string_view::npos)
        throw InvalidArgument("disk cache: '" + std::string(kind) +
                              "' is not a kind; use a-z, 0-9, '_' and '-'");
    return folder_ / kind / (hex(XXH3_128bits(key.data(), key.size())) + ".bin");
}

std::optional<std::vector<std::byte>> DiskCache::load(std::string_view kind, std::string_view key) {
    const std::filesystem::path path = entry_path(kind, key);
    if (folder_.empty()) return std::nullopt;
    const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return std::nullopt;
    const auto miss = [&](const char* why) {
        log(LogLevel::kWarning,
            "cache entry '" + path.string() + "': " + why + "; it is removed and made again");
        ::unlink(path.c_str());
        return std::nullopt;
    };
    struct stat status {};
    if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return miss("not a plain file");
    const auto size = static_cast<std::uint64_t>(status.st_size);
    Header header;
    if (size < sizeof header || !read_all(file.get(), reinterpret_cast<std::byte*>(&header), sizeof header))
        return miss("shorter than its header");
    if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return miss("not a cache entry");
    if (header.version != kFormatVersion || header.zero != 0) return miss("of another format version");
    const std::uint64_t body = size - sizeof header;
    if (header.key_bytes > body || header.value_bytes != body - header.key_bytes)
        return miss("its length is not what its header says");
    if (header.key_bytes != key.size()) return miss("of another key");
    std::vector<std::byte> bytes(body);
    if (!read_all(file.get(), bytes.data(), bytes.size())) return miss("could not be read to its end");
    const XXH128_hash_t sum = XXH3_128bits(bytes.data(), bytes.size());
    if (sum.low64 != header.checksum_low || sum.high64 != header.checksum_high)
        return miss("its checksum is wrong");
    if (!std::equal(key.begin(), key.end(), reinterpret_cast<const char*>(bytes.data())))
        return miss("of another key");
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(key.size()));
    return bytes;
}

void DiskCache::store(std::string_view kind, std::string_view key, std::span<const std::byte> value) {
    const std::filesystem::path path = entry_path(kind, key);
    if (folder_.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    std::vector<std::byte> bytes(sizeof(Header) + key.size() + value.size());
    Header header{};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    header.version = kFormatVersion;
    header.key_bytes = key.size();
    header.value_bytes = value.size();
    std::byte* body = bytes.data() + sizeof header;
    if (!key.empty()) std::memcpy(body, key.data(), key.size());
    if (!value.empty()) std::memcpy(body + key.size(), value.data(), value.size());
    const XXH128_hash_t sum = XXH3_128bits(body, key.size() + value.size());
    header.checksum_low = sum.low64;
    header.checksum_high = sum.high64;
    std::memcpy(bytes.data(), &header, sizeof header);

    // A name of its own for each writer; the rename makes the whole entry appear at once.
    static std::atomic<std::uint64_t> serial{0};
    const std::string temporary =
        path.string() + "." + std::to_string(::getpid()) + "-" + std::to_string(serial.fetch_add(1)) + ".tmp";
    bool written = false;
    {
        const File file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        written = file && write_all(file.get(), bytes.data(), bytes.size());
    }
    if (!written || ::rename(temporary.c_str(), path.c_str()) != 0) {
        log(LogLevel::kWarning, "cache entry '" + path.string() +
                                    "' could not be written: " + std::generic_category().message(errno));
        ::unlink(temporary.c_str());
    }
}

}  // namespace invar
