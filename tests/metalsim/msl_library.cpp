// SPDX-License-Identifier: Apache-2.0
// Compiling a source with clang, checking it with address spaces, and loading what came out.
#include "metalsim/msl_library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/env.h"
#include "metalsim/msl_source.h"

extern char** environ;

namespace invar::test {
namespace {

namespace fs = std::filesystem;

std::string compiler() {
    const std::string chosen = env_string("INVAR_METALSIM_CLANG");
    return chosen.empty() ? "clang++-19" : chosen;
}

std::string read_whole(const fs::path& file) {
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

// A process whose two outputs go to a file; -1 where it cannot be started.
pid_t start(const std::vector<std::string>& words, const fs::path& log) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ::posix_spawn_file_actions_adddup2(&files, 1, 2);
    pid_t child = -1;
    const int failed = ::posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&files);
    return failed == 0 ? child : -1;
}
bool succeeded(pid_t child) {
    int status = 1;
    return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

// A file of this process in the folder of what is compiled, gone with the object.
class Temporary {
public:
    explicit Temporary(const std::string& suffix)
        : path_(folder() / (std::to_string(::getpid()) + "-" + std::to_string(serial()++) + suffix)) {}
    ~Temporary() {
        std::error_code ignored;
        fs::remove(path_, ignored);
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    const fs::path& path() const noexcept { return path_; }

    static const fs::path& folder() {
        static const fs::path folder = [] {
            fs::create_directories(INVAR_METALSIM_CACHE);
            return fs::path(INVAR_METALSIM_CACHE);
        }();
        return folder;
    }

private:
    static std::atomic<int>& serial() {  // several threads compile at a time
        static std::atomic<int> serial = 0;
        return serial;
    }
    fs::path path_;
};

// What the compiler says of itself; empty where there is none.
const std::string& version() {
    static const std::string text = [] {
        const Temporary log(".version");
        return succeeded(start({compiler(), "--version"}, log.path())) ? read_whole(log.path())
                                                                       : std::string();
    }();
    return text;
}

const std::string kHeaders = std::string(INVAR_SOURCE_DIR) + "/tests/metalsim/include";

// -fno-strict-aliasing: atomics of this standard library are plain accesses of another type than the buffer's; Metal's are
// not. -ffp-contract=off: the standard library's own; sources say it with a pragma that clang does not know.
// -tail-dup: the machine code has no word for calls that must not be doubled (metal_stdlib, msl_meet).
// Metal's attributes and pragmas are not clang's. Parameters and registers of written programs may be unused, and constants fold.
const std::vector<std::string> kFlags = {"-x",
                                         "c++",
                                         "-std=c++17",
                                         "-nostdinc",
                                         "-I",
                                         kHeaders,
                                         "-O1",
                                         "-g1",
                                         "-fPIC",
                                         "-fsigned-char",
                                         "-mllvm",
                                         "-disable-tail-duplicate",
                                         "-mllvm",
                                         "-tail-dup-placement=false",
                                         "-fsanitize=alignment,bounds,shift,signed-integer-overflow,"
                                         "integer-divide-by-zero,float-cast-overflow,unreachable",
                                         "-fsanitize-trap=all",
                                         "-fno-exceptions",
                                         "-fno-rtti",
                                         "-fno-strict-aliasing",
                                         "-ffp-contract=off",
                                         "-fno-math-errno",
                                         "-fvisibility=hidden",
                                         "-ferror-limit=8",
                                         "-Wall",
                                         "-Wextra",
                                         "-Werror",
                                         "-Wno-unknown-attributes",
                                         "-Wno-unknown-pragmas",
                                         "-Wno-duplicate-decl-specifier",
                                         "-Wno-unused",
                                         "-Wno-unused-parameter",
                                         "-Wno-pass-failed",
                                         "-Wno-self-assign",
                                         "-Wno-sign-compare",
                                         "-Wno-tautological-compare",
                                         "-Wno-type-limits"};

std::string key_of(const std::string& source) {
    static const std::string surroundings = [] {
        std::string all = version();
        for (const std::string& flag : kFlags) all += flag + "\n";
        for (const char* header : {"metal_stdlib", "msl_interface.h"})
            all += read_whole(fs::path(kHeaders) / header);
        return all + msl_launchers({{"k", {{"buffer", 0}, {"threads_per_grid", 0}}, 1}});
    }();
    const std::string all = surroundings + source;
    const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
    char name[40];
    std::snprintf(name, sizeof name, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                  static_cast<unsigned long long>(hash.low64));
    return name;
}

// The shared object of a source, compiled where there is none yet.
fs::path compiled(const std::string& source) {
    const MslTranslation translation = translate_msl(source);
    const fs::path kept = Temporary::folder() / (key_of(source) + ".so");
    if (fs::exists(kept)) return kept;
    const Temporary run(".cpp"), check(".cpp"), run_log(".log"), check_log(".log"), object(".so");
    const std::string begin = "#line 1 \"source\"\n";
    std::ofstream(run.path()) << begin << translation.text << msl_launchers(translation.kernels);
    std::ofstream(check.path()) << begin << translation.text;
    std::vector<std::string> words = {compiler()};
    words.insert(words.end(), kFlags.begin(), kFlags.end());
    auto checking = words, building = words;
    checking.insert(checking.end(), {"-DMSL_CHECK", "-fsyntax-only", check.path()});
    building.insert(building.end(), {"-shared", "-o", object.path(), run.path(), "-lm"});
    const pid_t checker = start(checking, check_log.path()), builder = start(building, run_log.path());
    const bool checks = succeeded(checker), builds = succeeded(builder);
    if (!checks || !builds) {
        const std::string log = read_whole(checks ? run_log.path() : check_log.path());
        throw CompileFailed(std::string("metal source: ") +
                                (checks ? "clang refuses it" : "clang refuses it with address spaces") +
                                "\n" + log,
                            log + "\n" + numbered_source(source));
    }
    // By another name first: processes that run side by side compile the same sources.
    fs::rename(object.path(), kept);
    return kept;
}

}  // namespace

std::string why_no_msl() {
#if defined(INVAR_SANITIZED)
    return "the software Metal device changes stacks, which sanitizers do not follow";
#else
    if (!version().empty()) return {};
    return "the software Metal device needs clang 19 to compile sources, and '" + compiler() +
           "' cannot be run; install it (./dev setup --ci) or name it by INVAR_METALSIM_CLANG";
#endif
}

bool msl_required() {
#if defined(INVAR_SANITIZED)
    return false;
#else
    return !env_string("INVAR_REQUIRE_METALSIM").empty();
#endif
}

MslLibrary::MslLibrary(const std::string& source) {
    const fs::path file = compiled(source);
    handle_ = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) throw CompileFailed("metal source: " + std::string(::dlerror()), source);
    entries_ = static_cast<const MslEntry*>(::dlsym(handle_, "msl_entries"));
    *static_cast<MslRuntime*>(::dlsym(handle_, "msl_runtime")) = msl_runtime_of_this_process();
}

MslLibrary::~MslLibrary() { ::dlclose(handle_); }

const MslEntry& MslLibrary::kernel(std::string_view name) const {
    std::string names;
    for (const MslEntry* entry = entries_; entry->name != nullptr; ++entry) {
        if (entry->name == name) return *entry;
        names += (names.empty() ? "" : ", ") + std::string(entry->name);
    }
    throw_no_kernel("metal-sim", "source", name, names);
}

}  // namespace invar::test
