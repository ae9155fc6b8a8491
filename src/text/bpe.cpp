// SPDX-License-Identifier: Apache-2.0
// The encoder keeps a linked list of symbols and a heap of candidate pairs ordered by rank, then by place: the order
// of the `tokenizers` library (models/bpe/word.rs), down to how it recognises candidates that are out of date.
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <invar/error.h>

#include "text/utf8.h"

namespace invar::text {

bool Vocabulary::add(std::string name, std::int32_t id) {
    const auto i = static_cast<std::size_t>(id);
    if (i >= slot_.size()) slot_.resize(i + 1, -1);
    if (slot_[i] >= 0) return false;
    auto owned = std::make_unique<const std::string>(std::move(name));
    if (!by_name_.emplace(std::string_view(*owned), id).second) return false;
    slot_[i] = static_cast<std::int32_t>(names_.size());
    names_.push_back(std::move(owned));
    return true;
}

std::optional<std::int32_t> Vocabulary::id(std::string_view name) const {
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) return std::nullopt;
    return it->second;
}

std::optional<std::int32_t> Vocabulary::model_id(std::string_view name) const {
    const auto found = id(name);
    if (found && static_cast<std::size_t>(slot_[static_cast<std::size_t>(*found)]) >= model_size_)
        return std::nullopt;
    return found;
}

const std::string* Vocabulary::name(std::int32_t id) const {
    if (id < 0 || id >= end_id()) return nullptr;
    const std::int32_t slot = slot_[static_cast<std::size_t>(id)];
    return slot < 0 ? nullptr : names_[static_cast<std::size_t>(slot)].get();
}

MergeTable::MergeTable(std::size_t merges)
    : slots_(std::bit_ceil(std::max<std::size_t>(16, merges * 2))), mask_(slots_.size() - 1) {}

std::size_t MergeTable::slot_of(std::uint64_t k) const {
    std::uint64_t h = k * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    std::size_t i = h & mask_;
    while (slots_[i].key != k && slots_[i].key != ~std::uint64_t{0}) i = (i + 1) & mask_;
    return i;
}

void MergeTable::set(std::int32_t left, std::int32_t right, Merge merge) {
    const std::uint64_t k = key(left, right);
    slots_[slot_of(k)] = {k, merge};
}

const MergeTable::Merge* MergeTable::find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t k = key(left, right);
    const Slot& slot = slots_[slot_of(k)];
    return slot.key == k ? &slot.merge : nullptr;
}

Bpe::Bpe(const Vocabulary& vocabulary, MergeTable merges, BpeOptions options)
    : vocabulary_(&vocabulary), merges_(std::move(merges)), options_(std::move(options)) {
    for (std::size_t c = 0; c < char_ids_.size(); ++c) {
        std::string name;
        append_utf8(name, static_cast<char32_t>(c));
        char_ids_[c] = vocabulary.model_id(name).value_or(-1);
    }
}

namespace {

struct Symbol {
    std::int32_t id;
    std::int32_t prev, next;  // -1 at the ends
    bool gone;
};

struct Candidate {
    std::int32_t rank, place, id;
    bool operator<(
        const Candidate& o) const {  // for a heap whose top has the lowest rank, then the lowest place
        return rank != o.rank ? rank > o.rank : place > o.place;
    }
};

}  // namespace

bool Bpe::encode(std::string_view word, std::vector<std::int32_t>& out,
                 const std::vector<bool>* avoid) const {
    const auto avoided = [&](std::int32_t id) { return avoid && (*avoid)[static_cast<std::size_t>(id)]; };
    if (options_.ignore_merges)
        if (const auto id = vocabulary_->model_id(word); id && !avoided(*id)) {
            out.push_back(*id);
            return true;
        }

    std::vector<Symbol> symbols;
    symbols.reserve(word.size());
    const auto add = [&](std::int32_t id) {
        const auto n = static_cast<std::int32_t>(symbols.size());
        if (n > 0) symbols.back().next = n;
        symbols.push_back({id, n - 1, -1, false});
    };
    bool in_unknown = false;
    for (std::size_t i = 0; i < word.size();) {
        const Char c = char_at(word, i);
        std::int32_t id = -1;
        if (c.value < char_ids_.size())
            id = char_ids_[c.value];
        else
            id = vocabulary_->model_id(word.substr(i, c.size)).value_or(-1);
        i += c.size;
        if (id >= 0) {
            if (avoided(id)) return false;
            add(id);
            in_unknown = false;
        } else if (options_.unk_id) {
            if (!in_unknown || !options_.fuse_unk) add(*options_.unk_id);
            in_unknown = true;
        } else if (!options_.missing_unk.empty()) {
            throw FormatError("tokenizer.json: no token for \"" +
                              std::string(word.substr(i - c.size, c.size)) + "\", and the unk_token \"" +
                              options_.missing_unk + "\" is not in the vocabulary either");
        }
        // Without an unknown token the character is dropped, as the library does.
    }

    const auto merge_at = [&](std::int32_t left, std::int32_t right) {
        const auto* m = merges_.find(symbols[static_cast<std::size_t>(left)].id,
                                     symbols[static_cast<std::size_t>(right)].id);
        return m && !avoided(m->id) ? m : nullptr;
    };
    std::vector<Candidate> heap;
    heap.reserve(symbols.size());
    for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(symbols.size()); ++i)
        if (const auto* m = merge_at(i, i + 1)) heap.push_back({m->rank, i, m->id});
    std::make_heap(heap.begin(), heap.end());
    const auto push = [&](std::int32_t left, std::int32_t right) {
        if (const auto* m = merge_at(left, right)) {
            heap.push_back({m->rank, left, m->id});
            std::push_heap(heap.begin(), heap.end());
        }
    };
    while (!heap.empty()) {
        const Candidate top = heap.front();
        std::pop_heap(heap.begin(), heap.end());
        heap.pop_back();
        Symbol& left = symbols[static_cast<std::size_t>(top.place)];
        if (left.gone || left.next < 0) continue;
        const auto* m = merge_at(top.place, left.next);
        if (!m || m->id != top.id) continue;  // out of date: a neighbour has been joined since
        Symbol& right = symbols[static_cast<std::size_t>(left.next)];
        left.id = top.id;
        left.next = right.next;
        right.gone = true;
        if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].prev = top.place;
        if (left.prev >= 0) push(left.prev, top.place);
        if (left.next >= 0) push(top.place, left.next);
    }
    for (const Symbol& s : symbols)
        if (!s.gone) out.push_back(s.id);
    return true;
}

}  // namespace invar::text
