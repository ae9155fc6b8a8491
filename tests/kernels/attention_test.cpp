// SPDX-License-Identifier: Apache-2.0
// Attention over a paged cache against dense attention in f64: shuffled block tables, several sequences in one call,
// grouped heads, windows, masks, soft caps, every storage type and odd head sizes. However a prompt is cut, each token
// gives the same bits, on any number of threads and, among targets with fused multiply-add, on any of them.
#include "kernels/attention/family.h"

#include <algorithm>
#include <numeric>

#include "kernels/harness.h"

namespace invar::kernels {
namespace {

using namespace testing;

struct AttentionProblem {
    DType cache = DType::f32, q = DType::f32, y = DType::f32, kv = DType::f32;
    std::int64_t heads = 4, kv_heads = 2, head_dim = 16;
    std::vector<std::int64_t> lengths = {50};  // of the sequences
    std::int64_t window = 0;
    float softcap = 0;
    bool mask = false;
    std::int64_t slack = 5;       // elements between the rows of q
    bool table_of_slack = false;  // more table columns and length than the tokens need
};

// Sequences with all their queries, keys and values, and a cache with a shuffled block table. Blocks start as NaN, so
// that reading what no token wrote is seen.
class World {
public:
    explicit World(const AttentionProblem& problem)
        : s(problem), k_(s.cache, 0), v_(s.cache, 0), table_(DType::i32, 0), mask_(DType::i32, 0) {
        std::mt19937 random(static_cast<std::uint32_t>(s.head_dim * 31 + s.heads));
        const std::int64_t longest = *std::max_element(s.lengths.begin(), s.lengths.end());
        rows = static_cast<std::int64_t>(s.lengths.size()) + 1;  // one row that no token uses
        columns = (longest + 15) / 16 + (s.table_of_slack ? 40 : 0);
        blocks = rows * columns + 3;
        std::vector<std::int32_t> order(static_cast<std::size_t>(blocks));
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), random);
        order.resize(static_cast<std::size_t>(rows * columns));
        for (std::int64_t r = 0; r < rows; ++r)  // columns that no token reaches name no block
            for (std::int64_t c = 0; c < columns; ++c)
                if (r == rows - 1 || c * 16 >= s.lengths[static_cast<std::size_t>(r)])
                    order[static_cast<std::size_t>(r * columns + c)] = -7;
        table_ = Array::of(DType::i32, order);
        total = std::accumulate(s.lengths.begin(), s.lengths.end(), std::int64_t{0});
        const std::int64_t elements = blocks * s.kv_heads * 16 * s.head_dim;
        k_ = Array(s.cache, elements);
        v_ = Array(s.cache, elements);
        for (std::int64_t i = 0; i < elements; ++i) {
            k_.set(i, NAN);
            v_.set(i, NAN);
        }
        q = Array(s.q, total * q_token());
        k = Array(s.kv, total * kv_token());
        v = Array(s.kv, total * kv_token());
        q.randomize(1, 1.5);
        k.randomize(2, 1.5);
        v.randomize(3);
        if (s.mask) {
            mask_columns = columns * 16 - 5;
            std::vector<std::int32_t> mask(static_cast<std::size_t>(rows * mask_columns));
            for (auto& m : mask) m = random() % 4 != 0;
            for (std::int64_t j = 0; j < 30 && j < mask_columns; ++j) mask[static_cast<std::size_t>(j)] = 0;
            mask_ = Array::of(DType::i32, mask);
        }
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(s.lengths.size()); ++i)
            for (std::int64_t j = 0; j < s.lengths[static_cast<std::size_t>(i)]; ++j) {
                sequence.push_back(static_cast<std::int32_t>(i));
                slot.push_back(static_cast<std::int32_t>(j));
            }
    }
    // Strides with room between tokens.
    std::int64_t q_token() const { return s.heads * s.head_dim + s.slack; }
    std::int64_t kv_token() const { return s.kv_heads * s.head_dim + 3; }
    KvLayout layout() const { return {s.cache, blocks, s.kv_heads, s.head_dim, rows, columns}; }

    // Appends and attends the given flat tokens in one call each; writes their rows of y (total, heads, head_dim).
    void step(const std::vector<std::int64_t>& tokens, Array& y, ThreadPool& threads = pool()) {
        const auto n = static_cast<std::int64_t>(tokens.size());
        std::vector<std::int32_t> seq, slots;
        Array qs(s.q, n * q_token()), ks(s.kv, n * kv_token()), vs(s.kv, n * kv_token());
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t t = tokens[static_cast<std::size_t>(i)];
            seq.push_back(t < 0 ? 99 : sequence[static_cast<std::size_t>(t)]);
            slots.push_back(t < 0 ? -1 : slot[static_cast<std::size_t>(t)]);
            if (t < 0) continue;
            copy(q, t * q_token(), qs, i * q_token(), q_token());
            copy(k, t * kv_token(), ks, i * kv_token(), kv_token());
            copy(v, t * kv_token(), vs, i * kv_token(), kv_token());
        }
        Array sequences = Array::of(DType::i32, seq), slot_array = Array::of(DType::i32, slots);
        KvAppendSpec append;
        append.cache = layout();
        append.kv = s.kv;
        append.tokens = n;
        append.k_token = append.v_token = kv_token();
        append.k_head = append.v_head = s.head_dim;
        run(plan_kv_append(device(), append), {&ks, &vs, &k_, &v_, &table_, &sequences, &slot_array},
            threads);
        Array out(s.y, n * s.heads * s.head_dim);
        std::vector<Array*> arrays = {&qs, &k_, &v_, &table_, &sequences, &slot_array, &out};
        if (s.mask) arrays.push_back(&mask_);
        run(plan_attention(device(), spec(n)), arrays, threads);
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t t = tokens[static_cast<std::size_t>(i)], row = s.heads * s.head_dim;
            if (t >= 0)
                copy(out, i * row, y, t * row, row);
            else
                for (std::int64_t j = 0; j < row; ++j) ASSERT_EQ(out.get(i * row + j), 0) << "padding";
        }
    }
    AttentionSpec spec(std::int64_t tokens) const {
        AttentionSpec a;
        a.cache = layout();
        a.q = s.q;
        a.y = s.y;
        a.tokens = tokens;
        a.heads = s.heads;
        a.q_token = q_token();
        a.q_head = s.head_dim;
        a.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
        a.softcap = s.softcap;
        a.window = s.window;
        a.max_length = columns * 16;
        a.mask_columns = mask_columns;
        return a;
    }
    Array result() const { return Array(s.y, total * s.heads * s.head_dim); }
    // All tokens in chunks of n of each sequence; 0: everything in one call.
    Array in_chunks(std::int64_t n, ThreadPool& threads = pool()) {
        Array y = result();
        if (n == 0) {
            std::vector<std::int64_t> all(static_cast<std::size_t>(total));
            std::iota(all.begin(), all.end(), 0);
            step(all, y, threads);
            return y;
        }
        // The sequences advance together, as a batch does.
        const std::int64_t longest = *std::max_element(s.lengths.begin(), s.lengths.end());
        for (std::int64_t from = 0; from < longest; from += n) {
            std::vector<std::int64_t> tokens;
            for (std::int64_t t = 0; t < total; ++t) {
                const std::int64_t p = slot[static_cast<std::size_t>(t)];
                if (p >= from && p < from + n) tokens.push_back(t);
            }
            step(tokens, y, threads);
        }
        return y;
    }

    // Against dense attention; looks at every n-th token, and at those that end a sequence.
    void check(const Array& y, std::int64_t every = 1) const {
        std::vector<double> queries, keys, values;
        for (std::int64_t i = 0; i < q.count(); ++i) queries.push_back(q.get(i));
        for (std::int64_t i = 0; i < k.count(); ++i) {
            keys.push_back(stored(k, i));
            values.push_back(stored(v, i));
        }
        std::int64_t base = 0;
        for (std::int64_t t = 0; t < total; ++t) {
            const std::int64_t me = sequence[static_cast<std::size_t>(t)],
                               last = slot[static_cast<std::size_t>(t)];
            if (last == 0) base = t;
            if (t % every != 0 && last + 1 != s.lengths[static_cast<std::size_t>(me)]) continue;
            for (std::int64_t h = 0; h < s.heads; ++h) {
                const std::int64_t kv_head = h / (s.heads / s.kv_heads);
                std::vector<double> p, out(static_cast<std::size_t>(s.head_dim), 0);
                std::vector<std::int64_t> where;
                double top = -INFINITY, sum = 0, size = 0, reach = 0;
                for (std::int64_t j = s.window > 0 ? std::max<std::int64_t>(0, last - s.window + 1) : 0;
                     j <= last; ++j) {
                    if (s.mask && j < mask_columns && mask_.get(me * mask_columns + j) == 0) continue;
                    double score = 0, magnitude = 0;
                    const double* query = &queries[static_cast<std::size_t>(t * q_token() + h * s.head_dim)];
                    const double* key =
                        &keys[static_cast<std::size_t>((base + j) * kv_token() + kv_head * s.head_dim)];
                    for (std::int64_t d = 0; d < s.head_dim; ++d) {
                        const double product = query[d] * key[d];
                        score += product;
                        magnitude += std::abs(product);
                    }
                    score /= std::sqrt(static_cast<double>(s.head_dim));
                    reach = std::max(reach, magnitude / std::sqrt(static_cast<double>(s.head_dim)));
                    if (s.softcap > 0) score = s.softcap * std::tanh(score / s.softcap);
                    p.push_back(score);
                    where.push_back(j);
                    top = std::max(top, score);
                }
                for (double& x : p) sum += x = std::exp(x - top);
                for (std::size_t j = 0; j < p.size(); ++j)
                    for (std::int64_t d = 0; d < s.head_dim; ++d) {
                        const double value = values[static_cast<std::size_t>((base + where[j]) * kv_token() +
                                                                             kv_head * s.head_dim + d)];
                        out[static_cast<std::size_t>(d)] += p[j] / sum * value;
                        size = std::max(size, std::abs(value));
                    }
                // Scores are off by roundings of their products; so are exponentials, relatively; then the sums.
                const double unit = 0x1p-24;
                // Tensor cores take the weights rounded to the cache's type.
                const bool rounds = !on_cpu() && s.q == s.cache && size_of(s.q) == 2;
                const double off = (rounds ? epsilon(s.cache) / 2 * size : 0) +
                                   (2 * reach * static_cast<double>(s.head_dim + 4) +
                                    static_cast<double>(p.size()) + 20 + 4 * static_cast<double>(s.softcap)) *
                                       unit * size;
                for (std::int64_t d = 0; d < s.head_dim; ++d)
                    ASSERT_TRUE(close(y.get((t * s.heads + h) * s.head_dim + d),
                                      out[static_cast<std::size_t>(d)], epsilon(s.y) / 2,
                                      off + (s.y == DType::f16 ? 0x1p-25 : 0)))
                        << "token " << t << " slot " << last << " head " << h << " d " << d << " of "
                        << s.head_dim;
            }
        }
    }

    AttentionProblem s;
    std::int64_t rows = 0, columns = 0, blocks = 0, total = 0, mask_columns = 0;
    std::vector<std::int32_t> sequence, slot;
    Array q{DType::f32, 0}, k{DType::f32, 0}, v{DType::f32, 0};
    Array k_, v_, table_, mask_;

    static void copy(const Array& from, std::int64_t i, Array& to, std::int64_t j, std::int64_t n) {
        const std::size_t size = size_of(from.type());
        std::memcpy(to.data() + static_cast<std::size_t>(j) * size,
                    from.data() + static_cast<std::size_t>(i) * size, static_cast<std::size_t>(n) * size);
    }

