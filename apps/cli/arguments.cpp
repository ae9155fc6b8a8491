// SPDX-License-Identifier: Apache-2.0
// The words of the command line: every command with its options, defaults and help. Unknown words and values that cannot
// be read end here with exit code 2; whether a value makes sense is the library's to say.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <type_traits>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "common.h"

namespace invar::cli {

namespace {

// A whole decimal number. CLI11's own reading takes 010 for 8 and lets -1 become the largest unsigned number.
template <class Integer>
Integer parse_integer(const std::string& option, const std::string& text) {
    Integer value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
        throw CLI::ValidationError(option, "'" + text + "' is not a whole number that fits");
    }
    return value;
}

// "1,2,3"; blanks around the numbers are allowed. An empty text is an empty list.
std::vector<std::int64_t> parse_list(const std::string& option, const std::string& text) {
    std::vector<std::int64_t> values;
    if (text.find_first_not_of(" \t\n") == std::string::npos) return values;
    std::size_t begin = 0;
    while (begin <= text.size()) {
        const std::size_t comma = std::min(text.find(',', begin), text.size());
        std::string item = text.substr(begin, comma - begin);
        const std::size_t first = item.find_first_not_of(" \t\n"), last = item.find_last_not_of(" \t\n");
        item = first == std::string::npos ? "" : item.substr(first, last - first + 1);
        values.push_back(parse_integer<std::int64_t>(option, item));
        begin = comma + 1;
    }
    return values;
}

template <class List>  // a vector, or an optional one
CLI::Option* add_list(CLI::App& app, const std::string& name, List& list, const std::string& help) {
    return app
        .add_option_function<std::string>(
            name, [name, &list](const std::string& text) { list = parse_list(name, text); }, help)
        ->type_name("N,N,...");
}

template <class Text>
CLI::Option* add_text(CLI::App& app, const std::string& name, Text& text, const std::string& help,
                      const std::string& type = "TEXT") {
    return app
        .add_option_function<std::string>(
            name, [&text](const std::string& value) { text = value; }, help)
        ->type_name(type);
}

template <class Value>  // std::int64_t, std::uint64_t, or an optional one
CLI::Option* add_integer(CLI::App& app, const std::string& name, Value& value, const std::string& help,
                         const std::string& type = "N") {
    using Integer = std::conditional_t<std::is_same_v<Value, std::uint64_t>, std::uint64_t, std::int64_t>;
    return app
        .add_option_function<std::string>(
            name, [name, &value](const std::string& text) { value = parse_integer<Integer>(name, text); },
            help)
        ->type_name(type);
}

void add_common(CLI::App& app, CommonArguments& arguments) {
    app.add_flag("--json", arguments.json, "Print the result as JSON");
    add_text(app, "--device", arguments.device,
             "Device to use, as `invar devices` lists them; default: the best", "NAME");
    app.add_flag("-v,--verbose", arguments.verbose, "Say on stderr what is being done");
}

void add_model(CLI::App& app, std::string& model, const std::string& help) {
    add_text(app, "MODEL", model, help, "")->required();
}

void add_dtype(CLI::App& app, std::optional<std::string>& dtype) {
    add_text(app, "--dtype", dtype,
             "Type of weights, activations and cache: f32, f16, bf16; default: as saved", "TYPE")
        ->check(CLI::IsMember({"f32", "f16", "bf16"}));
}

void add_output(CLI::App& app, Output& output) {
    static const std::map<std::string, Output> kNames = {
        {"md", Output::md}, {"csv", Output::csv}, {"json", Output::json}};
    app.add_option_function<std::string>(
           "--output", [&output](const std::string& name) { output = kNames.at(name); },
           "Form of the result: md, csv, json; default: md")
        ->type_name("FORM")
        ->check(CLI::IsMember({"md", "csv", "json"}));
}

// One command: its arguments live as long as the function that runs it.
template <class Arguments>
class Command {
public:
    Command(CLI::App& parent, const std::string& name, const std::string& help, int (*run)(const Arguments&),
            std::function<int()>& chosen)
        : app(*parent.add_subcommand(name, help)), arguments(std::make_shared<Arguments>()) {
        add_common(app, *arguments);
        app.final_callback([run, &chosen, kept = arguments] { chosen = [run, kept] { return run(*kept); }; });
    }
    CLI::App& app;
    std::shared_ptr<Arguments> arguments;
};

void add_generate(CLI::App& root, std::function<int()>& chosen) {
    Command<GenerateArguments> command(root, "generate", "Continue a text with a model", run_generate,
                                       chosen);
    CLI::App& app = command.app;
    GenerateArguments& a = *command.arguments;
    add_model(app, a.model, "Model folder: config.json, safetensors, tokenizer.json");
    CLI::Option_group& prompt = *app.add_option_group("Prompt", "One of these is needed");
    add_text(prompt, "--prompt", a.prompt, "The text to continue");
    add_text(prompt, "--prompt-file", a.prompt_file,
             "A file with it, taken byte for byte; - is standard input", "FILE");
    add_list(prompt, "--tokens", a.tokens, "Its token ids; works without a tokenizer.json");
    prompt.require_option(1);
    add_integer(app, "--max-tokens", a.max_tokens,
                "Tokens to generate at most; default: 128, or what the model has room for");
    auto* greedy = app.add_flag("--greedy", a.greedy, "Always take the most likely token");
    app.add_option("--temperature", a.temperature, "Divides the logits; 0 is greedy; default: 0.8")
        ->type_name("X")
        ->excludes(greedy);
    add_integer(app, "--top-k", a.top_k, "Choose among the K most likely tokens; 0, the default: all", "K");
    app.add_option("--top-p", a.top_p,
                   "Choose among the most likely tokens that together have P; default: 0.95")
        ->type_name("P");
    app.add_option("--min-p", a.min_p,
                   "Leave out tokens less likely than P times the best; 0, the default: none")
        ->type_name("P");
    app.add_option("--repetition-penalty", a.repetition_penalty,
                   "Makes tokens that occurred less likely; 1, the default: off")
        ->type_name("X");
    add_integer(app, "--seed", a.seed, "The same seed gives the same text; default: 0");
    app.add_flag("--ignore-eos", a.ignore_eos, "Do not stop at the model's end tokens");
    app.add_option("--stop", a.stop, "Stop before this text; may be given several times")
        ->type_name("TEXT")
        ->allow_extra_args(false);
    add_dtype(app, a.dtype);
}

void add_logits(CLI::App& root, std::function<int()>& chosen) {
    Command<LogitsArguments> command(root, "logits", "Logits of every position", run_logits, chosen);
    CLI::App& app = command.app;
    LogitsArguments& a = *command.arguments;
    add_model(app, a.model, "Model folder: config.json, safetensors");
    add_list(app, "--tokens", a.tokens, "Token ids")->required();
    add_list(app, "--position-ids", a.position_ids, "Position of each token; default: 0,1,2,...");
    add_list(app, "--attention-mask", a.attention_mask,
             "1, or 0 to hide a token from the others; one for each token");
    app.add_flag("--hidden", a.hidden, "Also print the last hidden states, after the final norm");
    add_dtype(app, a.dtype);
}

void add_tokenize(CLI::App& root, std::function<int()>& chosen) {
    Command<TokenizeArguments> command(root, "tokenize", "Token ids of a text", run_tokenize, chosen);
    TokenizeArguments& a = *command.arguments;
    add_model(command.app, a.model, "Folder with a tokenizer.json, or such a file");
    CLI::Option_group& text = *command.app.add_option_group("Text", "One of these is needed");
    add_text(text, "--text", a.text, "The text");
    add_text(text, "--text-file", a.text_file, "A file with it, taken byte for byte; - is standard input",
             "FILE");
    text.require_option(1);
    command.app.add_flag("--no-special", a.no_special,
                         "Add no special tokens (such as beginning of text) around it");
}

void add_detokenize(CLI::App& root, std::function<int()>& chosen) {
    Command<DetokenizeArguments> command(root, "detokenize", "The text of token ids", run_detokenize, chosen);
    DetokenizeArguments& a = *command.arguments;
    add_model(command.app, a.model, "Folder with a tokenizer.json, or such a file");
    add_list(command.app, "--ids", a.ids, "Token ids")->required();
    command.app.add_flag("--skip-special", a.skip_special, "Leave out special tokens");
}

void add_bench(CLI::App& root, std::function<int()>& chosen) {
    CLI::App& bench = *root.add_subcommand("bench", "Measure a model or the devices, beside their ceilings");
    bench.require_subcommand(1);
    Command<BenchModelArguments> model(bench, "model", "Prefill and decode rates of a model", run_bench_model,
                                       chosen);
    BenchModelArguments& m = *model.arguments;
    add_text(model.app, "--shape", m.shape,
             "llama-1b, llama-8b, gpt2, tiny (random weights), or a model folder", "SHAPE")
        ->required();
    add_dtype(model.app, m.dtype);
    add_integer(model.app, "--batch", m.batch, "Sequences at once; default: 1", "N");
    add_integer(model.app, "--prompt", m.prompt, "Prompt tokens a sequence; default: 128", "N");
    add_integer(model.app, "--generate", m.generate, "Decode steps; default: 64", "N");
    add_integer(model.app, "--repetitions", m.repetitions, "Measured runs after one to warm up; default: 5",
                "R");
    add_output(model.app, m.output);
    Command<BenchDeviceArguments> device(bench, "device",
                                         "What devices can do: memory, copies, launches, operators",
                                         run_bench_device, chosen);
    add_output(device.app, device.arguments->output);
    Command<BenchKernelsArguments> kernels(
        bench, "kernels", "Products, norms and reductions at a model's shapes, beside the ceilings",
        run_bench_kernels, chosen);
    kernels.app.add_flag("--tune", kernels.arguments->tune,
                         "First try what there is to choose for products, and keep the fastest for this "
                         "machine: on Metal the shapes of "
                         "the kernels' tiles, which changes no result; on CUDA, for the products of --shape, "
                         "cuBLASLt's algorithms and what "
                         "takes activations along, which changes the last bits of results");
    add_text(kernels.app, "--shape", kernels.arguments->shape,
             "The model whose products --tune tries on CUDA: llama-1b, llama-8b, gpt2, tiny, or a model "
             "folder; default: "
             "llama-8b",
             "SHAPE");
    add_list(kernels.app, "--rows", kernels.arguments->rows,
             "Rows of these products: lengths of prompts, sequences at once; default: powers of two from 4 "
             "to 4096");
    kernels.app.add_flag("--small", kernels.arguments->small,
                         "Small sizes: to try the command, not the device");
    add_output(kernels.app, kernels.arguments->output);
}

CLI::Option* add_texts(CLI::App& app, const std::string& name, std::vector<std::string>& texts,
                       const std::string& help, const std::string& type) {
    return app.add_option(name, texts, help)->type_name(type)->allow_extra_args(false);
}

void add_launch(CLI::App& app, AsmArguments& a) {
    add_text(app, "--program", a.program, "Which program of the file; default: the only one", "NAME");
    add_texts(
        app, "--in", a.in,
        "A buffer from a NumPy file; bf16 buffers take f32 files, and smaller strided ones are broadcast",
        "NAME=FILE");
    add_texts(app, "--shape", a.shape, "A buffer of zeros of that shape", "NAME=N,N,...");
    add_texts(app, "--set", a.set, "A scalar; 0x... gives its bits", "NAME=VALUE");
    add_integer(app, "--count", a.count,
                "Elements of the launch; default: those of the first output, else of the first "
                "input",
                "N");
    add_list(app, "--grid", a.grid, "Blocks of a grid program; default: as many as the elements need")
        ->type_name("X,Y,Z");
    add_list(app, "--block", a.block, "Lanes of a block; default: the program's, else 256")
        ->type_name("X,Y,Z");
    app.add_flag("--no-fallback", a.no_fallback,
                 "Fail where the device cannot run the program, rather than use the cpu");
}

void add_asm(CLI::App& root, std::function<int()>& chosen) {
    CLI::App& group = *root.add_subcommand("asm", "Kernel programs: check, translate, run and time them");
    group.require_subcommand(1);
    const auto add_file = [](CLI::App& app, AsmArguments& a) {
        add_text(app, "FILE", a.file, "Program text, or a file of `asm save`; - is standard input", "")
            ->required();
    };
    Command<AsmArguments> check(group, "check", "Assemble and verify; say what each program is",
                                run_asm_check, chosen);
    add_file(check.app, *check.arguments);
    Command<AsmArguments> emit(group, "emit", "The source that a device's compiler gets", run_asm_emit,
                               chosen);
    add_file(emit.app, *emit.arguments);
    add_text(emit.app, "--target", emit.arguments->target,
             "cuda, opencl, metal, or text: the program's canonical form", "TARGET")
        ->required()
        ->check(CLI::IsMember({"cuda", "opencl", "metal", "text"}));
    emit.app.add_flag("--optimize", emit.arguments->optimize,
                      "Optimise the text too, as what devices compile always is");
    Command<AsmArguments> save(group, "save", "Write programs as bytes, with a version and a checksum",
                               run_asm_save, chosen);
    add_file(save.app, *save.arguments);
    add_text(save.app, "OUTPUT", save.arguments->to, "The file to write", "")->required();
    Command<AsmArguments> run(group, "run", "Run a program over NumPy files", run_asm_run, chosen);
    add_file(run.app, *run.arguments);
    add_launch(run.app, *run.arguments);
    add_texts(run.app, "--out", run.arguments->out,
              "Write a buffer to a NumPy file; without --in or --shape it is as large as the first input",
              "NAME=FILE");
    Command<AsmArguments> time(group, "time", "Time a program, beside the device's copy bandwidth",
                               run_asm_time, chosen);
    add_file(time.app, *time.arguments);
    add_launch(time.app, *time.arguments);
}

void add_profile(CLI::App& root, std::function<int()>& chosen) {
    Command<ProfileArguments> profile(
        root, "profile", "Where a command's time goes: its steps beside the ceilings", run_profile, chosen);
    CLI::App& app = profile.app;
    ProfileArguments& a = *profile.arguments;
    app.add_option("COMMAND", a.command,
                   "Behind --: a command of invar with its arguments, or the path of a program that uses the "
                   "library. What it prints goes to stderr")
        ->type_name("");
    add_text(app, "--from", a.from,
             "Make the table of a trace that INVAR_TRACE wrote before, in place of COMMAND", "FILE");
    add_text(app, "--trace", a.trace, "Keep the trace there, for chrome://tracing or ui.perfetto.dev",
             "FILE");
    add_text(app, "--memory", a.memory,
             "Draw the memory of the device there over time (sets INVAR_MEMORY_TRACE)", "FILE.svg");
    add_integer(app, "--top", a.top, "Show the N longest steps; 0, the default: all");
    app.add_flag("--no-measure", a.no_measure,
                 "Leave out the share of the ceiling where the device has not been measured yet");
    app.footer("Steps are launched one by one and waited for, so a traced run is slower than another.");
}

void add_doctor(CLI::App& root, std::function<int()>& chosen) {
    Command<DoctorArguments> doctor(
        root, "doctor", "Check the installation, measure the devices, say from which sizes they are worth it",
        run_doctor, chosen);
    auto* measure =
        doctor.app.add_flag("--measure", doctor.arguments->measure, "Measure again what is known already");
    doctor.app
        .add_flag("--no-measure", doctor.arguments->no_measure, "Measure nothing: what is known is shown")
        ->excludes(measure);
    doctor.app.footer("Exit code 1 where something is broken; a backend that is absent is not.");
}

}  // namespace

