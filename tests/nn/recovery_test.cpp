// SPDX-License-Identifier: Apache-2.0
// Faults of every kind at every step of a model: which rung of the recovery ladder finishes its forward pass and its sessions,
// with which bits, and that nothing is held afterwards.
#include <invar/error.h>
#include <invar/model.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "graph/executor.h"
#include "kernels/source.h"
#include "support/ladder.h"

namespace invar {
namespace {

const std::filesystem::path kLlama =
    std::filesystem::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models" / "llama";
const std::vector<std::int32_t> kTokens = {1, 5, 9, 2, 7};

std::shared_ptr<const Model> llama() { return Model::load(kLlama, {.dtype = DType::f32}); }
bool on_cpu() { return find_device()->name() == "cpu"; }
AllocatorStatistics memory() { return find_device()->allocator().statistics(); }
std::uint64_t held() { return memory().bytes_in_use; }

// Compilers and lanes that take turns are slow: not every index there.
std::uint64_t stride() { return on_cpu() || find_device()->name().starts_with("cuda") ? 1 : 5; }

// What the device under test held before a test is all that it holds when models and sessions are gone, and the driver gets
// everything back.
class NothingIsHeld {
public:
    ~NothingIsHeld() {
        set_faults("");
        graph::Executor::of(*find_device())->synchronize();
        EXPECT_EQ(memory().bytes_in_use, before_);
        find_device()->allocator().trim();
        EXPECT_EQ(memory().bytes_in_use + memory().bytes_cached, before_);
    }

private:
    std::uint64_t before_ = held();
};

std::string faults_from(FaultSite site, std::uint64_t first, int in_a_row) {
    constexpr const char* kNames[] = {"oom", "short_read", "compile", "launch", "lost", "wiped"};
    std::string list;
    for (int i = 0; i < in_a_row; ++i)
        list += (i ? "," : "") + std::string(kNames[static_cast<int>(site)]) + "@" +
                std::to_string(first + static_cast<std::uint64_t>(i));
    return list;
}

// How often the work comes to the site where nothing fails.
std::uint64_t visits(FaultSite site, const std::function<void()>& prepare,
                     const std::function<void()>& work) {
    prepare();
    set_faults("launch@no kernel of that name");
    work();
    const std::uint64_t count = fault_visits(site);
    set_faults("");
    return count;
}

// A fault (or several in a row) at each place that the work comes to; the rung that has to mend it, or "".
void sweep(FaultSite site, int in_a_row, const std::string& rung, const std::function<void()>& prepare,
           const std::function<void()>& work) {
    test::Ladder ladder(Recovery::any);
    const std::uint64_t all = visits(site, prepare, work), before = held();
    ASSERT_GT(all, 0u);
    (void)ladder.taken();
    for (std::uint64_t n = 1; n <= all; n += stride()) {
        prepare();
        set_faults(faults_from(site, n, in_a_row));
        work();
        // How much of the cache is free again when memory is asked for is a matter of time where work runs by itself.
        if (site == FaultSite::oom && !on_cpu() && fault_visits(site) < n) break;
        ASSERT_GE(fault_visits(site), n) << "the fault was not met";
        set_faults("");
        // Those in a row that begin near the end are fewer.
        const std::string taken = ladder.taken();
        if (n + static_cast<std::uint64_t>(in_a_row) > all + 1) continue;
        // Work is done again behind a trim; a tensor that is made by itself finds its room where another one leaves the device.
        const bool by_moving = rung == "trimmed 1" && !on_cpu() && taken == "offloaded 1";
        ASSERT_TRUE(taken == rung || by_moving) << taken << " for " << faults_from(site, n, in_a_row);
    }
    graph::Executor::of(*find_device())->synchronize();
    if (site == FaultSite::oom && !on_cpu())
        EXPECT_LE(held(), before) << "what left the device comes back when it is used";
    else
        EXPECT_EQ(held(), before);
}

void nothing() {}
void without_cache() { find_device()->allocator().trim(); }
void without_kernels() { graph::Executor::of(*find_device())->forget_kernels(); }

// A forward pass that must give the bits of the first one.
std::function<void()> same_pass(const std::shared_ptr<const Model>& model) {
    return [model, want = model->forward(kTokens).logits.to_bytes()] {
        const Tensor logits = model->forward(kTokens).logits;
        ASSERT_FALSE(logits.degraded());
        ASSERT_EQ(logits.to_bytes(), want);
    };
}

TEST(Recovery, AForwardPassSurvivesAFaultAtEveryStep) {
    const NothingIsHeld check;
    const auto model = llama();
    ASSERT_EQ(model->info().layers, 2);
    const std::function<void()> pass = same_pass(model);
    // A step is a launch at least: what a pass comes to is not less than what its schedules have.
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*find_device());
    const std::uint64_t steps = executor->statistics().steps_launched;
    const std::uint64_t launches = visits(FaultSite::launch, nothing, pass);
    EXPECT_GE(launches, executor->statistics().steps_launched - steps);
    EXPECT_GE(launches, 6u * 2u);
    for (const FaultSite site : {FaultSite::launch, FaultSite::lost})
        sweep(site, 1, "replayed 1", nothing, pass);
    // The weights are gone, and read again from their files; for evaluation alone that is the end.
    sweep(FaultSite::wiped, 1, "restored 1 exhausted 1", nothing, pass);
}

// A request asks the driver twice (allocator.h), and is made twice (graph/executor.h): one refusal is mended by the allocator,
// four in a row by the ladder.
TEST(Recovery, AForwardPassSurvivesWantOfRoomAtEveryRequest) {
    const NothingIsHeld check;
    const auto model = llama();
    const std::function<void()> pass = same_pass(model);
    sweep(FaultSite::oom, 1, "", without_cache, pass);
    sweep(FaultSite::oom, 2, "", without_cache, pass);
    sweep(FaultSite::oom, 4, "trimmed 1", without_cache, pass);
}

TEST(Recovery, AForwardPassSurvivesAFaultAtEveryCompilation) {
    const NothingIsHeld check;
    const auto model = llama();
    const std::function<void()> pass = same_pass(model);
    sweep(FaultSite::compile, 1, "replayed 1", without_kernels, pass);
    EXPECT_EQ(visits(FaultSite::compile, nothing, pass), 0u) << "kernels are loaded once";
}

// From there on a device never works again: the cpu finishes, with its own bits.
TEST(Recovery, AForwardPassOfADeviceThatFailsForGood) {
    if (on_cpu()) GTEST_SKIP() << "nothing goes on for the cpu";
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    const std::vector<float> want = model->forward(kTokens).logits.to_vector<float>();
    const std::string device = ":" + find_device()->name();
    for (const char* site : {"launch@1+", "launch@7+", "lost@1+", "wiped@7+", "oom@1+", "compile@1+"}) {
        without_cache();
        without_kernels();
        set_faults(site + device);
        const Tensor logits = model->forward(kTokens).logits;
        set_faults("");
        EXPECT_TRUE(logits.degraded()) << site;
        EXPECT_TRUE(ladder.taken().find("host 1") != std::string::npos) << site;
        const std::vector<float> got = logits.to_vector<float>();
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4) << site;
    }
    EXPECT_EQ(model->forward(kTokens).logits.to_vector<float>(), want);  // with what weights there are
}

