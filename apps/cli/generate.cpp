// SPDX-License-Identifier: Apache-2.0
// `invar generate`: streams the continuation of a prompt, then says on stderr how fast it was and what share of the
// device's read bandwidth that is.
#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

#include <invar/error.h>
#include <invar/model.h>
#include <invar/tokenizer.h>

#include "base/log.h"
#include "commands.h"
#include "common.h"
#include "device/bandwidth.h"
#include "io/model_config.h"

namespace invar::cli {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kDefaultMaxTokens = 128;

// Passes text on except for what may be the beginning of a stop text, until one is found.
class StopFilter {
public:
    explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
        for (const std::string& stop : stops_) {
            if (stop.empty()) throw InvalidArgument("--stop: the text is empty");
        }
    }
    bool found() const noexcept { return found_; }
    // What may be shown now; last: nothing follows.
    std::string push(std::string_view piece, bool last = false) {
        if (found_) return {};
        kept_ += piece;
        std::size_t end = kept_.size();
        for (const std::string& stop : stops_) {
            if (const std::size_t at = kept_.find(stop); at != std::string::npos)
                end = std::min(end, at), found_ = true;
        }
        if (!found_ && !last) end = std::min(end, kept_.size() - longest_beginning());
        std::string shown = kept_.substr(0, end);
        kept_.erase(0, end);
        return shown;
    }

private:
    // Length of the longest end of kept_ that is the beginning of a stop text.
    std::size_t longest_beginning() const {
        std::size_t longest = 0;
        for (const std::string& stop : stops_) {
            for (std::size_t n = std::min(stop.size() - 1, kept_.size()); n > longest; --n) {
                if (kept_.compare(kept_.size() - n, n, stop, 0, n) == 0) longest = n;
            }
        }
        return longest;
    }
    std::vector<std::string> stops_;
    std::string kept_;
    bool found_ = false;
};

// What has been generated, as tokens and as text; prints the text as it comes.
class Writer {
public:
    Writer(const std::optional<Tokenizer>& tokenizer, std::vector<std::string> stops, bool stream)
        : tokenizer_(tokenizer), filter_(std::move(stops)), stream_(stream) {
        if (tokenizer_) decoder_.emplace(*tokenizer_, true);
    }
    void push(std::int32_t token) {
        tokens.push_back(token);
        // Models often have more rows of logits than their tokenizer has tokens: such ids have no text.
        if (decoder_ && tokenizer_->has_token(token)) show(filter_.push(decoder_->push(token)));
    }
    void finish() {
        if (decoder_) show(filter_.push(decoder_->flush(), true));
    }
    bool stopped() const noexcept { return filter_.found(); }
    std::vector<std::int32_t> tokens;
    std::string text;

private:
    void show(const std::string& piece) {
        text += piece;
        if (!stream_ || piece.empty()) return;
        write_out(piece);
        flush_out();
    }
    const std::optional<Tokenizer>& tokenizer_;
    std::optional<StreamDecoder> decoder_;
    StopFilter filter_;
    bool stream_;
};

struct Speed {
    double load_seconds = 0;
    double prefill_seconds = 0;
    double decode_seconds = 0;
    std::int64_t decode_steps = 0;
    double prompt_rate = 0, decode_rate = 0;     // tokens/s
    double bytes_per_second = 0, bandwidth = 0;  // read by decoding; measured ceiling, 0 where not known
};

SamplingOptions sampling_of(const GenerateArguments& arguments) {
    SamplingOptions sampling;
    const bool greedy = arguments.greedy || arguments.temperature == 0;
    sampling.temperature = greedy ? 0.0f : static_cast<float>(arguments.temperature);
    if (arguments.top_k > INT32_MAX)
        throw InvalidArgument("--top-k: " + std::to_string(arguments.top_k) + " is too large");
    sampling.top_k = static_cast<int>(std::max<std::int64_t>(arguments.top_k, -1));
    sampling.top_p = static_cast<float>(arguments.top_p);
    sampling.min_p = static_cast<float>(arguments.min_p);
    sampling.repetition_penalty = static_cast<float>(arguments.repetition_penalty);
    sampling.seed = arguments.seed;
    return sampling;
}

