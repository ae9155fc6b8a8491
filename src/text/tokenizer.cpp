// SPDX-License-Identifier: Apache-2.0
// The tokenizer at work: added tokens out of the raw text, normalise, added tokens out of the normalised text, cut
// into words, encode each word, surround with the template; and back.
#include <invar/tokenizer.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <invar/error.h>

#include "text/byte_level.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace invar {

using namespace text;

namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

// Ids of words seen before. Full shards take nothing more: the frequent words of a text come early.
class WordCache {
public:
    bool find(std::string_view word, std::vector<std::int32_t>& out) const {
        if (word.size() > kMaxWordBytes) return false;
        Shard& shard = shard_of(word);
        const std::lock_guard lock(shard.mutex);
        const auto it = shard.words.find(word);
        if (it == shard.words.end()) return false;
        out.insert(out.end(), it->second.begin(), it->second.end());
        return true;
    }
    void add(std::string_view word, std::span<const std::int32_t> ids) const {
        if (word.size() > kMaxWordBytes) return;
        Shard& shard = shard_of(word);
        const std::lock_guard lock(shard.mutex);
        if (shard.words.size() < kWordsPerShard)
            shard.words.emplace(std::string(word), std::vector<std::int32_t>(ids.begin(), ids.end()));
    }

private:
    static constexpr std::size_t kMaxWordBytes = 128;
    static constexpr std::size_t kWordsPerShard = 2048;
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
    };
    struct Shard {
        std::mutex mutex;
        std::unordered_map<std::string, std::vector<std::int32_t>, Hash, std::equal_to<>> words;
    };
    Shard& shard_of(std::string_view word) const { return shards_[(Hash()(word) >> 7) % shards_.size()]; }
    mutable std::array<Shard, 16> shards_;
};

}  // namespace

struct Tokenizer::Impl {
    std::unique_ptr<TokenizerParts> parts;
    AddedTokenMatcher raw_tokens, normalized_tokens;
    std::vector<bool> special;  // by id
    std::vector<bool> skipped;  // by id: left out by skip_special; see the constructor
    std::unordered_map<std::int32_t, std::string> shown;  // added tokens whose text is not their name
    std::vector<bool> control;  // special without the unknown token, which stands for what has no token
    std::vector<std::int32_t> special_ids;
    WordCache cache;

    explicit Impl(std::unique_ptr<TokenizerParts> p) : parts(std::move(p)) {
        special.resize(static_cast<std::size_t>(parts->vocabulary.end_id()));
        skipped = special;
        std::unordered_set<std::string_view> special_names;
        for (const bool want_special :
             {true, false})  // the library's order, which decides between equal patterns
            for (const AddedToken& token : parts->added) {
                if (token.special != want_special) continue;
                std::string pattern = token.content;
                if (token.normalized && parts->normalizer) parts->normalizer->apply(pattern);
                if (pattern.empty() || pattern.size() > kMaxAddedTokenBytes)
                    throw FormatError(
                        "tokenizer.json: the normalizer makes the added token \"" + token.content + "\" " +
                        (pattern.empty() ? "empty"
                                         : "longer than " + std::to_string(kMaxAddedTokenBytes) + " bytes"));
                (token.normalized ? normalized_tokens : raw_tokens).add(token, pattern);
                if (token.special) {
                    special[static_cast<std::size_t>(token.id)] = true;
                    special_names.insert(token.content);
                }
                if (pattern != token.content) shown.emplace(token.id, std::move(pattern));
            }
        // The library decodes a normalised added token as its normal form, and recognises a special token by that
        // text, so a special token that its normal form renames is not left out by skip_special.
        for (const AddedToken& token : parts->added)
            skipped[static_cast<std::size_t>(token.id)] = special_names.contains(text_of(token.id));
        for (std::size_t i = 0; i < special.size(); ++i)
            if (special[i]) special_ids.push_back(static_cast<std::int32_t>(i));
        control = special;
        if (const auto unk = parts->model.options().unk_id) control[static_cast<std::size_t>(*unk)] = false;
    }

    const std::string& token(std::int32_t id) const {
        const std::string* name = parts->vocabulary.name(id);
        if (name) return *name;
        const std::int32_t end = parts->vocabulary.end_id();
        throw InvalidArgument("token id " + std::to_string(id) +
                              (id < 0 || id >= end
                                   ? " is out of range; ids are 0 to " + std::to_string(end - 1)
                                   : std::string(" has no token in this tokenizer")));
    }

    // What an id stands for in decoded text, before the decoder.
    const std::string& text_of(std::int32_t id) const {
        if (!shown.empty())
            if (const auto it = shown.find(id); it != shown.end()) return it->second;
        return token(id);
    }

    bool is_control(std::int32_t id) const { return control[static_cast<std::size_t>(id)]; }

    void encode_word(std::string_view word, bool parse_special, std::vector<std::int32_t>& out) const {
        const std::size_t begin = out.size();
        if (!cache.find(word, out)) {
            parts->model.encode(word, out);
            cache.add(word, std::span(out).subspan(begin));
        }
        if (parse_special) return;
        const auto first = out.begin() + static_cast<std::ptrdiff_t>(begin);
        if (std::none_of(first, out.end(), [&](std::int32_t id) { return is_control(id); })) return;
        out.resize(begin);
        if (!parts->model.encode(word, out, &control))
            throw InvalidArgument(
                "the text has a character whose only token is a control token of this tokenizer, "
                "and parse_special is off");
    }