TEST(Recovery, AForwardPassOnAnotherDeviceOrInTheFirstError) {
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    const std::vector<float> want = model->forward(kTokens).logits.to_vector<float>();
    const std::uint64_t before = held();
    set_faults("launch@3,launch@4,launch@5");  // of the planned pass, then the first of each further one
    if (on_cpu()) {
        EXPECT_THROW(model->forward(kTokens), LaunchFailed);
        EXPECT_EQ(ladder.taken(), "exhausted 1");
    } else {
        const ForwardResult result = model->forward(kTokens);
        EXPECT_EQ(ladder.taken(), "host 1");
        EXPECT_TRUE(result.logits.degraded());
        const std::vector<float> got = result.logits.to_vector<float>();
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4);
    }
    set_faults("");
    EXPECT_EQ(model->forward(kTokens).logits.to_vector<float>(), want);
    EXPECT_EQ(held(), before);
}

// The bits are others, the model is the same.
TEST(Recovery, AModelRunsWithPortableKernels) {
    const NothingIsHeld check;
    const auto device = find_device();
    if (!kernels::has_tuned(*device)) GTEST_SKIP() << device->name() << " has one kind of kernels";
    for (const char* name : {"llama", "gpt2", "qwen3", "mistral"}) {
        const auto model = Model::load(kLlama.parent_path() / name, {.dtype = DType::f32});
        const std::vector<float> want = model->forward(kTokens).logits.to_vector<float>();
        without_kernels();
        const kernels::PortableOnly only;
        const std::vector<float> got = model->forward(kTokens).logits.to_vector<float>();
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-3) << name;
        without_kernels();
    }
}

constexpr int kSteps = 4;

