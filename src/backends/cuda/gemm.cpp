// SPDX-License-Identifier: Apache-2.0
// Large matrix products through cuBLASLt. The library's matrices are column-major, so y^T = w^T x^T is asked for: its first
// operand is w, its second x. Which of the library's algorithms runs is the library's first advice until somebody asks for a
// search (GemmTuner); either is kept in the disk cache, so that a later process computes the same bits.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include <invar/error.h>

#include "backends/cuda/cublaslt_api.h"
#include "backends/cuda/routine.h"
#include "backends/cuda/vendor_library.h"
#include "base/checked.h"
#include "base/log.h"
#include "device/disk_cache.h"
#include "device/routines.h"

namespace invar::cuda {
namespace {

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
// Shapes whose algorithm is kept in memory; prompts of new lengths bring new ones.
constexpr std::size_t kMaxPlans = 4096;
// Advice that is asked for: for a search as much as there may be, else a few, since each costs the host time at a new shape.
constexpr int kMaxAdvice = 64, kFewAdvice = 4;

using Algorithm = cublasLtMatmulAlgo_t;

// What searches of this process chose, by stored key, also where no disk cache keeps it; plans of an older generation are
// made anew.
struct Chosen {
    std::mutex mutex;
    std::map<std::string, Algorithm> algorithms;
    std::atomic<std::uint64_t> generation{0};
};
Chosen& chosen() {
    static Chosen c;
    return c;
}

struct CublasLt {
#define INVAR_MEMBER(member, symbol, parameters) cublasStatus_t(*member) parameters = nullptr;
    INVAR_CUBLASLT_API(INVAR_MEMBER)
#undef INVAR_MEMBER
    std::size_t (*version)() = nullptr;
    std::string tried;  // where it was looked for, when it was not found
};

CublasLt open() {
    CublasLt api;
    for (const std::string& file : library_files("INVAR_CUBLASLT", kNames, "cublas")) {
        void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
        bool complete = library != nullptr;
        if (library) {
#define INVAR_LOAD(member, symbol, parameters)                                    \
    api.member = reinterpret_cast<decltype(api.member)>(dlsym(library, #symbol)); \
    complete = complete && api.member;
            INVAR_CUBLASLT_API(INVAR_LOAD)
#undef INVAR_LOAD
            api.version = reinterpret_cast<decltype(api.version)>(dlsym(library, "cublasLtGetVersion"));
        }
        if (complete && api.version) return api;
        api.tried += "\n  " + file;
    }
    api.matmul = nullptr;
    return api;
}

const CublasLt& cublaslt() {
    static const CublasLt api = open();
    return api;
}

int real_type(DType t) { return t == DType::bf16 ? kRealBf16 : t == DType::f16 ? kRealF16 : kRealF32; }

// The largest power of two up to 256 that divides all of them.
std::uint32_t common_alignment(std::uint64_t a, std::uint64_t b) {
    std::uint64_t alignment = 256;
    while (alignment > 1 && ((a | b) & (alignment - 1)) != 0) alignment /= 2;
    return static_cast<std::uint32_t>(alignment);
}

// Elements from the first to the last of a (batch, rows, inner) array.
std::int64_t extent(std::int64_t batch, std::int64_t batch_stride, std::int64_t rows, std::int64_t row_stride,
                    std::int64_t inner) {
    return (batch - 1) * batch_stride + (rows - 1) * row_stride + inner;
}

struct Deleter {
    void operator()(cublasLtMatmulDescOpaque_t* p) const { cublaslt().desc_destroy(p); }
    void operator()(cublasLtMatrixLayoutOpaque_t* p) const { cublaslt().layout_destroy(p); }
    void operator()(cublasLtMatmulPreferenceOpaque_t* p) const { cublaslt().preference_destroy(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Deleter>;

class Gemm final : public CudaRoutine {
public:
    Gemm(std::shared_ptr<Context> context, const std::string& device_description)
        : CudaRoutine("gemm", std::move(context)), device_(device_description) {
        const CublasLt& api = cublaslt();
        if (!api.matmul)
            throw Unsupported(
                "cuda: cuBLASLt was not found; install a CUDA toolkit or the Python wheel "
                "nvidia-cublas, or set INVAR_CUBLASLT to the file. Tried:" +
                api.tried);
        this->context().enter();
        check(api.create(&handle_), "cublasLtCreate");
    }
    // The library's handle is left to the end of the process: destroying it needs a living context.

    CUresult run(CUstream stream, std::span<const PlacedBuffer> buffers,
                 std::span<const std::byte> params) override {
        GemmParams p;
        if (params.size() != sizeof p)
            throw InvalidArgument("gemm: a block of " + std::to_string(params.size()) +
                                  " bytes of parameters; " + std::to_string(sizeof p) + " are needed");
        std::memcpy(static_cast<void*>(&p), params.data(), sizeof p);
        const std::size_t count = 4u + p.has_bias + p.has_residual;
        if (buffers.size() != count)
            throw InvalidArgument("gemm: " + std::to_string(buffers.size()) + " buffers; " +
                                  std::to_string(count) + " are needed");
        if (p.has_residual && p.activation != GemmActivation::none)
            throw InvalidArgument(
                "gemm: an activation behind a residual; the library has none, launch it by itself");
        if (p.batch < 1 || p.m < 1 || p.n < 1 || p.k < 1)
            throw InvalidArgument("gemm: sizes must be positive");
        const std::size_t residual = 3u + p.has_bias, workspace = count - 1;
        need(buffers[0], extent(p.batch, p.x_batch, p.m, p.x_row, p.k), p.x, "x");
        need(buffers[1],
             p.w_transposed ? extent(p.batch, p.w_batch, p.n, p.w_row, p.k)
                            : extent(p.batch, p.w_batch, p.k, p.w_row, p.n),
             p.w, "w");
        need(buffers[2], extent(p.batch, p.y_batch, p.m, p.y_row, p.n), p.y, "y");
        if (p.has_bias) need(buffers[3], p.n, p.y, "bias");
        if (p.has_residual)
            need(buffers[residual], extent(p.batch, p.residual_batch, p.m, p.residual_row, p.n), p.y,
                 "residual");
        need(buffers[workspace], kGemmWorkspaceBytes, DType::u8, "the workspace");

        const std::lock_guard lock(mutex_);
        if (const std::uint64_t now = chosen().generation.load(); generation_ != now) {
            plans_.clear();
            generation_ = now;
        }
        const std::uint64_t x = buffers[0].address, w = buffers[1].address, y = buffers[2].address;
        const std::uint64_t c = p.has_residual ? buffers[residual].address : y;
        Plan& plan = plan_of(p, {common_alignment(w, w), common_alignment(x, x), common_alignment(c, c),
                                 common_alignment(y, y)});
        if (p.has_bias) {
            const std::uint64_t bias = buffers[3].address;
            check(cublaslt().desc_set(plan.desc.get(), kDescBiasPointer, &bias, sizeof bias), "the bias");
        }
        const float one = 1, beta = p.has_residual ? 1 : 0;
        // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses of the device
        const auto at = [](std::uint64_t address) { return reinterpret_cast<void*>(address); };
        check(cublaslt().matmul(handle_, plan.desc.get(), &one, at(w), plan.w.get(), at(x), plan.x.get(),
                                &beta, at(c), plan.c.get(), at(y), plan.y.get(), &plan.algorithm,
                                at(buffers[workspace].address), kGemmWorkspaceBytes, stream),
              "cublasLtMatmul");
        return kSuccess;
    }

    GemmSearch search(Device& device, const GemmParams& p, bool keep) {
        constexpr Alignments kAligned = {256, 256, 256, 256};
        std::string stored;
        std::vector<Algorithm> candidates;
        Algorithm before{};
        {
            const std::lock_guard lock(mutex_);
            Plan& plan = plan_of(p, kAligned);
            before = plan.algorithm;
            stored = stored_key(key_of(p, kAligned));
            candidates = advice(plan, kAligned, kMaxAdvice);
        }
        if (candidates.empty()) throw_no_algorithm(key_of(p, kAligned));
        const auto same = [](const Algorithm& a, const Algorithm& b) {
            return std::memcmp(&a, &b, sizeof a) == 0;
        };
        std::size_t used = 0;
        while (used < candidates.size() && !same(candidates[used], before)) ++used;
        if (used == candidates.size()) candidates.push_back(before);
        const GemmTimes times = time_gemms(device, *this, p, candidates.size(), [&](std::size_t i) {
            const std::lock_guard lock(mutex_);
            plan_of(p, kAligned).algorithm = candidates[i];
        });
        GemmSearch found;
        found.tried = static_cast<int>(candidates.size());
        found.unrepeatable = times.unrepeatable;
        found.first = times.seconds[0];
        found.best = times.seconds[times.best];
        found.used = times.seconds[used];
        found.first_algorithm = describe(candidates[0]);
        found.best_algorithm = describe(candidates[times.best]);
        if (keep) {
            const Algorithm& best = candidates[times.best];
            Chosen& c = chosen();
            const std::lock_guard lock(c.mutex);
            c.algorithms[stored] = best;
            ++c.generation;
            DiskCache::shared().store("gemm", stored, std::as_bytes(std::span(&best, 1)));
        }
        return found;
    }

private:
    using Alignments = std::array<std::uint32_t, 4>;  // w, x, c, y
    struct Plan {
        Owned<cublasLtMatmulDescOpaque_t> desc;
        Owned<cublasLtMatrixLayoutOpaque_t> w, x, c, y;
        Algorithm algorithm{};
    };

    static void check(cublasStatus_t status, const char* what) {
        if (status != 0)
            throw LaunchFailed(std::string("gemm: ") + what + " answered status " + std::to_string(status));
    }

    static void need(const PlacedBuffer& buffer, std::int64_t elements, DType type, const char* name) {
        const std::size_t bytes =
            checked_mul(static_cast<std::size_t>(elements), size_of(type), "gemm: an operand");
        if (buffer.bytes < bytes)
            throw InvalidArgument(std::string("gemm: ") + name + " has " + std::to_string(buffer.bytes) +
                                  " bytes where " + std::to_string(bytes) + " are needed");
    }

    // A column-major matrix, batched where there are several.
    static Owned<cublasLtMatrixLayoutOpaque_t> layout(DType type, std::int64_t rows, std::int64_t columns,
                                                      std::int64_t stride, std::int64_t batch,
                                                      std::int64_t batch_stride) {
        cublasLtMatrixLayout_t raw = nullptr;
        // One column's stride is never used, but the library wants it to reach over the rows.
        check(cublaslt().layout_create(&raw, real_type(type), static_cast<std::uint64_t>(rows),
                                       static_cast<std::uint64_t>(columns), std::max(stride, rows)),
              "a matrix layout");
        Owned<cublasLtMatrixLayoutOpaque_t> made(raw);
        if (batch > 1) {
            const auto number = static_cast<std::int32_t>(batch);
            check(cublaslt().layout_set(raw, kLayoutBatchCount, &number, sizeof number), "a batch");
            check(cublaslt().layout_set(raw, kLayoutBatchOffset, &batch_stride, sizeof batch_stride),
                  "a batch");
        }
        return made;
    }

    static std::string key_of(const GemmParams& p, const Alignments& alignments) {
        std::string key;
        for (const std::int64_t v :
             {static_cast<std::int64_t>(p.x), static_cast<std::int64_t>(p.w), static_cast<std::int64_t>(p.y),
              static_cast<std::int64_t>(p.w_transposed) + 2 * p.has_bias + 4 * p.has_residual +
                  8 * static_cast<std::int64_t>(p.activation),
              p.batch, p.m, p.n, p.k, p.x_row, p.x_batch, p.w_row, p.w_batch, p.y_row, p.y_batch,
              p.residual_row, p.residual_batch})
            key += std::to_string(v) + " ";
        for (const std::uint32_t a : alignments) key += std::to_string(a) + " ";
        return key;
    }

    Plan& plan_of(const GemmParams& p, const Alignments& alignments) {
        const std::string key = key_of(p, alignments);
        if (const auto it = plans_.find(key); it != plans_.end()) return it->second;
        const CublasLt& api = cublaslt();
        Plan plan;
        cublasLtMatmulDesc_t raw = nullptr;
        check(api.desc_create(&raw, kComputeF32, kRealF32), "a description");
        plan.desc.reset(raw);
        const int transposed = p.w_transposed ? kOperationTranspose : kOperationNone;
        check(api.desc_set(raw, kDescTransA, &transposed, sizeof transposed), "a description");
        const int epilogue =
            (p.has_bias ? kEpilogueBias : 0) | (p.activation == GemmActivation::relu        ? kEpilogueRelu
                                                : p.activation == GemmActivation::gelu_tanh ? kEpilogueGelu
                                                                                            : 0);
        if (epilogue != 0) check(api.desc_set(raw, kDescEpilogue, &epilogue, sizeof epilogue), "an epilogue");
        if (p.has_bias) {
            const int type = real_type(p.y);
            check(api.desc_set(raw, kDescBiasType, &type, sizeof type), "a bias");
        }
        plan.w = p.w_transposed ? layout(p.w, p.k, p.n, p.w_row, p.batch, p.w_batch)
                                : layout(p.w, p.n, p.k, p.w_row, p.batch, p.w_batch);
        plan.x = layout(p.x, p.k, p.m, p.x_row, p.batch, p.x_batch);
        plan.y = layout(p.y, p.n, p.m, p.y_row, p.batch, p.y_batch);
        plan.c = p.has_residual ? layout(p.y, p.n, p.m, p.residual_row, p.batch, p.residual_batch)
                                : layout(p.y, p.n, p.m, p.y_row, p.batch, p.y_batch);
        choose(plan, key, alignments);
        if (plans_.size() >= kMaxPlans) plans_.clear();
        return plans_.emplace(key, std::move(plan)).first->second;
    }

    std::string stored_key(const std::string& key) const {
        return "gemm 2\n" + device_ + "\ncublaslt " + std::to_string(cublaslt().version()) + "\nworkspace " +
               std::to_string(kGemmWorkspaceBytes) + "\n" + key;
    }

    // The chosen or stored algorithm of this shape, or the library's first advice, which is then stored.
    void choose(Plan& plan, const std::string& key, const Alignments& alignments) {
        const std::string stored = stored_key(key);
        {
            Chosen& c = chosen();
            const std::lock_guard lock(c.mutex);
            if (const auto it = c.algorithms.find(stored); it != c.algorithms.end()) {
                plan.algorithm = it->second;
                return;
            }
        }
        if (const auto found = DiskCache::shared().load("gemm", stored);
            found && found->size() == sizeof plan.algorithm) {
            std::memcpy(&plan.algorithm, found->data(), sizeof plan.algorithm);
            return;
        }
        std::vector<Algorithm> advised = advice(plan, alignments, kFewAdvice);
        if (advised.empty()) advised = advice(plan, alignments, kMaxAdvice);
        if (advised.empty()) throw_no_algorithm(key);
        plan.algorithm = advised.front();
        DiskCache::shared().store("gemm", stored, std::as_bytes(std::span(&plan.algorithm, 1)));
    }

    [[noreturn]] static void throw_no_algorithm(const std::string& key) {
        throw LaunchFailed("gemm: cuBLASLt has no algorithm that sums in f32 and rounds once for " + key);
    }

    // The library's algorithms for a shape, its first advice first, without those that round parts of a sum to the type of y.
    // Up to `most` of it; of kMaxAdvice also what it advises only where such splits along k are asked for.
    std::vector<Algorithm> advice(const Plan& plan, const Alignments& alignments, int most) const {
        std::vector<Algorithm> advised;
        std::vector<std::uint32_t> asked = {kAnyReduction};
        if (most == kMaxAdvice) asked.push_back(kReductionComputeType);
        for (const std::uint32_t reductions : asked)
            for (const cublasLtMatmulHeuristicResult_t& result : ask(plan, alignments, reductions, most)) {
                const auto same = [&](const Algorithm& a) {
                    return std::memcmp(&a, &result.algo, sizeof a) == 0;
                };
                if (result.state != 0 || !sums_in_f32(result.algo) ||
                    std::any_of(advised.begin(), advised.end(), same))
                    continue;
                advised.push_back(result.algo);
            }
        return advised;
    }

    static constexpr std::uint32_t kAnyReduction = 7;

    std::vector<cublasLtMatmulHeuristicResult_t> ask(const Plan& plan, const Alignments& alignments,
                                                     std::uint32_t reductions, int most) const {
        const CublasLt& api = cublaslt();
        cublasLtMatmulPreference_t raw = nullptr;
        check(api.preference_create(&raw), "a preference");
        const Owned<cublasLtMatmulPreferenceOpaque_t> preference(raw);
        const std::size_t workspace = kGemmWorkspaceBytes;
        check(api.preference_set(raw, kPreferenceWorkspace, &workspace, sizeof workspace), "a preference");
        check(api.preference_set(raw, kPreferenceReduction, &reductions, sizeof reductions), "a preference");
        constexpr int kAlignment[] = {kPreferenceAlignmentA, kPreferenceAlignmentB, kPreferenceAlignmentC,
                                      kPreferenceAlignmentD};
        for (std::size_t i = 0; i < alignments.size(); ++i)
            check(api.preference_set(raw, kAlignment[i], &alignments[i], sizeof alignments[i]),
                  "a preference");
        std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(most));
        int found = 0;
        // What it does not support it says by a status; then there is no advice.
        const cublasStatus_t status =
            api.heuristic(handle_, plan.desc.get(), plan.w.get(), plan.x.get(), plan.c.get(), plan.y.get(),
                          raw, most, results.data(), &found);
        results.resize(status == 0 ? static_cast<std::size_t>(std::max(found, 0)) : 0);
        return results;
    }

    template <class T>
    static T attribute(const Algorithm& algorithm, int which) {
        T value{};
        std::size_t written = 0;
        return cublaslt().algorithm_get(&algorithm, which, &value, sizeof value, &written) == 0 ? value : T{};
    }

    // Whether the sum is formed in f32 and rounded once, as family.h promises, and in an order that the shape alone gives: in
    // one part, or in parts that lie in the workspace as f32 until a launch of its own adds them. Parts that are added in
    // the result itself, one block after the other, or kept in its type, are neither.
    static bool sums_in_f32(const Algorithm& algorithm) {
        const auto scheme = attribute<std::uint32_t>(algorithm, kAlgorithmReduction);
        return scheme == kReductionNone || scheme == kReductionComputeType;
    }

    static std::string describe(const Algorithm& a) {
        return "algorithm " + std::to_string(attribute<std::int32_t>(a, kAlgorithmId)) + ", tile " +
               std::to_string(attribute<std::uint32_t>(a, kAlgorithmTile)) + ", stages " +
               std::to_string(attribute<std::uint32_t>(a, kAlgorithmStages)) + ", splits " +
               std::to_string(attribute<std::int32_t>(a, kAlgorithmSplits)) + ", swizzle " +
               std::to_string(attribute<std::uint32_t>(a, kAlgorithmSwizzle)) + ", option " +
               std::to_string(attribute<std::uint32_t>(a, kAlgorithmOption)) + ", inner " +
               std::to_string(attribute<std::uint16_t>(a, kAlgorithmInner)) + ", cluster " +
               std::to_string(attribute<std::uint16_t>(a, kAlgorithmCluster));
    }

    std::string device_;
    cublasLtHandle_t handle_ = nullptr;
    std::mutex mutex_;
    std::map<std::string, Plan> plans_;
    std::uint64_t generation_ =
        chosen().generation.load();  // of what searches had chosen when plans_ was made
};

class GemmModule final : public LoadedModule {
public:
    GemmModule(std::shared_ptr<Context> context, const std::string& device_description)
        : context_(context), gemm_(std::move(context), device_description) {}
    Kernel& kernel(std::string_view entry) override {
        if (entry != "gemm") throw_no_kernel(context_->device_name(), "gemm", entry, "gemm");
        return gemm_;
    }

private:
    std::shared_ptr<Context> context_;
    Gemm gemm_;
};

}  // namespace

bool have_gemm() { return cublaslt().matmul != nullptr; }

std::shared_ptr<LoadedModule> load_gemm(std::shared_ptr<Context> context,
                                        const std::string& device_description) {
    return std::make_shared<GemmModule>(std::move(context), device_description);
}

GemmSearch search_gemm(Device& device, std::shared_ptr<Context> context,
                       const std::string& device_description, const GemmParams& params, bool keep) {
    // One at a time: they would disturb each other's clocks, and what one chooses clears the plans of the others.
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    return Gemm(std::move(context), device_description).search(device, params, keep);
}

}  // namespace invar::cuda
