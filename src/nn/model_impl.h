// SPDX-License-Identifier: Apache-2.0
// What a Model holds, and the KV cache that Sequence and Session share.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <invar/model.h>

#include "io/model_config.h"
#include "nn/architecture.h"

namespace invar {

struct Model::Impl {
    io::ModelConfig config;
    ModelInfo info;
    std::shared_ptr<Device> device;
    // The same model once more on a device: its files are read again, or its random weights drawn again.
    std::function<std::shared_ptr<const Model>(const std::string& device)> again;

    // The model on the cpu, which goes on where this one's device fails for good; made when it is first asked for, from the
    // files, which the cpu reads in place where the types are theirs.
    std::shared_ptr<const Model> stand_in() const;
    // The model with its weights. What holds them keeps the pointer, since restore() may put others there; throws DeviceLost
    // where they could not be read again.
    std::shared_ptr<const nn::Architecture> architecture() const;
    // epoch: the device's memory_epoch() before its weights were put there.
    void set_architecture(std::shared_ptr<const nn::Architecture> architecture, std::uint64_t epoch);
    // Whether the device's memory was lost since the weights were put there.
    bool lost() const;
    // Reads the weights again where they were lost.
    void restore() const;
    bool has_stand_in() const;
    static const Impl& of(const Model& model) { return *model.impl_; }

    // Throws InvalidArgument naming the id, its place and the vocabulary.
    void check_tokens(std::span<const std::int32_t> tokens) const;
    void check_capacity(std::int64_t capacity) const;

private:
    mutable std::mutex mutex_;
    mutable std::shared_ptr<const Model> stand_in_;
    mutable std::shared_ptr<const nn::Architecture> architecture_;
    mutable std::uint64_t epoch_ = 0;  // the device's memory_epoch() when the weights were put there
};

namespace nn {

// The caches of all layers for a number of sequences of one capacity; sequence i owns an equal run of blocks.
class KvCache {
public:
    KvCache(const Model::Impl& model, std::int64_t sequences, std::int64_t capacity);
    std::vector<State> states() const;  // one a layer, over the same memory each time
    const Tensor& block_table() const noexcept { return block_table_; }

private:
    std::vector<Tensor> layers_;
    Tensor block_table_;  // (sequences, blocks a sequence) i32
};

}  // namespace nn
}  // namespace invar
