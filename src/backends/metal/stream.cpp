// SPDX-License-Identifier: Apache-2.0
// Streams of a Metal device: a queue, and one command buffer with one compute encoder that is open for as long as possible. Its
// dispatches may run side by side; a barrier stands only before one that shares a piece of memory with an earlier one of which
// either writes it. Copies and fills are kernels too, so that the encoder goes on.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "backends/metal/capture.h"
#include "backends/metal/context.h"
#include "backends/metal/mps.h"
#include "backends/metal/program.h"
#include "backends/metal/progress.h"
#include "base/trace.h"
#include "device/faults.h"

namespace invar::metal {
namespace {

constexpr std::size_t kMaxArguments = 31;      // of a kernel in Metal
constexpr std::size_t kMaxInlineBytes = 4096;  // that an encoder takes by value
constexpr std::size_t kMaxInFlight = 48;       // command buffers; a queue has 64 and blocks beyond
constexpr std::size_t kLargeMove = std::size_t{1}
                                   << 20;  // bytes for which waiting is cheaper than copying twice
constexpr std::size_t kStagingPiece = std::size_t{16}
                                      << 20;  // of an upload to memory that the host cannot reach
constexpr std::size_t kMaxAccesses = 128;     // between two barriers that are compared with each launch

// Seconds of the clock in which Metal says when command buffers ran.
double clock_seconds() {
    const Pool pool;
    return NS::ProcessInfo::processInfo()->systemUptime();
}

// What a timed event knows: the command buffers committed since the timed event before it, or, where the stream had nothing to
// do any more, when that was seen.
struct Timing {
    NS::SharedPtr<MTL::CommandBuffer> first, last;
    double idle_since = 0;
    std::uint64_t number = 0;  // of the stream's timed events; 0: not timed
    double moment() const { return last ? last->GPUEndTime() : idle_since; }
};

class MetalEvent final : public Event {
public:
    // count: of the stream's command buffers before it. value: that the gpu event then has.
    MetalEvent(std::shared_ptr<Context> context, std::shared_ptr<Progress> progress, std::uint64_t count,
               NS::SharedPtr<MTL::SharedEvent> gpu_event, std::uint64_t value, Timing timing = {})
        : context_(std::move(context)),
          progress_(std::move(progress)),
          count_(count),
          gpu_event_(std::move(gpu_event)),
          value_(value),
          timing_(std::move(timing)) {}

    bool done() const override { return progress_->ended(count_); }
    void wait() const override {
        progress_->wait(count_);
        if (const std::exception_ptr error = progress_->error_before(count_)) std::rethrow_exception(error);
    }

    std::optional<double> seconds_since(const Event& earlier) const override {
        const auto* own = dynamic_cast<const MetalEvent*>(&earlier);
        if (!own || own->progress_ != progress_ || !timing_.number || !own->timing_.number || !done() ||
            progress_->error_before(count_))
            return std::nullopt;
        double begin = own->timing_.moment();
        // The next command buffer begins when the host has committed it, which is nobody's work.
        if (timing_.first && timing_.number == own->timing_.number + 1)
            begin = std::max(begin, timing_.first->GPUStartTime());
        return std::max(timing_.moment() - begin, 0.0);
    }

    const Context& context() const noexcept { return *context_; }
    const std::shared_ptr<Progress>& progress() const noexcept { return progress_; }
    std::uint64_t count() const noexcept { return count_; }
    MTL::SharedEvent* gpu_event() const noexcept { return gpu_event_.get(); }
    std::uint64_t value() const noexcept { return value_; }

private:
    std::shared_ptr<Context> context_;
    std::shared_ptr<Progress> progress_;
    std::uint64_t count_;
    NS::SharedPtr<MTL::SharedEvent> gpu_event_;
    std::uint64_t value_;
    Timing timing_;
};

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes) + " bytes"; }

class MetalStream final : public Stream {
public:
    explicit MetalStream(std::shared_ptr<Context> context)
        : context_(std::move(context)),
          capture_(context_->device()),
          queue_(context_->new_queue()),
          gpu_event_(new_event()),
          progress_(std::make_shared<Progress>(context_, gpu_event_)) {}

    ~MetalStream() override {
        drain();  // buffers that it uses may go right after it
    }

