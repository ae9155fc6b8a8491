// SPDX-License-Identifier: Apache-2.0
// The recorder of memory and its reports: what the allocator did stands in the JSON, no two blocks of a segment overlap in
// bytes and time, the peaks are the allocator's, and the picture is well-formed, whatever tags hold.
#include <invar/memory.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <invar/error.h>

#include "device/allocator.h"
#include "device/memory_log.h"
#include "device/memory_report.h"
#include "device/registry.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

// Empty when every element of the text is closed in order and quotes and entities are in place; else where it is not.
std::string xml_fault(const std::string& text) {
    std::vector<std::string> open;
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] != '<') {
            if (text[at] == '&' && text.find(';', at) > at + 6) return "bare & at " + std::to_string(at);
            ++at;
            continue;
        }
        const std::size_t end = text.find('>', at);
        if (end == std::string::npos) return "open bracket at " + std::to_string(at);
        const std::string tag = text.substr(at + 1, end - at - 1);
        if (std::count(tag.begin(), tag.end(), '"') % 2 != 0 || tag.find('<') != std::string::npos)
            return "tag " + tag;
        if (tag[0] == '/') {
            if (open.empty() || open.back() != tag.substr(1)) return "closing " + tag;
            open.pop_back();
        } else if (tag.back() != '/') {
            open.push_back(tag.substr(0, tag.find(' ')));
        }
        at = end + 1;
    }
    return open.empty() ? "" : "never closed: " + open.back();
}

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
    return n;
}

class MemoryReport : public ::testing::Test {
protected:
    void SetUp() override { start_memory_trace(); }
    void TearDown() override { stop_memory_trace(); }
    CachingAllocator pool{*find_device("null")};
};

TEST_F(MemoryReport, HoldsWhatTheAllocatorDid) {
    std::mt19937_64 random(4);
    {
        std::vector<Allocation> live;
        for (int step = 0; step < 400; ++step) {
            const MemoryTag tag(step % 2 ? "odd" : "even");
            if (live.size() < 20 && random() % 3 != 0)
                live.push_back(pool.allocate(random() % (std::size_t{1} << (10 + random() % 15))));
            else if (!live.empty())
                live.erase(live.begin() + static_cast<std::ptrdiff_t>(random() % live.size()));
            if (step % 100 == 99) pool.trim();
        }
    }
    const Allocation open = pool.allocate(5000);
    const AllocatorStatistics s = pool.statistics();
    const MemoryHistory h = MemoryLog::history();
    const nlohmann::json report = nlohmann::json::parse(memory_json(h));
    EXPECT_EQ(report["blocks"].size(), s.allocations + s.reuses);
    EXPECT_EQ(report["segments"].size(), s.allocations);
    EXPECT_EQ(report["peak_bytes_in_use"], s.peak_in_use);
    EXPECT_EQ(report["peak_bytes_held"], s.peak_bytes);
    EXPECT_EQ(report["blocks_left_out"], 0);
    std::uint64_t freed = 0;
    for (const auto& segment : report["segments"]) freed += !segment["end_ns"].is_null();
    EXPECT_EQ(freed, s.evictions);
    std::size_t still_open = 0;
    for (std::size_t i = 0; i < h.blocks.size(); ++i) {
        const MemoryBlock& a = h.blocks[i];
        still_open += a.end == kMemoryOpen;
        ASSERT_LE(a.offset + a.bytes, h.segments[a.segment].bytes);
        ASSERT_LE(a.requested, a.bytes);
        ASSERT_TRUE(a.end == kMemoryOpen || a.begin <= a.end);
        for (std::size_t j = 0; j < i; ++j) {
            const MemoryBlock& b = h.blocks[j];
            if (a.segment != b.segment || a.offset >= b.offset + b.bytes || b.offset >= a.offset + a.bytes)
                continue;
            ASSERT_TRUE(b.end != kMemoryOpen && b.end <= a.begin) << i << " and " << j;
        }
    }
    EXPECT_EQ(still_open, 1u);
    EXPECT_EQ(h.blocks.back().requested, 5000u);
    EXPECT_EQ(h.blocks.back().tag, "");

    const std::string svg = memory_svg(h);
    EXPECT_EQ(xml_fault(svg), "");
    EXPECT_EQ(count(svg, "<rect class=\"box "), h.blocks.size());
    EXPECT_EQ(svg.find("http"), svg.find("http://www.w3.org/2000/svg")) << "nothing is loaded from outside";
    EXPECT_EQ(count(svg, "http"), 1u);
    const std::string text = memory_text(h);
    EXPECT_NE(text.find("odd: "), std::string::npos) << text;
    EXPECT_NE(text.find("even: "), std::string::npos) << text;
}

