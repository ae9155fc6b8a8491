// SPDX-License-Identifier: Apache-2.0
// Makes the parts of a tokenizer from its file. Every field is looked at with its type; every message names the place.
#include "text/tokenizer_parts.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include <invar/error.h>

#include "text/tokenizer_raw.h"
#include "text/utf8.h"

namespace invar::text {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxSteps = 256;  // of one normalizer or pre-tokenizer, all sequences together

// A place in the document that is being looked at: the value and its path for messages.
struct Node {
    const json& value;
    std::string path;

    [[noreturn]] void fail(const std::string& why, const std::string& below = "") const {
        throw FormatError("tokenizer.json: " + path + below + ": " + why);
    }
    void expect(bool holds, const char* type) const {
        if (!holds) fail(std::string("expected ") + type + ", found " + value.type_name());
    }
    // A field that may be absent or null.
    std::optional<Node> find(const char* key) const {
        expect(value.is_object(), "an object");
        const auto it = value.find(key);
        if (it == value.end() || it->is_null()) return std::nullopt;
        return Node{*it, path.empty() ? key : path + "." + key};
    }
    Node at(const char* key) const {
        auto node = find(key);
        if (!node) fail(std::string("the field \"") + key + "\" is missing");
        return *node;
    }
    Node at(std::size_t i) const { return {value[i], path + "[" + std::to_string(i) + "]"}; }
    std::size_t array_size() const {
        expect(value.is_array(), "an array");
        return value.size();
    }
    const std::string& text() const {
        expect(value.is_string(), "a string");
        return value.get_ref<const std::string&>();
    }
    bool flag() const {
        expect(value.is_boolean(), "true or false");
        return value.get<bool>();
    }
    bool flag(const char* key, bool absent) const {
        const auto node = find(key);
        return node ? node->flag() : absent;
    }
    std::int32_t token_id() const {
        expect(value.is_number_integer(), "a token id");
        if (value.is_number_unsigned() ? value.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxTokenId)
                                       : value.get<std::int64_t>() < 0)
            fail("the id " + value.dump() + " is out of range; ids are 0 to " + std::to_string(kMaxTokenId));
        return static_cast<std::int32_t>(value.get<std::int64_t>());
    }
    const std::string& type() const { return at("type").text(); }
    [[noreturn]] void unsupported(const std::string& type, const char* known) const {
        throw Unsupported("tokenizer.json: " + path + ": type \"" + type +
                          "\" is not supported; there are: " + known);
    }
};

std::string quote(const std::string& s) { return "\"" + s + "\""; }

// A pattern of Split or Replace: {"String": s} or {"Regex": s}.
Regex pattern_of(const Node& node) {
    node.expect(node.value.is_object() && node.value.size() == 1, "an object with String or Regex");
    if (const auto regex = node.find("Regex")) return Regex(regex->text(), regex->path);
    const Node string = node.at("String");
    std::string escaped;
    for (const char c : string.text()) {
        if (std::string_view(R"(\.+*?()|[]{}^$#&-~)").find(c) != std::string_view::npos)
            escaped.push_back('\\');
        escaped.push_back(c);
    }
    return Regex(escaped, string.path);
}

NormalizerPtr normalizer_of(const Node& node, std::size_t& steps) {
    if (++steps > kMaxSteps) node.fail("more than " + std::to_string(kMaxSteps) + " steps");
    const std::string& type = node.type();
    if (type == "Sequence") {
        const Node list = node.at("normalizers");
        std::vector<NormalizerPtr> parts;
        for (std::size_t i = 0; i < list.array_size(); ++i) parts.push_back(normalizer_of(list.at(i), steps));
        return make_normalizer_sequence(std::move(parts));
    }
    if (type == "NFC") return make_normal_form(NormalForm::kNfc);
    if (type == "NFD") return make_normal_form(NormalForm::kNfd);
    if (type == "NFKC") return make_normal_form(NormalForm::kNfkc);
    if (type == "NFKD") return make_normal_form(NormalForm::kNfkd);
    if (type == "Lowercase") return make_lowercase();
    if (type == "Strip") {
        const bool left = node.at("strip_left").flag();
        return make_strip(left, node.at("strip_right").flag());
    }
    if (type == "StripAccents") return make_strip_accents();
    if (type == "Prepend") return make_prepend(node.at("prepend").text());
    if (type == "ByteLevel") return make_byte_level_normalizer();
    if (type == "Replace") {
        const Node pattern = node.at("pattern");
        const Node content = node.at("content");
        // Releases of the library differ in whether they expand $1; the file cannot say which it was made for.
        if (pattern.value.contains("Regex") && content.text().find('$') != std::string::npos)
            throw Unsupported("tokenizer.json: " + content.path +
                              ": \"$\" in the replacement of an expression");
        return make_replace(pattern_of(pattern), content.text());
    }
    node.unsupported(
        type, "ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence, Strip, StripAccents");
}

