// SPDX-License-Identifier: Apache-2.0
// Failures of command buffers, planted by tests or made by kernels; and the lives of objects: leaks, and what is used after it was
// freed.
#include <thread>

#include "metalsim/api_test/fixture.h"

namespace metalsim::test {
namespace {

using Values = std::vector<std::uint32_t>;

TEST_F(Api, InjectedFailuresHaveMetalsCodes) {
    const struct {
        Failure failure;
        MTL::CommandBufferError code;
        const char* words;
    } kCases[] = {{Failure::out_of_memory, MTL::CommandBufferErrorOutOfMemory, "Insufficient Memory"},
                  {Failure::page_fault, MTL::CommandBufferErrorPageFault, "Address Fault"},
                  {Failure::timeout, MTL::CommandBufferErrorTimeout, "Timeout"},
                  {Failure::access_revoked, MTL::CommandBufferErrorAccessRevoked, "SubmissionsIgnored"},
                  {Failure::not_permitted, MTL::CommandBufferErrorNotPermitted, "Permission"},
                  {Failure::internal, MTL::CommandBufferErrorInternal, "Internal"}};
    for (const auto& c : kCases) {
        const Buffer a = buffer_of({1});
        fail_command_buffer(2, c.failure);
        MTL::CommandBuffer* work[3];
        for (MTL::CommandBuffer*& one : work) {
            one = command("increase", {&a}, 1);
            one->commit();
        }
        work[2]->waitUntilCompleted();
        EXPECT_EQ(work[0]->status(), MTL::CommandBufferStatusCompleted);
        ASSERT_EQ(work[1]->status(), MTL::CommandBufferStatusError);
        EXPECT_EQ(work[2]->status(), MTL::CommandBufferStatusCompleted);
        EXPECT_EQ(work[1]->error()->code(), static_cast<NS::Integer>(c.code));
        EXPECT_STREQ(work[1]->error()->domain()->utf8String(), "MTLCommandBufferErrorDomain");
        const std::string text = work[1]->error()->localizedDescription()->utf8String();
        EXPECT_NE(text.find(c.words), std::string::npos) << text;
        EXPECT_EQ(read(a), (Values{3}));
    }
}

TEST_F(Api, AFailureMayBeForALabel) {
    const Buffer a = buffer_of({1});
    fail_command_buffer("bad", Failure::page_fault);
    MTL::CommandBuffer* const good = command("increase", {&a}, 1);
    MTL::CommandBuffer* const bad = command("increase", {&a}, 1);
    bad->setLabel(MTLSTR("bad"));
    good->commit();
    bad->commit();
    bad->waitUntilCompleted();
    EXPECT_EQ(good->status(), MTL::CommandBufferStatusCompleted);
    EXPECT_EQ(bad->status(), MTL::CommandBufferStatusError);
}

TEST_F(Api, ARemovedDeviceStaysAway) {
    const Buffer a = buffer_of({1});
    fail_command_buffer(1, Failure::device_removed);
    for (int i = 0; i < 2; ++i) {
        MTL::CommandBuffer* const work = command("increase", {&a}, 1);
        work->commit();
        work->waitUntilCompleted();
        ASSERT_EQ(work->status(), MTL::CommandBufferStatusError);
        EXPECT_EQ(work->error()->code(), static_cast<NS::Integer>(MTL::CommandBufferErrorDeviceRemoved));
    }
    EXPECT_FALSE(buffer(1));
    EXPECT_EQ(MTL::CreateSystemDefaultDevice(), nullptr);
    std::string why;
    EXPECT_FALSE(library(kKernels, &why));
}

TEST_F(Api, AKernelThatReadsBeyondItsBufferFaults) {
    library_ = library(R"(
#include <metal_stdlib>
using namespace metal;
kernel void beyond(device const uint* in [[buffer(0)]], device uint* out [[buffer(1)]]) { out[0] = in[64]; }
)");
    ASSERT_TRUE(library_);
    const Buffer in = buffer(64), out = buffer(1);
    const auto descriptor = NS::TransferPtr(MTL::CommandBufferDescriptor::alloc()->init());
    descriptor->setErrorOptions(MTL::CommandBufferErrorOptionEncoderExecutionStatus);
    MTL::CommandBuffer* const work = queue_->commandBuffer(descriptor.get());
    auto* const encoder = work->computeCommandEncoder();
    encoder->setLabel(MTLSTR("the reader"));
    encode(encoder, "beyond", {&in, &out}, 1);
    encoder->endEncoding();
    std::string seen;
    work->addCompletedHandler(
        [&](MTL::CommandBuffer* done) { seen = done->error()->localizedDescription()->utf8String(); });
    work->commit();
    work->waitUntilCompleted();
    ASSERT_EQ(work->status(), MTL::CommandBufferStatusError);
    EXPECT_EQ(work->error()->code(), static_cast<NS::Integer>(MTL::CommandBufferErrorPageFault));
    const std::string text = work->error()->localizedDescription()->utf8String();
    EXPECT_NE(text.find("beyond"), std::string::npos) << text;
    finish_handlers();
    EXPECT_EQ(seen, text);
    const auto* const infos =
        work->error()->userInfo()->object<NS::Array>(MTL::CommandBufferEncoderInfoErrorKey);
    ASSERT_NE(infos, nullptr);
    ASSERT_EQ(infos->count(), 1u);
    const auto* const info = infos->object<MTL::CommandBufferEncoderInfo>(0);
    EXPECT_STREQ(info->label()->utf8String(), "the reader");
    EXPECT_EQ(info->errorState(), MTL::CommandEncoderErrorStateFaulted);
}

TEST_F(Api, ObjectsThatAreLeftAreCounted) {
    const auto before = live_objects();
    MTL::Buffer* const leaked = device_->newBuffer(16, MTL::ResourceStorageModeShared);
    auto now = live_objects();
    EXPECT_EQ(now["MTLSimBuffer"], 1);
    leaked->release();
    EXPECT_EQ(live_objects(), before);
    // A command buffer and its encoder go with the pool; what it used goes with the command buffer.
    {
        const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
        const Buffer a = buffer_of({1});
        MTL::CommandBuffer* const work = command("increase", {&a}, 1);
        work->commit();
        work->waitUntilCompleted();
    }
    pipelines_.clear();
    EXPECT_EQ(live_objects(), before);
}

TEST_F(Api, ACommandBufferKeepsWhatItUses) {
    const Buffer out = buffer_of({0});
    Buffer in = buffer_of({1});
    MTL::CommandBuffer* const work = command("add_one", {&out, &in}, 1);
    in.reset();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(read(out), (Values{2}));
}

TEST_F(Api, WithoutRetainedReferencesTheProgramKeepsThem) {
    const Buffer out = buffer_of({0});
    Buffer in = buffer_of({1});
    MTL::CommandBuffer* const work = queue_->commandBufferWithUnretainedReferences();
    auto* const encoder = work->computeCommandEncoder();
    encode(encoder, "add_one", {&out, &in}, 1);
    encoder->endEncoding();
    in.reset();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_VALIDATION("uses a buffer that has been freed");
    EXPECT_EQ(work->status(), MTL::CommandBufferStatusError);
    EXPECT_EQ(read(out), (Values{0}));
}

TEST_F(Api, FreedObjectsAreNoticed) {
    MTL::Buffer* const buffer = device_->newBuffer(16, MTL::ResourceStorageModeShared);
    buffer->release();
    EXPECT_EQ(buffer->length(), 0u);
    EXPECT_VALIDATION("message 'length' sent to a freed MTLSimBuffer");
    buffer->release();
    EXPECT_VALIDATION("message 'release' sent to a freed MTLSimBuffer");
}

TEST_F(Api, WhatThereIsNotIsNamed) {
    device_->newDefaultLibrary();
    EXPECT_VALIDATION("MTLSimDevice does not respond to 'newDefaultLibrary'");
}

TEST_F(Api, AutoreleasingWithoutAPoolIsALeak) {
    std::thread([] { NS::String::string("lost", NS::UTF8StringEncoding)->release(); }).join();
    EXPECT_VALIDATION("NSString autoreleased with no pool in place");
}

// Where nobody collects what validation says, the process ends with it.
TEST_F(Api, ValidationEndsTheProcess) {
    EXPECT_DEATH(
        {
            collect_validation_errors(false);
            queue_->commandBuffer()->waitUntilCompleted();
        },
        "software Metal device: validation: waitUntilCompleted before the commit");
}

}  // namespace
}  // namespace metalsim::test
