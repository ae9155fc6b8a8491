#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The layer check: keeps the floors of docs/architecture.md standing.

Refused are: an include that climbs a floor, an include of a backend from outside it, a third-party header outside its
folders, a public header that includes a private one, a condition of the preprocessor in the metal backend, a file over 800
lines, a source file that does not open with the licence line and a paragraph saying what it is for. Standard library only; run by ctest and by `./dev lint`.

usage: check_layers.py [TREE]   (default: the tree this file lies in); exit code 1 when something is refused.
"""

import posixpath
import re
import sys
from pathlib import Path

MAX_LINES = 800

# Folder -> floor. Each floor may include only itself and what stands below.
FLOORS = {
    "src/base": 0,
    "src/device": 1,
    "src/program": 2,
    "src/backends": 3,
    "src/kernels": 4,
    "src/graph": 5,
    "src/tensor": 6,
    "src/io": 6,
    "src/nn": 7,
    "src/text": 7,
    "src/engine": 8,
    "apps": 9,
    "python": 9,
    "fuzz": 10,
    "bench": 10,
    "tests": 10,
    "examples": 10,
}

# Public header -> floor. A new header in include/invar needs a line here.
PUBLIC = {
    "dtype.h": 0,
    "error.h": 0,
    "export.h": 0,
    "shape.h": 0,
    "device.h": 1,
    "defragment.h": 1,
    "memory.h": 1,
    "recovery.h": 1,
    "pointwise_ops.def": 5,
    "compile.h": 6,
    "composed.h": 6,
    "ops.h": 6,
    "program.h": 6,
    "route.h": 6,
    "state.h": 6,
    "tensor.h": 6,
    "model.h": 7,
    "tokenizer.h": 7,
}

# Third-party header (a regular expression on the include) -> folders that may use it. They stay out of everything else
# so that a change of library touches few files and compile times stay short.
THIRD_PARTY = {
    r"nlohmann/": ["src/device", "src/backends", "src/io", "src/nn", "src/text", "src/engine", "apps", "tests", "fuzz", "bench"],
    r"CLI/": ["apps"],
    r"oniguruma\.h|onig.*\.h": ["src/text", "tests/text"],
    r"utf8proc\.h": ["src/text", "tests/text"],
    r"hwy/": ["src/base", "src/program", "src/backends/cpu", "src/kernels", "bench", "tests"],
    r"xxhash\.h": ["src/base", "src/device", "src/program", "src/graph", "fuzz", "tests"],
    r"gtest/|gmock/": ["tests"],
}
# Slow headers (seconds in every file that sees them) are for .cpp files and for these wrappers, which are slow in turn.
SLOW = r"nlohmann/json\.hpp|CLI/|io/json\.h|text/tokenizer_raw\.h"
SLOW_WRAPPERS = {"src/io/json.h", "src/text/tokenizer_raw.h"}

# The list of backends that are part of libinvar, and the one file that may name them.
BUILTIN_BACKENDS = "src/backends/builtin.cpp"

# What is tested on the software Metal device must be what runs on macOS: its sources are one text for both.
ONE_TEXT = "src/backends/metal/"

SOURCES = {".h", ".hpp", ".cpp", ".mm", ".k", ".cu", ".cl", ".metal", ".inc", ".def"}
SCRIPTS = {".py", ".sh"}
FOLDERS = ["src", "include", "apps", "python", "tests", "fuzz", "bench", "examples", "tools"]
INCLUDE = re.compile(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")')


def floor_of(path):
    """Floor and folder of a file given relative to the tree, or (None, None) for one that has no floor."""
    if path.startswith("include/invar/"):
        name = path[len("include/invar/"):]
        return PUBLIC.get(name), path
    for folder, floor in FLOORS.items():
        if path.startswith(folder + "/"):
            return floor, folder
    return None, None


def backend_of(path):
    """'cpu' for src/backends/cpu/memory.cpp; None outside a backend's folder."""
    match = re.match(r"src/backends/([^/]+)/", path)
    return match.group(1) if match else None


def resolve(include, path, tree):
    """The included file relative to the tree, or None for one that is not ours."""
    name = include[1:-1]
    if name.startswith("invar/"):
        return "include/" + name
    here = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    for candidate in (["src/" + name] if include[0] == "<" else ["src/" + name, here, "tests/" + name]):
        if (tree / candidate).is_file():
            return candidate
    return "src/" + name if ("src/" + name.split("/")[0]) in FLOORS else None


