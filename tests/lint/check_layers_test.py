#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of tools/lint/check_layers.py: small trees with one fault each, which the check must name."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "tools" / "lint" / "check_layers.py"
OPENING = "// SPDX-License-Identifier: Apache-2.0\n// What this file is for.\n"


class LayerCheck(unittest.TestCase):
    def check(self, files):
        """Writes {path: text below the opening}, runs the check, returns (exit code, output)."""
        with tempfile.TemporaryDirectory() as folder:
            for path, text in files.items():
                file = Path(folder) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text if text.startswith("RAW") else OPENING + text)
            done = subprocess.run([sys.executable, str(CHECK), folder], capture_output=True, text=True)
            return done.returncode, done.stdout

    def assert_refused(self, files, *words):
        code, output = self.check(files)
        self.assertEqual(code, 1, output)
        for word in words:
            self.assertIn(word, output)

    def assert_accepted(self, files):
        code, output = self.check(files)
        self.assertEqual(code, 0, output)

    def test_descending_includes_are_accepted(self):
        self.assert_accepted({
            "src/base/log.h": "",
            "src/device/stream.h": '#include "base/log.h"\n#include <invar/error.h>\n#include <vector>\n',
            "src/graph/graph.cpp": '#include "device/stream.h"\n',
            "include/invar/error.h": "#include <string>\n",
        })

    def test_climbing_include_is_refused(self):
        self.assert_refused({"src/graph/graph.h": "", "src/device/stream.h": '#include "graph/graph.h"\n'},
                            "src/device/stream.h:3:", "floor 1", "floor 5")

    def test_climbing_include_of_a_missing_file_is_refused(self):
        self.assert_refused({"src/base/log.h": '#include "tensor/tensor.h"\n'}, "floor 0", "floor 6")

    def test_climbing_include_relative_to_the_file_is_refused(self):
        self.assert_refused({"src/graph/graph.h": "", "src/device/stream.h": '#include "../graph/graph.h"\n'},
                            "src/device/stream.h:3:")

    def test_climbing_include_with_blanks_is_refused(self):
        self.assert_refused({"src/nn/llama.h": "", "src/io/config.cpp": '  #  include   "nn/llama.h"\n'}, "floor 7")

    def test_neighbours_of_one_floor_are_accepted(self):
        self.assert_accepted({"src/io/mmap.h": "", "src/tensor/load.cpp": '#include "io/mmap.h"\n'})

    def test_public_header_with_a_private_one_is_refused(self):
        self.assert_refused({"src/base/log.h": "", "include/invar/error.h": '#include "base/log.h"\n'},
                            "include/invar/error.h:3:", "public headers")

    def test_unknown_public_header_is_refused(self):
        self.assert_refused({"include/invar/novelty.h": ""}, "without a floor")

    def test_unknown_folder_is_refused(self):
        self.assert_refused({"src/utils/misc.h": ""}, "without a floor")

    def test_backend_included_from_above_is_refused(self):
        self.assert_refused({"src/backends/cpu/cpu.h": "", "src/graph/executor.cpp": '#include "backends/cpu/cpu.h"\n'},
                            "registry")

    def test_backend_included_by_another_backend_is_refused(self):
        self.assert_refused({"src/backends/cpu/cpu.h": "", "src/backends/null/null.cpp": '#include "backends/cpu/cpu.h"\n'},
                            "registry")

    def test_the_metal_backend_is_one_text(self):
        for line in ("#ifdef __APPLE__", "  # if defined(METALSIM)", "#else"):
            self.assert_refused({"src/backends/metal/stream.cpp": line + "\n"}, "src/backends/metal/stream.cpp:3:", "same text")
        self.assert_accepted({"src/backends/metal/stream.cpp": "#include <vector>\n#pragma once\n",
                              "src/backends/cuda/nvrtc.cpp": "#ifdef _WIN32\n#endif\n"})

    def test_third_party_headers_stay_in_their_folders(self):
        self.assert_refused({"src/graph/graph.cpp": "#include <nlohmann/json.hpp>\n"}, "nlohmann", "may use")
        self.assert_refused({"src/io/config.cpp": "#include <oniguruma.h>\n"}, "oniguruma")
        self.assert_refused({"src/nn/llama.cpp": "#include <utf8proc.h>\n"}, "utf8proc")
        self.assert_refused({"src/io/config.cpp": "#include <hwy/highway.h>\n"}, "hwy")
        self.assert_refused({"src/text/bpe.cpp": "#include <CLI/CLI.hpp>\n"}, "CLI")
        self.assert_accepted({"src/io/config.cpp": "#include <nlohmann/json.hpp>\n",
                              "src/text/split.cpp": "#include <oniguruma.h>\n"})

    def test_slow_headers_are_refused_in_headers(self):
        self.assert_refused({"src/io/config.h": "#include <nlohmann/json.hpp>\n"}, "only .cpp")
        self.assert_refused({"src/io/json.h": "#include <nlohmann/json.hpp>\n", "src/io/config.h": '#include "io/json.h"\n'},
                            "src/io/config.h:3:", "only .cpp")
        self.assert_accepted({"src/io/json.h": "#include <nlohmann/json.hpp>\n", "src/io/config.cpp": '#include "io/json.h"\n'})

    def test_long_file_is_refused(self):
        self.assert_refused({"src/base/log.cpp": "int x;\n" * 799}, "801 lines")
        self.assert_accepted({"src/base/log.cpp": "int x;\n" * 798})

    def test_opening_is_asked_for(self):
        self.assert_refused({"src/base/log.cpp": "RAW"}, "SPDX")
        self.assert_refused({"src/base/log.cpp": "RAW\n// SPDX-License-Identifier: Apache-2.0\nint x;\n"},
                            "what it is for")
        self.assert_refused({"tools/x.py": "RAW\n# SPDX-License-Identifier: Apache-2.0\nimport os\n"}, "what it is for")

    def test_empty_tree_is_refused(self):
        self.assert_refused({}, "no source files")


if __name__ == "__main__":
    unittest.main()
