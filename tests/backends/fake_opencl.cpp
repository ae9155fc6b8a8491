// SPDX-License-Identifier: Apache-2.0
// A libOpenCL that computes nothing and fails when it is told to: what no driver at hand does, and a kernel that crashes on a
// GPU would. Loaded by the opencl backend through INVAR_OPENCL_DRIVER (opencl_fake_test.cpp). Kernels are the words after
// "kernel void" in a source. One thread.
#include "backends/fake_opencl.h"

#include <cstring>
#include <string>
#include <vector>

#include <invar/export.h>

#include "backends/opencl/driver_api.h"

namespace invar::opencl {

struct ClPlatform_st {};
struct ClDevice_st {
    const char *name, *version, *profile;
    cl_ulong type, doubles, singles;
};
struct ClEvent_st {
    int status = 0;
    int owners = 1;  // the caller, and the queue while it is held
};
struct ClQueue_st {
    std::vector<ClEvent_st*> held;
};
struct ClMemory_st {};
struct ClProgram_st {
    std::string source;
};
struct ClKernel_st {
    std::string name;
};
struct ClContext_st {};

namespace {

test::FakeOpencl control;
ClPlatform_st platform;
ClContext_st context;
constexpr cl_ulong kGood = kFpDenorm | kFpInfNan | kFpRoundToNearest;
ClDevice_st devices[] = {
    {"old", "OpenCL 1.1 fake", "FULL_PROFILE", kTypeGpu, 63, kGood | kFpCorrectlyRounded},
    {"small", "OpenCL 1.2 fake", "EMBEDDED_PROFILE", kTypeGpu, 63, kGood | kFpCorrectlyRounded},
    {"flushing", "OpenCL 1.2 fake", "FULL_PROFILE", kTypeGpu, 63, kFpInfNan | kFpRoundToNearest},
    {"processor", "OpenCL 3.0 fake", "FULL_PROFILE", kTypeCpu, 63, kGood | kFpCorrectlyRounded},
    {"card", "OpenCL 1.2 fake", "FULL_PROFILE", kTypeGpu, 0, kGood},
};
constexpr std::size_t kUnfit = 3;

cl_int answer(const void* value, std::size_t bytes, std::size_t room, void* to, std::size_t* size) {
    if (size) *size = bytes;
    if (!to) return kSuccess;
    if (room < bytes) return kInvalidValue;
    std::memcpy(to, value, bytes);
    return kSuccess;
}
cl_int answer(const char* text, std::size_t room, void* to, std::size_t* size) {
    return answer(text, std::strlen(text) + 1, room, to, size);
}
template <class T>
cl_int number(T value, std::size_t room, void* to, std::size_t* size) {
    return answer(&value, sizeof value, room, to, size);
}

template <class T>
T* made(T* object, cl_int* result, cl_int value = kSuccess) {
    if (result) *result = value;
    if (value != kSuccess) {
        delete object;
        return nullptr;
    }
    ++control.objects;
    return object;
}
template <class T>
cl_int gone(T* object) {
    delete object;
    --control.objects;
    return kSuccess;
}

void release(ClEvent_st* event) {
    if (--event->owners == 0) gone(event);
}

void finish(ClQueue_st* queue) {
    for (ClEvent_st* event : queue->held) {
        if (event->status > 0) event->status = 0;
        release(event);
    }
    queue->held.clear();
}

// A command: it has ended, well or badly, or waits for somebody to wait.
cl_int enqueue(ClQueue_st* queue, cl_event* event) {
    auto* command = made(new ClEvent_st, nullptr);
    command->status = control.next_command ? control.next_command : control.hold ? 1 : 0;
    control.next_command = 0;
    if (command->status > 0) {
        ++command->owners;
        queue->held.push_back(command);
    }
    if (event)
        *event = command;
    else
        release(command);
    return kSuccess;
}

std::vector<ClQueue_st*> queues;

}  // namespace
}  // namespace invar::opencl

// NOLINTBEGIN(readability-identifier-naming): the names of OpenCL
using namespace invar::opencl;
#define FAKE extern "C" INVAR_API

