// SPDX-License-Identifier: Apache-2.0
// Parameters of the random kernels on CUDA: compiled into the host and into the kernels' sources, so plain C only.
#ifndef INVAR_RANDOM_CUDA_PARAMS
#define INVAR_RANDOM_CUDA_PARAMS

struct FillParams {
    long long count;
    unsigned long long seed, stream;
    float base, factor;
};

struct SampleParams {
    long long rows, vocab, logits_row, history_columns;
    long long chunks, row_bytes;  // of a row: results of its chunks, then vocab logits
};

#endif
