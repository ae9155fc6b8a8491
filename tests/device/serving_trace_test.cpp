// SPDX-License-Identifier: Apache-2.0
// The allocator under what a server asks for, over the null device: weights, blocks of a KV cache, activations of many
// lengths, kept prefixes and adapters. Fragmentation is that of AllocatorStatistics, after every step (MEM-5).
#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/registry.h"

namespace invar {
namespace {

constexpr std::size_t kHidden = 2048, kFeedForward = 8192, kVocabulary = 128256, kLayers = 16;
constexpr std::size_t kKvBytes = 2 * kLayers * 512 * 2;  // of a token, all layers, 16 bits
constexpr std::size_t kKvTokens = 64;                    // of a block

class Server {
public:
    Server(CachingAllocator& pool, std::uint64_t seed) : pool_(pool), random_(seed) {
        take(weights_, kVocabulary * kHidden * 2);
        for (std::size_t layer = 0; layer < kLayers; ++layer) {
            for (const std::size_t rows : {kHidden, std::size_t{512}, std::size_t{512}, kHidden})
                take(weights_, rows * kHidden * 2);
            for (int i = 0; i < 3; ++i) take(weights_, kFeedForward * kHidden * 2);
            for (int i = 0; i < 2; ++i) take(weights_, kHidden * 2);
        }
    }

    void step() {
        if (requests_.size() < 32 && below(3) == 0) requests_.push_back({{}, 0, 64 + heavy(200, 4096)});
        std::size_t tokens = 0;
        for (Request& r : requests_) {
            // A new request brings its prompt, the others a token each.
            const std::size_t more = r.tokens == 0 ? 1 + heavy(100, 2048) : 1;
            tokens += more;
            r.tokens += more;
            while (r.kv.size() * kKvTokens < r.tokens) take(r.kv, kKvTokens * kKvBytes);
        }
        if (tokens > 0) activations(tokens);
        std::erase_if(requests_, [](const Request& r) { return r.tokens >= r.most; });
        if (below(20) == 0) replace(prefixes_, 12, (64 + heavy(300, 4096)) * kKvBytes);
        if (below(50) == 0) replace(adapters_, 8, (std::size_t{8} << below(4)) << 20);
        if (below(10) == 0) replace(small_, 64, 1 + heavy(3000, 1 << 20));
    }

    // At the end of the last forward pass, while its memory was in use.
    double external_inside() const { return external_inside_; }

private:
    struct Request {
        std::vector<Allocation> kv;
        std::size_t tokens, most;
    };
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
    // Mostly around typical, seldom up to most.
    std::size_t heavy(std::size_t typical, std::size_t most) {
        const double u = static_cast<double>(random_() >> 11) * 0x1p-53;
        return std::min(most, static_cast<std::size_t>(static_cast<double>(typical) / (1.001 - u)));
    }
    void take(std::vector<Allocation>& into, std::size_t bytes) { into.push_back(pool_.allocate(bytes)); }
    void replace(std::vector<Allocation>& some, std::size_t most, std::size_t bytes) {
        if (some.size() >= most) some.erase(some.begin() + static_cast<std::ptrdiff_t>(below(some.size())));
        take(some, bytes);
    }

    // Of one forward pass, layer by layer, each tensor let go once it has been read.
    void activations(std::size_t tokens) {
        Allocation x = pool_.allocate(tokens * kHidden * 2);
        for (std::size_t layer = 0; layer < kLayers; ++layer) {
            Allocation qkv = pool_.allocate(tokens * (kHidden + 1024) * 2);
            Allocation attended = pool_.allocate(tokens * kHidden * 2);
            qkv.reset();
            Allocation sum = pool_.allocate(tokens * kHidden * 2);
            attended.reset();
            Allocation gate = pool_.allocate(tokens * kFeedForward * 2),
                       up = pool_.allocate(tokens * kFeedForward * 2);
            gate.reset();  // out of order
            Allocation down = pool_.allocate(tokens * kHidden * 2);
            up.reset();
            sum.reset();
            x = std::move(down);
        }
        const Allocation logits = pool_.allocate(requests_.size() * kVocabulary * 4);
        external_inside_ = pool_.statistics().external_fragmentation();
    }

    CachingAllocator& pool_;
    std::mt19937_64 random_;
    std::vector<Allocation> weights_, prefixes_, adapters_, small_;
    std::vector<Request> requests_;
    double external_inside_ = 0;
};

TEST(ServingTrace, FragmentationStaysLow) {
    for (const std::uint64_t seed : {1, 2, 3, 4}) {
        CachingAllocator pool(*find_device("null"));
        Server server(pool, seed);
        double external = 0, internal = 0;
        for (int step = 0; step < 3000; ++step) {
            server.step();
            const AllocatorStatistics s = pool.statistics();
            external = std::max({external, s.external_fragmentation(), server.external_inside()});
            internal = std::max(internal, s.internal_fragmentation());
        }
        const AllocatorStatistics s = pool.statistics();
        std::printf(
            "seed %d: external %.2f%%, internal %.2f%%, peak %.0f MiB held, %.0f in use (overhead %.2f%%), "
            "%llu requests, %.3f%% hits, %llu splits, %llu traded\n",
            static_cast<int>(seed), 100 * external, 100 * internal,
            static_cast<double>(s.peak_bytes) / (1 << 20), static_cast<double>(s.peak_in_use) / (1 << 20),
            100 * s.peak_overhead(), static_cast<unsigned long long>(s.reuses + s.allocations),
            100 * s.hit_rate(), static_cast<unsigned long long>(s.splits),
            static_cast<unsigned long long>(s.traded));
        EXPECT_LT(external, 0.05) << seed;
        EXPECT_LT(internal, 0.125) << seed;
        EXPECT_LT(s.peak_overhead(), 0.05) << seed;
        EXPECT_GT(s.hit_rate(), 0.98) << seed;
    }
}

}  // namespace
}  // namespace invar