private:
    // A key or value as the cache stores it.
    double stored(const Array& from, std::int64_t i) const {
        Array one(s.cache, 1);
        one.set(0, from.get(i));
        return one.get(0);
    }
};

TEST(Attention, HeadSizesAndTypes) {
    for (const std::int64_t dim : {1, 8, 12, 16, 17, 48, 64, 80, 96, 128, 256})
        for (const DType cache : {DType::f32, DType::f16, DType::bf16}) {
            AttentionProblem s;
            s.cache = cache;
            s.q = dim % 3 == 0 ? DType::bf16 : DType::f32;
            s.y = dim % 5 == 0 ? DType::f16 : DType::f32;
            s.kv = dim == 12 ? DType::f16 : dim == 17 ? DType::bf16 : DType::f32;
            s.head_dim = dim;
            s.lengths = {19, 33, 1};
            World w(s);
            w.check(w.in_chunks(0));
        }
}

// What a device has tuned kernels for: 16-bit queries and cache, heads of 64 and 128, prompts and single tokens.
TEST(Attention, TunedShapes) {
    int round = 0;
    for (const std::int64_t dim : {64, 128})
        for (const auto& [heads, kv_heads] :
             {std::pair{1, 1}, {4, 2}, {3, 1}, {4, 1}, {5, 1}, {8, 1}, {10, 1}}) {
            AttentionProblem s;
            s.cache = s.q = s.kv = s.y = round % 2 ? DType::f16 : DType::bf16;
            s.head_dim = dim;
            s.heads = heads;
            s.kv_heads = kv_heads;
            s.lengths = {70, 3, 129, 64};
            s.slack = round % 2 ? 8 : 5;
            s.window = round % 3 == 1 ? 50 : 0;
            s.softcap = round % 5 == 2 ? 20.0f : 0.0f;
            ++round;
            World w(s);
            Array y = w.in_chunks(0);
            // The last token of each sequence again, by itself.
            w.step({69}, y);
            w.step({72, 201, 265}, y);
            w.check(y, 3);
            World pieces(s);
            pieces.check(pieces.in_chunks(15), 5);  // few tokens in a call
        }
}

