// SPDX-License-Identifier: Apache-2.0
// Reads a tokenizer.json event by event. A tree of the whole document would cost a hundred bytes and several
// allocations for each of some 300 000 vocabulary entries and merges; only the small rest becomes a tree.
#include <nlohmann/json.hpp>

#include <invar/error.h>

#include "text/bpe.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_raw.h"

namespace invar::text {

namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxValues = 2'000'000;  // of the tree; added tokens have 8 each
constexpr std::size_t kMaxTokens = 4'000'000;
constexpr std::size_t kMaxMerges = 8'000'000;

class Reader final : public nlohmann::json_sax<json> {
public:
    RawTokenizer take() {
        if (!rest_.is_object()) throw FormatError("tokenizer.json: the document is not an object");
        raw_.rest = std::make_shared<const json>(std::move(rest_));
        return std::move(raw_);
    }

    bool null() override { return value(nullptr, "null"); }
    bool boolean(bool v) override { return value(v, "a boolean"); }
    bool number_integer(number_integer_t v) override {
        if (in_ == Table::kVocab) return vocab_id(v);
        return value(v, "a number");
    }
    bool number_unsigned(number_unsigned_t v) override {
        if (in_ == Table::kVocab)
            return vocab_id(v > static_cast<number_unsigned_t>(kMaxTokenId) ? kMaxTokenId + 1
                                                                            : static_cast<std::int64_t>(v));
        return value(v, "a number");
    }
    bool number_float(number_float_t v, const string_t&) override {
        return value(v, "a number with a fraction");
    }
    bool binary(binary_t&) override { return value(nullptr, "binary data"); }

    bool string(string_t& v) override {
        if (in_ == Table::kMerges) return merge_string(v);
        return value(std::move(v), "a string");
    }

    bool start_object(std::size_t) override {
        if (in_ == Table::kNone && at_model_key("vocab")) return open_table(Table::kVocab, raw_.has_vocab);
        return open(json::object(), "an object");
    }
    bool start_array(std::size_t) override {
        // Models other than BPE keep their vocabulary in an array; the model's type is refused later.
        if (in_ == Table::kNone && at_model_key("vocab")) return open_table(Table::kOther, raw_.has_vocab);
        if (in_ == Table::kNone && at_model_key("merges")) return open_table(Table::kMerges, raw_.has_merges);
        if (in_ == Table::kMerges && depth_ == table_depth_ + 1) {
            deeper();
            if (raw_.merges.size() >= kMaxMerges) too_many("model.merges", kMaxMerges);
            raw_.merges.emplace_back();
            pair_size_ = 0;
            return true;
        }
        return open(json::array(), "an array");
    }
    bool key(string_t& v) override {
        if (in_ == Table::kVocab) {
            vocab_key_ = std::move(v);
            return true;
        }
        if (depth_ == 1) key1_ = v;
        if (depth_ == 2) key2_ = v;
        key_ = std::move(v);
        return true;
    }
    bool end_object() override { return close(); }
    bool end_array() override {
        if (in_ == Table::kMerges && depth_ == table_depth_ + 2 && pair_size_ != 2)
            bad_merge("has not two parts");
        return close();
    }
    bool parse_error(std::size_t, const std::string&, const json::exception& e) override {
        throw FormatError("tokenizer.json is not sound JSON: " + std::string(e.what()));
    }

private:
    enum class Table { kNone, kVocab, kMerges, kOther };

    [[noreturn]] static void too_many(const std::string& what, std::size_t limit) {
        throw FormatError("tokenizer.json: " + what + " has more than " + std::to_string(limit) + " entries");
    }
    [[noreturn]] void bad_merge(const char* why) const {
        const std::size_t n = raw_.merges.size();
        throw FormatError("tokenizer.json: model.merges[" + std::to_string(n == 0 ? 0 : n - 1) + "] " + why +
                          "; a merge is \"left right\" or [\"left\", \"right\"]");
    }

    bool at_model_key(std::string_view name) const {
        return depth_ == 2 && key1_ == "model" && key2_ == name;
    }

