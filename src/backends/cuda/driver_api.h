// SPDX-License-Identifier: Apache-2.0
// The entry points of NVIDIA's driver (libcuda) and run-time compiler (libnvrtc) that this backend uses, declared by us, so
// that it builds without a CUDA toolkit. Types have the width and the calling convention of cuda.h and nvrtc.h;
// tests/backends/cuda_headers_test.cpp compares every line with the real headers where there are any. Symbols carry the
// version suffix under which libcuda exports them, which stays when a newer header renames its macro.
// Source: CUDA Driver API and NVRTC reference manuals.
#pragma once

#include <cstddef>
#include <cstdint>

namespace invar::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = std::uint64_t;
struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using CUcontext = CUctx_st*;
using CUmodule = CUmod_st*;
using CUfunction = CUfunc_st*;
using CUstream = CUstream_st*;
using CUevent = CUevent_st*;
using CUgraph = CUgraph_st*;
using CUgraphExec = CUgraphExec_st*;
// CUlaunchAttribute and CUlaunchConfig of cuda.h, with the one attribute that is used spelled out.
struct CUlaunchAttribute {
    int id;
    char pad[4];
    union {
        void* aligned;
        char bytes[64];
        int programmatic_stream_serialization;
    };
};
struct CUlaunchConfig {
    unsigned grid_x, grid_y, grid_z;
    unsigned block_x, block_y, block_z;
    unsigned shared_bytes;
    CUstream stream;
    CUlaunchAttribute* attributes;
    unsigned attribute_count;
};
struct alignas(64) CUtensorMap {
    std::uint64_t opaque[16];
};
struct NvrtcProgram_st;
using nvrtcProgram = NvrtcProgram_st*;
using nvrtcResult = int;

// X(name of the member, exported symbol, parameters). All return CUresult.
#define INVAR_CUDA_DRIVER_API(X)                                                                             \
    X(init, cuInit, (unsigned))                                                                              \
    X(driver_version, cuDriverGetVersion, (int*))                                                            \
    X(error_name, cuGetErrorName, (CUresult, const char**))                                                  \
    X(error_string, cuGetErrorString, (CUresult, const char**))                                              \
    X(device_count, cuDeviceGetCount, (int*))                                                                \
    X(device_get, cuDeviceGet, (CUdevice*, int))                                                             \
    X(device_name, cuDeviceGetName, (char*, int, CUdevice))                                                  \
    X(device_attribute, cuDeviceGetAttribute, (int*, int, CUdevice))                                         \
    X(device_memory, cuDeviceTotalMem_v2, (std::size_t*, CUdevice))                                          \
    X(context_retain, cuDevicePrimaryCtxRetain, (CUcontext*, CUdevice))                                      \
    X(context_release, cuDevicePrimaryCtxRelease_v2, (CUdevice))                                             \
    X(context_reset, cuDevicePrimaryCtxReset_v2, (CUdevice))                                                 \
    X(context_set, cuCtxSetCurrent, (CUcontext))                                                             \
    X(memory_info, cuMemGetInfo_v2, (std::size_t*, std::size_t*))                                            \
    X(memory_allocate, cuMemAlloc_v2, (CUdeviceptr*, std::size_t))                                           \
    X(memory_free, cuMemFree_v2, (CUdeviceptr))                                                              \
    X(host_allocate, cuMemHostAlloc, (void**, std::size_t, unsigned))                                        \
    X(host_free, cuMemFreeHost, (void*))                                                                     \
    X(host_pointer, cuMemHostGetDevicePointer_v2, (CUdeviceptr*, void*, unsigned))                           \
    X(copy_to_device, cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void*, std::size_t, CUstream))               \
    X(copy_to_device_now, cuMemcpyHtoD_v2, (CUdeviceptr, const void*, std::size_t))                          \
    X(copy_to_host, cuMemcpyDtoHAsync_v2, (void*, CUdeviceptr, std::size_t, CUstream))                       \
    X(copy_on_device, cuMemcpyDtoDAsync_v2, (CUdeviceptr, CUdeviceptr, std::size_t, CUstream))               \
    X(copy_between, cuMemcpyPeerAsync,                                                                       \
      (CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, std::size_t, CUstream))                               \
    X(fill, cuMemsetD8Async, (CUdeviceptr, unsigned char, std::size_t, CUstream))                            \
    X(stream_create, cuStreamCreate, (CUstream*, unsigned))                                                  \
    X(stream_destroy, cuStreamDestroy_v2, (CUstream))                                                        \
    X(stream_synchronize, cuStreamSynchronize, (CUstream))                                                   \
    X(stream_wait, cuStreamWaitEvent, (CUstream, CUevent, unsigned))                                         \
    X(capture_begin, cuStreamBeginCapture_v2, (CUstream, int))                                               \
    X(capture_end, cuStreamEndCapture, (CUstream, CUgraph*))                                                 \
    X(event_create, cuEventCreate, (CUevent*, unsigned))                                                     \
    X(event_destroy, cuEventDestroy_v2, (CUevent))                                                           \
    X(event_record, cuEventRecord, (CUevent, CUstream))                                                      \
    X(event_query, cuEventQuery, (CUevent))                                                                  \
    X(event_synchronize, cuEventSynchronize, (CUevent))                                                      \
    X(event_elapsed, cuEventElapsedTime, (float*, CUevent, CUevent))                                         \
    X(graph_instantiate, cuGraphInstantiateWithFlags, (CUgraphExec*, CUgraph, unsigned long long))           \
    X(graph_launch, cuGraphLaunch, (CUgraphExec, CUstream))                                                  \
    X(graph_exec_destroy, cuGraphExecDestroy, (CUgraphExec))                                                 \
    X(graph_destroy, cuGraphDestroy, (CUgraph))                                                              \
    X(module_load, cuModuleLoadData, (CUmodule*, const void*))                                               \
    X(module_unload, cuModuleUnload, (CUmodule))                                                             \
    X(module_function_count, cuModuleGetFunctionCount, (unsigned*, CUmodule))                                \
    X(module_functions, cuModuleEnumerateFunctions, (CUfunction*, unsigned, CUmodule))                       \
    X(function_name, cuFuncGetName, (const char**, CUfunction))                                              \
    X(function_parameter, cuFuncGetParamInfo, (CUfunction, std::size_t, std::size_t*, std::size_t*))         \
    X(function_set_attribute, cuFuncSetAttribute, (CUfunction, int, int))                                    \
    X(tensor_map, cuTensorMapEncodeTiled,                                                                    \
      (CUtensorMap*, int, unsigned, void*, const std::uint64_t*, const std::uint64_t*, const std::uint32_t*, \
       const std::uint32_t*, int, int, int, int))                                                            \
    X(launch, cuLaunchKernelEx, (const CUlaunchConfig*, CUfunction, void**, void**))

