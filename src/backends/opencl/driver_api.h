// SPDX-License-Identifier: Apache-2.0
// The entry points of OpenCL 1.2 that this backend uses, declared by us, so that it builds without OpenCL headers. Types
// have the width of cl.h; tests/backends/opencl_headers_test.cpp compares every line with the real header where there is
// one. Only functions that every later version still has are used.
// Source: the OpenCL specification, versions 1.2 and 3.0, unified.
#pragma once

#include <cstddef>
#include <cstdint>

namespace invar::opencl {

using cl_int = std::int32_t;
using cl_uint = std::uint32_t;
using cl_ulong = std::uint64_t;
struct ClPlatform_st;
struct ClDevice_st;
struct ClContext_st;
struct ClQueue_st;
struct ClMemory_st;
struct ClProgram_st;
struct ClKernel_st;
struct ClEvent_st;
using cl_platform_id = ClPlatform_st*;
using cl_device_id = ClDevice_st*;
using cl_context = ClContext_st*;
using cl_command_queue = ClQueue_st*;
using cl_mem = ClMemory_st*;
using cl_program = ClProgram_st*;
using cl_kernel = ClKernel_st*;
using cl_event = ClEvent_st*;

// X(name of the member, exported symbol, result, parameters). Pointers to functions, none of which are used, are void*.
#define INVAR_OPENCL_API(X)                                                                                  \
    X(platforms, clGetPlatformIDs, cl_int, (cl_uint, cl_platform_id*, cl_uint*))                             \
    X(platform_info, clGetPlatformInfo, cl_int, (cl_platform_id, cl_uint, std::size_t, void*, std::size_t*)) \
    X(devices, clGetDeviceIDs, cl_int, (cl_platform_id, cl_ulong, cl_uint, cl_device_id*, cl_uint*))         \
    X(device_info, clGetDeviceInfo, cl_int, (cl_device_id, cl_uint, std::size_t, void*, std::size_t*))       \
    X(context_create, clCreateContext, cl_context,                                                           \
      (const std::intptr_t*, cl_uint, const cl_device_id*, void*, void*, cl_int*))                           \
    X(context_release, clReleaseContext, cl_int, (cl_context))                                               \
    X(queue_create, clCreateCommandQueue, cl_command_queue, (cl_context, cl_device_id, cl_ulong, cl_int*))   \
    X(queue_release, clReleaseCommandQueue, cl_int, (cl_command_queue))                                      \
    X(buffer_create, clCreateBuffer, cl_mem, (cl_context, cl_ulong, std::size_t, void*, cl_int*))            \
    X(memory_release, clReleaseMemObject, cl_int, (cl_mem))                                                  \
    X(program_from_source, clCreateProgramWithSource, cl_program,                                            \
      (cl_context, cl_uint, const char**, const std::size_t*, cl_int*))                                      \
    X(program_from_binary, clCreateProgramWithBinary, cl_program,                                            \
      (cl_context, cl_uint, const cl_device_id*, const std::size_t*, const unsigned char**, cl_int*,         \
       cl_int*))                                                                                             \
    X(program_build, clBuildProgram, cl_int,                                                                 \
      (cl_program, cl_uint, const cl_device_id*, const char*, void*, void*))                                 \
    X(program_info, clGetProgramInfo, cl_int, (cl_program, cl_uint, std::size_t, void*, std::size_t*))       \
    X(build_info, clGetProgramBuildInfo, cl_int,                                                             \
      (cl_program, cl_device_id, cl_uint, std::size_t, void*, std::size_t*))                                 \
    X(program_release, clReleaseProgram, cl_int, (cl_program))                                               \
    X(kernels_create, clCreateKernelsInProgram, cl_int, (cl_program, cl_uint, cl_kernel*, cl_uint*))         \
    X(kernel_info, clGetKernelInfo, cl_int, (cl_kernel, cl_uint, std::size_t, void*, std::size_t*))          \
    X(kernel_group_info, clGetKernelWorkGroupInfo, cl_int,                                                   \
      (cl_kernel, cl_device_id, cl_uint, std::size_t, void*, std::size_t*))                                  \
    X(kernel_release, clReleaseKernel, cl_int, (cl_kernel))                                                  \
    X(kernel_argument, clSetKernelArg, cl_int, (cl_kernel, cl_uint, std::size_t, const void*))               \
    X(launch, clEnqueueNDRangeKernel, cl_int,                                                                \
      (cl_command_queue, cl_kernel, cl_uint, const std::size_t*, const std::size_t*, const std::size_t*,     \
       cl_uint, const cl_event*, cl_event*))                                                                 \
    X(read, clEnqueueReadBuffer, cl_int,                                                                     \
      (cl_command_queue, cl_mem, cl_uint, std::size_t, std::size_t, void*, cl_uint, const cl_event*,         \
       cl_event*))                                                                                           \
    X(write, clEnqueueWriteBuffer, cl_int,                                                                   \
      (cl_command_queue, cl_mem, cl_uint, std::size_t, std::size_t, const void*, cl_uint, const cl_event*,   \
       cl_event*))                                                                                           \
    X(copy, clEnqueueCopyBuffer, cl_int,                                                                     \
      (cl_command_queue, cl_mem, cl_mem, std::size_t, std::size_t, std::size_t, cl_uint, const cl_event*,    \
       cl_event*))                                                                                           \
    X(fill, clEnqueueFillBuffer, cl_int,                                                                     \
      (cl_command_queue, cl_mem, const void*, std::size_t, std::size_t, std::size_t, cl_uint,                \
       const cl_event*, cl_event*))                                                                          \
    X(marker, clEnqueueMarkerWithWaitList, cl_int, (cl_command_queue, cl_uint, const cl_event*, cl_event*))  \
    X(barrier, clEnqueueBarrierWithWaitList, cl_int,                                                         \
      (cl_command_queue, cl_uint, const cl_event*, cl_event*))                                               \
    X(flush, clFlush, cl_int, (cl_command_queue))                                                            \
    X(finish, clFinish, cl_int, (cl_command_queue))                                                          \
    X(events_wait, clWaitForEvents, cl_int, (cl_uint, const cl_event*))                                      \
    X(event_info, clGetEventInfo, cl_int, (cl_event, cl_uint, std::size_t, void*, std::size_t*))             \
    X(event_profiling, clGetEventProfilingInfo, cl_int,                                                      \
      (cl_event, cl_uint, std::size_t, void*, std::size_t*))                                                 \
    X(event_release, clReleaseEvent, cl_int, (cl_event))

// X(constant, name without CL_, value): the results, as messages call them.
#define INVAR_OPENCL_RESULTS(X)                                                \
    X(kSuccess, SUCCESS, 0)                                                    \
    X(kDeviceNotFound, DEVICE_NOT_FOUND, -1)                                   \
    X(kDeviceNotAvailable, DEVICE_NOT_AVAILABLE, -2)                           \
    X(kCompilerNotAvailable, COMPILER_NOT_AVAILABLE, -3)                       \
    X(kMemoryAllocationFailure, MEM_OBJECT_ALLOCATION_FAILURE, -4)             \
    X(kOutOfResources, OUT_OF_RESOURCES, -5)                                   \
    X(kOutOfHostMemory, OUT_OF_HOST_MEMORY, -6)                                \
    X(kBuildProgramFailure, BUILD_PROGRAM_FAILURE, -11)                        \
    X(kMisalignedSubBuffer, MISALIGNED_SUB_BUFFER_OFFSET, -13)                 \
    X(kEventsInWaitListFailed, EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, -14) \
    X(kInvalidValue, INVALID_VALUE, -30)                                       \
    X(kInvalidContext, INVALID_CONTEXT, -34)                                   \
    X(kInvalidCommandQueue, INVALID_COMMAND_QUEUE, -36)                        \
    X(kInvalidMemoryObject, INVALID_MEM_OBJECT, -38)                           \
    X(kInvalidBinary, INVALID_BINARY, -42)                                     \
    X(kInvalidBuildOptions, INVALID_BUILD_OPTIONS, -43)                        \
    X(kInvalidProgram, INVALID_PROGRAM, -44)                                   \
    X(kInvalidProgramExecutable, INVALID_PROGRAM_EXECUTABLE, -45)              \
    X(kInvalidKernel, INVALID_KERNEL, -48)                                     \
    X(kInvalidArgIndex, INVALID_ARG_INDEX, -49)                                \
    X(kInvalidArgValue, INVALID_ARG_VALUE, -50)                                \
    X(kInvalidArgSize, INVALID_ARG_SIZE, -51)                                  \
    X(kInvalidKernelArgs, INVALID_KERNEL_ARGS, -52)                            \
    X(kInvalidWorkDimension, INVALID_WORK_DIMENSION, -53)                      \
    X(kInvalidWorkGroupSize, INVALID_WORK_GROUP_SIZE, -54)                     \
    X(kInvalidWorkItemSize, INVALID_WORK_ITEM_SIZE, -55)                       \
    X(kInvalidEventWaitList, INVALID_EVENT_WAIT_LIST, -57)                     \
    X(kInvalidOperation, INVALID_OPERATION, -59)                               \
    X(kInvalidBufferSize, INVALID_BUFFER_SIZE, -61)                            \
    X(kInvalidGlobalWorkSize, INVALID_GLOBAL_WORK_SIZE, -63)
enum : cl_int {
#define INVAR_RESULT(constant, name, value) constant = value,
    INVAR_OPENCL_RESULTS(INVAR_RESULT)
#undef INVAR_RESULT
        kPlatformNotFound = -1001,  // of the loader (cl_khr_icd): no driver is installed
};

// X(constant, name without CL_, value): what is asked of platforms, devices, programs, kernels and events, and flags.
#define INVAR_OPENCL_NAMES(X)                                     \
    X(kPlatformVersion, PLATFORM_VERSION, 0x0901)                 \
    X(kPlatformName, PLATFORM_NAME, 0x0902)                       \
    X(kDeviceType, DEVICE_TYPE, 0x1000)                           \
    X(kMaxComputeUnits, DEVICE_MAX_COMPUTE_UNITS, 0x1002)         \
    X(kMaxWorkGroupSize, DEVICE_MAX_WORK_GROUP_SIZE, 0x1004)      \
    X(kMaxAllocation, DEVICE_MAX_MEM_ALLOC_SIZE, 0x1010)          \
    X(kMaxParameterSize, DEVICE_MAX_PARAMETER_SIZE, 0x1017)       \
    X(kSingleConfig, DEVICE_SINGLE_FP_CONFIG, 0x101B)             \
    X(kGlobalCacheSize, DEVICE_GLOBAL_MEM_CACHE_SIZE, 0x101E)     \
    X(kGlobalMemory, DEVICE_GLOBAL_MEM_SIZE, 0x101F)              \
    X(kLocalMemory, DEVICE_LOCAL_MEM_SIZE, 0x1023)                \
    X(kEndianLittle, DEVICE_ENDIAN_LITTLE, 0x1026)                \
    X(kDeviceAvailable, DEVICE_AVAILABLE, 0x1027)                 \
    X(kCompilerAvailable, DEVICE_COMPILER_AVAILABLE, 0x1028)      \
    X(kDeviceName, DEVICE_NAME, 0x102B)                           \
    X(kDriverVersion, DRIVER_VERSION, 0x102D)                     \
    X(kDeviceProfile, DEVICE_PROFILE, 0x102E)                     \
    X(kDeviceVersion, DEVICE_VERSION, 0x102F)                     \
    X(kDoubleConfig, DEVICE_DOUBLE_FP_CONFIG, 0x1032)             \
    X(kDeviceExtensions, DEVICE_EXTENSIONS, 0x1030)               \
    X(kHostUnifiedMemory, DEVICE_HOST_UNIFIED_MEMORY, 0x1035)     \
    X(kTypeCpu, DEVICE_TYPE_CPU, 2)                               \
    X(kTypeGpu, DEVICE_TYPE_GPU, 4)                               \
    X(kTypeAccelerator, DEVICE_TYPE_ACCELERATOR, 8)               \
    X(kFpDenorm, FP_DENORM, 1)                                    \
    X(kFpInfNan, FP_INF_NAN, 2)                                   \
    X(kFpRoundToNearest, FP_ROUND_TO_NEAREST, 4)                  \
    X(kFpCorrectlyRounded, FP_CORRECTLY_ROUNDED_DIVIDE_SQRT, 128) \
    X(kMemoryReadWrite, MEM_READ_WRITE, 1)                        \
    X(kMemoryReadOnly, MEM_READ_ONLY, 4)                          \
    X(kMemoryCopyHost, MEM_COPY_HOST_PTR, 32)                     \
    X(kProgramBinarySizes, PROGRAM_BINARY_SIZES, 0x1165)          \
    X(kProgramBinaries, PROGRAM_BINARIES, 0x1166)                 \
    X(kProgramBuildLog, PROGRAM_BUILD_LOG, 0x1183)                \
    X(kKernelFunctionName, KERNEL_FUNCTION_NAME, 0x1190)          \
    X(kKernelArguments, KERNEL_NUM_ARGS, 0x1191)                  \
    X(kKernelWorkGroupSize, KERNEL_WORK_GROUP_SIZE, 0x11B0)       \
    X(kQueueProfiling, QUEUE_PROFILING_ENABLE, 2)                 \
    X(kProfilingEnd, PROFILING_COMMAND_END, 0x1283)               \
    X(kEventStatus, EVENT_COMMAND_EXECUTION_STATUS, 0x11D3)
enum : cl_uint {
#define INVAR_NAME(constant, name, value) constant = value,
    INVAR_OPENCL_NAMES(INVAR_NAME)
#undef INVAR_NAME
    // Of extensions and of OpenCL 3.0; drivers that do not know them answer INVALID_VALUE.
    kWarpSizeNvidia = 0x4003,
    kWavefrontWidthAmd = 0x4043,
    kPreferredGroupMultiple = 0x1067,
};

}  // namespace invar::opencl
