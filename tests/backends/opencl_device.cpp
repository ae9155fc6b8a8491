// SPDX-License-Identifier: Apache-2.0
// Finding the OpenCL device of the tests.
#include "backends/opencl_device.h"

#include <cstdlib>
#include <filesystem>

#if defined(INVAR_SANITIZED)
// PoCL and the LLVM in it keep what they compiled with until the process ends, where nothing points to it. Asked for by
// LeakSanitizer; what this program itself allocates has no such frame in its stack and is still reported.
extern "C" const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __lsan_default_suppressions() { return "leak:libpocl.so\nleak:libLLVM\n"; }
#endif

namespace invar::test {
namespace {

class TemporaryCache {
public:
    TemporaryCache() {
        std::string folder = ::testing::TempDir() + "/invar-pocl-XXXXXX";
        if (!::mkdtemp(folder.data())) return;
        folder_ = folder;
        ::setenv("POCL_CACHE_DIR", folder_.c_str(), 1);
    }
    ~TemporaryCache() {
        std::error_code ignored;
        if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
    }
    TemporaryCache(const TemporaryCache&) = delete;
    TemporaryCache& operator=(const TemporaryCache&) = delete;

private:
    std::string folder_;
};

}  // namespace

void use_temporary_pocl_cache() { static const TemporaryCache cache; }

std::shared_ptr<Device> first_opencl_device(std::string& why) {
    use_temporary_pocl_cache();
    for (const BackendInfo& backend : list_backends()) {
        if (backend.name != "opencl") continue;
        if (!backend.devices.empty()) return find_device(backend.devices[0].name);
        why = backend.unavailable_reason;
    }
    return nullptr;
}

}  // namespace invar::test