// All return nvrtcResult, but error_string.
#define INVAR_NVRTC_API(X)                                                                    \
    X(version, nvrtcVersion, (int*, int*))                                                    \
    X(create, nvrtcCreateProgram,                                                             \
      (nvrtcProgram*, const char*, const char*, int, const char* const*, const char* const*)) \
    X(destroy, nvrtcDestroyProgram, (nvrtcProgram*))                                          \
    X(compile, nvrtcCompileProgram, (nvrtcProgram, int, const char* const*))                  \
    X(log_size, nvrtcGetProgramLogSize, (nvrtcProgram, std::size_t*))                         \
    X(log, nvrtcGetProgramLog, (nvrtcProgram, char*))                                         \
    X(cubin_size, nvrtcGetCUBINSize, (nvrtcProgram, std::size_t*))                            \
    X(cubin, nvrtcGetCUBIN, (nvrtcProgram, char*))

// The values of CUresult that are told apart.
enum : CUresult {
    kSuccess = 0,
    kInvalidValue = 1,
    kOutOfMemoryResult = 2,
    kInvalidImage = 200,
    kNoBinaryForGpu = 209,
    kEccUncorrectable = 214,
    kContained = 226,  // an uncorrectable memory error, contained to the process
    kNotReady = 600,
    kIllegalAddress = 700,
    kLaunchOutOfResources = 701,
    kLaunchTimeout = 702,
    kContextIsDestroyed = 709,
    kAssert = 710,
    kHardwareStackError = 714,
    kIllegalInstruction = 715,
    kMisalignedAddress = 716,
    kInvalidAddressSpace = 717,
    kInvalidPc = 718,
    kLaunchFailedResult = 719,
    kUnknown = 999,
};

// CUdevice_attribute, CUfunction_attribute, flags.
enum : int {
    kMaxThreadsPerBlock = 1,
    kWarpSize = 10,
    kMultiprocessors = 16,
    kIntegrated = 18,
    kL2CacheSize = 38,
    kComputeMajor = 75,
    kComputeMinor = 76,
    kSharedMemoryOptin = 97,
    kFunctionMaxDynamicShared = 8,
    kEventDefault = 0,
    kEventDisableTiming = 2,
    kStreamNonBlocking = 1,
    kHostAllocMapped = 2,
    kCaptureThreadLocal = 1,
    kProgrammaticStreamSerialization = 6,
    kTensorMapF16 = 6,
    kTensorMapBf16 = 9,
    kTensorMapSwizzle128 = 3,
    kTensorMapPromotion256 = 3,  // of what is read to lines of 256 bytes in L2
};

}  // namespace invar::cuda
