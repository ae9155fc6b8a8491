// SPDX-License-Identifier: Apache-2.0
// The recovery ladder for the length of a test, and what it did.
#pragma once

#include <invar/recovery.h>

#include <string>

#include "device/faults.h"

namespace invar::test {

class Ladder {
public:
    explicit Ladder(Recovery how) : before_(recovery()) { set_recovery(how); }
    ~Ladder() {
        set_faults("");
        set_recovery(before_);
    }
    Ladder(const Ladder&) = delete;
    Ladder& operator=(const Ladder&) = delete;

    // The rungs taken since the last call: "replayed 1 host 2".
    std::string taken() {
        const RecoveryStatistics now = recovery_statistics();
        std::string text;
        const auto add = [&](const char* rung, std::uint64_t RecoveryStatistics::*count) {
            const std::uint64_t times = now.*count - last_.*count;
            if (times) text += (text.empty() ? "" : " ") + std::string(rung) + " " + std::to_string(times);
        };
        add("trimmed", &RecoveryStatistics::trimmed);
        add("defragmented", &RecoveryStatistics::defragmented);
        add("offloaded", &RecoveryStatistics::offloaded);
        add("replayed", &RecoveryStatistics::replayed);
        add("restored", &RecoveryStatistics::restored);
        add("unshared", &RecoveryStatistics::unshared);
        add("unfused", &RecoveryStatistics::unfused);
        add("portable", &RecoveryStatistics::portable);
        add("split", &RecoveryStatistics::split);
        add("host", &RecoveryStatistics::host);
        add("exhausted", &RecoveryStatistics::exhausted);
        last_ = now;
        return text;
    }

private:
    Recovery before_;
    RecoveryStatistics last_ = recovery_statistics();
};

// "launch@1,launch@2" for ("launch", 2): the next `times` visits of the site fail.
inline std::string faults_in_a_row(const std::string& site, int times) {
    std::string list;
    for (int n = 1; n <= times; ++n) list += (n == 1 ? "" : ",") + site + "@" + std::to_string(n);
    return list;
}

}  // namespace invar::test
