// SPDX-License-Identifier: Apache-2.0
// The memory plans of schedules: which values take part, and arenas of the models' decode steps and prompt chunks, which
// lie within 3% of what lives at once.
#include <invar/model.h>

#include <filesystem>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "graph/arena_picture.h"
#include "graph/schedule.h"

namespace invar::graph {
namespace {

namespace fs = std::filesystem;

Value scratch(int first, int last, std::size_t bytes) {
    Value v;
    v.max_bytes = bytes;
    v.first_step = first;
    v.last_step = last;
    return v;
}

TEST(PlanMemory, OnlyScratchThatStepsUseTakesPlaces) {
    Schedule s;
    s.steps.resize(4);
    s.values = {scratch(0, 1, 1000), scratch(0, 3, 5000), scratch(1, 2, 300), scratch(-1, -1, 700),
                scratch(2, 3, 900)};
    s.values[1].kind = Value::Kind::input;
    plan_memory(s);
    EXPECT_EQ(s.live_bytes, 1024u + 512);
    EXPECT_EQ(s.arena_bytes, 1024u + 512);
    EXPECT_EQ(s.naive_bytes, 1024u + 512 + 1024);
    EXPECT_EQ(s.values[1].arena_offset, 0u);
    // The first and the last do not meet: they share a place beside the one that meets both.
    EXPECT_EQ(s.values[0].arena_offset, s.values[4].arena_offset);
    EXPECT_NE(s.values[0].arena_offset, s.values[2].arena_offset);
}

TEST(PlanMemory, EmptyScheduleNeedsNothing) {
    Schedule s;
    plan_memory(s);
    EXPECT_EQ(s.arena_bytes, 0u);
    EXPECT_EQ(s.naive_bytes, 0u);
}

void expect_tight(const std::string& schedule, const std::string& what) {
    const std::size_t at = schedule.rfind("memory arena ");
    ASSERT_NE(at, std::string::npos) << what;
    std::istringstream line(schedule.substr(at));
    std::string word;
    std::size_t arena = 0, live = 0, naive = 0;
    line >> word >> word >> arena >> word >> live >> word >> naive;
    EXPECT_GT(live, 0u) << what;
    EXPECT_GE(arena, live) << what;
    EXPECT_LE(arena * 100, live * 103) << what << ": " << schedule.substr(at);
    EXPECT_LE(arena, naive) << what;
}

TEST(PlanMemory, ArenasOfTheModelsAreTight) {
    const fs::path root = INVAR_SOURCE_DIR;
    std::vector<fs::path> folders = {root / "models" / "tiny"};
    for (const auto& folder : fs::directory_iterator(root / "tests" / "data" / "models"))
        if (folder.is_directory()) folders.push_back(folder.path());
    for (const fs::path& folder : folders)
        for (const char* device : {"null", "null:cuda", "null:metal"}) {
            const auto model = Model::load(folder, {.device = device, .dtype = DType::bf16});
            const Session one(model, {.capacity = 64}), several(model, {.sequences = 3, .capacity = 64});
            const std::string what = folder.filename().string() + " on " + device;
            expect_tight(one.decode_schedule(), what + ", decode");
            expect_tight(one.prefill_schedule(), what + ", prefill");
            expect_tight(several.decode_schedule(), what + ", decode of three");
            expect_tight(several.prefill_schedule(), what + ", prefill of three");
        }
}

TEST(PlanMemory, ThePictureHasABoxAValue) {
    Schedule s;
    s.steps.resize(4);
    s.steps[1].label = "a < b & \"c\"";
    s.values = {scratch(0, 1, 1000), scratch(1, 3, 5000), scratch(2, 2, 0)};
    plan_memory(s);
    const std::string svg = arena_svg(s, "<test>");
    std::size_t boxes = 0;
    for (std::size_t at = 0; (at = svg.find("class=\"box", at)) != std::string::npos; ++at) ++boxes;
    EXPECT_EQ(boxes, 2u);
    EXPECT_NE(svg.find("&lt;test&gt;"), std::string::npos);
    EXPECT_NE(svg.find("to 1 (a &lt; b &amp; &quot;c&quot;)"), std::string::npos) << svg;
    EXPECT_EQ(arena_svg(Schedule(), "").substr(0, 4), "<svg");
}

}  // namespace
}  // namespace invar::graph
