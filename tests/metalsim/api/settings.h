// SPDX-License-Identifier: Apache-2.0
// What control.h sets, as the device reads it.
#pragma once

#include <optional>
#include <random>

#include "metalsim/control.h"

namespace metalsim {

// Counts something: add(&Counters::dispatches).
void add(std::uint64_t Counters::*counter, std::uint64_t amount = 1);

// Whether the failure that tests asked for is due now. The first is called once for every command buffer that begins to run.
std::optional<Failure> take_command_buffer_failure(const std::string& label);
std::optional<std::string> take_library_failure();
bool take_allocation_failure();
bool take_archive_failure();
// Whether the device has been taken away (Failure::device_removed).
bool device_removed();

// Whether devices answer to newResidencySetWithDescriptor:error:.
void offer_residency_sets(bool offer);

// Notes for take_signposts() and captures(). begin_capture: false where one runs already.
void note_signpost(const std::string& text);
bool begin_capture(const std::string& file);
void end_capture();
bool capturing();
void note_commit();

bool hazards_checked();
// A number below the bound as the schedule has it: the first, the last, or any.
std::size_t choose(std::size_t bound);
// The schedule with a seed of its own, for the lanes of one dispatch.
Schedule schedule_of_dispatch();

}  // namespace metalsim
