#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`invar asm`: what programs are, the sources made of them, and running them over NumPy files."""

import ast
import json
import os
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

    def devices(self):
        """What runs programs here, each with its environment; others than the cpu may be missing unless they are required."""
        found = {"cpu": None}
        available = {backend["name"] for backend in self.good_json("devices")["backends"] if backend["available"]}
        if "cuda" in available:
            found["cuda"] = None
        if "opencl" in available:
            found["opencl"] = {"POCL_CACHE_DIR": str(self.folder / "pocl"), "INVAR_OPENCL_OPTIONS": "-cl-opt-disable"}
        else:
            self.assertFalse(os.environ.get("INVAR_REQUIRE_OPENCL"), "no OpenCL device")
        # The software Metal device.
        modules = os.environ.get("INVAR_METAL_MODULES", "")
        if Path(modules, "invar-metal.so").exists():
            found["metal"] = {"INVAR_MODULE_DIR": modules}
        else:
            self.assertFalse(os.environ.get("INVAR_REQUIRE_METALSIM"), "the backend metal was not built")
        return found

    def accelerators(self):
        """The same without the cpu; skips the test where there are none."""
        found = self.devices()
        del found["cpu"]
        if not found:
            self.skipTest("no device but the cpu here")
        return found.items()

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

    def test_debug_prints_a_program_after_each_pass_that_changed_it(self):
        path = self.program(".program p\n.param a: u32*\nLDG.u32 x, [a + gid]\nMUL.u32 x, x, 2\nADD.u32 x, x, 0\n"
                            "STG.u32 [a + gid], x\n")

        def said(debug):
            code, out, err = self.invar("asm", "run", path, "--shape", "a=4", "--device", "cpu", environment={"INVAR_DEBUG": debug})
            self.assertEqual((code, out), (0, b""), err)
            return err.decode()

        def stage(title, *between):
            lines = [".program p", ".param a: u32*", "LDG.u32 r0, [a + gid]", *between]
            return f"invar: debug: {title}:\n" + "".join(line + "\n" for line in lines) + "\n"

        self.assertEqual(said("program"),
                         stage("program", "MUL.u32 r1, r0, 2", "ADD.u32 r2, r1, 0", "STG.u32 [a + gid], r2") +
                         stage("program after fold", "SHL.u32 r1, r0, 1", "MOV.u32 r2, r1", "STG.u32 [a + gid], r1") +
                         stage("program after sweep", "SHL.u32 r1, r0, 1", "STG.u32 [a + gid], r1"))
        self.assertIn("program after fold", said("graph,program"))
        self.assertNotIn("program", said("graph"))
        self.assertEqual(said(""), "")

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

    # NumPy has no bf16: files of such buffers hold f32, rounded to nearest even on their way in; a file that says bf16 is refused.
    def test_bf16_goes_through_files_of_f32(self):
        x, y, exact, wrong = (self.folder / f"{n}.npy" for n in ("x", "y", "exact", "wrong"))
        path = self.program(".program p\n.param a: bf16*\n.param b: bf16*\n.param c: f32*\nLDG.bf16 x, [a + gid]\n"
                            "MUL.f32 x, x, 3\nSTG.bf16 [b + gid], x\nSTG.f32 [c + gid], x")
        write_npy(x, F32, [1, 2.5, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-7, float("inf")], (2, 3))
        for device, environment in self.devices().items():
            with self.subTest(device=device):
                self.good("asm", "run", path, "--in", f"a={x}", "--out", f"b={y}", "--out", f"c={exact}", "--device", device,
                          "--no-fallback", environment=environment)
                self.assertEqual(read_npy(exact, "f"), ((2, 3), [3, 7.5, 3, 3 * (1 + 2**-6), 3 * (1 + 2**-7), float("inf")]))
                # 3 * (1 + 2^-6) and 3 * (1 + 2^-7) have a bit more than bf16: one tie goes down, the other up.
                self.assertEqual(read_npy(y, "f"), ((2, 3), [3, 7.5, 3, 3.046875, 3.03125, float("inf")]))
                self.assertIn(b"'<f4'", y.read_bytes())
        write_npy(wrong, ("H", "u2"), [0x3f80], (1,))  # the bits of a bf16
        launch = ["asm", "run", path, "--in", f"a={wrong}", "--shape", "b=1", "--shape", "c=1", "--device", "cpu"]
        self.bad(1, *launch, words=["wrong.npy' holds u16; 'a' takes f32"])
        wrong.write_bytes(wrong.read_bytes().replace(b"<u2", b"<V2"))  # what NumPy makes of a bf16 that a library lends it
        self.bad(1, *launch, words=["wrong.npy", "V2"])

    def test_grids_and_blocks_of_two_and_three_dimensions(self):
        # k numbers the lanes of all blocks, x running fastest in both.
        inner = "".join(f"MOV.u32 n, {many}\nMOV.u32 j, {one}\nMAD.u32 k, k, n, j\n"
                        for many, one in (("grid_dim.z", "block.z"), ("grid_dim.y", "block.y"), ("grid_dim.x", "block.x"),
                                          ("block_dim.z", "thread.z"), ("block_dim.y", "thread.y"), ("block_dim.x", "thread.x")))
        path = self.program(f".program p\n.param out: u32*\nMOV.u32 k, 0\n{inner}MOV.u32 v, block_dim.y\nMUL.u32 v, v, 100\n"
                            "ADD.u32 v, v, n\nSTG.u32 [out + k], v\n")
        out = self.folder / "out.npy"
        for grid, block, lanes, value in (("2,3", "8,4", 192, 408), ("2,1,3", "4,3,2", 144, 304), ("5", "7", 35, 107)):
            launch = ["asm", "run", path, "--grid", grid, "--block", block]
            for device, environment in self.devices().items():
                with self.subTest(grid=grid, device=device):
                    self.good(*launch, "--shape", f"out={lanes}", "--out", f"out={out}", "--device", device, "--no-fallback",
                              environment=environment)
                    self.assertEqual(read_npy(out, "I")[1], [value] * lanes)  # every lane of every block once
                    self.bad(1, *launch, "--shape", f"out={lanes - 1}", "--device", device, environment=environment,
                             words=[f"asks for element {lanes - 1} of 'out'"])
        self.bad(1, "asm", "run", path, "--shape", "out=4", "--grid", "1,1,1,1", "--device", "cpu", words=["one to three numbers"])
        self.bad(1, "asm", "run", path, "--shape", "out=4", "--block", "64,64", "--device", "cpu",
                 words=["a block of (64, 64, 1) lanes; at most 1024"])

    def test_a_smaller_input_of_a_strided_buffer_is_broadcast(self):
        path = self.program(".program p\n.param a: f32* strided\n.param b: f32* strided\n.param y: f32* strided\n"
                            "LDG.f32 u, [a + gid]\nLDG.f32 v, [b + gid]\nADD.f32 u, u, v\nSTG.f32 [y + gid], u")
        a, b, y = (self.folder / f"{n}.npy" for n in "aby")
        write_npy(a, F32, [1, 2, 3, 4, 5, 6], (2, 3))
        for device, environment in self.devices().items():
            for shape, values, want in (((3,), [10, 20, 30], [11, 22, 33, 14, 25, 36]),
                                        ((2, 1), [10, 20], [11, 12, 13, 24, 25, 26]),
                                        ((), [10], [11, 12, 13, 14, 15, 16]),
                                        ((2, 3), [1, 0, 1, 0, 1, 0], [2, 2, 4, 4, 6, 6])):
                with self.subTest(device=device, shape=shape):
                    write_npy(b, F32, values, shape)
                    self.good("asm", "run", path, "--in", f"a={a}", "--in", f"b={b}", "--out", f"y={y}", "--device", device,
                              "--no-fallback", environment=environment)
                    self.assertEqual(read_npy(y, "f"), ((2, 3), want))
        for shapes, words in (("a=2,3 b=2 y=2,3", "'b' of shape (2,) does not broadcast to the program's indices, (2, 3)"),
                              ("a=2,3 b=1,2,3 y=2,3", "'b' of shape (1, 2, 3) does not broadcast"),
                              ("a=1,1,1,1,1,1,1 b=1 y=1,1,1,1,1,1,1", "runs over at most 6")):
            with self.subTest(shapes=shapes):
                arguments = [word for shape in shapes.split() for word in ("--shape", shape)]
                self.bad(1, "asm", "run", path, *arguments, "--device", "cpu", words=[words])
        # A count is a number of elements, which run through one dimension.
        self.good("asm", "run", path, "--shape", "a=6", "--shape", "b=1", "--shape", "y=6", "--count", 6, "--device", "cpu")
        self.bad(1, "asm", "run", path, "--shape", "a=6", "--shape", "b=1", "--shape", "y=6", "--count", 4, "--device", "cpu",
                 words=["'a' of shape (6,) does not broadcast to the program's indices, (4,)"])

    def test_what_a_device_declines_runs_on_the_cpu(self):
        path = self.program(".program scattered\n.param at: i32*\n.param y: f32*\nLDG.i32 i, [at + gid]\nCVT.f32 v, i\n"
                            "STG.f32 [y + i], v")
        at, y = self.folder / "at.npy", self.folder / "y.npy"
        write_npy(at, I32, [2, 0, 3, 1], (4,))
        for device, environment in self.accelerators():
            with self.subTest(device=device):
                arguments = ["asm", "run", path, "--in", f"at={at}", "--out", f"y={y}", "--shape", "y=4", "--device", device]
                code, out, err = self.invar(*arguments, "--json", environment=environment)
                self.assertEqual(code, 0, err)
                self.assertEqual(read_npy(y, "f")[1], [0, 1, 2, 3])
                done, said = json.loads(out), err.decode()
                self.assertEqual(done["device"], "cpu")
                for text in (said, done["fallback"]):
                    self.assertIn("'scattered'", text)
                    self.assertIn("depend on data", text)
                self.assertIn("the cpu runs it", said)
                y.unlink()
                self.bad(1, *arguments, "--no-fallback", words=["'scattered'", "depend on data"], environment=environment)
                self.assertFalse(y.exists())

    def test_loads_where_data_says(self):
        table, x, y = (self.folder / f"{n}.npy" for n in ("table", "x", "y"))
        write_npy(table, F32, [0, 10, 40], (3,))
        write_npy(x, F32, [-1, 0.5, 1, 1.25, 9], (5,))
        launch = ["asm", "run", EXAMPLES / "lookup.prog", "--in", f"table={table}", "--in", f"x={x}", "--shape", "y=5"]
        for device, environment in self.devices().items():
            with self.subTest(device=device):
                done = self.good_json(*launch, "--out", f"y={y}", "--set", "last=2", "--device", device, "--no-fallback",
                                      environment=environment)
                self.assertTrue(done["device"].startswith(device), done)
                self.assertNotIn("fallback", done)
                self.assertEqual(read_npy(y, "f")[1], [0, 5, 10, 17.5, 40])
                self.bad(1, *launch, "--set", "last=3", "--device", device, words=["'table'", "3"], environment=environment)

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
        shapes = [word for name in "abc" for word in ("--shape", f"{name}=100000")]
        for device, environment in self.devices().items():
            if device == "metal":
                continue  # whose bandwidth is no memory's
            launch = ["asm", "time", EXAMPLES / "vector_add.prog", *shapes, "--device", device]
            with self.subTest(device=device):
                timed = self.good_json(*launch, "--no-fallback", environment=environment)
                self.assertTrue(timed["device"].startswith(device), timed)
                self.assertEqual(timed["bytes"], 1200000)
                self.assertGreater(timed["seconds"], 0)
                self.assertAlmostEqual(timed["gigabytes_per_second"], 1.2e-3 / timed["seconds"])
                self.assertGreater(timed["share_of_copy_bandwidth"], 0)
                self.assertAlmostEqual(timed["share_of_copy_bandwidth"],
                                       timed["gigabytes_per_second"] / timed["copy_bandwidth_gigabytes_per_second"])
                line = self.good(*launch, environment=environment)
                self.assertRegex(line, r"vector_add on \S+: \S+ us a launch, 1\.20 MB, \S+ GB/s, \d+% of the measured copy")


if __name__ == "__main__":
    unittest.main()
