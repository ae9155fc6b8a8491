// SPDX-License-Identifier: Apache-2.0
// Writing safetensors: layout as the reference implementation's (widest types first, header padded to 8
// bytes), so that every tensor is aligned; data in pieces, in place by rename.
#include <algorithm>
#include <utility>

#include <invar/error.h>
#include <invar/shape.h>

#include "base/checked.h"
#include "io/json.h"
#include "io/output_file.h"
#include "io/quote.h"
#include "io/safetensors.h"

namespace invar::io {
namespace {

std::string json_string(const std::string& s, const std::string& path) {
    try {
        return nlohmann::json(s).dump();
    } catch (const nlohmann::json::exception&) {
        throw InvalidArgument(path + ": the name " + quote(s) + " is not UTF-8");
    }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path.string()) {
    std::sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
        return size_of(a.dtype) != size_of(b.dtype) ? size_of(a.dtype) > size_of(b.dtype) : a.name < b.name;
    });
    std::string header = "{";
    if (!metadata.empty()) {
        header += "\"__metadata__\":{";
        bool first = true;
        for (const auto& [k, v] : metadata) {
            if (!std::exchange(first, false)) header += ',';
            header += json_string(k, path_) + ":" + json_string(v, path_);
        }
        header += '}';
    }
    std::uint64_t at = 0;
    for (const TensorSpec& t : tensors) {
        const auto bytes = tensor_bytes(t.dtype, t.shape);
        if (!bytes || t.shape.size() > static_cast<std::size_t>(kMaxRank)) {
            throw InvalidArgument(path_ + ": tensor " + quote(t.name) + " cannot have shape " +
                                  shape_text(t.shape));
        }
        const std::uint64_t end = checked_add(at, *bytes, "safetensors data");
        if (t.name == "__metadata__" || !slots_.emplace(t.name, Slot{at, end}).second) {
            throw InvalidArgument(path_ + ": the tensor name " + quote(t.name) +
                                  " is reserved or used twice");
        }
        if (header.size() > 1) header += ',';
        header += json_string(t.name, path_) + ":{\"dtype\":\"" +
                  std::string(safetensors_dtype_name(t.dtype)) + "\",\"shape\":[";
        for (std::size_t i = 0; i < t.shape.size(); ++i)
            header += (i ? "," : "") + std::to_string(t.shape[i]);
        header += "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(end) + "]}";
        at = end;
    }
    header += '}';
    header.resize((header.size() + 7) / 8 * 8, ' ');
    if (header.size() > kMaxSafetensorsHeader) {
        throw InvalidArgument(path_ + ": header of " + std::to_string(header.size()) +
                              " bytes is over the limit of " + std::to_string(kMaxSafetensorsHeader) +
                              "; write several files");
    }
    const std::uint64_t data_begin = 8 + header.size();
    for (auto& [name, slot] : slots_) {
        slot.next += data_begin;
        slot.end += data_begin;
    }
    std::string first(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) first[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
    first += header;

    file_ = std::make_unique<OutputFile>(path);
    file_->write(0, std::as_bytes(std::span(first.data(), first.size())));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::append(std::string_view name, std::span<const std::byte> bytes) {
    const auto it = slots_.find(name);
    if (it == slots_.end()) throw InvalidArgument(path_ + ": no tensor " + quote(name) + " was announced");
    Slot& slot = it->second;
    if (bytes.size() > slot.end - slot.next) {
        throw InvalidArgument(path_ + ": tensor " + quote(name) + " has room for " +
                              std::to_string(slot.end - slot.next) + " more bytes, not " +
                              std::to_string(bytes.size()));
    }
    if (!file_) throw InvalidArgument(path_ + ": is already finished");
    file_->write(slot.next, bytes);
    slot.next += bytes.size();
}

void SafetensorsWriter::finish() {
    if (!file_) throw InvalidArgument(path_ + ": is already finished");
    for (const auto& [name, slot] : slots_) {
        if (slot.next != slot.end) {
            throw InvalidArgument(path_ + ": tensor " + quote(name) + " lacks " +
                                  std::to_string(slot.end - slot.next) + " bytes");
        }
    }
    const std::unique_ptr<OutputFile> file = std::move(file_);
    file->finish(true);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata) {
    std::vector<TensorSpec> specs;
    for (const TensorView& t : tensors) specs.push_back({t.name, t.dtype, t.shape});
    SafetensorsWriter writer(path, std::move(specs), metadata);
    for (const TensorView& t : tensors) writer.append(t.name, {t.data, t.bytes});
    writer.finish();
}

}  // namespace invar::io