// Prompts of more tokens than kernels for single tokens take, two sequences meeting in a tile.
TEST(Attention, PromptsOfEveryTypeWithMasksAndWindows) {
    int round = 0;
    for (const std::int64_t dim : {32, 64, 96, 128})
        for (const DType cache : {DType::f32, DType::f16, DType::bf16}) {
            AttentionProblem s;
            s.cache = cache;
            s.q = round % 2 ? DType::f16 : DType::f32;
            s.y = round % 4 == 3 ? DType::bf16 : DType::f32;
            s.head_dim = dim;
            s.heads = round % 3 == 2 ? 6 : 4;
            s.mask = round % 2 == 0;
            s.window = round % 3 == 1 ? 19 : 0;
            s.softcap = round % 4 == 1 ? 15.0f : 0.0f;
            s.lengths = {71, 18};
            ++round;
            World w(s);
            w.check(w.in_chunks(0));
        }
}

// One launch that rotates, appends and attends gives the bits of the three operators.
TEST(Attention, DecodeDoesWhatTheOperatorsDo) {
    int round = 0;
    // Where Metal is software, long prompts take minutes: splits of 256 slots and no more than three of them.
    const std::vector<std::int64_t> lengths =
        on_metal() ? std::vector<std::int64_t>{1, 16, 257, 513}
                   : std::vector<std::int64_t>{1, 16, 64, 65, 130, 513, 700, 4097};
    for (const std::int64_t length : lengths)
        for (const auto& [heads, kv_heads, dim] :
             {std::tuple{4, 1, 128}, {8, 2, 64}, {3, 3, 64}, {8, 1, 128}}) {
            AttentionProblem s;
            s.cache = s.q = s.kv = s.y = ++round % 3 ? DType::bf16 : DType::f16;
            s.heads = heads;
            s.kv_heads = kv_heads;
            s.head_dim = dim;
            s.lengths = {length};
            s.window = round % 5 == 4 ? 40 : 0;
            s.table_of_slack = round % 4 == 3;
            World before(s);
            Array y = before.result();
            if (length > 1) {
                std::vector<std::int64_t> earlier(static_cast<std::size_t>(length - 1));
                std::iota(earlier.begin(), earlier.end(), 0);
                before.step(earlier, y);
            }
            World fused = before;
            const std::int64_t t = length - 1, half = s.head_dim / 2;
            Array q(s.q, before.q_token()), k(s.kv, before.kv_token()), v(s.kv, before.kv_token());
            World::copy(before.q, t * before.q_token(), q, 0, before.q_token());
            World::copy(before.k, t * before.kv_token(), k, 0, before.kv_token());
            World::copy(before.v, t * before.kv_token(), v, 0, before.kv_token());
            Array table = fused.table_, sequence = Array::of<int>(DType::i32, {0}),
                  slot = Array::of<int>(DType::i32, {static_cast<int>(t)}), cos(DType::f32, half),
                  sin(DType::f32, half), out(s.y, s.heads * s.head_dim);
            for (std::int64_t d = 0; d < half; ++d) {
                const double angle = static_cast<double>(t) * std::pow(1e4, -static_cast<double>(d) / half);
                cos.set(d, std::cos(angle));
                sin.set(d, std::sin(angle));
            }
            DecodeSpec spec;
            spec.attention = before.spec(1);
            spec.k_head = spec.v_head = s.head_dim;
            spec.rotary = round % 2 == 1;
            if (!fuses_decode(device(), spec)) {
                EXPECT_THROW(plan_decode(device(), spec), Unsupported);
                return;
            }
            std::vector<Array*> arrays = {&q, &fused.k_, &fused.v_, &table, &sequence, &slot, &out, &k, &v};
            if (spec.rotary) arrays.insert(arrays.end(), {&cos, &sin});
            run(plan_decode(device(), spec), arrays);

            const auto rotate = [&](Array& x, std::int64_t at, std::int64_t count) {
                for (std::int64_t h = 0; h < count && spec.rotary; ++h)
                    for (std::int64_t d = 0; d < half; ++d) {
                        const std::int64_t i = at + h * s.head_dim + d;
                        const auto a = static_cast<float>(x.get(i)), b = static_cast<float>(x.get(i + half)),
                                   c = static_cast<float>(cos.get(d)), n = static_cast<float>(sin.get(d));
                        const float ac = a * c, bn = b * n, bc = b * c, an = a * n;
                        x.set(i, ac - bn);
                        x.set(i + half, bc + an);
                    }
            };
            rotate(before.q, t * before.q_token(), s.heads);
            rotate(before.k, t * before.kv_token(), s.kv_heads);
            before.step({t}, y);
            for (std::int64_t i = 0; i < out.count(); ++i)
                ASSERT_EQ(out.get(i), y.get(t * out.count() + i)) << length << " " << i;
            EXPECT_TRUE(fused.k_.same_bits(before.k_)) << length;
            EXPECT_TRUE(fused.v_.same_bits(before.v_)) << length;
        }
}