std::function<int()> parse_arguments(int argc, char** argv, int& exit_code) {
    std::function<int()> chosen;
    CLI::App root("Invar: tensor programs and language models on whatever this machine has.", "invar");
    root.set_version_flag("--version",
                          "invar " + std::string(version()) + " (" + std::string(commit()) + ")");
    root.require_subcommand(1);
    root.footer(
        "Every command has --help. Exit codes: 0 done, 1 the run failed, 2 wrong usage, 130 interrupted.");
    Command<DevicesArguments> devices(root, "devices", "Backends and their devices, or why one is absent",
                                      run_devices, chosen);
    add_generate(root, chosen);
    add_logits(root, chosen);
    add_tokenize(root, chosen);
    add_detokenize(root, chosen);
    add_bench(root, chosen);
    add_profile(root, chosen);
    add_doctor(root, chosen);
    add_asm(root, chosen);
    try {
        root.parse(argc, argv);
    } catch (const CLI::Success& success) {  // help, version
        root.exit(success, std::cout, std::cerr);
        exit_code = 0;
        return nullptr;
    } catch (const CLI::ParseError& error) {
        std::string command = "invar";
        for (const CLI::App* app = &root; !app->get_subcommands().empty();) {
            app = app->get_subcommands().front();
            command += " " + app->get_name();
        }
        std::fprintf(stderr, "invar: error: %s\nSee %s --help.\n", error.what(), command.c_str());
        exit_code = kExitUsage;
        return nullptr;
    }
    return chosen;
}

}  // namespace invar::cli
