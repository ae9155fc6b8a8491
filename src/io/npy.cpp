// SPDX-License-Identifier: Apache-2.0
// NumPy array files. The header is a Python literal; this reads the one dict that can stand there, key by key,
// and no other Python. Sizes are compared with the file before anything is allocated.
#include "io/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>

#include <invar/error.h>
#include <invar/shape.h>

#include "base/checked.h"
#include "io/mapped_file.h"
#include "io/output_file.h"
#include "io/quote.h"
#include "io/safetensors.h"

namespace invar::io {
namespace {

static_assert(std::endian::native == std::endian::little, "'<' and '=' are taken as the host's byte order");

constexpr std::string_view kMagic{"\x93NUMPY", 6};
constexpr std::uint64_t kVersionEnd = 8;  // magic, major, minor
constexpr std::uint64_t kMaxPrefix = 12;  // and a header length of 4 bytes

struct TypeCode {
    DType dtype;
    std::string_view code;  // NumPy's kind and size in bytes
};
constexpr std::array<TypeCode, 12> kCodes = {{{DType::pred, "b1"},
                                              {DType::i8, "i1"},
                                              {DType::i16, "i2"},
                                              {DType::i32, "i4"},
                                              {DType::i64, "i8"},
                                              {DType::u8, "u1"},
                                              {DType::u16, "u2"},
                                              {DType::u32, "u4"},
                                              {DType::u64, "u8"},
                                              {DType::f16, "f2"},
                                              {DType::f32, "f4"},
                                              {DType::f64, "f8"}}};

struct NpyHeader {
    DType dtype = DType::f32;
    bool big_endian = false;
    bool fortran = false;
    std::vector<std::int64_t> shape;
    std::uint64_t data_begin = 0;  // bytes from the start of the file
    std::uint64_t bytes = 0;       // of data
};

// Quoted for a message; a header may hold any bytes, a message holds text.
std::string quote_bytes(std::string_view s) {
    std::string ascii(s);
    for (char& c : ascii) {
        if (static_cast<unsigned char>(c) >= 0x80) c = '?';
    }
    return quote(ascii);
}

// Bytes of the data. A dimension of 0 hides no overflow among the others: code that multiplies them in another
// order must not meet one either.
std::optional<std::uint64_t> data_bytes(DType dtype, std::span<const std::int64_t> shape) {
    std::int64_t n = static_cast<std::int64_t>(size_of(dtype));
    bool empty = false;
    for (const std::int64_t d : shape) {
        if (d < 0) return std::nullopt;
        empty = empty || d == 0;
        const auto product = try_mul(n, std::max<std::int64_t>(d, 1));
        if (!product) return std::nullopt;
        n = *product;
    }
    return empty ? 0 : static_cast<std::uint64_t>(n);
}

// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } with the keys in any order.
class DictReader {
public:
    // begin: where text begins in the file. long_suffix: sizes may end in L, as Python 2 wrote them.
    DictReader(std::string_view text, std::uint64_t begin, bool long_suffix, const std::string& file)
        : text_(text), begin_(begin), long_suffix_(long_suffix), file_(file) {}

