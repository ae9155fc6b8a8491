// SPDX-License-Identifier: Apache-2.0
// Makes every class, once, before the first is used.
#include <mutex>

#include "metalsim/objc/foundation.h"

namespace metalsim {

void install_root_classes();
void install_device_classes();
void install_buffer_classes();
void install_residency_classes();
void install_event_classes();
void install_library_classes();
void install_pipeline_classes();
void install_archive_classes();
void install_queue_classes();
void install_encoder_classes();
void install_capture_classes();
void install_mps_classes();

void install_classes() {
    static std::once_flag once;
    static thread_local bool installing = false;  // what is made on the way asks again
    if (installing) return;
    std::call_once(once, [] {
        installing = true;
        install_root_classes();
        install_foundation_classes();
        install_device_classes();
        install_buffer_classes();
        install_residency_classes();
        install_event_classes();
        install_library_classes();
        install_pipeline_classes();
        install_archive_classes();
        install_queue_classes();
        install_encoder_classes();
        install_capture_classes();
        install_mps_classes();
        installing = false;
    });
}

}  // namespace metalsim