TEST(Attention, TunedShapesOverManySplits) {
    for (const auto& [window, dim] : {std::pair{0, 64}, {0, 128}, {700, 64}}) {
        AttentionProblem s;
        s.cache = s.q = s.kv = s.y = DType::bf16;
        s.head_dim = dim;
        s.heads = 2;
        s.kv_heads = 1;
        // Where Metal is software a long prompt takes minutes; its splits are shorter as well.
        const std::int64_t n = on_metal() ? 1100 : 4300;
        s.lengths = {n, 257, 65};
        s.window = window;
        World w(s);
        Array y = w.in_chunks(0);
        for (const std::int64_t t : {std::int64_t{64}, n - 204, n - 1}) w.step({t}, y);
        w.step({n - 140, n + 256, n + 257 + 64}, y);
        w.check(y, 64);
    }
}

TEST(Attention, TunedShapesKeepTokensApart) {
    // Infinite and NaN values of a token reach neither earlier tokens of its sequence nor others; nor does padding.
    for (const std::int64_t n : {0, 1}) {
        AttentionProblem s;
        s.cache = s.q = s.kv = s.y = DType::bf16;
        s.head_dim = 64;
        s.lengths = {100, 20};
        World w(s);
        const Array clean = w.in_chunks(n);
        for (std::int64_t i = 60 * w.kv_token(); i < 61 * w.kv_token(); ++i)
            w.v.set(i, i % 2 ? NAN : INFINITY);
        const Array y = w.in_chunks(n);
        const std::int64_t row = s.heads * s.head_dim;
        for (std::int64_t i = 0; i < 120 * row; ++i)
            if (i / row < 60 || i / row >= 100)
                ASSERT_EQ(y.get(i), clean.get(i)) << i / row;
            else
                ASSERT_FALSE(std::isfinite(y.get(i))) << i / row;
        World padded(s);
        std::vector<std::int64_t> tokens = {-1};
        for (std::int64_t t = 0; t < 120; ++t) {
            if (t % 7 == 3) tokens.push_back(-1);
            tokens.push_back(t);
        }
        Array z = padded.result();
        padded.step(tokens, z);
        padded.check(z);
    }
}