def check_include(include, path, tree):
    """Yields what is wrong with one include of one file."""
    name = include[1:-1]
    target = resolve(include, path, tree)
    header = path.startswith(("src/", "include/", "apps/")) and not path.endswith((".cpp", ".mm"))
    if header and re.match(SLOW, name) and path not in SLOW_WRAPPERS:
        yield f"includes {include}, which only .cpp files may do (it costs seconds a file)"
    if target is None:
        for pattern, folders in THIRD_PARTY.items():
            if re.match(pattern, name):
                if not any(path.startswith(folder + "/") for folder in folders):
                    yield f"includes {include}, which only {', '.join(folders)} may use"
                return
        if path.startswith("include/") and include[0] == '"':
            yield f"includes {include}: public headers include only <invar/...> and the standard library"
        return
    if path.startswith("include/") and not target.startswith("include/"):
        yield f"includes {include}: public headers include only <invar/...> and the standard library"
        return
    mine, folder = floor_of(path)
    theirs, other = floor_of(target)
    if mine is None or mine >= 10:
        return
    if theirs is None:
        yield f"includes {include}, which has no floor (tools/lint/check_layers.py lists them)"
    elif theirs > mine:
        yield f"includes {include}: floor {mine} ({folder}) may not reach up to floor {theirs} ({other})"
    backend = backend_of(target)
    if backend is not None and backend_of(path) != backend and path != BUILTIN_BACKENDS:
        yield f"includes {include}: backends are reached through the registry, never included"


def check_opening(path, lines):
    """Yields what is missing at the top of a file."""
    mark = "#" if Path(path).suffix in SCRIPTS else "//"
    top = [line.strip() for line in lines[:4]]
    licence = next((i for i, line in enumerate(top) if line == f"{mark} SPDX-License-Identifier: Apache-2.0"), None)
    if licence is None or licence > 1:
        yield f"does not open with '{mark} SPDX-License-Identifier: Apache-2.0'"
        return
    following = top[licence + 1] if licence + 1 < len(top) else ""
    if not (following.startswith(mark) or (mark == "#" and following.startswith(('"""', "'''", 'r"""')))):
        yield "says nothing, below the licence line, about what it is for"


def check_file(path, text, tree):
    """Yields (line, complaint) for one file; path is relative to the tree."""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        yield MAX_LINES, f"has {len(lines)} lines; files stay under {MAX_LINES}"
    for complaint in check_opening(path, lines):
        yield 1, complaint
    if Path(path).suffix not in SOURCES:
        return
    if path.startswith("include/invar/") and path[len("include/invar/"):] not in PUBLIC:
        yield 1, "is a public header without a floor: give it a line in PUBLIC in tools/lint/check_layers.py"
    elif path.startswith("src/") and floor_of(path)[0] is None:
        yield 1, "lies in a folder without a floor: see FLOORS in tools/lint/check_layers.py"
    for number, line in enumerate(lines, 1):
        if path.startswith(ONE_TEXT) and re.match(r"\s*#\s*(if|elif|else)", line):
            yield number, "has a condition of the preprocessor: macOS and the software Metal device compile the same text"
        match = INCLUDE.match(line)
        if match:
            for complaint in check_include(match.group(1), path, tree):
                yield number, complaint


def check_tree(tree):
    """All complaints about a tree, as 'path:line: complaint' strings, and how many files were read."""
    complaints, count = [], 0
    for folder in FOLDERS:
        for file in sorted((tree / folder).rglob("*")):
            path = file.relative_to(tree).as_posix()
            if not file.is_file() or file.suffix not in SOURCES | SCRIPTS or "/data/" in path:
                continue
            count += 1
            text = file.read_text(encoding="utf-8", errors="replace")
            complaints += [f"{path}:{line}: {complaint}" for line, complaint in check_file(path, text, tree)]
    return complaints, count


def main(arguments):
    tree = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2]
    complaints, count = check_tree(tree)
    for complaint in complaints:
        print(complaint)
    if count == 0:
        print(f"no source files under {tree}")
        return 1
    print(f"{count} files, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
