// SPDX-License-Identifier: Apache-2.0
// Loading models, and running them whole.
#include <invar/model.h>

#include <algorithm>
#include <numeric>

#include <invar/error.h>
#include <invar/ops.h>

#include "base/log.h"
#include "device/allocator.h"
#include "device/device.h"
#include "device/memory_log.h"
#include "device/recovery.h"
#include "io/checkpoint.h"
#include "nn/model_impl.h"
#include "nn/model_products.h"
#include "nn/weights.h"
#include "tensor/evaluate.h"

namespace invar {
namespace {

constexpr std::int64_t kDefaultContext = 8192;

// Shapes of well-known models, for measuring without their weights.
struct NamedShape {
    const char* name;
    const char* model_type;
    const char* architecture;
    std::int64_t vocab, hidden, layers, heads, kv_heads, head_dim, intermediate, positions;
    bool tied;
};
constexpr NamedShape kShapes[] = {
    {"llama-1b", "llama", "LlamaForCausalLM", 128256, 2048, 16, 32, 8, 64, 8192, 131072, true},
    {"llama-8b", "llama", "LlamaForCausalLM", 128256, 4096, 32, 32, 8, 128, 14336, 131072, false},
    {"gpt2", "gpt2", "GPT2LMHeadModel", 50257, 768, 12, 12, 12, 64, 3072, 1024, true},
    {"tiny", "llama", "LlamaForCausalLM", 6144, 384, 8, 6, 2, 64, 768, 1024, true},
};

io::ModelConfig config_of(const NamedShape& s) {
    io::ModelConfig c;
    c.architecture = s.architecture;
    c.model_type = s.model_type;
    c.vocab_size = s.vocab;
    c.hidden_size = s.hidden;
    c.layers = s.layers;
    c.heads = s.heads;
    c.kv_heads = s.kv_heads;
    c.head_dim = s.head_dim;
    c.intermediate_size = s.intermediate;
    c.max_positions = s.positions;
    c.norm_eps = 1e-5;
    c.rope.theta = 500000.0;
    c.layer_uses_window.assign(static_cast<std::size_t>(s.layers), false);
    c.tie_word_embeddings = s.tied;
    c.hidden_act = c.model_type == "gpt2" ? "gelu_new" : "silu";
    c.dtype = DType::bf16;
    return c;
}

// Parameters of a decoder of this shape, near enough for a progress bar.
std::uint64_t rough_parameters(const io::ModelConfig& c) {
    const std::int64_t attention = 2 * c.hidden_size * (c.heads + c.kv_heads) * c.head_dim;
    const std::int64_t feed_forward = (c.model_type == "gpt2" ? 2 : 3) * c.hidden_size * c.intermediate_size;
    return static_cast<std::uint64_t>(c.layers * (attention + feed_forward) +
                                      (c.tie_word_embeddings ? 1 : 2) * c.vocab_size * c.hidden_size);
}

std::unique_ptr<Model::Impl> build(io::ModelConfig config, nn::WeightSource& weights,
                                   const LoadOptions& options) {
    const nn::ArchitectureRow& row = nn::find_architecture(config.architecture);
    if (options.max_context < 0 || options.max_context > config.max_positions)
        throw InvalidArgument("max_context is " + std::to_string(options.max_context) + "; this model has " +
                              std::to_string(config.max_positions) + " positions");
    const std::int64_t context =
        options.max_context > 0 ? options.max_context : std::min(config.max_positions, kDefaultContext);
    auto impl = std::make_unique<Model::Impl>();
    impl->device = weights.device();
    const std::uint64_t epoch = impl->device->memory_epoch();
    std::shared_ptr<const nn::Architecture> architecture = row.build({config, weights, context});

    ModelInfo& i = impl->info;
    i.architecture = config.architecture;
    i.vocab_size = config.vocab_size;
    i.hidden_size = config.hidden_size;
    i.layers = config.layers;
    i.heads = config.heads;
    i.kv_heads = config.kv_heads;
    i.head_dim = config.head_dim;
    i.max_positions = config.max_positions;
    i.context = context;
    i.stop_ids = config.stop_ids();
    i.dtype = weights.dtype();
    i.parameters = weights.parameters();
    i.weight_bytes = weights.bytes();
    i.bytes_per_token = weights.bytes() - architecture->lookup_bytes;
    i.flops_per_token = 2 * (i.bytes_per_token / size_of(i.dtype));
    impl->config = std::move(config);
    impl->set_architecture(std::move(architecture), epoch);
    return impl;
}

DType weight_type(const LoadOptions& options, const io::ModelConfig& config, DType saved) {
    const DType t = options.dtype.value_or(config.dtype.value_or(saved));
    if (t != DType::f32 && t != DType::f16 && t != DType::bf16)
        throw InvalidArgument("models run in f32, f16 or bf16; dtype " + std::string(dtype_name(t)) +
                              " was asked for");
    return t;
}

}  // namespace

void Model::Impl::check_tokens(std::span<const std::int32_t> tokens) const {
    for (std::size_t i = 0; i < tokens.size(); ++i)
        if (tokens[i] < 0 || tokens[i] >= info.vocab_size)
            throw InvalidArgument("token " + std::to_string(tokens[i]) + " at place " + std::to_string(i) +
                                  " is outside the vocabulary of " + std::to_string(info.vocab_size));
}

void Model::Impl::check_capacity(std::int64_t capacity) const {
    if (capacity <= 0 || capacity > info.context)
        throw InvalidArgument("a sequence of " + std::to_string(capacity) +
                              " tokens was asked for; this model was loaded for 1 to " +
                              std::to_string(info.context) + " (max_context; the model has " +
                              std::to_string(info.max_positions) + " positions)");
}

bool Model::Impl::has_stand_in() const {
    return recovery() == Recovery::any && device->name() != "cpu" && device->supports(Feature::arithmetic);
}

std::shared_ptr<const Model> Model::Impl::stand_in() const {
    const std::lock_guard lock(mutex_);
    if (!stand_in_) stand_in_ = again("cpu");
    return stand_in_;
}

std::shared_ptr<const nn::Architecture> Model::Impl::architecture() const {
    const std::lock_guard lock(mutex_);
    if (!architecture_)
        throw DeviceLost(device->name() +
                             ": the model's weights were lost with the device's memory, and could not "
                             "be read again; load the model anew",
                         true);
    return architecture_;
}

void Model::Impl::set_architecture(std::shared_ptr<const nn::Architecture> architecture,
                                   std::uint64_t epoch) {
    const std::lock_guard lock(mutex_);
    architecture_ = std::move(architecture);
    epoch_ = epoch;
}

bool Model::Impl::lost() const {
    const std::lock_guard lock(mutex_);
    return epoch_ != device->memory_epoch();
}

void Model::Impl::restore() const {
    const std::lock_guard lock(mutex_);
    if (epoch_ == device->memory_epoch()) return;
    const std::uint64_t epoch = device->memory_epoch();
    architecture_.reset();  // first, so that there is room for the new weights
    architecture_ = again(device->name())->impl_->architecture();
    epoch_ = epoch;
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;
const ModelInfo& Model::info() const noexcept { return impl_->info; }
const std::shared_ptr<Device>& Model::device() const noexcept { return impl_->device; }

std::shared_ptr<Model> Model::load(const std::filesystem::path& folder, const LoadOptions& options) {
    io::ModelConfig config = io::load_model_config(folder);
    nn::find_architecture(config.architecture);
    io::Checkpoint checkpoint = io::Checkpoint::open(folder);
    const DType saved = checkpoint.size() > 0 ? checkpoint.info(checkpoint.names()[0])->dtype : DType::f32;
    const DType dtype = weight_type(options, config, saved);
    const MemoryTag tag("weights");
    const auto weights =
        nn::checkpoint_weights(std::move(checkpoint), dtype, find_device(options.device), options.progress);
    std::unique_ptr<Impl> impl = build(std::move(config), *weights, options);
    // From wherever the process is then.
    impl->again = [from = std::filesystem::absolute(folder), o = options, dtype](const std::string& device) {
        LoadOptions again = o;
        again.device = device;
        again.dtype = dtype;
        return load(from, again);
    };
    return std::shared_ptr<Model>(new Model(std::move(impl)));
}

std::shared_ptr<Model> Model::random(std::string_view shape, const LoadOptions& options) {
    io::ModelConfig config = nn::shape_config(shape);
    const DType dtype = weight_type(options, config, DType::bf16);
    const MemoryTag tag("weights");
    const auto weights = nn::random_weights(dtype, find_device(options.device), options.progress,
                                            rough_parameters(config) * size_of(dtype));
    std::unique_ptr<Impl> impl = build(std::move(config), *weights, options);
    impl->again = [name = std::string(shape), o = options](const std::string& device) {
        LoadOptions again = o;
        again.device = device;
        return random(name, again);
    };
    return std::shared_ptr<Model>(new Model(std::move(impl)));
}

std::vector<std::string> Model::architectures() {
    std::vector<std::string> names;
    for (const nn::ArchitectureRow& row : nn::architecture_table()) names.emplace_back(row.name);
    return names;
}

std::vector<std::string> Model::shapes() {
    std::vector<std::string> names;
    for (const NamedShape& s : kShapes) names.emplace_back(s.name);
    return names;
}

namespace nn {

io::ModelConfig shape_config(std::string_view shape) {
    std::string known;
    for (const NamedShape& s : kShapes) {
        if (shape == s.name) return config_of(s);
        known += (known.empty() ? "" : ", ") + std::string(s.name);
    }
    throw InvalidArgument("shape '" + std::string(shape) + "' is not known; those that are: " + known);
}

KvCache::KvCache(const Model::Impl& model, std::int64_t sequences, std::int64_t capacity) {
    const std::int64_t per_sequence = (capacity + kKvBlockTokens - 1) / kKvBlockTokens;
    std::vector<std::int32_t> table(static_cast<std::size_t>(sequences * per_sequence));
    std::iota(table.begin(), table.end(), 0);
    block_table_ = Tensor::from_bytes(std::as_bytes(std::span(table)), DType::i32, {sequences, per_sequence},
                                      model.device);
    for (std::int64_t i = 0; i < model.info.layers; ++i)
        layers_.push_back(make_kv_cache(model.info.dtype, sequences * per_sequence, model.info.kv_heads,
                                        model.info.head_dim, model.device));
}

std::vector<State> KvCache::states() const {
    std::vector<State> states;
    for (const Tensor& t : layers_) states.emplace_back(t);
    return states;
}

}  // namespace nn

namespace {

// Where each token of one call goes.
struct Placement {
    std::vector<std::int32_t> positions, rows, slots;
    std::span<const std::int32_t> key_mask;  // (capacity) of row 0, or empty
};

ForwardResult run_tokens(const Model::Impl& m, const nn::KvCache& cache, std::span<const std::int32_t> tokens,
                         const Placement& at) {
    const Shape count{static_cast<std::int64_t>(tokens.size())};
    const auto upload = [&](std::span<const std::int32_t> v, const Shape& shape) {
        return Tensor::from_bytes(std::as_bytes(v), DType::i32, shape, m.device);
    };
    nn::ModelInputs inputs{upload(tokens, count),
                           upload(at.positions, count),
                           {cache.block_table(), upload(at.rows, count), upload(at.slots, count), {}}};
    if (!at.key_mask.empty())
        inputs.kv.key_mask = upload(at.key_mask, {1, static_cast<std::int64_t>(at.key_mask.size())});
    std::vector<State> states = cache.states();
    ForwardResult result;
    const std::shared_ptr<const nn::Architecture> architecture = m.architecture();
    result.hidden = architecture->hidden(inputs, states);
    result.logits = architecture->logits(result.hidden);
    const Tensor both[] = {result.hidden, result.logits};
    eval(both);
    return result;
}

// By the model on the cpu. The results go to the device if it takes them, else they stay.
ForwardResult whole_on_host(const Model::Impl& m, FunctionRef<ForwardResult(const Model::Impl&)> whole) {
    const std::shared_ptr<const Model> host = m.stand_in();
    ForwardResult result = whole(Model::Impl::of(*host));
    try {
        result = {result.logits.to(m.device), result.hidden.to(m.device)};
    } catch (const Error& e) {
        if (!recoverable(e)) throw;
        log(LogLevel::kWarning, m.device->name() + ": results stay on the cpu: " + e.what());
    }
    mark_changed(*result.logits.node(), true);
    mark_changed(*result.hidden.node(), true);
    return result;
}

void check_forward(const Model::Impl& m, std::span<const std::int32_t> tokens,
                   const ForwardOptions& options) {
    if (tokens.empty()) throw InvalidArgument("forward: no tokens; give at least one");
    m.check_tokens(tokens);
    const auto need_length = [&](std::span<const std::int32_t> list, const char* what) {
        if (!list.empty() && list.size() != tokens.size())
            throw InvalidArgument(std::string("forward: ") + what + " has " + std::to_string(list.size()) +
                                  " numbers for " + std::to_string(tokens.size()) + " tokens");
    };
    need_length(options.position_ids, "position_ids");
    need_length(options.attention_mask, "attention_mask");
    for (const std::int32_t p : options.position_ids)
        if (p < 0 || p >= m.info.context)
            throw InvalidArgument("forward: position " + std::to_string(p) + " is outside the " +
                                  std::to_string(m.info.context) +
                                  " positions that the model was loaded for");
}

}  // namespace

struct Sequence::Impl {
    std::shared_ptr<const Model> model;
    const Model::Impl& m;
    nn::KvCache cache;
    std::int64_t capacity, length = 0;
    std::vector<std::int32_t> mask;  // (capacity) what later tokens may see
    bool masked = false;

    Impl(std::shared_ptr<const Model> owner, const Model::Impl& impl, std::int64_t size)
        : model(std::move(owner)),
          m(impl),
          cache(impl, 1, size),
          capacity(size),
          mask(static_cast<std::size_t>(size), 1) {}
};

Sequence::Sequence(std::shared_ptr<const Model> model, std::int64_t capacity) {
    const Model::Impl& m = *model->impl_;
    m.check_capacity(capacity);
    impl_ = std::make_unique<Impl>(std::move(model), m, capacity);
}
Sequence::~Sequence() = default;
std::int64_t Sequence::length() const noexcept { return impl_->length; }

ForwardResult Sequence::append(std::span<const std::int32_t> tokens, const ForwardOptions& options) {
    Impl& s = *impl_;
    check_forward(s.m, tokens, options);
    const auto count = static_cast<std::int64_t>(tokens.size());
    if (count > s.capacity - s.length)
        throw InvalidArgument("forward: " + std::to_string(count) + " tokens after " +
                              std::to_string(s.length) + " overflow the sequence's " +
                              std::to_string(s.capacity));
    Placement at;
    at.slots.resize(tokens.size());
    std::iota(at.slots.begin(), at.slots.end(), static_cast<std::int32_t>(s.length));
    at.rows.assign(tokens.size(), 0);
    at.positions = at.slots;
    if (!options.position_ids.empty())
        at.positions.assign(options.position_ids.begin(), options.position_ids.end());
    for (std::size_t i = 0; i < options.attention_mask.size(); ++i) {
        s.mask[static_cast<std::size_t>(at.slots[i])] = options.attention_mask[i] != 0;
        s.masked = s.masked || options.attention_mask[i] == 0;
    }
    if (s.masked) at.key_mask = s.mask;
    ForwardResult result = run_tokens(s.m, s.cache, tokens, at);
    s.length += count;
    return result;
}

ForwardResult Model::forward(std::span<const std::int32_t> tokens, const ForwardOptions& options) const {
    const Impl& m = *impl_;
    check_forward(m, tokens, options);
    const auto count = static_cast<std::int64_t>(tokens.size());
    m.check_capacity(count);
    // As in transformers, position ids without a mask tell packed sequences apart: where they do not go up by one,
    // another sequence begins.
    Placement at;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const bool given = !options.position_ids.empty();
        at.positions.push_back(given ? options.position_ids[i] : static_cast<std::int32_t>(i));
        const bool next =
            i > 0 && given && options.attention_mask.empty() && at.positions[i] != at.positions[i - 1] + 1;
        at.rows.push_back(i == 0 ? 0 : at.rows.back() + (next ? 1 : 0));
        at.slots.push_back(i == 0 || next ? 0 : at.slots.back() + 1);
    }
    bool masked = false;
    for (const std::int32_t v : options.attention_mask) masked = masked || v == 0;
    if (masked) at.key_mask = options.attention_mask;
    const auto whole = [&](const Impl& on) {
        return run_tokens(on, nn::KvCache(on, at.rows.back() + 1, count), tokens, at);
    };
    try {
        return whole(m);
    } catch (const Error& e) {
        // What evaluation could mend it has; here there are its inputs and the cache, and the model's files.
        if (recovery() == Recovery::off || !recoverable(e)) throw;
        ForwardResult result;
        const auto trimmed = [&] {
            m.device->allocator().trim();
            result = whole(m);
        };
        const auto restored = [&] {
            m.restore();
            result = whole(m);
        };
        const auto on_host = [&] { result = whole_on_host(m, whole); };
        std::vector<Way> ways;
        if (m.lost()) ways.push_back({Rung::restored, restored});
        if (e.kind() == ErrorKind::kOutOfMemory) ways.push_back({Rung::trimmed, trimmed});
        if (m.has_stand_in()) ways.push_back({Rung::host, on_host});
        if (ways.empty()) throw;
        climb(m.device->name(), "a forward pass", e, ways);
        return result;
    }
}

}  // namespace invar