TEST_F(MemoryReport, TagsAreNestedAndEscaped) {
    {
        const MemoryTag outer("<outer> & \"co\"");
        const Allocation a = pool.allocate(300);
        {
            const MemoryTag inner("inner");
            pool.allocate(300000).reset();
        }
        pool.allocate(70000).reset();
    }
    EXPECT_EQ(MemoryTag::current(), "");
    const MemoryHistory h = MemoryLog::history();
    ASSERT_EQ(h.blocks.size(), 3u);
    EXPECT_EQ(h.blocks[1].tag, "inner");
    EXPECT_EQ(h.blocks[2].tag, h.blocks[0].tag);
    EXPECT_EQ(xml_fault(memory_svg(h)), "");
    EXPECT_NE(memory_svg(h).find("&lt;outer&gt; &amp; &quot;co&quot;"), std::string::npos);
    EXPECT_NE(xml_fault("<a><b></a>"), "") << "the check itself";
}

TEST_F(MemoryReport, MemoryHeldSinceBeforeTheRecordingIsThere) {
    Allocation before = pool.allocate(1000);
    pool.allocate(40000).reset();
    start_memory_trace();
    before.reset();  // its beginning was not seen
    const Allocation reused = pool.allocate(40000);
    const MemoryHistory h = MemoryLog::history();
    ASSERT_EQ(h.blocks.size(), 1u);
    ASSERT_EQ(h.segments.size(), 1u);
    EXPECT_EQ(h.segments[0].device, "null");
    EXPECT_EQ(h.segments[0].bytes, reused.buffer().size());
}

TEST_F(MemoryReport, FilesByEnding) {
    const Allocation a = pool.allocate(1 << 20);
    const fs::path folder =
        fs::temp_directory_path() / ("invar-memory-" + std::to_string(std::random_device{}()));
    fs::create_directories(folder);
    const auto written = [&](const char* name) {
        write_memory_report(folder / name);
        std::ifstream in(folder / name);
        std::stringstream text;
        text << in.rdbuf();
        return text.str();
    };
    EXPECT_EQ(written("a.svg").substr(0, 4), "<svg");
    EXPECT_TRUE(nlohmann::json::parse(written("a.json")).contains("blocks"));
    EXPECT_NE(written("a.txt").find("in use at most"), std::string::npos);
    EXPECT_THROW(write_memory_report(folder / "missing" / "a.svg"), IoError);
    fs::remove_all(folder);
}

TEST_F(MemoryReport, AnEmptyRecordingIsAReportToo) {
    const MemoryHistory h = MemoryLog::history();
    EXPECT_EQ(xml_fault(memory_svg(h)), "");
    EXPECT_EQ(nlohmann::json::parse(memory_json(h))["peak_bytes_in_use"], 0);
    EXPECT_NE(memory_text(h).find("0 B"), std::string::npos);
}

TEST_F(MemoryReport, ManyThreadsRecordTogether) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (std::size_t i = 0; i < 500; ++i) pool.allocate(1000 * (i % 7)).reset();
        });
    for (std::thread& t : threads) t.join();
    const MemoryHistory h = MemoryLog::history();
    EXPECT_EQ(h.blocks.size(), 2000u);
    EXPECT_TRUE(std::all_of(h.blocks.begin(), h.blocks.end(),
                            [](const MemoryBlock& b) { return b.end != kMemoryOpen; }));
}

}  // namespace
}  // namespace invar
