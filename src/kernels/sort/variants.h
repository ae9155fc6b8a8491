// SPDX-License-Identifier: Apache-2.0
// What the files of the sort family share: keys whose order as unsigned integers is the order of the elements, and the
// native entry.
#pragma once

#include "device/module.h"
#include "kernels/sort/family.h"

namespace invar::kernels::sort {

// How elements of a type become keys: their bits, of which those of `sign` tell a negative one; infinity: the bits of
// +infinity where the type is a float, else 0.
struct KeyRule {
    std::uint64_t sign, infinity;
};
KeyRule key_rule(DType t);

void run_sort(const NativeLaunch& launch);
// Bytes of workspace and tasks of the native entry.
std::size_t native_workspace(const SortSpec& spec);
std::int64_t native_tasks(const SortSpec& spec);
// Fills in the call on devices that compile portable sources; the specification has been checked.
void plan_portable(const Device& device, const SortSpec& spec, KernelCall& call);

}  // namespace invar::kernels::sort