SplitBehavior behavior_of(const Node& node) {
    const std::string& name = node.text();
    if (name == "Removed") return SplitBehavior::kRemoved;
    if (name == "Isolated") return SplitBehavior::kIsolated;
    if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
    if (name == "Contiguous") return SplitBehavior::kContiguous;
    node.fail(quote(name) +
              " is not one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

PreTokenizerPtr pre_tokenizer_of(const Node& node, std::size_t& steps) {
    if (++steps > kMaxSteps) node.fail("more than " + std::to_string(kMaxSteps) + " steps");
    const std::string& type = node.type();
    if (type == "Sequence") {
        const Node list = node.at("pretokenizers");
        std::vector<PreTokenizerPtr> parts;
        for (std::size_t i = 0; i < list.array_size(); ++i)
            parts.push_back(pre_tokenizer_of(list.at(i), steps));
        return make_pre_tokenizer_sequence(std::move(parts));
    }
    if (type == "ByteLevel") {
        const bool prefix = node.at("add_prefix_space").flag();
        return make_byte_level(prefix, node.flag("use_regex", true));
    }
    if (type == "Split") {
        Regex pattern = pattern_of(node.at("pattern"));
        const SplitBehavior behavior = behavior_of(node.at("behavior"));
        return make_split(std::move(pattern), behavior, node.at("invert").flag());
    }
    if (type == "Digits")
        return make_char_split(is_numeric, node.at("individual_digits").flag() ? SplitBehavior::kIsolated
                                                                               : SplitBehavior::kContiguous);
    if (type == "Punctuation") {
        const auto behavior = node.find("behavior");
        return make_char_split(is_punctuation, behavior ? behavior_of(*behavior) : SplitBehavior::kIsolated);
    }
    if (type == "Whitespace") return make_whitespace();
    if (type == "WhitespaceSplit") return make_char_split(is_white_space, SplitBehavior::kRemoved);
    if (type == "CharDelimiterSplit") {
        const Node delimiter = node.at("delimiter");
        const std::string& text = delimiter.text();
        if (text.empty() || char_at(text, 0).size != text.size()) delimiter.fail("expected one character");
        return make_delimiter_split(char_at(text, 0).value);
    }
    node.unsupported(
        type,
        "ByteLevel, CharDelimiterSplit, Digits, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit");
}

// Fills parts.post; a second processor that adds tokens is refused (the library's own result for it is undefined).
void post_processor_of(const Node& node, TokenizerParts& parts) {
    const std::string& type = node.type();
    if (type == "ByteLevel") return;  // moves offsets only
    if (type == "Sequence") {
        const Node list = node.at("processors");
        for (std::size_t i = 0; i < list.array_size(); ++i) post_processor_of(list.at(i), parts);
        return;
    }
    const auto known = [&](const Node& id) {
        if (!parts.vocabulary.name(id.token_id())) id.fail("no token has the id " + id.value.dump());
        return id.token_id();
    };
    std::vector<TemplatePiece> post;
    if (type == "BertProcessing" || type == "RobertaProcessing") {
        const auto special = [&](const char* key) {
            const Node pair = node.at(key);
            if (pair.array_size() != 2) pair.fail("expected [token, id]");
            post.push_back({false, {known(pair.at(1))}});
        };
        special("cls");
        post.push_back({true, {}});
        special("sep");
    } else if (type == "TemplateProcessing") {
        const Node single = node.at("single");
        std::size_t texts = 0;
        for (std::size_t i = 0; i < single.array_size(); ++i) {
            const Node piece = single.at(i);
            if (const auto sequence = piece.find("Sequence")) {
                if (sequence->at("id").text() != "A") sequence->fail("one text has only the sequence A");
                if (++texts > 16) piece.fail("the text stands more than 16 times in the template");
                post.push_back({true, {}});
                continue;
            }
            const std::string& name = piece.at("SpecialToken").at("id").text();
            const Node tokens = node.at("special_tokens");
            const auto entry = tokens.find(name.c_str());
            if (!entry) piece.fail("special_tokens has no entry " + quote(name));
            const Node ids = entry->at("ids");
            TemplatePiece special;
            for (std::size_t k = 0; k < ids.array_size(); ++k) special.ids.push_back(known(ids.at(k)));
            post.push_back(std::move(special));
        }
    } else {
        node.unsupported(type, "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing");
    }
    if (!parts.post.empty())
        throw Unsupported("tokenizer.json: " + node.path + ": a second post-processor that adds tokens");
    parts.post = std::move(post);
}

Decoder decoder_of(const Node& node) {
    constexpr const char* kKnown = "ByteLevel, Fuse, Sequence (of ByteLevel, then Fuse)";
    const std::string& type = node.type();
    if (type == "ByteLevel") return Decoder::kByteLevel;
    if (type == "Fuse") return Decoder::kConcatenate;
    if (type != "Sequence") node.unsupported(type, kKnown);
    const Node list = node.at("decoders");
    Decoder decoder = Decoder::kConcatenate;
    for (std::size_t i = 0; i < list.array_size(); ++i) {
        const std::string& step = list.at(i).type();
        if (step == "ByteLevel" && i == 0)
            decoder = Decoder::kByteLevel;
        else if (step != "Fuse")
            list.at(i).unsupported(step, kKnown);
    }
    return decoder;
}

void refuse(const Node& model, const char* key, const char* why) {
    throw Unsupported("tokenizer.json: " + model.path + "." + key + ": " + why);
}

void refuse_affix(const Node& model, const char* key) {
    if (const auto affix = model.find(key); affix && !affix->text().empty())
        refuse(model, key, "word affixes are not supported yet; byte-level tokenizers have none");
}

void model_of(const Node& model, RawTokenizer& raw, TokenizerParts& parts) {
    // Files of 2019 have no type; what has merges is BPE.
    if (const auto type = model.find("type"); type && type->text() != "BPE")
        model.unsupported(type->text(), "BPE");
    if (!raw.has_vocab) model.fail("is missing or not an object", ".vocab");
    if (!raw.has_merges) model.fail("is missing or not an array", ".merges");
    if (model.flag("byte_fallback", false))
        refuse(model, "byte_fallback",
               "SentencePiece-style models are not supported yet; byte-level ones are");
    refuse_affix(model, "continuing_subword_prefix");
    refuse_affix(model, "end_of_word_suffix");
    if (const auto dropout = model.find("dropout")) {
        dropout->expect(dropout->value.is_number(), "a number");
        if (dropout->value.get<double>() != 0)
            refuse(model, "dropout", "it makes ids random; set it to null");
    }

    Vocabulary& vocabulary = parts.vocabulary;
    vocabulary.reserve(raw.vocab.size());
    for (auto& [token, id] : raw.vocab) {
        if (const std::string* other = vocabulary.name(id))
            model.fail(
                "the id " + std::to_string(id) + " has two tokens, " + quote(*other) + " and " + quote(token),
                ".vocab");
        if (vocabulary.id(token)) model.fail("the token " + quote(token) + " appears twice", ".vocab");
        vocabulary.add(std::move(token), id);
    }
    vocabulary.end_model();
    BpeOptions options;
    if (const auto unk = model.find("unk_token")) {
        options.unk_id = vocabulary.id(unk->text());
        if (!options.unk_id) options.missing_unk = unk->text();
    }
    options.fuse_unk = model.flag("fuse_unk", false);
    options.ignore_merges = model.flag("ignore_merges", false);

    MergeTable merges(raw.merges.size());
    std::string joined;
    for (std::size_t i = 0; i < raw.merges.size(); ++i) {
        const auto id_of = [&](const std::string& token) {
            const auto id = vocabulary.id(token);
            if (!id)
                model.fail(quote(token) + " is not in the vocabulary", ".merges[" + std::to_string(i) + "]");
            return *id;
        };
        const auto& [left, right] = raw.merges[i];
        joined.assign(left).append(right);
        const std::int32_t left_id = id_of(left), right_id = id_of(right);
        merges.set(left_id, right_id, {static_cast<std::int32_t>(i), id_of(joined)});
    }
    parts.model = Bpe(vocabulary, std::move(merges), std::move(options));
}

// The library numbers added tokens itself and only warns when the file says otherwise. Ids must agree with the
// library's and with the model's, so a file where the two differ is refused.
void added_tokens_of(const Node& list, TokenizerParts& parts) {
    const auto model_size = static_cast<std::int64_t>(parts.vocabulary.size());
    std::int64_t highest = -1;
    std::vector<bool> seen;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < list.array_size(); ++i) {
        const Node node = list.at(i);
        AddedToken token;
        token.content = node.at("content").text();
        token.id = node.at("id").token_id();
        token.single_word = node.at("single_word").flag();
        token.lstrip = node.at("lstrip").flag();
        token.rstrip = node.at("rstrip").flag();
        token.normalized = node.at("normalized").flag();
        token.special = node.at("special").flag();
        if (token.content.empty()) continue;  // as the library does
        bytes +=
            token.content.size();  // each is far below what would overflow, and the first too long ends it
        if (token.content.size() > kMaxAddedTokenBytes || bytes > kMaxAddedTokensBytes)
            node.fail("too long; an added token has at most " + std::to_string(kMaxAddedTokenBytes) +
                      " bytes, all together " + std::to_string(kMaxAddedTokensBytes));
        const auto in_vocabulary = parts.vocabulary.id(token.content);
        const std::int64_t id = in_vocabulary           ? *in_vocabulary
                                : highest >= model_size ? highest + 1
                                                        : model_size;
        if (id != token.id)
            node.fail("the token " + quote(token.content) + " declares the id " + std::to_string(token.id) +
                      ", but its place in the file gives it the id " + std::to_string(id) +
                      "; list added tokens by ascending id, without gaps after the vocabulary");
        const auto slot = static_cast<std::size_t>(id);
        if (slot >= seen.size()) seen.resize(slot + 1);
        if (seen[slot]) node.fail("the token " + quote(token.content) + " is added twice");
        seen[slot] = true;
        if (!in_vocabulary && !parts.vocabulary.add(token.content, token.id))
            node.fail("the id " + std::to_string(id) + " of " + quote(token.content) +
                      " has a token already");
        highest = std::max(highest, id);
        parts.added.push_back(std::move(token));
    }
}

}  // namespace

std::unique_ptr<TokenizerParts> parse_tokenizer_json(std::string_view text) {
    RawTokenizer raw = read_tokenizer_json(text);
    auto parts = std::make_unique<TokenizerParts>();
    const Node root{*raw.rest, ""};
    if (const auto version = root.find("version"); version && version->text() != "1.0")
        throw Unsupported("tokenizer.json: version " + quote(version->text()) + "; known is \"1.0\"");
    model_of(root.at("model"), raw, *parts);
    if (const auto added = root.find("added_tokens")) added_tokens_of(*added, *parts);
    std::size_t steps = 0;
    if (const auto node = root.find("normalizer")) parts->normalizer = normalizer_of(*node, steps);
    steps = 0;
    if (const auto node = root.find("pre_tokenizer")) parts->pre_tokenizer = pre_tokenizer_of(*node, steps);
    if (const auto node = root.find("post_processor")) post_processor_of(*node, *parts);
    if (const auto node = root.find("decoder")) parts->decoder = decoder_of(*node);
    return parts;
}

}  // namespace invar::text
