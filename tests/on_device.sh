#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# on_device.sh BACKEND REQUIRED INVAR TEST [OPTION...]: runs a test binary with INVAR_DEVICE=BACKEND. Where there is no such device
# it ends with 77, which ctest counts as skipped, or fails if the environment variable REQUIRED says that there must be one.
set -eu
backend=$1 required=$2 invar=$3
shift 3
if ! "$invar" devices | grep -q "^  $backend: "; then
    "$invar" devices | grep "^$backend" || true
    eval "required=\${$required:-}"
    if [ -n "$required" ]; then exit 1; fi
    exit 77
fi
INVAR_DEVICE=$backend exec "$@"
