// SPDX-License-Identifier: Apache-2.0
// Running the operations of an encoder. Those of a serial encoder run one after another; those of a concurrent one in any order that
// its barriers allow, chosen by the schedule, so that a barrier that is missing shows.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "metalsim/api/engine.h"

namespace metalsim {
namespace {

using invar::test::MslSchedule;

// Places for the bytes of setBytes, each of which ends at a page that must not be read. One dispatch runs at a time.
class Slots {
public:
    Slots() {
        void* const memory = ::mmap(nullptr, kMostBuffers * 2 * kPage, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::runtime_error("no memory for the arguments of kernels");
        base_ = static_cast<std::byte*>(memory);
        for (std::size_t i = 0; i < kMostBuffers; ++i)
            ::mprotect(base_ + (2 * i + 1) * kPage, kPage, PROT_NONE);
    }
    void* put(std::size_t index, const std::vector<std::byte>& bytes) {
        std::byte* const place = base_ + (2 * index + 1) * kPage - (bytes.size() + 15) / 16 * 16;
        std::memcpy(place, bytes.data(), bytes.size());
        return place;
    }

private:
    static constexpr std::size_t kPage = 4096;
    std::byte* base_ = nullptr;
};

template <typename T>
T* alive(T* object, const char* what) {
    if (object != nullptr && freed(object)) {
        validation_error(std::string("a command buffer without retained references uses ") + what +
                         " that has been freed");
        throw std::runtime_error(std::string("freed ") + what);
    }
    return object;
}

void run(const Dispatch& dispatch) {
    static auto* const slots = new Slots;
    const Pipeline& pipeline = *alive(dispatch.pipeline, "a pipeline");
    std::array<invar::test::MslBuffer, kMostBuffers> buffers{};
    for (std::size_t i = 0; i < kMostBuffers; ++i) {
        const Bound& bound = dispatch.bound[i];
        if (bound.bytes != nullptr) buffers[i] = {slots->put(i, *bound.bytes), bound.bytes->size()};
        if (bound.buffer != nullptr)
            buffers[i] = {alive(bound.buffer, "a buffer")->data + bound.offset,
                          bound.buffer->length - bound.offset};
    }
    MTL::Size groups = dispatch.groups;
    if (dispatch.indirect != nullptr) {
        std::uint32_t read[3];
        std::memcpy(read, alive(dispatch.indirect, "a buffer")->data + dispatch.indirect_offset, sizeof read);
        groups = MTL::Size(read[0], read[1], read[2]);
    }
    add(&Counters::dispatches);
    if (groups.width == 0 || groups.height == 0 || groups.depth == 0) return;
    const auto dim = [](const MTL::Size& size) {
        return invar::Dim3{static_cast<unsigned>(size.width), static_cast<unsigned>(size.height),
                           static_cast<unsigned>(size.depth)};
    };
    const Schedule schedule = schedule_of_dispatch();
    invar::test::MslLaunch launch;
    launch.grid = dim(groups);
    launch.block = dim(dispatch.threads);
    if (dispatch.counts_threads) launch.threads = dim(groups);
    launch.buffers = buffers;
    invar::test::MslCounters done;
    launch.counters = &done;
    const std::vector<std::size_t> lengths(dispatch.group_memory.begin(), dispatch.group_memory.end());
    launch.threadgroup_lengths = lengths;
    MslSchedule& lanes = launch.schedule;
    lanes.seed = schedule.seed;
    lanes.order = schedule.order == Order::forward   ? MslSchedule::Order::forward
                  : schedule.order == Order::reverse ? MslSchedule::Order::reverse
                                                     : MslSchedule::Order::shuffled;
    invar::test::run_msl(*pipeline.function->kernel, launch);
    add(&Counters::threads, done.lanes);
    add(&Counters::bytes_loaded, done.loaded);
    add(&Counters::bytes_stored, done.stored);
    add(&Counters::bytes_loaded_once, done.loaded_once);
    add(&Counters::bytes_stored_once, done.stored_once);
}

void run(const Barrier&) { add(&Counters::barriers); }

void run(const Copy& copy) {
    add(&Counters::blits);
    add(&Counters::bytes_blitted, copy.bytes);
    std::memcpy(alive(copy.to, "a buffer")->data + copy.to_offset,
                alive(copy.from, "a buffer")->data + copy.from_offset, copy.bytes);
}

void run(const Fill& fill) {
    add(&Counters::blits);
    add(&Counters::bytes_blitted, fill.range.length);
    std::memset(alive(fill.buffer, "a buffer")->data + fill.range.location, fill.value, fill.range.length);
}

// A buffer that a dispatch takes as an argument.
struct Use {
    const Buffer* buffer;
    NS::UInteger offset, index;  // index of the argument; kMostBuffers where it holds the size of the grid
    bool may_write;
};
std::vector<Use> uses_of(const Dispatch& dispatch) {
    std::vector<Use> uses;
    for (const Ref<Binding>& binding : alive(dispatch.pipeline, "a pipeline")->bindings) {
        if (binding->type != MTL::BindingTypeBuffer) continue;
        const Bound& bound = dispatch.bound[binding->index];
        if (bound.buffer != nullptr)
            uses.push_back(
                {bound.buffer, bound.offset, binding->index, binding->access != MTL::BindingAccessReadOnly});
    }
    if (dispatch.indirect != nullptr)
        uses.push_back({dispatch.indirect, dispatch.indirect_offset, kMostBuffers, false});
    return uses;
}

// A dispatch between two barriers.
struct Step {
    const Dispatch* dispatch;
    std::vector<Use> uses;
    std::vector<std::size_t> before;  // steps that come before it in any order
    bool ran = false;
};

bool uses(const Step& step, const std::vector<Object*>& resources) {
    return std::any_of(step.uses.begin(), step.uses.end(), [&](const Use& use) {
        return std::find(resources.begin(), resources.end(), use.buffer) != resources.end();
    });
}

// One buffer at one offset in two dispatches without an order, and one of them may write it.
void check_hazard(const Step& a, const Step& b) {
    for (const Use& x : a.uses)
        for (const Use& y : b.uses) {
            if (x.buffer != y.buffer || x.offset != y.offset || !(x.may_write || y.may_write)) continue;
            validation_error("no barrier between '" + a.dispatch->pipeline->function->name() + "' and '" +
                             b.dispatch->pipeline->function->name() + "' in a concurrent encoder: index " +
                             std::to_string(x.index) + " and index " + std::to_string(y.index) +
                             " are buffer '" + x.buffer->label + "' at byte " + std::to_string(x.offset) +
                             ", and one of them may write it");
            return;
        }
}

void run_concurrent(const std::vector<Operation>& operations) {
    std::vector<Step> steps;
    const auto flush = [&] {
        for (std::size_t left = steps.size(); left > 0; --left) {
            std::vector<std::size_t> ready;
            for (std::size_t i = 0; i < steps.size(); ++i)
                if (!steps[i].ran && std::all_of(steps[i].before.begin(), steps[i].before.end(),
                                                 [&](std::size_t b) { return steps[b].ran; }))
                    ready.push_back(i);
            Step& next = steps[ready[choose(ready.size())]];
            run(*next.dispatch);
            next.ran = true;
        }
        steps.clear();
    };
    std::vector<std::pair<std::size_t, const Barrier*>>
        partial;  // how many steps came before, of those since the last full one
    for (const Operation& operation : operations) {
        if (const auto* const barrier = std::get_if<Barrier>(&operation)) {
            run(*barrier);
            if (barrier->all) {
                flush();
                partial.clear();
            } else {
                partial.emplace_back(steps.size(), barrier);
            }
            continue;
        }
        const auto& dispatch = std::get<Dispatch>(operation);
        Step step{&dispatch, uses_of(dispatch), {}};
        for (const auto& [count, barrier] : partial) {
            if (!uses(step, barrier->resources)) continue;
            for (std::size_t i = 0; i < count; ++i)
                if (uses(steps[i], barrier->resources)) step.before.push_back(i);
        }
        if (hazards_checked())
            for (std::size_t i = 0; i < steps.size(); ++i)
                if (std::find(step.before.begin(), step.before.end(), i) == step.before.end())
                    check_hazard(steps[i], step);
        steps.push_back(std::move(step));
    }
    flush();
}

}  // namespace

void run_operations(const Pass& pass) {
    if (pass.concurrent) {
        run_concurrent(pass.operations);
        return;
    }
    for (const Operation& operation : pass.operations)
        std::visit([](const auto& what) { run(what); }, operation);
}

Error* error_of(Failure failure, const std::string& detail, const CommandBuffer& buffer) {
    struct Known {
        MTL::CommandBufferError code;
        const char* text;
    };
    const Known known = [&]() -> Known {
        switch (failure) {
            case Failure::out_of_memory:
                return {MTL::CommandBufferErrorOutOfMemory,
                        "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"};
            case Failure::page_fault:
                return {
                    MTL::CommandBufferErrorPageFault,
                    "Caused GPU Address Fault Error (0000000b:kIOGPUCommandBufferCallbackErrorPageFault)"};
            case Failure::timeout:
                return {MTL::CommandBufferErrorTimeout,
                        "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)"};
            case Failure::device_removed: return {MTL::CommandBufferErrorDeviceRemoved, "Device was removed"};
            case Failure::access_revoked:
                return {MTL::CommandBufferErrorAccessRevoked,
                        "Ignored (for causing prior/excessive GPU errors) "
                        "(00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)"};
            case Failure::not_permitted:
                return {MTL::CommandBufferErrorNotPermitted,
                        "Insufficient Permission (to submit GPU work from background) "
                        "(00000006:kIOGPUCommandBufferCallbackErrorBackgroundExecutionNotPermitted)"};
            case Failure::internal: break;
        }
        return {MTL::CommandBufferErrorInternal, "Internal Error (0000000e:Internal Error)"};
    }();
    std::vector<std::pair<Ref<objc_object>, Ref<objc_object>>> more;
    if ((buffer.error_options & MTL::CommandBufferErrorOptionEncoderExecutionStatus) != 0) {
        std::vector<Ref<objc_object>> infos;
        std::size_t number = 0;
        for (const Pass& pass : buffer.passes) {
            const std::size_t at = number++;
            if (pass.kind != Pass::Kind::encoder) continue;
            auto* const info = make<EncoderInfo>();
            info->label = pass.label;
            info->signposts = pass.signposts;
            info->state = at < buffer.next    ? MTL::CommandEncoderErrorStateCompleted
                          : at == buffer.next ? MTL::CommandEncoderErrorStateFaulted
                                              : MTL::CommandEncoderErrorStatePending;
            infos.push_back(Ref<objc_object>::adopt(info));
        }
        more.emplace_back(Ref(static_cast<objc_object*>(MTLCommandBufferEncoderInfoErrorKey)),
                          Ref<objc_object>(array_of(std::move(infos))));
    }
    return error_of(constant(MTLCommandBufferErrorDomain), static_cast<long>(known.code),
                    known.text + (detail.empty() ? "" : ": " + detail), std::move(more));
}

}  // namespace metalsim
