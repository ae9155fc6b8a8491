// SPDX-License-Identifier: Apache-2.0
// Starting and ending a capture.
#include "backends/metal/capture.h"

#include <atomic>

#include "backends/metal/context.h"
#include "base/env.h"
#include "base/log.h"

namespace invar::metal {

Capture::Capture(MTL::Device& device) {
    static std::atomic<bool> taken{false};
    const std::string file = env_string("INVAR_METAL_CAPTURE");
    if (file.empty() || taken.exchange(true)) return;
    const Pool pool;
    auto* manager = MTL::CaptureManager::sharedCaptureManager();
    if (!manager || !manager->supportsDestination(MTL::CaptureDestinationGPUTraceDocument)) {
        log(LogLevel::kWarning,
            "metal: INVAR_METAL_CAPTURE is set, and the system captures nothing; set "
            "MTL_CAPTURE_ENABLED=1 too");
        return;
    }
    const auto descriptor = NS::TransferPtr(MTL::CaptureDescriptor::alloc()->init());
    descriptor->setCaptureObject(reinterpret_cast<NS::Object*>(&device));
    descriptor->setDestination(MTL::CaptureDestinationGPUTraceDocument);
    descriptor->setOutputURL(NS::URL::fileURLWithPath(ns_string(file)));
    NS::Error* error = nullptr;
    running_ = manager->startCapture(descriptor.get(), &error);
    if (!running_)
        log(LogLevel::kWarning, "metal: no capture to '" + file + "': " +
                                    (error ? text_of(error->localizedDescription()) : "no reason given"));
}

Capture::~Capture() {
    if (!running_) return;
    const Pool pool;
    MTL::CaptureManager::sharedCaptureManager()->stopCapture();
}

}  // namespace invar::metal
