// SPDX-License-Identifier: Apache-2.0
// Collecting command buffers that have ended: errors, faults of kernels, bytes for the host.
#include "backends/metal/progress.h"

#include <algorithm>
#include <cstring>

namespace invar::metal {

std::string Batch::description() const {
    if (dispatches == 0) return "a command buffer without kernels";
    if (dispatches == 1) return "kernel '" + first + "'";
    return "a command buffer of " + std::to_string(dispatches) + " kernels ('" + first + "' to '" + last +
           "')";
}

Progress::Progress(std::shared_ptr<Context> context, NS::SharedPtr<MTL::SharedEvent> event)
    : context_(std::move(context)), event_(std::move(event)) {
    const std::size_t bytes = std::size_t{kSlots} * kFaultWords * sizeof(std::int64_t);
    words_ = context_->new_staging(bytes);
    std::memset(words_->contents(), 0, bytes);
}

std::int64_t* Progress::slot(std::uint32_t index) const {
    return static_cast<std::int64_t*>(words_->contents()) + std::size_t{index} * kFaultWords;
}

std::optional<std::uint32_t> Progress::take_slot() {
    const std::lock_guard lock(context_->progress_mutex());
    if (slots_in_use_ == kSlots) collect();
    if (slots_in_use_ == kSlots) return std::nullopt;
    ++slots_in_use_;
    const std::uint32_t index = next_slot_;
    next_slot_ = (next_slot_ + 1) % kSlots;  // they are given back in the order in which they were taken
    std::fill_n(slot(index), kFaultWords, 0);
    return index;
}

void Progress::add(Batch batch) {
    const std::lock_guard lock(context_->progress_mutex());
    running_.push_back({std::move(batch), submitted_++});
    if (running_.size() % 8 == 0) collect();
}

void Progress::fail(std::exception_ptr error, bool open) {
    const std::lock_guard lock(context_->progress_mutex());
    note(submitted_, std::move(error));
    if (!open) ++submitted_;
}

void Progress::learn(const std::vector<FaultText>& texts) {
    const std::lock_guard lock(context_->progress_mutex());
    for (const FaultText& text : texts) texts_[text.number] = text;
}

std::uint64_t Progress::submitted() const {
    const std::lock_guard lock(context_->progress_mutex());
    return submitted_;
}

std::exception_ptr Progress::error_before(std::uint64_t count) {
    const std::lock_guard lock(context_->progress_mutex());
    collect();
    return failed_at_ < count ? error_ : nullptr;
}

std::exception_ptr Progress::known_error() const {
    if (!failed_.load(std::memory_order_relaxed)) return nullptr;
    const std::lock_guard lock(context_->progress_mutex());
    return error_;
}

bool Progress::ended(std::uint64_t count) {
    const std::lock_guard lock(context_->progress_mutex());
    collect();
    return running_.empty() || running_.front().number >= count;
}

std::size_t Progress::in_flight() const {
    const std::lock_guard lock(context_->progress_mutex());
    return running_.size();
}

void Progress::wait(std::uint64_t count) {
    for (;;) {
        NS::SharedPtr<MTL::CommandBuffer> commands;
        std::vector<Batch::Source> sources;
        {
            const std::lock_guard lock(context_->progress_mutex());
            collect();
            if (running_.empty() || running_.front().number >= count) return;
            commands = running_.front().batch.commands;
            sources = running_.front().batch.sources;
        }
        // What it waits for first: where that fails, nobody but the one who collects it lets this go on.
        for (const Batch::Source& source : sources) source.progress->wait(source.count);
        const Pool pool;
        commands->waitUntilCompleted();
    }
}

void Progress::wait_oldest() {
    std::uint64_t number = 0;
    {
        const std::lock_guard lock(context_->progress_mutex());
        if (running_.empty()) return;
        number = running_.front().number;
    }
    wait(number + 1);
}

void Progress::note(std::uint64_t number, std::exception_ptr error) {
    if (number >= failed_at_) return;
    failed_at_ = number;
    error_ = std::move(error);
    failed_.store(true, std::memory_order_relaxed);
}

std::exception_ptr Progress::fault_of(const FaultSlot& at) const {
    std::array<std::int64_t, kFaultWords> words;
    std::copy_n(slot(at.index), kFaultWords, words.begin());
    if (words[0] == 0) return nullptr;
    DeviceFault fault;
    if (at.program) {
        fault = at.program->fault(words);
    } else if (const auto text = texts_.find(words[1]); text != texts_.end()) {
        fault.kind = text->second.kind;
        std::copy(words.begin() + 2, words.end(), fault.values);
        std::strncpy(fault.text, text->second.text, sizeof fault.text - 1);
    }
    if (fault.kind == 0)
        return std::make_exception_ptr(LaunchFailed(context_->name() + ": a kernel reported fault " +
                                                    std::to_string(words[1]) + ", which nobody knows"));
    return fault_error(fault);
}

// Streams may wait for each other's events, so this may come back to this object, which is at it already.
void Progress::collect() {
    if (collecting_) return;
    struct Guard {
        bool& flag;
        explicit Guard(bool& f) : flag(f) { flag = true; }
        ~Guard() { flag = false; }
    } guard(collecting_);
    while (take_ended()) {}
}

bool Progress::take_ended() {
    if (running_.empty()) return false;
    for (const Batch::Source& source : running_.front().batch.sources) {
        Progress& other = *source.progress;
        other.collect();
        // What it found wrong must be known before this counts as done.
        if (!other.running_.empty() && other.running_.front().number < source.count) return false;
    }
    const Pool pool;
    if (running_.front().batch.commands->status() < MTL::CommandBufferStatusCompleted) return false;
    const Running ended = std::move(running_.front());
    running_.pop_front();
    const Batch& batch = ended.batch;
    for (const Batch::Source& source : batch.sources) {
        if (source.progress->failed_at_ < source.count) note(ended.number, source.progress->error_);
    }
    if (batch.commands->status() == MTL::CommandBufferStatusError) {
        note(ended.number, context_->error(batch.commands->error(), batch.description()));
        if (event_->signaledValue() < batch.signal) event_->setSignaledValue(batch.signal);
    }
    for (const FaultSlot& at : batch.faults) {
        if (std::exception_ptr error = fault_of(at)) note(ended.number, std::move(error));
        --slots_in_use_;
    }
    if (failed_at_ <= ended.number) return true;
    for (const Batch::Download& download : batch.downloads)
        std::memcpy(download.to, download.staging->contents(), download.bytes);
    return true;
}

}  // namespace invar::metal
