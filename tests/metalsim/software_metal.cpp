// SPDX-License-Identifier: Apache-2.0
// The software Metal device: memory with guard pages, programs as kernels, a stream that works at once.
#include "metalsim/software_metal.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <limits>
#include <vector>

#include "program/grid_writer.h"
#include "program/program_module.h"
#include "program/writer.h"

namespace invar::test {
namespace {

constexpr const char* kName = "metal-sim";
constexpr std::size_t kMostBuffers = 31;        // indices of a kernel's arguments in Metal
constexpr std::size_t kGroupMemory = 32 << 10;  // bytes a threadgroup, on every device of Apple's

// Memory that ends at a page that must not be touched, as near as the alignment allows, and begins behind another one.
class GuardedBuffer final : public Buffer {
public:
    explicit GuardedBuffer(std::size_t bytes) : Buffer(bytes) {
        constexpr std::size_t kPage = 4096, kAlignment = 256;
        if (bytes > std::numeric_limits<std::size_t>::max() / 2)
            throw OutOfMemory(std::string(kName) + ": no memory", bytes, 0);
        const std::size_t inner = (bytes + kPage - 1) / kPage * kPage;
        mapped_ = inner + 2 * kPage;
        void* const memory =
            ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw OutOfMemory(std::string(kName) + ": no memory", bytes, 0);
        pages_ = static_cast<std::byte*>(memory);
        ::mprotect(pages_, kPage, PROT_NONE);
        ::mprotect(pages_ + kPage + inner, kPage, PROT_NONE);
        std::memset(pages_ + kPage, 0xcd, inner);
        data_ = pages_ + kPage + (inner - bytes) / kAlignment * kAlignment;
    }
    ~GuardedBuffer() override { ::munmap(pages_, mapped_); }
    GuardedBuffer(const GuardedBuffer&) = delete;
    GuardedBuffer& operator=(const GuardedBuffer&) = delete;
    std::byte* host() noexcept override { return data_; }

private:
    std::byte *pages_ = nullptr, *data_ = nullptr;
    std::size_t mapped_ = 0;
};

class SourceKernel final : public Kernel {
public:
    SourceKernel(std::shared_ptr<MslLibrary> library, const MslEntry& entry)
        : Kernel(entry.name), library_(std::move(library)), entry_(entry) {}
    const MslEntry& entry() const noexcept { return entry_; }

private:
    std::shared_ptr<MslLibrary> library_;
    const MslEntry& entry_;
};

class SourceModule final : public LoadedModule {
public:
    SourceModule(std::string name, const std::string& source) : name_(std::move(name)) {
        const auto library = std::make_shared<MslLibrary>(source);
        for (const MslEntry* entry = library->entries(); entry->name != nullptr; ++entry)
            kernels_.push_back(std::make_unique<SourceKernel>(library, *entry));
    }
    Kernel& kernel(std::string_view entry) override { return find_kernel(kernels_, kName, name_, entry); }

private:
    std::string name_;
    std::vector<std::unique_ptr<SourceKernel>> kernels_;
};

SourceKernel& entry(LoadedModule& module, const std::string& name) {
    return dynamic_cast<SourceKernel&>(module.kernel(name));
}

class PointwiseKernel final : public Kernel {
public:
    PointwiseKernel(const Program& program, LoadedModule& inner)
        : Kernel(program.name),
          shape(program),
          flat(entry(inner, program.name + "_flat")),
          view(entry(inner, program.name + "_view")),
          view_wide(entry(inner, program.name + "_view_wide")) {}
    const ProgramShape shape;
    SourceKernel &flat, &view, &view_wide;
};

class GridKernel final : public Kernel {
public:
    GridKernel(const Program& program, LoadedModule& inner)
        : Kernel(program.name), shape(program), kernel(entry(inner, program.name + "_grid")) {}
    const GridShape shape;
    SourceKernel& kernel;
};

class DoneEvent final : public Event {
public:
    explicit DoneEvent(std::exception_ptr error) : error_(std::move(error)) {}
    bool done() const override { return true; }
    void wait() const override {
        if (error_) std::rethrow_exception(error_);
    }

private:
    std::exception_ptr error_;
};

class SoftwareStream final : public Stream {
public:
    void launch(Kernel& kernel, const LaunchConfig& config, std::span<const BufferRef> buffers,
                std::span<const std::byte> params) override {
        begin_call();
        std::array<PlacedBuffer, kMostBuffers> pieces;
        Bound bound;
        if (buffers.size() + 2 > kMostBuffers)
            throw InvalidArgument(std::string(kName) + ": " + std::to_string(buffers.size()) + " buffers");
        for (std::size_t b = 0; b < buffers.size(); ++b) {
            std::byte* const data = bytes_of(buffers[b], buffers[b].size, "argument of a kernel");
            bound.add(data);
            pieces[b] = {reinterpret_cast<std::uintptr_t>(data), buffers[b].size};
        }
        const auto placed = std::span(pieces).first(buffers.size());
        if (const auto* program = dynamic_cast<PointwiseKernel*>(&kernel)) {
            WrittenLaunch written;
            program->shape.prepare(params, placed, written);
            if (written.elements == 0) return;
            bound.add(written.words.data());
            // Two threadgroups, whatever the size: kernels walk on in strides of the grid. Wide arithmetic serves for
            // launches of any size.
            const SourceKernel& chosen = written.flat                         ? program->flat
                                         : written.wide || launches_ % 2 == 1 ? program->view_wide
                                                                              : program->view;
            start(chosen, {2, 1, 1}, {64, 1, 1}, bound);
        } else if (const auto* grid = dynamic_cast<GridKernel*>(&kernel)) {
            const Dim3 &g = config.grid, &b = config.block;
            GridWords words;
            grid->shape.prepare(params, {g.x, g.y, g.z}, {b.x, b.y, b.z}, placed, words);
            if (g.x == 0 || g.y == 0 || g.z == 0) return;
            std::array<std::int64_t, kGridFaultWords> faults{};
            bound.add(words.words.data());
            bound.add(faults.data());
            start(grid->kernel, g, b, bound);
            const DeviceFault fault = grid->shape.fault(faults);
            if (fault.kind != 0 && !error_) error_ = fault_error(fault);
        } else if (const auto* source = dynamic_cast<SourceKernel*>(&kernel)) {
            std::vector<std::byte> constants(params.begin(), params.end());
            if (!constants.empty()) bound.add(constants.data());
            start(*source, config.grid, config.block, bound);
        } else {
            throw InvalidArgument(std::string(kName) + ": kernel '" + kernel.name() +
                                  "' was compiled for another device");
        }
    }
    void copy(BufferRef dst, BufferRef src) override {
        begin_call();
        const std::size_t bytes = std::min(dst.size, src.size);
        move(bytes_of(dst, bytes, "destination of a copy"), bytes_of(src, bytes, "source of a copy"), bytes);
    }
    void upload(BufferRef dst, const void* src, std::size_t bytes) override {
        begin_call();
        move(bytes_of(dst, bytes, "destination of an upload"), src, bytes);
    }
    void download(void* dst, BufferRef src, std::size_t bytes) override {
        begin_call();
        move(dst, bytes_of(src, bytes, "source of a download"), bytes);
    }
    void fill(BufferRef dst, std::uint8_t value) override {
        begin_call();
        std::memset(bytes_of(dst, dst.size, "destination of a fill"), value, dst.size);
    }
    std::unique_ptr<Event> record() override { return std::make_unique<DoneEvent>(error_); }
    void wait(const Event& event) override {
        begin_call();
        try {
            event.wait();
        } catch (...) {
            error_ = std::current_exception();
        }
    }
    void synchronize() override { begin_call(); }
    bool poisoned() const noexcept override { return error_ != nullptr; }

private:
    // What lies at the indices of the arguments.
    struct Bound {
        std::array<void*, kMostBuffers> at{};
        std::size_t count = 0;
        void add(void* bytes) { at[count++] = bytes; }
    };

