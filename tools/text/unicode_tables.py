#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/text/unicode_tables.h: where the Unicode tables of the `tokenizers` library differ from current ones.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 unicodedata2
    venv/bin/python tools/text/unicode_tables.py > src/text/unicode_tables.h

The library has its normal forms and categories from crates of different age, some older and some newer than the
libutf8proc of a system. Each character is put to the library and to unicodedata2 (the newest Unicode), and only
characters on which the two differ get into a table, so the tables hold with any libutf8proc.
"""
import ctypes
import ctypes.util

import tokenizers
import unicodedata2 as ud
from tokenizers import normalizers, pre_tokenizers

CHARS = [c for c in range(1, 0xF0000) if not 0xD800 <= c < 0xF900]  # without surrogates and private use


def ranges(chars):
    out = []
    for c in chars:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, comment, chars):
    print(f"\n// {comment}\ninline constexpr CharRange {name}[] = {{")
    line = "   "
    for a, b in ranges(chars):
        item = f" {{0x{a:X}, 0x{b:X}}},"
        if len(line) + len(item) > 108:
            print(line)
            line = "   "
        line += item
    print(line + "\n};")


def splits(pre_tokenizer, c):
    return len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) > 1


def inert(c):
    """Newer Unicode gives the character a part in normal forms, the library none."""
    forms = [(getattr(normalizers, f)(), f) for f in ("NFC", "NFD", "NFKC", "NFKD")]
    if any(n.normalize_str(chr(c)) != ud.normalize(f, chr(c)) for n, f in forms):
        return True
    if ud.combining(chr(c)) == 0:
        return False
    nfd = normalizers.NFD()
    for text in ("a\u0301" + chr(c) + "\u0323", "a\u0345" + chr(c) + "\u0334"):
        if nfd.normalize_str(text) != ud.normalize("NFD", text):
            return True
    return False


def main():
    print("// SPDX-License-Identifier: Apache-2.0")
    print("// Written by tools/text/unicode_tables.py: where the Unicode tables of the tokenizers library")
    print(f"// {tokenizers.__version__} differ from Unicode {ud.unidata_version}. unicode.cpp uses them.")
    print("#pragma once\n\nnamespace invar::text {\n\nstruct CharRange {\n    char32_t first, last;\n};")

    normal = {c for c in CHARS if inert(c)}
    # The first halves of compositions that the library lacks are left alone too. The second may be old and have
    # other uses (U+0307), the first must not.
    nfc = normalizers.NFC()
    used = set()
    for c in CHARS:
        d = ud.normalize("NFD", chr(c))
        if len(d) == 2 and ud.normalize("NFC", d) == chr(c):
            if nfc.normalize_str(d) == chr(c):
                used.add(ord(d[0]))
            else:
                normal.add(ord(d[0]))
    assert not normal & used
    table("kInertInNormalForms", "Newer than the library's normal forms: neither decomposed, composed nor reordered.",
          sorted(normal))

    accents = normalizers.StripAccents()
    table("kNotCombiningMark", "Marks (M*) that the library does not know as such.",
          [c for c in CHARS if ud.category(chr(c))[0] == "M" and accents.normalize_str(chr(c)) != ""])
    punctuation = pre_tokenizers.Punctuation()
    table("kNotPunctuation", "Punctuation (P*) that the library does not know as such.",
          [c for c in CHARS if ud.category(chr(c))[0] == "P" and not splits(punctuation, c)])
    digits = pre_tokenizers.Digits()
    # Before Unicode 16; libutf8proc 2.8 knows 15.
    table("kNumeric", "Numbers (N*) that came after Unicode 15.",
          [c for c in CHARS if splits(digits, c) and not old_number(c)])

    lower = normalizers.Lowercase()
    print("\nstruct LowerCase {\n    char32_t upper, lower;\n};")
    print("\n// Lower case that came after Unicode 15.\ninline constexpr LowerCase kLowerCase[] = {")
    for c in CHARS:
        low = lower.normalize_str(chr(c))
        if len(low) == 1 and ord(low) != LIB.utf8proc_tolower(c):
            print(f"    {{0x{c:X}, 0x{ord(low):X}}},")
    print("};\n\n}  // namespace invar::text")


LIB = ctypes.CDLL(ctypes.util.find_library("utf8proc") or "libutf8proc.so.2")


def old_number(c):
    return LIB.utf8proc_category(c) in (9, 10, 11)


if __name__ == "__main__":
    main()
