// SPDX-License-Identifier: Apache-2.0
// Qwen3 (Yang et al. 2025): the decoder with an RMS norm on each head of q and k.
#include "nn/decoder.h"

namespace invar::nn {

std::unique_ptr<Architecture> build_qwen3(const BuildContext& context) {
    return std::make_unique<Decoder>(context, DecoderOptions{.qk_norm = true});
}

}  // namespace invar::nn
