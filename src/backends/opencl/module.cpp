// SPDX-License-Identifier: Apache-2.0
// Compiling OpenCL C, and loading what was compiled before.
#include "backends/opencl/context.h"

namespace invar::opencl {
namespace {

class OpenclModule final : public LoadedModule {
public:
    OpenclModule(std::shared_ptr<Context> context, std::string name, const std::vector<FaultText>& faults)
        : context_(std::move(context)),
          name_(std::move(name)),
          faults_(std::make_shared<const std::vector<FaultText>>(faults)) {}
    ~OpenclModule() override {
        kernels_.clear();
        if (handle_) driver().program_release(handle_);
    }

    void from_source(const std::string& source, const std::string& options) {
        const char* text = source.data();
        const std::size_t size = source.size();
        cl_int result = kSuccess;
        handle_ = driver().program_from_source(context_->handle(), 1, &text, &size, &result);
        if (!handle_ || result != kSuccess) fail("was not taken as source", result, source);
        build(options, source);
    }

    void from_binary(std::span<const std::byte> binary, const std::string& options) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(binary.data());
        const std::size_t size = binary.size();
        const cl_device_id device = context_->device();
        cl_int result = kSuccess, status = kSuccess;
        handle_ =
            driver().program_from_binary(context_->handle(), 1, &device, &size, &bytes, &status, &result);
        if (!handle_ || result != kSuccess || status != kSuccess)
            fail("holds no code for this device", result != kSuccess ? result : status, {});
        build(options, {});
    }

    std::vector<std::byte> binary() const {
        std::size_t size = 0;
        if (driver().program_info(handle_, kProgramBinarySizes, sizeof size, &size, nullptr) != kSuccess)
            return {};
        std::vector<std::byte> bytes(size);
        std::byte* to = bytes.data();
        if (size == 0 || driver().program_info(handle_, kProgramBinaries, sizeof to, static_cast<void*>(&to),
                                               nullptr) != kSuccess)
            return {};
        return bytes;
    }

    Kernel& kernel(std::string_view entry) override {
        return find_kernel(kernels_, context_->device_name(), name_, entry);
    }

private:
    const Driver& driver() const { return context_->driver(); }

    void build(const std::string& options, const std::string& source) {
        const cl_device_id device = context_->device();
        cl_int result = driver().program_build(handle_, 1, &device, options.c_str(), nullptr, nullptr);
        if (result != kSuccess) fail("did not compile", result, source);
        cl_uint count = 0;
        result = driver().kernels_create(handle_, 0, nullptr, &count);
        std::vector<cl_kernel> handles(count);
        if (result == kSuccess && count > 0)
            result = driver().kernels_create(handle_, count, handles.data(), nullptr);
        if (result != kSuccess) fail("gives no kernels", result, source);
        for (cl_kernel handle : handles) {
            char entry[512] = "";
            driver().kernel_info(handle, kKernelFunctionName, sizeof entry, entry, nullptr);
            kernels_.push_back(std::make_unique<OpenclKernel>(entry, *context_, handle, faults_));
        }
    }

    [[noreturn]] void fail(const char* what, cl_int result, const std::string& source) const {
        std::string log;
        std::size_t size = 0;
        if (handle_ &&
            driver().build_info(handle_, context_->device(), kProgramBuildLog, 0, nullptr, &size) ==
                kSuccess &&
            size > 1) {
            log.resize(size);
            driver().build_info(handle_, context_->device(), kProgramBuildLog, size, log.data(), nullptr);
            log.resize(size - 1);  // without the terminating zero
        }
        throw CompileFailed(context_->device_name() + ": module '" + name_ + "' " + what + ": " +
                                describe(result) + "\n" + log,
                            log + "\n" + numbered_source(source));
    }

    std::shared_ptr<Context> context_;
    std::string name_;
    std::shared_ptr<const std::vector<FaultText>> faults_;
    cl_program handle_ = nullptr;
    std::vector<std::unique_ptr<OpenclKernel>> kernels_;
};

}  // namespace

OpenclKernel::OpenclKernel(std::string name, Context& context, cl_kernel handle,
                           std::shared_ptr<const std::vector<FaultText>> faults)
    : Kernel(std::move(name)), context_(context), handle_(handle), faults_(std::move(faults)) {
    const Driver& driver = context_.driver();
    cl_uint count = 0;
    driver.kernel_info(handle_, kKernelArguments, sizeof count, &count, nullptr);
    arguments_ = count;
    driver.kernel_group_info(handle_, context_.device(), kKernelWorkGroupSize, sizeof max_threads_,
                             &max_threads_, nullptr);
}

OpenclKernel::~OpenclKernel() { context_.driver().kernel_release(handle_); }

std::shared_ptr<LoadedModule> build_source(std::shared_ptr<Context> context, const std::string& name,
                                           const SourceText& source, const std::string& options) {
    auto module = std::make_shared<OpenclModule>(std::move(context), name, source.faults);
    module->from_source(source.text, options);
    return module;
}

std::shared_ptr<LoadedModule> load_binary(std::shared_ptr<Context> context, const std::string& name,
                                          std::span<const std::byte> binary, const std::string& options,
                                          const std::vector<FaultText>& faults) {
    auto module = std::make_shared<OpenclModule>(std::move(context), name, faults);
    module->from_binary(binary, options);
    return module;
}

std::vector<std::byte> binary_of(LoadedModule& module) {
    return dynamic_cast<const OpenclModule&>(module).binary();
}

}  // namespace invar::opencl
