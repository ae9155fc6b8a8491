// SPDX-License-Identifier: Apache-2.0
// Objects of the software device by themselves: memory, libraries, pipelines, strings; and what is planted wrong there.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "metalsim/api_test/fixture.h"

namespace metalsim::test {
namespace {

using Values = std::vector<std::uint32_t>;

NS::String* string(const std::string& text) {
    return NS::String::string(text.c_str(), NS::UTF8StringEncoding);
}

TEST_F(Api, FoundationAsFarAsMetalNeedsIt) {
    EXPECT_STREQ(string("kernel")->utf8String(), "kernel");
    const NS::String* const literal = MTLSTR("a");
    EXPECT_TRUE(literal->isEqualToString(string("a")));
    EXPECT_FALSE(string("a")->isEqualToString(string("b")));
    EXPECT_EQ(literal->length(), 1u);
    const NS::Object* const items[] = {string("x"), NS::Number::number(3)};
    const NS::Array* const array = NS::Array::array(items, 2);
    ASSERT_EQ(array->count(), 2u);
    EXPECT_EQ(array->object<NS::Number>(1)->intValue(), 3);
    EXPECT_EQ(array->object(2), nullptr);
    EXPECT_VALIDATION("index 2 of an NSArray of 2");
    EXPECT_EQ(NS::Number::number(2.5)->doubleValue(), 2.5);
    EXPECT_EQ(NS::Number::number(true)->boolValue(), true);
    const NS::Dictionary* const map = NS::Dictionary::dictionary(string("value"), string("key"));
    EXPECT_STREQ(map->object<NS::String>(string("key"))->utf8String(), "value");
    EXPECT_EQ(map->object<NS::String>(string("other")), nullptr);
    const auto own = NS::TransferPtr(NS::String::alloc()->init("own", NS::UTF8StringEncoding));
    EXPECT_EQ(own->retainCount(), 1u);
}

TEST_F(Api, WhatTheDeviceSaysOfItself) {
    EXPECT_STREQ(device_->name()->utf8String(), "Apple M3 (software)");
    EXPECT_TRUE(device_->supportsFamily(MTL::GPUFamilyApple9));
    EXPECT_FALSE(device_->supportsFamily(MTL::GPUFamilyApple10));
    EXPECT_TRUE(device_->supportsFamily(MTL::GPUFamilyMetal3));
    EXPECT_TRUE(device_->hasUnifiedMemory());
    EXPECT_EQ(device_->maxThreadsPerThreadgroup().width, 1024u);
    EXPECT_EQ(device_->maxThreadgroupMemoryLength(), 32768u);
    DeviceOptions options;
    options.count = 2;
    options.family = 7;
    options.unified_memory = false;
    set_device_options(options);
    EXPECT_FALSE(device_->supportsFamily(MTL::GPUFamilyApple8));
    EXPECT_FALSE(device_->hasUnifiedMemory());
    const auto all = NS::TransferPtr(MTL::CopyAllDevices());
    ASSERT_EQ(all->count(), 2u);
    EXPECT_NE(all->object<MTL::Device>(0)->registryID(), all->object<MTL::Device>(1)->registryID());
    options.count = 0;
    set_device_options(options);
    EXPECT_EQ(MTL::CreateSystemDefaultDevice(), nullptr);
}

TEST_F(Api, MemoryIsCountedAndLimited) {
    const NS::UInteger before = device_->currentAllocatedSize();
    {
        const Buffer a = buffer(256);
        EXPECT_EQ(a->length(), 1024u);
        EXPECT_EQ(device_->currentAllocatedSize(), before + 1024);
        // Nobody has written it.
        EXPECT_EQ(read(a)[0], 0xffffffffu);
    }
    EXPECT_EQ(device_->currentAllocatedSize(), before);
    DeviceOptions options;
    options.memory = 4096;
    set_device_options(options);
    const Buffer half = buffer(512);
    ASSERT_TRUE(half);
    EXPECT_FALSE(buffer(1024));
    options.max_buffer = 1024;
    set_device_options(options);
    EXPECT_FALSE(buffer(512));
    EXPECT_VALIDATION("a buffer of 2048 bytes; maxBufferLength is 1024");
    EXPECT_FALSE(NS::TransferPtr(device_->newBuffer(0, MTL::ResourceStorageModeShared)));
    EXPECT_VALIDATION("length 0");
    fail_allocation(2);
    EXPECT_TRUE(buffer(1));
    EXPECT_FALSE(buffer(1));
    EXPECT_TRUE(buffer(1));
}

TEST_F(Api, PrivateMemoryIsNotForTheProcessor) {
    const Buffer a = buffer(1, MTL::ResourceStorageModePrivate);
    EXPECT_EQ(a->contents(), nullptr);
    EXPECT_EQ(a->storageMode(), MTL::StorageModePrivate);
    EXPECT_DEATH(*static_cast<volatile std::uint32_t*>(a->contents()) = 1, "");
    const auto address = reinterpret_cast<volatile std::uint32_t*>(a->gpuAddress());
    EXPECT_DEATH(*address = 1, "");
    const std::uint32_t one = 1;
    EXPECT_FALSE(NS::TransferPtr(device_->newBuffer(&one, 4, MTL::ResourceStorageModePrivate)));
    EXPECT_VALIDATION("a private buffer cannot be made with bytes");
    EXPECT_FALSE(buffer(1, MTL::ResourceStorageModeManaged));
    EXPECT_VALIDATION("storage mode 1");
}

TEST_F(Api, TheProcessorCannotTouchWhatIsBehindABuffer) {
    const Buffer a = buffer(64);
    auto* const end = static_cast<volatile std::byte*>(a->contents()) + a->length();
    EXPECT_DEATH((void)*end, "");
}

TEST_F(Api, MemoryOfTheProgramIsUsedInPlace) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    auto* const memory = static_cast<std::uint32_t*>(
        ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memory[0] = 41;
    int freed = 0;
    {
        __block int* const count = &freed;
        const Buffer a = NS::TransferPtr(device_->newBuffer(memory, page, MTL::ResourceStorageModeShared,
                                                            ^(void* bytes, NS::UInteger length) {
                                                              ::munmap(bytes, length);
                                                              ++*count;
                                                            }));
        ASSERT_TRUE(a);
        EXPECT_EQ(a->contents(), memory);
        MTL::CommandBuffer* const work = command("increase", {&a}, 1);
        work->commit();
        work->waitUntilCompleted();
        EXPECT_EQ(memory[0], 42u);
        EXPECT_FALSE(
            NS::TransferPtr(device_->newBuffer(memory + 1, page, MTL::ResourceStorageModeShared, nullptr)));
        EXPECT_VALIDATION("the pointer is not on a page");
        EXPECT_FALSE(
            NS::TransferPtr(device_->newBuffer(memory, page - 4, MTL::ResourceStorageModeShared, nullptr)));
        EXPECT_VALIDATION("is no whole pages");
        EXPECT_EQ(freed, 0);
    }
    EXPECT_EQ(freed, 1);
}

TEST_F(Api, HeapsGiveAsMuchAsTheyHave) {
    const auto descriptor = NS::TransferPtr(MTL::HeapDescriptor::alloc()->init());
    descriptor->setSize(4096);
    descriptor->setStorageMode(MTL::StorageModePrivate);
    const auto heap = NS::TransferPtr(device_->newHeap(descriptor.get()));
    ASSERT_TRUE(heap);
    EXPECT_EQ(heap->size(), 4096u);
    auto first = NS::TransferPtr(heap->newBuffer(3000, MTL::ResourceStorageModePrivate));
    ASSERT_TRUE(first);
    EXPECT_EQ(heap->usedSize(), 3072u);
    EXPECT_FALSE(NS::TransferPtr(heap->newBuffer(2048, MTL::ResourceStorageModePrivate)));
    EXPECT_FALSE(NS::TransferPtr(heap->newBuffer(16, MTL::ResourceStorageModeShared)));
    EXPECT_VALIDATION("the storage mode of the heap");
    first.reset();
    EXPECT_TRUE(NS::TransferPtr(heap->newBuffer(4096, MTL::ResourceStorageModePrivate)));
}

TEST_F(Api, ResidencySetsKeepWhatTheyAreGiven) {
    const auto descriptor = NS::TransferPtr(MTL::ResidencySetDescriptor::alloc()->init());
    descriptor->setLabel(MTLSTR("weights"));
    NS::Error* error = nullptr;
    const auto set = NS::TransferPtr(device_->newResidencySet(descriptor.get(), &error));
    ASSERT_TRUE(set);
    const Buffer a = buffer(4), b = buffer(8);
    set->addAllocation(a.get());
    set->addAllocation(b.get());
    EXPECT_EQ(set->allocationCount(), 2u);
    EXPECT_EQ(set->allocatedSize(), 0u);
    set->commit();
    EXPECT_EQ(set->allocatedSize(), 48u);
    set->requestResidency();
    queue_->addResidencySet(set.get());
    set->removeAllocation(a.get());
    EXPECT_FALSE(set->containsAllocation(a.get()));
    set->commit();
    EXPECT_EQ(set->allocatedSize(), 32u);
    DeviceOptions options;
    options.residency_sets = false;
    set_device_options(options);
    EXPECT_EQ(device_->newResidencySet(descriptor.get(), &error), nullptr);
    EXPECT_VALIDATION("does not respond to 'newResidencySetWithDescriptor:error:'");
}

TEST_F(Api, LibrariesSayWhatIsWrongAsMetalDoes) {
    std::string why;
    EXPECT_FALSE(library(
        "#include <metal_stdlib>\nkernel void k(device float* x [[buffer(0)]]) {\n    x[0] = y;\n}\n", &why));
    EXPECT_NE(why.find("program_source:3:12: error: use of undeclared identifier 'y'"), std::string::npos)
        << why;
    EXPECT_FALSE(library("#include <metal_stdlib>\nkernel void k(device float* x) {}\n", &why));
    EXPECT_NE(why.find("program_source:2:1: error:"), std::string::npos) << why;
    fail_library(1, "program_source:1:1: error: planted");
    EXPECT_FALSE(library(kKernels, &why));
    EXPECT_EQ(why, "program_source:1:1: error: planted");
    EXPECT_TRUE(library(kKernels));
    EXPECT_EQ(library_->functionNames()->count(), 3u);
    EXPECT_EQ(library_->newFunction(MTLSTR("none")), nullptr);
}

TEST_F(Api, MacrosAndFunctionConstants) {
    const char* const source = R"(
#include <metal_stdlib>
using namespace metal;
constant uint kFactor [[function_constant(3)]];
constant bool kNegate [[function_constant(4)]];
kernel void scale(device int* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
    x[i] = x[i] * int(kFactor) * (kNegate ? -1 : 1) + OFFSET;
}
)";
    const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
    options->setLanguageVersion(MTL::LanguageVersion3_0);
    options->setFastMathEnabled(false);
    options->setPreprocessorMacros(NS::Dictionary::dictionary(NS::Number::number(5), string("OFFSET")));
    NS::Error* error = nullptr;
    const auto made = NS::TransferPtr(device_->newLibrary(string(source), options.get(), &error));
    ASSERT_TRUE(made) << error->localizedDescription()->utf8String();
    const auto run = [&](std::uint32_t factor, bool negate) {
        const auto values = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
        values->setConstantValue(&factor, MTL::DataTypeUInt, NS::UInteger{3});
        values->setConstantValue(&negate, MTL::DataTypeBool, string("kNegate"));
        const auto function = NS::TransferPtr(made->newFunction(MTLSTR("scale"), values.get(), &error));
        EXPECT_TRUE(function) << (error != nullptr ? error->localizedDescription()->utf8String() : "");
        if (!function) return 0u;
        const auto pipeline = NS::TransferPtr(device_->newComputePipelineState(function.get(), &error));
        const Buffer x = buffer_of({7});
        MTL::CommandBuffer* const work = queue_->commandBuffer();
        auto* const encoder = work->computeCommandEncoder();
        encoder->setComputePipelineState(pipeline.get());
        encoder->setBuffer(x.get(), 0, 0);
        encoder->dispatchThreads(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
        encoder->endEncoding();
        work->commit();
        work->waitUntilCompleted();
        return read(x)[0];
    };
    EXPECT_EQ(run(3, false), 26u);
    EXPECT_EQ(static_cast<std::int32_t>(run(2, true)), -9);
}

TEST_F(Api, ReflectionSaysWhatAKernelTakes) {
    const auto function = NS::TransferPtr(library_->newFunction(MTLSTR("set_to")));
    const auto descriptor = NS::TransferPtr(MTL::ComputePipelineDescriptor::alloc()->init());
    descriptor->setComputeFunction(function.get());
    descriptor->setLabel(MTLSTR("sets"));
    descriptor->setMaxTotalThreadsPerThreadgroup(64);
    NS::Error* error = nullptr;
    MTL::AutoreleasedComputePipelineReflection reflection = nullptr;
    const auto pipeline = NS::TransferPtr(device_->newComputePipelineState(
        descriptor.get(), MTL::PipelineOptionBindingInfo, &reflection, &error));
    ASSERT_TRUE(pipeline);
    EXPECT_STREQ(pipeline->label()->utf8String(), "sets");
    EXPECT_EQ(pipeline->maxTotalThreadsPerThreadgroup(), 64u);
    EXPECT_EQ(pipeline->threadExecutionWidth(), 32u);
    EXPECT_EQ(pipeline->staticThreadgroupMemoryLength(), 0u);
    ASSERT_NE(reflection, nullptr);
    const NS::Array* const bindings = reflection->bindings();
    ASSERT_EQ(bindings->count(), 2u);
    const auto* const out = bindings->object<MTL::BufferBinding>(0);
    const auto* const value = bindings->object<MTL::BufferBinding>(1);
    EXPECT_STREQ(out->name()->utf8String(), "out");
    EXPECT_EQ(out->index(), 0u);
    EXPECT_EQ(out->access(), MTL::BindingAccessReadWrite);
    EXPECT_EQ(out->type(), MTL::BindingTypeBuffer);
    EXPECT_STREQ(value->name()->utf8String(), "value");
    EXPECT_EQ(value->access(), MTL::BindingAccessReadOnly);
    EXPECT_EQ(value->bufferDataSize(), 4u);
}

TEST_F(Api, ArchivesRememberPipelines) {
    const std::string path =
        (std::filesystem::temp_directory_path() / "metalsim-archive").string() + std::to_string(::getpid());
    NS::Error* error = nullptr;
    const auto function = NS::TransferPtr(library_->newFunction(MTLSTR("set_to")));
    const auto other = NS::TransferPtr(library_->newFunction(MTLSTR("increase")));
    const auto pipeline = NS::TransferPtr(MTL::ComputePipelineDescriptor::alloc()->init());
    pipeline->setComputeFunction(function.get());
    const auto empty = NS::TransferPtr(MTL::BinaryArchiveDescriptor::alloc()->init());
    {
        const auto archive = NS::TransferPtr(device_->newBinaryArchive(empty.get(), &error));
        ASSERT_TRUE(archive);
        EXPECT_TRUE(archive->addComputePipelineFunctions(pipeline.get(), &error));
        EXPECT_TRUE(archive->serializeToURL(NS::URL::fileURLWithPath(string(path)), &error));
    }
    const auto from_file = NS::TransferPtr(MTL::BinaryArchiveDescriptor::alloc()->init());
    from_file->setUrl(NS::URL::fileURLWithPath(string(path)));
    const auto archive = NS::TransferPtr(device_->newBinaryArchive(from_file.get(), &error));
    ASSERT_TRUE(archive);
    const NS::Object* const archives[] = {archive.get()};
    pipeline->setBinaryArchives(NS::Array::array(archives, 1));
    EXPECT_TRUE(NS::TransferPtr(device_->newComputePipelineState(
        pipeline.get(), MTL::PipelineOptionFailOnBinaryArchiveMiss, nullptr, &error)));
    pipeline->setComputeFunction(other.get());
    EXPECT_FALSE(NS::TransferPtr(device_->newComputePipelineState(
        pipeline.get(), MTL::PipelineOptionFailOnBinaryArchiveMiss, nullptr, &error)));
    EXPECT_NE(error, nullptr);
    if (std::FILE* const file = std::fopen(path.c_str(), "w")) std::fclose(file);
    EXPECT_FALSE(NS::TransferPtr(device_->newBinaryArchive(from_file.get(), &error)));
    ::unlink(path.c_str());
}

TEST_F(Api, NothingIsCaptured) {
    MTL::CaptureManager* const manager = MTL::CaptureManager::sharedCaptureManager();
    EXPECT_FALSE(manager->supportsDestination(MTL::CaptureDestinationGPUTraceDocument));
    const auto descriptor = NS::TransferPtr(MTL::CaptureDescriptor::alloc()->init());
    descriptor->setCaptureObject(device_.get());
    NS::Error* error = nullptr;
    EXPECT_FALSE(manager->startCapture(descriptor.get(), &error));
    EXPECT_NE(error, nullptr);
    EXPECT_TRUE(captures().empty());
}

TEST_F(Api, CapturesKnowTheirCommandBuffers) {
    DeviceOptions options;
    options.captures = true;
    set_device_options(options);
    MTL::CaptureManager* const manager = MTL::CaptureManager::sharedCaptureManager();
    EXPECT_TRUE(manager->supportsDestination(MTL::CaptureDestinationGPUTraceDocument));
    EXPECT_FALSE(manager->supportsDestination(MTL::CaptureDestinationDeveloperTools));
    const auto descriptor = NS::TransferPtr(MTL::CaptureDescriptor::alloc()->init());
    NS::Error* error = nullptr;
    EXPECT_FALSE(manager->startCapture(descriptor.get(), &error)) << "of nothing";
    EXPECT_EQ(error->code(), static_cast<NS::Integer>(MTL::CaptureErrorInvalidDescriptor));
    descriptor->setCaptureObject(device_.get());
    descriptor->setDestination(MTL::CaptureDestinationGPUTraceDocument);
    descriptor->setOutputURL(NS::URL::fileURLWithPath(MTLSTR("/nowhere/a.gputrace")));
    ASSERT_TRUE(manager->startCapture(descriptor.get(), &error));
    EXPECT_FALSE(manager->startCapture(descriptor.get(), &error)) << "a second one";
    EXPECT_EQ(error->code(), static_cast<NS::Integer>(MTL::CaptureErrorAlreadyCapturing));
    const Buffer a = buffer_of({1});
    for (int i = 0; i < 3; ++i) {
        if (i == 2) manager->stopCapture();
        EXPECT_EQ(manager->isCapturing(), i != 2);
        MTL::CommandBuffer* const work = command("increase", {&a}, 1);
        work->commit();
        work->waitUntilCompleted();
    }
    ASSERT_EQ(captures().size(), 1u);
    EXPECT_EQ(captures()[0].file, "/nowhere/a.gputrace");
    EXPECT_EQ(captures()[0].command_buffers, 2u);
    EXPECT_TRUE(captures()[0].ended);
}

TEST_F(Api, SignpostsAreKept) {
    const Buffer a = buffer_of({1});
    MTL::CommandBuffer* const work = queue_->commandBuffer();
    auto* const encoder = work->computeCommandEncoder();
    encoder->insertDebugSignpost(MTLSTR("first"));
    encode(encoder, "increase", {&a}, 1);
    encoder->insertDebugSignpost(MTLSTR("second"));
    encoder->endEncoding();
    work->commit();
    work->waitUntilCompleted();
    EXPECT_EQ(take_signposts(), (std::vector<std::string>{"first", "second"}));
    EXPECT_TRUE(take_signposts().empty());
}

}  // namespace
}  // namespace metalsim::test
