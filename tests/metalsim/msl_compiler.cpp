// SPDX-License-Identifier: Apache-2.0
// Compiling a source with clang: preprocessing it, checking it with address spaces, building it; each step kept by a hash.
#include "metalsim/msl_compiler.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iomanip>
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
        return succeeded(start({compiler(), "--version"}, log.path())) ? read_whole_file(log.path())
                                                                       : std::string();
    }();
    return text;
}

const std::string kHeaders = std::string(INVAR_SOURCE_DIR) + "/tests/metalsim/include";

// -fno-strict-aliasing: atomics of this standard library are plain accesses of another type than the buffer's; Metal's are
// not. -ffp-contract=off: the standard library's own; sources say it with a pragma that clang does not know.
// -fconvergent-functions: before it is put in its place, a call of a function that meets must not be doubled either, and clang learns
// from the body alone which functions do not meet. -tail-dup, in three passes: the machine code has no word for calls that must not
// be doubled (msl_sync.h, msl_meet).
// Excess precision: half and bfloat are rounded after every operation. A literal without a suffix is a float in Metal.
// Metal's attributes and pragmas are not clang's. Parameters and registers of written programs may be unused, and constants fold.
const std::vector<std::string>& flags() {
    static const std::vector<std::string> all = [] {
        std::vector<std::string> flags = {"-std=c++17",
                                          "-nostdinc",
                                          "-I",
                                          kHeaders,
                                          "-O1",
                                          "-fPIC",
                                          "-fsigned-char",
                                          "-fconvergent-functions",
                                          "-mllvm",
                                          "-disable-tail-duplicate",
                                          "-mllvm",
                                          "-disable-early-taildup",
                                          "-mllvm",
                                          "-tail-dup-placement=false",
                                          "-fsanitize=alignment,bounds,shift,signed-integer-overflow",
                                          "-fsanitize=integer-divide-by-zero,float-cast-overflow,unreachable",
                                          "-fsanitize-trap=all",
                                          "-fno-exceptions",
                                          "-fno-rtti",
                                          "-fno-strict-aliasing",
                                          "-ffp-contract=off",
                                          "-fno-math-errno",
                                          "-fno-lax-vector-conversions",
                                          "-fvisibility=hidden",
                                          "-ferror-limit=8",
                                          "-Xclang",
                                          "-cl-single-precision-constant",
                                          "-Xclang",
                                          "-fno-pch-timestamp",
                                          "-D__METAL__=1",
                                          "-D__METAL_VERSION__=320",
                                          "-Wall",
                                          "-Wextra",
                                          "-Werror",
                                          "-Wvla",
                                          "-Wframe-larger-than=65536",
                                          "-Wno-unknown-attributes",
                                          "-Wno-unknown-pragmas",
                                          "-Wno-duplicate-decl-specifier",
                                          "-Wno-unused",
                                          "-Wno-unused-parameter",
                                          "-Wno-pass-failed",
                                          "-Wno-psabi",
                                          "-Wno-self-assign",
                                          "-Wno-sign-compare",
                                          "-Wno-tautological-compare",
                                          "-Wno-type-limits",
                                          "-Wno-user-defined-literals",
                                          "-Wno-reserved-user-defined-literal"};
#if defined(__x86_64__)
        flags.insert(flags.end(), {"-Xclang", "-ffloat16-excess-precision=none", "-Xclang",
                                   "-fbfloat16-excess-precision=none"});
        // Without them half and fma are calls of libraries: the same bits, many times slower.
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
            flags.insert(flags.end(), {"-mavx2", "-mfma", "-mf16c"});
#endif
        return flags;
    }();
    return all;
}

std::string hash_of(const std::string& all) {
    const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
    char name[40];
    std::snprintf(name, sizeof name, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                  static_cast<unsigned long long>(hash.low64));
    return name;
}

// Everything but the source that decides what comes out.
const std::string& surroundings() {
    static const std::string all = [] {
        std::string text = version();
        for (const std::string& flag : flags()) text += flag + "\n";
        std::vector<fs::path> headers;
        for (const auto& entry : fs::directory_iterator(kHeaders)) headers.push_back(entry.path());
        std::sort(headers.begin(), headers.end());
        for (const fs::path& header : headers) text += read_whole_file(header);
        return text;
    }();
    return all;
}

