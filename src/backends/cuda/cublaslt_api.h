// SPDX-License-Identifier: Apache-2.0
// The entry points of cuBLASLt that this backend uses, declared by us as in driver_api.h; compared with cublasLt.h by
// tests/backends/cuda_headers_test.cpp. Source: cuBLAS library manual.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cuda/driver_api.h"

namespace invar::cuda {

using cublasStatus_t = int;
struct cublasLtContext;
using cublasLtHandle_t = cublasLtContext*;
struct cublasLtMatmulDescOpaque_t;
using cublasLtMatmulDesc_t = cublasLtMatmulDescOpaque_t*;
struct cublasLtMatrixLayoutOpaque_t;
using cublasLtMatrixLayout_t = cublasLtMatrixLayoutOpaque_t*;
struct cublasLtMatmulPreferenceOpaque_t;
using cublasLtMatmulPreference_t = cublasLtMatmulPreferenceOpaque_t*;
struct cublasLtMatmulAlgo_t {
    std::uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
    cublasLtMatmulAlgo_t algo;
    std::size_t workspace_size;
    cublasStatus_t state;
    float waves;
    int reserved[4];
};

#define INVAR_CUBLASLT_API(X)                                                                                \
    X(create, cublasLtCreate, (cublasLtHandle_t*))                                                           \
    X(desc_create, cublasLtMatmulDescCreate, (cublasLtMatmulDesc_t*, int, int))                              \
    X(desc_set, cublasLtMatmulDescSetAttribute, (cublasLtMatmulDesc_t, int, const void*, std::size_t))       \
    X(desc_destroy, cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t))                                       \
    X(layout_create, cublasLtMatrixLayoutCreate,                                                             \
      (cublasLtMatrixLayout_t*, int, std::uint64_t, std::uint64_t, std::int64_t))                            \
    X(layout_set, cublasLtMatrixLayoutSetAttribute, (cublasLtMatrixLayout_t, int, const void*, std::size_t)) \
    X(layout_destroy, cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t))                                 \
    X(preference_create, cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t*))                      \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute,                                                  \
      (cublasLtMatmulPreference_t, int, const void*, std::size_t))                                           \
    X(preference_destroy, cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t))                     \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic,                                                             \
      (cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,               \
       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,                      \
       cublasLtMatmulHeuristicResult_t*, int*))                                                              \
    X(algorithm_get, cublasLtMatmulAlgoConfigGetAttribute,                                                   \
      (const cublasLtMatmulAlgo_t*, int, void*, std::size_t, std::size_t*))                                  \
    X(matmul, cublasLtMatmul,                                                                                \
      (cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void*, cublasLtMatrixLayout_t,             \
       const void*, cublasLtMatrixLayout_t, const void*, const void*, cublasLtMatrixLayout_t, void*,         \
       cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t*, void*, std::size_t, CUstream))

enum : int {
    kLayoutBatchCount = 5,
    kLayoutBatchOffset = 6,
    kDescTransA = 3,
    kDescTransB = 4,
    kDescEpilogue = 7,
    kDescBiasPointer = 8,
    kDescBiasType = 26,
    // relu and gelu (its tanh form) may be joined with the bias.
    kEpilogueRelu = 2,
    kEpilogueBias = 4,
    kEpilogueGelu = 32,
    kPreferenceWorkspace = 1,
    kPreferenceReduction = 3,
    kPreferenceAlignmentA = 5,
    kPreferenceAlignmentB = 6,
    kPreferenceAlignmentC = 7,
    kPreferenceAlignmentD = 8,
    kAlgorithmId = 0,
    kAlgorithmTile = 1,
    kAlgorithmSplits = 2,
    kAlgorithmReduction = 3,
    kAlgorithmSwizzle = 4,
    kAlgorithmOption = 5,
    kAlgorithmStages = 6,
    kAlgorithmInner = 7,
    kAlgorithmCluster = 8,
    // Parts of a sum that is cut along k: one part; or several, kept as f32 in the workspace and summed by a launch of its own.
    kReductionNone = 0,
    kReductionComputeType = 2,
    kRealF32 = 0,
    kRealF16 = 2,
    kRealBf16 = 14,
    kComputeF32 = 68,
    kOperationNone = 0,
    kOperationTranspose = 1,
};

}  // namespace invar::cuda
