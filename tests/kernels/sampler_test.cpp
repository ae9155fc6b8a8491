// SPDX-License-Identifier: Apache-2.0
// The sampler against one that sorts, in f64, over many settings and seeds; a chi-square test of its draws; greedy and
// its ties, penalties, history, special logits and wrong options.
#include <algorithm>
#include <map>
#include <numeric>

#include "kernels/harness.h"
#include "kernels/random/family.h"
#include "kernels/random/philox.h"

namespace invar::kernels {
namespace {

using namespace testing;

// A batch of rows with their options and histories.
struct Batch {
    SampleSpec s;
    Array logits, options, history, length, out;
    Batch(DType type, std::int64_t rows, std::int64_t vocab, std::int64_t columns = 32)
        : s{type, rows, vocab, vocab + 3, columns},
          logits(type, rows * (vocab + 3)),
          options(DType::u64, rows * static_cast<std::int64_t>(sizeof(SamplingRow) / 8)),
          history(DType::i32, rows * columns),
          length(DType::i32, rows),
          out(DType::i32, rows) {
        logits.randomize(static_cast<std::uint32_t>(vocab), 3);
        for (std::int64_t r = 0; r < rows; ++r) {
            set(r, {});
            length.set(r, 0);
        }
    }
    void set(std::int64_t row, SamplingRow o) {
        std::memcpy(options.data() + static_cast<std::size_t>(row) * sizeof o, &o, sizeof o);
    }
    SamplingRow get(std::int64_t row) const {
        SamplingRow o;
        std::memcpy(&o, options.data() + static_cast<std::size_t>(row) * sizeof o, sizeof o);
        return o;
    }
    double logit(std::int64_t row, std::int64_t t) const { return logits.get(row * s.logits_row + t); }
    void sample(ThreadPool& threads = pool()) {
        run(plan_sample(device(), s), {&logits, &options, &history, &length, &out}, threads);
    }
};

// Whether `token` is what sorting and summing in f64 gives, when top_p is moved by `slack` and the draw may miss an
// interval's end by a little.
bool fits(const Batch& b, std::int64_t row, const std::vector<std::int32_t>& past, std::int64_t position,
          std::int32_t token, double slack) {
    const SamplingRow o = b.get(row);
    const auto vocab = static_cast<std::size_t>(b.s.vocab);
    std::vector<double> x(vocab);
    for (std::size_t t = 0; t < vocab; ++t) {
        x[t] = b.logit(row, static_cast<std::int64_t>(t));
        if (std::isnan(x[t])) x[t] = -INFINITY;
        if (std::find(past.begin(), past.end(), static_cast<std::int32_t>(t)) != past.end())
            x[t] = static_cast<float>(x[t] < 0 ? static_cast<float>(x[t]) * o.repetition_penalty
                                               : static_cast<float>(x[t]) / o.repetition_penalty);
    }
    std::vector<std::size_t> order(vocab);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t c) { return x[a] > x[c] || (x[a] == x[c] && a < c); });
    if (o.temperature == 0) return token == static_cast<std::int32_t>(order[0]);
    if (o.top_k > 0 && static_cast<std::size_t>(o.top_k) < order.size())
        order.resize(static_cast<std::size_t>(o.top_k));
    std::vector<double> p;
    double total = 0;
    for (std::size_t t : order) total += p.emplace_back(std::exp((x[t] - x[order[0]]) / o.temperature));
    if (o.top_p < 1) {
        double cumulated = 0;
        std::size_t kept = 0;
        while (kept < order.size() && (kept == 0 || cumulated < (o.top_p + slack) * total))
            cumulated += p[kept++];
        order.resize(kept);
    }
    std::size_t kept = 0;
    while (kept < order.size() && p[kept] >= o.min_p) ++kept;
    order.resize(std::max<std::size_t>(kept, 1));
    std::map<std::int32_t, double> chosen;  // by id
    total = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        chosen[static_cast<std::int32_t>(order[i])] = p[i];
        total += p[i];
    }
    const PhiloxBlock words = philox({static_cast<std::uint32_t>(position), 0, 0, kDrawTag}, o.seed);
    const double u = (words[0] + words[1] * 0x1p32) * 0x1p-64;
    double from = 0;
    for (const auto& [id, weight] : chosen) {
        const double to = from + weight / total;
        if (id == token) return from - 1e-5 <= u && u <= to + 1e-5;
        from = to;
    }
    return false;
}

