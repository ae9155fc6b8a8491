// SPDX-License-Identifier: Apache-2.0
// The sampler: one token a row. Nothing is sorted: a filter is a threshold in the ranking of the tokens, found by a
// histogram over distance from the largest logit and then, among the tokens of one bucket, by the digits of their bits.
// Sums are sums of integers, so neither threads nor the order of passes can change a token.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/thread_pool.h"
#include "kernels/random/philox.h"
#include "kernels/random/variants.h"

namespace invar::kernels::random {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int kBuckets = 2048;
constexpr float kNear = 8;  // temperatures below the largest logit

// Tokens still in the race: ids ascending, or all of 0..count when ids is null.
struct Tokens {
    const std::int32_t* ids = nullptr;
    std::int64_t count = 0;
    std::int64_t operator[](std::int64_t i) const { return ids ? ids[i] : i; }
};

// The end of a prefix of the ranking: every token above `logit`, and the first `ties` of those that have it.
struct Threshold {
    float logit = 0;
    std::int64_t ties = 0;
};

// Integers in the order of the floats (no NaN, no -0).
std::uint32_t ordered(float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
float from_ordered(std::uint32_t key) { return std::bit_cast<float>(key >> 31 ? key & 0x7fffffffu : ~key); }

// The highest bucket at which the sum from above reaches target; above becomes the sum of the buckets over it.
int crossing(const std::uint64_t* buckets, int count, std::uint64_t target, std::uint64_t& above) {
    for (int b = count - 1; b > 0; --b) {
        if (above + buckets[b] >= target) return b;
        above += buckets[b];
    }
    return 0;
}

// The shortest prefix of the ranking whose weight reaches target (at least 1, at most the weight of all). Tokens of equal
// logit have equal weight, of which the last of a prefix has some.
template <class Weight>
Threshold find_prefix(const Tokens& tokens, const float* x, float largest, float scale, std::uint64_t target,
                      const Weight& weight, std::int32_t* candidates) {
    std::uint64_t buckets[kBuckets] = {};
    // Bucket by distance from the top: monotonic in x, and fine where the weight is.
    const auto bucket = [&](float v) {
        const float distance = v == largest ? 0.0f : (largest - v) * scale;
        return kBuckets - 1 - (distance < kBuckets - 1 ? static_cast<int>(distance) : kBuckets - 1);
    };
    for (std::int64_t i = 0; i < tokens.count; ++i) {
        const std::int64_t t = tokens[i];
        buckets[bucket(x[t])] += weight(t);
    }
    std::uint64_t above = 0;
    const int chosen = crossing(buckets, kBuckets, target, above);
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < tokens.count; ++i) {
        const std::int64_t t = tokens[i];
        candidates[count] = static_cast<std::int32_t>(t);
        count += bucket(x[t]) == chosen;
    }
    std::uint32_t prefix = 0;
    for (const auto& [shift, bits] : {std::pair{21, 11}, {10, 11}, {0, 10}}) {
        std::fill(buckets, buckets + kBuckets, 0);
        for (std::int64_t i = 0; i < count; ++i) {
            const std::uint32_t key = ordered(x[candidates[i]]);
            if (static_cast<std::uint64_t>(key) >> (shift + bits) == prefix)
                buckets[(key >> shift) & ((1u << bits) - 1)] += weight(candidates[i]);
        }
        prefix = prefix << bits | static_cast<std::uint32_t>(crossing(buckets, 1 << bits, target, above));
    }
    Threshold end;
    end.logit = from_ordered(prefix);
    for (std::int64_t i = 0; i < count; ++i) {
        if (x[candidates[i]] != end.logit) continue;
        const std::uint64_t each = std::max<std::uint64_t>(1, weight(candidates[i]));
        end.ties = static_cast<std::int64_t>((target - above + each - 1) / each);
        break;
    }
    return end;
}

Tokens keep_prefix(const Tokens& tokens, const float* x, Threshold end, std::int32_t* kept) {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < tokens.count; ++i) {
        const std::int64_t t = tokens[i];
        const bool keep = x[t] > end.logit || (x[t] == end.logit && end.ties-- > 0);
        kept[count] =
            static_cast<std::int32_t>(t);  // may be overwritten; never ahead of what is still to be read
        count += keep;
    }
    return {kept, count};
}

