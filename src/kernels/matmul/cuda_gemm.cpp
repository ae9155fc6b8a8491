// SPDX-License-Identifier: Apache-2.0
// The product of warp groups: what it takes and how it is launched; and the choices of kernels/cuda_tuning.h.
#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "device/disk_cache.h"
#include "device/routines.h"
#include "kernels/cuda_tuning.h"
#include "kernels/matmul/gemm_params.h"
#include "kernels/matmul/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kGemmParams;
extern const char* const kMatmulCudaGemm;

namespace matmul {
namespace {

constexpr std::int64_t kPiece = 64;  // along k, 128 bytes
constexpr std::int64_t kThreads = 384;

// What the kernel takes: 16-bit elements of one type, (n, k) weights, rows that begin at multiples of 16 bytes.
bool suits_warp_groups(const MatmulSpec& s) {
    if (s.x != s.w || s.x != s.y || (s.x != DType::f16 && s.x != DType::bf16)) return false;
    if (s.has_residual || (s.has_bias && s.bias != s.y) || !s.w_transposed || s.batch != 1) return false;
    if (s.m < 0 || s.n < 1 || s.k < 8 || s.m > INT32_MAX - 512 || s.n > INT32_MAX - 512 ||
        s.k > INT32_MAX - 512)
        return false;
    for (const std::int64_t v : {s.n, s.k, s.x_row, s.w_row})
        if (v % 8 != 0) return false;
    // Strides of tensor maps have 40 bits; rows that overlap or repeat are left to others.
    constexpr std::int64_t kMaxRow = std::int64_t{1} << 38;
    return s.x_row >= s.k && s.w_row >= s.k && s.y_row >= s.n && s.x_row < kMaxRow && s.w_row < kMaxRow;
}

void put_map(unsigned char* at, std::uint32_t buffer, DType dtype, std::int64_t tile_rows, std::int64_t rows,
             std::int64_t columns, std::int64_t row) {
    TensorMap map;
    map.buffer = buffer;
    map.dtype = dtype;
    map.tile_rows = static_cast<std::uint32_t>(tile_rows);
    map.rows = static_cast<std::uint64_t>(std::max<std::int64_t>(rows, 1));  // of no rows no tile is loaded
    map.columns = static_cast<std::uint64_t>(columns);
    map.row_bytes = static_cast<std::uint64_t>(row) * size_of(dtype);
    std::memcpy(at, &map, sizeof map);
}

// ---- choices ----

// Raised when kernels change so that what was measured says nothing any more.
constexpr int kStoredFormat = 2;
std::string stored_key(const std::string& description, const MatmulSpec& s) {
    std::string key = "activation " + std::to_string(kStoredFormat) + "\n" + description + "\n";
    const std::int64_t several = s.batch > 1 ? 1 : 0;  // strides of one matrix play no part
    for (const std::int64_t v :
         {static_cast<std::int64_t>(s.x), static_cast<std::int64_t>(s.w), static_cast<std::int64_t>(s.y),
          static_cast<std::int64_t>(s.activation),
          static_cast<std::int64_t>(s.w_transposed) + 2 * static_cast<std::int64_t>(s.has_bias), s.batch, s.m,
          s.n, s.k, s.x_row, several * s.x_batch, s.w_row, several * s.w_batch, s.y_row, several * s.y_batch})
        key += std::to_string(v) + " ";
    return key;
}

// What is asked of a device for every product: its properties take several calls of the driver.
struct Facts {
    std::string description;
    int multiprocessors;
};
const Facts& facts_of(const Device& device) {
    static std::mutex mutex;
    static std::map<std::string, Facts> all;  // by name
    const std::lock_guard lock(mutex);
    const auto found = all.find(device.name());
    if (found != all.end()) return found->second;
    const DeviceProperties p = device.properties();
    return all.emplace(device.name(), Facts{p.description, p.compute_units}).first->second;
}

// Whether tiles of 128 x 128 leave multiprocessors of a large card without one. By the shape alone.
bool few_tiles(const MatmulSpec& s) {
    constexpr std::int64_t kMultiprocessors = 132, kSide = 128;
    return (s.m + kSide - 1) / kSide * ((s.n + kSide - 1) / kSide) <= kMultiprocessors;
}
std::int32_t default_tile(const MatmulSpec& s) { return few_tiles(s) ? 1 : 0; }

struct Known {
    std::mutex mutex;
    std::map<std::string, std::optional<ActivationWay>>
        ways;  // by key; what the disk cache says of it, or what was set
};
Known& known() {
    static Known k;
    return k;
}

}  // namespace

bool takes_activation_cuda(const Device& device, const MatmulSpec& s) {
    // A schedule that took an activation along for its largest sizes asks with smaller ones too.
    return s.activation != Gate::none &&
           (library_takes_activation(device, s) || takes_way(device, s, {ActivationWay::By::tile, 0}));
}

KernelCall plan_activation_cuda(const Device& device, const MatmulSpec& s) {
    ActivationWay way = activation_way(device, s);
    if (way.by == ActivationWay::By::step)  // of other sizes than those that decided
        way = library_takes_activation(device, s) ? ActivationWay{ActivationWay::By::library, 0}
                                                  : ActivationWay{ActivationWay::By::tile, default_tile(s)};
    if (way.by == ActivationWay::By::library) return plan_library(s, kGemmWorkspaceBytes);
    return plan_warp_groups(s, kGemmTiles[way.tile], facts_of(device).multiprocessors);
}

}  // namespace matmul

