// SPDX-License-Identifier: Apache-2.0
// Parameters of the reduce kernels on CUDA: compiled into the host and into the kernels' sources, so plain C only.
#ifndef INVAR_REDUCE_CUDA_PARAMS
#define INVAR_REDUCE_CUDA_PARAMS

struct RowParams {
    long long rows, n, x_row, y_row;  // strides in elements
    float eps;
    float added;  // to the weight: 1 for norms that scale by 1 + weight
};

struct ReduceParams {
    long long outer, n, inner;
    long long chunks, chunk;  // of the axis; elements of one
    float correction;
};

#endif
