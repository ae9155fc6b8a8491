// SPDX-License-Identifier: Apache-2.0
// Llama 2 and 3 (Touvron et al. 2023, Grattafiori et al. 2024): the decoder as it stands; rotary scaling, biases and tied
// embeddings come from config.json.
#include "nn/decoder.h"

namespace invar::nn {

std::unique_ptr<Architecture> build_llama(const BuildContext& context) {
    return std::make_unique<Decoder>(context, DecoderOptions{});
}

}  // namespace invar::nn
