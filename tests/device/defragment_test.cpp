// SPDX-License-Identifier: Apache-2.0
// Defragmentation by the allocator: what is moved keeps its bytes, segments come free, nothing else is touched, and what
// cannot be reached or fails leaves everything where it was. On the device that INVAR_DEVICE names, with pools and budgets of
// their own, so that what fits does not depend on the device.
#include <invar/defragment.h>
#include <invar/error.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/faults.h"
#include "device/memory_log.h"
#include "device/memory_report.h"
#include "device/registry.h"

namespace invar {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// A stream whose n-th copy fails before it is begun.
class FailingStream final : public Stream {
public:
    FailingStream(Stream& below, int fails_at) : below_(below), left_(fails_at) {}
    void launch(Kernel&, const LaunchConfig&, std::span<const BufferRef>,
                std::span<const std::byte>) override {}
    void copy(BufferRef dst, BufferRef src) override {
        if (--left_ == 0) throw DeviceLost("the copy fails as the test wants");
        below_.copy(dst, src);
    }
    void upload(BufferRef dst, const void* src, std::size_t bytes) override {
        below_.upload(dst, src, bytes);
    }
    void download(void* dst, BufferRef src, std::size_t bytes) override { below_.download(dst, src, bytes); }
    void fill(BufferRef dst, std::uint8_t value) override { below_.fill(dst, value); }
    std::unique_ptr<Event> record() override { return below_.record(); }
    void wait(const Event& event) override { below_.wait(event); }
    void synchronize() override { below_.synchronize(); }
    bool poisoned() const noexcept override { return below_.poisoned(); }

private:
    Stream& below_;
    int left_;
};

class Defragment : public ::testing::Test {
protected:
    // Memory with numbers in it that no other has, at its ends and in its middle.
    struct Live {
        std::unique_ptr<Allocation> memory;
        std::uint64_t seed;
        bool may_move = true;
    };
    static constexpr std::size_t kPart = 4096;

    void SetUp() override { set_faults(""); }
    void TearDown() override { set_faults(""); }

    static std::vector<std::uint64_t> numbers(std::uint64_t seed) {
        std::vector<std::uint64_t> n(kPart / sizeof(std::uint64_t));
        std::mt19937_64 random(seed);
        for (std::uint64_t& v : n) v = random();
        return n;
    }
    static std::vector<std::size_t> places(const Allocation& a) {
        return {0, a.size() / 2 / 256 * 256, a.size() - kPart};
    }
    Live make(std::size_t bytes) {
        Live live{std::make_unique<Allocation>(pool.allocate(bytes)), next_++};
        for (const std::size_t at : places(*live.memory)) {
            const std::vector<std::uint64_t> n = numbers(live.seed + at);
            stream->upload(live.memory->ref(at), n.data(), kPart);
            stream->synchronize();
        }
        return live;
    }
    bool intact(const Live& live) {
        if (!arithmetic_memory) return true;
        for (const std::size_t at : places(*live.memory)) {
            std::vector<std::uint64_t> got(kPart / sizeof(std::uint64_t));
            stream->download(got.data(), live.memory->ref(at), kPart);
            stream->synchronize();
            if (got != numbers(live.seed + at)) return false;
        }
        return true;
    }
    static std::vector<Allocation*> movable(const std::vector<Live>& all) {
        std::vector<Allocation*> some;
        for (const Live& l : all)
            if (l.may_move) some.push_back(l.memory.get());
        return some;
    }
    bool fits(std::size_t bytes) {
        try {
            return static_cast<bool>(pool.allocate(bytes));
        } catch (const OutOfMemory&) {
            return false;
        }
    }
    // So many segments with one block of those bytes left in each, the n-th of its segment.
    std::vector<Live> one_in_each(std::size_t segments, std::size_t bytes) {
        std::vector<Live> all, kept;
        for (std::size_t i = 0; i < segments * (16 * kMiB / bytes); ++i) all.push_back(make(bytes));
        for (std::size_t s = 0; s < segments; ++s)
            kept.push_back(std::move(all[s * (16 * kMiB / bytes) + s % (16 * kMiB / bytes)]));
        return kept;
    }

