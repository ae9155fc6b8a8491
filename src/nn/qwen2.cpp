// SPDX-License-Identifier: Apache-2.0
// Qwen2 (Yang et al. 2024): the decoder with biases on q, k and v and, in some layers, a sliding window.
#include "nn/decoder.h"

namespace invar::nn {

std::unique_ptr<Architecture> build_qwen2(const BuildContext& context) {
    return std::make_unique<Decoder>(context, DecoderOptions{});
}

}  // namespace invar::nn
