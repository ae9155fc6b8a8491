// SPDX-License-Identifier: Apache-2.0
// Routing: graphs that two devices share give the values of one, wherever their operators are put; by cost they are put where
// work and transfers are least; and explain says so.
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/route.h>
#include <invar/state.h>

#include <atomic>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "base/env.h"
#include "device/device.h"
#include "graph/calibration.h"
#include "support/ladder.h"

namespace invar {
namespace {

class Route : public testing::Test {
protected:
    // Home is the device of the tests; its partner the cpu, or for the cpu a device of OpenCL.
    void SetUp() override {
        before_ = routing_options();
        set_routing({});
        if (find_device()->name() != "cpu") {
            partner_ = "cpu";
            return;
        }
        try {
            partner_ = find_device("opencl")->name();
        } catch (const NoDevice& e) {
            ASSERT_EQ(env_string("INVAR_REQUIRE_OPENCL"), "") << e.what();
            GTEST_SKIP() << "no second device here";
        }
    }
    void TearDown() override { set_routing(before_); }

    Tensor counting(const Shape& shape) {
        std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
        for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 17) / 4.0f - 2.0f;
        return Tensor::of(v, shape);
    }

    RoutingOptions before_;
    std::string partner_;
};

// Operators of several families with views, constants, shared values and several outputs.
std::vector<Tensor> mixture(const Tensor& x, const Tensor& w) {
    const Tensor h = silu(linear(x, w)) + 1.0;
    const Tensor t = h.permute({1, 0});
    const Tensor s = softmax(h * 0.5) - sum(t * t, 0).reshape({6, 1});
    const Tensor order = sort(s.slice(1, 1, 7), -1);
    return {s, cumsum(h, 1) + x, relu(order - 0.25), t.slice(0, 2, 5) * 2.0, sum(abs(h), 0)};
}

TEST_F(Route, AnyPlacementGivesTheValues) {
    const Tensor x = counting({6, 8}), w = counting({8, 8});
    std::vector<std::vector<float>> want;
    for (const Tensor& t : mixture(x, w)) want.push_back(t.to_vector<float>());
    int shared = 0;
    for (std::uint64_t seed = 0; seed < 25; ++seed) {
        set_routing({Routing::random, seed, partner_});
        const std::vector<Tensor> y = mixture(x, w);
        const std::string plan = explain(y);
        if (plan.find("\non " + partner_ + ",") != std::string::npos &&
            plan.find("\non " + find_device()->name() + ",") != std::string::npos)
            ++shared;
        eval(y);
        set_routing({});
        for (std::size_t i = 0; i < y.size(); ++i) {
            EXPECT_EQ(y[i].device(), x.device()) << seed;
            const std::vector<float> got = y[i].to_vector<float>();
            ASSERT_EQ(got.size(), want[i].size());
            for (std::size_t e = 0; e < got.size(); ++e)
                ASSERT_NEAR(got[e], want[i][e], 1e-5 * (1 + std::abs(want[i][e])))
                    << "seed " << seed << " output " << i;
        }
    }
    EXPECT_GE(shared, 20);
}

// What a user holds stays on its device, though the values it was made of were computed elsewhere.
TEST_F(Route, ValuesBetweenKeepTheirDevice) {
    const Tensor x = counting({6, 8});
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        set_routing({Routing::random, seed, partner_});
        const Tensor between = exp(x) * 2.0, y = sum(between + 1.0, 1);
        y.eval();
        EXPECT_FALSE(between.evaluated());
        EXPECT_EQ((between - x).eval().device(), x.device());
        EXPECT_NEAR(sum(y, 0).item(), sum(sum(exp(x) * 2.0 + 1.0, 1), 0).item(), 1e-3);
    }
}

// Where it was to run: with the bits of work that did not fail. What fails twice is done by the home device.
TEST_F(Route, AFailureInAPieceIsReplayed) {
    const Tensor x = counting({6, 8}), w = counting({8, 8});
    const std::vector<float> alone = mixture(x, w)[0].to_vector<float>();
    set_routing({Routing::random, 3, partner_});
    const std::vector<float> want = mixture(x, w)[0].to_vector<float>();
    test::Ladder ladder(Recovery::any);
    int failed = 0;
    for (const int times : {1, 2})
        for (int n = 1;; ++n) {
            ASSERT_LT(n, 40) << "every launch failed";
            const Tensor y = mixture(x, w)[0];
            const std::string at = "launch@" + std::to_string(n);
            set_faults(times == 1 ? at : at + ",launch@" + std::to_string(n + 1));
            y.eval();
            set_faults("");
            const std::string taken = ladder.taken();
            if (taken.empty()) break;
            ++failed;
            EXPECT_EQ(taken, times == 1 ? "replayed 1" : "unshared 1") << n;
            EXPECT_EQ(y.degraded(), times == 2);
            EXPECT_EQ(y.to_vector<float>(), times == 1 ? want : alone) << n;
        }
    EXPECT_GT(failed, 6);
}