    void read(NpyHeader& out) {
        bool has_descr = false, has_order = false, has_shape = false;
        expect('{');
        while (!take('}')) {
            const std::string_view key = string("a key in quotes");
            const auto begin_field = [&](bool& seen) {
                if (seen) fail("the key " + quote_bytes(key) + " occurs twice");
                seen = true;
                expect(':');
            };
            if (key == "descr") {
                begin_field(has_descr);
                descr(out);
            } else if (key == "fortran_order") {
                begin_field(has_order);
                out.fortran = boolean();
            } else if (key == "shape") {
                begin_field(has_shape);
                shape(out.shape);
            } else {
                fail("unknown key " + quote_bytes(key) + "; known: descr, fortran_order, shape");
            }
            if (take(',')) continue;
            if (take('}')) break;
            fail("expected ',' or '}', found " + found());
        }
        skip_space();
        if (at_ != text_.size()) fail("expected nothing after the dict, found " + found());
        if (!has_descr || !has_order || !has_shape) {
            fail(std::string("no key ") + (!has_descr   ? "'descr'"
                                           : !has_order ? "'fortran_order'"
                                                        : "'shape'"));
        }
    }

private:
    [[noreturn]] void fail(const std::string& what) const {
        throw FormatError(file_ + ": header, byte " + std::to_string(begin_ + at_) + ": " + what +
                          "; write the file with numpy.save");
    }
    std::string found() const {
        if (at_ == text_.size()) return "the header's end";
        return quote_bytes(text_.substr(at_, 1));
    }
    void skip_space() {
        while (at_ < text_.size() && kSpace.find(text_[at_]) != kSpace.npos) ++at_;
    }
    // The next character that is not space, if it is this one.
    bool take(char c) {
        skip_space();
        if (at_ == text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        if (!take(c)) fail(std::string("expected '") + c + "', found " + found());
    }
    bool next_is(std::string_view chars) {
        skip_space();
        return at_ < text_.size() && chars.find(text_[at_]) != chars.npos;
    }
    std::string_view string(const char* wanted) {
        if (!next_is("'\"")) fail(std::string("expected ") + wanted + ", found " + found());
        const char mark = text_[at_];
        const std::size_t first = at_ + 1;
        const std::size_t last = text_.find_first_of(mark == '"' ? "\"\\\n" : "'\\\n", first);
        if (last == text_.npos || text_[last] == '\n') fail("a string does not end");
        if (text_[last] == '\\') fail("a string with a backslash, which none of the keys and types has");
        at_ = last + 1;
        return text_.substr(first, last - first);
    }
    bool boolean() {
        skip_space();
        for (const bool value : {false, true}) {
            const std::string_view word = value ? "True" : "False";
            if (text_.substr(at_, word.size()) != word) continue;
            at_ += word.size();
            return value;
        }
        fail("fortran_order must be True or False, found " + found());
    }
    void descr(NpyHeader& out) {
        if (next_is("[")) {
            throw FormatError(file_ +
                              ": is a structured array, which is not read; save each field alone "
                              "with numpy.save");
        }
        const std::string_view text = string("descr to be a string such as '<f4'");
        const std::string_view code = text.empty() ? text : text.substr(1);
        const char order = text.empty() ? '\0' : text[0];
        if (code == "V2") {
            throw FormatError(file_ + ": has elements of type " + quote_bytes(text) +
                              ", raw bytes as which bf16 is also saved; save x.astype(numpy.float32), or "
                              "x.view(numpy.uint16) for the bits");
        }
        const auto type =
            std::find_if(kCodes.begin(), kCodes.end(), [&](const TypeCode& t) { return t.code == code; });
        const bool known_order = order == '<' || order == '>' || order == '=' || order == '|';
        if (type == kCodes.end() || !known_order) {
            std::string known;
            for (const TypeCode& t : kCodes) known += (known.empty() ? "" : ", ") + std::string(t.code);
            throw FormatError(file_ + ": has elements of type " + quote_bytes(text) +
                              "; read are, after one of < > = |: " + known +
                              "; convert with .astype before numpy.save");
        }
        if (order == '|' && size_of(type->dtype) > 1) {
            throw FormatError(file_ + ": has elements of type " + quote_bytes(text) +
                              ", which leaves the order of their bytes open; write '<" + std::string(code) +
                              "' or '>" + std::string(code) + "'");
        }
        out.dtype = type->dtype;
        out.big_endian = order == '>' && size_of(type->dtype) > 1;
    }
    std::int64_t dimension() {
        if (next_is("-")) fail("a negative dimension");
        if (!next_is("0123456789")) fail("expected a dimension, found " + found());
        std::int64_t value = 0;
        const std::size_t first = at_;
        for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
            const auto tens = try_mul<std::int64_t>(value, 10);
            const auto sum = tens ? try_add<std::int64_t>(*tens, text_[at_] - '0') : std::nullopt;
            if (!sum) fail("a dimension of 2^63 or more");
            value = *sum;
        }
        if (text_[first] == '0' && at_ - first > 1) fail("a dimension that begins with 0");
        if (long_suffix_ && at_ < text_.size() && text_[at_] == 'L') ++at_;
        return value;
    }
    void shape(std::vector<std::int64_t>& out) {
        if (!take('(')) fail("shape must be a tuple such as (2, 3), (4,) or (), found " + found());
        bool comma = true;
        while (!take(')')) {
            if (!comma) fail("expected ',' or ')' in the shape, found " + found());
            if (out.size() == static_cast<std::size_t>(kMaxRank)) {
                throw FormatError(file_ + ": has more than " + std::to_string(kMaxRank) +
                                  " dimensions, the most that is supported; reshape it before numpy.save");
            }
            out.push_back(dimension());
            comma = take(',');
        }
        if (out.size() == 1 && !comma) {
            fail("the shape (" + std::to_string(out[0]) + ") is a number and no tuple; one dimension is (" +
                 std::to_string(out[0]) + ",)");
        }
    }

