#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# on_device.sh BACKEND INVAR TEST [OPTION...]: runs a test binary with INVAR_DEVICE=BACKEND. Where the machine has no such device
# it ends with 77, which ctest counts as skipped, or fails if INVAR_REQUIRE_OPENCL says that there must be one.
set -eu
backend=$1 invar=$2
shift 2
if ! "$invar" devices | grep -q "^  $backend: "; then
    "$invar" devices | grep "^$backend" || true
    if [ -n "${INVAR_REQUIRE_OPENCL:-}" ]; then exit 1; fi
    exit 77
fi
INVAR_DEVICE=$backend exec "$@"