std::vector<std::int32_t> prompt_of(const GenerateArguments& arguments,
                                    const std::optional<Tokenizer>& tokenizer) {
    if (arguments.tokens) {
        if (arguments.tokens->empty())
            throw InvalidArgument("--tokens: the prompt is empty; give at least one token id");
        return to_ids(*arguments.tokens, "--tokens: token id");
    }
    const std::string text = arguments.prompt ? *arguments.prompt : read_text(*arguments.prompt_file);
    if (text.empty()) throw InvalidArgument("the prompt is empty; give a text, or ids with --tokens");
    std::vector<std::int32_t> ids = tokenizer->encode(text);
    if (ids.empty())
        throw InvalidArgument("the prompt is empty: it has no tokens; give a text, or ids with --tokens");
    return ids;
}

// How many tokens to generate after a prompt of that length. Throws InvalidArgument when the model has no room.
std::int64_t tokens_to_generate(const GenerateArguments& arguments, std::int64_t prompt,
                                std::int64_t positions) {
    const std::int64_t room = positions - prompt;
    if (room < 1) {
        throw InvalidArgument(
            format("the prompt has %lld tokens, which leaves no room in the model's %lld positions; "
                   "shorten it",
                   static_cast<long long>(prompt), static_cast<long long>(positions)));
    }
    if (!arguments.max_tokens) return std::min(kDefaultMaxTokens, room);
    if (*arguments.max_tokens > room) {
        throw InvalidArgument(
            format("--max-tokens: %lld tokens after a prompt of %lld do not fit into the model's %lld "
                   "positions; ask for at most %lld",
                   static_cast<long long>(*arguments.max_tokens), static_cast<long long>(prompt),
                   static_cast<long long>(positions), static_cast<long long>(room)));
    }
    return *arguments.max_tokens;
}

void measure_share(Speed& speed, const Model& model, std::size_t prompt) {
    if (speed.prefill_seconds > 0) speed.prompt_rate = static_cast<double>(prompt) / speed.prefill_seconds;
    if (speed.decode_steps == 0 || speed.decode_seconds <= 0) return;
    speed.decode_rate = static_cast<double>(speed.decode_steps) / speed.decode_seconds;
    speed.bytes_per_second = speed.decode_rate * static_cast<double>(model.info().bytes_per_token);
    Device& device = *model.device();
    // Measured once a machine, then known; not when the user wants out.
    speed.bandwidth = (interrupted() ? known_properties(device) : measured_properties(device)).read_bandwidth;
}

std::string describe(const Speed& speed, std::size_t prompt, std::size_t generated) {
    std::string line = format("prompt %zu tokens, %.1f tokens/s; generated %zu tokens", prompt,
                              speed.prompt_rate, generated);
    if (speed.decode_rate > 0) {
        line += format(", %.1f tokens/s, %.1f GB/s", speed.decode_rate, speed.bytes_per_second / 1e9);
        if (speed.bandwidth > 0) {
            line += format(" (%.0f%% of the measured read bandwidth, %.1f GB/s)",
                           100 * speed.bytes_per_second / speed.bandwidth, speed.bandwidth / 1e9);
        }
    }
    return line;
}

nlohmann::ordered_json to_json(const Speed& speed) {
    nlohmann::ordered_json json = {{"load_seconds", speed.load_seconds},
                                   {"prompt_tokens_per_second", speed.prompt_rate}};
    if (speed.decode_rate > 0) {
        json["decode_tokens_per_second"] = speed.decode_rate;
        json["gigabytes_per_second"] = speed.bytes_per_second / 1e9;
        if (speed.bandwidth > 0) {
            json["read_bandwidth_gigabytes_per_second"] = speed.bandwidth / 1e9;
            json["share_of_read_bandwidth"] = speed.bytes_per_second / speed.bandwidth;
        }
    }
    return json;
}

void describe_run(const Model& model, const SamplingOptions& sampling, double load_seconds) {
    const ModelInfo& info = model.info();
    note(info.architecture + ", " + format("%.1f", static_cast<double>(info.parameters) / 1e6) +
         " million parameters, " + format_bytes(info.weight_bytes) + " of weights in " +
         std::string(dtype_name(info.dtype)) + ", on " + model.device()->name() + " (" +
         model.device()->properties().description + ")" + format(", loaded in %.2f s", load_seconds));
    if (sampling.temperature == 0) {
        note("greedy");
    } else {
        note(format("temperature %g, top-k %d, top-p %g, min-p %g, repetition penalty %g, seed %llu",
                    sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p,
                    sampling.repetition_penalty, static_cast<unsigned long long>(sampling.seed)));
    }
}

