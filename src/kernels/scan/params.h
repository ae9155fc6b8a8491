// SPDX-License-Identifier: Apache-2.0
// Parameters of the scan kernels on accelerators: compiled into the host and into the kernels' sources, so plain C only.
#ifndef INVAR_SCAN_PARAMS
#define INVAR_SCAN_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

struct ScanParams {
    INVAR_I64 outer, n, inner;
    INVAR_I64 chunks, chunk;  // of the axis; elements of one
};

#endif
