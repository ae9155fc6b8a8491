// SPDX-License-Identifier: Apache-2.0
// The disk cache: round trips, every kind of corruption is a removed miss, many writers at once.
#include "device/disk_cache.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <invar/error.h>

#include "base/log.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    return {data, data + text.size()};
}

class DiskCacheTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "invar-cache-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder = pattern;
        level = log_level();
        set_log_level(LogLevel::kError);
    }
    void TearDown() override {
        set_log_level(level);
        fs::remove_all(folder);
    }

    // Stores an entry, lets change damage the bytes of its file, and asks for it again.
    template <class Change>
    void expect_miss_after(const char* what, Change change) {
        DiskCache cache(folder);
        cache.store("kind", "key", bytes_of("a value that is worth keeping"));
        const fs::path path = cache.entry_path("kind", "key");
        std::string content;
        {
            std::ifstream in(path, std::ios::binary);
            content.assign(std::istreambuf_iterator<char>(in), {});
        }
        ASSERT_TRUE(cache.load("kind", "key")) << what;
        change(content);
        std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
        EXPECT_FALSE(cache.load("kind", "key")) << what;
        EXPECT_FALSE(fs::exists(path)) << what << ": the bad file was left";
        cache.store("kind", "key", bytes_of("made again"));
        EXPECT_EQ(cache.load("kind", "key"), bytes_of("made again")) << what;
    }

    fs::path folder;
    LogLevel level = LogLevel::kWarning;
};

TEST_F(DiskCacheTest, RoundTrip) {
    DiskCache cache(folder / "made" / "on demand");
    EXPECT_FALSE(cache.load("kernels", "k"));
    cache.store("kernels", "k", bytes_of("one"));
    cache.store("tuning", "k", bytes_of("two"));
    cache.store("kernels", "", {});
    const std::string long_key(100000, 'x');
    cache.store("kernels", long_key, bytes_of(std::string("\0\1\2", 3)));
    EXPECT_EQ(cache.load("kernels", "k"), bytes_of("one"));
    EXPECT_EQ(cache.load("tuning", "k"), bytes_of("two"));
    EXPECT_EQ(cache.load("kernels", ""), std::vector<std::byte>{});
    EXPECT_EQ(cache.load("kernels", long_key), bytes_of(std::string("\0\1\2", 3)));
    cache.store("kernels", "k", bytes_of("replaced"));
    EXPECT_EQ(DiskCache(cache.folder()).load("kernels", "k"), bytes_of("replaced"));
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
}

TEST_F(DiskCacheTest, EveryTruncationIsAMiss) {
    for (std::size_t keep = 0; keep < 80; keep += 7)
        expect_miss_after("truncated", [&](std::string& c) { c.resize(keep); });
    expect_miss_after("one byte short", [](std::string& c) { c.pop_back(); });
    expect_miss_after("one byte more", [](std::string& c) { c += 'x'; });
}

TEST_F(DiskCacheTest, EveryFlippedBitIsAMiss) {
    DiskCache cache(folder);
    cache.store("kind", "key", bytes_of("a value that is worth keeping"));
    const std::size_t size = fs::file_size(cache.entry_path("kind", "key"));
    ASSERT_EQ(size, 48u + 3 + 29);
    for (std::size_t at = 0; at < size; ++at)
        expect_miss_after("flipped bit",
                          [&](std::string& c) { c[at] = static_cast<char>(c[at] ^ (1 << at % 8)); });
}

TEST_F(DiskCacheTest, AnotherVersionIsAMiss) {
    expect_miss_after("version", [](std::string& c) { c[8] = 9; });
    expect_miss_after("lengths that overflow", [](std::string& c) { std::memset(c.data() + 16, 0xff, 16); });
}

TEST_F(DiskCacheTest, AnotherKeyUnderTheSameNameIsAMiss) {
    DiskCache cache(folder);
    cache.store("kind", "key", bytes_of("mine"));
    cache.store("kind", "yek", bytes_of("not mine"));
    cache.store("kind", "longer key", bytes_of("not mine either"));
    for (const char* other : {"yek", "longer key"}) {
        fs::copy_file(cache.entry_path("kind", other), cache.entry_path("kind", "key"),
                      fs::copy_options::overwrite_existing);
        EXPECT_FALSE(cache.load("kind", "key")) << other;
        EXPECT_FALSE(fs::exists(cache.entry_path("kind", "key")));
    }
}

TEST_F(DiskCacheTest, KindsStayInTheirFolder) {
    DiskCache cache(folder);
    for (const char* kind : {"", "..", "a/b", "../x", "A", "a b"}) {
        EXPECT_THROW(cache.store(kind, "k", {}), InvalidArgument) << kind;
        EXPECT_THROW(cache.load(kind, "k"), InvalidArgument) << kind;
    }
}

TEST_F(DiskCacheTest, FolderThatCannotBeWrittenOnlyMisses) {
    std::ofstream(folder / "file") << "x";
    DiskCache cache(folder / "file" / "below");
    cache.store("kind", "key", bytes_of("v"));
    EXPECT_FALSE(cache.load("kind", "key"));
    DiskCache none{fs::path()};
    none.store("kind", "key", bytes_of("v"));
    EXPECT_FALSE(none.load("kind", "key"));
}

TEST_F(DiskCacheTest, ManyWritersNeverShowHalfAnEntry) {
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0}, hits{0};
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            DiskCache cache(folder);
            const std::vector<std::byte> mine(20000, static_cast<std::byte>(t));
            for (int i = 0; i < 60; ++i) {
                cache.store("kind", "shared key", mine);
                const auto seen = cache.load("kind", "shared key");
                if (!seen) {
                    ++wrong;
                    continue;
                }
                ++hits;
                for (const std::byte b : *seen)
                    if (seen->size() != mine.size() || b != seen->front()) {
                        ++wrong;
                        break;
                    }
            }
        });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(hits, 240);
}

}  // namespace
}  // namespace invar