enum class Pass { run, check, count };

std::vector<std::string> command(std::initializer_list<std::string> more) {
    std::vector<std::string> words = {compiler()};
    words.insert(words.end(), flags().begin(), flags().end());
    words.insert(words.end(), more);
    return words;
}

// The linker as clang starts it, asked for once: clang that compiles and links is two processes more a source, each of which
// loads all of LLVM. Without C++'s own library, which nothing here uses and which takes longer to read than the rest to link.
class Linker {
public:
    Linker() {
        const Temporary log(".link");
        std::ofstream(object_.path()).flush();  // clang looks whether it is there
        const bool said = succeeded(
            start({compiler(), "-###", "-shared", "-nostdlib++", object_.path(), "-lm", "-o", shared_.path()},
                  log.path()));
        // The last line that begins with a space; its words are in quotes, with \ before quotes and itself.
        const std::string text = read_whole_file(log.path());
        if (const std::size_t at = text.rfind("\n \""); said && at != std::string::npos) {
            std::istringstream line(text.substr(at));
            for (std::string word; line >> std::quoted(word);) words_.push_back(word);
        }
        if (words_.empty())
            throw CompileFailed("metal source: clang does not say how it links\n" + text, text);
    }
    std::vector<std::string> command(const fs::path& object, const fs::path& shared) const {
        std::vector<std::string> words = words_;
        for (std::string& word : words) {
            if (word == object_.path()) word = object;
            if (word == shared_.path()) word = shared;
        }
        return words;
    }

private:
    const Temporary object_{".o"}, shared_{".so"};
    std::vector<std::string> words_;
};

// What a pass has beside the flags of all. Counting: every access becomes a call (include/msl_count.h).
std::vector<std::string> flags_of(Pass pass) {
    if (pass == Pass::run) return {"-DMSL_RUN"};
    if (pass == Pass::check) return {"-DMSL_CHECK", "-ferror-limit=100"};
    std::vector<std::string> all = {"-DMSL_COUNT", "-fsanitize=kernel-address"};
    for (const char* option : {"-asan-instrumentation-with-call-threshold=0", "-asan-stack=0",
                               "-asan-globals=0", "-asan-opt=0", "-asan-kernel-mem-intrinsic-prefix=1"})
        all.insert(all.end(), {"-mllvm", option});
    return all;
}
std::vector<std::string> command(Pass pass, std::initializer_list<std::string> more) {
    std::vector<std::string> words = command(more);
    const std::vector<std::string> own = flags_of(pass);
    words.insert(words.begin() + 1 + static_cast<std::ptrdiff_t>(flags().size()), own.begin(), own.end());
    return words;
}

// The standard library as clang keeps it between runs: to read it takes longer than to compile most sources.
const fs::path& standard_library(Pass pass) {
    static const auto make = [](Pass which) {
        std::string key = surroundings();
        for (const std::string& flag : flags_of(which)) key += flag + "\n";
        const fs::path kept = Temporary::folder() / (hash_of(key) + ".pch");
        if (fs::exists(kept)) return kept;
        const Temporary object(".pch"), log(".log");
        if (!succeeded(
                start(command(which, {"-x", "c++-header", kHeaders + "/metal_stdlib", "-o", object.path()}),
                      log.path())))
            throw CompileFailed(
                "metal source: clang refuses the standard library\n" + read_whole_file(log.path()),
                read_whole_file(log.path()));
        fs::rename(object.path(), kept);
        return kept;
    };
    if (pass == Pass::count) {
        static const fs::path count = make(Pass::count);
        return count;
    }
    static const fs::path run = make(Pass::run), check = make(Pass::check);
    return pass == Pass::run ? run : check;
}

[[noreturn]] void refuse(const std::string& why, const std::string& log, const std::string& source) {
    throw CompileFailed("metal source: " + why + "\n" + log, log + "\n" + numbered_source(source));
}

