// SPDX-License-Identifier: Apache-2.0
// Dispatch queues are opaque here; none is made.
#pragma once

typedef struct objc_object* dispatch_queue_t;
typedef struct objc_object* dispatch_data_t;
