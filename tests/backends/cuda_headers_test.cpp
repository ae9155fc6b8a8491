// SPDX-License-Identifier: Apache-2.0
// Our declarations of NVIDIA's functions beside the real headers, where there are any. Built only where cuda.h and nvrtc.h
// were found.
#include <cuda.h>
#include <nvrtc.h>

#include <cstddef>
#include <type_traits>

#include <gtest/gtest.h>

#include "backends/cuda/driver_api.h"
#include "backends/same_call.h"

// Inside the namespace the names of the types are ours, outside of it the headers'.
namespace invar::cuda {
#define INVAR_OURS(member, symbol, parameters) using Ours_##symbol = CUresult parameters;
INVAR_CUDA_DRIVER_API(INVAR_OURS)
INVAR_NVRTC_API(INVAR_OURS)
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
    EXPECT_EQ(o::kCaptureThreadLocal, static_cast<int>(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
}

TEST(CudaHeaders, StructsHaveTheRealLayout) {
    namespace o = invar::cuda;
    static_assert(sizeof(o::CUlaunchConfig) == sizeof(::CUlaunchConfig));
    static_assert(offsetof(o::CUlaunchConfig, stream) == offsetof(::CUlaunchConfig, hStream));
    static_assert(offsetof(o::CUlaunchConfig, attribute_count) == offsetof(::CUlaunchConfig, numAttrs));
    static_assert(sizeof(o::CUlaunchAttribute) == sizeof(::CUlaunchAttribute));
    static_assert(offsetof(o::CUlaunchAttribute, bytes) == offsetof(::CUlaunchAttribute, value));
}

}  // namespace
