// SPDX-License-Identifier: Apache-2.0
// Misuse of Metal, reported as its validation layer does: by default the process says what and aborts; tests may collect instead
// (control.h), and then the wrong call does nothing.
#pragma once

#include <string>

namespace metalsim {

void validation_error(const std::string& message);

// valid(condition, message): the condition; reports where it does not hold. The message is made only then.
template <typename Message>
bool valid(bool condition, const Message& message) {
    if (!condition) validation_error(message());
    return condition;
}

}  // namespace metalsim
