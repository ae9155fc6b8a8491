// SPDX-License-Identifier: Apache-2.0
// Parameters of the product kernels on accelerators: compiled into the host and into the kernels' source, so plain C only.
#ifndef INVAR_MATMUL_PARAMS
#define INVAR_MATMUL_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

// linear: up to three products of the same few rows of x. Strides in elements.
struct LinearParams {
    INVAR_I64 k, x_row, residual_row;
    INVAR_I64 n[3], w_row[3], y_row[3];
    float eps;  // of the norm in front
};

// tile: any product.
struct TileParams {
    INVAR_I64 batch, m, n, k;
    INVAR_I64 x_row, x_batch, w_row, w_batch, y_row, y_batch, residual_row, residual_batch;
};

#endif
