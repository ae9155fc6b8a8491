// SPDX-License-Identifier: Apache-2.0
// Mistral (Jiang et al. 2023): the decoder with a sliding window in every layer, as config.json says.
#include "nn/decoder.h"

namespace invar::nn {

std::unique_ptr<Architecture> build_mistral(const BuildContext& context) {
    return std::make_unique<Decoder>(context, DecoderOptions{});
}

}  // namespace invar::nn