    void deeper() {
        if (++depth_ > kMaxDepth)
            throw FormatError("tokenizer.json: nested deeper than " + std::to_string(kMaxDepth) + " levels");
    }

    bool open_table(Table table, bool& seen) {
        if (seen) throw FormatError("tokenizer.json: model." + key2_ + " appears twice");
        seen = true;
        in_ = table;
        table_depth_ = depth_;
        deeper();
        return true;
    }

    bool open(json container, const char* what) {
        if (in_ == Table::kOther) {
            deeper();
            return true;
        }
        if (depth_ == 1) key2_.clear();
        json* const place = put(std::move(container), what);
        deeper();
        stack_.push_back(place);
        return true;
    }

    bool close() {
        --depth_;
        if (in_ == Table::kNone)
            stack_.pop_back();
        else if (depth_ == table_depth_)
            in_ = Table::kNone;
        return true;
    }

    bool value(json v, const char* what) {
        if (in_ != Table::kOther) put(std::move(v), what);
        return true;
    }

    json* put(json v, const char* what) {
        if (in_ == Table::kVocab)
            throw FormatError("tokenizer.json: model.vocab[\"" + vocab_key_ + "\"] is " + what +
                              ", not an id");
        if (in_ == Table::kMerges) {
            raw_.merges.emplace_back();
            bad_merge((std::string("is or has ") + what).c_str());
        }
        if (++values_ > kMaxValues) too_many("the document without its tables", kMaxValues);
        if (stack_.empty()) {
            rest_ = std::move(v);
            return &rest_;
        }
        json& parent = *stack_.back();
        if (parent.is_array()) {
            parent.push_back(std::move(v));
            return &parent.back();
        }
        const auto [it, fresh] = parent.emplace(key_, std::move(v));
        if (!fresh) throw FormatError("tokenizer.json: the key \"" + key_ + "\" appears twice in one object");
        return &*it;
    }

    bool vocab_id(std::int64_t id) {
        if (id < 0 || id > kMaxTokenId)
            throw FormatError("tokenizer.json: model.vocab[\"" + vocab_key_ + "\"]: the id " +
                              (id < 0 ? std::to_string(id) : "is above the limit") + "; ids are 0 to " +
                              std::to_string(kMaxTokenId));
        if (raw_.vocab.size() >= kMaxTokens) too_many("model.vocab", kMaxTokens);
        raw_.vocab.emplace_back(std::move(vocab_key_), static_cast<std::int32_t>(id));
        return true;
    }

    bool merge_string(std::string& v) {
        if (depth_ == table_depth_ + 2) {
            auto& pair = raw_.merges.back();
            if (++pair_size_ > 2) bad_merge("has more than two parts");
            (pair_size_ == 1 ? pair.first : pair.second) = std::move(v);
            return true;
        }
        // The library passes over the version line that merges.txt files begin with.
        if (v.starts_with("#version")) return true;
        if (raw_.merges.size() >= kMaxMerges) too_many("model.merges", kMaxMerges);
        const std::size_t space = v.find(' ');
        raw_.merges.emplace_back();
        if (space == std::string::npos || v.find(' ', space + 1) != std::string::npos)
            bad_merge("does not have exactly one space");
        raw_.merges.back() = {v.substr(0, space), v.substr(space + 1)};
        return true;
    }

    RawTokenizer raw_;
    json rest_;
    std::vector<json*> stack_;
    std::string key_, key1_, key2_, vocab_key_;
    Table in_ = Table::kNone;
    int depth_ = 0, table_depth_ = 0, pair_size_ = 0;
    std::size_t values_ = 0;
};

}  // namespace

RawTokenizer read_tokenizer_json(std::string_view text) {
    if (text.size() > kMaxTokenizerFileBytes)
        throw FormatError("tokenizer.json: " + std::to_string(text.size()) + " bytes; the limit is " +
                          std::to_string(kMaxTokenizerFileBytes));
    Reader reader;
    json::sax_parse(text.begin(), text.end(), &reader);
    return reader.take();
}

}  // namespace invar::text