TEST(Attention, GroupsOfHeads) {
    for (const auto& [heads, kv_heads] :
         {std::pair{1, 1}, {3, 1}, {7, 7}, {14, 2}, {9, 3}, {33, 1}, {40, 1}, {130, 2}}) {
        AttentionProblem s;
        s.heads = heads;
        s.kv_heads = kv_heads;
        s.head_dim = 24;
        s.lengths = {37, 18};
        World w(s);
        w.check(w.in_chunks(0));
    }
}

TEST(Attention, LongSequencesAcrossSplits) {
    for (const std::int64_t length : {255, 256, 257, 600}) {
        AttentionProblem s;
        s.lengths = {length, 31, 290};
        s.cache = DType::bf16;
        s.head_dim = 32;
        World w(s);
        w.check(w.in_chunks(0));
    }
}

TEST(Attention, Windows) {
    for (const std::int64_t window : {1, 2, 7, 16, 33, 300}) {
        AttentionProblem s;
        s.window = window;
        s.lengths = {70, 550};
        World w(s);
        w.check(w.in_chunks(0));
    }
}

TEST(Attention, MasksAndSoftcap) {
    AttentionProblem s;
    s.mask = true;
    s.lengths = {60, 290};
    World w(s);
    const Array y = w.in_chunks(0);
    // The first 30 slots of the first sequence are masked: its first tokens see nothing.
    for (std::int64_t i = 0; i < 30 * s.heads * s.head_dim; ++i) ASSERT_EQ(y.get(i), 0);
    Array rest = y;
    for (std::int64_t i = 0; i < 30 * s.heads * s.head_dim; ++i) rest.set(i, 0);
    w.check(rest);
    for (const float cap : {5.0f, 50.0f}) {
        AttentionProblem c;
        c.softcap = cap;
        World x(c);
        x.check(x.in_chunks(0));
    }
}