struct Talk {
    std::vector<std::vector<std::int32_t>> prompts;
    std::vector<SamplingOptions> sampling;
};
// Sampled with a penalty, so that the history of tokens counts.
Talk sampled(std::int64_t sequences) {
    Talk talk;
    for (std::int64_t r = 0; r < sequences; ++r) {
        talk.prompts.emplace_back(kTokens.begin(), kTokens.end() - r);
        talk.sampling.push_back(
            {.temperature = 1.0f, .repetition_penalty = 1.5f, .seed = 11 + static_cast<std::uint64_t>(r)});
    }
    return talk;
}
Talk greedy() { return {{kTokens}, {SamplingOptions{}}}; }

// No step runs ahead of the last token: whatever was started has been waited for.
std::vector<std::int32_t> generated(Session& session, const Talk& talk) {
    std::vector<std::int32_t> all = session.start(talk.prompts, talk.sampling), next(all.size());
    for (int i = 0; i < kSteps; ++i) {
        session.step(next, i + 1 < kSteps);
        all.insert(all.end(), next.begin(), next.end());
    }
    return all;
}

void sweep_session(std::int64_t sequences) {
    const NothingIsHeld check;
    const auto model = llama();
    Session session(model, {.sequences = sequences, .capacity = 32, .prefill_chunk = 3});
    const Talk talk = sampled(sequences);
    const std::vector<std::int32_t> want = generated(session, talk);
    const auto work = [&] {
        ASSERT_EQ(generated(session, talk), want);
        ASSERT_FALSE(session.degraded());
    };
    // Every layer of every step launches something, whether a step is replayed as one graph or not.
    EXPECT_GE(visits(FaultSite::launch, nothing, work), static_cast<std::uint64_t>(2 * kSteps));
    for (const FaultSite site : {FaultSite::launch, FaultSite::lost})
        sweep(site, 1, "replayed 1", nothing, work);
    sweep(FaultSite::wiped, 1, "restored 1", nothing, work);
    sweep(FaultSite::oom, 4, "trimmed 1", without_cache, work);
}

TEST(Recovery, ASessionSurvivesAFaultAtEveryStep) { sweep_session(1); }
TEST(Recovery, SequencesTogetherSurviveAFaultAtEveryStep) { sweep_session(2); }

TEST(Recovery, ASessionIsMadeInSpiteOfAFaultAtEveryPlace) {
    const NothingIsHeld check;
    const auto model = llama();
    const Talk talk = greedy();
    const SessionOptions options{.capacity = 32};
    Session good(model, options);
    const std::vector<std::int32_t> want = generated(good, talk);
    const auto work = [&] {
        Session session(model, options);
        ASSERT_EQ(generated(session, talk), want);
        ASSERT_FALSE(session.degraded());
    };
    sweep(FaultSite::oom, 1, "", without_cache, work);
    sweep(FaultSite::oom, 4, "trimmed 1", without_cache, work);
    sweep(FaultSite::compile, 1, "replayed 1", without_kernels, work);
    EXPECT_EQ(visits(FaultSite::compile, nothing, work), 0u) << "kernels are loaded once";
}

TEST(Recovery, AStepThatRanAheadInVainHarmsNobody) {
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    Session session(model, {.capacity = 32});
    const Talk talk = greedy();
    const std::vector<std::int32_t> want = generated(session, talk);
    (void)session.start(talk.prompts, talk.sampling);
    std::vector<std::int32_t> next(1);
    const std::uint64_t launches = visits(FaultSite::launch, nothing, [&] { session.step(next, false); });
    // Where sessions run ahead, the fault is in the step behind the wanted one; elsewhere in the next start.
    set_faults("launch@" + std::to_string(launches + 1));
    session.step(next, true);
    EXPECT_EQ(generated(session, talk), want);
    EXPECT_FALSE(session.degraded());
}

TEST(Recovery, TwoFailuresOfAStepLeaveTheFusion) {
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    Session session(model, {.capacity = 32});
    const Talk talk = greedy();
    const std::vector<std::int32_t> want = generated(session, talk);
    std::vector<std::int32_t> got = session.start(talk.prompts, talk.sampling), next(1);
    set_faults("launch@2,launch@3");
    for (int i = 0; i < kSteps; ++i) {
        session.step(next, i + 1 < kSteps);
        got.push_back(next[0]);
        EXPECT_TRUE(session.degraded());
    }
    EXPECT_EQ(ladder.taken(), "unfused 1");
    EXPECT_EQ(got, want);
    set_faults("");
    EXPECT_EQ(generated(session, talk), want);
    EXPECT_FALSE(session.degraded());
    set_faults("launch@1,launch@2");
    EXPECT_EQ(session.start(talk.prompts, talk.sampling)[0], want[0]);
    EXPECT_EQ(ladder.taken(), "unfused 1");
    EXPECT_TRUE(session.degraded());
}

