// SPDX-License-Identifier: Apache-2.0
// The registry: built-in backends, then the modules found in the module folders, then the known backends of which no
// module was found, each with its reason. Also the choice of a device by name.
#include "device/registry.h"

#include <dlfcn.h>

#include <algorithm>
#include <map>

#include "base/env.h"
#include "base/log.h"
#include "device/bandwidth.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModulePrefix = "invar-";
#if defined(__APPLE__)
constexpr std::string_view kModuleSuffix = ".dylib";
#else
constexpr std::string_view kModuleSuffix = ".so";
#endif

// Backends that a user may expect: listed as absent where no module of that name is found.
struct KnownBackend {
    std::string_view name, remedy;
};
constexpr KnownBackend kKnownBackends[] = {
    {"cuda", "reinstall Invar: the module belongs to it"},
    {"opencl", "reinstall Invar: the module belongs to it"},
#if defined(__APPLE__)
    {"metal", "this build has none"},
#else
    {"metal", "it exists on macOS only"},
#endif
};

class AbsentBackend final : public Backend {
public:
    AbsentBackend(std::string_view name, std::string reason) : name_(name), reason_(std::move(reason)) {}
    std::string_view name() const override { return name_; }
    std::string unavailable_reason() const override { return reason_; }
    std::vector<std::shared_ptr<Device>> devices() override { return {}; }
    int rank() const override { return 0; }

private:
    std::string name_, reason_;
};

int anchor = 0;  // an address inside libinvar, for dladdr

std::vector<fs::path> module_folders() {
    std::vector<fs::path> folders;
    const std::string list = env_string("INVAR_MODULE_DIR");
    for (std::size_t begin = 0; begin < list.size();) {
        const std::size_t end = std::min(list.find(':', begin), list.size());
        if (end > begin) folders.emplace_back(list.substr(begin, end - begin));
        begin = end + 1;
    }
    Dl_info info{};
    if (dladdr(&anchor, &info) != 0 && info.dli_fname) {
        std::error_code error;
        fs::path library = fs::canonical(info.dli_fname, error);
        if (error) library = info.dli_fname;
        folders.push_back(library.parent_path() / "invar");
    }
    return folders;
}

std::string quoted_list(std::span<const fs::path> folders) {
    std::string text;
    for (const fs::path& folder : folders) text += (text.empty() ? "" : ", ") + folder.string();
    return text.empty() ? "any folder" : text;
}

// The devices of a backend; a backend that throws has none, and the reason goes to *reason.
std::vector<std::shared_ptr<Device>> devices_of(Backend& backend, std::string* reason) {
    *reason = backend.unavailable_reason();
    if (!reason->empty()) return {};
    try {
        return backend.devices();
    } catch (const std::exception& e) {
        *reason = e.what();
        return {};
    }
}

}  // namespace

std::unique_ptr<Backend> load_backend_module(std::string_view name, const fs::path& file) {
    const auto absent = [&](const std::string& why) {
        return std::make_unique<AbsentBackend>(name, "module '" + file.string() + "' " + why);
    };
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char* why = dlerror();
        return absent(std::string("could not be loaded: ") + (why ? why : "no reason given"));
    }
    using EntryFunction = BackendEntry (*)();
    const auto entry_function = reinterpret_cast<EntryFunction>(dlsym(handle, kBackendEntrySymbol));
    if (!entry_function)
        return absent(std::string("has no function ") + kBackendEntrySymbol +
                      ": it is not a backend of Invar");
    try {
        const BackendEntry entry = entry_function();
        if (entry.seam_version != kSeamVersion)
            return absent("was built for version " + std::to_string(entry.seam_version) +
                          " of the seam and this library has version " + std::to_string(kSeamVersion) +
                          "; install the module of this release");
        std::unique_ptr<Backend> backend = entry.make ? entry.make() : nullptr;
        if (!backend) return absent("made no backend");
        return backend;
    } catch (const std::exception& e) {
        return absent(std::string("failed to start: ") + e.what());
    } catch (...) {
        return absent("failed to start with an exception of an unknown type");
    }
}

std::vector<std::unique_ptr<Backend>> discover_backend_modules(std::span<const fs::path> folders) {
    std::map<std::string, fs::path> found;
    for (const fs::path& folder : folders) {
        std::error_code error;
        for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
            const std::string file = it->path().filename().string();
            if (file.size() <= kModulePrefix.size() + kModuleSuffix.size() ||
                !file.starts_with(kModulePrefix) || !file.ends_with(kModuleSuffix))
                continue;
            const std::string name =
                file.substr(kModulePrefix.size(), file.size() - kModulePrefix.size() - kModuleSuffix.size());
            found.emplace(name, it->path());
        }
    }
    std::vector<std::unique_ptr<Backend>> result;
    for (const auto& [name, file] : found) result.push_back(load_backend_module(name, file));
    for (const KnownBackend& known : kKnownBackends)
        if (!found.contains(std::string(known.name)))
            result.push_back(std::make_unique<AbsentBackend>(
                known.name, "module " + std::string(kModulePrefix) + std::string(known.name) +
                                " was not found in " + quoted_list(folders) + " (" +
                                std::string(known.remedy) + ")"));
    return result;
}

const std::vector<std::unique_ptr<Backend>>& backends() {
    // Never destroyed: devices are in use by objects that other static destructors may still touch.
    static const auto* const list = [] {
        auto* result = new std::vector<std::unique_ptr<Backend>>;
        for (const BuiltinBackend& builtin : builtin_backends()) result->push_back(builtin.make());
        for (std::unique_ptr<Backend>& module : discover_backend_modules(module_folders()))
            result->push_back(std::move(module));
        return result;
    }();
    return *list;
}

std::vector<BackendInfo> list_backends() {
    std::vector<BackendInfo> result;
    for (const auto& backend : backends()) {
        BackendInfo info;
        info.name = backend->name();
        for (const auto& device : devices_of(*backend, &info.unavailable_reason))
            info.devices.push_back(known_properties(*device));
        result.push_back(std::move(info));
    }
    return result;
}

std::shared_ptr<Device> find_device(std::string_view wanted) {
    std::string name(wanted);
    std::string origin;
    if (name.empty() || name == "auto") {
        name = env_string("INVAR_DEVICE", "auto");
        if (name != "auto") origin = " (from INVAR_DEVICE)";
    }
    std::shared_ptr<Device> best;
    int best_rank = 0;
    std::string names, absent;
    const bool automatic = name == "auto";
    for (const auto& backend : backends()) {
        // A backend that would not be chosen is not asked: some start a driver to find their devices.
        if (automatic && backend->rank() <= best_rank) continue;
        std::string reason;
        const auto devices = devices_of(*backend, &reason);
        const std::string backend_name(backend->name());
        if (!reason.empty()) absent += "; " + backend_name + " is absent: " + reason;
        for (std::size_t i = 0; i < devices.size(); ++i) {
            const std::string indexed = backend_name + ":" + std::to_string(i);
            if (name == devices[i]->name() || name == indexed || (i == 0 && name == backend_name))
                return devices[i];
            names += (names.empty() ? "" : ", ") + devices[i]->name();
        }
        if (automatic && !devices.empty()) {
            best_rank = backend->rank();
            best = devices.front();
        }
    }
    if (best) return best;
    throw NoDevice("no device '" + name + "'" + origin + "; there are: " + (names.empty() ? "none" : names) +
                   absent);
}

}  // namespace invar
