// SPDX-License-Identifier: Apache-2.0
// Looks a GPU up in the table of tuned shapes.
#include "kernels/metal_tuning.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "device/disk_cache.h"

namespace invar::kernels {

int metal_generation(std::string_view description) {
    constexpr int kOldest = 7, kNewest = 10;
    constexpr std::string_view kMaker = "Apple ";
    if (!description.starts_with(kMaker) || description.size() <= kMaker.size() + 1) return kOldest;
    const char series = description[kMaker.size()];
    int number = 0;
    const char* const digits = description.data() + kMaker.size() + 1;
    if (std::from_chars(digits, description.data() + description.size(), number).ec != std::errc())
        return kOldest;
    // M1: 7, M2: 8, M3 and M4: 9, M5: 10; A14: 7, A15 and A16: 8, A17 and A18: 9, A19: 10.
    int generation = kOldest;
    if (series == 'M') generation = number <= 2 ? 6 + number : number <= 4 ? 9 : 10;
    if (series == 'A') generation = number <= 14 ? 7 : number <= 16 ? 8 : number <= 18 ? 9 : 10;
    return std::clamp(generation, kOldest, kNewest);
}

const MetalTuning& metal_tuning(int generation) {
    const MetalTuning* found = &kMetalTuning[0];
    for (const MetalTuning& row : kMetalTuning)
        if (row.generation <= generation) found = &row;
    return *found;
}

bool tile_fits(const MetalGemmTile& t, int bytes) {
    if (t.m < 8 || t.n < 8 || t.k < 8 || t.m > 256 || t.n > 256 || t.k > 256 || t.groups_m < 1 ||
        t.groups_n < 1 || t.groups_m > 32 || t.groups_n > 32)
        return false;
    if (t.k % 8 != 0 || t.m % (8 * t.groups_m) != 0 || t.n % (8 * t.groups_n) != 0 || t.n % 16 != 0)
        return false;
    const int down = t.m / t.groups_m / 8, across = t.n / t.groups_n / 8, groups = t.groups_m * t.groups_n;
    // 8 x 8 sums of f32 take two registers of a lane each; half of a lane's 128 is left for everything else.
    if (groups * 32 > 1024 || down * across > 32) return false;
    // As in matmul/metal_gemm.k: both pieces with 16 bytes more a row, (n, k) or (k, n), and a strip for each SIMD-group.
    const int pad = 16 / bytes, x = t.m * (t.k + pad), w = std::max(t.n * (t.k + pad), t.k * (t.n + pad)),
              strips = groups * 8 * across * 8 * 4;
    return (x + w) * bytes + strips <= 32 << 10;
}

bool tuning_fits(const MetalTuning& t) {
    return tile_fits(t.half, 2) && tile_fits(t.half_few, 2) && tile_fits(t.single, 4) &&
           tile_fits(t.single_few, 4) && (t.streams == 2 || t.streams == 4) &&
           (t.loads == 1 || t.loads == 2 || t.loads == 4);
}

namespace {

struct Known {
    std::mutex mutex;
    std::map<std::string, MetalTuning, std::less<>> by_name;  // of the device
};
Known& known() {
    static Known k;
    return k;
}

// Raised when kernels change so that what was measured says nothing any more.
constexpr int kStoredFormat = 1;
std::string stored_key(std::string_view description) {
    return "metal tuning " + std::to_string(kStoredFormat) + "\n" + std::string(description);
}

std::optional<MetalTuning> stored(std::string_view description) {
    const auto bytes = DiskCache::shared().load("tuning", stored_key(description));
    MetalTuning tuning;
    if (!bytes || bytes->size() != sizeof tuning) return std::nullopt;
    std::memcpy(&tuning, bytes->data(), sizeof tuning);
    if (!tuning_fits(tuning)) return std::nullopt;
    return tuning;
}

}  // namespace

MetalTuning metal_tuning(const Device& device) {
    Known& k = known();
    const std::lock_guard lock(k.mutex);
    const auto found = k.by_name.find(device.name());
    if (found != k.by_name.end()) return found->second;
    const std::string description = device.properties().description;
    const std::optional<MetalTuning> measured = stored(description);
    return k.by_name[device.name()] = measured ? *measured : metal_tuning(metal_generation(description));
}

void set_metal_tuning(const Device& device, const MetalTuning& tuning, bool store) {
    if (!tuning_fits(tuning))
        throw InvalidArgument(device.name() + ": a row of tuned shapes has one that no kernel takes");
    Known& k = known();
    const std::lock_guard lock(k.mutex);
    k.by_name[device.name()] = tuning;
    if (store)
        DiskCache::shared().store("tuning", stored_key(device.properties().description),
                                  std::as_bytes(std::span(&tuning, 1)));
}

}  // namespace invar::kernels