TEST(Attention, ChunksGiveTheSameBits) {
    for (const bool mask : {false, true})
        for (const std::int64_t window : {0, 40})
            for (const auto& [heads, kv_heads] : {std::pair{4, 2}, {5, 5}, {6, 1}}) {
                AttentionProblem s;
                s.mask = mask;
                s.window = window;
                s.heads = heads;
                s.kv_heads = kv_heads;
                // On Metal the tuned kernel for single tokens takes up to 64 of them; the one for prompts is below.
                s.head_dim = on_metal() ? 32 : 20;
                s.cache = DType::bf16;
                s.lengths = {301, 50};
                World all(s);
                const Array y = all.in_chunks(on_metal() ? 32 : 0);
                for (const std::int64_t n : {1, 7, on_metal() ? 20 : 64}) {
                    if (n == 1 && (mask || window > 0 || heads != 4) && on_metal())
                        continue;  // slow in software
                    World w(s);
                    ASSERT_TRUE(w.in_chunks(n).same_bits(y))
                        << n << " window " << window << " heads " << heads;
                }
                // A longer table changes the plan (splits as tasks of their own), not the bits.
                s.table_of_slack = true;
                World slack(s);
                slack.k = all.k;
                slack.v = all.v;
                if (!mask) {
                    ASSERT_TRUE(slack.in_chunks(7).same_bits(y));
                }
            }
}

