// SPDX-License-Identifier: Apache-2.0
// The table of architectures.
#include "nn/architecture.h"

#include <invar/error.h>
#include <invar/ops.h>

namespace invar::nn {
namespace {

constexpr ArchitectureRow kTable[] = {
    {"GPT2LMHeadModel", build_gpt2},       {"LlamaForCausalLM", build_llama},
    {"MistralForCausalLM", build_mistral}, {"Qwen2ForCausalLM", build_qwen2},
    {"Qwen3ForCausalLM", build_qwen3},
};

}  // namespace

Tensor Architecture::logits(const Tensor& hidden) const {
    return matmul(hidden, head.transpose(), DType::f32);
}

std::span<const ArchitectureRow> architecture_table() { return kTable; }

const ArchitectureRow& find_architecture(const std::string& name) {
    std::string known;
    for (const ArchitectureRow& row : kTable) {
        if (name == row.name) return row;
        known += (known.empty() ? "" : ", ") + std::string(row.name);
    }
    throw Unsupported("architecture '" + name + "' is not supported; those that are: " + known);
}

}  // namespace invar::nn
