// SPDX-License-Identifier: Apache-2.0
// A device's name as the last part of a test's.
#pragma once

#include <cctype>
#include <string>

namespace invar::test {

inline std::string test_name(std::string device) {
    for (char& c : device)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    return device;
}

}  // namespace invar::test