void check(Batch& b, const std::string& what) {
    std::vector<std::vector<std::int32_t>> past;
    std::vector<std::int64_t> before;
    for (std::int64_t r = 0; r < b.s.rows; ++r) {
        before.push_back(static_cast<std::int64_t>(b.length.get(r)));
        past.emplace_back();
        for (std::int64_t i = 0; i < std::min(before.back(), b.s.history_columns); ++i)
            past.back().push_back(static_cast<std::int32_t>(b.history.get(r * b.s.history_columns + i)));
    }
    b.sample();
    for (std::int64_t r = 0; r < b.s.rows; ++r) {
        const auto i = static_cast<std::size_t>(r);
        const auto token = static_cast<std::int32_t>(b.out.get(r));
        ASSERT_TRUE(fits(b, r, past[i], before[i], token, 0) || fits(b, r, past[i], before[i], token, 1e-5) ||
                    fits(b, r, past[i], before[i], token, -1e-5))
            << what << " row " << r << " token " << token;
        ASSERT_EQ(b.length.get(r), before[i] + 1);
        if (before[i] < b.s.history_columns) {
            ASSERT_EQ(b.history.get(r * b.s.history_columns + before[i]), token);
        }
    }
}

SamplingRow options(float temperature, std::int32_t top_k = 0, float top_p = 1, float min_p = 0,
                    float penalty = 1) {
    SamplingRow o;
    o.temperature = temperature;
    o.top_k = top_k;
    o.top_p = top_p;
    o.min_p = min_p;
    o.repetition_penalty = penalty;
    return o;
}

TEST(Sampler, AgreesWithSorting) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16})
        for (const std::int64_t vocab : {1, 2, 31, 257, 1023, 8193})
            for (const float temperature : {0.0f, 0.3f, 1.0f, 4.0f})
                for (const std::int32_t top_k : {0, 1, 7, 300})
                    for (const float top_p : {1.0f, 0.9f, 0.2f})
                        for (const float min_p : {0.0f, 0.1f}) {
                            if (vocab > 2000 && (top_k == 7 || temperature == 4)) continue;
                            Batch b(type, 3, vocab);
                            for (std::int64_t r = 0; r < 3; ++r) {
                                SamplingRow o =
                                    options(temperature, top_k, top_p, min_p, r == 2 ? 1.3f : 1.0f);
                                o.seed = static_cast<std::uint64_t>(vocab * 1000003 + r);
                                b.set(r, o);
                                b.length.set(r, r * 3);
                                for (std::int64_t i = 0; i < r * 3; ++i)
                                    b.history.set(r * 32 + i, (i * i * 5) % vocab);  // some twice
                            }
                            check(b, "vocab " + std::to_string(vocab) + " T " + std::to_string(temperature) +
                                         " k " + std::to_string(top_k) + " p " + std::to_string(top_p));
                        }
}

TEST(Sampler, LargeVocabulary) {
    Batch b(DType::f32, 1, 128256);
    for (const auto& o : {options(0), options(1), options(0.8f, 50), options(0.8f, 0, 0.95f),
                          options(1, 0, 1, 0.05f), options(1.5f, 40, 0.9f, 0.02f, 1.1f)}) {
        b.set(0, o);
        for (int i = 0; i < 3; ++i) check(b, "large");
    }
}

