// SPDX-License-Identifier: Apache-2.0
// What INVAR_WITHOUT, or a test, leaves out.
#include "base/switches.h"

#include <array>
#include <atomic>
#include <string>

#include <invar/error.h>

#include "base/env.h"

namespace invar {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"fusion", "planning", "capture", "streams"};

unsigned parts_of(std::string_view list) {
    unsigned parts = 0;
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        const std::string_view word = list.substr(0, comma);
        std::size_t i = 0;
        while (i < kNames.size() && kNames[i] != word) ++i;
        if (i == kNames.size())
            throw InvalidArgument("INVAR_WITHOUT: '" + std::string(word) +
                                  "' is none of fusion, planning, capture and streams, joined by commas");
        parts |= 1u << i;
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
        if (list.empty()) return parts_of(",");
    }
    return parts;
}

std::atomic<unsigned>& parts() {
    static std::atomic<unsigned> value = parts_of(env_string("INVAR_WITHOUT"));
    return value;
}

}  // namespace

unsigned parts_left_out() { return parts(); }
bool left_out(Part part) { return (parts() & static_cast<unsigned>(part)) != 0; }
void set_left_out(std::string_view list) { parts() = parts_of(list); }
void set_left_out(unsigned bits) { parts() = bits; }

}  // namespace invar
