// SPDX-License-Identifier: Apache-2.0
// The sources that a Metal device is given for models and for operators, gathered without one from "null:metal": compiled by the
// software Metal device, in both of its passes, and written to a folder for Apple's compiler.
#include <invar/error.h>
#include <invar/model.h>
#include <invar/ops.h>

#include <filesystem>
#include <fstream>
#include <mutex>

#include <gtest/gtest.h>

#include "base/env.h"
#include "base/thread_pool.h"
#include "device/device.h"
#include "device/registry.h"
#include "kernels/source.h"
#if defined(INVAR_HAS_METALSIM)
#include "metalsim/needs_metalsim.h"
#endif

namespace invar {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(INVAR_SOURCE_DIR) / "tests" / "data" / "models";

// Every source that models in every type ask for.
void ask_for_models() {
    for (const auto& folder : fs::directory_iterator(kModels)) {
        if (!folder.is_directory()) continue;
        for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
            const auto model = Model::load(folder.path(), {.device = "null:metal", .dtype = type});
            const std::int64_t long_one = std::min<std::int64_t>(model->info().context, 512);
            const Session one(model, {.capacity = 64}),
                several(model, {.sequences = 3, .capacity = long_one}),
                many(model, {.sequences = 24, .capacity = 64});
        }
    }
    // Heads of a size that models in use have.
    const auto large =
        Model::random("gpt2", {.device = "null:metal", .dtype = DType::f16, .max_context = 64});
    const Session session(large);
}

Tensor tensor(DType type, const Shape& shape) {
    return Tensor::empty(type, shape, find_device("null:metal"), true);
}

// Every source that operators over tensors ask for, in every type that a Metal device has; shapes on both sides of the lengths
// where another kernel begins. portable: those that the recovery ladder takes instead of tuned ones, over other shapes, as
// schedules are kept.
void ask_for_operators(bool portable) {
    const kernels::PortableOnly guard(portable);
    const std::int64_t six = portable ? 7 : 6, columns = portable ? 56 : 48;
    for (int t = 0; t < kDTypeCount; ++t) {
        const auto type = static_cast<DType>(t);
        if (type == DType::f64) continue;
        const Tensor x = tensor(type, {six, 100}), two = tensor(type, {six, 1000}),
                     wide = tensor(type, {six, 20000}), cube = tensor(type, {4, six, 9}),
                     index = tensor(DType::i64, {six, 100}), some = tensor(DType::i32, {3}),
                     image = tensor(type, {six, 4, 9, 8}), filter = tensor(type, {6, 4, 3, 3}),
                     row = tensor(type, {100});
        const auto ask = [&](const auto& work) {
            try {
                work().eval();
            } catch (const Error& e) {
                // What the operator does not take of this type, or this device.
                EXPECT_TRUE(e.kind() == ErrorKind::kInvalidArgument || e.kind() == ErrorKind::kUnsupported)
                    << e.what();
            }
        };
        for (const Tensor& v : {x, two, wide, cube})
            for (const int axis : {-1, 0, 1}) {
                for (const auto reduce : {&sum, &mean, &prod, &max, &min, &argmax, &argmin, &any, &all})
                    ask([&] { return reduce(v, axis, false); });
                ask([&] { return var(v, axis, 1.0); });
                ask([&] { return logsumexp(v, axis); });
                ask([&] { return sum(square(v), axis) * 2.0; });  // between holes
                for (const auto scan : {&cumsum, &cumprod, &cummax, &cummin})
                    ask([&] { return scan(v, axis); });
                for (const bool down : {false, true}) {
                    ask([&] { return sort(v, axis, down); });
                    ask([&] { return argsort(v, axis, down); });
                    ask([&] { return topk(v, 3, axis, down).values; });
                }
                ask([&] { return softmax(v, axis); });
                ask([&] { return log_softmax(v, axis); });
                ask([&] { return take(v, some, axis); });
            }
        for (const Tensor& v : {x, two, wide}) {
            ask([&] { return rms_norm(v, {}, 1e-5); });
            ask([&] { return layer_norm(v, {}, {}, 1e-5); });
            ask([&] { return relu(softmax(v * v)); });
        }
        ask([&] { return rms_norm(x, row, 1e-5); });
        ask([&] { return layer_norm(x, row, row, 1e-5); });
        ask([&] { return gather(x, some); });
        for (const int axis : {0, 1}) {
            ask([&] { return take_along_axis(x, index, axis); });
            ask([&] { return scatter(x, index, x, axis); });
            ask([&] { return scatter_add(x, index, x, axis); });
        }
        for (const std::int64_t rows : {1, 6, 20, 70})
            for (const bool transposed : {false, true}) {
                const Tensor a = tensor(type, {rows, 100}), b = tensor(type, {100, columns}),
                             w = tensor(type, {columns, 100});
                ask([&] { return matmul(a, transposed ? w.transpose() : b); });
                ask([&] { return linear(a, w, tensor(type, {columns})); });
                ask([&] { return matmul(a, b, DType::f32); });
            }
        ask([&] { return matmul(tensor(type, {3, six, 9}), tensor(type, {3, 9, six})); });
        ask([&] { return conv2d(image, filter); });
        ask([&] { return conv2d(image, tensor(type, {4, 1, 3, 3}), {}, {.groups = 4}); });
        ask([&] { return conv1d(tensor(type, {six, 4, 30}), tensor(type, {6, 4, 3}), tensor(type, {6})); });
        ask([&] { return max_pool2d(image); });
        ask([&] { return avg_pool2d(image); });
        ask([&] { return unfold(image, {3, 3}); });
        ask([&] { return random_uniform({six, 100}, 0, 1, 7, 0, type, find_device("null:metal")); });
        ask([&] { return random_normal({six, 100}, 0, 1, 7, 0, type, find_device("null:metal")); });
    }
}

