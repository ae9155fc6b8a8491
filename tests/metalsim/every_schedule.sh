#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# every_schedule.sh BUILD [SEED]: whole suites on the software Metal device, lanes and dispatches in forward, reverse and shuffled
# order; hours. BUILD: the folder of a release build. Goes on behind a failure, and ends with 1 where there was one.
set -u
build=$(cd "$1" && pwd) seed=${2:-1} failed=0
export INVAR_DEVICE=metal INVAR_MODULE_DIR="$build/metalsim-module" INVAR_REQUIRE_METALSIM=1
for order in forward reverse "shuffled:$seed"; do
    for suite in backends graph kernels nn tensor; do
        filter='*'
        if [ "$suite" = backends ]; then filter='*etal*'; fi
        echo "$suite, $order"
        INVAR_METALSIM_SCHEDULE=$order "$build/bin/test_$suite" --gtest_brief=1 --gtest_filter="$filter" || failed=1
    done
done
exit $failed
