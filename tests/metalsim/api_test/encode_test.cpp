// SPDX-License-Identifier: Apache-2.0
// What encoders take, and what they refuse.
#include "metalsim/api_test/fixture.h"

namespace metalsim::test {
namespace {

using Values = std::vector<std::uint32_t>;

TEST_F(Api, BytesAndOffsetsOfArguments) {
    const Buffer out = buffer_of({0, 0, 0, 0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder();
    encoder->setComputePipelineState(pipeline("set_to"));
    encoder->setBuffer(out.get(), 0, 0);
    encoder->setBufferOffset(4, 0);
    std::uint32_t value = 70;
    encoder->setBytes(&value, sizeof value, 1);
    value = 0;  // it was copied
    encoder->dispatchThreads(MTL::Size(2, 1, 1), MTL::Size(1, 1, 1));
    encoder->endEncoding();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(read(out), (Values{0, 70, 71, 0}));
}

TEST_F(Api, ThreadsThatDoNotFillTheLastThreadgroup) {
    const Buffer out = buffer_of(Values(7, 0));
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder();
    encoder->setComputePipelineState(pipeline("increase"));
    const MTL::Buffer* const buffers[] = {out.get()};
    const NS::UInteger offsets[] = {0};
    encoder->setBuffers(buffers, offsets, NS::Range(0, 1));
    encoder->dispatchThreads(MTL::Size(7, 1, 1), MTL::Size(4, 1, 1));
    encoder->endEncoding();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(read(out), Values(7, 1));
}

TEST_F(Api, IndirectDispatchesReadTheirSizeWhenTheyRun) {
    const Buffer out = buffer_of(Values(4, 0)), size = buffer_of({9, 0, 1, 1});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder();
    encoder->setComputePipelineState(pipeline("increase"));
    encoder->setBuffer(out.get(), 0, 0);
    encoder->dispatchThreadgroups(size.get(), 4, MTL::Size(1, 1, 1));
    encoder->endEncoding();
    static_cast<std::uint32_t*>(size->contents())[1] = 3;
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(read(out), (Values{1, 1, 1, 0}));
}

TEST_F(Api, ThreadgroupMemoryIsSetByTheEncoder) {
    library_ = library(R"(
#include <metal_stdlib>
using namespace metal;
kernel void turn(device uint* out [[buffer(0)]], threadgroup uint* room [[threadgroup(0)]],
                 uint i [[thread_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
    room[i] = out[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = room[n - 1 - i];
}
)");
    ASSERT_TRUE(library_);
    const Buffer out = buffer_of({1, 2, 3, 4});
    const auto run = [&](NS::UInteger bytes) {
        MTL::CommandBuffer* const work = queue_->commandBuffer();
        auto* const encoder = work->computeCommandEncoder();
        encoder->setComputePipelineState(pipeline("turn"));
        encoder->setBuffer(out.get(), 0, 0);
        if (bytes > 0) encoder->setThreadgroupMemoryLength(bytes, 0);
        encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(4, 1, 1));
        encoder->endEncoding();
        work->commit();
        work->waitUntilCompleted();
    };
    run(16);
    EXPECT_EQ(read(out), (Values{4, 3, 2, 1}));
    run(0);
    EXPECT_VALIDATION("argument 'room' at index 0: setThreadgroupMemoryLength has not been called");
    run(20);
    const std::string said = validation();
    EXPECT_NE(said.find("20 is not a multiple of 16"), std::string::npos) << said;
    run((32 << 10) + 16);
    EXPECT_VALIDATION("32784 bytes of threadgroup memory; the device has 32768");
    EXPECT_EQ(read(out), (Values{4, 3, 2, 1}));
}

TEST_F(Api, UnboundArgumentsAreNamed) {
    const Buffer out = buffer_of({0});
    command("add_one", {&out}, 1);
    EXPECT_VALIDATION("dispatch of 'add_one': argument 'in' at index 1: nothing is bound");
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder();
    encoder->setComputePipelineState(pipeline("set_to"));
    encoder->setBuffer(out.get(), 0, 0);
    const std::uint8_t small = 0;
    encoder->setBytes(&small, 1, 1);
    encoder->dispatchThreads(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    EXPECT_VALIDATION("argument 'value' at index 1: 1 bytes are bound where the argument has 4");
    encoder->endEncoding();
}

TEST_F(Api, OffsetsFitTheTypeOfTheArgument) {
    const Buffer a = buffer_of({0, 0}), b = buffer_of({0, 0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder();
    encoder->setComputePipelineState(pipeline("add_one"));
    encoder->setBuffer(a.get(), 0, 0);
    encoder->setBuffer(b.get(), 2, 1);
    encoder->dispatchThreads(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    EXPECT_VALIDATION("argument 'in' at index 1: offset 2 is not a multiple of 4");
    encoder->endEncoding();
}

TEST_F(Api, PipelinesMayAllowFewerThreads) {
    DeviceOptions options;
    options.pipeline_threads = 384;
    set_device_options(options);
    EXPECT_EQ(pipeline("increase")->maxTotalThreadsPerThreadgroup(), 384u);
}

// Buffers swapped: nothing but the result says so, since both are bound.
TEST_F(Api, WrongBindingsGiveWrongResults) {
    const Buffer in = buffer_of({1, 2}), out = buffer_of({0, 0});
    MTL::CommandBuffer* const work = command("add_one", {&in, &out}, 2);
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(read(out), (Values{0, 0}));
    EXPECT_EQ(read(in), (Values{1, 1}));
}

TEST_F(Api, WhatAnEncoderCannotTakeIsRefused) {
    const Buffer out = buffer_of({0, 0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder();
    encoder->dispatchThreads(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    EXPECT_VALIDATION("a dispatch without a pipeline");
    encoder->setBuffer(out.get(), 0, 31);
    EXPECT_VALIDATION("index 31 of a kernel's argument is over 30");
    encoder->setBuffer(out.get(), 8, 0);
    EXPECT_VALIDATION("offset 8 of buffer '' of 8 bytes");
    const std::vector<std::byte> much(4097);
    encoder->setBytes(much.data(), much.size(), 0);
    EXPECT_VALIDATION("setBytes of 4097 bytes");
    encoder->setBufferOffset(0, 5);
    EXPECT_VALIDATION("no buffer is bound to index 5");
    encoder->setComputePipelineState(pipeline("increase"));
    encoder->setBuffer(out.get(), 0, 0);
    encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1025, 1, 1));
    EXPECT_VALIDATION("threadgroups of 1025 x 1 x 1 threads; the pipeline allows 1024");
    encoder->dispatchThreadgroups(MTL::Size(0, 1, 1), MTL::Size(1, 1, 1));
    EXPECT_VALIDATION("empty grid");
    encoder->popDebugGroup();
    EXPECT_VALIDATION("popDebugGroup without a group");
    encoder->pushDebugGroup(MTLSTR("outer"));
    encoder->endEncoding();
    EXPECT_VALIDATION("ends within the debug group 'outer'");
    encoder->setBuffer(out.get(), 0, 0);
    EXPECT_VALIDATION("setBuffer after endEncoding");
}

TEST_F(Api, CommandBuffersAreCommittedOnceWithoutOpenEncoders) {
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    work->setLabel(MTLSTR("the work"));
    work->waitUntilCompleted();
    EXPECT_VALIDATION("waitUntilCompleted before the commit of command buffer 'the work'");
    auto* const encoder = work->computeCommandEncoder();
    EXPECT_EQ(work->blitCommandEncoder(), nullptr);
    EXPECT_VALIDATION("while another encoder is open");
    work->commit();
    EXPECT_VALIDATION("commit of command buffer 'the work' with an encoder that has not ended");
    encoder->endEncoding();
    work->commit();
    work->commit();
    EXPECT_VALIDATION("second commit of command buffer 'the work'");
    work->addCompletedHandler([](MTL::CommandBuffer*) {});
    EXPECT_VALIDATION("a handler is added");
    EXPECT_EQ(work->computeCommandEncoder(), nullptr);
    EXPECT_VALIDATION("is committed");
    work->waitUntilCompleted();
    EXPECT_EQ(work->status(), MTL::CommandBufferStatusCompleted);
}

TEST_F(Api, AnEncoderThatIsLeftOpenIsReported) {
    {
        const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
        queue_->commandBuffer()->computeCommandEncoder()->setLabel(MTLSTR("open"));
    }
    EXPECT_VALIDATION("compute encoder 'open' was released without endEncoding");
}

TEST_F(Api, BlitsCopyAndFill) {
    const Buffer from = buffer_of({1, 2, 3, 4}), to = buffer(4, MTL::ResourceStorageModePrivate),
                 back = buffer_of({0, 0, 0, 0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const blit = work->blitCommandEncoder();
    blit->fillBuffer(to.get(), NS::Range(0, 16), 0xab);
    blit->copyFromBuffer(from.get(), 4, to.get(), 8, 8);
    blit->copyFromBuffer(to.get(), 0, back.get(), 0, 16);
    blit->endEncoding();
    work->commit();
    EXPECT_EQ(read(back), (Values{0, 0, 0, 0}));
    work->waitUntilCompleted();
    EXPECT_EQ(read(back), (Values{0xabababab, 0xabababab, 2, 3}));
    EXPECT_EQ(counters().blits, 3u);
    EXPECT_EQ(counters().bytes_blitted, 40u);
}

TEST_F(Api, BlitsThatDoNotFitAreRefused) {
    const Buffer a = buffer_of({1, 2, 3, 4}), b = buffer_of({0, 0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const blit = work->blitCommandEncoder();
    blit->copyFromBuffer(a.get(), 0, b.get(), 0, 12);
    EXPECT_VALIDATION("destination of copyFromBuffer: 12 bytes at byte 0 of buffer '' of 8");
    blit->copyFromBuffer(a.get(), ~NS::UInteger{0} - 3, b.get(), 0, 8);
    EXPECT_VALIDATION("source of copyFromBuffer");
    blit->copyFromBuffer(a.get(), 0, a.get(), 4, 8);
    EXPECT_VALIDATION("overlap");
    blit->copyFromBuffer(a.get(), 0, b.get(), 0, 6);
    EXPECT_VALIDATION("multiples of 4");
    blit->fillBuffer(b.get(), NS::Range(4, 8), 0);
    EXPECT_VALIDATION("fillBuffer: 8 bytes at byte 4 of buffer '' of 8");
    blit->endEncoding();
}

}  // namespace
}  // namespace metalsim::test
