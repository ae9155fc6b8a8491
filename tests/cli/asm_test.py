#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`invar asm`: what programs are, the sources made of them, and running them over NumPy files."""

import ast
import struct
import unittest

from runner import CliTest
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "programs"


def write_npy(path, code, values, shape):
    """code: of `struct`, and the NumPy name of the type."""
    header = repr({"descr": "<" + code[1], "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    data = struct.pack(f"<{len(values)}{code[0]}", *values)
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)


def read_npy(path, code):
    data = path.read_bytes()
    size = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + size].decode())
    body = data[10 + size:]
    return header["shape"], list(struct.unpack(f"<{len(body) // struct.calcsize(code)}{code}", body))


EMPTY_SUM = 0x3325230e1f285505  # XXH3 of two zero bytes
F32, U32, I32 = ("f", "f4"), ("I", "u4"), ("i", "i4")


class Asm(CliTest):
    def program(self, text):
        path = self.folder / "program.prog"
        path.write_text(text)
        return path

    def test_check_says_what_a_program_is(self):
        all_of = self.good_json("asm", "check", EXAMPLES / "histogram.prog")
        self.assertEqual(len(all_of), 1)
        self.assertEqual(all_of[0]["form"], "grid")
        self.assertEqual(all_of[0]["block"], [256, 1, 1])
        self.assertEqual(all_of[0]["shared_bytes"], 1024)
        self.assertEqual(all_of[0]["parameters"][1],
                         {"name": "bins", "type": "u32", "kind": "buffer", "access": "read and written"})
        product = self.good_json("asm", "check", EXAMPLES / "matmul.prog")[0]
        self.assertEqual(product["accumulators"], [{"name": "sum", "rows": 64, "columns": 64}])
        self.assertIn("vector_add: pointwise program, 4 instructions", self.good("asm", "check", EXAMPLES / "vector_add.prog"))
        self.bad(1, "asm", "check", self.program(".program p\n.param a: f32*\nLDG.f32 x, [b + gid]"),
                 words=["line 3, column 13", "'b' is no parameter"])
        self.bad(1, "asm", "check", self.folder / "none.prog", words=["none.prog"])

    def test_save(self):
        for path in (EXAMPLES / "dot.prog", EXAMPLES / "sigmoid.prog"):
            saved = self.folder / "saved.bin"
            info = self.good_json("asm", "save", path, saved)
            self.assertEqual(info["bytes"], saved.stat().st_size)
            self.assertEqual(self.good("asm", "emit", saved, "--target", "text"),
                             self.good("asm", "emit", path, "--target", "text"))
            self.assertEqual(self.good_json("asm", "check", saved), self.good_json("asm", "check", path))
        damaged = bytearray(saved.read_bytes())
        damaged[-3] ^= 1
        saved.write_bytes(damaged)
        self.bad(1, "asm", "check", saved, words=["checksum"])
        self.bad(1, "asm", "save", EXAMPLES / "dot.prog", self.folder / "none" / "x", words=["none"])
        # A file of no programs: its header, and a body of no names and no programs, whose checksum this is.
        empty = b"\x89INVPRG\n" + struct.pack("<IIQQ", 2, 0, 2, EMPTY_SUM) + b"\0\0"
        saved.write_bytes(empty)
        self.bad(1, "asm", "run", saved, words=["holds no program"])

    def test_emit(self):
        path = EXAMPLES / "dot.prog"
        self.assertIn("__global__", self.good("asm", "emit", path, "--target", "cuda"))
        self.assertIn("kernel __attribute__", self.good("asm", "emit", path, "--target", "opencl"))
        self.assertIn("[[buffer(0)]]", self.good("asm", "emit", path, "--target", "metal"))
        double = self.program(".program p\n.param a: f64*\nLDG.f64 x, [a + gid]\nSTG.f64 [a + gid], x\n")
        self.bad(1, "asm", "emit", double, "--target", "metal", words=["line 3", "LDG.f64", "double precision"])
        text = self.good("asm", "emit", path, "--target", "text")
        self.assertTrue(text.startswith(".program partials\n"))
        self.assertEqual(self.good("asm", "emit", "-", "--target", "text", stdin=text.encode()), text)
        twice = self.program(".program p\n.param a: u32*\nLDG.u32 x, [a + gid]\nMUL.u32 x, x, 2\nMUL.u32 x, x, 4\n"
                             "ADD.u32 y, x, 0\nSTG.u32 [a + gid], y\n")
        self.assertIn("MUL.u32 r1, r0, 2", self.good("asm", "emit", twice, "--target", "text"))
        faster = self.good("asm", "emit", twice, "--target", "text", "--optimize")
        self.assertIn("SHL.u32 r1, r0, 1", faster)
        self.assertNotIn("ADD", faster)
        self.assertNotIn("ADD_u32(r", self.good("asm", "emit", twice, "--target", "cuda"))

    def test_run_a_pointwise_program(self):
        a, b, c = (self.folder / f"{n}.npy" for n in "abc")
        write_npy(a, F32, [1, 2, 3, 4, 5, 6], (2, 3))
        write_npy(b, F32, [10, 20, 30, 40, 50, 60], (2, 3))
        done = self.good_json("asm", "run", EXAMPLES / "vector_add.prog", "--in", f"a={a}", "--in", f"b={b}", "--out", f"c={c}",
                              "--device", "cpu", "--no-fallback")
        self.assertEqual(done, {"program": "vector_add", "device": "cpu"})
        self.assertEqual(read_npy(c, "f"), ((2, 3), [11, 22, 33, 44, 55, 66]))
        # In place, with a scalar.
        self.good("asm", "run", EXAMPLES / "saxpy.prog", "--in", f"x={a}", "--in", f"y={b}", "--out", f"y={c}", "--set",
                  "alpha=0.5", "--device", "cpu")
        self.assertEqual(read_npy(c, "f")[1], [10.5, 21, 31.5, 42, 52.5, 63])

    def test_run_a_grid_program(self):
        x, y = self.folder / "x.npy", self.folder / "y.npy"
        write_npy(x, I32, range(300), (300,))
        self.good("asm", "run", EXAMPLES / "prefix_sum.prog", "--in", f"x={x}", "--out", f"y={y}", "--set", "n=300", "--grid", "1",
                  "--device", "cpu")
        self.assertEqual(read_npy(y, "i")[1][-1], 299 * 150)
        out = self.folder / "out.npy"
        self.good("asm", "run", EXAMPLES / "mandelbrot.prog", "--shape", "out=20,30", "--out", f"out={out}", "--set", "width=30",
                  "--set", "height=20", "--set", "limit=50", "--block", "64", "--device", "cpu")
        shape, steps = read_npy(out, "I")
        self.assertEqual(shape, (20, 30))
        self.assertIn(50, steps)
        # bf16 goes through f32 files.
        path = self.program(".program p\n.param a: bf16*\nLDG.bf16 x, [a + gid]\nMUL.f32 x, x, 3\nSTG.bf16 [a + gid], x")
        write_npy(x, F32, [1, 2.5], (2,))
        self.good("asm", "run", path, "--in", f"a={x}", "--out", f"a={y}", "--device", "cpu")
        self.assertEqual(read_npy(y, "f")[1], [3, 7.5])

    def test_what_does_not_fit_is_said(self):
        path, x = EXAMPLES / "saxpy.prog", self.folder / "x.npy"
        write_npy(x, U32, [1, 2], (2,))
        commented = self.program("// A line.\n\n.program p\n.param a: f32*\n.block 4\n\nMOV.u32 i, 9\nSTG.f32 [a + i], 1")
        for arguments, word in (
            ([path, "--in", f"x={x}"], "takes f32"),
            ([path, "--shape", "x=4"], "buffer 'y' is read and written and has neither"),
            ([path, "--shape", "x=4", "--shape", "y=4"], "scalar 'alpha' has no value"),
            ([path, "--shape", "x=4", "--shape", "y=3", "--set", "alpha=1", "--count", "4"], "'y'"),
            ([path, "--shape", "x=4", "--shape", "y=4", "--set", "alpha=one"], "alpha"),
            ([path, "--shape", "x=4", "--shape", "z=4"], "no parameter 'z'; it has: alpha, x, y"),
            ([path, "--shape", "x"], "is not NAME=VALUE"),
            ([path, "--shape", "x=-4"], "is not a shape"),
            ([path, "--shape", "alpha=4"], "give it with --set"),
            ([path, "--shape", "x=4", "--shape", "y=4", "--set", "alpha=1", "--grid", "2"], "pointwise"),
            ([EXAMPLES / "dot.prog"], "choose one with --program"),
            ([EXAMPLES / "dot.prog", "--program", "sum"], "there are: partials, total"),
            ([EXAMPLES / "histogram.prog", "--shape", "x=4", "--shape", "bins=4", "--set", "n=4", "--grid", "1"],
             "asks for element 4 of 'bins', which has 4"),
            ([EXAMPLES / "histogram.prog", "--shape", "x=4", "--shape", "bins=256", "--set", "n=4", "--block", "8"],
             "the program names (256, 1, 1)"),
            ([commented, "--shape", "a=4", "--grid", "1"], "line 8, STG"),
        ):
            with self.subTest(word=word):
                self.bad(1, "asm", "run", *arguments, "--device", "cpu", words=[word])

    def test_time(self):
        result = self.good_json("asm", "time", EXAMPLES / "vector_add.prog", "--shape", "a=1000", "--shape", "b=1000", "--shape",
                                "c=1000", "--device", "cpu")
        self.assertEqual(result["bytes"], 12000)
        self.assertGreater(result["gigabytes_per_second"], 0)
        self.assertGreater(result["share_of_copy_bandwidth"], 0)


if __name__ == "__main__":
    unittest.main()
