// SPDX-License-Identifier: Apache-2.0
// Traces: a whole JSON array at every moment, whatever names hold and however many threads write.
#include "base/trace.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <invar/error.h>
#include <nlohmann/json.hpp>

namespace invar {
namespace {

class Trace : public ::testing::Test {
protected:
    void TearDown() override {
        trace_end();
        std::filesystem::remove(file_);
    }
    nlohmann::json read() const {
        std::ifstream in(file_);
        std::stringstream text;
        text << in.rdbuf();
        return nlohmann::json::parse(text.str());  // throws, and fails the test, where it is not valid
    }
    std::vector<nlohmann::json> events() const {
        std::vector<nlohmann::json> found;
        for (const auto& e : read())
            if (e.at("ph") == "X") found.push_back(e);
        return found;
    }
    const std::string file_ = ::testing::TempDir() + "invar-trace-test-" + std::to_string(getpid()) + ".json";
};

TEST_F(Trace, OffItWritesNothing) {
    EXPECT_FALSE(trace_enabled());
    { const TraceSpan span("test", "nothing"); }
    trace_event(1, "test", "nothing", 0, 1);
    trace_end();
    EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(Trace, ValidAfterEveryWrite) {
    trace_begin(file_);
    EXPECT_TRUE(trace_enabled());
    EXPECT_TRUE(events().empty());
    for (int i = 1; i <= 3; ++i) {
        { const TraceSpan span("test", "span"); }
        trace_flush();
        EXPECT_EQ(events().size(), static_cast<std::size_t>(i));
    }
    // Far more than is gathered between writes: what has been written stays valid without an end.
    for (int i = 0; i < 3000; ++i) trace_event(1, "test", "many", i, 1);
    EXPECT_GT(events().size(), 1000u);
    trace_end();
    EXPECT_EQ(events().size(), 3003u);
    EXPECT_FALSE(trace_enabled());
}

TEST_F(Trace, NamesAndArgumentsComeBack) {
    const std::string name = "a \"quoted\" \\ name\n\t\x01 with ünïcode";
    trace_begin(file_);
    const int track = trace_track(name);
    EXPECT_EQ(trace_track(name), track);
    EXPECT_NE(trace_track("another"), track);
    TraceArguments arguments;
    arguments.add("text", name)
        .add("bytes", 12345678901234.0)
        .add("rate", 0.1)
        .add("none", std::numeric_limits<double>::infinity());
    trace_event(track, "cat", name, 1e12 + 0.125, 2.5, arguments);
    trace_end();
    const auto found = events();
    ASSERT_EQ(found.size(), 1u);
    const auto& e = found[0];
    EXPECT_EQ(e.at("name"), name);
    EXPECT_EQ(e.at("cat"), "cat");
    EXPECT_EQ(e.at("tid"), track);
    EXPECT_EQ(e.at("ts").get<double>(), 1e12 + 0.125);
    EXPECT_EQ(e.at("dur").get<double>(), 2.5);
    EXPECT_EQ(e.at("args").at("text"), name);
    EXPECT_EQ(e.at("args").at("bytes").get<std::int64_t>(), 12345678901234);
    EXPECT_DOUBLE_EQ(e.at("args").at("rate").get<double>(), 0.1);
    EXPECT_TRUE(e.at("args").at("none").is_null());
    std::map<int, std::string> names;
    for (const auto& m : read())
        if (m.at("name") == "thread_name") names[m.at("tid")] = m.at("args").at("name");
    EXPECT_EQ(names.at(track), name);
}

TEST_F(Trace, ThreadsHaveTracksOfTheirOwn) {
    trace_begin(file_);
    constexpr int kThreads = 4, kSpans = 500;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([] {
            for (int i = 0; i < kSpans; ++i) const TraceSpan span("test", "work");
        });
    for (std::thread& t : threads) t.join();
    trace_end();
    std::map<int, int> spans;
    for (const auto& e : events()) ++spans[e.at("tid")];
    EXPECT_EQ(spans.size(), std::size_t{kThreads});
    for (const auto& [track, count] : spans) EXPECT_EQ(count, kSpans) << track;
}

TEST_F(Trace, TracksAreNamedAgainInTheNextTrace) {
    trace_begin(file_);
    const int track = trace_track("kept");
    trace_begin(file_);  // ends the one before
    trace_event(track, "test", "second", 0, 0);
    trace_end();
    std::set<std::string> names;
    for (const auto& e : read())
        if (e.at("name") == "thread_name") names.insert(e.at("args").at("name").get<std::string>());
    EXPECT_TRUE(names.contains("kept"));
    EXPECT_EQ(events().size(), 1u);
}

TEST_F(Trace, AFileThatCannotBeWrittenIsNamed) {
    try {
        trace_begin("/nowhere/at/all.json");
        FAIL();
    } catch (const IoError& e) {
        EXPECT_NE(std::string(e.what()).find("/nowhere/at/all.json"), std::string::npos);
    }
    EXPECT_FALSE(trace_enabled());
}

TEST_F(Trace, AnExceptionLeavesAValidFile) {
    trace_begin(file_);
    EXPECT_THROW(
        {
            const TraceSpan span("test", "thrown through");
            throw InvalidArgument("test");
        },
        InvalidArgument);
    trace_flush();
    ASSERT_EQ(events().size(), 1u);
    EXPECT_EQ(events()[0].at("name"), "thrown through");
}

TEST_F(Trace, TheProcessIsPartOfTheName) {
    trace_begin(::testing::TempDir() + "invar-trace-%p.json");
    trace_end();
    const std::string name = ::testing::TempDir() + "invar-trace-" + std::to_string(getpid()) + ".json";
    EXPECT_TRUE(std::filesystem::exists(name));
    std::filesystem::remove(name);
}

}  // namespace
}  // namespace invar
