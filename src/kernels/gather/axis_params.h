// SPDX-License-Identifier: Apache-2.0
// Parameters of the kernels that read and write along an axis by index: compiled into the host and into the kernels' source,
// so plain C only.
#ifndef INVAR_AXIS_PARAMS
#define INVAR_AXIS_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

struct AxisParams {
    INVAR_I64 outer, n, inner, count;
    INVAR_I64 index_outer, index_step, index_inner;  // strides in elements
    INVAR_I64 order_column;                          // of scatter
};

#endif
