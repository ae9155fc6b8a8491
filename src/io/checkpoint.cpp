// SPDX-License-Identifier: Apache-2.0
// Opening a model folder: which files hold the weights, and which of them holds which tensor.
#include "io/checkpoint.h"

#include <algorithm>
#include <map>

#include <invar/error.h>

#include "base/checked.h"
#include "io/json.h"
#include "io/quote.h"

namespace invar::io {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr JsonLimits kIndexLimits{64u << 20, 8};

// Nothing when name is a plain file name inside the folder, else what is wrong with it.
std::string shard_name_fault(const std::string& name) {
    if (name.empty()) return "is empty";
    if (name.find('\0') != name.npos) return "holds a zero byte";
    if (name.find_first_of("/\\") != name.npos || name == "." || name == "..")
        return "points outside the folder";
    if (!name.ends_with(".safetensors")) return "is not a .safetensors file";
    return {};
}

std::string weights_hint(const fs::path& folder) {
    std::error_code ignored;
    for (const char* other : {"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"}) {
        if (fs::exists(folder / other, ignored)) {
            return std::string("; it has ") + other +
                   ": convert it to safetensors first (transformers' save_pretrained)";
        }
    }
    return "; give the folder of a model in safetensors format";
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& folder) {
    Checkpoint out;
    out.folder_ = folder.string();
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        throw IoError(out.folder_ + ": " +
                      (fs::exists(folder, error) ? "is not a folder; give the folder that holds config.json"
                                                 : "no such folder"));
    }
    const auto add = [&out](const SafetensorsFile& file, const TensorInfo& tensor) {
        out.tensors_.emplace(tensor.name, Entry{&file, &tensor});
        out.names_.push_back(tensor.name);
        out.bytes_ = checked_add(out.bytes_, tensor.bytes(), "checkpoint bytes");
    };

    const fs::path index_path = folder / kIndex;
    if (fs::exists(folder / kSingle, error)) {
        out.files_.push_back(SafetensorsFile::open(folder / kSingle));
        for (const TensorInfo& t : out.files_[0]->tensors()) add(*out.files_[0], t);
    } else if (fs::exists(index_path, error)) {
        const JsonDocument document =
            parse_json(read_text_file(index_path, kIndexLimits.max_bytes), index_path.string(), kIndexLimits);
        const auto map = json_root(document).get_object("weight_map");
        if (!map) json_root(document).fail_missing("weight_map", "an object of tensor names and shard names");
        std::map<std::string, const SafetensorsFile*> shards;
        for (const auto& [tensor, value] : map->object.items()) {
            const std::string who = document.file + ": tensor " + quote(tensor) + " ";
            if (!value.is_string()) throw FormatError(who + "has a shard name that is not a string");
            const std::string& name = value.get_ref<const std::string&>();
            const SafetensorsFile*& shard = shards[name];
            if (shard == nullptr) {
                if (const std::string fault = shard_name_fault(name); !fault.empty()) {
                    throw FormatError(who + "is put into shard " + quote(name) + ", which " + fault +
                                      "; a shard must be a file name in the model's folder");
                }
                if (!fs::exists(folder / name, error)) {
                    throw IoError(who + "is in shard " + quote(name) +
                                  ", which is missing from the folder; fetch it again");
                }
                shard = out.files_.emplace_back(SafetensorsFile::open(folder / name)).get();
            }
            const TensorInfo* found = shard->info(tensor);
            if (found == nullptr) {
                throw FormatError(who + "should be in shard " + quote(name) +
                                  ", which has no such tensor; index and shards do not belong together");
            }
            add(*shard, *found);
        }
    } else {
        throw IoError(out.folder_ + ": has neither " + kSingle + " nor " + kIndex + weights_hint(folder));
    }
    std::sort(out.names_.begin(), out.names_.end());
    return out;
}

const Checkpoint::Entry* Checkpoint::entry(std::string_view name) const {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
}

const TensorInfo* Checkpoint::info(std::string_view name) const {
    const Entry* e = entry(name);
    return e == nullptr ? nullptr : e->info;
}

std::optional<TensorView> Checkpoint::find(std::string_view name) const {
    const Entry* e = entry(name);
    return e == nullptr ? std::nullopt : e->file->find(name);
}

TensorView Checkpoint::get(std::string_view name) const {
    if (auto view = find(name)) return std::move(*view);
    throw FormatError(folder_ + ": the weights have no tensor " + quote(name) +
                      "; do config.json and the weights belong together?");
}

void Checkpoint::read(std::string_view name, std::uint64_t offset, std::span<std::byte> into) const {
    const Entry* e = entry(name);
    if (e == nullptr) throw FormatError(folder_ + ": the weights have no tensor " + quote(name));
    e->file->read(*e->info, offset, into);
}

}  // namespace invar::io
