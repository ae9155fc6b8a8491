// SPDX-License-Identifier: Apache-2.0
// Tests see the errors of the device under test, not what another way or another device makes of them; those of the
// recovery ladder switch it on. INVAR_RECOVERY says otherwise.
#include <invar/recovery.h>

#include "base/env.h"

namespace {
[[maybe_unused]] const bool off = [] {
    if (invar::env_string("INVAR_RECOVERY").empty()) invar::set_recovery(invar::Recovery::off);
    return true;
}();
}  // namespace
