// SPDX-License-Identifier: Apache-2.0
// Reading safetensors. The header is parsed from events, never as a tree, so that a header of the largest
// accepted size costs no more memory than the list of its tensors.
#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <unordered_set>

#include <invar/error.h>
#include <invar/shape.h>

#include "base/checked.h"
#include "io/json.h"
#include "io/quote.h"

namespace invar::io {
namespace {

struct DTypeName {
    DType dtype;
    std::string_view name;
};
constexpr std::array<DTypeName, kDTypeCount> kNames = {{{DType::pred, "BOOL"},
                                                        {DType::i8, "I8"},
                                                        {DType::i16, "I16"},
                                                        {DType::i32, "I32"},
                                                        {DType::i64, "I64"},
                                                        {DType::u8, "U8"},
                                                        {DType::u16, "U16"},
                                                        {DType::u32, "U32"},
                                                        {DType::u64, "U64"},
                                                        {DType::f16, "F16"},
                                                        {DType::bf16, "BF16"},
                                                        {DType::f32, "F32"},
                                                        {DType::f64, "F64"}}};

std::string known_dtypes() {
    std::string out;
    for (const auto& n : kNames) out += (out.empty() ? "" : ", ") + std::string(n.name);
    return out;
}

// Receives the events of {"NAME": {"dtype": S, "shape": [..], "data_offsets": [B, E]}, "__metadata__": {S:
// S}} and accepts nothing else. Offsets are left relative to the data section.
class HeaderReader {
public:
    HeaderReader(const std::string& file, std::string_view text, SafetensorsHeader& out)
        : file_(file), text_(text), out_(out) {}

    bool null() {
        if (state_ == State::metadata_value) return state_ = State::top, true;  // "__metadata__": null
        unexpected("null");
    }
    bool boolean(bool v) { unexpected(v ? "true" : "false"); }
    bool number_integer(std::int64_t v) { unexpected(std::to_string(v)); }
    bool number_float(double, const std::string& text) { unexpected(text); }
    bool number_unsigned(std::uint64_t v) {
        if (state_ == State::shape) {
            if (tensor_.shape.size() == static_cast<std::size_t>(kMaxRank)) {
                fail("has more than " + std::to_string(kMaxRank) + " dimensions, the most that is supported");
            }
            if (v > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
                fail("has a dimension of " + std::to_string(v) + ", more than a size can be");
            }
            tensor_.shape.push_back(static_cast<std::int64_t>(v));
            return true;
        }
        if (state_ == State::offsets) {
            if (offsets_ == 2) fail("has more than two data_offsets");
            (offsets_ == 0 ? tensor_.begin : tensor_.end) = v;
            ++offsets_;
            return true;
        }
        unexpected(std::to_string(v));
    }
    bool string(std::string& v) {
        if (state_ == State::metadata) return out_.metadata[key_] = std::move(v), true;
        if (state_ == State::dtype) {
            const auto t = safetensors_dtype(v);
            if (!t) fail("has the unknown dtype " + quote(v) + "; known: " + known_dtypes());
            tensor_.dtype = *t;
            state_ = State::tensor;
            return true;
        }
        unexpected("a string");
    }
    bool binary(nlohmann::json::binary_t&) { return false; }
    bool start_object(std::size_t) {
        switch (state_) {
            case State::start: state_ = State::top; return true;
            case State::metadata_value: state_ = State::metadata; return true;
            case State::tensor_value: state_ = State::tensor; return true;
            default: unexpected("an object");
        }
    }
    bool end_object() {
        if (state_ == State::tensor) {
            if (!has_dtype_ || !has_shape_ || !has_offsets_) {
                fail(std::string("has no ") + (!has_dtype_   ? "dtype"
                                               : !has_shape_ ? "shape"
                                                             : "data_offsets"));
            }
            out_.tensors.push_back(std::move(tensor_));
            tensor_ = {};
            state_ = State::top;
        } else {
            state_ = state_ == State::metadata ? State::top : State::end;
        }
        return true;
    }
    bool start_array(std::size_t) {
        if (state_ == State::shape_value) return state_ = State::shape, true;
        if (state_ == State::offsets_value) return state_ = State::offsets, true;
        unexpected("an array");
    }
    bool end_array() {
        if (state_ == State::offsets && offsets_ != 2) fail("has fewer than two data_offsets");
        state_ = State::tensor;
        return true;
    }
    bool key(std::string& k) {
        if (state_ == State::top) {
            if (!seen_.insert(k).second) throw FormatError(file_ + ": tensor " + quote(k) + " occurs twice");
            if (k == "__metadata__") return state_ = State::metadata_value, true;
            tensor_ = {};
            tensor_.name = std::move(k);
            offsets_ = 0;
            has_dtype_ = has_shape_ = has_offsets_ = false;
            state_ = State::tensor_value;
        } else if (state_ == State::metadata) {
            if (out_.metadata.contains(k))
                throw FormatError(file_ + ": metadata " + quote(k) + " occurs twice");
            key_ = std::move(k);
        } else if (k == "dtype") {
            begin_field(k, has_dtype_, State::dtype);
        } else if (k == "shape") {
            begin_field(k, has_shape_, State::shape_value);
        } else if (k == "data_offsets") {
            begin_field(k, has_offsets_, State::offsets_value);
        } else {
            fail("has the unknown field " + quote(k) + "; known: dtype, shape, data_offsets");
        }
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& e) {
        throw_json_error(text_, position, file_ + ": safetensors header", e);
    }

private:
    enum class State {
        start,
        top,
        metadata_value,
        metadata,
        tensor_value,
        tensor,
        dtype,
        shape_value,
        shape,
        offsets_value,
        offsets,
        end
    };

