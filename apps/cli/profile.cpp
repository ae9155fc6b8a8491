// SPDX-License-Identifier: Apache-2.0
// `invar profile -- COMMAND`: runs a command with INVAR_TRACE in a process of its own and makes a table of its steps from the
// trace, beside what the device was measured to give. The command's output goes to stderr, so that stdout has the table alone.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <tuple>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include <nlohmann/json.hpp>

#include <invar/device.h>
#include <invar/error.h>

#include "base/log.h"
#include "bench.h"
#include "device/registry.h"
#include "graph/calibration.h"
#include "io/json.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): macOS has it in no header

namespace invar::cli {

namespace {

constexpr std::size_t kMaxTraceBytes = std::size_t{2} << 30;

// Steps of one label, kernel and device.
struct Row {
    std::string label, kernel, device;
    std::int64_t count = 0;
    double seconds = 0, bytes = 0, flops = 0;
    double least = 0;    // seconds of the quickest
    double ceiling = 0;  // seconds that the measured ceilings allow; 0: not known
    void add(const Row& other) {
        least = count == 0 ? other.least : std::min(least, other.least);
        count += other.count;
        seconds += other.seconds;
        bytes += other.bytes;
        flops += other.flops;
        ceiling += other.ceiling;
    }
};

// What the host did: spans of one category.
struct HostWork {
    std::int64_t count = 0;
    double seconds = 0;
};

struct Profile {
    std::vector<Row> rows;  // the longest first
    Row total;
    std::map<std::string, HostWork> host;
    std::map<std::string, graph::Calibration> ceilings;  // by device
};

std::string own_path() {
#ifdef __APPLE__
    char path[PATH_MAX];
    std::uint32_t size = sizeof path;
    if (_NSGetExecutablePath(path, &size) == 0) return path;
    throw IoError("profile: the path of this program is not known");
#else
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error)
        throw IoError("profile: the path of this program is not known: /proc/self/exe: " + error.message());
    return path.string();
#endif
}

// A file that is removed when this goes, unless the user named it.
class TraceFile {
public:
    explicit TraceFile(const std::string& wanted) : path_(wanted), keep_(!wanted.empty()) {
        if (keep_) return;
        std::error_code error;
        std::filesystem::path folder = std::filesystem::temp_directory_path(error);
        if (error) folder = "/tmp";
        path_ = (folder / "invar-profile-XXXXXX").string();
        const int handle = mkstemp(path_.data());
        if (handle < 0) throw IoError("profile: '" + path_ + "' cannot be made: " + std::strerror(errno));
        close(handle);
    }
    ~TraceFile() {
        std::error_code ignored;
        if (!keep_) std::filesystem::remove(path_, ignored);
    }
    TraceFile(const TraceFile&) = delete;
    TraceFile& operator=(const TraceFile&) = delete;
    const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
    bool keep_;
};

// Runs the command to its end; its exit code, as a shell has it.
int run_command(const ProfileArguments& a, const std::string& trace) {
    const bool program = a.command[0].find('/') != std::string::npos;
    std::vector<std::string> words = a.command;
    if (!program) words.insert(words.begin(), own_path());
    std::vector<std::pair<std::string, std::string>> settings = {{"INVAR_TRACE", trace}};
    if (!a.memory.empty()) settings.emplace_back("INVAR_MEMORY_TRACE", a.memory);
    if (!a.device.empty()) settings.emplace_back("INVAR_DEVICE", a.device);
    std::vector<std::string> environment;
    for (char** entry = environ; *entry; ++entry) {
        const std::string_view text = *entry;
        const std::string_view name = text.substr(0, text.find('='));
        if (std::none_of(settings.begin(), settings.end(), [&](const auto& s) { return s.first == name; }))
            environment.emplace_back(text);
    }
    for (const auto& [name, value] : settings) environment.push_back(name + "=" + value);
    const auto pointers = [](std::vector<std::string>& texts) {
        std::vector<char*> list;
        for (std::string& text : texts) list.push_back(text.data());
        list.push_back(nullptr);
        return list;
    };
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    catch_interrupts();  // Ctrl-C is the command's; what it did until then is shown
    pid_t child = 0;
    const int failed = posix_spawn(&child, words[0].c_str(), &actions, nullptr, pointers(words).data(),
                                   pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    if (failed) throw IoError("profile: '" + words[0] + "' cannot be run: " + std::strerror(failed));
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            throw IoError(std::string("profile: waiting for the command: ") + std::strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The ceilings of a device, or nothing where it has none or must not be measured.
std::optional<graph::Calibration> ceilings_of(const std::string& name, const ProfileArguments& a) {
    try {
        const std::shared_ptr<Device> device = find_device(name);
        if (a.no_measure) return graph::known_calibration(*device);
        Progress progress("measuring " + name, a.verbose);
        return graph::calibration(*device, false, [&](int done, int total) {
            check_interrupted();
            progress.update(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
        });
    } catch (const Cancelled&) {
        return std::nullopt;
    } catch (const Error& e) {  // the null device; a device that is not here, of a trace from elsewhere
        log(LogLevel::kInfo, name + ": no ceilings: " + e.what());
        return std::nullopt;
    }
}

DType product_of(const std::string& name) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16})
        if (dtype_name(type) == name) return type;
    return DType::pred;
}

Profile read_profile(const std::string& file, const ProfileArguments& a) {
    const io::JsonDocument document = io::parse_json(read_text(file), file, {kMaxTraceBytes, 8});
    Profile profile;
    std::map<std::string, std::optional<graph::Calibration>> ceilings;
    std::map<std::tuple<std::string, std::string, std::string>, Row> rows;
    try {
        for (const nlohmann::json& event : document.root) {
            if (event.at("ph") != "X") continue;
            const std::string category = event.at("cat");
            const double duration = event.at("dur").get<double>() * 1e-6;
            if (category != "step") {
                HostWork& work = profile.host[event.at("name")];
                ++work.count;
                work.seconds += duration;
                continue;
            }
            const nlohmann::json& args = event.at("args");
            Row row{event.at("name"), args.at("kernel"), args.at("device")};
            row.count = 1;
            row.seconds = row.least = duration;
            row.bytes = args.at("bytes");
            row.flops = args.at("flops");
            if (!ceilings.contains(row.device)) ceilings[row.device] = ceilings_of(row.device, a);
            if (const auto& ceiling = ceilings[row.device])
                row.ceiling = graph::ceiling_seconds(
                    *ceiling, {row.bytes, row.flops, product_of(args.value("product", ""))});
            profile.total.add(row);
            const auto [at, added] = rows.try_emplace({row.device, row.label, row.kernel}, row);
            if (!added) at->second.add(row);
        }
    } catch (const nlohmann::json::exception& e) {
        throw FormatError("trace '" + file + "': not one that this library wrote: " + e.what());
    }
    for (auto& [key, row] : rows) profile.rows.push_back(std::move(row));
    std::sort(profile.rows.begin(), profile.rows.end(), [](const Row& x, const Row& y) {
        return std::tie(y.seconds, x.device, x.label, x.kernel) <
               std::tie(x.seconds, y.device, y.label, y.kernel);
    });
    for (const auto& [name, ceiling] : ceilings)
        if (ceiling) profile.ceilings[name] = *ceiling;
    return profile;
}

double rate(double amount, const Row& row) { return row.seconds > 0 ? amount / row.seconds : 0; }

std::string operations(double flops) {
    static constexpr const char* kUnits[] = {"", " k", " M", " G", " T", " P"};
    int unit = 0;
    while (flops >= 999.5 && unit < 5) flops /= 1000, ++unit;
    return format(unit == 0 ? "%.0f%s" : "%.1f%s", flops, kUnits[unit]);
}

std::vector<std::string> cells(const Row& row, const Row& total) {
    return {row.label,
            row.kernel,
            row.device,
            std::to_string(row.count),
            format("%.3f", row.seconds * 1e3),
            format("%.1f", row.seconds * 1e6 / static_cast<double>(std::max<std::int64_t>(row.count, 1))),
            format("%.1f", row.least * 1e6),
            total.seconds > 0 ? format("%.1f%%", 100 * row.seconds / total.seconds) : "-",
            format_bytes(static_cast<std::uint64_t>(row.bytes)),
            operations(row.flops),
            format("%.3g", rate(row.bytes, row) / 1e9),
            format("%.3g", rate(row.flops, row) / 1e12),
            row.ceiling > 0 && row.seconds > 0 ? format("%.0f%%", 100 * row.ceiling / row.seconds) : "-"};
}

void print(const Profile& profile, std::int64_t top) {
    Table table{{"step", "kernel", "device", "count", "total ms", "mean us", "least us", "share", "bytes",
                 "flops", "GB/s", "TFLOP/s", "of ceiling"},
                {}};
    Row others{"other steps", "", ""};
    for (std::size_t i = 0; i < profile.rows.size(); ++i) {
        if (top > 0 && i >= static_cast<std::size_t>(top))
            others.add(profile.rows[i]);
        else
            table.rows.push_back(cells(profile.rows[i], profile.total));
    }
    if (others.count > 0) table.rows.push_back(cells(others, profile.total));
    Row total = profile.total;
    total.label = "all steps";
    table.rows.push_back(cells(total, total));
    write_out(to_markdown(table) + "\n");
    for (const auto& [name, work] : profile.host)
        write_out(format("host: %s: %lld times, %.3f ms\n", name.c_str(), static_cast<long long>(work.count),
                         work.seconds * 1e3));
    for (const auto& [name, c] : profile.ceilings)
        write_out(format(
            "ceilings of %s: %.1f GB/s copying; products of %.3g TFLOP/s (f32), %.3g (f16), %.3g (bf16); "
            "other operations %.3g TFLOP/s\n",
            name.c_str(), c.copy_bandwidth / 1e9, c.product_f32 / 1e12, c.product_f16 / 1e12,
            c.product_bf16 / 1e12, c.pointwise_rate / 1e12));
}

nlohmann::ordered_json to_json(const Row& row, const Row& total) {
    nlohmann::ordered_json json = {{"count", row.count},
                                   {"microseconds", row.seconds * 1e6},
                                   {"least_microseconds", row.least * 1e6},
                                   {"share", total.seconds > 0 ? row.seconds / total.seconds : 0},
                                   {"bytes", row.bytes},
                                   {"flops", row.flops},
                                   {"gigabytes_per_second", rate(row.bytes, row) / 1e9},
                                   {"tflop_per_second", rate(row.flops, row) / 1e12}};
    if (row.ceiling > 0 && row.seconds > 0) json["share_of_ceiling"] = row.ceiling / row.seconds;
    return json;
}

void print_json(const Profile& profile, const ProfileArguments& a, int exit_code) {
    nlohmann::ordered_json json;
    for (const auto& [name, value] : provenance()) json[name] = value;
    if (!a.command.empty()) {
        json["command"] = a.command;
        json["exit_code"] = exit_code;
    }
    json["steps"] = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < profile.rows.size() && (a.top <= 0 || i < static_cast<std::size_t>(a.top));
         ++i) {
        const Row& row = profile.rows[i];
        nlohmann::ordered_json entry = {{"step", row.label}, {"kernel", row.kernel}, {"device", row.device}};
        entry.update(to_json(row, profile.total));
        json["steps"].push_back(std::move(entry));
    }
    json["total"] = to_json(profile.total, profile.total);
    json["host"] = nlohmann::ordered_json::object();
    for (const auto& [name, work] : profile.host)
        json["host"][name] = {{"count", work.count}, {"microseconds", work.seconds * 1e6}};
    json["ceilings"] = nlohmann::ordered_json::object();
    for (const auto& [name, c] : profile.ceilings) json["ceilings"][name] = calibration_json(c);
    write_out(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace

nlohmann::ordered_json calibration_json(const graph::Calibration& c) {
    return {
        {"launch_microseconds", c.launch * 1e6},
        {"read_gigabytes_per_second", c.read_bandwidth / 1e9},
        {"copy_gigabytes_per_second", c.copy_bandwidth / 1e9},
        {"upload_gigabytes_per_second", c.upload_bandwidth / 1e9},
        {"upload_latency_microseconds", c.upload_latency * 1e6},
        {"download_gigabytes_per_second", c.download_bandwidth / 1e9},
        {"download_latency_microseconds", c.download_latency * 1e6},
        {"pointwise_tflop_per_second", c.pointwise_rate / 1e12},
        {"product_tflop_per_second",
         {{"f32", c.product_f32 / 1e12}, {"f16", c.product_f16 / 1e12}, {"bf16", c.product_bf16 / 1e12}}}};
}

int run_profile(const ProfileArguments& a) {
    if (a.verbose) set_log_level(LogLevel::kInfo);
    if (a.command.empty() == a.from.empty())
        throw InvalidArgument(a.command.empty()
                                  ? "profile: there is nothing to profile; give a command behind --, "
                                    "or a trace by --from"
                                  : "profile: give a command or --from, not both");
    if (a.top < 0)
        throw InvalidArgument("profile: --top " + std::to_string(a.top) + "; it must not be negative");
    if (!a.command.empty() && a.command[0] == "profile")
        throw InvalidArgument("profile: it cannot profile itself; give another command");
    int exit_code = 0;
    std::optional<TraceFile> trace;
    if (a.from.empty()) {
        trace.emplace(a.trace);
        // What an earlier run left there is not this one's.
        std::error_code ignored;
        if (!a.trace.empty()) std::filesystem::remove(a.trace, ignored);
        exit_code = run_command(a, trace->path());
    }
    const std::string file = trace ? trace->path() : a.from;
    std::error_code ignored;
    if (trace && std::filesystem::file_size(file, ignored) == 0) {
        if (exit_code != 0) return exit_code;  // it has said why
        throw InvalidArgument("profile: '" + a.command[0] + "' wrote no trace; does it use this library?");
    }
    if (trace && !std::filesystem::exists(file, ignored)) {
        if (exit_code != 0) return exit_code;
        throw IoError("profile: the trace '" + file +
                      "' was not written; name a file in a folder that is there");
    }
    const Profile profile = read_profile(file, a);
    if (profile.rows.empty()) {
        if (exit_code != 0) return exit_code;
        throw InvalidArgument("profile: " + (trace ? "'" + a.command[0] + "'" : "'" + a.from + "'") +
                              " has no step on a device; profile a command that computes, such as generate");
    }
    if (a.json)
        print_json(profile, a, exit_code);
    else
        print(profile, a.top);
    return exit_code;
}

}  // namespace invar::cli
