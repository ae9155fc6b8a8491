// SPDX-License-Identifier: Apache-2.0
// A capture of a device's work for Xcode.
#pragma once

#include <Metal/Metal.hpp>

namespace invar::metal {

// Where INVAR_METAL_CAPTURE names a file, the first object of the process captures until it goes. What goes wrong is logged.
class Capture {
public:
    explicit Capture(MTL::Device& device);
    ~Capture();
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

private:
    bool running_ = false;
};

}  // namespace invar::metal
