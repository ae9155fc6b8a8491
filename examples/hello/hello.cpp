// SPDX-License-Identifier: Apache-2.0
// The smallest program that lets a model write, on an installed Invar: hello MODEL_FOLDER TEXT
#include <invar/error.h>
#include <invar/model.h>
#include <invar/tokenizer.h>

#include <iostream>

int main(int argc, char** argv) try {
    const std::string folder = argc > 1 ? argv[1] : "models/tiny", prompt = argc > 2 ? argv[2] : "The file";
    const auto model = invar::Model::load(folder);
    const auto tokenizer = invar::Tokenizer::load(folder);
    invar::Session session(model, {.capacity = 128});
    invar::StreamDecoder text(tokenizer);
    std::cout << prompt;
    std::vector<std::int32_t> next =
        session.start({{tokenizer.encode(prompt)}}, {{invar::SamplingOptions{}}});
    for (int i = 0; i < 64; ++i, next = session.step()) std::cout << text.push(next[0]) << std::flush;
    std::cout << text.flush() << "\n";
} catch (const invar::Error& e) {
    std::cerr << "hello: " << e.what() << "\n";
    return 1;
}
