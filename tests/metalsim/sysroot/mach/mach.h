// SPDX-License-Identifier: Apache-2.0
// The types of Mach that metal-cpp names.
#pragma once

typedef int kern_return_t;
typedef unsigned mach_port_t;
typedef mach_port_t task_id_token_t;
