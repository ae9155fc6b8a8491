// SPDX-License-Identifier: Apache-2.0
// Fault injection, so that every way out of trouble is walked by a test. INVAR_FAULTS is a list of SITE@N, SITE@N+ or
// SITE@NAME joined by commas ("oom@3,launch@17+"): the N-th visit of the site since the list was set fails, or all from the
// N-th on, or every visit under that name (a NAME does not begin with a digit). SITE@N:DEVICE and SITE@N+:DEVICE count the
// visits of one device ("launch@17+:cuda:0"), so that another can go on.
//
// Sites: oom, a request to a device's driver for memory (name: the device); short_read, a read of a file (the file);
// compile, a module (its name); launch, lost and wiped, a launch (the kernel): it fails; the device is lost, and comes back with
// what lay in its memory; or without that.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include <invar/export.h>

namespace invar {

enum class FaultSite { oom, short_read, compile, launch, lost, wiped };

// True when this visit of the site must fail. name is matched by SITE@NAME entries, device by those with a DEVICE. Cheap
// when no fault is set.
INVAR_API bool fault_fires(FaultSite site, std::string_view name = {}, std::string_view device = {});
// The error that stands in for the launch of this kernel, or null: of the sites launch, lost and wiped.
INVAR_API std::exception_ptr launch_fault(const std::string& device, const std::string& kernel);
// Visits of the site since the list was set; counted while the list is not empty.
INVAR_API std::uint64_t fault_visits(FaultSite site);
// Replaces the list (INVAR_FAULTS is read on first use) and restarts the counts; throws InvalidArgument for words that
// it does not know. "" switches faults off.
INVAR_API void set_faults(std::string_view list);

}  // namespace invar