    void launch(Kernel& kernel, const LaunchConfig& config, std::span<const BufferRef> buffers,
                std::span<const std::byte> params) override {
        begin_call();
        auto* own = dynamic_cast<MetalKernel*>(&kernel);
        auto* program = own ? nullptr : dynamic_cast<MetalProgram*>(&kernel);
        auto* grid = own || program ? nullptr : dynamic_cast<MetalGridProgram*>(&kernel);
        const auto* product = own || program || grid ? nullptr : dynamic_cast<const MpsProduct*>(&kernel);
        const Context* made_in = own       ? &own->context()
                                 : product ? &product->context()
                                 : program ? &program->context()
                                 : grid    ? &grid->kernel().context()
                                           : nullptr;
        if (made_in != context_.get())
            throw InvalidArgument(name() + ": kernel '" + kernel.name() +
                                  "' was compiled for another device");
        if (params.size() > kMaxParamsBytes)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' is given " +
                                  bytes_text(params.size()) + " of parameters; at most " +
                                  std::to_string(kMaxParamsBytes) + " are passed");
        if (buffers.size() + 2 > kMaxArguments)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' is given " +
                                  std::to_string(buffers.size()) + " buffers; at most " +
                                  std::to_string(kMaxArguments - 2) + " are passed");
        std::array<Piece, kMaxArguments> arguments;
        std::array<PlacedBuffer, kMaxArguments> placed;
        for (std::size_t b = 0; b < buffers.size(); ++b) {
            const MetalBuffer& buffer = own_buffer(buffers[b], "argument of a kernel");
            arguments[b] = piece_of(buffer, buffers[b]);
            placed[b] = {arguments[b].address, buffers[b].size};
        }
        const auto pieces = std::span(arguments).first(buffers.size());
        if (product) return multiply(*product, pieces, params);
        if (own) return start(kernel.name(), *own, config, pieces, params, nullptr);
        if (grid) {
            const Dim3 &g = config.grid, &b = config.block;
            GridWords words;
            grid->shape().prepare(params, {g.x, g.y, g.z}, {b.x, b.y, b.z},
                                  std::span(placed).first(buffers.size()), words);
            if (!g.x || !g.y || !g.z) return;
            LaunchConfig sizes = config;
            sizes.shared_bytes = 0;  // its shared memory is its own
            return start(kernel.name(), grid->kernel(), sizes, pieces,
                         std::as_bytes(std::span(words.words).first(words.count)), grid->faults());
        }
        LaunchConfig at;
        WrittenLaunch written;
        own = program->prepare(params, std::span(placed).first(buffers.size()), at, written);
        if (own)
            start(kernel.name(), *own, at, pieces,
                  std::as_bytes(std::span(written.words).first(written.word_count)), program->faults());
    }

    void copy(BufferRef dst, BufferRef src) override {
        begin_call();
        check_ref(dst, name() + ": destination of a copy");
        check_ref(src, name() + ": source of a copy");
        const std::size_t bytes = std::min(dst.size, src.size);
        if (dst.buffer == src.buffer && bytes && dst.offset < src.offset + bytes &&
            src.offset < dst.offset + bytes)
            throw InvalidArgument(name() +
                                  ": source and destination of a copy overlap; copy through another buffer");
        const auto* to = ours(dst);
        const auto* from = ours(src);
        if (!to && !from)
            throw InvalidArgument(name() +
                                  ": a copy between buffers of other devices; use a stream of theirs");
        if (!bytes) return;
        if (!from)
            to_device(piece_of(*to, dst), host_of(src, "source of a copy"), bytes);
        else if (!to)
            to_host(host_of(dst, "destination of a copy"), piece_of(*from, src), bytes);
        else
            copy_pieces(piece_of(*to, dst), piece_of(*from, src), bytes);
    }

    void upload(BufferRef dst, const void* src, std::size_t bytes) override {
        begin_call();
        const MetalBuffer& to = own_buffer(dst, "destination of an upload");
        check_room(dst, bytes, "destination of an upload");
        if (bytes) to_device(piece_of(to, dst), static_cast<const std::byte*>(src), bytes);
    }

    void download(void* dst, BufferRef src, std::size_t bytes) override {
        begin_call();
        const MetalBuffer& from = own_buffer(src, "source of a download");
        check_room(src, bytes, "source of a download");
        if (bytes) to_host(static_cast<std::byte*>(dst), piece_of(from, src), bytes);
    }

    void fill(BufferRef dst, std::uint8_t value) override {
        begin_call();
        Piece to = piece_of(own_buffer(dst, "destination of a fill"), dst);
        const std::uint32_t four = value * 0x01010101U;
        std::size_t wide = to.address % 16 == 0 ? dst.size / 16 : 0, narrow = dst.size - 16 * wide;
        const auto fill = [&](Context::Mover mover, std::size_t bytes_each, std::size_t words) {
            if (words == 0) return;
            to.bytes = words * bytes_each;
            move(mover, to, words,
                 [&](MTL::ComputeCommandEncoder& encoder) { encoder.setBytes(&four, sizeof four, 1); });
            to.advance(to.bytes);
        };
        fill(Context::Mover::fill16, 16, wide);
        fill(Context::Mover::fill1, 1, narrow);
    }

    std::unique_ptr<Event> record() override {
        commit();
        return std::make_unique<MetalEvent>(context_, progress_, progress_->submitted(), gpu_event_,
                                            signals_);
    }

    std::unique_ptr<Event> record_timed() override {
        if (!trace_enabled())
            return nullptr;  // command buffers are kept only then, and with them their memory
        commit();
        timing_.number = ++timed_;
        if (!timing_.first && idle()) {
            timing_.last.reset();
            timing_.idle_since = clock_seconds();
        }
        auto event = std::make_unique<MetalEvent>(context_, progress_, progress_->submitted(), gpu_event_,
                                                  signals_, timing_);
        timing_.first.reset();
        return event;
    }

    void wait(const Event& event) override {
        begin_call();
        const auto* own = dynamic_cast<const MetalEvent*>(&event);
        if (own && &own->context() == context_.get() && !own->done()) {
            if (own->progress() == progress_) return;  // this stream's own work runs in order
            waits_.push_back(
                {NS::RetainPtr(own->gpu_event()), own->value(), {own->progress(), own->count()}});
            if (batch_) encode_waits();
            return;
        }
        try {
            event.wait();  // done or failed already, or of a device that this one cannot queue behind
        } catch (...) {
            progress_->fail(std::current_exception(), batch_.has_value());
        }
    }

    void synchronize() override {
        drain();  // also behind a failure: nothing runs when it has been thrown, and events are done
        if (const std::exception_ptr error = progress_->error()) std::rethrow_exception(error);
    }

    void begin_capture() override {
        begin_call();
        Stream::begin_capture();  // Unsupported
    }

    void replay(CapturedGraph&) override {
        begin_call();
        throw InvalidArgument(name() + ": the graph was captured on another device; this one captures none");
    }

    bool poisoned() const noexcept override { return progress_->known_error() != nullptr; }

