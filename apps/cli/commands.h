// SPDX-License-Identifier: Apache-2.0
// The commands of `invar`: what each takes, as read by arguments.cpp, and the function that runs it. The functions return
// the exit code; failures are thrown as the typed errors and reported by main.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace invar::cli {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;  // as a shell reports a program that Ctrl-C ended

struct CommonArguments {
    bool json = false;
    bool verbose = false;
    std::string device;  // "" = the default
};

struct DevicesArguments : CommonArguments {};

struct GenerateArguments : CommonArguments {
    std::string model;
    std::optional<std::string> prompt, prompt_file;   // exactly one of these
    std::optional<std::vector<std::int64_t>> tokens;  // and this is given
    std::optional<std::int64_t> max_tokens;
    std::optional<std::string> dtype;
    std::vector<std::string> stop;
    bool greedy = false;
    bool ignore_eos = false;
    double temperature = 0.8;
    std::int64_t top_k = 0;
    double top_p = 0.95;
    double min_p = 0;
    double repetition_penalty = 1;
    std::uint64_t seed = 0;
};

struct LogitsArguments : CommonArguments {
    std::string model;
    std::vector<std::int64_t> tokens;
    std::optional<std::vector<std::int64_t>> position_ids, attention_mask;
    std::optional<std::string> dtype;
    bool hidden = false;
};

struct TokenizeArguments : CommonArguments {
    std::string model;
    std::optional<std::string> text, text_file;  // exactly one is given
    bool no_special = false;
};

struct DetokenizeArguments : CommonArguments {
    std::string model;
    std::vector<std::int64_t> ids;
    bool skip_special = false;
};

enum class Output { md, csv, json };

struct BenchModelArguments : CommonArguments {
    std::string shape;
    std::optional<std::string> dtype;
    std::int64_t batch = 1;
    std::int64_t prompt = 128;
    std::int64_t generate = 64;
    std::int64_t repetitions = 5;
    Output output = Output::md;
};

struct BenchDeviceArguments : CommonArguments {
    Output output = Output::md;
};

struct BenchKernelsArguments : CommonArguments {
    bool tune = false;
    std::string shape = "llama-8b";                 // of the model whose products are tuned
    std::optional<std::vector<std::int64_t>> rows;  // and their numbers of rows
    bool small = false;
    Output output = Output::md;
};

struct AsmArguments : CommonArguments {
    std::string file;
    std::string target;                            // emit
    bool optimize = false;                         // emit
    std::string to;                                // save
    std::string program;                           // run, time: which of the file's; "" = the only one
    std::vector<std::string> in, out, shape, set;  // NAME=...
    std::optional<std::vector<std::int64_t>> grid, block;
    std::optional<std::int64_t> count;
    bool no_fallback = false;
};

struct ProfileArguments : CommonArguments {
    std::vector<std::string> command;  // words of invar, or a program with its arguments; this
    std::string from;                  // or a trace is given
    std::string trace, memory;         // files to write; "" = none
    std::int64_t top = 0;              // rows shown; 0: all
    bool no_measure = false;
};

struct DoctorArguments : CommonArguments {
    bool measure = false;     // again
    bool no_measure = false;  // not at all
};

int run_profile(const ProfileArguments& arguments);
int run_doctor(const DoctorArguments& arguments);
int run_devices(const DevicesArguments& arguments);
int run_generate(const GenerateArguments& arguments);
int run_logits(const LogitsArguments& arguments);
int run_tokenize(const TokenizeArguments& arguments);
int run_detokenize(const DetokenizeArguments& arguments);
int run_bench_model(const BenchModelArguments& arguments);
int run_bench_device(const BenchDeviceArguments& arguments);
int run_bench_kernels(const BenchKernelsArguments& arguments);
int run_asm_check(const AsmArguments& arguments);
int run_asm_emit(const AsmArguments& arguments);
int run_asm_save(const AsmArguments& arguments);
int run_asm_run(const AsmArguments& arguments);
int run_asm_time(const AsmArguments& arguments);

// Reads the command line. Returns the command to run, or nothing when everything is done (help, version, wrong usage);
// exit_code is then set.
std::function<int()> parse_arguments(int argc, char** argv, int& exit_code);

}  // namespace invar::cli