void check_options(const SamplingRow& o, std::int64_t row) {
    const auto refuse = [&](const char* name, double value, const char* range) {
        throw InvalidArgument("random: " + std::string(name) + " of row " + std::to_string(row) + " is " +
                              std::to_string(value) + "; it must be " + range);
    };
    if (!(o.temperature >= 0 && o.temperature < kInf))
        refuse("temperature", o.temperature, "0 or positive and finite");
    if (!(o.top_p > 0 && o.top_p <= 1)) refuse("top_p", o.top_p, "above 0 and at most 1");
    if (!(o.min_p >= 0 && o.min_p <= 1)) refuse("min_p", o.min_p, "from 0 to 1");
    if (!(o.repetition_penalty > 0 && o.repetition_penalty < kInf))
        refuse("repetition_penalty", o.repetition_penalty, "positive and finite");
    if (o.top_k < 0) refuse("top_k", o.top_k, "0 or positive");
}

struct Row {
    const SampleSpec& s;
    ThreadPool& pool;
    std::int64_t row;
    const std::byte* logits;
    SamplingRow options;
    const std::int32_t* history;
    std::int64_t position, history_count;
    std::byte* space;

    std::int32_t sample() const {
        check_options(options, row);
        if (options.temperature == 0 && options.repetition_penalty == 1) return largest(logits, s.logits).id;
        const RowSpace layout(s.vocab);
        auto* x = reinterpret_cast<float*>(space + layout.results_bytes);
        float* w = x + s.vocab;
        auto* kept = reinterpret_cast<std::int32_t*>(w + s.vocab);
        std::int32_t* candidates = kept + s.vocab;
        const auto size = static_cast<std::int64_t>(size_of(s.logits));
        each_chunk([&](std::int64_t, std::int64_t first, std::int64_t n) {
            copy_logits(logits + first * size, s.logits, n, x + first);
        });
        penalize(x);
        const ChunkResult top = largest(reinterpret_cast<const std::byte*>(x), DType::f32);
        if (options.temperature == 0) return top.id;
        auto* results = reinterpret_cast<ChunkResult*>(space);
        each_chunk([&](std::int64_t c, std::int64_t first, std::int64_t n) {
            results[c].sum = weigh(x + first, n, top.largest, options.temperature, w + first);
        });
        return draw(filter(x, w, top.largest, results, kept, candidates), w, results);
    }

    template <class F>
    void each_chunk(const F& f) const {
        pool.parallel_for(ceil_div(s.vocab, kChunk),
                          [&](std::int64_t c) { f(c, c * kChunk, std::min(kChunk, s.vocab - c * kChunk)); });
    }

    ChunkResult largest(const std::byte* from, DType type) const {
        auto* results = reinterpret_cast<ChunkResult*>(space);
        each_chunk([&](std::int64_t c, std::int64_t first, std::int64_t n) {
            results[c] = largest_logit(from, type, first, n);
        });
        ChunkResult best = results[0];
        for (std::int64_t c = 1; c < ceil_div(s.vocab, kChunk); ++c)
            if (results[c].largest > best.largest) best = results[c];
        if (best.id < 0)
            throw LaunchFailed("random: row " + std::to_string(row) +
                               " has no logit above -infinity to sample from; "
                               "the model's output is NaN or fully masked");
        return best;
    }

    // From the logits, not from x: a token that occurs twice in the history is penalised once.
    void penalize(float* x) const {
        const float penalty = options.repetition_penalty;
        if (penalty == 1) return;
        for (std::int64_t i = 0; i < history_count; ++i) {
            const std::int32_t t = history[i];
            if (t < 0 || t >= s.vocab)
                throw LaunchFailed("random: token " + std::to_string(t) + " at position " +
                                   std::to_string(i) + " of the history of row " + std::to_string(row) +
                                   " is outside the vocabulary of " + std::to_string(s.vocab));
            float v;
            copy_logits(logits + t * static_cast<std::int64_t>(size_of(s.logits)), s.logits, 1, &v);
            x[t] = (v < 0 ? v * penalty : v / penalty) + 0.0f;
        }
    }