TEST(Attention, SpecialValuesStayWithTheirTokens) {
    // Values of later tokens that are infinite or NaN must not reach earlier tokens of the same tile.
    AttentionProblem s;
    s.lengths = {40};
    World w(s);
    const Array clean = w.in_chunks(0);
    for (std::int64_t i = 25 * w.kv_token(); i < 26 * w.kv_token(); ++i) w.v.set(i, i % 2 ? NAN : INFINITY);
    const Array y = w.in_chunks(0);
    const std::int64_t row = s.heads * s.head_dim;
    for (std::int64_t i = 0; i < 25 * row; ++i) ASSERT_EQ(y.get(i), clean.get(i));
    for (std::int64_t i = 25 * row; i < 40 * row; ++i) ASSERT_FALSE(std::isfinite(y.get(i)));
}

// A schedule of symbolic length plans with the workspace of its powers of two and of its most tokens.
TEST(Attention, WorkspaceOfPowersOfTwoServesEveryLength) {
    for (const std::int64_t heads : {1, 6, 8, 32, 64})
        for (const std::int64_t longest : {130, 600, 5000, 100000})
            for (const std::int64_t most : {1, 31, 170, 512, 2048}) {
                AttentionSpec s;
                s.cache = {DType::bf16, 100, 1, 64, 1, 10000};
                s.q = s.y = DType::bf16;
                s.heads = heads;
                s.q_head = 64;
                s.q_token = heads * 64;
                s.max_length = longest;
                const auto needs = [&](std::int64_t tokens) {
                    s.tokens = tokens;
                    return plan_attention(device(), s).workspace_bytes;
                };
                std::size_t planned = needs(most);
                for (std::int64_t v = 1; v < most; v *= 2) planned = std::max(planned, needs(v));
                for (std::int64_t tokens = 0; tokens <= most; ++tokens)
                    ASSERT_LE(needs(tokens), planned)
                        << tokens << " of " << most << ", " << heads << " heads, " << longest;
            }
}

TEST(Attention, ScoresOfMinusInfinityAddNothing) {
    // A whole split of them, and all that a token sees.
    AttentionProblem s;
    s.lengths = {640};
    World w(s);
    for (std::int64_t i = 0; i < 300 * w.kv_token(); ++i) w.k.set(i, -INFINITY);
    for (std::int64_t i = 0; i < w.q.count(); ++i) w.q.set(i, 1 + std::abs(w.q.get(i)));
    const Array y = w.in_chunks(0);
    const std::int64_t row = s.heads * s.head_dim;
    for (std::int64_t i = 0; i < 300 * row; ++i) ASSERT_EQ(y.get(i), 0) << i / row;
    for (std::int64_t i = 300 * row; i < 640 * row; ++i) ASSERT_TRUE(std::isfinite(y.get(i))) << i / row;
}

TEST(Attention, TargetsAndThreads) {
    for (const DType cache : {DType::f32, DType::f16, DType::bf16}) {
        AttentionProblem s;
        s.cache = cache;
        s.head_dim = 64;
        s.lengths = {300, 20};
        World w(s);
        const Array y = w.in_chunks(0, pool(1));
        for (const int threads : {2, 5}) {
            World x(s);
            ASSERT_TRUE(x.in_chunks(0, pool(threads)).same_bits(y));
            // More tokens than kernels for single tokens take, where there are others for prompts.
            World z(s);
            ASSERT_TRUE(z.in_chunks(on_metal() ? 150 : 50, pool(threads)).same_bits(y));
        }
        for_each_target([&](const char* target) {
            World x(s);
            const Array here = x.in_chunks(0);
            x.check(here);
            // y was formed on the best target; SSE4 has no fused multiply-add.
            if (std::string(target) != "SSE4") {
                ASSERT_TRUE(here.same_bits(y)) << target;
            }
        });
    }
}

TEST(Attention, Padding) {
    AttentionProblem s;
    s.lengths = {20};
    World w(s), padded(s);
    const Array y = w.in_chunks(0);
    Array z = padded.result();
    std::vector<std::int64_t> tokens;
    for (std::int64_t t = 0; t < 20; ++t) {
        tokens.push_back(t);
        if (t % 3 == 0) tokens.push_back(-1);
    }
    padded.step(tokens, z);
    EXPECT_TRUE(z.same_bits(y));
}

