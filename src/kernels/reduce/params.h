// SPDX-License-Identifier: Apache-2.0
// Parameters of the reduce kernels on accelerators: compiled into the host and into the kernels' sources, so plain C only.
#ifndef INVAR_REDUCE_PARAMS
#define INVAR_REDUCE_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

struct RowParams {
    INVAR_I64 rows, n, x_row, y_row;  // strides in elements
    float eps;
    float added;  // to the weight: 1 for norms that scale by 1 + weight
};

struct ReduceParams {
    INVAR_I64 outer, n, inner;
    INVAR_I64 chunks, chunk;  // of the axis; elements of one
    float correction;
};

#endif
