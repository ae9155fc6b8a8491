// SPDX-License-Identifier: Apache-2.0
// NumPy array files: those of NumPy itself, our own, and each way in which a file can be broken.
#include "io/npy.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include <invar/error.h>
#include <invar/shape.h>

#include "device/faults.h"
#include "io/files.h"
#include "io/npy_files.h"

namespace invar::io {
namespace {

using test::expect_error;
using test::kNumpyFiles;
using test::NumpyFile;
using test::TempFolder;

std::span<const std::byte> bytes_of(std::string_view s) {
    return std::as_bytes(std::span(s.data(), s.size()));
}
std::string text_of(std::span<const std::byte> s) {
    return {reinterpret_cast<const char*>(s.data()), s.size()};
}

NpyArray parse_array(std::string_view bytes) { return parse_npy(bytes_of(bytes), "a.npy"); }

void expect_refused(std::string_view bytes, std::initializer_list<std::string> texts) {
    expect_error<FormatError>([&] { parse_array(bytes); }, {"a.npy: "});
    expect_error<FormatError>([&] { parse_array(bytes); }, texts);
}

// A file with this dict, not padded.
std::string npy(const std::string& dict, const std::string& data = "", int version = 1) {
    std::string out = "\x93NUMPY";
    out += {static_cast<char>(version), '\0'};
    for (int i = 0; i < (version == 1 ? 2 : 4); ++i) out += static_cast<char>(dict.size() >> (8 * i) & 0xFF);
    return out + dict + data;
}

std::string dict(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
    return "{'descr': " + descr + ", 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

std::string slurp(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Npy, ReadsWhatNumpyWrites) {
    const TempFolder folder;
    std::vector<bool> seen(kDTypeCount);
    for (const NumpyFile& f : kNumpyFiles) {
        SCOPED_TRACE(std::string(f.name));
        const auto path = folder.write(std::string(f.name), std::string(f.file));
        for (const NpyArray& a : {parse_array(f.file), read_npy(path)}) {
            EXPECT_EQ(a.dtype, f.dtype);
            EXPECT_EQ(a.shape, f.shape);
            EXPECT_EQ(text_of(a.data), f.data);
        }
        seen[static_cast<std::size_t>(f.dtype)] = true;
    }
    for (int i = 0; i < kDTypeCount; ++i) {
        const auto t = static_cast<DType>(i);
        EXPECT_EQ(seen[static_cast<std::size_t>(i)], t != DType::bf16) << dtype_name(t);
    }
}

TEST(Npy, WritesTheBytesThatNumpyWrites) {
    const TempFolder folder;
    int plain = 0;
    for (const NumpyFile& f : kNumpyFiles) {
        if (!f.plain) continue;
        const auto path = folder.path() / "a.npy";
        write_npy(path, f.dtype, f.shape, bytes_of(f.data));
        EXPECT_EQ(slurp(path), f.file) << f.name;
        ++plain;
    }
    EXPECT_GE(plain, 12);
}

TEST(Npy, RefusesEveryTruncationAndAnyByteMore) {
    for (const NumpyFile& f : kNumpyFiles) {
        for (std::size_t n = 0; n < f.file.size(); ++n)
            EXPECT_THROW(parse_array(f.file.substr(0, n)), FormatError) << f.name << ", " << n << " bytes";
        expect_refused(std::string(f.file) + '\0', {"1 bytes follow the array", "save each in its own"});
    }
}

TEST(Npy, ReadsOtherSpellings) {
    const auto is = [](const std::string& file, DType dtype, const std::vector<std::int64_t>& shape,
                       const std::string& data) {
        const NpyArray a = parse_array(file);
        EXPECT_EQ(a.dtype, dtype);
        EXPECT_EQ(a.shape, shape);
        EXPECT_EQ(text_of(a.data), data);
    };
    is(npy("{\"shape\":(2,1),\"fortran_order\":False,\"descr\":\"=u2\"}", "abcd"), DType::u16, {2, 1},
       "abcd");
    is(npy(" \t{ 'fortran_order' :\r\n True\f, 'descr':\n'>u2' , 'shape': ( 2 , 2, ) } \n", "abcdefgh"),
       DType::u16, {2, 2}, "bafedchg");
    is(npy(dict("'<i1'", "(2L, 1L)"), "ab"), DType::i8, {2, 1}, "ab");
    is(npy(dict("'>u1'", "(3L,)"), "abc", 2), DType::u8, {3}, "abc");
    is(npy(dict("'=b1'", "(4,)"), std::string("\0\1\2\xff", 4)), DType::pred, {4},
       std::string("\0\1\1\1", 4));
    is(npy(dict("'|i1'", "(0, 9223372036854775807)", "True")), DType::i8, {0, 9223372036854775807}, "");
    // The longest header that numpy.load accepts.
    std::string padded = dict("'|u1'", "()");
    padded.resize(kMaxNpyHeader, ' ');
    is(npy(padded, "x", 3), DType::u8, {}, "x");
    expect_refused(npy(padded + ' ', "x", 3), {"header length 10001 is over the limit of 10000 bytes"});
}

struct Broken {
    std::string file;
    std::string message;
};

TEST(Npy, RefusesBrokenHeaders) {
    const auto d = [](const std::string& descr, const std::string& shape) { return npy(dict(descr, shape)); };
    const auto shape = [](const std::string& text) { return npy(dict("'<f4'", text)); };
    const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (0,)";
    const Broken table[] = {
        {"", "a.npy: 0 bytes are too few for a .npy file"},
        {"\x93NUM", "4 bytes are too few for a .npy file, which begins with \\x93NUMPY and a version"},
        {"\x93NUMPY\x01", "7 bytes are too few"},
        {"\x93NUMPX\x01", "does not begin with \\x93NUMPY; is this a .npy file?"},
        {"NUMPY", "does not begin with \\x93NUMPY"},
        {"PK\x03\x04....", "is an archive of arrays (.npz); unpack it"},
        {npy(good + "}", "", 0), "has the format version 0.0; read are 1.0, 2.0 and 3.0"},
        {npy(good + "}", "", 4), "has the format version 4.0"},
        {std::string("\x93NUMPY\x01\x01\x02\x00{}", 12), "has the format version 1.1"},
        {std::string("\x93NUMPY\x01\x00\x02", 9), "the header's length ends at byte 10 of a 9-byte file"},
        {std::string("\x93NUMPY\x02\x00\x02\x00", 10), "the header's length ends at byte 12 of a 10-byte"},
        {std::string("\x93NUMPY\x01\x00\x05\x00{}", 12), "the header ends at byte 15 of a 12-byte file"},
        {std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14), "header length 4294967295 is over the"},
        {npy(""), "header, byte 10: expected '{', found the header's end; write the file with numpy.save"},
        {npy("", "", 2), "header, byte 12: expected '{'"},
        {npy("[]"), "expected '{', found '['"},
        {npy("{}"), "no key 'descr'"},
        {npy("{'descr': '<f4'}"), "no key 'fortran_order'"},
        {npy("{'descr': '<f4', 'fortran_order': True, }"), "no key 'shape'"},
        {npy("{'fortran_order': True, 'shape': ()}"), "no key 'descr'"},
        {npy(good), "byte 64: expected ',' or '}', found the header's end"},
        {npy(good + ","), "expected a key in quotes, found the header's end"},
        {npy(good + ",,}"), "expected a key in quotes, found ','"},
        {npy(good + "} x"), "expected nothing after the dict, found 'x'"},
        {npy(good + "}{"), "expected nothing after the dict, found '{'"},
        {npy(good + "}" + std::string(1, '\0')), "expected nothing after the dict, found '?'"},
        {npy(good + "}\xe9"), "expected nothing after the dict, found '?'"},
        {npy(good + ", 'descr': '<f4'}"), "the key 'descr' occurs twice"},
        {npy(good + ", 'shape': ()}"), "the key 'shape' occurs twice"},
        {npy(good + ", 'colour': 1}"), "unknown key 'colour'; known: descr, fortran_order, shape"},
        {npy(good + ", 'co\xe9\x01': 1}"), "unknown key 'co?\?'; known"},
        {npy(good + ", shape: 1}"), "expected a key in quotes, found 's'"},
        {npy("{'descr'  '<f4'}"), "expected ':', found '''"},
        {npy("{'descr"), "a string does not end"},
        {npy("{'descr\"}"), "a string does not end"},
        {npy("{'descr\n': 1}"), "a string does not end"},
        {npy("{'desc\\x72': 1}"), "a string with a backslash"},
        {npy("{'descr': u'<f4'}"), "expected descr to be a string such as '<f4', found 'u'"},
        {npy("{'descr': None}"), "expected descr to be a string such as '<f4', found 'N'"},
        {npy("{'descr': [('a', '<f4')]}"), "is a structured array, which is not read; save each field alone"},
        {d("''", "()"), "has elements of type ''"},
        {d("'<'", "()"), "has elements of type '<'"},
        {d("'f4'", "()"),
         "has elements of type 'f4'; read are, after one of < > = |: b1, i1, i2, i4, i8, u1,"},
        {d("'<f16'", "()"), "has elements of type '<f16'"},
        {d("'<c8'", "()"), "convert with .astype before numpy.save"},
        {d("'|O'", "()"), "has elements of type '|O'"},
        {d("'<U3'", "()"), "has elements of type '<U3'"},
        {d("'<b2'", "()"), "has elements of type '<b2'"},
        {d("'!f4'", "()"), "has elements of type '!f4'"},
        {d("'|f4'", "()"), "leaves the order of their bytes open; write '<f4' or '>f4'"},
        {d("'<V2'", "()"), "raw bytes as which bf16 is also saved; save x.astype(numpy.float32)"},
        {d("'|V2'", "()"), "x.view(numpy.uint16) for the bits"},
        {d("'<V1'", "()"), "has elements of type '<V1'"},
        {npy(dict("'<f4'", "()", "false")), "fortran_order must be True or False, found 'f'"},
        {npy(dict("'<f4'", "()", "1")), "fortran_order must be True or False, found '1'"},
        {npy(dict("'<f4'", "()", "'True'")), "fortran_order must be True or False, found '''"},
        {npy(dict("'<f4'", "()", "Truest")), "expected ',' or '}', found 's'"},
        {shape("[2, 3]"), "shape must be a tuple such as (2, 3), (4,) or (), found '['"},
        {shape("3"), "shape must be a tuple such as (2, 3), (4,) or (), found '3'"},
        {shape("(3)"), "the shape (3) is a number and no tuple; one dimension is (3,)"},
        {shape("(,)"), "expected a dimension, found ','"},
        {shape("(3,,)"), "expected a dimension, found ','"},
        {shape("(3 4)"), "expected ',' or ')' in the shape, found '4'"},
        {shape("(3, 4"), "expected a dimension, found '}'"},
        {npy("{'shape': (3"), "expected ',' or ')' in the shape, found the header's end"},
        {npy("{'shape': (3,"), "expected a dimension, found the header's end"},
        {shape("(-1,)"), "a negative dimension"},
        {shape("(+1,)"), "expected a dimension, found '+'"},
        {shape("(1.0,)"), "expected ',' or ')' in the shape, found '.'"},
        {shape("(1_0,)"), "expected ',' or ')' in the shape, found '_'"},
        {shape("(0x1,)"), "expected ',' or ')' in the shape, found 'x'"},
        {shape("(01,)"), "a dimension that begins with 0"},
        {shape("(True,)"), "expected a dimension, found 'T'"},
        {shape("((1,),)"), "expected a dimension, found '('"},
        {shape("(2l,)"), "expected ',' or ')' in the shape, found 'l'"},
        {npy(dict("'<f4'", "(2L,)"), "", 3), "expected ',' or ')' in the shape, found 'L'"},
        {shape("(9223372036854775808,)"), "a dimension of 2^63 or more"},
        {shape("(99999999999999999999999999,)"), "a dimension of 2^63 or more"},
        {shape("(2305843009213693952,)"), "an array f32[2305843009213693952] would be of 2^63 bytes or more"},
        {shape("(4294967296, 4294967296)"), "f32[4294967296, 4294967296] would be of 2^63 bytes or more"},
        {shape("(0, 4294967296, 4294967296)"), "would be of 2^63 bytes or more"},
        {shape("(4294967296, 4294967296, 0)"), "would be of 2^63 bytes or more"},
        {shape("(2305843009213693951,)"), "has 9223372036854775804 bytes of data, of which 0 are there"},
        {shape("(1, 1, 1, 1, 1, 1, 1, 1, 1)"), "has more than 8 dimensions, the most that is supported"},
        {npy(dict("'<f4'", "(2, 3)"), std::string(23, 'x')),
         "the array f32[2, 3] has 24 bytes of data, of which 23 are there; the file is cut off"},
        {npy(dict("'<f4'", "()"), std::string(8, 'x')), "4 bytes follow the array"},
        {npy(dict("'<f4'", "(0,)"), std::string(8, 'x')), "8 bytes follow the array"},
        {npy("{" + std::string(9000, '{')), "expected a key in quotes, found '{'"},
        {npy("{'shape': " + std::string(9000, '(')), "expected a dimension, found '('"},
    };
    for (const Broken& b : table) {
        SCOPED_TRACE(b.message);
        expect_refused(b.file, {b.message});
        const TempFolder folder;
        const auto path = folder.write("b.npy", b.file);
        expect_error<FormatError>([&] { read_npy(path); }, {path.string() + ": "});
    }
}

TEST(Npy, NamesTheFileThatCannotBeRead) {
    const TempFolder folder;
    const auto missing = folder.path() / "none.npy";
    expect_error<IoError>([&] { read_npy(missing); }, {missing.string(), "No such file"});
    expect_error<IoError>([&] { read_npy(folder.path()); }, {"not a regular file"});
    const auto path = folder.write("a.npy", npy(dict("'|u1'", "(4,)"), "abcd"));
    for (const char* fault : {"short_read@1", "short_read@2"}) {  // the header, the data
        set_faults(fault);
        expect_error<IoError>([&] { read_npy(path); }, {path.string(), "short read at byte"});
    }
    set_faults("");
    EXPECT_EQ(text_of(read_npy(path).data), "abcd");
}

TEST(Npy, ReadsBackWhatItWrites) {
    const TempFolder folder;
    const auto path = folder.path() / "a.npy";
    const std::vector<std::int64_t> shapes[] = {{},        {1},    {7},         {0},
                                                {3, 0, 2}, {2, 5}, {123456, 1}, {1, 2, 1, 2, 1, 2, 1, 2}};
    for (int i = 0; i < kDTypeCount; ++i) {
        const auto dtype = static_cast<DType>(i);
        if (dtype == DType::bf16) continue;
        for (const auto& shape : shapes) {
            std::size_t bytes = size_of(dtype);
            for (const std::int64_t d : shape) bytes *= static_cast<std::size_t>(d);
            std::vector<std::byte> data(bytes);
            for (std::size_t k = 0; k < bytes; ++k)
                data[k] = static_cast<std::byte>(dtype == DType::pred ? k % 2 : k * 7 + k / 256);
            write_npy(path, dtype, shape, data);
            const NpyArray a = read_npy(path);
            EXPECT_EQ(a.dtype, dtype);
            EXPECT_EQ(a.shape, shape);
            EXPECT_EQ(a.data, data) << dtype_name(dtype);
            EXPECT_EQ((std::filesystem::file_size(path) - bytes) % 64, 0u);
        }
    }
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1)
        << "nothing is left over";
}

// Large enough that rows, columns and planes each leave a cache line.
TEST(Npy, ConvertsLargeFortranArrays) {
    constexpr std::size_t kA = 37, kB = 65, kC = 41;
    std::string data(kA * kB * kC * 4, '\0');
    for (std::uint32_t c = 0, n = 0; c < kC; ++c) {
        for (std::uint32_t b = 0; b < kB; ++b) {
            for (std::uint32_t a = 0; a < kA; ++a, ++n) {
                const std::uint32_t v = (a * 100 + b) * 100 + c;
                std::memcpy(data.data() + n * 4, &v, 4);
            }
        }
    }
    const NpyArray array = parse_array(npy(dict("'<u4'", "(37, 65, 41)", "True"), data));
    std::size_t wrong = 0;
    for (std::uint32_t a = 0, n = 0; a < kA; ++a) {
        for (std::uint32_t b = 0; b < kB; ++b) {
            for (std::uint32_t c = 0; c < kC; ++c, ++n) {
                std::uint32_t v;
                std::memcpy(&v, array.data.data() + n * 4, 4);
                wrong += v != (a * 100 + b) * 100 + c;
            }
        }
    }
    EXPECT_EQ(wrong, 0u);
}

TEST(Npy, RefusesToWriteWhatCannotBeRead) {
    const TempFolder folder;
    const auto path = folder.path() / "a.npy";
    const auto write = [&](DType dtype, const std::vector<std::int64_t>& shape, const std::string& data) {
        return [=] { write_npy(path, dtype, shape, bytes_of(data)); };
    };
    expect_error<Unsupported>(write(DType::bf16, {1}, "ab"),
                              {path.string(), "no type for bf16", "convert to f32"});
    expect_error<InvalidArgument>(write(DType::f32, {2}, "abcd"),
                                  {path.string(), "f32[2] needs 8 bytes of data, not 4"});
    expect_error<InvalidArgument>(write(DType::u8, {-1}, ""), {path.string(), "cannot have the shape [-1]"});
    expect_error<InvalidArgument>(write(DType::u8, {0, 1LL << 62, 2}, ""), {"less than 2^63 bytes"});
    expect_error<InvalidArgument>(write(DType::u8, std::vector<std::int64_t>(9, 1), "a"),
                                  {"at most 8 dimensions"});
    expect_error<InvalidArgument>(write(DType::pred, {3}, std::string("\0\1\2", 3)),
                                  {"element 2 of the pred array is 2; write 0 or 1"});
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    expect_error<IoError>([&] { write_npy(folder.path() / "no" / "a.npy", DType::u8, {}, bytes_of("a")); },
                          {"no/a.npy.tmp", "cannot create: No such file"});
    expect_error<IoError>([&] { write_npy(folder.path(), DType::u8, {}, bytes_of("a")); },
                          {folder.path().string() + ": cannot put the file in place"});
    EXPECT_FALSE(std::filesystem::exists(folder.path().string() + ".tmp" + std::to_string(::getpid())));
}

TEST(Npy, WritersOfOneFileDoNotMix) {
    const TempFolder folder;
    const auto path = folder.path() / "a.npy";
    const auto write = [&](char c) {
        const std::string data(100000, c);
        for (int i = 0; i < 20; ++i)
            write_npy(path, DType::u8, std::vector<std::int64_t>{100000}, bytes_of(data));
    };
    std::thread other([&] { write('a'); });
    write('b');
    other.join();
    const std::string data = text_of(read_npy(path).data);
    EXPECT_EQ(std::count(data.begin(), data.end(), data[0]), 100000);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1)
        << "nothing is left over";
}

}  // namespace
}  // namespace invar::io
