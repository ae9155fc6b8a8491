// SPDX-License-Identifier: Apache-2.0
// MTLCaptureManager: writes nothing, and keeps what it was asked to capture (captures() of control.h).
#include "metalsim/api/objects.h"

METALSIM_STRING(MTLCaptureErrorDomain, "MTLCaptureErrorDomain");

namespace metalsim {
namespace {

struct CaptureManager : Object {};
struct CaptureDescriptor : Object {
    Ref<objc_object> object;
    Ref<Url> url;
    MTL::CaptureDestination destination = MTL::CaptureDestinationDeveloperTools;
};

}  // namespace

void install_capture_classes() {
    const Class d = define<CaptureDescriptor>("MTLCaptureDescriptor");
    allocatable<CaptureDescriptor>(d);
    method(d, "setCaptureObject:", [](CaptureDescriptor* self, SEL, objc_object* object) {
        self->object = Ref(object);
    });
    method(d, "captureObject", [](CaptureDescriptor* self, SEL) { return self->object.get(); });
    method(d, "setOutputURL:", [](CaptureDescriptor* self, SEL, Url* url) { self->url = Ref(url); });
    method(d, "outputURL", [](CaptureDescriptor* self, SEL) { return self->url.get(); });
    method(d, "setDestination:", [](CaptureDescriptor* self, SEL, MTL::CaptureDestination destination) {
        self->destination = destination;
    });
    method(d, "destination", [](CaptureDescriptor* self, SEL) { return self->destination; });

    const Class c = define<CaptureManager>("MTLCaptureManager");
    class_method(c, "sharedCaptureManager", [](Class, SEL) {
        static auto* const manager = for_ever(make<CaptureManager>());
        return manager;
    });
    method(c, "supportsDestination:", [](CaptureManager*, SEL, MTL::CaptureDestination destination) {
        return device_options().captures && destination == MTL::CaptureDestinationGPUTraceDocument;
    });
    method(c, "isCapturing", [](CaptureManager*, SEL) { return capturing(); });
    method(c, "stopCapture", [](CaptureManager*, SEL) { end_capture(); });
    method(c, "startCaptureWithDescriptor:error:",
           [](CaptureManager*, SEL, CaptureDescriptor* descriptor, objc_object** error) {
               const auto refuse = [&](MTL::CaptureError code, const char* why) {
                   give_error(error, error_of(constant(MTLCaptureErrorDomain), code, why));
                   return false;
               };
               if (!device_options().captures)
                   return refuse(MTL::CaptureErrorNotSupported, "captures are not enabled");
               if (!descriptor->object.get() || !descriptor->url.get() ||
                   descriptor->destination != MTL::CaptureDestinationGPUTraceDocument)
                   return refuse(MTL::CaptureErrorInvalidDescriptor,
                                 "a capture here is one of an object into a file");
               if (!begin_capture(descriptor->url->path))
                   return refuse(MTL::CaptureErrorAlreadyCapturing, "a capture runs already");
               return true;
           });
}

}  // namespace metalsim
