// SPDX-License-Identifier: Apache-2.0
// Parameters of the gather kernel on accelerators: compiled into the host and into the kernel's source, so plain C only.
#ifndef INVAR_GATHER_PARAMS
#define INVAR_GATHER_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

struct GatherParams {
    INVAR_I64 rows, columns, count;
    INVAR_I64 table_row;  // elements
};

#endif
