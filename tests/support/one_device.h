// SPDX-License-Identifier: Apache-2.0
// For tests of what one device does (its steps, its schedules, its memory, its recovery): while this lives nothing is shared with
// another, whatever INVAR_ROUTE says.
#pragma once

#include <invar/route.h>

namespace invar::test {

class OneDevice {
public:
    OneDevice() { set_routing({}); }
    ~OneDevice() { set_routing(before_); }
    OneDevice(const OneDevice&) = delete;
    OneDevice& operator=(const OneDevice&) = delete;

private:
    const RoutingOptions before_ = routing_options();
};

}  // namespace invar::test
