#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes core/nn/unicode_classes.inc: the classes that Hugging Face `tokenizers` sees in each code point.

    PEERS_PYTHON tests/bench/tokenizer/make_unicode_classes.py > core/nn/unicode_classes.inc

Letters, numbers and spaces are asked of its regular expressions (Unicode 16), so that a newer or older Unicode in PCRE2
changes no ids. `composes` are the code points that can change under its NFC (Unicode 9): combining marks, second halves of
compositions, and those whose NFC is something else. It takes newer marks for letters, and so must we. fuzz.py checks all.
"""
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def matched(pattern):
    removes = normalizers.Replace(Regex(pattern), "")
    found = set()
    for at in range(0, len(CODES), 256):
        chunk = [chr(c) for c in CODES[at:at + 256]]
        left = set(removes.normalize_str("".join(chunk)))
        found.update(ord(c) for c in chunk if c not in left)
    return found


def composing():
    nfc = normalizers.NFC()
    changes = lambda text: nfc.normalize_str(text) != text
    found = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))  # Hangul vowels and finals
    for code in CODES:
        character = chr(code)
        if changes(character) or changes(f"a\u0315{character}\u0334"):  # the latter: it has a combining class
            found.add(code)
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<") and changes("".join(chr(int(part, 16)) for part in parts)):
            found.add(int(parts[1], 16))
    return found


def newer_lower():
    """Pairs that a somewhat older Unicode does not know; U+0130 alone has a lower case of two code points."""
    lower = normalizers.Lowercase().normalize_str
    return [(c, ord(lower(chr(c)))) for c in CODES if c != 0x130 and lower(chr(c)) != chr(c).lower()]


def ranges(codes):
    spans = []
    for code in sorted(codes):
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return spans


print("// SPDX-License-Identifier: Apache-2.0")
print(f"// Made by tests/bench/tokenizer/make_unicode_classes.py from tokenizers {tokenizers.__version__}; not to be edited.")
print("// clang-format off")
for name, codes in [("letter", matched(r"\p{L}")), ("number", matched(r"\p{N}")), ("space", matched(r"\s")),
                    ("composes", composing()), ("lower", newer_lower())]:
    print(f"constexpr Range k{name.capitalize()}[] = {{")
    line = ""
    for first, last in codes if name == "lower" else ranges(codes):
        item = f"{{0x{first:x},0x{last:x}}},"
        if len(line) + len(item) > 116:
            print(line)
            line = ""
        line += item
    print(line)
    print("};")
print("// clang-format on")