    void begin_call() const {
        if (error_) std::rethrow_exception(error_);
    }
    static void move(void* to, const void* from, std::size_t bytes) {
        if (bytes > 0) std::memcpy(to, from, bytes);
    }
    static std::byte* bytes_of(const BufferRef& ref, std::size_t bytes, const char* what) {
        check_ref(ref, std::string(kName) + ": " + what);
        auto* const own = dynamic_cast<GuardedBuffer*>(ref.buffer);
        if (own == nullptr || bytes > ref.size)
            throw InvalidArgument(std::string(kName) + ": " + what + " is of another device or too small");
        return own->host() + ref.offset;
    }
    void start(const SourceKernel& kernel, const Dim3& grid, const Dim3& block, const Bound& bound) {
        constexpr MslSchedule::Order kOrders[] = {MslSchedule::Order::forward, MslSchedule::Order::reverse,
                                                  MslSchedule::Order::shuffled};
        const MslSchedule schedule = {kOrders[launches_ % 3], launches_};
        ++launches_;
        try {
            run_msl(kernel.entry(), grid, block, std::span(bound.at).first(bound.count), schedule);
        } catch (const LaunchFailed&) {
            error_ = std::current_exception();
        }
    }

    std::exception_ptr error_;
    std::uint64_t launches_ = 0;
};

class SoftwareMetal final : public Device {
public:
    SoftwareMetal() : Device(kName) {}

    DeviceProperties properties() const override {
        DeviceProperties p;
        p.name = name();
        p.description = "Metal sources on the processor, for tests";
        p.driver = "clang";
        p.memory_total = p.memory_free = std::uint64_t{1} << 40;
        p.compute_units = 1;
        p.warp_width = 32;
        p.max_block_threads = 1024;
        p.shared_memory_bytes = kGroupMemory;
        return p;
    }
    bool supports(Feature feature) const override {
        return feature == Feature::programs || feature == Feature::arithmetic ||
               feature == Feature::host_visible;
    }
    std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) override {
        return std::make_unique<GuardedBuffer>(bytes);
    }
    std::unique_ptr<Stream> make_stream() override { return std::make_unique<SoftwareStream>(); }
    std::shared_ptr<LoadedModule> compile(const Module& module) override {
        if (const auto* source = std::get_if<SourceText>(&module.body);
            source != nullptr && source->language == kernel_language())
            return std::make_shared<SourceModule>(module.name, source->text);
        const auto* text = std::get_if<ProgramText>(&module.body);
        if (text == nullptr)
            throw Unsupported(name() + ": module '" + module.name +
                              "' is neither programs nor source in 'metal'");
        const std::vector<Program> programs = assemble_for_device(name(), module.name, text->text);
        for (const Program& program : programs)
            if (static_cast<std::uint64_t>(program.shared_bytes()) + grid_scratch_bytes(program) >
                kGroupMemory)
                throw Unsupported(name() + ": program '" + program.name + "' takes more than the " +
                                  std::to_string(kGroupMemory) + " bytes of a threadgroup");
        auto inner = std::make_shared<SourceModule>(module.name, write_source(programs, Language::metal));
        return std::make_shared<ProgramModule<PointwiseKernel, GridKernel>>(name(), module.name, programs,
                                                                            std::move(inner));
    }
    std::string_view kernel_language() const override { return "metal"; }
};

}  // namespace

std::shared_ptr<Device> software_metal_device() {
    static const std::shared_ptr<Device> device = std::make_shared<SoftwareMetal>();
    return device;
}

}  // namespace invar::test