TEST(Sampler, DrawsFollowTheProbabilities) {
    // Chi-square over 20000 draws at fixed seeds; the bound is the 99.9% point, so a right sampler passes these seeds.
    for (const auto& [o, vocab] :
         {std::pair{options(1), 40}, {options(0.7f, 20), 300}, {options(1.5f, 0, 0.8f), 100}}) {
        constexpr int kDraws = 20000, kRows = 500;
        Batch b(DType::f32, kRows, vocab, 0);
        std::map<std::int32_t, int> counts;
        for (std::int64_t r = 0; r < kRows; ++r) {
            SamplingRow row = o;
            row.seed = 77 + static_cast<std::uint64_t>(r);
            b.set(r, row);
            for (std::int64_t t = 0; t < vocab; ++t) b.logits.set(r * b.s.logits_row + t, b.logit(0, t));
        }
        for (int i = 0; i < kDraws / kRows; ++i) {
            b.sample();
            for (std::int64_t r = 0; r < kRows; ++r) ++counts[static_cast<std::int32_t>(b.out.get(r))];
        }
        std::vector<std::pair<double, std::int32_t>> ranking;
        for (std::int32_t t = 0; t < vocab; ++t) ranking.emplace_back(-b.logit(0, t), t);
        std::sort(ranking.begin(), ranking.end());
        if (o.top_k > 0) ranking.resize(static_cast<std::size_t>(o.top_k));
        double total = 0, sum = 0, chi = 0;
        std::vector<double> p;
        for (const auto& [x, t] : ranking)
            total += p.emplace_back(std::exp((ranking[0].first - x) / o.temperature));
        std::size_t kept = 0;
        while (kept < p.size() && sum < o.top_p * total) sum += p[kept++];
        int cells = 0, drawn = 0, rest = 0;
        double rest_expected = 0;
        for (std::size_t i = 0; i < kept; ++i) {
            const double expected = p[i] / sum * kDraws;
            const int count = counts[ranking[i].second];
            drawn += count;
            if (expected < 5) {  // rare tokens together
                rest += count;
                rest_expected += expected;
                continue;
            }
            chi += (count - expected) * (count - expected) / expected;
            ++cells;
        }
        if (rest_expected > 0) {
            chi += (rest - rest_expected) * (rest - rest_expected) / std::max(rest_expected, 1.0);
            ++cells;
        }
        EXPECT_EQ(drawn, kDraws) << "a token outside the filters was drawn";
        const double freedom = cells - 1, z = 3.09;  // Wilson-Hilferty
        const double bound = freedom * std::pow(1 - 2 / (9 * freedom) + z * std::sqrt(2 / (9 * freedom)), 3);
        EXPECT_LT(chi, bound) << cells << " cells";
    }
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16})
        for_each_target([&](const char* target) {
            for (const std::int64_t where : {0, 5, 15, 16, 1023, 1024, 8191, 8192, 19999}) {
                Batch b(type, 1, 20000);
                for (std::int64_t t = 0; t < 20000; ++t)
                    b.logits.set(t, t >= where && t % 3 == where % 3 ? 7.5 : -1.0);
                b.sample();
                ASSERT_EQ(b.out.get(0), where) << target;
            }
        });
}

TEST(Sampler, TiesAreKeptByLowerId) {
    Batch b(DType::f32, 1, 1000);
    for (std::int64_t t = 0; t < 1000; ++t) b.logits.set(t, 2.0);
    std::map<int, int> seen;
    for (int i = 0; i < 300; ++i) {
        SamplingRow o = options(1, 5);
        o.seed = static_cast<std::uint64_t>(i);
        b.set(0, o);
        b.sample();
        ++seen[static_cast<int>(b.out.get(0))];
    }
    EXPECT_EQ(seen.size(), 5u);
    EXPECT_EQ(seen.rbegin()->first, 4);
    seen.clear();
    for (int i = 0; i < 300; ++i) {  // half of the mass of 1000 equal tokens: the first 500
        SamplingRow o = options(1, 0, 0.5f);
        o.seed = static_cast<std::uint64_t>(i);
        b.set(0, o);
        b.sample();
        ++seen[static_cast<int>(b.out.get(0))];
    }
    EXPECT_LT(seen.rbegin()->first, 500);
    EXPECT_GT(seen.rbegin()->first, 450);
}

