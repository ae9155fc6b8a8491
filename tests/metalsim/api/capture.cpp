// SPDX-License-Identifier: Apache-2.0
// MTLCaptureManager: enough to say that nothing can be captured here.
#include "metalsim/api/objects.h"

METALSIM_STRING(MTLCaptureErrorDomain, "MTLCaptureErrorDomain");

namespace metalsim {
namespace {

struct CaptureManager : Object {};
struct CaptureDescriptor : Object {
    Ref<objc_object> object, url;
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
    method(d, "setOutputURL:", [](CaptureDescriptor* self, SEL, objc_object* url) { self->url = Ref(url); });
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
    method(c, "supportsDestination:", [](CaptureManager*, SEL, MTL::CaptureDestination) { return false; });
    method(c, "isCapturing", [](CaptureManager*, SEL) { return false; });
    method(c, "stopCapture", [](CaptureManager*, SEL) {});
    method(c,
           "startCaptureWithDescriptor:error:", [](CaptureManager*, SEL, objc_object*, objc_object** error) {
               give_error(error, error_of(constant(MTLCaptureErrorDomain), MTL::CaptureErrorNotSupported,
                                          "the software device captures nothing"));
               return false;
           });
}

}  // namespace metalsim