    std::shared_ptr<Device> device = find_device();
    CachingAllocator pool{*device};
    std::unique_ptr<Stream> stream = device->make_stream();
    const bool arithmetic_memory = device->supports(Feature::arithmetic);  // the null device keeps no bytes

private:
    std::uint64_t next_ = 1;
};

TEST_F(Defragment, SegmentsComeFreeAndBytesStay) {
    std::vector<Live> live = one_in_each(4, 2 * kMiB);
    pool.set_budget({.bytes = 64 * kMiB, .objects = 0});
    EXPECT_FALSE(fits(40 * kMiB));
    EXPECT_GT(pool.statistics().external_fragmentation(), 0.8);
    const Defragmentation d = pool.defragment(movable(live), *stream, 40 * kMiB);
    EXPECT_EQ(d.blocks_moved, 3u);
    EXPECT_EQ(d.bytes_moved, 6 * kMiB);
    EXPECT_EQ(d.segments_freed, 3u);
    EXPECT_EQ(d.bytes_freed, 48 * kMiB);
    EXPECT_EQ(d.before.bytes_held, 64 * kMiB);
    EXPECT_EQ(d.after.bytes_held, 16 * kMiB);
    EXPECT_EQ(d.after.bytes_in_use, 8 * kMiB);
    EXPECT_EQ(d.after.largest_free, pool.statistics().largest_cached);
    EXPECT_LT(d.after.external_fragmentation, d.before.external_fragmentation);
    EXPECT_EQ(pool.statistics().bytes_requested, 8 * kMiB);
    EXPECT_EQ(pool.statistics().objects_in_use, 4u);
    EXPECT_TRUE(fits(40 * kMiB));
    for (const Live& l : live) EXPECT_TRUE(intact(l));
    EXPECT_NE(to_text(d).find("3 blocks of 6.00 MiB moved, 3 segments of 48.00 MiB given back"),
              std::string::npos)
        << to_text(d);
    live.clear();
    pool.trim();
    EXPECT_EQ(pool.statistics().bytes_cached, 0u);
    EXPECT_EQ(pool.statistics().bytes_in_use, 0u);
}

TEST_F(Defragment, NoFurtherThanARequestNeeds) {
    const std::vector<Live> live = one_in_each(4, 2 * kMiB);
    pool.set_budget({.bytes = 64 * kMiB, .objects = 0});
    EXPECT_EQ(pool.defragment(movable(live), *stream, 20 * kMiB).segments_freed, 2u);
    EXPECT_TRUE(fits(20 * kMiB));
    EXPECT_EQ(pool.defragment(movable(live), *stream, 45 * kMiB).segments_freed, 1u);
    EXPECT_TRUE(fits(45 * kMiB));
    EXPECT_EQ(pool.statistics().defragmentations, 2u);
    EXPECT_EQ(pool.statistics().blocks_moved, 3u);
    for (const Live& l : live) EXPECT_TRUE(intact(l));
}

TEST_F(Defragment, WhatCannotBeReachedMovesNothing) {
    std::vector<Live> live = one_in_each(4, 2 * kMiB);
    pool.set_budget({.bytes = 64 * kMiB, .objects = 0});
    std::vector<std::pair<const Buffer*, std::size_t>> where;
    for (const Live& l : live) where.emplace_back(&l.memory->buffer(), l.memory->offset());
    const auto nothing = [&](const Defragmentation& d) {
        EXPECT_EQ(d.blocks_moved, 0u);
        EXPECT_EQ(d.after.bytes_held, 64 * kMiB);
        for (std::size_t i = 0; i < live.size(); ++i)
            EXPECT_TRUE(where[i] == std::pair(const_cast<const Buffer*>(&live[i].memory->buffer()),
                                              live[i].memory->offset()));
    };
    nothing(pool.defragment(movable(live), *stream, 60 * kMiB));
    nothing(pool.defragment({}, *stream, 20 * kMiB));
    nothing(pool.defragment(movable(live), *stream, ~std::size_t{0}));
    live[0].may_move = live[1].may_move = live[3].may_move = false;
    nothing(pool.defragment(movable(live), *stream, 20 * kMiB));
    const Defragmentation d = pool.defragment(movable(live), *stream);
    EXPECT_EQ(d.segments_freed, 1u);
    for (const std::size_t i : {0u, 1u, 3u})
        EXPECT_TRUE(where[i].first == &live[i].memory->buffer() &&
                    where[i].second == live[i].memory->offset());
    for (const Live& l : live) EXPECT_TRUE(intact(l));
}

// One segment and no room for another: a block between two free ones makes way.
TEST_F(Defragment, BlocksMakeWayInsideASegment) {
    std::vector<Live> live;
    for (int i = 0; i < 8; ++i) live.push_back(make(2 * kMiB));
    pool.set_budget({.bytes = 16 * kMiB, .objects = 0});
    live.erase(live.begin() + 5);
    live.erase(live.begin() + 3);
    EXPECT_FALSE(fits(4 * kMiB));
    EXPECT_EQ(pool.defragment(movable(live), *stream, 5 * kMiB).blocks_moved, 0u);
    const Defragmentation d = pool.defragment(movable(live), *stream, 4 * kMiB);
    EXPECT_EQ(d.blocks_moved, 1u);
    EXPECT_EQ(d.segments_freed, 0u);
    EXPECT_EQ(d.before.largest_free, 2 * kMiB);
    EXPECT_EQ(d.after.largest_free, 4 * kMiB);
    EXPECT_TRUE(fits(4 * kMiB));
    for (const Live& l : live) EXPECT_TRUE(intact(l));
}

// Holes of 3 MiB take no block of 5: three segments become two new ones.
std::vector<std::size_t> cut_up() { return {3, 5, 3, 5}; }

TEST_F(Defragment, NewSegmentsWhereThePoolIsCutUp) {
    std::vector<Live> all, live;
    for (int s = 0; s < 3; ++s)
        for (const std::size_t n : cut_up()) all.push_back(make(n * kMiB));
    pool.set_budget({.bytes = 80 * kMiB, .objects = 0});
    for (Live& l : all)
        if (l.memory->size() == 5 * kMiB) live.push_back(std::move(l));
    all.clear();
    EXPECT_FALSE(fits(40 * kMiB));
    // The driver refuses the second new segment: nothing is moved, and nothing lost.
    set_faults("oom@2");
    Defragmentation d = pool.defragment(movable(live), *stream, 40 * kMiB);
    set_faults("");
    EXPECT_EQ(d.blocks_moved, 0u);
    EXPECT_EQ(pool.statistics().bytes_in_use, 30 * kMiB);
    d = pool.defragment(movable(live), *stream, 40 * kMiB);
    EXPECT_EQ(d.blocks_moved, 6u);
    EXPECT_EQ(d.segments_freed, 3u);
    EXPECT_EQ(pool.statistics().bytes_in_use + pool.statistics().bytes_cached, 32 * kMiB);
    EXPECT_TRUE(fits(40 * kMiB));
    for (const Live& l : live) EXPECT_TRUE(intact(l));
}

TEST_F(Defragment, AFailedCopyLeavesEverythingWhereItWas) {
    const std::vector<Live> live = one_in_each(4, 2 * kMiB);
    pool.set_budget({.bytes = 64 * kMiB, .objects = 0});
    const AllocatorStatistics before = pool.statistics();
    for (int n = 1; n <= 3; ++n) {
        FailingStream failing(*stream, n);
        EXPECT_THROW(pool.defragment(movable(live), failing, 40 * kMiB), DeviceLost);
        stream->synchronize();
        const AllocatorStatistics s = pool.statistics();
        EXPECT_EQ(s.bytes_in_use, before.bytes_in_use);
        EXPECT_EQ(s.bytes_requested, before.bytes_requested);
        EXPECT_EQ(s.bytes_cached, before.bytes_cached);
        EXPECT_EQ(s.objects_in_use, before.objects_in_use);
        EXPECT_EQ(s.defragmentations, 0u);
        for (const Live& l : live) EXPECT_TRUE(intact(l));
    }
    EXPECT_EQ(pool.defragment(movable(live), *stream, 40 * kMiB).segments_freed, 3u);
    for (const Live& l : live) EXPECT_TRUE(intact(l));
}

// Segments that are half in use: as many bytes as are moved come free. What the copies and what planning takes is printed.
TEST_F(Defragment, HalfOfTheSegmentsComeFree) {
    constexpr std::size_t kSegments = 24;
    std::vector<Live> all, live;
    for (std::size_t i = 0; i < kSegments * 8; ++i) all.push_back(make(2 * kMiB));
    for (std::size_t i = 0; i < all.size(); i += 2) live.push_back(std::move(all[i]));
    all.clear();
    const auto start = std::chrono::steady_clock::now();
    const Defragmentation d = pool.defragment(movable(live), *stream);
    const std::chrono::duration<double> all_of_it = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(d.blocks_moved, kSegments * 2);
    EXPECT_EQ(d.segments_freed, kSegments / 2);
    EXPECT_EQ(d.after.external_fragmentation, 0.0);
    for (const Live& l : live) EXPECT_TRUE(intact(l));
    const auto again = std::chrono::steady_clock::now();
    EXPECT_EQ(pool.defragment(movable(live), *stream).blocks_moved, 0u);
    const std::chrono::duration<double> planning = std::chrono::steady_clock::now() - again;
    std::printf("%s: %.1f MiB moved in %.3f ms (%.1f GB/s); where nothing can be moved %.3f ms\n",
                device->name().c_str(), static_cast<double>(d.bytes_moved) / (1 << 20),
                all_of_it.count() * 1e3, static_cast<double>(d.bytes_moved) / all_of_it.count() * 1e-9,
                planning.count() * 1e3);
}

TEST_F(Defragment, MovedBlocksKeepTheirTagInTheReport) {
    MemoryLog::start();
    {
        const MemoryTag tag("left over");
        const std::vector<Live> live = one_in_each(3, 4 * kMiB);
        (void)pool.defragment(movable(live), *stream);
    }
    MemoryLog::stop();
    const MemoryHistory h = MemoryLog::history();
    ASSERT_EQ(h.marks.size(), 1u);
    EXPECT_EQ(h.marks[0].device, device->name());
    EXPECT_NE(h.marks[0].text.find("2 blocks of 8.00 MiB moved"), std::string::npos) << h.marks[0].text;
    EXPECT_EQ(
        std::count_if(h.blocks.begin(), h.blocks.end(),
                      [](const MemoryBlock& b) { return b.tag == "left over" && b.end != kMemoryOpen; }),
        14);  // 12 blocks, two of them in two places
    EXPECT_NE(memory_text(h).find("\nmoved:\n"), std::string::npos);
    EXPECT_NE(memory_json(h).find("\"marks\": [\n  {"), std::string::npos);
    EXPECT_NE(memory_svg(h).find("1 upright lines"), std::string::npos);
}

// Against a model: every byte that was written is there, no two live blocks share memory, the sums are right, and what the
// pool holds never grows by moving.
TEST_F(Defragment, RandomSequencesKeepEveryByte) {
    for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
        std::mt19937_64 random(seed);
        pool.set_budget({.bytes = (48 + 16 * (seed % 3)) * kMiB, .objects = 0});
        std::vector<Live> live;
        std::uint64_t moved = 0;
        int refused = 0, helped = 0;
        for (int step = 0; step < 250; ++step) {
            const std::size_t bytes = kMiB / 2 + random() % (random() % 8 == 0 ? 20 * kMiB : 8 * kMiB);
            if (random() % 5 < 3) {
                try {
                    live.push_back(make(bytes));
                } catch (const OutOfMemory&) {
                    ++refused;
                    pool.trim();
                    const std::uint64_t made_way =
                        pool.defragment(movable(live), *stream, bytes).blocks_moved;
                    const bool said = made_way > 0;
                    moved += made_way;
                    const bool fit = fits(bytes);
                    EXPECT_TRUE(fit || !said) << seed << " " << step << ": " << bytes;
                    helped += fit && said;
                    if (!fit && !live.empty())
                        live.erase(live.begin() + static_cast<std::ptrdiff_t>(random() % live.size()));
                }
                if (!live.empty()) live.back().may_move = random() % 8 != 0;
            } else if (!live.empty()) {
                live.erase(live.begin() + static_cast<std::ptrdiff_t>(random() % live.size()));
            }
            if (random() % 16 == 0) {
                const Defragmentation d = pool.defragment(movable(live), *stream);
                EXPECT_EQ(d.before.bytes_in_use, d.after.bytes_in_use);
                EXPECT_LE(d.after.bytes_held, d.before.bytes_held);
                EXPECT_LE(d.after.external_fragmentation, d.before.external_fragmentation);
                moved += d.blocks_moved;
            }
            std::uint64_t asked = 0;
            std::vector<std::pair<std::uint64_t, std::pair<std::size_t, std::size_t>>> ranges;
            for (const Live& l : live) {
                asked += l.memory->size();
                ranges.push_back({l.memory->buffer().id(), {l.memory->offset(), l.memory->size()}});
            }
            std::sort(ranges.begin(), ranges.end());
            for (std::size_t i = 0; i + 1 < ranges.size(); ++i)
                ASSERT_TRUE(ranges[i].first != ranges[i + 1].first ||
                            ranges[i].second.first + ranges[i].second.second <= ranges[i + 1].second.first);
            ASSERT_EQ(pool.statistics().bytes_requested, asked) << seed << " " << step;
            ASSERT_EQ(pool.statistics().objects_in_use, live.size());
            for (std::size_t i = 0; step % 10 == 9 && i < live.size(); ++i)
                ASSERT_TRUE(intact(live[i])) << seed << " " << step;
        }
        EXPECT_GT(moved, 0u) << seed;
        std::printf("seed %d: %d requests refused, %d met after moving\n", static_cast<int>(seed), refused,
                    helped);
        live.clear();
        pool.trim();
        EXPECT_EQ(pool.statistics().bytes_in_use + pool.statistics().bytes_cached, 0u);
    }
}

}  // namespace
}  // namespace invar
