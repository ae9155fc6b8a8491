// SPDX-License-Identifier: Apache-2.0
// Loading what came out of a source, and finding the threadgroup variables of its kernels.
#include "metalsim/msl_library.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstring>

#include "metalsim/msl_compiler.h"

namespace invar::test {
namespace {

// A symbol of a shared object. The loader does not see the hidden ones, so that the file is read.
struct Symbol {
    std::string name;
    std::uint64_t address = 0, bytes = 0;
    bool in_memory_section = false;  // of threadgroup variables
};

template <class T>
T part_of(const std::string& file, std::uint64_t at) {
    T part{};
    if (at > file.size() || file.size() - at < sizeof(T))
        throw CompileFailed("metal source: the shared object is cut off", "");
    std::memcpy(&part, file.data() + at, sizeof(T));
    return part;
}

std::vector<Symbol> symbols_of(const std::string& file) {
    const auto text = [&](std::uint64_t at) {
        return at < file.size() ? std::string(file.c_str() + at) : std::string();
    };
    const auto head = part_of<Elf64_Ehdr>(file, 0);
    std::vector<Elf64_Shdr> sections(head.e_shnum);
    for (std::size_t k = 0; k < sections.size(); ++k)
        sections[k] = part_of<Elf64_Shdr>(file, head.e_shoff + k * sizeof(Elf64_Shdr));
    const std::uint64_t names = head.e_shstrndx < sections.size() ? sections[head.e_shstrndx].sh_offset : 0;
    std::vector<Symbol> symbols;
    for (const Elf64_Shdr& section : sections) {
        if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
        for (std::uint64_t k = 0; k < section.sh_size / sizeof(Elf64_Sym); ++k) {
            const auto symbol = part_of<Elf64_Sym>(file, section.sh_offset + k * sizeof(Elf64_Sym));
            const bool placed = symbol.st_shndx < sections.size();
            symbols.push_back({text(sections[section.sh_link].sh_offset + symbol.st_name), symbol.st_value,
                               symbol.st_size,
                               placed && text(names + sections[symbol.st_shndx].sh_name) == "msl_memory"});
        }
    }
    return symbols;
}

}  // namespace

MslLibrary::MslLibrary(const std::string& source, const MslOptions& options) {
    const std::string file = compiled_msl(source, options);
    handle_ = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) throw CompileFailed("metal source: " + std::string(::dlerror()), source);
    *static_cast<MslRuntime*>(::dlsym(handle_, "msl_runtime")) = msl_runtime_of_this_process();
    for (const auto* constant = static_cast<const MslFunctionConstant*>(::dlsym(handle_, "msl_constants"));
         constant->name != nullptr; ++constant)
        constants_.push_back(*constant);

    ::link_map* loaded = nullptr;
    ::dlinfo(handle_, RTLD_DI_LINKMAP, &loaded);
    const std::vector<Symbol> symbols = symbols_of(read_whole_file(file));
    for (const auto* entry = static_cast<const MslEntry*>(::dlsym(handle_, "msl_entries"));
         entry->name != nullptr; ++entry) {
        MslKernel& kernel = kernels_.emplace_back();
        kernel.entry = *entry;
        kernel.counts_memory = options.counts_memory;
        // The variables of a function _Z1kPf are _ZZ1kPfE4tile.
        std::string scope;
        for (const Symbol& symbol : symbols)
            if (symbol.address + loaded->l_addr == reinterpret_cast<std::uintptr_t>(entry->code) &&
                symbol.name.starts_with("_Z"))
                scope = "_ZZ" + symbol.name.substr(2) + "E";
        for (const Symbol& symbol : symbols) {
            if (!symbol.in_memory_section || scope.empty() || !symbol.name.starts_with(scope)) continue;
            kernel.arrays.push_back({symbol.name.substr(scope.size()),
                                     reinterpret_cast<std::byte*>(symbol.address + loaded->l_addr),
                                     symbol.bytes});
            kernel.memory_bytes += (symbol.bytes + 15) / 16 * 16;
        }
    }
}

MslLibrary::~MslLibrary() { ::dlclose(handle_); }

const MslKernel& MslLibrary::kernel(std::string_view name) const {
    std::string names;
    for (const MslKernel& kernel : kernels_) {
        if (kernel.name() == name) return kernel;
        names += (names.empty() ? "" : ", ") + std::string(kernel.name());
    }
    throw_no_kernel("metal-sim", "source", name, names);
}

}  // namespace invar::test