// The source without macros and conditions. Inclusions of Metal's own headers are taken out: their words must still stand
// there, and their functions come with the standard library.
std::string preprocessed(const std::string& source, const MslOptions& options) {
    std::string text;
    std::istringstream lines(source);
    for (std::string line; std::getline(lines, line); text += '\n') {
        const std::size_t sign = line.find_first_not_of(" \t");
        const bool directive = sign != std::string::npos && line[sign] == '#';
        if (!directive || line.find("include") == std::string::npos ||
            line.find("<metal_") == std::string::npos)
            text += line;
    }
    // Most sources have no directive left but pragmas, which stay.
    std::string rest = text;
    for (std::size_t at; (at = rest.find("#pragma")) != std::string::npos;) rest.erase(at, 7);
    if (rest.find('#') == std::string::npos && options.macros.empty()) return text;

    std::vector<std::string> words = command({"-E", "-x", "c++"});
    for (const auto& [name, value] : options.macros) words.push_back("-D" + name + "=" + value);
    std::string all = surroundings() + text;
    for (const std::string& word : words) all += word + "\n";
    const fs::path kept = Temporary::folder() / (hash_of(all) + ".ii");
    if (!fs::exists(kept)) {
        const Temporary input(".cpp"), output(".ii"), log(".log");
        std::ofstream(input.path()) << "#line 1 \"source\"\n" << text;
        words.insert(words.end(), {"-o", output.path(), input.path()});
        if (!succeeded(start(words, log.path())))
            refuse("clang refuses its directives", read_whole_file(log.path()), source);
        fs::rename(output.path(), kept);
    }
    return read_whole_file(kept);
}

// The log of the check without what Metal allows and clang does not: copies of whole structs between address spaces, for which
// C++ has no constructor. Empty where no error is left.
std::string without_struct_copies(const std::string& log) {
    std::string left, block;
    bool error = false, copy = false;
    const auto end_block = [&] {
        if (!(error && copy)) left += block;
        block.clear();
        error = copy = false;
    };
    std::istringstream lines(log);
    for (std::string line; std::getline(lines, line);) {
        const auto has = [&](const char* text) { return line.find(text) != std::string::npos; };
        if (has(" generated.")) continue;
        if (has("error: ") || has("warning: ")) {
            end_block();
            error = has("error: no matching constructor for initialization of") ||
                    has("error: no viable overloaded '='");
        }
        if (has("(the implicit copy ") &&
            (has("cannot bind reference in address space") || has("'this' object is in address space '1'") ||
             has("'this' object is in address space '3'")))
            copy = true;
        // threadgroup S s;
        if (has("cannot be used to construct an object in address space '__attribute__((address_space(3)))'"))
            copy = true;
        block += line + "\n";
    }
    end_block();
    return left.find("error: ") == std::string::npos ? std::string() : left;
}

}  // namespace

std::string read_whole_file(const fs::path& file) {
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

fs::path compiled_msl(const std::string& source, const MslOptions& options) {
    const MslTranslation translation = translate_msl(preprocessed(source, options), options.constants);
    const std::string begin = "#line 1 \"source\"\n",
                      whole = begin + translation.text + msl_launchers(translation);
    const Pass pass = options.counts_memory ? Pass::count : Pass::run;
    const fs::path kept = Temporary::folder() /
                          (hash_of(surroundings() + whole + (options.counts_memory ? "counts" : "")) + ".so");
    if (fs::exists(kept)) return kept;
    const Temporary run(".cpp"), check(".cpp"), run_log(".log"), check_log(".log"), object(".o"),
        shared(".so");
    std::ofstream(run.path()) << whole;
    std::ofstream(check.path()) << begin << translation.text;
    const pid_t checker = start(
        command(Pass::check,
                {"-fsyntax-only", "-include-pch", standard_library(Pass::check), "-x", "c++", check.path()}),
        check_log.path());
    const pid_t builder = start(command(pass, {"-c", "-o", object.path(), "-include-pch",
                                               standard_library(pass), "-x", "c++", run.path()}),
                                run_log.path());
    const bool checks = succeeded(checker), builds = succeeded(builder);
    if (!checks)
        if (const std::string log = without_struct_copies(read_whole_file(check_log.path())); !log.empty())
            refuse("clang refuses it with address spaces", log, source);
    if (!builds) refuse("clang refuses it", read_whole_file(run_log.path()), source);
    static const Linker linker;
    if (!succeeded(start(linker.command(object.path(), shared.path()), run_log.path())))
        refuse("its object cannot be linked", read_whole_file(run_log.path()), source);
    // By another name first: processes that run side by side compile the same sources.
    fs::rename(shared.path(), kept);
    return kept;
}

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

}  // namespace invar::test
