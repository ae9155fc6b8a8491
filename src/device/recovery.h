// SPDX-License-Identifier: Apache-2.0
// The recovery ladder's bookkeeping; invar/recovery.h says what the rungs are. Evaluation climbs them in
// src/tensor/evaluate.cpp; compiled functions, models and sessions by climb().
#pragma once

#include <exception>
#include <span>
#include <string_view>

#include <invar/error.h>
#include <invar/recovery.h>

#include "base/function_ref.h"

namespace invar {

enum class Rung {
    trimmed,
    defragmented,
    offloaded,
    replayed,
    restored,
    unshared,
    unfused,
    portable,
    split,
    host,
    exhausted
};

// Whether another way may end better: no room, a failed launch or compilation, a lost device. What a caller asked for in
// error stays an error.
INVAR_API bool recoverable(const Error& error) noexcept;
// "cuda: a step failed (...); it is done again"
INVAR_API void log_rung(Rung rung, std::string_view device, std::string_view what, const char* error);
INVAR_API void count_rung(Rung rung) noexcept;

// Does the work, and where it fails in a way that may end better, calls again(error) and does it once more, if recovery() allows
// that; again empties the device's cache where the error is want of room. Throws the first error when that fails too, and
// counts it as the end of the ladder if this is the last rung. device and what name the work in the log. The errors must be
// those of the work: what ran before it has been waited for.
INVAR_API void replay_once(std::string_view device, std::string_view what, FunctionRef<void()> work,
                           FunctionRef<void(const Error&)> again, bool last = true);

// A rung below the first, and the work that it does.
struct Way {
    Rung rung;
    FunctionRef<void()> go;
};
// For a handler that has caught error: tries the ways in order, each logged, until one does not fail, and counts that one. Where
// none does, counts the end of the ladder and throws the error again. What is no Error, or says
// that the caller asked to stop, is thrown as it is.
INVAR_API void climb(std::string_view device, std::string_view what, const Error& error,
                     std::span<const Way> ways);

}  // namespace invar