TEST(Attention, RefusesBadTokensAndTables) {
    AttentionProblem s;
    s.lengths = {20, 10};
    World w(s);
    Array y = w.result();
    const auto step = [&](World& world, std::int64_t t) {
        return message_of<LaunchFailed>([&] { world.step({t}, y); });
    };
    w.slot[3] = 32;
    expect_contains(step(w, 3), {"token 0", "slot 32", "32"});
    w.slot[3] = 3;
    w.sequence[3] = 3;
    expect_contains(step(w, 3), {"sequence 3", "3 rows"});
    w.sequence[3] = -1;
    expect_contains(step(w, 3), {"sequence -1"});
    w.sequence[3] = 1;
    w.slot[3] = 20;  // a column of the table that names no block
    expect_contains(step(w, 3), {"(1, 1)", "-7"});
    w.sequence[3] = 0;
    w.table_.set(1, w.blocks);
    expect_contains(step(w, 3), {"(0, 1)", std::to_string(w.blocks)});
    // Attention looks for itself: the append above is not what protects it.
    AttentionSpec a = w.spec(1);
    Array q(DType::f32, a.q_token), sequence = Array::of<int>(DType::i32, {0}),
                                    slot = Array::of<int>(DType::i32, {20});
    Array out(DType::f32, s.heads * s.head_dim);
    q.randomize(1);
    const auto attend = [&] {
        run(plan_attention(device(), a), {&q, &w.k_, &w.v_, &w.table_, &sequence, &slot, &out});
    };
    expect_contains(message_of<LaunchFailed>(attend), {"(0, 1)"});
    slot.set(0, 5);
    attend();
    a.max_length = 5;
    expect_contains(message_of<LaunchFailed>(attend), {"slot 5", "room for 5"});
}

TEST(Attention, RefusesWrongSpecificationsAndBuffers) {
    AttentionProblem s;
    World w(s);
    const auto refused = [&](auto change) {
        AttentionSpec a = w.spec(3);
        change(a);
        EXPECT_THROW(plan_attention(device(), a), InvalidArgument);
    };
    refused([](AttentionSpec& a) { a.heads = 5; });
    refused([](AttentionSpec& a) { a.heads = 0; });
    refused([](AttentionSpec& a) { a.cache.head_dim = 257; });
    refused([](AttentionSpec& a) { a.cache.head_dim = 0; });
    refused([](AttentionSpec& a) { a.cache.kv_heads = 0; });
    refused([](AttentionSpec& a) { a.cache.dtype = DType::f64; });
    refused([](AttentionSpec& a) { a.cache.blocks = std::int64_t{1} << 58; });
    refused([](AttentionSpec& a) { a.tokens = -1; });
    refused([](AttentionSpec& a) { a.tokens = std::int64_t{1} << 60; });
    refused([](AttentionSpec& a) { a.q_token = std::int64_t{1} << 62; });
    refused([](AttentionSpec& a) { a.scale = NAN; });
    refused([](AttentionSpec& a) { a.softcap = -1; });
    refused([](AttentionSpec& a) { a.q = DType::i32; });
    refused([](AttentionSpec& a) { a.cache.table_columns = std::int64_t{1} << 60; });
    Array q(DType::f32, 3 * w.q_token()), small(DType::f32, 10), slots(DType::i32, 3), y(DType::f32, 3 * 64);
    const std::string message = message_of<LaunchFailed>([&] {
        run(plan_attention(device(), w.spec(3)), {&q, &small, &w.v_, &w.table_, &slots, &slots, &y});
    });
    expect_contains(message, {"40"});
    expect_names(message, {"attention", "cache k"});
    Array none(DType::f32, 0), no_tokens(DType::i32, 0);
    run(plan_attention(device(), w.spec(0)), {&none, &w.k_, &w.v_, &w.table_, &no_tokens, &no_tokens, &none});
}

}  // namespace
}  // namespace invar::kernels
