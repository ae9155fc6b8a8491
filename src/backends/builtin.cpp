// SPDX-License-Identifier: Apache-2.0
// Fills the registry's table of backends that are linked into libinvar.
#include "backends/cpu/cpu_backend.h"
#include "device/registry.h"

namespace invar {

std::span<const BuiltinBackend> builtin_backends() {
    static constexpr BuiltinBackend kTable[] = {{"cpu", &make_cpu_backend}};
    return kTable;
}

}  // namespace invar