    void encode_words(std::string_view text, bool parse_special, std::vector<std::int32_t>& out) const {
        if (!parts->pre_tokenizer) return encode_word(text, parse_special, out);
        PreText pre{std::string(text), {{0, text.size()}}};
        parts->pre_tokenizer->apply(pre);
        for (const Match& word : pre.words)
            encode_word(std::string_view(pre.text).substr(word.begin, word.end - word.begin), parse_special,
                        out);
    }

    std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options) const {
        std::vector<std::int32_t> out;
        const auto split = [&](const AddedTokenMatcher& matcher, std::string_view part) {
            std::vector<Stretch> stretches;
            if (options.parse_added)
                matcher.split(part, options.parse_special, stretches);
            else if (!part.empty())
                stretches.push_back({0, part.size(), std::nullopt});
            return stretches;
        };
        for (const Stretch& outer : split(raw_tokens, text)) {
            if (outer.id) {
                out.push_back(*outer.id);
                continue;
            }
            std::string_view part = text.substr(outer.begin, outer.end - outer.begin);
            std::string normalized;
            if (parts->normalizer) {
                normalized = part;
                parts->normalizer->apply(normalized);
                part = normalized;
            }
            for (const Stretch& inner : split(normalized_tokens, part)) {
                if (inner.id)
                    out.push_back(*inner.id);
                else
                    encode_words(part.substr(inner.begin, inner.end - inner.begin), options.parse_special,
                                 out);
            }
        }
        if (parts->post.empty()) return out;
        std::vector<std::int32_t> all;
        for (const TemplatePiece& piece : parts->post) {
            if (piece.is_text)
                all.insert(all.end(), out.begin(), out.end());
            else if (options.add_special)
                all.insert(all.end(), piece.ids.begin(), piece.ids.end());
        }
        return all;
    }

    // Appends the text of one token; pending and first carry from token to token.
    void decode(std::int32_t id, bool skip_special, bool& first, std::string& pending,
                std::string& out) const {
        const std::string& name = text_of(id);
        if (skip_special && skipped[static_cast<std::size_t>(id)]) return;
        switch (parts->decoder) {
            case Decoder::kByteLevel: {
                std::string bytes;
                append_byte_level_decoded(name, bytes);
                append_lossy(bytes, pending, out);
                break;
            }
            case Decoder::kConcatenate: out += name; break;
            case Decoder::kSpaces:
                if (!first) out.push_back(' ');
                out += name;
                break;
        }
        first = false;
    }
};

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
    namespace fs = std::filesystem;
    std::error_code error;
    const fs::path file = fs::is_directory(path, error) ? path / "tokenizer.json" : path;
    if (!fs::is_regular_file(file, error))
        throw IoError(file.string() +
                      ": no such file; a tokenizer is a folder with a tokenizer.json or such a file");
    const std::uintmax_t size = fs::file_size(file, error);
    if (error) throw IoError(file.string() + ": " + error.message());
    if (size > kMaxTokenizerFileBytes)
        throw FormatError(file.string() + ": " + std::to_string(size) +
                          " bytes; the limit for a tokenizer.json is " +
                          std::to_string(kMaxTokenizerFileBytes));
    std::string text(static_cast<std::size_t>(size), '\0');
    std::ifstream stream(file, std::ios::binary);
    if (!stream.read(text.data(), static_cast<std::streamsize>(text.size())))
        throw IoError(file.string() + ": cannot be read; check its permissions");
    try {
        return from_json(text);
    } catch (const FormatError& e) {
        throw FormatError(file.string() + ": " + e.what());
    } catch (const Unsupported& e) {
        throw Unsupported(file.string() + ": " + e.what());
    }
}

Tokenizer Tokenizer::from_json(std::string_view text) {
    return Tokenizer(std::make_shared<const Impl>(parse_tokenizer_json(text)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view utf8, bool add_special) const {
    return encode(utf8, EncodeOptions{.add_special = add_special});
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view utf8, const EncodeOptions& options) const {
    if (utf8.size() > kMaxTextBytes)
        throw InvalidArgument("a text of " + std::to_string(utf8.size()) + " bytes; encode at most " +
                              std::to_string(kMaxTextBytes) + " at a time");
    if (const auto offset = find_invalid_utf8(utf8))
        throw FormatError("the text is not UTF-8: no character starts at byte " + std::to_string(*offset) +
                          " of " + std::to_string(utf8.size()) + "; convert it to UTF-8");
    return impl_->encode(utf8, options);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
    std::string out, pending;
    bool first = true;
    for (const std::int32_t id : ids) impl_->decode(id, skip_special, first, pending, out);
    flush_lossy(pending, out);
    return out;
}

std::string_view Tokenizer::token(std::int32_t id) const { return impl_->token(id); }
std::optional<std::int32_t> Tokenizer::id(std::string_view token) const {
    return impl_->parts->vocabulary.id(token);
}
bool Tokenizer::has_token(std::int32_t id) const noexcept {
    return impl_->parts->vocabulary.name(id) != nullptr;
}
std::int32_t Tokenizer::vocab_size() const noexcept { return impl_->parts->vocabulary.end_id(); }
const std::vector<std::int32_t>& Tokenizer::special_ids() const noexcept { return impl_->special_ids; }
bool Tokenizer::is_special(std::int32_t id) const noexcept {
    return id >= 0 && id < vocab_size() && impl_->special[static_cast<std::size_t>(id)];
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : impl_(tokenizer.impl_), skip_special_(skip_special) {}

std::string StreamDecoder::push(std::int32_t id) {
    std::string out;
    impl_->decode(id, skip_special_, first_, pending_, out);
    return out;
}

std::string StreamDecoder::flush() {
    std::string out;
    flush_lossy(pending_, out);
    first_ = true;
    return out;
}

}  // namespace invar
