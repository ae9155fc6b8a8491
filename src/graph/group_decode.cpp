// SPDX-License-Identifier: Apache-2.0
// Grouping of what surrounds the attention of one token. The append moves down to the attention, and the rotations into
// it, which nothing between reads or writes.
#include <algorithm>
#include <optional>

#include "graph/group.h"
#include "graph/plan.h"

namespace invar::graph {
namespace {

using kernels::AttentionSpec;
using kernels::DecodeSpec;
using kernels::KvAppendSpec;

bool same(const Argument& a, const Argument& b) { return a.value == b.value && a.offset == b.offset; }
bool writes(const Step& step, int value) {
    return std::find(step.writes.begin(), step.writes.end(), value) != step.writes.end();
}
bool uses(const Step& step, int value) {
    return std::any_of(step.arguments.begin(), step.arguments.end(),
                       [&](const Argument& a) { return a.value == value; });
}

class Grouper {
public:
    Grouper(Schedule& schedule, const Device& device)
        : s_(schedule), device_(device), gone_(schedule.steps.size(), false) {}

    void run() {
        for (std::size_t i = 0; i < s_.steps.size(); ++i)
            if (const auto* a = std::get_if<Sized<AttentionSpec>>(&s_.steps[i].work))
                if (!a->symbolic() && a->spec.tokens == 1 && a->spec.mask_columns == 0) attempt(i);
        std::vector<Step> kept;
        for (std::size_t i = 0; i < s_.steps.size(); ++i)
            if (!gone_[i]) kept.push_back(std::move(s_.steps[i]));
        s_.steps = std::move(kept);
    }

private:
    // The append whose cache this attention reads, when nothing else touches that cache between them.
    std::optional<std::size_t> append_of(std::size_t attention) const {
        const Step& a = s_.steps[attention];
        const int cache = a.arguments[1].value;
        for (std::size_t i = attention; i-- > 0;) {
            if (gone_[i] || !uses(s_.steps[i], cache)) continue;
            const auto* sized = std::get_if<Sized<KvAppendSpec>>(&s_.steps[i].work);
            if (!sized || sized->symbolic() || sized->spec.tokens != 1) return std::nullopt;
            const std::vector<Argument>& p = s_.steps[i].arguments;
            for (std::size_t n = 0; n < 5; ++n)  // keys, values, table, sequence, slot
                if (!same(p[n + 2], a.arguments[n + 1])) return std::nullopt;
            for (const Argument& read : p)
                if (read.value != cache && written_between(i, attention, read.value)) return std::nullopt;
            return i;
        }
        return std::nullopt;
    }

    bool written_between(std::size_t after, std::size_t before, int value) const {
        for (std::size_t i = after + 1; i < before; ++i)
            if (!gone_[i] && writes(s_.steps[i], value)) return true;
        return false;
    }

    // The rotation that makes this argument of `reader`, when nobody else reads it and its inputs are as they were.
    std::optional<std::size_t> rotation_of(const Argument& made, std::size_t reader, std::size_t at,
                                           std::int64_t heads, std::int64_t head_dim) const {
        if (s_.values[static_cast<std::size_t>(made.value)].kind != Value::Kind::scratch) return std::nullopt;
        std::optional<std::size_t> found;
        for (std::size_t i = 0; i < s_.steps.size(); ++i) {
            if (gone_[i] || !uses(s_.steps[i], made.value)) continue;
            if (writes(s_.steps[i], made.value))
                found = i;
            else if (i != reader)
                return std::nullopt;
        }
        if (!found) return std::nullopt;
        const Step& step = s_.steps[*found];
        const auto* work = std::get_if<PointwiseWork>(&step.work);
        if (!work || !work->rotary) return std::nullopt;
        const PointwiseWork::Rotary& r = *work->rotary;
        const bool fits = r.tokens == Dim(1) && r.x_head.is_constant() && r.heads == heads &&
                          r.half * 2 == head_dim && same(step.arguments[r.result], made);
        if (!fits) return std::nullopt;
        for (const std::size_t a : {r.x, r.cos, r.sin})
            if (written_between(*found, at, step.arguments[a].value)) return std::nullopt;
        return found;
    }

    void attempt(std::size_t attention) {
        const std::optional<std::size_t> append = append_of(attention);
        if (!append) return;
        const Step &a = s_.steps[attention], &p = s_.steps[*append];
        const KvAppendSpec& appended = std::get<Sized<KvAppendSpec>>(p.work).spec;
        DecodeSpec d;
        d.attention = std::get<Sized<AttentionSpec>>(a.work).spec;
        d.k_head = appended.k_head;
        d.v_head = appended.v_head;
        const kernels::KvLayout& cache = d.attention.cache;
        if (appended.kv != d.attention.q || !kernels::fuses_decode(device_, d)) return;

        Step made;
        made.label = "kv_append attention";
        made.arguments = a.arguments;
        made.arguments.push_back(p.arguments[0]);
        made.arguments.push_back(p.arguments[1]);
        const auto of_q =
            rotation_of(a.arguments[0], attention, attention, d.attention.heads, cache.head_dim);
        const auto of_k = rotation_of(p.arguments[0], *append, attention, cache.kv_heads, cache.head_dim);
        if (of_q && of_k) {
            const Step &q = s_.steps[*of_q], &k = s_.steps[*of_k];
            const PointwiseWork::Rotary &rq = *std::get<PointwiseWork>(q.work).rotary,
                                        &rk = *std::get<PointwiseWork>(k.work).rotary;
            if (same(q.arguments[rq.cos], k.arguments[rk.cos]) &&
                same(q.arguments[rq.sin], k.arguments[rk.sin])) {
                d.rotary = true;
                d.attention.q_head = rq.x_head.value();
                d.k_head = rk.x_head.value();
                made.label = "rotary kv_append attention";
                made.arguments[0] = q.arguments[rq.x];
                made.arguments[7] = k.arguments[rk.x];
                made.arguments.push_back(q.arguments[rq.cos]);
                made.arguments.push_back(q.arguments[rq.sin]);
                gone_[*of_q] = gone_[*of_k] = true;
            }
        }
        made.writes = p.writes;
        made.writes.insert(made.writes.end(), a.writes.begin(), a.writes.end());
        if (const std::size_t bytes = plan(device_, d).workspace_bytes) {
            Value scratch;
            scratch.kind = Value::Kind::scratch;
            scratch.max_bytes = bytes;
            made.workspace = static_cast<int>(s_.values.size());
            s_.values.push_back(scratch);
        }
        made.work = Sized<DecodeSpec>{d, {}};
        gone_[*append] = true;
        s_.steps[attention] = std::move(made);
    }

    Schedule& s_;
    const Device& device_;
    std::vector<bool> gone_;
};

}  // namespace

void group_decode(Schedule& schedule, const Device& device) { Grouper(schedule, device).run(); }

}  // namespace invar::graph
