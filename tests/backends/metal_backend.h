// SPDX-License-Identifier: Apache-2.0
// What tests of the metal backend stand on: the module over the software Metal device, with nothing left of it behind a test.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "device/registry.h"
#include "metalsim/control.h"

namespace invar::test {

// Buffers: out, in; out[i] = in[i] + 1, for count elements of 32 bits.
inline constexpr const char* kMetalSource = R"(#include <metal_stdlib>
using namespace metal;
struct Count { uint count; };
kernel void add_one(device uint* out [[buffer(0)]], device const uint* in [[buffer(1)]],
                    constant Count& p [[buffer(2)]], uint i [[thread_position_in_grid]]) {
    if (i < p.count) out[i] = in[i] + 1;
}
kernel void nothing() {}
)";

class MetalBackend : public ::testing::Test {
protected:
    void SetUp() override {
        metalsim::reset();
        metalsim::collect_validation_errors(true);
        open({});
    }
    void TearDown() override {
        kernel_module.reset();
        stream.reset();
        device.reset();
        backend.reset();
        EXPECT_EQ(metalsim::take_validation_errors(), std::vector<std::string>());
        for (const auto& [name, count] : metalsim::live_objects())
            if (name != "MTLSimDevice") {  // the system's own
                EXPECT_EQ(count, 0) << name << " is left";
            }
        metalsim::reset();
    }

    void open(const metalsim::DeviceOptions& options) {
        kernel_module.reset();
        stream.reset();
        device.reset();
        backend.reset();
        metalsim::set_device_options(options);
        backend = load_backend_module("metal", INVAR_METAL_MODULE);
        ASSERT_EQ(backend->unavailable_reason(), "");
        device = backend->devices().at(0);
        stream = device->make_stream();
        kernel_module = device->compile({"test", SourceText{"metal", kMetalSource, {}}});
    }

    std::unique_ptr<Buffer> buffer(std::uint32_t elements) { return device->allocate_raw(4 * elements); }

    void add_one(Stream& on, BufferRef out, BufferRef in, std::uint32_t count) {
        LaunchConfig config;
        config.grid.x = (count + 63) / 64;
        config.block.x = 64;
        const BufferRef buffers[] = {out, in};
        on.launch(kernel_module->kernel("add_one"), config, buffers, std::as_bytes(std::span(&count, 1)));
    }

    std::vector<std::uint32_t> read(Stream& from, BufferRef ref) {
        std::vector<std::uint32_t> values(ref.size / 4, 0xdeadbeef);
        from.download(values.data(), ref, ref.size);
        from.synchronize();
        return values;
    }

    std::unique_ptr<Backend> backend;
    std::shared_ptr<Device> device;
    std::unique_ptr<Stream> stream;
    std::shared_ptr<LoadedModule> kernel_module;
    std::vector<std::unique_ptr<Buffer>> kept;
};

}  // namespace invar::test
