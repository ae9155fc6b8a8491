#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/environment.md names every environment variable that the library and the command line read, and no other."""
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class EnvironmentTest(unittest.TestCase):
    def test_every_variable_is_documented(self):
        read = set()
        for folder in ("src", "apps"):
            for file in (ROOT / folder).rglob("*"):
                if file.suffix in {".cpp", ".h", ".mm"}:
                    read.update(re.findall(r'"(INVAR_[A-Z0-9_]+)"', file.read_text(encoding="utf-8")))
        page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
        named = set()
        for line in page.splitlines():
            if line.startswith("| `"):
                named.update(re.findall(r"`(INVAR_[A-Z0-9_]+)`", line.split("|")[1]))
        self.assertGreater(len(read), 15)
        self.assertEqual(read, named)


if __name__ == "__main__":
    unittest.main()