    static constexpr std::string_view kSpace = " \t\r\n\f";

    std::string_view text_;
    std::size_t at_ = 0;
    std::uint64_t begin_;
    bool long_suffix_;
    const std::string& file_;
};

// first: the first bytes of a file of file_size bytes, at least kMaxPrefix + kMaxNpyHeader or all there are.
NpyHeader parse_header(std::span<const std::byte> first, std::uint64_t file_size, const std::string& file) {
    const std::string_view text(reinterpret_cast<const char*>(first.data()), first.size());
    const auto cut_off = [&](const std::string& what, std::uint64_t end) {
        return FormatError(file + ": " + what + " ends at byte " + std::to_string(end) + " of a " +
                           std::to_string(file_size) + "-byte file; the file is cut off: fetch it again");
    };
    const auto byte = [&](std::uint64_t i) {
        return std::to_integer<unsigned>(first[static_cast<std::size_t>(i)]);
    };
    if (text.starts_with("PK\x03\x04")) {
        throw FormatError(file + ": is an archive of arrays (.npz); unpack it with unzip and give one .npy");
    }
    if (!kMagic.starts_with(text.substr(0, kMagic.size()))) {
        throw FormatError(file + ": does not begin with \\x93NUMPY; is this a .npy file?");
    }
    if (file_size < kVersionEnd) {
        throw FormatError(file + ": " + std::to_string(file_size) +
                          " bytes are too few for a .npy file, which begins with \\x93NUMPY and a version; "
                          "fetch it again");
    }
    const unsigned major = byte(6), minor = byte(7);
    if (major < 1 || major > 3 || minor != 0) {
        throw FormatError(file + ": has the format version " + std::to_string(major) + "." +
                          std::to_string(minor) +
                          "; read are 1.0, 2.0 and 3.0: save it again with numpy.save");
    }
    const std::uint64_t begin = kVersionEnd + (major == 1 ? 2 : 4);
    if (file_size < begin) throw cut_off("the header's length", begin);
    std::uint64_t length = 0;
    for (std::uint64_t i = begin; i-- > kVersionEnd;) length = length << 8 | byte(i);
    if (length > kMaxNpyHeader) {
        throw FormatError(file + ": header length " + std::to_string(length) + " is over the limit of " +
                          std::to_string(kMaxNpyHeader) +
                          " bytes; save the array again with numpy.save, without structured types");
    }
    NpyHeader header;
    header.data_begin = begin + length;
    if (header.data_begin > file_size) throw cut_off("the header", header.data_begin);
    DictReader(text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(length)), begin,
               major < 3, file)
        .read(header);

