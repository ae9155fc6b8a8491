// SPDX-License-Identifier: Apache-2.0
// The fixture of the software device's tests, and the one place where metal-cpp's selectors are defined for them.
#define NS_PRIVATE_IMPLEMENTATION
#define MTL_PRIVATE_IMPLEMENTATION
#include "metalsim/api_test/fixture.h"

#include <cstring>

namespace metalsim::test {

const char* const kKernels = R"(
#include <metal_stdlib>
using namespace metal;
kernel void add_one(device uint* out [[buffer(0)]], device const uint* in [[buffer(1)]], uint i [[thread_position_in_grid]]) {
    out[i] = in[i] + 1;
}
kernel void set_to(device uint* out [[buffer(0)]], constant uint& value [[buffer(1)]], uint i [[thread_position_in_grid]]) {
    out[i] = value + i;
}
kernel void increase(device uint* out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i] = out[i] + 1; }
)";

void Api::SetUp() {
    if (const std::string why = invar::test::why_no_msl(); !why.empty()) {
        if (invar::test::msl_required()) FAIL() << why;
        GTEST_SKIP() << why;
    }
    reset();
    collect_validation_errors(true);
    pool_ = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
    device_ = NS::TransferPtr(MTL::CreateSystemDefaultDevice());
    ASSERT_TRUE(device_);
    queue_ = NS::TransferPtr(device_->newCommandQueue());
    library_ = library(kKernels);
    ASSERT_TRUE(library_);
}

void Api::TearDown() {
    pipelines_.clear();
    library_.reset();
    queue_.reset();
    device_.reset();
    pool_.reset();
    if (!IsSkipped()) EXPECT_EQ(validation(), "");
    reset();
}

std::string Api::validation() {
    std::string all;
    for (const std::string& message : take_validation_errors()) all += (all.empty() ? "" : "\n") + message;
    return all;
}

Api::Buffer Api::buffer(std::size_t elements, MTL::ResourceOptions options) {
    return NS::TransferPtr(device_->newBuffer(elements * sizeof(std::uint32_t), options));
}

Api::Buffer Api::buffer_of(const std::vector<std::uint32_t>& values) {
    return NS::TransferPtr(
        device_->newBuffer(values.data(), values.size() * sizeof values[0], MTL::ResourceStorageModeShared));
}

std::vector<std::uint32_t> Api::read(const Buffer& buffer) {
    std::vector<std::uint32_t> values(buffer->length() / sizeof(std::uint32_t));
    std::memcpy(values.data(), buffer->contents(), buffer->length());
    return values;
}

NS::SharedPtr<MTL::Library> Api::library(const char* source, std::string* why) {
    NS::Error* error = nullptr;
    auto made = NS::TransferPtr(
        device_->newLibrary(NS::String::string(source, NS::UTF8StringEncoding), nullptr, &error));
    if (!made && why != nullptr) *why = error->localizedDescription()->utf8String();
    if (!made && why == nullptr) ADD_FAILURE() << error->localizedDescription()->utf8String();
    return made;
}

MTL::ComputePipelineState* Api::pipeline(const char* name) {
    const auto function =
        NS::TransferPtr(library_->newFunction(NS::String::string(name, NS::UTF8StringEncoding)));
    NS::Error* error = nullptr;
    pipelines_.push_back(NS::TransferPtr(device_->newComputePipelineState(function.get(), &error)));
    return pipelines_.back().get();
}

void Api::encode(MTL::ComputeCommandEncoder* encoder, const char* kernel,
                 std::initializer_list<const Buffer*> buffers, std::size_t elements) {
    encoder->setComputePipelineState(pipeline(kernel));
    NS::UInteger index = 0;
    for (const Buffer* buffer : buffers) encoder->setBuffer(buffer->get(), 0, index++);
    encoder->dispatchThreadgroups(MTL::Size(elements, 1, 1), MTL::Size(1, 1, 1));
}

MTL::CommandBuffer* Api::command(const char* kernel, std::initializer_list<const Buffer*> buffers,
                                 std::size_t elements, MTL::CommandQueue* queue) {
    MTL::CommandBuffer* const made = (queue != nullptr ? queue : queue_.get())->commandBuffer();
    MTL::ComputeCommandEncoder* const encoder = made->computeCommandEncoder();
    encode(encoder, kernel, buffers, elements);
    encoder->endEncoding();
    return made;
}

}  // namespace metalsim::test