TEST(Sampler, SpecialLogits) {
    Batch b(DType::f32, 1, 50);
    for (std::int64_t t = 0; t < 50; ++t) b.logits.set(t, t % 2 ? NAN : -INFINITY);
    for (const auto& o : {options(0), options(1), options(1, 3, 0.5f, 0.1f, 1.2f)}) {
        b.set(0, o);
        expect_contains(message_of<LaunchFailed>([&] { b.sample(); }), {"row 0", "NaN"});
    }
    EXPECT_EQ(b.length.get(0), 0);
    b.logits.set(17, -3.0);
    for (const auto& o : {options(0), options(1), options(1, 3, 0.5f, 0.1f, 1.2f), options(1e-40f)}) {
        b.set(0, o);
        b.sample();
        EXPECT_EQ(b.out.get(0), 17);
    }
    b.logits.set(20, INFINITY);
    for (const auto& o : {options(0), options(1), options(1, 3, 0.5f, 0.1f, 1.2f)}) {
        b.set(0, o);
        b.sample();
        EXPECT_EQ(b.out.get(0), 20);
    }
}

TEST(Sampler, HistoryFillsUpAndPenalises) {
    Batch b(DType::f32, 1, 10, 3);
    for (std::int64_t t = 0; t < 10; ++t) b.logits.set(t, 10.0 - static_cast<double>(t));
    b.set(0, options(0, 0, 1, 0, 100));
    for (int i = 0; i < 5; ++i) {
        b.sample();
        EXPECT_EQ(b.out.get(0), std::min(i, 3)) << "every token of the history is pushed down";
        EXPECT_EQ(b.length.get(0), i + 1);
    }
}

TEST(Sampler, SameTokensOnEveryTargetAndThreadCount) {
    for (const std::int64_t rows : {1, 6}) {
        Batch start(DType::bf16, rows, 30011, 64);
        for (std::int64_t r = 0; r < rows; ++r) {
            SamplingRow o = options(0.9f, r % 2 ? 100 : 0, 0.97f, 0, 1.1f);
            o.seed = 5;
            start.set(r, o);
        }
        const auto text = [&](int threads) {
            Batch b = start;
            for (int i = 0; i < 20; ++i) b.sample(pool(threads));
            return b.history;
        };
        const Array first = text(1);
        for (const int threads : {2, 5})
            for_each_target(
                [&](const char* target) { ASSERT_TRUE(text(threads).same_bits(first)) << target; });
    }
}

TEST(Sampler, RefusesBadOptionsTokensAndBuffers) {
    Batch b(DType::f32, 2, 100);
    const auto refused = [&](SamplingRow o, const std::string& name) {
        b.set(1, o);
        expect_contains(message_of<InvalidArgument>([&] { b.sample(); }), {"row 1", name});
    };
    refused(options(-1), "temperature");
    refused(options(NAN), "temperature");
    refused(options(1, -2), "top_k");
    refused(options(1, 0, 0), "top_p");
    refused(options(1, 0, 1.5f), "top_p");
    refused(options(1, 0, 1, -0.5f), "min_p");
    refused(options(1, 0, 1, 0, 0), "repetition_penalty");
    b.set(1, options(0, 0, 1, 0, 2));
    b.length.set(1, 3);
    b.history.set(32, 1);
    b.history.set(33, 100);
    b.history.set(34, -1);
    expect_contains(message_of<LaunchFailed>([&] { b.sample(); }),
                    {"token 100", "position 1", "row 1", "100"});
    b.history.set(33, 2);
    expect_contains(message_of<LaunchFailed>([&] { b.sample(); }), {"token -1", "position 2"});
    b.length.set(1, -4);
    expect_contains(message_of<LaunchFailed>([&] { b.sample(); }), {"row 1", "-4"});
    SampleSpec s = b.s;
    s.vocab = 0;
    EXPECT_THROW(plan_sample(device(), s), InvalidArgument);
    s.vocab = kMaxVocab + 1;
    EXPECT_THROW(plan_sample(device(), s), InvalidArgument);
    s = b.s;
    s.rows = std::int64_t{1} << 60;
    EXPECT_THROW(plan_sample(device(), s), InvalidArgument);
    Array small(DType::i32, 1);
    b.length.set(1, 0);
    const std::string message = message_of<LaunchFailed>([&] {
        run(plan_sample(device(), b.s), {&b.logits, &b.options, &b.history, &b.length, &small});
    });
    expect_contains(message, {"4", "8"});
    expect_names(message, {"out token"});
}

}  // namespace
}  // namespace invar::kernels
