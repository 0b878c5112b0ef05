#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our tokenizer with Hugging Face `tokenizers` on invented strings, and their Unicode on every code point.

    PEERS_PYTHON tests/bench/tokenizer/fuzz.py BUILD_FOLDER TOKENIZER_JSON [COUNT [SEED]]

Fails on the first difference with what is needed to repeat it.
"""
import os
import random
import subprocess
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Regex, Tokenizer, normalizers  # noqa: E402

from blocks import read_ids, read_texts, write_ids, write_texts  # noqa: E402

ENGLISH = ("the of and a to in is image shows person standing beside red bicycle however therefore internationalization "
           "don't I'll we've they're it's he'd I'm can't JSON http://example.org/a?b=c&d=e 3.14159 1,000,000 $5.99 50% "
           "def main(argv): return [x**2 for x in range(10)] <div class=\"a\"> {\"key\": null} \\frac{1}{2} snake_case "
           "CamelCase MiXeD ALLCAPS e-mail well-known").split(" ")
FOREIGN = ["图像", "中文字符", "显示了一辆红色的自行车", "画像には", "カタカナ", "한국어", "그림", "изображение", "Ελληνικά", "עברית",
           "العربية", "हिन्दी", "ภาษาไทย", "தமிழ்", "Tiếng Việt", "naïve café", "Straße", "ﬁne", "①②③", "½", "Ⅷ", "٣٤", "𝔘𝔫𝔦", "𐍈"]
EMOJI = ["👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "🙂", "❤️", "☕", "1️⃣"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n ", "\v", "\f", "\x1c", "\x85", "\xa0", "\u1680", "\u180e",
          "\u2003", "\u2028", "\u2029", "\u200b", "\u202f", "\u205f", "\u3000", "\ufeff"]
QUOTES = ["'s", "'S", "'ſ", "'t", "'re", "'RE", "'vE", "'m", "'ll", "'d", "'", "''", "’s", "'x", "'l", "'r"]
MARKS = ["\u0301", "\u0323", "\u0316", "\u0345", "\u20dd", "\u3099", "\u0e49", "\u1161", "\u11a8", "\u1100", "\ufe0f", "\u200d"]
CONTROLS = ["\0", "\x01", "\x07", "\x1b[0m", "\x7f", "\u0080", "\u009f", "\ufffd", "\ufffe", "\uffff", "\U0010ffff"]
# Blocks of every plane; the second number is how many code points follow the first.
BLOCKS = [(0, 0x80), (0x80, 0x780), (0x800, 0x800), (0x1000, 0x1000), (0x2000, 0x1000), (0x3000, 0x1000), (0x4E00, 0x5200),
          (0xA000, 0xC00), (0xAC00, 0x2BA4), (0xE000, 0x2000), (0x10000, 0x3000), (0x16000, 0x3000), (0x1B000, 0x1000),
          (0x1D000, 0x3000), (0x20000, 0x12400), (0x40000, 0x1000), (0xE0000, 0x400), (0x100000, 0x10000)]


def random_code(rng):
    while True:
        first, size = rng.choice(BLOCKS)
        code = first + rng.randrange(size)
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def snippet(rng, added):
    kind = rng.randrange(16)
    if kind < 4:
        return rng.choice(["", " "]) + rng.choice(ENGLISH)
    if kind == 4:
        return rng.choice(["", " "]) + rng.choice(FOREIGN)
    if kind == 5:
        return rng.choice(EMOJI)
    if kind < 8:
        return "".join(rng.choices(SPACES, k=rng.randrange(1, 4)))
    if kind == 8:
        return rng.choice(QUOTES)
    if kind == 9:
        return "".join(rng.choices(MARKS, k=rng.randrange(1, 5)))
    if kind == 10:
        return rng.choice(CONTROLS)
    if kind == 11:
        return str(rng.randrange(10**rng.randrange(1, 12)))
    if kind == 12 and added:
        token = rng.choice(added)
        return token if rng.randrange(2) else token[:rng.randrange(len(token) + 1)]
    if kind == 13:
        return "".join(random_code(rng) for _ in range(rng.randrange(1, 6)))
    if kind == 14:
        return "".join(chr(rng.randrange(0x20, 0x7F)) for _ in range(rng.randrange(1, 8)))
    return rng.choice(ENGLISH + FOREIGN).upper()


def text(rng, added):
    if rng.randrange(2000) == 0:  # very long runs
        unit = rng.choice([" ", "a", "\n", "中", "=", "ab", "\u0301", "😀", "0", " a", "\r\n", "the", random_code(rng)])
        return snippet(rng, added) + unit * rng.randrange(1000, 5000) + snippet(rng, added)
    return "".join(snippet(rng, added) for _ in range(rng.randrange(0, 30)))


class Ours:
    def __init__(self, program, folder, tokenizer):
        self.program, self.folder, self.tokenizer = program, folder, tokenizer

    def _call(self, *arguments):
        subprocess.run([self.program, *arguments], check=True)

    def encode(self, texts):
        a, b = self.folder + "/in", self.folder + "/out"
        write_texts(a, texts)
        self._call("encode", self.tokenizer, a, b)
        return read_ids(b)

    def decode(self, lists, skip):
        a, b = self.folder + "/in", self.folder + "/out"
        write_ids(a, lists)
        self._call("decode", self.tokenizer, a, b, "1" if skip else "0")
        return read_texts(b)

    def normalise(self, how, texts):
        a, b = self.folder + "/in", self.folder + "/out"
        write_texts(a, texts)
        self._call("normalise", how, a, b)
        return read_texts(b)

    def classes(self):
        self._call("classes", self.folder + "/classes")
        with open(self.folder + "/classes", "rb") as file:
            return file.read()


def demand_equal(what, inputs, ours, theirs):
    if len(ours) != len(theirs):
        sys.exit(f"{what}: {len(ours)} results of ours, {len(theirs)} of theirs")
    for given, mine, yours in zip(inputs, ours, theirs):
        if mine != yours:
            sys.exit(f"{what} differs on {ascii(given)}\n  ours   {ascii(mine)}\n  theirs {ascii(yours)}")


def check_unicode(ours):
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    classes = ours.classes()
    for flag, pattern in [(1, r"\p{L}"), (2, r"\p{N}"), (4, r"\s")]:
        removes = normalizers.Replace(Regex(pattern), "")
        for at in range(0, len(codes), 256):
            chunk = codes[at:at + 256]
            left = set(removes.normalize_str("".join(map(chr, chunk))))
            for code in chunk:
                if (chr(code) not in left) != bool(classes[code] & flag):
                    sys.exit(f"U+{code:04X} and {pattern}: ours says {bool(classes[code] & flag)}")
    # Alone, between marks of other orders (its combining class), and behind a letter (compositions).
    problems = []
    for how, theirs in [("nfc", normalizers.NFC()), ("lower", normalizers.Lowercase())]:
        texts = []
        for code in codes:
            character = chr(code)
            texts.append(f"{character}\na\u0315{character}\u0334\ne{character}" if how == "nfc" else character)
        made = ours.normalise(how, texts)
        wanted = [theirs.normalize_str(t) for t in texts]
        different = [codes[i] for i in range(len(codes)) if made[i] != wanted[i]]
        if different:
            problems.append(f"{how} differs on {len(different)} code points: {', '.join(f'U+{c:04X}' for c in different[:200])}")
    if problems:
        sys.exit("\n".join(problems))
    print(f"unicode: letters, numbers, spaces, NFC and lower case of {len(codes)} code points are equal")


def main():
    build, path = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    theirs = Tokenizer.from_file(path)
    added = [t.content for t in theirs.get_added_tokens_decoder().values()]
    size = theirs.get_vocab_size()
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(build + "/bin/bench_tokenizer", folder, path)
        check_unicode(ours)
        done = tokens = 0
        while done < count:
            rng = random.Random(f"{seed}/{done}")
            texts = [text(rng, added) for _ in range(min(10_000, count - done))]
            ids = [e.ids for e in theirs.encode_batch(texts, add_special_tokens=False)]
            demand_equal("encode", texts, ours.encode(texts), ids)
            # The same ids, parts of them (characters cut apart), and any ids.
            lists = ids + [i[rng.randrange(len(i) + 1):][:40] for i in ids]
            lists += [[rng.randrange(size + 50) for _ in range(rng.randrange(12))] for _ in texts]
            for skip in (False, True):
                demand_equal(f"decode, skip_special {skip},", lists, ours.decode(lists, skip),
                             theirs.decode_batch(lists, skip_special_tokens=skip))
            done += len(texts)
            tokens += sum(map(len, ids))
        print(f"fuzz: {done} strings, {tokens} ids, and {6 * done} decodings are equal (seed {seed})")


main()
