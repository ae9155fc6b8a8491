// SPDX-License-Identifier: Apache-2.0
// Work on the software device: what runs when, and what a program that gets it wrong sees.
#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "metalsim/api_test/fixture.h"

namespace metalsim::test {
namespace {

using Values = std::vector<std::uint32_t>;

TEST_F(Api, AKernelRunsWhereItIsWaitedFor) {
    const Buffer in = buffer_of({1, 2, 3}), out = buffer_of({0, 0, 0});
    MTL::CommandBuffer* const work = command("add_one", {&out, &in}, 3);
    EXPECT_EQ(work->status(), MTL::CommandBufferStatusNotEnqueued);
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(work->status(), MTL::CommandBufferStatusCompleted);
    EXPECT_EQ(work->error(), nullptr);
    EXPECT_EQ(read(out), (Values{2, 3, 4}));
    EXPECT_GE(work->GPUEndTime(), work->GPUStartTime());
    EXPECT_EQ(counters().dispatches, 1u);
    EXPECT_EQ(counters().threads, 3u);
    EXPECT_EQ(counters().command_buffers, 1u);
}

TEST_F(Api, WithoutAWaitThereIsNothingYet) {
    const Buffer in = buffer_of({1, 2, 3}), out = buffer_of({0, 0, 0});
    MTL::CommandBuffer* const work = command("add_one", {&out, &in}, 3);
    work->commit();
    EXPECT_EQ(read(out), (Values{0, 0, 0}));
    // Who polls gets there in the end.
    int asked = 0;
    while (work->status() != MTL::CommandBufferStatusCompleted) ASSERT_LT(++asked, 100);
    EXPECT_GT(asked, 1);
    EXPECT_EQ(read(out), (Values{2, 3, 4}));
}

TEST_F(Api, CommandBuffersOfAQueueRunInTheOrderOfTheirCommits) {
    for (const Order order : {Order::forward, Order::reverse, Order::shuffled}) {
        set_schedule({order, 7});
        const Buffer a = buffer_of({1, 2}), b = buffer_of({0, 0}), c = buffer_of({0, 0});
        MTL::CommandBuffer* const first = command("add_one", {&b, &a}, 2);
        MTL::CommandBuffer* const second = command("add_one", {&c, &b}, 2);
        first->commit();
        second->commit();
        second->waitUntilCompleted();
        EXPECT_EQ(first->status(), MTL::CommandBufferStatusCompleted);
        EXPECT_EQ(read(c), (Values{3, 4}));
    }
}

TEST_F(Api, EnqueuedCommandBuffersKeepTheirPlace) {
    const Buffer a = buffer_of({1}), b = buffer_of({0}), c = buffer_of({0});
    MTL::CommandBuffer* const first = command("add_one", {&b, &a}, 1);
    MTL::CommandBuffer* const second = command("add_one", {&c, &b}, 1);
    first->enqueue();
    EXPECT_EQ(first->status(), MTL::CommandBufferStatusEnqueued);
    second->commit();
    EXPECT_EQ(second->status(), MTL::CommandBufferStatusCommitted);
    first->commit();
    second->waitUntilCompleted();
    EXPECT_EQ(read(c), (Values{3}));
}

TEST_F(Api, AMissingBarrierShowsUnderSomeOrder) {
    check_hazards(false);
    std::set<Values> seen;
    for (const Order order : {Order::forward, Order::reverse}) {
        set_schedule({order, 0});
        const Buffer a = buffer_of({1}), b = buffer_of({10}), c = buffer_of({0});
        MTL::CommandBuffer* const work = queue_->commandBuffer();
        auto* const encoder = work->computeCommandEncoder(MTL::DispatchTypeConcurrent);
        encode(encoder, "add_one", {&b, &a}, 1);
        encode(encoder, "add_one", {&c, &b}, 1);
        encoder->endEncoding();
        work->commit();
        work->waitUntilCompleted();
        seen.insert(read(c));
    }
    EXPECT_EQ(seen, (std::set<Values>{{3}, {11}}));
}

TEST_F(Api, AMissingBarrierIsReported) {
    const Buffer a = buffer_of({1}), b = buffer_of({10}), c = buffer_of({0});
    b->setLabel(MTLSTR("between"));
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encode(encoder, "add_one", {&b, &a}, 1);
    encode(encoder, "add_one", {&c, &b}, 1);
    encoder->endEncoding();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_VALIDATION("no barrier between 'add_one' and 'add_one'");
}

TEST_F(Api, DispatchesThatOnlyReadTheSameNeedNoBarrier) {
    const Buffer a = buffer_of({1}), b = buffer_of({0}), c = buffer_of({0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encode(encoder, "add_one", {&b, &a}, 1);
    encode(encoder, "add_one", {&c, &a}, 1);
    encoder->endEncoding();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(read(b), read(c));
}

TEST_F(Api, BarriersOrderDispatchesUnderEveryOrder) {
    for (std::uint64_t seed = 0; seed < 8; ++seed)
        for (const bool by_resource : {false, true}) {
            set_schedule({seed == 0 ? Order::reverse : Order::shuffled, seed});
            const Buffer a = buffer_of({1}), b = buffer_of({10}), c = buffer_of({0}), d = buffer_of({0});
            MTL::CommandBuffer* const work = queue_->commandBuffer();
            auto* const encoder = work->computeCommandEncoder(MTL::DispatchTypeConcurrent);
            encode(encoder, "add_one", {&b, &a}, 1);
            encode(encoder, "add_one", {&d, &a}, 1);  // has nothing to do with it
            const MTL::Resource* const between[] = {b.get()};
            if (by_resource)
                encoder->memoryBarrier(between, 1);
            else
                encoder->memoryBarrier(MTL::BarrierScopeBuffers);
            encode(encoder, "add_one", {&c, &b}, 1);
            encoder->endEncoding();
            work->commit();
            work->waitUntilCompleted();
            EXPECT_EQ(read(c), (Values{3}));
            EXPECT_EQ(read(d), (Values{2}));
        }
    EXPECT_EQ(counters().barriers, 16u);
}

TEST_F(Api, ABarrierOfOtherResourcesOrdersNothing) {
    const Buffer a = buffer_of({1}), b = buffer_of({10}), c = buffer_of({0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encode(encoder, "add_one", {&b, &a}, 1);
    const MTL::Resource* const other[] = {a.get()};
    encoder->memoryBarrier(other, 1);
    encode(encoder, "add_one", {&c, &b}, 1);
    encoder->endEncoding();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_VALIDATION("no barrier between");
}

TEST_F(Api, TheSizeOfAnIndirectDispatchIsReadToo) {
    const Buffer size = buffer_of({1, 1, 1}), out = buffer_of({0, 0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encode(encoder, "increase", {&size}, 1);
    encoder->setBuffer(out.get(), 0, 0);
    encoder->dispatchThreadgroups(size.get(), 0, MTL::Size(1, 1, 1));
    encoder->endEncoding();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_VALIDATION("no barrier between 'increase' and 'increase'");
}

TEST_F(Api, BytesOfKernelsAreCounted) {
    DeviceOptions options;
    options.count_memory = true;
    set_device_options(options);
    library_ = library(kKernels);
    const Buffer in = buffer_of({1, 2, 3}), out = buffer_of({0, 0, 0});
    MTL::CommandBuffer* const work = command("add_one", {&out, &in}, 3);
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(read(out), (Values{2, 3, 4}));
    EXPECT_EQ(counters().bytes_loaded, 12u);
    EXPECT_EQ(counters().bytes_stored, 12u);
    EXPECT_EQ(counters().bytes_loaded_once, 12u);
    EXPECT_EQ(counters().bytes_stored_once, 12u);
}

TEST_F(Api, QueuesAreOrderedByEventsAlone) {
    // The second queue reads what the first writes. Without an event some order shows it; with one, none.
    std::set<Values> without, with;
    for (std::uint64_t seed = 0; seed < 16; ++seed)
        for (const bool ordered : {false, true}) {
            set_schedule({seed == 0 ? Order::forward : Order::shuffled, seed});
            const auto other = NS::TransferPtr(device_->newCommandQueue());
            const auto event = NS::TransferPtr(device_->newEvent());
            const Buffer a = buffer_of({1}), b = buffer_of({10}), c = buffer_of({0});
            MTL::CommandBuffer* const first = command("add_one", {&b, &a}, 1);
            if (ordered) first->encodeSignalEvent(event.get(), 1);
            MTL::CommandBuffer* const second = other->commandBuffer();
            if (ordered) second->encodeWait(event.get(), 1);
            auto* const encoder = second->computeCommandEncoder();
            encode(encoder, "add_one", {&c, &b}, 1);
            encoder->endEncoding();
            second->commit();
            first->commit();
            second->waitUntilCompleted();
            (ordered ? with : without).insert(read(c));
            first->waitUntilCompleted();
        }
    EXPECT_EQ(without, (std::set<Values>{{3}, {11}}));
    EXPECT_EQ(with, (std::set<Values>{{3}}));
}

TEST_F(Api, TheProcessorSignalsAndWaitsForSharedEvents) {
    const auto event = NS::TransferPtr(device_->newSharedEvent());
    const Buffer a = buffer_of({1}), b = buffer_of({0});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    work->encodeWait(event.get(), 1);
    auto* const encoder = work->computeCommandEncoder();
    encode(encoder, "add_one", {&b, &a}, 1);
    encoder->endEncoding();
    work->encodeSignalEvent(event.get(), 2);
    work->commit();
    EXPECT_FALSE(event->waitUntilSignaledValue(2, 20));
    EXPECT_EQ(event->signaledValue(), 0u);
    event->setSignaledValue(1);
    EXPECT_TRUE(event->waitUntilSignaledValue(2, 1000));
    EXPECT_EQ(event->signaledValue(), 2u);
    EXPECT_EQ(read(b), (Values{2}));
}

TEST_F(Api, AnotherThreadMaySignalWhileOneWaits) {
    const auto event = NS::TransferPtr(device_->newSharedEvent());
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    work->encodeWait(event.get(), 5);
    work->commit();
    std::thread signals([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        event->setSignaledValue(5);
    });
    work->waitUntilCompleted();
    signals.join();
    EXPECT_EQ(work->status(), MTL::CommandBufferStatusCompleted);
}

TEST_F(Api, AnEventThatNobodySignalsEndsInATimeout) {
    DeviceOptions options;
    options.event_patience_s = 0.05;
    set_device_options(options);
    const auto event = NS::TransferPtr(device_->newEvent());
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    work->encodeWait(event.get(), 1);
    work->commit();
    work->waitUntilCompleted();
    ASSERT_EQ(work->status(), MTL::CommandBufferStatusError);
    EXPECT_EQ(work->error()->code(), static_cast<NS::Integer>(MTL::CommandBufferErrorTimeout));
}

TEST_F(Api, HandlersAreCalledOnAnotherThread) {
    const Buffer a = buffer_of({1}), b = buffer_of({0});
    std::atomic<int> scheduled = 0, completed = 0;
    std::thread::id thread;
    MTL::CommandBuffer* const work = command("add_one", {&b, &a}, 1);
    work->addScheduledHandler([&](MTL::CommandBuffer*) { ++scheduled; });
    work->addCompletedHandler([&](MTL::CommandBuffer* done) {
        thread = std::this_thread::get_id();
        completed += done->status() == MTL::CommandBufferStatusCompleted ? 1 : 100;
    });
    work->commit();
    EXPECT_EQ(completed, 0);
    work->waitUntilScheduled();
    EXPECT_EQ(work->status(), MTL::CommandBufferStatusScheduled);
    work->waitUntilCompleted();
    finish_handlers();
    EXPECT_EQ(scheduled, 1);
    EXPECT_EQ(completed, 1);
    EXPECT_NE(thread, std::this_thread::get_id());
}

TEST_F(Api, AQueueHasRoomForSoManyCommandBuffers) {
    const auto small = NS::TransferPtr(device_->newCommandQueue(2));
    const Buffer a = buffer_of({0});
    std::vector<MTL::CommandBuffer*> all;
    for (int i = 0; i < 5; ++i) {
        all.push_back(command("increase", {&a}, 1, small.get()));
        all.back()->commit();
    }
    // The third had to wait for the first.
    EXPECT_GE(read(a)[0], 3u);
    all.back()->waitUntilCompleted();
    EXPECT_EQ(read(a), (Values{5}));
}

TEST_F(Api, ConcurrentThreadsShareADevice) {
    std::vector<std::thread> threads;
    std::atomic<int> right = 0;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
            const auto queue = NS::TransferPtr(device_->newCommandQueue());
            const auto function = NS::TransferPtr(library_->newFunction(MTLSTR("increase")));
            NS::Error* error = nullptr;
            const auto pipeline = NS::TransferPtr(device_->newComputePipelineState(function.get(), &error));
            const auto start = static_cast<std::uint32_t>(t);
            const auto buffer =
                NS::TransferPtr(device_->newBuffer(&start, 4, MTL::ResourceStorageModeShared));
            for (int i = 0; i < 20; ++i) {
                MTL::CommandBuffer* const work = queue->commandBuffer();
                auto* const encoder = work->computeCommandEncoder();
                encoder->setComputePipelineState(pipeline.get());
                encoder->setBuffer(buffer.get(), 0, 0);
                encoder->dispatchThreads(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
                encoder->endEncoding();
                work->commit();
                work->waitUntilCompleted();
            }
            right += *static_cast<std::uint32_t*>(buffer->contents()) == start + 20 ? 1 : 0;
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(right, 4);
}

}  // namespace
}  // namespace metalsim::test
