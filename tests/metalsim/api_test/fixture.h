// SPDX-License-Identifier: Apache-2.0
// What tests of the software device's objects share: a device, a queue, a library of small kernels, and short ways to use them.
#pragma once

#include <gtest/gtest.h>
#include <Metal/Metal.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metalsim/control.h"
#include "metalsim/msl_library.h"

namespace metalsim::test {

// Kernels over uint, one lane an element.
extern const char* const kKernels;

class Api : public ::testing::Test {
protected:
    void SetUp() override;
    void TearDown() override;

    using Buffer = NS::SharedPtr<MTL::Buffer>;
    Buffer buffer(std::size_t elements, MTL::ResourceOptions options = MTL::ResourceStorageModeShared);
    Buffer buffer_of(const std::vector<std::uint32_t>& values);
    std::vector<std::uint32_t> read(const Buffer& buffer);

    MTL::ComputePipelineState* pipeline(const char* name);  // kept by the fixture
    NS::SharedPtr<MTL::Library> library(const char* source, std::string* why = nullptr);
    // One lane for each of so many elements; buffers by index.
    void encode(MTL::ComputeCommandEncoder* encoder, const char* kernel,
                std::initializer_list<const Buffer*> buffers, std::size_t elements);
    // A command buffer of one serial encoder with one dispatch, not committed.
    MTL::CommandBuffer* command(const char* kernel, std::initializer_list<const Buffer*> buffers,
                                std::size_t elements, MTL::CommandQueue* queue = nullptr);

    // What validation said since the last call; one message joined by newlines.
    std::string validation();

    NS::SharedPtr<NS::AutoreleasePool> pool_;
    NS::SharedPtr<MTL::Device> device_;
    NS::SharedPtr<MTL::CommandQueue> queue_;
    NS::SharedPtr<MTL::Library> library_;
    std::vector<NS::SharedPtr<MTL::ComputePipelineState>> pipelines_;
};

// Expects that validation reported something with the words, and only that.
#define EXPECT_VALIDATION(words)                                                       \
    do {                                                                               \
        const std::string said = validation();                                         \
        EXPECT_NE(said.find(words), std::string::npos) << "validation said: " << said; \
        EXPECT_EQ(said.find('\n'), std::string::npos) << "validation said: " << said;  \
    } while (false)

}  // namespace metalsim::test
