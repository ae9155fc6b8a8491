#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Homebrew formula names what the rest of the tree names: the packages that a build needs, and the wheel of metal-cpp's headers."""

import re
import unittest
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
FORMULA = (TREE / "packaging/homebrew/invar.rb.in").read_text()


class Formula(unittest.TestCase):
    def test_packages_are_those_of_a_build(self):
        rows = [line.split("|") for line in (TREE / "cmake/dependencies.txt").read_text().splitlines()
                if line and not line.startswith("#")]
        needed = {row[3].strip() for row in rows if row[0].strip() == "build"} - {"-"}
        named = set(re.findall(r'depends_on "([^"]+)"', FORMULA))
        self.assertEqual(needed - {"ccache"}, named, "a build goes without ccache")

    def test_the_wheel_is_the_one_that_dev_fetches(self):
        version, digest = re.search(r"version=([0-9.]+) hash=([0-9a-f]{64})", (TREE / "dev").read_text()).groups()
        self.assertIn(f'sha256 "{digest}"', FORMULA)
        self.assertIn(f"/mlx_metal-{version}-", FORMULA)
        self.assertIn(f"metal-cpp/{version}\"", (TREE / "cmake/MetalCpp.cmake").read_text())

    def test_every_place_is_filled(self):
        self.assertEqual(set(re.findall(r"@[A-Z0-9]+@", FORMULA)), {"@URL@", "@VERSION@", "@SHA256@"})
        for place in ("@URL@", "@VERSION@", "@SHA256@"):
            self.assertIn(f"s|{place}|", (TREE / "dev").read_text())


if __name__ == "__main__":
    unittest.main()