    const std::string type = std::string(dtype_name(header.dtype)) + shape_text(header.shape);
    const auto bytes = data_bytes(header.dtype, header.shape);
    if (!bytes) {
        throw FormatError(file + ": an array " + type +
                          " would be of 2^63 bytes or more; the header is broken: fetch the file again");
    }
    header.bytes = *bytes;
    const std::uint64_t present = file_size - header.data_begin;
    if (present < *bytes) {
        throw FormatError(file + ": the array " + type + " has " + std::to_string(*bytes) +
                          " bytes of data, of which " + std::to_string(present) +
                          " are there; the file is cut off: fetch it again");
    }
    if (present > *bytes) {
        throw FormatError(
            file + ": " + std::to_string(present - *bytes) + " bytes follow the array, which ends at byte " +
            std::to_string(header.data_begin + *bytes) + "; one file holds one array: save each in its own");
    }
    return header;
}

std::vector<std::byte> allocate(std::uint64_t bytes, const std::string& file) {
    const auto fail = [&] {
        return OutOfMemory(file + ": no memory for an array of " + std::to_string(bytes) +
                               " bytes; free some or split the array",
                           static_cast<std::size_t>(bytes), 0);
    };
    try {
        return std::vector<std::byte>(static_cast<std::size_t>(bytes));
    } catch (const std::bad_alloc&) {
        throw fail();
    } catch (const std::length_error&) {
        throw fail();
    }
}

std::uint16_t swapped(std::uint16_t v) { return __builtin_bswap16(v); }
std::uint32_t swapped(std::uint32_t v) { return __builtin_bswap32(v); }
std::uint64_t swapped(std::uint64_t v) { return __builtin_bswap64(v); }

template <class T>
void swap_bytes(std::span<std::byte> data) {
    for (std::size_t i = 0; i < data.size(); i += sizeof(T)) {
        T v;
        std::memcpy(&v, data.data() + i, sizeof(T));
        v = swapped(v);
        std::memcpy(data.data() + i, &v, sizeof(T));
    }
}

// from: elements of N bytes with the first dimension fastest; into: the last. No dimension is 0.
template <std::size_t N>
void copy_to_c_order(const std::byte* from, std::byte* into, std::span<const std::int64_t> shape) {
    std::array<std::size_t, kMaxRank> size{}, step{}, index{};  // by dimension; steps in elements of from
    std::size_t elements = 1;
    for (std::size_t d = 0; d < shape.size(); ++d) {
        size[d] = static_cast<std::size_t>(shape[d]);
        step[d] = elements;
        elements *= size[d];
    }
    const std::size_t last = shape.size() - 1;
    std::size_t row = 0;  // where the row begins in from
    for (std::size_t done = 0; done < elements; done += size[last]) {
        for (std::size_t i = 0; i < size[last]; ++i)
            std::memcpy(into + (done + i) * N, from + (row + i * step[last]) * N, N);
        for (std::size_t d = last; d-- > 0;) {
            row += step[d];
            if (++index[d] < size[d]) break;
            row -= step[d] * size[d];
            index[d] = 0;
        }
    }
}

// data as it lies in the file becomes the array.
NpyArray finish(NpyHeader header, std::vector<std::byte> data, const std::string& file) {
    const std::size_t size = size_of(header.dtype);
    if (header.big_endian) {
        switch (size) {
            case 2: swap_bytes<std::uint16_t>(data); break;
            case 4: swap_bytes<std::uint32_t>(data); break;
            default: swap_bytes<std::uint64_t>(data); break;
        }
    }
    // NumPy takes any byte but 0 as true; kernels take 1.
    if (header.dtype == DType::pred) {
        for (std::byte& b : data) b = b == std::byte{0} ? b : std::byte{1};
    }
    if (header.fortran && header.shape.size() > 1 && !data.empty()) {
        std::vector<std::byte> ordered = allocate(header.bytes, file);
        switch (size) {
            case 1: copy_to_c_order<1>(data.data(), ordered.data(), header.shape); break;
            case 2: copy_to_c_order<2>(data.data(), ordered.data(), header.shape); break;
            case 4: copy_to_c_order<4>(data.data(), ordered.data(), header.shape); break;
            default: copy_to_c_order<8>(data.data(), ordered.data(), header.shape); break;
        }
        data = std::move(ordered);
    }
    return {header.dtype, std::move(header.shape), std::move(data)};
}

// who begins the messages.
std::string header_text(DType dtype, std::span<const std::int64_t> shape, const std::string& who) {
    const auto type =
        std::find_if(kCodes.begin(), kCodes.end(), [&](const TypeCode& t) { return t.dtype == dtype; });
    if (type == kCodes.end()) {
        throw Unsupported(who + ": NumPy has no type for " + std::string(dtype_name(dtype)) +
                          "; convert to f32, write the bits as u16, or write safetensors");
    }
    if (shape.size() > static_cast<std::size_t>(kMaxRank) || !data_bytes(dtype, shape)) {
        throw InvalidArgument(who + ": an array cannot have the shape " + shape_text(shape) +
                              "; give at most " + std::to_string(kMaxRank) +
                              " dimensions, none negative, of less than 2^63 bytes together");
    }
    std::string dict = std::string("{'descr': '") + (size_of(dtype) == 1 ? '|' : '<') +
                       std::string(type->code) + "', 'fortran_order': False, 'shape': (";
    for (std::size_t i = 0; i < shape.size(); ++i) dict += (i ? ", " : "") + std::to_string(shape[i]);
    dict += shape.size() == 1 ? ",), }" : "), }";
    // NumPy leaves room for the first dimension to grow to 21 digits, so that rows can be appended.
    if (!shape.empty()) dict.append(21 - std::to_string(shape[0]).size(), ' ');
    constexpr std::size_t kBegin = kVersionEnd + 2, kAlign = 64;
    dict.append(kAlign - (kBegin + dict.size() + 1) % kAlign, ' ');
    dict += '\n';
    std::string out(kMagic);
    out += {'\1', '\0', static_cast<char>(dict.size() & 0xFF), static_cast<char>(dict.size() >> 8)};
    return out + dict;
}

}  // namespace

