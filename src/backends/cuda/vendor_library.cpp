// SPDX-License-Identifier: Apache-2.0
// The places where a vendor library is looked for.
#include "backends/cuda/vendor_library.h"

#include <filesystem>
#include <system_error>

#include "base/env.h"

namespace invar::cuda {
namespace {

namespace fs = std::filesystem;

// folder/python3.X/{site,dist}-packages/nvidia/{cu13,WHEEL}/lib, the layouts of the wheels.
void add_wheels(std::vector<std::string>& files, const fs::path& folder, std::span<const char* const> names,
                const char* wheel) {
    std::error_code error;
    for (const auto& python : fs::directory_iterator(folder, error)) {
        if (!python.path().filename().string().starts_with("python3")) continue;
        for (const char* packages : {"site-packages", "dist-packages"})
            for (const char* part : {"cu13", wheel})
                for (const char* name : names) {
                    const fs::path file = python.path() / packages / "nvidia" / part / "lib" / name;
                    if (fs::exists(file, error)) files.push_back(file.string());
                }
    }
}

}  // namespace

std::vector<std::string> library_files(const char* variable, std::span<const char* const> names,
                                       const char* wheel) {
    const std::string given = env_string(variable);
    if (!given.empty()) return {given};
    std::vector<std::string> files(names.begin(), names.end());
    for (const std::string& home : {env_string("CUDA_HOME"), std::string("/usr/local/cuda")})
        for (const char* folder : {"lib64", "lib"})
            for (const char* name : names)
                if (!home.empty()) files.push_back((fs::path(home) / folder / name).string());
    for (const std::string& environment : {env_string("VIRTUAL_ENV"), env_string("CONDA_PREFIX")})
        if (!environment.empty()) add_wheels(files, fs::path(environment) / "lib", names, wheel);
    const std::string home = env_string("HOME");
    if (!home.empty()) add_wheels(files, fs::path(home) / ".local/lib", names, wheel);
    add_wheels(files, "/usr/local/lib", names, wheel);
    return files;
}

}  // namespace invar::cuda