TEST(Recovery, ASessionThatFailsOnEveryRungGivesTheErrorAndStartsAnew) {
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    Session session(model, {.capacity = 32});
    const Talk talk = greedy();
    const std::vector<std::int32_t> want = generated(session, talk);
    (void)session.start(talk.prompts, talk.sampling);
    set_faults("launch@2+");
    EXPECT_THROW(session.step(), LaunchFailed);
    EXPECT_NE(ladder.taken().find("exhausted"), std::string::npos);
    set_faults("");
    EXPECT_THROW(session.step(), InvalidArgument);  // not what comes after a token that nobody got
    EXPECT_EQ(generated(session, talk), want);
}

// A device that fails for good at any place of a session: the cpu goes on from the tokens.
TEST(Recovery, ASessionGoesOnOnTheCpu) {
    if (on_cpu()) GTEST_SKIP() << "nothing goes on for the cpu";
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    for (const std::int64_t sequences : {1, 2}) {
        Talk talk = sampled(sequences);
        for (SamplingOptions& o : talk.sampling) o = {};
        Session session(model, {.sequences = sequences, .capacity = 32, .prefill_chunk = 3});
        const std::vector<std::int32_t> want = generated(session, talk);
        const std::uint64_t all =
            visits(FaultSite::launch, nothing, [&] { EXPECT_EQ(generated(session, talk), want); });
        const std::string device = ":" + find_device()->name();
        for (const char* site : {"launch@", "lost@", "wiped@"})
            for (std::uint64_t n = 1; n <= all; n += std::max<std::uint64_t>(all / 12, 1)) {
                (void)ladder.taken();
                set_faults(site + std::to_string(n) + "+" + device);
                EXPECT_EQ(generated(session, talk), want) << site << n;
                set_faults("");
                EXPECT_NE(ladder.taken().find("host 1"), std::string::npos) << site << n;
                EXPECT_TRUE(session.degraded());
            }
        EXPECT_EQ(generated(session, talk), want);  // the device works again
        EXPECT_FALSE(session.degraded());
    }
}

// What one session finds out the other has to find out too.
TEST(Recovery, EverySessionOfALostDeviceGoesOn) {
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::exact);  // the bits are the same
    std::uint64_t read = 0;
    const auto model =
        Model::load(kLlama, {.dtype = DType::f32, .progress = [&](std::uint64_t, std::uint64_t) { ++read; }});
    const std::uint64_t weights = std::exchange(read, 0);
    EXPECT_GT(weights, 0u);
    const Talk talk = sampled(1);
    Session a(model, {.capacity = 32}), b(model, {.capacity = 32});
    const std::vector<std::int32_t> want = generated(a, talk);
    std::vector<std::int32_t> got = b.start(talk.prompts, talk.sampling), next(1);
    b.step(next, false);
    got.push_back(next[0]);
    set_faults("wiped@1");
    EXPECT_EQ(generated(a, talk), want);
    set_faults("");
    EXPECT_EQ(ladder.taken(), "restored 1");
    EXPECT_EQ(read, weights);
    for (int i = 1; i < kSteps; ++i) {
        b.step(next, i + 1 < kSteps);
        got.push_back(next[0]);
    }
    EXPECT_EQ(got, want);
    EXPECT_EQ(ladder.taken(), "restored 1");
    EXPECT_EQ(read, weights);  // they were there already
    EXPECT_FALSE(a.degraded() || b.degraded());
}

TEST(Recovery, ASessionThatCannotBeMadeIsMadeOnTheCpu) {
    if (on_cpu()) GTEST_SKIP() << "nothing goes on for the cpu";
    const NothingIsHeld check;
    test::Ladder ladder(Recovery::any);
    const auto model = llama();
    const Talk talk = greedy();
    const SessionOptions options{.capacity = 32};
    Session good(model, options);
    const std::vector<std::int32_t> want = generated(good, talk);
    for (const char* site : {"oom@1+:", "compile@1+:", "lost@1+:"}) {
        without_cache();
        without_kernels();
        set_faults(site + find_device()->name());
        Session session(model, options);
        EXPECT_EQ(generated(session, talk), want) << site;
        EXPECT_TRUE(session.degraded()) << site;
        set_faults("");
        EXPECT_NE(ladder.taken().find("host"), std::string::npos) << site;
        EXPECT_EQ(generated(session, talk), want) << site;  // on the device
        EXPECT_FALSE(session.degraded()) << site;
    }
}

}  // namespace
}  // namespace invar
