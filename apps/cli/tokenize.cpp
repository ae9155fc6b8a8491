// SPDX-License-Identifier: Apache-2.0
// `invar tokenize` and `invar detokenize`: text to token ids and back. A folder with only a tokenizer.json will do.
#include <nlohmann/json.hpp>

#include <invar/device.h>
#include <invar/tokenizer.h>

#include "commands.h"
#include "common.h"

namespace invar::cli {

int run_tokenize(const TokenizeArguments& arguments) {
    if (!arguments.device.empty()) find_device(arguments.device);  // a wrong name is an error everywhere
    const Tokenizer tokenizer = Tokenizer::load(arguments.model);
    const std::string text = arguments.text ? *arguments.text : read_text(*arguments.text_file);
    const std::vector<std::int32_t> ids = tokenizer.encode(text, !arguments.no_special);
    if (arguments.verbose) {
        for (const std::int32_t id : ids) note(format("%8d  ", id) + std::string(tokenizer.token(id)));
        note(format("%zu bytes, %zu tokens, vocabulary of %d", text.size(), ids.size(),
                    tokenizer.vocab_size()));
    }
    if (arguments.json) {
        write_out(nlohmann::ordered_json({{"ids", ids}}).dump() + "\n");
        return 0;
    }
    std::string line;
    for (const std::int32_t id : ids) line += (line.empty() ? "" : ",") + std::to_string(id);
    write_out(line + "\n");
    return 0;
}

int run_detokenize(const DetokenizeArguments& arguments) {
    if (!arguments.device.empty()) find_device(arguments.device);
    const Tokenizer tokenizer = Tokenizer::load(arguments.model);
    const std::string text = tokenizer.decode(to_ids(arguments.ids, "--ids"), arguments.skip_special);
    write_out(arguments.json ? nlohmann::ordered_json({{"text", text}}).dump() + "\n" : text + "\n");
    return 0;
}

}  // namespace invar::cli