FAKE invar::test::FakeOpencl* fake_opencl_control() { return &control; }

FAKE cl_int clGetPlatformIDs(cl_uint, cl_platform_id* ids, cl_uint* count) {
    if (ids) *ids = &platform;
    if (count) *count = 1;
    return kSuccess;
}
FAKE cl_int clGetPlatformInfo(cl_platform_id, cl_uint what, std::size_t room, void* to, std::size_t* size) {
    return answer(what == kPlatformName ? "Fake" : "OpenCL 3.0 fake", room, to, size);
}
FAKE cl_int clGetDeviceIDs(cl_platform_id, cl_ulong, cl_uint room, cl_device_id* ids, cl_uint* count) {
    const std::size_t n = control.only_unfit ? kUnfit : std::size(devices);
    for (std::size_t i = 0; i < n && i < room; ++i) ids[i] = &devices[i];
    *count = static_cast<cl_uint>(n);
    return kSuccess;
}
FAKE cl_int clGetDeviceInfo(cl_device_id d, cl_uint what, std::size_t room, void* to, std::size_t* size) {
    switch (what) {
        case kDeviceName: return answer(d->name, room, to, size);
        case kDeviceVersion: return answer(d->version, room, to, size);
        case kDriverVersion: return answer("1", room, to, size);
        case kDeviceProfile: return answer(d->profile, room, to, size);
        case kDeviceType: return number<cl_ulong>(d->type, room, to, size);
        case kSingleConfig: return number<cl_ulong>(d->singles, room, to, size);
        case kDoubleConfig: return number<cl_ulong>(d->doubles, room, to, size);
        case kGlobalMemory: return number<cl_ulong>(1u << 30, room, to, size);
        case kMaxAllocation: return number<cl_ulong>(1u << 28, room, to, size);
        case kLocalMemory: return number<cl_ulong>(1u << 15, room, to, size);
        case kMaxWorkGroupSize: return number<std::size_t>(64, room, to, size);
        case kWavefrontWidthAmd: return number<cl_uint>(64, room, to, size);
        case kWarpSizeNvidia:
        case kPreferredGroupMultiple: return kInvalidValue;
        default: return number<cl_uint>(1, room, to, size);
    }
}
FAKE cl_context clCreateContext(const std::intptr_t*, cl_uint, const cl_device_id*, void*, void*,
                                cl_int* result) {
    *result = kSuccess;
    return &context;
}
FAKE cl_int clReleaseContext(cl_context) { return kSuccess; }
FAKE cl_command_queue clCreateCommandQueue(cl_context, cl_device_id, cl_ulong, cl_int* result) {
    queues.push_back(made(new ClQueue_st, result));
    return queues.back();
}
FAKE cl_int clReleaseCommandQueue(cl_command_queue queue) {
    finish(queue);
    std::erase(queues, queue);
    return gone(queue);
}
FAKE cl_mem clCreateBuffer(cl_context, cl_ulong, std::size_t, void*, cl_int* result) {
    const cl_int told = control.next_buffer;
    control.next_buffer = 0;
    return made(new ClMemory_st, result, told);
}
FAKE cl_int clReleaseMemObject(cl_mem memory) { return gone(memory); }
FAKE cl_program clCreateProgramWithSource(cl_context, cl_uint, const char** text, const std::size_t* size,
                                          cl_int* result) {
    return made(new ClProgram_st{std::string(*text, *size)}, result);
}
FAKE cl_program clCreateProgramWithBinary(cl_context, cl_uint, const cl_device_id*, const std::size_t*,
                                          const unsigned char**, cl_int*, cl_int* result) {
    return made(new ClProgram_st, result, kInvalidBinary);
}
FAKE cl_int clBuildProgram(cl_program, cl_uint, const cl_device_id*, const char* options, void*, void*) {
    std::strncpy(control.options, options, sizeof control.options - 1);
    return kSuccess;
}
FAKE cl_int clGetProgramInfo(cl_program, cl_uint, std::size_t room, void* to, std::size_t* size) {
    return number<std::size_t>(0, room, to, size);  // no binary
}
FAKE cl_int clGetProgramBuildInfo(cl_program, cl_device_id, cl_uint, std::size_t room, void* to,
                                  std::size_t* size) {
    return answer("", room, to, size);
}
FAKE cl_int clReleaseProgram(cl_program program) { return gone(program); }
FAKE cl_int clCreateKernelsInProgram(cl_program program, cl_uint room, cl_kernel* kernels, cl_uint* count) {
    const std::string word = "kernel void ";
    cl_uint n = 0;
    for (std::size_t at = 0; (at = program->source.find(word, at)) != std::string::npos; ++n) {
        at += word.size();
        if (n < room)
            kernels[n] = made(new ClKernel_st{program->source.substr(at, program->source.find('(', at) - at)},
                              nullptr);
    }
    if (count) *count = n;
    return kSuccess;
}
FAKE cl_int clGetKernelInfo(cl_kernel kernel, cl_uint what, std::size_t room, void* to, std::size_t* size) {
    if (what == kKernelFunctionName) return answer(kernel->name.c_str(), room, to, size);
    return number<cl_uint>(0, room, to, size);
}
FAKE cl_int clGetKernelWorkGroupInfo(cl_kernel, cl_device_id, cl_uint, std::size_t room, void* to,
                                     std::size_t* size) {
    return number<std::size_t>(64, room, to, size);
}
FAKE cl_int clReleaseKernel(cl_kernel kernel) { return gone(kernel); }
FAKE cl_int clSetKernelArg(cl_kernel, cl_uint, std::size_t, const void*) { return kSuccess; }
FAKE cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel, cl_uint, const std::size_t*,
                                   const std::size_t*, const std::size_t*, cl_uint, const cl_event*,
                                   cl_event* event) {
    const cl_int told = control.next_launch;
    control.next_launch = 0;
    return told ? told : enqueue(queue, event);
}
FAKE cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem, cl_uint, std::size_t, std::size_t, void*,
                                cl_uint, const cl_event*, cl_event* event) {
    return enqueue(queue, event);
}
FAKE cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem, cl_uint, std::size_t, std::size_t,
                                 const void*, cl_uint, const cl_event*, cl_event* event) {
    return enqueue(queue, event);
}
FAKE cl_int clEnqueueCopyBuffer(cl_command_queue queue, cl_mem, cl_mem, std::size_t, std::size_t, std::size_t,
                                cl_uint, const cl_event*, cl_event* event) {
    return enqueue(queue, event);
}
FAKE cl_int clEnqueueFillBuffer(cl_command_queue queue, cl_mem, const void*, std::size_t, std::size_t,
                                std::size_t, cl_uint, const cl_event*, cl_event* event) {
    return enqueue(queue, event);
}
FAKE cl_int clEnqueueMarkerWithWaitList(cl_command_queue queue, cl_uint, const cl_event*, cl_event* event) {
    return enqueue(queue, event);
}
FAKE cl_int clEnqueueBarrierWithWaitList(cl_command_queue queue, cl_uint, const cl_event*, cl_event* event) {
    return enqueue(queue, event);
}
FAKE cl_int clFlush(cl_command_queue) { return kSuccess; }
FAKE cl_int clFinish(cl_command_queue queue) {
    for (ClQueue_st* other : queues) finish(other);  // it may wait for any of them
    (void)queue;
    return control.finish;
}
FAKE cl_int clWaitForEvents(cl_uint, const cl_event* event) {
    for (ClQueue_st* queue : queues) finish(queue);
    return (*event)->status < 0 ? kEventsInWaitListFailed : kSuccess;
}
FAKE cl_int clGetEventInfo(cl_event event, cl_uint, std::size_t room, void* to, std::size_t* size) {
    return number<cl_int>(event->status, room, to, size);
}
FAKE cl_int clGetEventProfilingInfo(cl_event, cl_uint, std::size_t, void*, std::size_t*) {
    return kInvalidValue;  // it has no clock
}
FAKE cl_int clReleaseEvent(cl_event event) {
    release(event);
    return kSuccess;
}
// NOLINTEND(readability-identifier-naming)
