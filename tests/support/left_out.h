// SPDX-License-Identifier: Apache-2.0
// Parts left out for as long as it lives (base/switches.h); then what was left out before.
#pragma once

#include <string_view>

#include "base/switches.h"

namespace invar::test {

class LeftOut {
public:
    explicit LeftOut(std::string_view list) { set_left_out(list); }
    ~LeftOut() { set_left_out(before_); }
    LeftOut(const LeftOut&) = delete;
    LeftOut& operator=(const LeftOut&) = delete;

private:
    unsigned before_ = parts_left_out();
};

}  // namespace invar::test
