// SPDX-License-Identifier: Apache-2.0
// The vectorised part of the random family: fills of uniform and normal numbers, and the sampler's passes over a row of
// logits. Multiplication and addition stay apart, so every target gives the same bits.
#include "kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random/fill.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "base/thread_pool.h"
#include "kernels/lanes-inl.h"
#include "kernels/random/variants.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels {
namespace HWY_NAMESPACE {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Words of 16 neighbouring counters, word by word.
struct Words {
    std::uint32_t w[4][16];
};
HWY_INLINE void philox16(std::uint64_t first, std::uint64_t stream, std::uint64_t seed, Words& out) {
    auto& c = out.w;
    for (int b = 0; b < 16; ++b) {
        c[0][b] = static_cast<std::uint32_t>(first + static_cast<std::uint64_t>(b));
        c[1][b] = static_cast<std::uint32_t>((first + static_cast<std::uint64_t>(b)) >> 32);
        c[2][b] = static_cast<std::uint32_t>(stream);
        c[3][b] = static_cast<std::uint32_t>(stream >> 32);
    }
    auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        for (int b = 0; b < 16; ++b) {
            const std::uint64_t x = std::uint64_t{0xD2511F53u} * c[0][b],
                                y = std::uint64_t{0xCD9E8D57u} * c[2][b];
            c[0][b] = static_cast<std::uint32_t>(y >> 32) ^ c[1][b] ^ k0;
            c[2][b] = static_cast<std::uint32_t>(x >> 32) ^ c[3][b] ^ k1;
            c[1][b] = static_cast<std::uint32_t>(y);
            c[3][b] = static_cast<std::uint32_t>(x);
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}
// The upper 24 bits of a word, plus add, over 2^24.
HWY_INLINE V16 unit16(const std::uint32_t* words, std::int32_t plus) {
    V16 r;
    for (int i = 0; i < kVecs; ++i) {
        const auto bits = hn::ShiftRight<8>(hn::LoadU(D32(), words + i * kWidth));
        r.v[i] = hn::Mul(hn::ConvertTo(DF(), hn::Add(hn::BitCast(DI(), bits), hn::Set(DI(), plus))),
                         hn::Set(DF(), 0x1p-24f));
    }
    return r;
}
// ln(x) for x in [2^-24, 1]: Cephes logf (S. Moshier).
HWY_INLINE VF log_unit(VF x) {
    const auto bits = hn::BitCast(DI(), x);
    const auto shifted =
        hn::Sub(bits, hn::Set(DI(), 0x3f3504f3));  // sqrt(1/2): mantissas from there to sqrt(2)
    const auto e = hn::ShiftRight<23>(shifted);
    const VF m = hn::Sub(hn::BitCast(DF(), hn::Sub(bits, hn::ShiftLeft<23>(e))), hn::Set(DF(), 1.0f));
    const VF exponent = hn::ConvertTo(DF(), e), z = hn::Mul(m, m);
    VF p = hn::Set(DF(), 7.0376836292e-2f);
    for (const float c : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                          -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f})
        p = hn::Add(hn::Mul(p, m), hn::Set(DF(), c));
    p = hn::Mul(hn::Mul(p, m), z);
    p = hn::Add(p, hn::Mul(exponent, hn::Set(DF(), -2.12194440e-4f)));
    p = hn::Sub(p, hn::Mul(z, hn::Set(DF(), 0.5f)));
    return hn::Add(hn::Add(m, p), hn::Mul(exponent, hn::Set(DF(), 0.693359375f)));
}
// Cosine and sine of 2 pi u for u in [0, 1): quarter turns exactly, the rest by Cephes sinf and cosf (S. Moshier).
HWY_INLINE void turn(VF u, VF& cosine, VF& sine) {
    const VF t = hn::Mul(u, hn::Set(DF(), 4.0f)), n = hn::Round(t);
    const VF x = hn::Mul(hn::Sub(t, n), hn::Set(DF(), 1.57079632679489662f)), z = hn::Mul(x, x);
    VF s = hn::Set(DF(), -1.9515295891e-4f);
    s = hn::Add(hn::Mul(s, z), hn::Set(DF(), 8.3321608736e-3f));
    s = hn::Add(hn::Mul(s, z), hn::Set(DF(), -1.6666654611e-1f));
    s = hn::Add(hn::Mul(hn::Mul(s, z), x), x);
    VF c = hn::Set(DF(), 2.443315711809948e-5f);
    c = hn::Add(hn::Mul(c, z), hn::Set(DF(), -1.388731625493765e-3f));
    c = hn::Add(hn::Mul(c, z), hn::Set(DF(), 4.166664568298827e-2f));
    c = hn::Add(hn::Sub(hn::Mul(hn::Mul(c, z), z), hn::Mul(z, hn::Set(DF(), 0.5f))), hn::Set(DF(), 1.0f));
    const auto quarter = hn::ConvertTo(DI(), n);  // 0..4
    const auto odd = hn::Eq(hn::And(quarter, hn::Set(DI(), 1)), hn::Set(DI(), 1));
    const auto minus_sine = hn::ShiftLeft<30>(hn::And(quarter, hn::Set(DI(), 2)));
    const auto minus_cosine =
        hn::ShiftLeft<30>(hn::And(hn::Add(quarter, hn::Set(DI(), 1)), hn::Set(DI(), 2)));
    const auto swap = hn::RebindMask(DF(), odd);
    cosine = hn::Xor(hn::IfThenElse(swap, s, c), hn::BitCast(DF(), minus_cosine));
    sine = hn::Xor(hn::IfThenElse(swap, c, s), hn::BitCast(DF(), minus_sine));
}
HWY_INLINE void box_muller(const std::uint32_t* a, const std::uint32_t* b, V16& first, V16& second) {
    const V16 u = unit16(a, 1), v = unit16(b, 0);
    for (int i = 0; i < kVecs; ++i) {
        VF cosine, sine;
        turn(v.v[i], cosine, sine);
        const VF radius = hn::Sqrt(hn::Mul(hn::Set(DF(), -2.0f), log_unit(u.v[i])));
        first.v[i] = hn::Mul(radius, cosine);
        second.v[i] = hn::Mul(radius, sine);
    }
}

// Elements first..first + n of a fill; first is a multiple of 64.
void FillRange(const RandomSpec& s, std::int64_t first, std::int64_t n, std::byte* y) {
    const V16 low = set16(s.low);
    const V16 factor = set16(s.distribution == Distribution::uniform ? s.high - s.low : s.high);
    for (std::int64_t i = first; i < first + n; i += 64) {
        Words words;
        philox16(static_cast<std::uint64_t>(i / 4), s.stream, s.seed, words);
        V16 x[4];
        if (s.distribution == Distribution::uniform) {
            for (int w = 0; w < 4; ++w) x[w] = unit16(words.w[w], 0);
        } else {
            box_muller(words.w[0], words.w[1], x[0], x[1]);
            box_muller(words.w[2], words.w[3], x[2], x[3]);
        }
        float split[4][16], tile[64];
        for (int w = 0; w < 4; ++w) store16(add(low, mul(x[w], factor)), split[w]);
        for (int b = 0; b < 16; ++b)
            for (int w = 0; w < 4; ++w) tile[b * 4 + w] = split[w][b];
        narrow(tile, std::min<std::int64_t>(64, first + n - i), at(y, s.y, i), s.y);
    }
}

random::ChunkResult LargestLogit(const std::byte* logits, DType t, std::int64_t first, std::int64_t n) {
    constexpr std::int64_t kTile = 1024;
    alignas(64) float tile[kTile];
    random::ChunkResult best{-kInf, -1, 0};
    const V16 none = set16(-kInf);
    for (std::int64_t from = 0; from < n; from += kTile) {
        const std::int64_t count = std::min(kTile, n - from);
        const float* x = widen(at(logits, t, first + from), t, count, tile);
        V16 a = none, b = none;  // two chains hide the latency
        const auto step = [](V16& top, const V16& v) HWY_ATTR {
            for (int i = 0; i < kVecs; ++i)
                top.v[i] = hn::IfThenElse(hn::Gt(v.v[i], top.v[i]), v.v[i], top.v[i]);
        };
        std::int64_t i = 0;
        for (; i + 32 <= count; i += 32) {
            step(a, load16(x + i));
            step(b, load16(x + i + 16));
        }
        for (; i < count; i += 16) step(a, load16(x + i, count - i, -kInf));
        step(a, b);
        const float top = fold16(a, MaxScalar());
        if (!(top > best.largest)) continue;
        best.largest = top;
        for (i = 0; i < count; ++i)
            if (x[i] == top) break;
        best.id = static_cast<std::int32_t>(first + from + i);
    }
    return best;
}

void CopyLogits(const std::byte* logits, DType t, std::int64_t n, float* x) {
    for (std::int64_t i = 0; i < n; i += 16) {
        V16 v = load16(at(logits, t, i), t, n - i, 0.0f);
        for (int k = 0; k < kVecs; ++k)
            v.v[k] = hn::IfThenElse(hn::IsNaN(v.v[k]), hn::Set(DF(), -kInf), hn::Add(v.v[k], hn::Zero(DF())));
        store16(v, x + i, n - i);
    }
}

std::uint64_t Weigh(const float* x, std::int64_t n, float largest, float temperature, float* w) {
    const V16 top = set16(largest), divisor = set16(temperature);
    // A mass is floor(w * 2^38), formed as two digits of 19 bits so that 32-bit lanes hold a chunk's sums of each.
    const VF digit = hn::Set(DF(), 0x1p19f);
    hn::Vec<DI> high[kVecs], low[kVecs];
    for (int k = 0; k < kVecs; ++k) high[k] = low[k] = hn::Zero(DI());
    for (std::int64_t i = 0; i < n; i += 16) {
        const V16 v = load16(x + i, n - i, -kInf);
        V16 e = exp_neg(div(sub(v, top), divisor));
        for (int k = 0; k < kVecs; ++k) {
            // 1 also where the largest is infinite.
            e.v[k] = hn::IfThenElse(hn::Eq(v.v[k], top.v[k]), hn::Set(DF(), 1.0f), e.v[k]);
            const VF scaled = hn::Mul(e.v[k], digit);
            const auto first = hn::ConvertTo(DI(), scaled);
            const VF rest = hn::Sub(scaled, hn::ConvertTo(DF(), first));
            high[k] = hn::Add(high[k], first);
            low[k] = hn::Add(low[k], hn::ConvertTo(DI(), hn::Mul(rest, digit)));
        }
        store16(e, w + i, n - i);
    }
    std::uint64_t sum = 0;
    for (int k = 0; k < kVecs; ++k) {
        std::int32_t a[kWidth], b[kWidth];
        hn::StoreU(high[k], DI(), a);
        hn::StoreU(low[k], DI(), b);
        for (int j = 0; j < kWidth; ++j)
            sum += (static_cast<std::uint64_t>(a[j]) << 19) + static_cast<std::uint64_t>(b[j]);
    }
    return sum;
}

std::int64_t CollectAtLeast(const float* values, std::int64_t n, float cut, std::int32_t* ids) {
    const V16 least = set16(cut);
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < n; i += 16) {
        const V16 v = load16(values + i, n - i, -kInf);
        bool any = false;
        for (int k = 0; k < kVecs; ++k) any |= !hn::AllFalse(DF(), hn::Ge(v.v[k], least.v[k]));
        if (!any) continue;
        for (std::int64_t j = i; j < std::min(n, i + 16); ++j) {
            ids[count] = static_cast<std::int32_t>(j);
            count += values[j] >= cut;
        }
    }
    return count;
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels {
HWY_EXPORT(FillRange);
HWY_EXPORT(LargestLogit);
HWY_EXPORT(CopyLogits);
HWY_EXPORT(Weigh);
HWY_EXPORT(CollectAtLeast);
}  // namespace invar::kernels

namespace invar::kernels::random {

ChunkResult largest_logit(const std::byte* logits, DType type, std::int64_t first, std::int64_t n) {
    return HWY_DYNAMIC_DISPATCH(LargestLogit)(logits, type, first, n);
}
void copy_logits(const std::byte* logits, DType type, std::int64_t n, float* x) {
    HWY_DYNAMIC_DISPATCH(CopyLogits)(logits, type, n, x);
}
std::uint64_t weigh(const float* x, std::int64_t n, float largest, float temperature, float* w) {
    return HWY_DYNAMIC_DISPATCH(Weigh)(x, n, largest, temperature, w);
}
std::int64_t collect_at_least(const float* values, std::int64_t n, float cut, std::int32_t* ids) {
    return HWY_DYNAMIC_DISPATCH(CollectAtLeast)(values, n, cut, ids);
}

void run_random(const NativeLaunch& launch) {
    const auto& s = params_of<RandomSpec>(launch);
    std::byte* y = need(launch, 0, s.count, s.y, "random", "y");
    const auto fill = &HWY_DYNAMIC_DISPATCH(FillRange);
    launch.pool.parallel_for(ceil_div(s.count, kTaskElements), [&](std::int64_t task) {
        const std::int64_t first = task * kTaskElements;
        fill(s, first, std::min(kTaskElements, s.count - first), y);
    });
}

}  // namespace invar::kernels::random
#endif
