// SPDX-License-Identifier: Apache-2.0
// What a device declines, as a text to be compared with its table (opencl_declines.txt, metal_declines.txt).
#pragma once

#include <string>

#include "device/device.h"

namespace invar::test {

// One line for each thing that the device answers with Unsupported, of all that a device may be asked: features, forms of
// modules, kernel families. wide: also what needs f64 or atomics of 64 bits, which some backends' devices differ in.
std::string declined_by(Device& device, bool wide);
// The lines of a table of this folder, without those that begin with '#'.
std::string table_of_declines(const std::string& file);

}  // namespace invar::test
