// SPDX-License-Identifier: Apache-2.0
// `invar logits`: the logits of every position of a token sequence, and on request the last hidden states.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include <invar/error.h>
#include <invar/model.h>
#include <invar/tokenizer.h>

#include "base/log.h"
#include "commands.h"
#include "common.h"

namespace invar::cli {

namespace {

constexpr std::size_t kShown = 5;  // logits of a position that a person gets to see

// Rows as a JSON array of arrays, each number as short as it can be read back exactly; what is no number is null.
// Written row by row: the logits of a long text are larger than the model.
void write_rows(const std::vector<float>& values, std::size_t width) {
    std::string line;
    for (std::size_t begin = 0; begin < values.size(); begin += width) {
        line = begin == 0 ? "[[" : ",\n[";
        for (std::size_t i = begin; i < begin + width; ++i) {
            if (i > begin) line += ',';
            char digits[32];
            const auto [end, error] = std::to_chars(digits, digits + sizeof digits, values[i]);
            line += error == std::errc() && std::isfinite(values[i]) ? std::string_view(digits, end) : "null";
        }
        line += ']';
        write_out(line);
    }
    write_out(values.empty() ? "[]" : "]");
}

void print_position(std::size_t position, std::int32_t token, std::span<const float> logits,
                    const std::optional<Tokenizer>& tokenizer) {
    const auto spelled = [&](std::int32_t id) {
        return tokenizer && tokenizer->has_token(id) ? " " + std::string(tokenizer->token(id))
                                                     : std::string();
    };
    std::vector<std::int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    const std::size_t shown = std::min(kShown, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                      [&](std::int32_t a, std::int32_t b) {
                          const float x = logits[static_cast<std::size_t>(a)],
                                      y = logits[static_cast<std::size_t>(b)];
                          if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
                          return x > y || (x == y && a < b);
                      });
    std::string line = format("%zu (%d%s):", position, token, spelled(token).c_str());
    for (std::size_t i = 0; i < shown; ++i) {
        line += format("  %d%s %.4f", order[i], spelled(order[i]).c_str(),
                       logits[static_cast<std::size_t>(order[i])]);
    }
    write_out(line + "\n");
}

void print_hidden(std::size_t position, std::span<const float> hidden) {
    double squares = 0;
    for (const float x : hidden) squares += static_cast<double>(x) * x;
    std::string line = format("%zu hidden: norm %.4f:", position, std::sqrt(squares));
    for (std::size_t i = 0; i < std::min(kShown, hidden.size()); ++i) line += format("  %.4f", hidden[i]);
    write_out(line + (hidden.size() > kShown ? "  ...\n" : "\n"));
}

}  // namespace

int run_logits(const LogitsArguments& arguments) {
    if (arguments.verbose) set_log_level(LogLevel::kInfo);
    if (arguments.tokens.empty())
        throw InvalidArgument("--tokens: the sequence is empty; give at least one token id");
    const std::vector<std::int32_t> tokens = to_ids(arguments.tokens, "--tokens: token id");
    // An empty list would mean "not given" to the library.
    const auto list = [&](const std::optional<std::vector<std::int64_t>>& values, const char* name,
                          const char* what) {
        if (!values) return std::vector<std::int32_t>{};
        if (values->size() != tokens.size()) {
            throw InvalidArgument(format("%s: %zu numbers for %zu tokens; give one for each token", name,
                                         values->size(), tokens.size()));
        }
        return to_ids(*values, what);
    };
    const auto positions = list(arguments.position_ids, "--position-ids", "--position-ids: position");
    const auto mask = list(arguments.attention_mask, "--attention-mask", "--attention-mask: value");
    for (const std::int32_t value : mask) {
        if (value > 1) throw InvalidArgument(format("--attention-mask: %d; each value is 0 or 1", value));
    }
    check_model_folder(arguments.model);
    std::optional<Tokenizer> tokenizer;
    if (!arguments.json && has_tokenizer(arguments.model)) tokenizer = Tokenizer::load(arguments.model);

    LoadOptions load{.device = arguments.device, .dtype = {}, .max_context = 0, .progress = {}};
    if (arguments.dtype) load.dtype = parse_dtype(*arguments.dtype);
    std::shared_ptr<Model> model;
    {
        Progress progress("loading the weights", arguments.verbose);
        load.progress = [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); };
        model = Model::load(arguments.model, load);
    }
    const ForwardResult result = model->forward(tokens, {.position_ids = positions, .attention_mask = mask});
    const std::vector<float> logits = result.logits.to_vector<float>();
    const std::size_t vocabulary = logits.size() / tokens.size();
    std::vector<float> hidden;
    if (arguments.hidden) hidden = result.hidden.astype(DType::f32).to_vector<float>();
    const std::size_t width = hidden.size() / tokens.size();

    if (arguments.json) {
        write_out(format("{\"shape\": [%zu, %zu], \"logits\": ", tokens.size(), vocabulary));
        write_rows(logits, vocabulary);
        if (arguments.hidden) {
            write_out(format(", \"hidden_shape\": [%zu, %zu], \"hidden\": ", tokens.size(), width));
            write_rows(hidden, width);
        }
        write_out("}\n");
        return 0;
    }
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        print_position(t, tokens[t], std::span(logits).subspan(t * vocabulary, vocabulary), tokenizer);
        if (arguments.hidden) print_hidden(t, std::span(hidden).subspan(t * width, width));
    }
    return 0;
}

}  // namespace invar::cli
