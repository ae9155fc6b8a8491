#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/io/npy_files.h and fuzz/corpus/npy: NumPy array files as NumPy itself writes them.

Not part of the build. usage, from the root of the tree, with numpy 2.4 (older ones pad the header differently):

    python3 -m venv env && env/bin/pip install numpy && env/bin/python tools/npy_files.py
"""

import io
from pathlib import Path

import numpy as np

INVAR = {"b1": "pred", "i1": "i8", "i2": "i16", "i4": "i32", "i8": "i64", "u1": "u8", "u2": "u16", "u4": "u32",
         "u8": "u64", "f2": "f16", "f4": "f32", "f8": "f64"}
OPENING = """// SPDX-License-Identifier: Apache-2.0
// Files written by NumPy {version} and what they hold. Made by tools/npy_files.py; change that.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include <invar/dtype.h>

namespace invar::test {{

struct NumpyFile {{
    std::string_view name;
    std::string_view file;  // all its bytes
    DType dtype;
    std::vector<std::int64_t> shape;
    std::string_view data;  // its elements, little-endian in C order
    bool plain;             // as our writer writes: version 1.0, little-endian, C order
}};

// clang-format off
inline const std::array<NumpyFile, {count}> kNumpyFiles = {{{{
"""


def values(code, shape):
    """An array of the type: its extremes (of floats: infinity, -0 and a subnormal f16), then small values."""
    count = int(np.prod(shape))
    if code == "b1":
        return (np.arange(count) % 3 == 1).reshape(shape)
    if code[0] == "f":
        few = [1.5, -0.1, float("inf"), -0.0, 6e-8, 1000.0]
        return np.array([few[i % 6] + (i // 6 if i >= 6 else 0) for i in range(count)], "<" + code).reshape(shape)
    limits = np.iinfo(code)
    few = [limits.min, limits.max] + [(i * 37 + 2) % 127 for i in range(count)]
    return np.array(few[:count], "<" + code).reshape(shape)


def arrays():
    """(name, array, version or None)"""
    for code in INVAR:
        yield "one_" + code, values(code, (3,)), None
    for code in INVAR:
        if code[1] != "1":
            yield "big_" + code, values(code, (2,)).astype(">" + code), None
    yield "scalar", values("f4", ()), None
    yield "scalar_2", values("f8", ()), (2, 0)
    yield "scalar_big", values("i4", ()).astype(">i4"), None
    yield "empty", values("i8", (0,)), None
    yield "empty_2", values("f4", (2, 0, 3)), (2, 0)
    yield "empty_fortran", np.asfortranarray(values("f4", (2, 0, 3))), None
    yield "matrix", values("f4", (2, 3)), None
    yield "matrix_2", values("u2", (3, 2)), (2, 0)
    yield "matrix_3", values("f2", (2, 3)), (3, 0)
    yield "fortran", np.asfortranarray(values("i4", (2, 3))), None
    yield "fortran_pred", np.asfortranarray(values("b1", (3, 2))), None
    yield "fortran_3d", np.asfortranarray(values("i2", (2, 3, 4))), (2, 0)
    yield "fortran_big", np.asfortranarray(values("f8", (3, 2)).astype(">f8")), (3, 0)
    yield "rank_8", values("u1", (1, 2, 1, 2, 1, 1, 3, 1)), None
    yield "rank_8_fortran", np.asfortranarray(values("u1", (1, 2, 1, 2, 1, 1, 3, 1))), None


def literal(data, indent):
    """C++ string literals of at most 100 columns, joined by the compiler; every escape is three octal digits."""
    pieces = [chr(b) if 32 <= b < 127 and chr(b) not in "\"\\?" else f"\\{b:03o}" for b in data]
    lines, line = [], ""
    for piece in pieces:
        if len(line) + len(piece) > 84:
            lines.append(line)
            line = ""
        line += piece
    lines.append(line)
    return f"\n{indent}".join(f'"{line}"' for line in lines)


def main():
    corpus = Path("fuzz/corpus/npy")
    corpus.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, array, version in arrays():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, array, version=version)
        data = array.astype(array.dtype.newbyteorder("<")).tobytes(order="C")
        file = stream.getvalue()
        assert np.array_equal(np.load(io.BytesIO(file)), array)
        plain = version is None and array.dtype.str[0] != ">" and b"'fortran_order': False" in file
        shape = ", ".join(map(str, array.shape))
        held = f'{{{literal(data, "      ")}, {len(data)}}}' if data else "{}"
        rows.append(f'    {{"{name}",\n     {{{literal(file, "      ")},\n      {len(file)}}},\n'
                    f'     DType::{INVAR[array.dtype.str[1:]]}, {{{shape}}},\n'
                    f'     {held}, {str(plain).lower()}}},\n')
        if not name.startswith(("one_", "big_")) or name in ("one_b1", "one_f2", "one_u8", "big_f4"):
            (corpus / name).write_bytes(file)
    (corpus / "python_2").write_bytes(b"\x93NUMPY\x01\0\x46\0{'descr': '<i2', 'fortran_order': False, "
                                      b"'shape': (2L, 1L), }".ljust(79) + b"\n\1\0\2\0")
    (corpus / "spelled_otherwise").write_bytes(b'\x93NUMPY\x02\0\x40\0\0\0{"shape":(2,1,),\n\t"descr":"=u2",'
                                               b'"fortran_order":True}'.ljust(76) + b"\1\0\2\0")
    header = OPENING.format(version=np.__version__, count=len(rows))
    Path("tests/io/npy_files.h").write_text(
        header + "".join(rows) + "}};\n// clang-format on\n\n}  // namespace invar::test\n")


main()