// Generates up to count tokens; returns why it ended.
std::string_view generate(Session& session, const std::vector<std::int32_t>& prompt,
                          const SamplingOptions& sampling, std::int64_t count,
                          const std::vector<std::int64_t>& stop_ids, bool verbose, Writer& writer,
                          Speed& speed) {
    std::int32_t token = 0;
    {
        Progress progress("reading the prompt", verbose);
        const auto begin = Clock::now();
        token = session.start({&prompt, 1}, {&sampling, 1}, [&](std::int64_t done, std::int64_t total) {
            progress.update(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
            check_interrupted();
        })[0];
        speed.prefill_seconds = seconds_since(begin);
    }
    // The whole loop is timed: while a token is written the device may be at work on the next one.
    const auto begin = Clock::now();
    while (true) {
        speed.decode_seconds = seconds_since(begin);
        writer.push(token);
        if (std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end()) return "stop";
        if (writer.stopped()) return "stop_text";
        if (static_cast<std::int64_t>(writer.tokens.size()) >= count) return "length";
        if (interrupted()) return "interrupted";
        session.step({&token, 1}, static_cast<std::int64_t>(writer.tokens.size()) + 1 < count);
        ++speed.decode_steps;
    }
}

}  // namespace

int run_generate(const GenerateArguments& arguments) {
    if (arguments.verbose) set_log_level(LogLevel::kInfo);
    if (arguments.max_tokens && *arguments.max_tokens < 1) {
        throw InvalidArgument("--max-tokens: " + std::to_string(*arguments.max_tokens) +
                              "; it must be at least 1");
    }
    // Everything that is quickly known to be wrong is said before the weights are read.
    const SamplingOptions sampling = sampling_of(arguments);
    make_sampling_rows({&sampling, 1}, find_device(arguments.device));
    check_model_folder(arguments.model);
    std::optional<Tokenizer> tokenizer;
    if (!arguments.tokens || !arguments.stop.empty() || has_tokenizer(arguments.model)) {
        tokenizer = Tokenizer::load(arguments.model);
    }
    const std::vector<std::int32_t> prompt = prompt_of(arguments, tokenizer);
    const auto prompt_length = static_cast<std::int64_t>(prompt.size());
    const io::ModelConfig config = io::load_model_config(arguments.model);
    const auto outside =
        std::find_if(prompt.begin(), prompt.end(), [&](std::int32_t id) { return id >= config.vocab_size; });
    if (outside != prompt.end()) {
        throw InvalidArgument(
            format("the prompt's token id %d is out of range; the model has tokens 0 to %lld", *outside,
                   static_cast<long long>(config.vocab_size) - 1));
    }
    const std::int64_t count = tokens_to_generate(arguments, prompt_length, config.max_positions);
    Writer writer(tokenizer, arguments.stop, !arguments.json);
    catch_interrupts();

    LoadOptions load{
        .device = arguments.device, .dtype = {}, .max_context = prompt_length + count, .progress = {}};
    if (arguments.dtype) load.dtype = parse_dtype(*arguments.dtype);
    std::shared_ptr<Model> model;
    Speed speed;
    {
        Progress progress("loading the weights", arguments.verbose);
        load.progress = [&](std::uint64_t done, std::uint64_t total) {
            progress.update(done, total);
            check_interrupted();
        };
        const auto begin = Clock::now();
        model = Model::load(arguments.model, load);
        speed.load_seconds = seconds_since(begin);
    }
    if (arguments.verbose) describe_run(*model, sampling, speed.load_seconds);

    Session session(model, {.sequences = 1, .capacity = prompt_length + count});
    const std::vector<std::int64_t> stop_ids =
        arguments.ignore_eos ? std::vector<std::int64_t>{} : model->info().stop_ids;
    const std::string_view reason =
        generate(session, prompt, sampling, count, stop_ids, arguments.verbose, writer, speed);
    writer.finish();
    if (!arguments.json) {
        write_out("\n");
        flush_out();
    }
    measure_share(speed, *model, prompt.size());
    if (arguments.json) {
        const nlohmann::ordered_json result = {{"tokens", writer.tokens},        {"text", writer.text},
                                               {"prompt_tokens", prompt.size()}, {"finish_reason", reason},
                                               {"seed", arguments.seed},         {"speed", to_json(speed)}};
        write_out(result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    } else {
        note(describe(speed, prompt.size(), writer.tokens.size()));
    }
    return interrupted() ? kExitInterrupted : 0;
}

}  // namespace invar::cli