NpyArray parse_npy(std::span<const std::byte> bytes, std::string_view name) {
    const std::string file(name);
    NpyHeader header = parse_header(bytes, bytes.size(), file);
    std::vector<std::byte> data = allocate(header.bytes, file);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(header.data_begin), data.size(), data.begin());
    return finish(std::move(header), std::move(data), file);
}

NpyArray read_npy(const std::filesystem::path& path) {
    const auto map = MappedFile::open(path);
    // Copied with read(), not from the map: a file that is cut while in use is an IoError there.
    std::vector<std::byte> first(
        static_cast<std::size_t>(std::min<std::uint64_t>(map->size(), kMaxPrefix + kMaxNpyHeader)));
    map->read(0, first);
    NpyHeader header = parse_header(first, map->size(), map->path());
    std::vector<std::byte> data = allocate(header.bytes, map->path());
    map->read(header.data_begin, data);
    return finish(std::move(header), std::move(data), map->path());
}

std::string npy_header(DType dtype, std::span<const std::int64_t> shape) {
    return header_text(dtype, shape, "npy");
}

void write_npy(const std::filesystem::path& path, DType dtype, std::span<const std::int64_t> shape,
               std::span<const std::byte> data) {
    const std::string header = header_text(dtype, shape, path.string());
    const std::uint64_t bytes = data_bytes(dtype, shape).value();
    if (data.size() != bytes) {
        throw InvalidArgument(path.string() + ": " + std::string(dtype_name(dtype)) + shape_text(shape) +
                              " needs " + std::to_string(bytes) + " bytes of data, not " +
                              std::to_string(data.size()));
    }
    if (dtype == DType::pred) {
        const auto bad = std::find_if(data.begin(), data.end(), [](std::byte b) { return b > std::byte{1}; });
        if (bad != data.end()) {
            throw InvalidArgument(path.string() + ": element " + std::to_string(bad - data.begin()) +
                                  " of the pred array is " + std::to_string(std::to_integer<int>(*bad)) +
                                  "; write 0 or 1");
        }
    }
    OutputFile file(path);
    file.write(0, std::as_bytes(std::span(header.data(), header.size())));
    file.write(header.size(), data);
    file.finish(false);
}

}  // namespace invar::io
