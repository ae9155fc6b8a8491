// SPDX-License-Identifier: Apache-2.0
// Results of kernel programs kept for calls that ask for the same again, bounded in entries and bytes.
//
// A result is given out when the work that made it is known to have passed without an error: a launch that failed says so
// at a wait, and poisoned() of the stream does not ask for it. A call that finds its result still under way waits for it:
// that is no longer than the same work again behind it, so the same call is never launched twice; where a call hits does
// not depend on how fast the device is; and later calls ask no event any more.
//
// Inputs are held weakly. A result can only be asked for again with the inputs themselves, so one whose inputs are gone is
// of no use to anybody, and to hold them would keep memory alive that its owner has let go. A weak pointer is enough to
// tell them apart: while it is there no other storage can lie at its address.
#pragma once

#include <invar/program.h>

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "device/device.h"
#include "graph/node.h"

namespace invar {

class ResultCache {
public:
    using Outputs = decltype(ProgramResult::outputs);

    ResultCache(std::size_t entries, std::size_t bytes) : max_entries_(entries), max_bytes_(bytes) {}

    // The outputs kept under that key, unless somebody has written over them. key names program, launch and inputs; stream
    // numbers the device's stream: results begun on an earlier one may have failed with it and are forgotten. Waits for the
    // work that made them; throws its error and forgets them. Callers hold the lock of the device's executor, as for keep.
    std::optional<Outputs> find(const std::string& key, std::uint64_t stream);
    // Of work that has been started; passed was recorded behind it.
    void keep(std::string key, std::vector<std::weak_ptr<const graph::Storage>> inputs,
              const Outputs& outputs, std::uint64_t stream, std::shared_ptr<const Event> passed);
    // A call that found its result elsewhere.
    void count_hit();
    void clear();
    ReuseStatistics statistics() const;

private:
    struct Result {
        std::shared_ptr<graph::Storage> storage;
        std::uint64_t overwritten = 0;
    };
    struct Entry {
        std::string key;
        std::vector<std::weak_ptr<const graph::Storage>> inputs;
        Outputs outputs;
        std::vector<Result> results;
        std::uint64_t stream = 0;
        std::shared_ptr<const Event> passed;  // nullptr: it has, without an error
        std::size_t bytes = 0;
    };
    using Place = std::list<Entry>::iterator;
    void drop(Place entry);

    const std::size_t max_entries_, max_bytes_;
    mutable std::mutex mutex_;
    std::list<Entry> entries_;  // most recently used first
    std::unordered_map<std::string_view, Place> by_key_;
    std::size_t bytes_ = 0;
    std::uint64_t hits_ = 0, misses_ = 0;
};

}  // namespace invar
