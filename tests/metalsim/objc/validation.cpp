// SPDX-License-Identifier: Apache-2.0
// Where validation errors go.
#include "metalsim/objc/validation.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "metalsim/control.h"

namespace metalsim {
namespace {

struct Collected {
    std::mutex mutex;
    bool collect = false;
    std::vector<std::string> messages;
};
Collected& collected() {
    static auto* const collected = new Collected;
    return *collected;
}

}  // namespace

void validation_error(const std::string& message) {
    const std::lock_guard lock(collected().mutex);
    if (collected().collect) {
        collected().messages.push_back(message);
        return;
    }
    std::fprintf(stderr, "software Metal device: validation: %s\n", message.c_str());
    std::abort();
}

void collect_validation_errors(bool collect) {
    const std::lock_guard lock(collected().mutex);
    collected().collect = collect;
}

std::vector<std::string> take_validation_errors() {
    const std::lock_guard lock(collected().mutex);
    return std::exchange(collected().messages, {});
}

}  // namespace metalsim
