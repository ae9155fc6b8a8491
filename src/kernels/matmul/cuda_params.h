// SPDX-License-Identifier: Apache-2.0
// Parameters of the product kernels on CUDA: compiled into the host and into the kernels' source, so plain C only.
#ifndef INVAR_MATMUL_CUDA_PARAMS
#define INVAR_MATMUL_CUDA_PARAMS

// linear: up to three products of the same few rows of x. Strides in elements.
struct LinearParams {
    long long k, x_row, residual_row;
    long long n[3], w_row[3], y_row[3];
    float eps;  // of the norm in front
};

// tile: any product.
struct TileParams {
    long long batch, m, n, k;
    long long x_row, x_batch, w_row, w_batch, y_row, y_batch, residual_row, residual_batch;
};

#endif