KernelCall plan_warp_groups(const MatmulSpec& s, const GemmTile& t, int multiprocessors) {
    if (!matmul::suits_warp_groups(s))
        throw Unsupported(
            "matmul: the product of warp groups takes (n, k) weights of one 16-bit type, n and k that "
            "8 divides, and neither a batch nor a residual");
    const std::int64_t stage = (t.m + t.n) * matmul::kPiece * 2;
    // As the kernel lays it out: stages, a strip for each of eight warps, bias for two groups, barriers; and room to begin at 1024.
    const std::int64_t shared = 1024 + t.stages * stage + 8 * 16 * 128 + 2 * t.n * 4 + 2 * 8 * t.stages;
    KernelCall call;
    call.module = cuda_module("warp_group_gemm", {kGemmParams, kMatmulCudaGemm},
                              {{"X", kernel_type(s.x)},
                               {"BIAS", flag(s.has_bias)},
                               {"ACTIVATION", digits(static_cast<int>(s.activation))},
                               {"TILE_M", digits(t.m)},
                               {"TILE_N", digits(t.n)},
                               {"STAGES", digits(t.stages)},
                               {"TOGETHER", flag(t.together != 0)},
                               {"CLUSTER", digits(t.cluster)}},
                              90);
    call.entry = "warp_group_gemm";
    // A cluster lies within a part of the device that has an even number of multiprocessors, mostly 16 or 18; one cluster more
    // than fit at once would run after all others.
    const int fitting =
        t.cluster <= 2 ? multiprocessors / t.cluster : multiprocessors / 16 * (16 / t.cluster);
    const std::int64_t tiles = ceil_div(s.m, static_cast<std::int64_t>(t.m) * t.cluster) * ceil_div(s.n, t.n),
                       places = std::max(fitting, 1);
    call.config = {cuda_grid(std::clamp<std::int64_t>(tiles, 1, places) * t.cluster),
                   {static_cast<std::uint32_t>(matmul::kThreads)},
                   static_cast<std::uint32_t>(shared),
                   true,
                   2};
    call.buffer_bytes = matmul::buffers_of(s);
    WarpGroupGemmParams p{};
    matmul::put_map(p.x_map, 0, s.x, t.m, s.m, s.k, s.x_row);
    // Blocks of a cluster load a part of the tile's rows of w each.
    matmul::put_map(p.w_map, 1, s.w, t.n / t.cluster, s.n, s.k, s.w_row);
    p.m = s.m;
    p.n = s.n;
    p.k = s.k;
    p.x_row = s.x_row;
    p.w_row = s.w_row;
    p.y_row = s.y_row;
    call.set_params(p);
    return call;
}

bool takes_way(const Device& device, const MatmulSpec& s, const ActivationWay& way) {
    switch (way.by) {
        case ActivationWay::By::step: return true;
        case ActivationWay::By::library: return matmul::library_takes_activation(device, s);
        case ActivationWay::By::tile:
            return is_cuda(device) && device.supports(Feature::warp_groups) && way.tile >= 0 &&
                   static_cast<std::size_t>(way.tile) < kGemmTileCount && s.activation != Gate::none &&
                   matmul::suits_warp_groups(s);
    }
    return false;
}

ActivationWay activation_way(const Device& device, const MatmulSpec& s) {
    std::optional<ActivationWay> way;
    if (takes_way(device, s, {ActivationWay::By::tile, 0}) || matmul::library_takes_activation(device, s)) {
        const std::string key = matmul::stored_key(matmul::facts_of(device).description, s);
        matmul::Known& k = matmul::known();
        const std::lock_guard lock(k.mutex);
        const auto found = k.ways.find(device.name() + "\n" + key);
        if (found != k.ways.end()) {
            way = found->second;
        } else {
            if (const auto bytes = DiskCache::shared().load("tuning", key);
                bytes && bytes->size() == sizeof(ActivationWay)) {
                way.emplace();
                std::memcpy(&*way, bytes->data(), sizeof(ActivationWay));
                if (!takes_way(device, s, *way)) way.reset();
            }
            k.ways[device.name() + "\n" + key] = way;
        }
    }
    if (way) return *way;
    constexpr std::int64_t kLeast = 512;
    const bool library = matmul::library_takes_activation(device, s);
    if (std::min({s.m, s.n, s.k}) >= kLeast && takes_way(device, s, {ActivationWay::By::tile, 0}) &&
        (s.activation != Gate::gelu_tanh || !library || matmul::few_tiles(s)))
        return {ActivationWay::By::tile, matmul::default_tile(s)};
    return {library ? ActivationWay::By::library : ActivationWay::By::step, 0};
}

void set_activation_way(const Device& device, const MatmulSpec& s, const ActivationWay& way, bool store) {
    if (!takes_way(device, s, way))
        throw Unsupported("matmul: device '" + device.name() +
                          "' cannot take this activation along that way");
    const std::string key = matmul::stored_key(matmul::facts_of(device).description, s);
    matmul::Known& k = matmul::known();
    const std::lock_guard lock(k.mutex);
    k.ways[device.name() + "\n" + key] = way;
    if (store) DiskCache::shared().store("tuning", key, std::as_bytes(std::span(&way, 1)));
}

}  // namespace invar::kernels
