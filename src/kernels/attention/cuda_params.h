// SPDX-License-Identifier: Apache-2.0
// Parameters of the attention kernels on CUDA: compiled into the host and into the kernels' sources, so plain C only.
#ifndef INVAR_ATTENTION_CUDA_PARAMS
#define INVAR_ATTENTION_CUDA_PARAMS

struct CacheParams {
    long long blocks, table_rows, table_columns;
    int kv_heads, head_dim;
};

struct AppendParams {
    struct CacheParams cache;
    long long tokens, k_token, k_head, v_token, v_head;  // strides in elements
};

struct AttentionParams {
    struct CacheParams cache;
    long long tokens, heads;
    long long q_token, q_head;  // strides in elements
    long long window, longest, mask_columns;
    long long splits;          // of the grid, in the decode kernel
    long long k_head, v_head;  // of the token that the decode kernel appends
    float scale, softcap;
};

#endif