    void begin_field(const std::string& name, bool& seen, State next) {
        if (seen) fail("has two fields named " + name);
        seen = true;
        state_ = next;
    }
    [[noreturn]] void fail(const std::string& what) const {
        throw FormatError(file_ + ": tensor " + quote(tensor_.name) + " " + what);
    }
    [[noreturn]] void unexpected(const std::string& found) const {
        switch (state_) {
            case State::start: throw FormatError(file_ + ": the safetensors header is not a JSON object");
            case State::metadata_value:
            case State::metadata:
                throw FormatError(file_ + ": __metadata__ must be an object of strings, found " + found);
            case State::tensor_value:
                fail("must be an object with dtype, shape and data_offsets, found " + found);
            case State::dtype: fail("has a dtype that is not a string: " + found);
            case State::shape_value:
            case State::shape: fail("has a shape that is not a list of sizes, found " + found);
            default: fail("has data_offsets that are not two byte positions, found " + found);
        }
    }

    const std::string& file_;
    std::string_view text_;
    SafetensorsHeader& out_;
    State state_ = State::start;
    TensorInfo tensor_;
    int offsets_ = 0;
    bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
    std::string key_;
    std::unordered_set<std::string> seen_;
};

// Sizes, order and completeness of the data section; offsets become positions in the file.
void check_layout(SafetensorsHeader& header, std::uint64_t file_size, const std::string& file) {
    const std::uint64_t data_size = file_size - header.data_begin;
    for (TensorInfo& t : header.tensors) {
        const std::string who = file + ": tensor " + quote(t.name) + " ";
        const auto name = std::string(safetensors_dtype_name(t.dtype));
        if (t.end < t.begin) {
            throw FormatError(who + "ends at offset " + std::to_string(t.end) + ", before its begin at " +
                              std::to_string(t.begin));
        }
        const auto want = tensor_bytes(t.dtype, t.shape);
        if (!want)
            throw FormatError(who + "has shape " + shape_text(t.shape) + ", whose size overflows 64 bits");
        if (*want != t.end - t.begin) {
            throw FormatError(who + "has " + std::to_string(t.end - t.begin) + " bytes, but " + name +
                              shape_text(t.shape) + " needs " + std::to_string(*want));
        }
        if (t.end > data_size) {
            const auto end = try_add(t.end, header.data_begin);
            throw FormatError(who + "ends at byte " + (end ? std::to_string(*end) : "2^64 or more") +
                              " of a " + std::to_string(file_size) +
                              "-byte file; the file is cut off: fetch it again");
        }
        if (t.begin % size_of(t.dtype) != 0) {
            throw FormatError(who + "is misaligned: it begins at offset " + std::to_string(t.begin) +
                              ", which is no multiple of the " + std::to_string(size_of(t.dtype)) +
                              " bytes of " + name);
        }
        t.begin += header.data_begin;
        t.end += header.data_begin;
    }
    std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    std::uint64_t at = header.data_begin;
    const TensorInfo* before = nullptr;
    for (const TensorInfo& t : header.tensors) {
        if (t.begin < at) {
            throw FormatError(file + ": tensors " + quote(before->name) + " and " + quote(t.name) +
                              " overlap: the second begins at byte " + std::to_string(t.begin) +
                              ", the first ends at byte " + std::to_string(at));
        }
        if (t.begin > at) {
            throw FormatError(file + ": bytes " + std::to_string(at) + " to " + std::to_string(t.begin) +
                              ", before tensor " + quote(t.name) + ", belong to no tensor");
        }
        at = t.end;
        before = &t;
    }
    if (at != file_size) {
        throw FormatError(file + ": bytes " + std::to_string(at) + " to " + std::to_string(file_size) +
                          ", at the end of the file, belong to no tensor");
    }
}

}  // namespace

std::optional<std::uint64_t> tensor_bytes(DType dtype, std::span<const std::int64_t> shape) {
    std::uint64_t n = size_of(dtype);
    for (std::int64_t d : shape) {
        if (d < 0) return std::nullopt;
        const auto product = try_mul(n, static_cast<std::uint64_t>(d));
        if (!product) return std::nullopt;
        n = *product;
    }
    return n;
}

std::string shape_text(std::span<const std::int64_t> shape) {
    std::string out = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
    return out + "]";
}

std::string_view safetensors_dtype_name(DType dtype) {
    for (const auto& n : kNames) {
        if (n.dtype == dtype) return n.name;
    }
    return "?";
}

std::optional<DType> safetensors_dtype(std::string_view name) {
    for (const auto& n : kNames) {
        if (n.name == name) return n.dtype;
    }
    return std::nullopt;
}

std::uint64_t safetensors_header_length(std::span<const std::byte> first, std::uint64_t file_size,
                                        const std::string& file) {
    if (first.size() < 8 || file_size < 8) {
        throw FormatError(
            file + ": " + std::to_string(file_size) +
            " bytes are too few for a safetensors file, which begins with an 8-byte header length");
    }
    std::uint64_t n = 0;
    for (int i = 7; i >= 0; --i)
        n = n << 8 | std::to_integer<std::uint64_t>(first[static_cast<std::size_t>(i)]);
    if (n > kMaxSafetensorsHeader) {
        throw FormatError(file + ": header length " + std::to_string(n) + " is over the limit of " +
                          std::to_string(kMaxSafetensorsHeader) + " bytes; is this a safetensors file?");
    }
    if (n > file_size - 8) {
        throw FormatError(file + ": header ends at byte " + std::to_string(8 + n) + " of a " +
                          std::to_string(file_size) + "-byte file; the file is cut off: fetch it again");
    }
    if (n < 2)
        throw FormatError(file + ": header length " + std::to_string(n) + " is too small for a header ({})");
    return n;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_size,
                                           const std::string& file) {
    if (json.size() > kMaxSafetensorsHeader || file_size < 8 || json.size() > file_size - 8) {
        throw FormatError(file + ": header of " + std::to_string(json.size()) + " bytes does not fit a " +
                          std::to_string(file_size) + "-byte file");
    }
    if (json.empty() || json.front() != '{') {
        throw FormatError(file +
                          ": the safetensors header does not begin with '{'; is this a safetensors file?");
    }
    SafetensorsHeader header;
    header.data_begin = 8 + json.size();
    {
        HeaderReader reader(file, json, header);
        nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
    }
    check_layout(header, file_size, file);
    return header;
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> bytes, const std::string& file) {
    const std::uint64_t n = safetensors_header_length(bytes, bytes.size(), file);
    return parse_safetensors_header(
        {reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<std::size_t>(n)}, bytes.size(), file);
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
    static_assert(std::endian::native == std::endian::little,
                  "tensor bytes are used as they lie in the file");
    std::shared_ptr<SafetensorsFile> out(new SafetensorsFile);
    out->map_ = MappedFile::open(path);
    const MappedFile& map = *out->map_;
    std::array<std::byte, 8> first{};
    if (map.size() >= first.size()) map.read(0, first);
    const std::uint64_t n = safetensors_header_length(first, map.size(), map.path());
    std::string json(static_cast<std::size_t>(n), '\0');
    map.read(8, std::as_writable_bytes(std::span(json.data(), json.size())));
    out->header_ = parse_safetensors_header(json, map.size(), map.path());
    out->index_.reserve(out->header_.tensors.size());
    for (std::size_t i = 0; i < out->header_.tensors.size(); ++i)
        out->index_.emplace(out->header_.tensors[i].name, i);
    return out;
}

const TensorInfo* SafetensorsFile::info(std::string_view name) const {
    const auto it = index_.find(name);
    return it == index_.end() ? nullptr : &header_.tensors[it->second];
}

std::optional<TensorView> SafetensorsFile::find(std::string_view name) const {
    const auto it = index_.find(name);
    if (it == index_.end()) return std::nullopt;
    const TensorInfo& t = header_.tensors[it->second];
    TensorView view{t.name, t.dtype, t.shape, nullptr, static_cast<std::size_t>(t.bytes()), map_};
    if (t.begin % size_of(t.dtype) == 0) {  // a map begins at a page
        view.data = map_->bytes().data() + t.begin;
        return view;
    }
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const std::byte> copy = aligned_[it->second].lock();
    if (!copy) {
        constexpr std::align_val_t kAlign{64};
        std::shared_ptr<std::byte> fresh(
            static_cast<std::byte*>(::operator new(std::max<std::size_t>(view.bytes, 1), kAlign)),
            [](std::byte* p) { ::operator delete(p, kAlign); });
        map_->read(t.begin, {fresh.get(), view.bytes});
        copy = std::move(fresh);
        aligned_[it->second] = copy;
    }
    view.data = copy.get();
    view.owner = std::move(copy);
    return view;
}

void SafetensorsFile::read(const TensorInfo& tensor, std::uint64_t offset, std::span<std::byte> into) const {
    if (offset > tensor.bytes() || into.size() > tensor.bytes() - offset) {
        throw InvalidArgument(path() + ": bytes " + std::to_string(offset) + " and " +
                              std::to_string(into.size()) + " more were asked of tensor " +
                              quote(tensor.name) + ", which has " + std::to_string(tensor.bytes()));
    }
    map_->read(tensor.begin + offset, into);
}

}  // namespace invar::io