// Also while other threads keep the partner busy, where it is the cpu with work that they share the other way.
TEST_F(Route, BitsDependOnNoOtherThread) {
    const Tensor x = counting({64, 8}), w = counting({8, 8});
    const auto result = [](const Tensor& a, const Tensor& b) {
        return sum(softmax(tanh(linear(a, b)) * a) * 3.0, 0).to_bytes();
    };
    const Tensor there = x.to(find_device(partner_)), weights = w.to(find_device(partner_));
    const bool both_ways = partner_ == "cpu";  // whose partner is then the device of the tests
    set_routing({Routing::random, 3, both_ways ? "" : partner_});
    EXPECT_NE(explain(std::vector{tanh(x) * 3.0 + sum(x)}).find(" on " + partner_ + ": "), std::string::npos);
    if (both_ways) {
        EXPECT_NE(
            explain(std::vector{tanh(there) * 3.0 + sum(there)}).find(" on " + x.device()->name() + ": "),
            std::string::npos);
    }
    const auto want = result(x, w);
    std::atomic<bool> stop{false};
    std::exception_ptr failed;
    std::thread other([&] {
        try {
            while (!stop) (void)result(there, weights);
        } catch (...) {
            failed = std::current_exception();
        }
    });
    int equal = 0;
    for (int n = 0; n < 50; ++n) equal += result(x, w) == want;
    stop = true;
    other.join();
    EXPECT_EQ(equal, 50);
    EXPECT_EQ(failed, nullptr);
}

TEST_F(Route, StatesStayAtHome) {
    set_routing({Routing::random, 1, partner_});
    const auto device = find_device();
    const std::vector<SamplingOptions> greedy(1);
    const Tensor rows = make_sampling_rows(greedy, device), memory = make_sampler_memory(1, 8, device);
    const Tensor token = sample(counting({1, 16}) * 2.0 + 1.0, rows, State(memory));
    EXPECT_NE(explain(std::span(&token, 1)).find("it changes a state"), std::string::npos);
    EXPECT_EQ(token.to_vector<std::int32_t>()[0], 15);
}

// By the default sizes: a chain of small steps is the cpu's, large work the accelerator's, and what is about as fast on both stays
// where the data is.
TEST_F(Route, ByCost) {
    const bool home_is_cpu = find_device()->name() == "cpu";
    if (graph::known_calibration(*find_device()) && graph::known_calibration(*find_device(partner_)))
        GTEST_SKIP() << "both devices have been measured on this machine, and what they gave decides";
    set_routing({Routing::cost, 0, partner_});
    const std::string away = "\non " + partner_ + ",";
    const auto chain = [&](std::int64_t n) {
        Tensor y = counting({n});
        for (int i = 0; i < 20; ++i) y = cumsum(y * 0.5, 0);
        return y;
    };
    const Tensor small = chain(10), one = counting({10}) + 1.0, large = chain(100000);
    EXPECT_EQ(explain(std::span(&small, 1)).find(away) == std::string::npos, home_is_cpu);
    EXPECT_EQ(explain(std::span(&one, 1)).find(away), std::string::npos);
    EXPECT_EQ(explain(std::span(&large, 1)).find(away) == std::string::npos, !home_is_cpu);
    EXPECT_NE(explain(std::span(&small, 1)).find("not calibrated (invar doctor)"), std::string::npos);
    const std::vector<float> got = small.to_vector<float>();
    set_routing({});
    const std::vector<float> want = chain(10).to_vector<float>();
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5 * std::abs(want[i]));
}

TEST_F(Route, ExplainNamesTheStepsAndEvaluatesNothing) {
    const Tensor x = counting({4, 4}), y = exp(x * 2.0) + 1.0;
    const std::string text = explain(std::span(&y, 1));
    EXPECT_NE(text.find("everything on " + find_device()->name() + ": routing is off"), std::string::npos)
        << text;
    EXPECT_NE(text.find("exp"), std::string::npos) << text;
    EXPECT_FALSE(y.evaluated());
    y.eval();
    EXPECT_EQ(explain(std::span(&y, 1)), "");
}

TEST_F(Route, WrongOptions) {
    EXPECT_THROW(set_routing({Routing::cost, 0, "abacus"}), Error);
    EXPECT_EQ(routing_options().routing, Routing::off);
}

}  // namespace
}  // namespace invar
