// SPDX-License-Identifier: Apache-2.0
// The cache of results: least recently used first out.
#include "tensor/result_cache.h"

#include <algorithm>
#include <exception>

namespace invar {

std::optional<ResultCache::Outputs> ResultCache::find(const std::string& key, std::uint64_t stream) {
    std::unique_lock lock(mutex_);
    auto found = by_key_.find(key);
    if (found != by_key_.end() && found->second->stream == stream && found->second->passed) {
        const std::shared_ptr<const Event> passed = found->second->passed;
        lock.unlock();  // others may look meanwhile
        std::exception_ptr error;
        try {
            passed->wait();
        } catch (...) {
            error = std::current_exception();
        }
        lock.lock();
        found = by_key_.find(key);
        if (found != by_key_.end() && found->second->passed == passed) {
            if (error)
                drop(found->second);
            else
                found->second->passed = nullptr;
        }
        if (error) std::rethrow_exception(error);
    }
    if (found != by_key_.end()) {
        const Place entry = found->second;
        const bool same = entry->stream == stream && std::ranges::all_of(entry->results, [](const Result& r) {
                              return r.storage->overwritten == r.overwritten;
                          });
        if (same) {
            ++hits_;
            entries_.splice(entries_.begin(), entries_, entry);
            return entry->outputs;
        }
        drop(entry);
    }
    ++misses_;
    return std::nullopt;
}

void ResultCache::keep(std::string key, std::vector<std::weak_ptr<const graph::Storage>> inputs,
                       const Outputs& outputs, std::uint64_t stream, std::shared_ptr<const Event> passed) {
    Entry made{std::move(key), std::move(inputs), outputs, {}, stream, std::move(passed), 0};
    for (const auto& [name, tensor] : outputs) {
        const std::shared_ptr<graph::Storage>& storage = tensor.node()->storage;
        made.results.push_back({storage, storage->overwritten});
        made.bytes += storage->bytes;
    }
    const std::lock_guard lock(mutex_);
    for (Place e = entries_.begin(); e != entries_.end();) {
        const Place at = e++;
        const bool gone = at->stream != stream ||
                          std::ranges::any_of(at->inputs, [](const auto& input) { return input.expired(); });
        if (gone || at->key == made.key) drop(at);
    }
    if (made.bytes > max_bytes_ || max_entries_ == 0) return;
    while (entries_.size() >= max_entries_ || bytes_ > max_bytes_ - made.bytes)
        drop(std::prev(entries_.end()));
    bytes_ += made.bytes;
    entries_.push_front(std::move(made));
    by_key_[entries_.front().key] = entries_.begin();
}

void ResultCache::drop(Place entry) {
    bytes_ -= entry->bytes;
    by_key_.erase(entry->key);
    entries_.erase(entry);
}

void ResultCache::count_hit() {
    const std::lock_guard lock(mutex_);
    ++hits_;
}

void ResultCache::clear() {
    const std::lock_guard lock(mutex_);
    by_key_.clear();
    entries_.clear();
    bytes_ = 0;
}

ReuseStatistics ResultCache::statistics() const {
    const std::lock_guard lock(mutex_);
    return {hits_, misses_, entries_.size(), bytes_};
}

}  // namespace invar