    Tokens filter(const float* x, const float* w, float largest, const ChunkResult* results,
                  std::int32_t* kept, std::int32_t* candidates) const {
        Tokens tokens{nullptr, s.vocab};
        // Weights below 2^-38 count nothing: 27 temperatures down is the end of what matters.
        const float scale = static_cast<float>(kBuckets) / (27.0f * options.temperature);
        // Most prefixes end among the tokens near the top: those are looked at alone where they are enough.
        Tokens near{kept, 0};
        if (options.top_k > 0 || options.top_p < 1)
            near.count = collect_at_least(x, s.vocab, largest - kNear * options.temperature, kept);
        if (options.top_k > 0 && options.top_k < tokens.count) {
            const auto target = static_cast<std::uint64_t>(options.top_k);
            const Tokens& from = near.count >= options.top_k ? near : tokens;
            const Threshold end = find_prefix(
                from, x, largest, scale, target, [](std::int64_t) { return std::uint64_t{1}; }, candidates);
            tokens = near = keep_prefix(from, x, end, kept);
        }
        if (options.top_p < 1) {
            const std::uint64_t total = sum_of(tokens, w, results);
            const double share = std::ceil(static_cast<double>(options.top_p) * static_cast<double>(total));
            const std::uint64_t target =
                std::clamp<std::uint64_t>(static_cast<std::uint64_t>(share), 1, total);
            const Tokens& from = sum_of(near, w, results) >= target ? near : tokens;
            const Threshold end = find_prefix(
                from, x, largest, scale, target, [&](std::int64_t t) { return mass(w[t]); }, candidates);
            tokens = keep_prefix(from, x, end, kept);
        }
        if (options.min_p > 0) {
            if (!tokens.ids) return {kept, collect_at_least(w, s.vocab, options.min_p, kept)};
            std::int64_t count = 0;
            for (std::int64_t i = 0; i < tokens.count; ++i) {
                const std::int64_t t = tokens[i];
                kept[count] = static_cast<std::int32_t>(t);
                count += w[t] >= options.min_p;
            }
            tokens = {kept, count};
        }
        return tokens;
    }

    std::uint64_t sum_of(const Tokens& tokens, const float* w, const ChunkResult* results) const {
        std::uint64_t total = 0;
        if (!tokens.ids)
            for (std::int64_t c = 0; c < ceil_div(s.vocab, kChunk); ++c) total += results[c].sum;
        else
            for (std::int64_t i = 0; i < tokens.count; ++i) total += mass(w[tokens.ids[i]]);
        return total;
    }

    std::int32_t draw(const Tokens& tokens, const float* w, const ChunkResult* results) const {
        const std::uint64_t total = sum_of(tokens, w, results),
                            at_position = static_cast<std::uint64_t>(position);
        const PhiloxBlock words = philox({static_cast<std::uint32_t>(at_position),
                                          static_cast<std::uint32_t>(at_position >> 32), 0, kDrawTag},
                                         options.seed);
        const std::uint64_t u = words[0] | static_cast<std::uint64_t>(words[1]) << 32;
        __extension__ using Wide = unsigned __int128;
        auto left = static_cast<std::uint64_t>((static_cast<Wide>(u) * total) >> 64);  // below total
        std::int64_t i = 0;
        if (!tokens.ids)  // whole chunks at once
            for (std::int64_t c = 0; left >= results[c].sum; ++c, i += kChunk) left -= results[c].sum;
        for (;; ++i) {
            const std::uint64_t m = mass(w[tokens[i]]);
            if (left < m) return static_cast<std::int32_t>(tokens[i]);
            left -= m;
        }
    }
};

}  // namespace

void run_sample(const NativeLaunch& launch) {
    const auto& s = params_of<SampleSpec>(launch);
    const char* const family = "random";
    const std::byte* logits =
        need(launch, 0, extent(s.rows, s.logits_row, s.vocab), s.logits, family, "logits");
    const auto* options = need<SamplingRow>(launch, 1, s.rows, family, "sampling rows");
    auto* history = need<std::int32_t>(launch, 2, s.rows * s.history_columns, family, "history");
    auto* length = need<std::int32_t>(launch, 3, s.rows, family, "history length");
    auto* out = need<std::int32_t>(launch, 4, s.rows, family, "out token");
    if (s.rows == 0) return;
    const RowSpace layout(s.vocab);
    std::byte* space =
        need_bytes(launch, 5, s.rows * layout.bytes, alignof(ChunkResult), family, "workspace");
    for (std::int64_t r = 0; r < s.rows; ++r)
        if (length[r] < 0 || length[r] == std::numeric_limits<std::int32_t>::max())
            throw LaunchFailed("random: the history of row " + std::to_string(r) + " has length " +
                               std::to_string(length[r]));
    // Rows side by side; inside a single row its chunks are.
    launch.pool.parallel_for(s.rows, [&](std::int64_t r) {
        std::int32_t* past = history + r * s.history_columns;
        const std::int64_t position = length[r], count = std::min(position, s.history_columns);
        const Row row{s,
                      launch.pool,
                      r,
                      logits + r * s.logits_row * static_cast<std::int64_t>(size_of(s.logits)),
                      options[r],
                      past,
                      position,
                      count,
                      space + r * layout.bytes};
        out[r] = row.sample();
        if (position < s.history_columns) past[position] = out[r];
        ++length[r];
    });
}

}  // namespace invar::kernels::random