private:
    // Where an argument lies: what is bound, and the addresses by which pieces of memory are compared.
    struct Piece {
        MTL::Buffer* buffer = nullptr;
        std::size_t offset = 0, bytes = 0;
        std::uint64_t address = 0;
        void advance(std::size_t by) {
            offset += by;
            address += by;
        }
    };
    struct Access {
        std::uint64_t begin, end;
        bool written;
    };
    // An event of another stream that comes before what is encoded next.
    struct Wait {
        NS::SharedPtr<MTL::SharedEvent> event;
        std::uint64_t value;
        Batch::Source source;
    };

    const std::string& name() const { return context_->name(); }

    void begin_call() const {
        if (const std::exception_ptr error = progress_->known_error()) std::rethrow_exception(error);
    }

    NS::SharedPtr<MTL::SharedEvent> new_event() const {
        auto event = NS::TransferPtr(context_->device().newSharedEvent());
        if (!event) throw OutOfMemory(name() + ": Metal gives no further event", 0, 0);
        return event;
    }

    // ---- command buffers ----
    Batch& open() {
        if (batch_) return *batch_;
        while (progress_->in_flight() >= kMaxInFlight) progress_->wait_oldest();
        const Pool pool;
        auto commands = NS::RetainPtr(queue_->commandBuffer());
        if (!commands) throw OutOfMemory(name() + ": Metal gives no further command buffer", 0, 0);
        batch_.emplace();
        batch_->commands = std::move(commands);
        written_bytes_ = 0;
        // Metal may begin a command buffer before the one before it has ended, and orders them by the buffers that they share
        // alone: two views of the same memory are not known to be one, and this one's signal would say that both have ended.
        if (signals_ > 0) batch_->commands->encodeWait(gpu_event_.get(), signals_);
        encode_waits();
        return *batch_;
    }

    // The command buffer that is open goes on when these events have happened.
    void encode_waits() {
        end_encoder();
        for (Wait& wait : waits_) {
            batch_->commands->encodeWait(wait.event.get(), wait.value);
            batch_->sources.push_back(std::move(wait.source));
        }
        waits_.clear();
    }

    // The same on the host, where no command buffer is open: nothing is encoded.
    void settle_waits() {
        for (const Wait& wait : std::exchange(waits_, {})) {
            wait.source.progress->wait(wait.source.count);
            if (std::exception_ptr error = wait.source.progress->error_before(wait.source.count))
                progress_->fail(std::move(error), false);
        }
    }

    MTL::ComputeCommandEncoder& encoder() {
        Batch& batch = open();
        if (!encoder_) {
            const Pool pool;
            encoder_ = NS::RetainPtr(batch.commands->computeCommandEncoder(MTL::DispatchTypeConcurrent));
            if (!encoder_) throw OutOfMemory(name() + ": Metal gives no further encoder", 0, 0);
        }
        return *encoder_.get();
    }

    void end_encoder() {
        if (!encoder_) return;
        encoder_->endEncoding();
        encoder_.reset();
        pipeline_ = nullptr;
        group_memory_ = 0;
        accesses_.clear();
    }

    void commit() {
        if (!waits_.empty()) open();  // what comes after it waits too
        if (!batch_) return;
        const Pool pool;
        end_encoder();
        batch_->signal = ++signals_;
        batch_->commands->encodeSignalEvent(gpu_event_.get(), signals_);
        batch_->commands->commit();
        if (trace_enabled()) {
            timing_.last = batch_->commands;
            if (!timing_.first) timing_.first = timing_.last;
        } else if (timing_.last) {
            timing_ = {};
        }
        progress_->add(std::move(*batch_));
        batch_.reset();
    }

    void drain() {
        if (!batch_) settle_waits();
        commit();
        progress_->wait(progress_->submitted());
    }

    // Whether everything that the stream was given has been done, so that the host may touch the memory that it works on.
    bool idle() {
        if (batch_ || !waits_.empty()) return false;
        progress_->error();
        return progress_->in_flight() == 0;
    }

    // After a dispatch: what was encoded is on its way before it is too much.
    void count(const std::string& kernel, std::uint64_t dispatches = 1) {
        Batch& batch = *batch_;
        if (batch.dispatches == 0) batch.first = kernel;
        batch.dispatches += dispatches;
        batch.last = kernel;
        if (batch.dispatches >= static_cast<std::uint64_t>(context_->features().commit_dispatches) ||
            written_bytes_ >= context_->features().commit_bytes)
            commit();
    }

    // ---- order within an encoder ----
    // The barriers that a dispatch with these accesses needs before it; then they are its own.
    void order(MTL::ComputeCommandEncoder& encoder, std::span<const Access> accesses) {
        bool conflict = accesses_.size() + accesses.size() > kMaxAccesses;
        for (const Access& a : accesses) {
            for (std::size_t i = 0; i < accesses_.size() && !conflict; ++i) {
                const Access& b = accesses_[i];
                conflict = (a.written || b.written) && a.begin < b.end && b.begin < a.end;
            }
        }
        if (conflict) {
            encoder.memoryBarrier(MTL::BarrierScopeBuffers);
            accesses_.clear();
        }
        accesses_.insert(accesses_.end(), accesses.begin(), accesses.end());
    }

    // Pieces are often the rest of a cache of which a kernel writes little: no more than its threads may well write.
    static std::uint64_t bytes_written(const LaunchConfig& config, std::span<const Access> accesses) {
        constexpr std::uint64_t kEach = 64;  // bytes of a thread
        const auto product = [](const Dim3& d) { return std::uint64_t{d.x} * d.y * d.z; };
        const std::uint64_t threads =
            std::min<std::uint64_t>(product(config.grid), std::uint64_t{1} << 32) * product(config.block);
        std::uint64_t bytes = 0;
        for (const Access& a : accesses)
            if (a.written) bytes += std::min(a.end - a.begin, kEach * threads);
        return bytes;
    }

    void set_pipeline(MTL::ComputeCommandEncoder& encoder, MTL::ComputePipelineState* pipeline) {
        if (pipeline_ != pipeline) encoder.setComputePipelineState(pipeline);
        pipeline_ = pipeline;
    }

    // ---- kernels ----
    // asked: the name by which the kernel was launched, a program's where it is one's; program: of one that reports faults.
    void start(const std::string& asked, MetalKernel& kernel, const LaunchConfig& config,
               std::span<const Piece> pieces, std::span<const std::byte> params,
               std::shared_ptr<const ProgramFaults> program) {
        check_sizes(kernel, config);
        const bool reports = program || !kernel.faults()->empty();
        const std::size_t given = pieces.size() + (params.empty() ? 0 : 1) + (reports ? 1 : 0);
        // A kernel that declares nothing is given nothing.
        if (kernel.arguments().used >> given != 0)
            throw LaunchFailed(name() + ": kernel '" + kernel.name() + "' declares arguments beyond index " +
                               std::to_string(given) + ", and is given " + std::to_string(given) +
                               ": one a buffer, and one each for parameters and faults where there are any");
        const MetalKernel::Arguments& known = kernel.arguments();
        if (!params.empty() && (known.used >> pieces.size() & 1) &&
            params.size() < known.bytes[pieces.size()])
            throw LaunchFailed(name() + ": kernel '" + kernel.name() + "' takes parameters of " +
                               bytes_text(known.bytes[pieces.size()]) + ", and is given " +
                               bytes_text(params.size()));
        if (injected(asked)) return;
        std::optional<std::uint32_t> slot;
        if (reports) slot = fault_slot(kernel, std::move(program));
        // The length is the encoder's, and would count for a kernel that asks for none.
        if (group_memory_ != 0 && config.shared_bytes == 0) end_encoder();
        MTL::ComputeCommandEncoder& to = encoder();
        std::array<Access, kMaxArguments> accesses;
        std::size_t accessed = 0;
        for (std::size_t i = 0; i < pieces.size(); ++i)
            if (known.used >> i & 1)
                accesses[accessed++] = {pieces[i].address,
                                        pieces[i].address + std::max<std::size_t>(pieces[i].bytes, 1),
                                        (known.written >> i & 1) != 0};
        order(to, std::span(accesses).first(accessed));
        written_bytes_ += bytes_written(config, std::span(accesses).first(accessed));
        set_pipeline(to, kernel.pipeline());
        std::size_t index = 0;
        for (const Piece& piece : pieces) {
            if (known.used >> index & 1) to.setBuffer(piece.buffer, piece.offset, index);
            ++index;
        }
        if (!params.empty()) {
            if (known.used >> index & 1) set_bytes(to, params, index);
            ++index;
        }
        if (reports && (known.used >> index & 1))
            to.setBuffer(progress_->fault_words(), std::size_t{*slot} * kFaultWords * sizeof(std::int64_t),
                         index);
        if (config.shared_bytes) {
            group_memory_ = (config.shared_bytes + 15) / 16 * 16;
            to.setThreadgroupMemoryLength(group_memory_, 0);
        }
        label(to, asked);
        to.dispatchThreadgroups({config.grid.x, config.grid.y, config.grid.z},
                                {config.block.x, config.block.y, config.block.z});
        count(asked);
    }

    void multiply(const MpsProduct& product, std::span<const Piece> pieces,
                  std::span<const std::byte> params) {
        GemmParams p;
        if (params.size() != sizeof p)
            throw LaunchFailed(name() + ": routine 'gemm' takes parameters of " + bytes_text(sizeof p) +
                               ", and is given " + bytes_text(params.size()));
        std::memcpy(&p, params.data(), sizeof p);
        if (injected(product.name())) return;
        std::vector<MpsProduct::Operand> operands;
        for (const Piece& piece : pieces) operands.push_back({piece.buffer, piece.offset, piece.bytes});
        Batch& batch = open();
        end_encoder();  // the library has its own; Metal orders encoders that share a buffer
        product.encode(*batch.commands.get(), p, operands);
        written_bytes_ += pieces[2].bytes;
        count(product.name(), static_cast<std::uint64_t>(std::max<std::int64_t>(p.batch, 1)));
    }

    void set_bytes(MTL::ComputeCommandEncoder& to, std::span<const std::byte> bytes, std::size_t index) {
        if (bytes.size() <= kMaxInlineBytes) {
            to.setBytes(bytes.data(), bytes.size(), index);
            return;
        }
        auto staging = context_->new_staging(bytes.size());
        std::memcpy(staging->contents(), bytes.data(), bytes.size());
        to.setBuffer(staging.get(), 0, index);
    }

    // The words of a launch that reports: its own, so that launches side by side share nothing that they write.
    std::uint32_t fault_slot(const MetalKernel& kernel, std::shared_ptr<const ProgramFaults> program) {
        if (!program && std::find(learned_.begin(), learned_.end(), kernel.faults()) == learned_.end()) {
            learned_.push_back(kernel.faults());
            progress_->learn(*kernel.faults());
        }
        std::optional<std::uint32_t> slot = progress_->take_slot();
        while (!slot) {
            commit();
            progress_->wait_oldest();
            slot = progress_->take_slot();
        }
        open().faults.push_back({*slot, std::move(program)});
        return *slot;
    }

    void label(MTL::ComputeCommandEncoder& to, const std::string& kernel) const {
        if (!context_->labels()) return;
        const Pool pool;
        to.insertDebugSignpost(ns_string(kernel));
    }

    void check_sizes(const MetalKernel& kernel, const LaunchConfig& config) const {
        const auto refuse = [&](const std::string& why) {
            const auto dim = [](const Dim3& d) {
                return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z);
            };
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' cannot be launched with grid " +
                                  dim(config.grid) + ", block " + dim(config.block) + ", " +
                                  bytes_text(config.shared_bytes) + " of shared memory: " + why);
        };
        const Dim3 &g = config.grid, &b = config.block;
        if (!g.x || !g.y || !g.z || !b.x || !b.y || !b.z) refuse("a size is 0");
        const std::uint64_t plane = std::uint64_t{b.x} * b.y;
        if (plane > kernel.max_threads() || plane * b.z > kernel.max_threads())
            refuse("a block of this kernel has at most " + std::to_string(kernel.max_threads()) + " threads");
        const std::uint64_t room = context_->features().threadgroup_bytes;
        if (std::uint64_t{config.shared_bytes} + kernel.static_bytes() > room)
            refuse("with its own " + bytes_text(kernel.static_bytes()) + " that is more than the " +
                   std::to_string(room) + " of a block");
    }

    bool injected(const std::string& kernel) {
        const std::exception_ptr error = launch_fault(name(), kernel);
        if (error) progress_->fail(error, batch_.has_value());
        return error != nullptr;
    }

    // ---- bytes ----
    // Runs a mover over words at to; bind sets the argument of index 1.
    template <class Bind>
    void move(Context::Mover which, const Piece& to, std::size_t words, Bind bind,
              const Piece* from = nullptr) {
        constexpr std::uint64_t kThreads = 256, kMaxGroups = 1 << 12;
        MTL::ComputePipelineState& pipeline = context_->mover(which);
        MTL::ComputeCommandEncoder& encoder = this->encoder();
        std::array<Access, 2> accesses{Access{to.address, to.address + to.bytes, true}};
        if (from) accesses[1] = {from->address, from->address + from->bytes, false};
        order(encoder, std::span(accesses).first(from ? 2 : 1));
        written_bytes_ += to.bytes;
        set_pipeline(encoder, &pipeline);
        encoder.setBuffer(to.buffer, to.offset, 0);
        bind(encoder);
        const std::uint64_t count = words;
        encoder.setBytes(&count, sizeof count, 2);
        encoder.dispatchThreadgroups({std::min((count + kThreads - 1) / kThreads, kMaxGroups), 1, 1},
                                     {kThreads, 1, 1});
        this->count("copy");
    }

    void copy_pieces(Piece to, Piece from, std::size_t bytes) {
        const std::size_t wide = to.address % 16 == 0 && from.address % 16 == 0 ? bytes / 16 : 0;
        const auto run = [&](Context::Mover mover, std::size_t bytes_each, std::size_t words) {
            if (words == 0) return;
            to.bytes = from.bytes = words * bytes_each;
            move(
                mover, to, words,
                [&](MTL::ComputeCommandEncoder& encoder) { encoder.setBuffer(from.buffer, from.offset, 1); },
                &from);
            to.advance(to.bytes);
            from.advance(from.bytes);
        };
        run(Context::Mover::copy16, 16, wide);
        run(Context::Mover::copy1, 1, bytes - 16 * wide);
    }

    Piece staging_piece(const NS::SharedPtr<MTL::Buffer>& staging, std::size_t bytes) const {
        return {staging.get(), 0, bytes, reinterpret_cast<std::uint64_t>(staging->contents())};
    }

    void to_device(Piece to, const std::byte* from, std::size_t bytes) {
        const bool unified = context_->features().unified;
        if (unified && bytes >= kLargeMove) drain();
        if (unified && idle()) {
            std::memcpy(static_cast<std::byte*>(to.buffer->contents()) + to.offset, from, bytes);
            return;
        }
        if (bytes <= kMaxInlineBytes) {
            to.bytes = bytes;
            move(Context::Mover::put, to, bytes,
                 [&](MTL::ComputeCommandEncoder& encoder) { encoder.setBytes(from, bytes, 1); });
            return;
        }
        for (std::size_t done = 0; done < bytes;) {
            const std::size_t now = std::min(bytes - done, kStagingPiece);
            auto staging = context_->new_staging(now);
            std::memcpy(staging->contents(), from + done, now);
            copy_pieces(to, staging_piece(staging, now), now);
            to.advance(now);
            done += now;
        }
    }

    void to_host(std::byte* to, Piece from, std::size_t bytes) {
        const bool unified = context_->features().unified;
        if (unified && !batch_) settle_waits();  // somebody waits for the bytes anyway
        if (unified && bytes >= kLargeMove) drain();
        if (unified && idle()) {
            if (!progress_->known_error())
                std::memcpy(to, static_cast<std::byte*>(from.buffer->contents()) + from.offset, bytes);
            return;
        }
        auto staging = context_->new_staging(bytes);
        copy_pieces(staging_piece(staging, bytes), from, bytes);
        open().downloads.push_back({std::move(staging), to, bytes});
    }

    const MetalBuffer* ours(const BufferRef& ref) const {
        const auto* own = dynamic_cast<const MetalBuffer*>(ref.buffer);
        return own && own->context() == context_ ? own : nullptr;
    }

    const MetalBuffer& own_buffer(const BufferRef& ref, const char* what) const {
        check_ref(ref, name() + ": " + what);
        const MetalBuffer* own = ours(ref);
        if (!own)
            throw InvalidArgument(name() + ": " + what + ": a buffer of another device; copy it here first");
        return *own;
    }

    // An empty piece may begin at the end of its buffer, where Metal binds nothing: it is taken to begin with the buffer.
    static Piece piece_of(const MetalBuffer& buffer, const BufferRef& ref) {
        if (ref.size == 0) return {buffer.handle(), buffer.begin(), 0, buffer.address()};
        return {buffer.handle(), buffer.begin() + ref.offset, ref.size, buffer.address() + ref.offset};
    }

    std::byte* host_of(const BufferRef& ref, const char* what) const {
        std::byte* host = ref.buffer->host();
        if (!host)
            throw InvalidArgument(name() + ": " + what +
                                  ": a buffer of a device whose memory this one cannot reach");
        return host + ref.offset;
    }

    void check_room(const BufferRef& ref, std::size_t bytes, const char* what) const {
        if (bytes > ref.size)
            throw InvalidArgument(name() + ": " + what + ": " + bytes_text(bytes) +
                                  " do not fit a piece of " + std::to_string(ref.size));
    }

    std::shared_ptr<Context> context_;
    Capture capture_;
    NS::SharedPtr<MTL::CommandQueue> queue_;
    NS::SharedPtr<MTL::SharedEvent> gpu_event_;
    std::uint64_t signals_ = 0;
    std::shared_ptr<Progress> progress_;
    std::optional<Batch> batch_;  // being encoded
    NS::SharedPtr<MTL::ComputeCommandEncoder> encoder_;
    MTL::ComputePipelineState* pipeline_ = nullptr;  // set in the encoder
    std::vector<Access> accesses_;                   // since the last barrier
    std::uint64_t written_bytes_ = 0;                // by the open command buffer
    std::vector<Wait> waits_;                        // for the next command buffer
    Timing timing_;                                  // for the next timed event
    std::uint64_t timed_ = 0;
    std::size_t group_memory_ = 0;  // bytes of threadgroup memory that the encoder gives
    std::vector<std::shared_ptr<const std::vector<FaultText>>> learned_;  // by progress_
};

}  // namespace

std::unique_ptr<Stream> make_stream(std::shared_ptr<Context> context) {
    return std::make_unique<MetalStream>(std::move(context));
}

}  // namespace invar::metal
