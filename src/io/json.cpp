// SPDX-License-Identifier: Apache-2.0
// JSON with limits: events of the JSON library build the tree here, so that depth and duplicate keys are
// checked while it grows.
#include "io/json.h"

#include <algorithm>
#include <vector>

#include <invar/error.h>

#include "io/quote.h"

namespace invar::io {
namespace {

using nlohmann::json;

class Builder {
public:
    Builder(const std::string& file, std::string_view text, int max_depth)
        : file_(file), text_(text), max_depth_(max_depth) {}

    json take() { return std::move(root_); }

    bool null() { return add(nullptr), true; }
    bool boolean(bool v) { return add(v), true; }
    bool number_integer(json::number_integer_t v) { return add(v), true; }
    bool number_unsigned(json::number_unsigned_t v) { return add(v), true; }
    bool number_float(json::number_float_t v, const std::string&) { return add(v), true; }
    bool string(std::string& v) { return add(std::move(v)), true; }
    bool binary(json::binary_t&) { return false; }
    bool start_object(std::size_t) { return open(json::object()), true; }
    bool start_array(std::size_t) { return open(json::array()), true; }
    bool end_object() { return stack_.pop_back(), true; }
    bool end_array() { return stack_.pop_back(), true; }
    bool key(std::string& k) {
        if (stack_.back()->contains(k)) throw FormatError(file_ + ": the key " + quote(k) + " occurs twice");
        key_ = std::move(k);
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const json::exception& e) {
        throw_json_error(text_, position, file_, e);
    }

private:
    json* add(json v) {
        if (stack_.empty()) return &(root_ = std::move(v));
        json& parent = *stack_.back();
        if (parent.is_array()) return &parent.emplace_back(std::move(v));
        return &(parent[key_] = std::move(v));
    }
    void open(json v) {
        if (static_cast<int>(stack_.size()) >= max_depth_) {
            throw FormatError(file_ + ": JSON nested deeper than " + std::to_string(max_depth_) + " levels");
        }
        stack_.push_back(add(std::move(v)));
    }

    const std::string& file_;
    std::string_view text_;
    int max_depth_;
    json root_;
    std::vector<json*> stack_;  // a container does not move while its children grow
    std::string key_;
};

std::string range_text(const std::string& low, const std::string& high) {
    return "from " + low + " to " + high;
}

std::string number_text(double v) {
    std::string s = json(v).dump();
    return s.ends_with(".0") ? s.substr(0, s.size() - 2) : s;
}

}  // namespace

void throw_json_error(std::string_view text, std::size_t position, const std::string& file,
                      const json::exception& error) {
    // "[json.exception...] parse error at line 1, column 2: syntax error ...": only the end is wanted.
    std::string_view what = error.what();
    if (const auto i = what.find("] "); i != what.npos) what.remove_prefix(i + 2);
    if (what.starts_with("parse error at ")) {
        if (const auto i = what.find(": "); i != what.npos) what.remove_prefix(i + 2);
    }
    const std::size_t offset = std::min(position == 0 ? 0 : position - 1, text.size());
    const std::string_view before = text.substr(0, offset);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto newline = before.rfind('\n');
    const std::size_t column = newline == before.npos ? offset + 1 : offset - newline;
    std::string out = file + ": line " + std::to_string(line) + " column " + std::to_string(column) + ": ";
    // The library quotes the text it read last, which may be long and need not be UTF-8.
    for (char c : what.substr(0, 200)) out += c >= 0x20 && c < 0x7F ? c : '?';
    throw FormatError(what.size() > 200 ? out + "..." : out);
}

JsonDocument parse_json(std::string_view text, std::string file, const JsonLimits& limits) {
    if (text.size() > limits.max_bytes) {
        throw FormatError(file + ": is " + std::to_string(text.size()) + " bytes; at most " +
                          std::to_string(limits.max_bytes) + " are accepted");
    }
    Builder builder(file, text, limits.max_depth);
    json::sax_parse(text.begin(), text.end(), &builder);
    json root = builder.take();
    return {std::move(file), std::move(root)};
}

const json* JsonObject::find(std::string_view key) const {
    const auto it = object.find(key);
    return it == object.end() || it->is_null() ? nullptr : &*it;
}

bool JsonObject::has(std::string_view key) const { return object.contains(key); }

void JsonObject::fail(std::string_view key, const json& value, std::string_view want) const {
    std::string v = value.dump(-1, ' ', true);
    if (v.size() > 60) v = v.substr(0, 60) + "...";
    throw FormatError(file + ": '" + path + std::string(key) + "' is " + v + "; it must be " +
                      std::string(want));
}

void JsonObject::fail_missing(std::string_view key, std::string_view want) const {
    throw FormatError(file + ": '" + path + std::string(key) + "' is missing; it must be " +
                      std::string(want));
}

std::optional<std::int64_t> JsonObject::get_int(std::string_view key, std::int64_t low,
                                                std::int64_t high) const {
    const json* v = find(key);
    if (v == nullptr) return std::nullopt;
    const bool fits =
        v->is_number_unsigned()
            ? v->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::max<std::int64_t>(high, 0))
            : v->is_number_integer();
    if (fits) {
        const auto i = v->get<std::int64_t>();
        if (i >= low && i <= high) return i;
    }
    fail(key, *v, "a whole number " + range_text(std::to_string(low), std::to_string(high)));
}

std::optional<double> JsonObject::get_number(std::string_view key, double low, double high) const {
    const json* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (v->is_number()) {
        const double d = v->get<double>();
        if (d >= low && d <= high) return d;
    }
    fail(key, *v, "a number " + range_text(number_text(low), number_text(high)));
}

std::optional<bool> JsonObject::get_bool(std::string_view key) const {
    const json* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_boolean()) fail(key, *v, "true or false");
    return v->get<bool>();
}

std::optional<std::string> JsonObject::get_string(std::string_view key) const {
    const json* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_string()) fail(key, *v, "a string");
    return v->get<std::string>();
}

std::optional<JsonObject> JsonObject::get_object(std::string_view key) const {
    const json* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_object()) fail(key, *v, "an object");
    return JsonObject{file, *v, path + std::string(key) + "."};
}

JsonObject json_root(const JsonDocument& document) {
    if (!document.root.is_object()) throw FormatError(document.file + ": must be a JSON object ({...})");
    return {document.file, document.root, ""};
}

}  // namespace invar::io
