// SPDX-License-Identifier: Apache-2.0
// Our declarations of NVIDIA's functions beside the real headers, where there are any. Built only where cuda.h and nvrtc.h
// were found.
#include <cuda.h>
#include <nvrtc.h>
#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#define INVAR_HAVE_CUBLASLT
#endif

#include <cstddef>
#include <type_traits>

#include <gtest/gtest.h>

#include "backends/cuda/cublaslt_api.h"
#include "backends/cuda/driver_api.h"
#include "backends/same_call.h"

// Inside the namespace the names of the types are ours, outside of it the headers'.
namespace invar::cuda {
#define INVAR_OURS(member, symbol, parameters) using Ours_##symbol = CUresult parameters;
INVAR_CUDA_DRIVER_API(INVAR_OURS)
INVAR_NVRTC_API(INVAR_OURS)
#ifdef INVAR_HAVE_CUBLASLT
INVAR_CUBLASLT_API(INVAR_OURS)
#endif
#undef INVAR_OURS
}  // namespace invar::cuda

namespace {

using invar::test::SameCall;

TEST(CudaHeaders, DeclarationsHaveTheRealShape) {
#define INVAR_COMPARE(member, symbol, parameters)                                                          \
    EXPECT_TRUE((SameCall<invar::cuda::Ours_##symbol, std::remove_pointer_t<decltype(&::symbol)>>::value)) \
        << #symbol;
    INVAR_CUDA_DRIVER_API(INVAR_COMPARE)
    INVAR_NVRTC_API(INVAR_COMPARE)
#ifdef INVAR_HAVE_CUBLASLT
    INVAR_CUBLASLT_API(INVAR_COMPARE)
#endif
}

TEST(CudaHeaders, ValuesAreTheRealOnes) {
    namespace o = invar::cuda;
    EXPECT_EQ(o::kInvalidValue, static_cast<int>(CUDA_ERROR_INVALID_VALUE));
    EXPECT_EQ(o::kOutOfMemoryResult, static_cast<int>(CUDA_ERROR_OUT_OF_MEMORY));
    EXPECT_EQ(o::kInvalidImage, static_cast<int>(CUDA_ERROR_INVALID_IMAGE));
    EXPECT_EQ(o::kNoBinaryForGpu, static_cast<int>(CUDA_ERROR_NO_BINARY_FOR_GPU));
    EXPECT_EQ(o::kEccUncorrectable, static_cast<int>(CUDA_ERROR_ECC_UNCORRECTABLE));
    EXPECT_EQ(o::kContained, static_cast<int>(CUDA_ERROR_CONTAINED));
    EXPECT_EQ(o::kNotReady, static_cast<int>(CUDA_ERROR_NOT_READY));
    EXPECT_EQ(o::kIllegalAddress, static_cast<int>(CUDA_ERROR_ILLEGAL_ADDRESS));
    EXPECT_EQ(o::kLaunchOutOfResources, static_cast<int>(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES));
    EXPECT_EQ(o::kLaunchTimeout, static_cast<int>(CUDA_ERROR_LAUNCH_TIMEOUT));
    EXPECT_EQ(o::kContextIsDestroyed, static_cast<int>(CUDA_ERROR_CONTEXT_IS_DESTROYED));
    EXPECT_EQ(o::kAssert, static_cast<int>(CUDA_ERROR_ASSERT));
    EXPECT_EQ(o::kHardwareStackError, static_cast<int>(CUDA_ERROR_HARDWARE_STACK_ERROR));
    EXPECT_EQ(o::kIllegalInstruction, static_cast<int>(CUDA_ERROR_ILLEGAL_INSTRUCTION));
    EXPECT_EQ(o::kMisalignedAddress, static_cast<int>(CUDA_ERROR_MISALIGNED_ADDRESS));
    EXPECT_EQ(o::kInvalidAddressSpace, static_cast<int>(CUDA_ERROR_INVALID_ADDRESS_SPACE));
    EXPECT_EQ(o::kInvalidPc, static_cast<int>(CUDA_ERROR_INVALID_PC));
    EXPECT_EQ(o::kLaunchFailedResult, static_cast<int>(CUDA_ERROR_LAUNCH_FAILED));
    EXPECT_EQ(o::kUnknown, static_cast<int>(CUDA_ERROR_UNKNOWN));

    EXPECT_EQ(o::kMaxThreadsPerBlock, static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK));
    EXPECT_EQ(o::kWarpSize, static_cast<int>(CU_DEVICE_ATTRIBUTE_WARP_SIZE));
    EXPECT_EQ(o::kMultiprocessors, static_cast<int>(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
    EXPECT_EQ(o::kIntegrated, static_cast<int>(CU_DEVICE_ATTRIBUTE_INTEGRATED));
    EXPECT_EQ(o::kL2CacheSize, static_cast<int>(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE));
    EXPECT_EQ(o::kComputeMajor, static_cast<int>(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
    EXPECT_EQ(o::kComputeMinor, static_cast<int>(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
    EXPECT_EQ(o::kSharedMemoryOptin, static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
    EXPECT_EQ(o::kFunctionMaxDynamicShared,
              static_cast<int>(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES));
    EXPECT_EQ(o::kEventDefault, static_cast<int>(CU_EVENT_DEFAULT));
    EXPECT_EQ(o::kEventDisableTiming, static_cast<int>(CU_EVENT_DISABLE_TIMING));
    EXPECT_EQ(o::kStreamNonBlocking, static_cast<int>(CU_STREAM_NON_BLOCKING));
    EXPECT_EQ(o::kHostAllocMapped, static_cast<int>(CU_MEMHOSTALLOC_DEVICEMAP));
    EXPECT_EQ(o::kProgrammaticStreamSerialization,
              static_cast<int>(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION));
    EXPECT_EQ(o::kTensorMapF16, static_cast<int>(CU_TENSOR_MAP_DATA_TYPE_FLOAT16));
    EXPECT_EQ(o::kTensorMapBf16, static_cast<int>(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16));
    EXPECT_EQ(o::kTensorMapSwizzle128, static_cast<int>(CU_TENSOR_MAP_SWIZZLE_128B));
    EXPECT_EQ(o::kTensorMapPromotion256, static_cast<int>(CU_TENSOR_MAP_L2_PROMOTION_L2_256B));
    EXPECT_EQ(o::kCaptureThreadLocal, static_cast<int>(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
}

#ifdef INVAR_HAVE_CUBLASLT
TEST(CudaHeaders, ValuesOfCublasLtAreTheRealOnes) {
    namespace o = invar::cuda;
    EXPECT_EQ(o::kLayoutBatchCount, static_cast<int>(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT));
    EXPECT_EQ(o::kLayoutBatchOffset, static_cast<int>(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET));
    EXPECT_EQ(o::kDescTransA, static_cast<int>(CUBLASLT_MATMUL_DESC_TRANSA));
    EXPECT_EQ(o::kDescTransB, static_cast<int>(CUBLASLT_MATMUL_DESC_TRANSB));
    EXPECT_EQ(o::kDescEpilogue, static_cast<int>(CUBLASLT_MATMUL_DESC_EPILOGUE));
    EXPECT_EQ(o::kDescBiasPointer, static_cast<int>(CUBLASLT_MATMUL_DESC_BIAS_POINTER));
    EXPECT_EQ(o::kDescBiasType, static_cast<int>(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE));
    EXPECT_EQ(o::kEpilogueRelu, static_cast<int>(CUBLASLT_EPILOGUE_RELU));
    EXPECT_EQ(o::kEpilogueBias, static_cast<int>(CUBLASLT_EPILOGUE_BIAS));
    EXPECT_EQ(o::kEpilogueGelu, static_cast<int>(CUBLASLT_EPILOGUE_GELU));
    EXPECT_EQ(o::kEpilogueGelu | o::kEpilogueBias, static_cast<int>(CUBLASLT_EPILOGUE_GELU_BIAS));
    EXPECT_EQ(o::kPreferenceWorkspace, static_cast<int>(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES));
    EXPECT_EQ(o::kPreferenceReduction, static_cast<int>(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK));
    EXPECT_EQ(o::kPreferenceAlignmentA, static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES));
    EXPECT_EQ(o::kPreferenceAlignmentB, static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES));
    EXPECT_EQ(o::kPreferenceAlignmentC, static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES));
    EXPECT_EQ(o::kPreferenceAlignmentD, static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES));
    EXPECT_EQ(o::kAlgorithmId, static_cast<int>(CUBLASLT_ALGO_CONFIG_ID));
    EXPECT_EQ(o::kAlgorithmTile, static_cast<int>(CUBLASLT_ALGO_CONFIG_TILE_ID));
    EXPECT_EQ(o::kAlgorithmSplits, static_cast<int>(CUBLASLT_ALGO_CONFIG_SPLITK_NUM));
    EXPECT_EQ(o::kAlgorithmReduction, static_cast<int>(CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME));
    EXPECT_EQ(o::kAlgorithmSwizzle, static_cast<int>(CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING));
    EXPECT_EQ(o::kAlgorithmOption, static_cast<int>(CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION));
    EXPECT_EQ(o::kAlgorithmStages, static_cast<int>(CUBLASLT_ALGO_CONFIG_STAGES_ID));
    EXPECT_EQ(o::kAlgorithmInner, static_cast<int>(CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID));
    EXPECT_EQ(o::kAlgorithmCluster, static_cast<int>(CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID));
    EXPECT_EQ(o::kReductionNone, static_cast<int>(CUBLASLT_REDUCTION_SCHEME_NONE));
    EXPECT_EQ(o::kReductionComputeType, static_cast<int>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    EXPECT_EQ(o::kRealF32, static_cast<int>(CUDA_R_32F));
    EXPECT_EQ(o::kRealF16, static_cast<int>(CUDA_R_16F));
    EXPECT_EQ(o::kRealBf16, static_cast<int>(CUDA_R_16BF));
    EXPECT_EQ(o::kComputeF32, static_cast<int>(CUBLAS_COMPUTE_32F));
    EXPECT_EQ(o::kOperationNone, static_cast<int>(CUBLAS_OP_N));
    EXPECT_EQ(o::kOperationTranspose, static_cast<int>(CUBLAS_OP_T));
    static_assert(sizeof(o::cublasLtMatmulAlgo_t) == sizeof(::cublasLtMatmulAlgo_t));
    static_assert(sizeof(o::cublasLtMatmulHeuristicResult_t) == sizeof(::cublasLtMatmulHeuristicResult_t));
    static_assert(offsetof(o::cublasLtMatmulHeuristicResult_t, state) ==
                  offsetof(::cublasLtMatmulHeuristicResult_t, state));
}
#endif

TEST(CudaHeaders, StructsHaveTheRealLayout) {
    namespace o = invar::cuda;
    static_assert(sizeof(o::CUtensorMap) == sizeof(::CUtensorMap));
    static_assert(sizeof(o::CUlaunchConfig) == sizeof(::CUlaunchConfig));
    static_assert(offsetof(o::CUlaunchConfig, stream) == offsetof(::CUlaunchConfig, hStream));
    static_assert(offsetof(o::CUlaunchConfig, attribute_count) == offsetof(::CUlaunchConfig, numAttrs));
    static_assert(sizeof(o::CUlaunchAttribute) == sizeof(::CUlaunchAttribute));
    static_assert(offsetof(o::CUlaunchAttribute, bytes) == offsetof(::CUlaunchAttribute, value));
}

}  // namespace