// For Apple's compiler: INVAR_METAL_SOURCES names a folder for them.
TEST(MetalSource, AreWrittenWhereAFolderIsNamed) {
    const std::string folder = env_string("INVAR_METAL_SOURCES");
    if (folder.empty()) GTEST_SKIP() << "INVAR_METAL_SOURCES names no folder";
    fs::create_directories(folder);
    int number = 0;
    ask_for_models();
    for (const bool portable : {false, true}) ask_for_operators(portable);
    for (const Module* module : kernels::source_modules("metal")) {
        std::ofstream out(fs::path(folder) / (std::to_string(number++) + ".metal"));
        out << "// " << module->name << "\n" << std::get<SourceText>(module->body).text;
        ASSERT_TRUE(out.good());
    }
}

#if defined(INVAR_HAS_METALSIM)
void check_that_they_compile(const std::vector<const Module*>& modules) {
    std::mutex mutex;
    ThreadPool::shared().parallel_for(static_cast<std::int64_t>(modules.size()), [&](std::int64_t i) {
        const Module& module = *modules[static_cast<std::size_t>(i)];
        try {
            const test::MslLibrary library(std::get<SourceText>(module.body).text);
            const std::lock_guard lock(mutex);
            EXPECT_FALSE(library.kernels().empty()) << module.name;
        } catch (const CompileFailed& e) {
            const std::lock_guard lock(mutex);
            ADD_FAILURE() << module.name << "\n" << e.what();
        }
    });
}

TEST(MetalSource, EverySourceOfTheModelsCompiles) {
    INVAR_NEEDS_METALSIM();
    ask_for_models();
    const std::vector<const Module*> modules = kernels::source_modules("metal");
    ASSERT_GT(modules.size(), 30u);
    check_that_they_compile(modules);
}

// One in sixteen of them, of all families, as a source takes half a second; all with INVAR_METAL_SOURCES_ONE_IN=1.
TEST(MetalSource, SourcesOfOperatorsCompile) {
    INVAR_NEEDS_METALSIM();
    for (const bool portable : {false, true}) ask_for_operators(portable);
    const auto one_in = static_cast<std::size_t>(env_int("INVAR_METAL_SOURCES_ONE_IN", 16, 1, 1000));
    const std::vector<const Module*> all = kernels::source_modules("metal");
    ASSERT_GT(all.size(), 500u);
    std::vector<const Module*> some;
    for (std::size_t i = 0; i < all.size(); i += one_in) some.push_back(all[i]);
    check_that_they_compile(some);
}
#endif

}  // namespace
}  // namespace invar
