// SPDX-License-Identifier: Apache-2.0
// A module that works and has one backend without devices.
#include "device/registry.h"

namespace {
class GoodBackend final : public invar::Backend {
public:
    std::string_view name() const override { return "good"; }
    std::string unavailable_reason() const override { return {}; }
    std::vector<std::shared_ptr<invar::Device>> devices() override { return {}; }
    int rank() const override { return 0; }
};
std::unique_ptr<invar::Backend> make() { return std::make_unique<GoodBackend>(); }
}  // namespace

extern "C" INVAR_API invar::BackendEntry invar_backend_entry() { return {invar::kSeamVersion, &make}; }
