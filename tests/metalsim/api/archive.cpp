// SPDX-License-Identifier: Apache-2.0
// MTLBinaryArchive: a file that says which kernels of which sources it was made of, so that a lookup that should find one, or should
// not, can be tested. What is compiled is kept elsewhere (msl_library).
#include <fstream>
#include <set>
#include <sstream>

#include "metalsim/api/engine.h"

METALSIM_STRING(MTLBinaryArchiveDomain, "MTLBinaryArchiveDomain");

namespace metalsim {
namespace {

constexpr const char* kMagic = "software Metal archive 1";

struct Archive : Labelled {
    std::set<std::string> kernels;  // a hash of the source and the name
};
struct ArchiveDescriptor : Object {
    Ref<Url> url;
};

std::string key_of(const Function& function) {
    return std::to_string(std::hash<std::string>()(function.library->source)) + " " + function.name() +
           function.constants;
}

bool fail(objc_object** error, MTL::BinaryArchiveError code, const std::string& text) {
    give_error(error, error_of(constant(MTLBinaryArchiveDomain), static_cast<long>(code), text));
    return false;
}

bool read(Archive& archive, const std::string& path, objc_object** error) {
    std::ifstream file(path);
    std::string line;
    if (take_archive_failure() || !std::getline(file, line) || line != kMagic)
        return fail(error, MTL::BinaryArchiveErrorInvalidFile, "'" + path + "' is no binary archive");
    while (std::getline(file, line)) archive.kernels.insert(line);
    return true;
}

}  // namespace

bool archived(const PipelineDescriptor& descriptor) {
    const auto* const archives = static_cast<const Array*>(descriptor.archives.get());
    if (archives == nullptr || !descriptor.function) return false;
    for (const Ref<objc_object>& archive : archives->items)
        if (static_cast<const Archive*>(archive.get())->kernels.contains(key_of(*descriptor.function)))
            return true;
    return false;
}

void install_archive_classes() {
    const Class d = define<ArchiveDescriptor>("MTLBinaryArchiveDescriptor");
    allocatable<ArchiveDescriptor>(d);
    method(d, "url", [](ArchiveDescriptor* self, SEL) { return self->url.get(); });
    method(d, "setUrl:", [](ArchiveDescriptor* self, SEL, Url* url) { self->url = Ref(url); });

    const Class c = define<Archive>("MTLSimBinaryArchive");
    add_label<Archive>(c);
    method(c, "addComputePipelineFunctionsWithDescriptor:error:",
           [](Archive* self, SEL, PipelineDescriptor* descriptor, objc_object** error) {
               give_error(error, nullptr);
               if (!descriptor->function)
                   return fail(error, MTL::BinaryArchiveErrorCompilationFailure,
                               "the descriptor has no function");
               self->kernels.insert(key_of(*descriptor->function));
               return true;
           });
    method(c, "serializeToURL:error:", [](Archive* self, SEL, Url* url, objc_object** error) {
        give_error(error, nullptr);
        std::ostringstream text;
        text << kMagic << "\n";
        for (const std::string& kernel : self->kernels) text << kernel << "\n";
        std::ofstream file(url->path, std::ios::trunc);
        file << text.str();
        file.close();
        return file ? true
                    : fail(error, MTL::BinaryArchiveErrorUnexpectedElement,
                           "'" + url->path + "' cannot be written");
    });
    method(class_of<Device>(), "newBinaryArchiveWithDescriptor:error:",
           [](Device* self, SEL, ArchiveDescriptor* descriptor, objc_object** error) -> Archive* {
               give_error(error, nullptr);
               auto* const archive = make<Archive>();
               archive->device = self;
               if (!descriptor->url || read(*archive, descriptor->url->path, error)) return archive;
               release_object(archive);
               return nullptr;
           });
}

}  // namespace metalsim
