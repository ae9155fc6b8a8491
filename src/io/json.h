// SPDX-License-Identifier: Apache-2.0
// The one place where JSON from outside is parsed: with limits on size and depth, without duplicate keys,
// errors as FormatError with file, line and column; and getters that check type and range. The JSON library
// costs seconds of compile time: include this from few .cpp files and from no other header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <invar/export.h>

namespace invar::io {

struct JsonLimits {
    std::size_t max_bytes = 16u << 20;
    int max_depth = 32;
};

// A parsed document that remembers its file for error messages.
struct JsonDocument {
    std::string file;
    nlohmann::json root;
};

// Throws FormatError "FILE: line L column C: ..." (columns in bytes, both from 1).
INVAR_API JsonDocument parse_json(std::string_view text, std::string file, const JsonLimits& limits = {});
// The FormatError for what a SAX handler of the JSON library is told through parse_error; text is the whole
// document.
[[noreturn]] INVAR_API void throw_json_error(std::string_view text, std::size_t position,
                                             const std::string& file, const nlohmann::json::exception& error);

// An object inside a document, for typed access; path is empty or "rope_scaling.". References must outlive
// it.
struct JsonObject {
    const std::string& file;
    const nlohmann::json& object;
    std::string path;

    // nullptr when the key is absent or null.
    INVAR_API const nlohmann::json* find(std::string_view key) const;
    INVAR_API bool has(std::string_view key) const;  // true for null too
    // Each throws FormatError naming file, key, value and what is allowed; nothing when the key is absent or
    // null.
    INVAR_API std::optional<std::int64_t> get_int(std::string_view key, std::int64_t low,
                                                  std::int64_t high) const;
    INVAR_API std::optional<double> get_number(std::string_view key, double low, double high) const;
    INVAR_API std::optional<bool> get_bool(std::string_view key) const;
    INVAR_API std::optional<std::string> get_string(std::string_view key) const;
    INVAR_API std::optional<JsonObject> get_object(std::string_view key) const;
    // "FILE: 'PATH.KEY' is VALUE; WANT"; VALUE is the JSON text, shortened.
    [[noreturn]] INVAR_API void fail(std::string_view key, const nlohmann::json& value,
                                     std::string_view want) const;
    // "FILE: 'PATH.KEY' is missing; WANT".
    [[noreturn]] INVAR_API void fail_missing(std::string_view key, std::string_view want) const;
};

// The root as an object; throws FormatError when it is something else.
INVAR_API JsonObject json_root(const JsonDocument& document);

}  // namespace invar::io
