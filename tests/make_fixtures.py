# SPDX-License-Identifier: Apache-2.0
"""Writes tests/fixtures/{images,jsonl}: small invented files, the same bytes every time.

    python3 tests/make_fixtures.py

Standard library only. images/expected.json says for each image what the decoder must make of it: mime type and
size by the header, status, and the SHA-256 of the RGB pixels, computed here from the drawing and not by a decoder.
"""
import hashlib
import json
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent / "fixtures"
W, H = 11, 7
expected = {}


def pixel(x, y):
    return ((x * 23 + y * 5) % 256, (y * 36) % 256, (x * y * 3 + 40) % 256)


def grey(x, y):
    return (x * 21 + y * 6) % 256


def rgb_of(function):
    return bytes(c for y in range(H) for x in range(W) for c in function(x, y))


def save(name, data, mime, rgb=None, size=(W, H)):
    (HERE / "images" / name).write_bytes(data)
    expected[name] = {"mime": mime, "width": size[0], "height": size[1]}
    if rgb is not None:
        expected[name]["rgb_sha256"] = hashlib.sha256(rgb).hexdigest()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, colour, rows, extra=b"", size=(W, H)):
    raw = b"".join(b"\0" + row for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)) + extra
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def rows(function):
    return [b"".join(function(x, y) for x in range(W)) for y in range(H)]


def packed(function, bits):
    """Samples of less than a byte, highest bits first."""
    result = []
    for y in range(H):
        text = "".join(format(function(x, y), f"0{bits}b") for x in range(W))
        text += "0" * (-len(text) % 8)
        result.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return result


def make_pngs():
    truth, grey_truth = rgb_of(pixel), rgb_of(lambda x, y: (grey(x, y),) * 3)
    save("rgb.png", png(8, 2, rows(lambda x, y: bytes(pixel(x, y)))), "image/png", truth)
    # Transparent where the picture goes on: composing instead of dropping would show.
    save("rgba.png", png(8, 6, rows(lambda x, y: bytes(pixel(x, y)) + bytes([x * 20]))), "image/png", truth)
    save("grey.png", png(8, 0, rows(lambda x, y: bytes([grey(x, y)]))), "image/png", grey_truth)
    save("grey_alpha.png", png(8, 4, rows(lambda x, y: bytes([grey(x, y), y * 30]))), "image/png", grey_truth)
    save("grey16.png", png(16, 0, rows(lambda x, y: struct.pack(">H", grey(x, y) * 2))), "image/png",
         rgb_of(lambda x, y: (min(grey(x, y) * 2, 255),) * 3))
    save("rgb16.png", png(16, 2, rows(lambda x, y: struct.pack(">3H", *(c * 256 + 200 for c in pixel(x, y))))),
         "image/png", truth)
    save("rgba16.png", png(16, 6, rows(lambda x, y: struct.pack(">4H", *(c * 256 + 99 for c in pixel(x, y)), 7))),
         "image/png", truth)
    save("grey1.png", png(1, 0, packed(lambda x, y: (x + y) % 2, 1)), "image/png",
         rgb_of(lambda x, y: ((x + y) % 2 * 255,) * 3))
    save("grey4.png", png(4, 0, packed(lambda x, y: (x + y) % 16, 4)), "image/png",
         rgb_of(lambda x, y: ((x + y) % 16 * 17,) * 3))
    colours = [(i * 50, 255 - i * 40, i * i * 9) for i in range(6)]
    palette = chunk(b"PLTE", bytes(c for colour in colours for c in colour))
    indices = rows(lambda x, y: bytes([(x + 2 * y) % 6]))
    palette_truth = rgb_of(lambda x, y: colours[(x + 2 * y) % 6])
    save("palette.png", png(8, 3, indices, palette), "image/png", palette_truth)
    save("palette_transparent.png", png(8, 3, indices, palette + chunk(b"tRNS", bytes([0, 128, 255]))), "image/png",
         palette_truth)

    good = png(8, 2, rows(lambda x, y: bytes(pixel(x, y))))
    save("named_wrongly.jpg", good, "image/png", truth)
    save("cut_off.png", good[:70], "image/png")
    save("cut_in_header.png", good[:18], "image/png", size=(0, 0))
    damaged = bytearray(good)
    damaged[60] ^= 0x55
    save("damaged.png", bytes(damaged), "image/png")
    save("huge.png", png(8, 2, [b""], size=(60000, 60000)), "image/png", size=(60000, 60000))
    save("no_size.png", png(8, 2, [b""], size=(0, 9)), "image/png", size=(0, 9))


def lzw(indices):
    """GIF's compression without compressing: a clear code before the table would grow past 9 bits' first step."""
    codes = []
    for i, index in enumerate(indices):
        if i % 100 == 0:
            codes.append(256)
        codes.append(index)
    codes.append(257)
    value = sum(code << (9 * i) for i, code in enumerate(codes))
    data = value.to_bytes((9 * len(codes) + 7) // 8, "little")
    blocks = [data[i:i + 255] for i in range(0, len(data), 255)]
    return bytes([8]) + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0"


def lzw_packed(indices, bits):
    """GIF's compression as encoders do it, with codes that grow to twelve bits and a table that fills up."""
    clear, stream = 1 << bits, []
    table, width = {bytes([i]): i for i in range(clear)}, bits + 1
    stream.append((clear, width))
    held = b""
    for index in indices:
        longer = held + bytes([index])
        if longer in table:
            held = longer
            continue
        stream.append((table[held], width))
        if len(table) + 2 < 4096:
            table[longer] = len(table) + 2
            if len(table) + 1 == (1 << width) and width < 12:
                width += 1
        else:
            stream.append((clear, width))
            table, width = {bytes([i]): i for i in range(clear)}, bits + 1
        held = bytes([index])
    stream += [(table[held], width), (clear + 1, width)]
    value, at = 0, 0
    for code, size in stream:
        value |= code << at
        at += size
    data = value.to_bytes((at + 7) // 8, "little")
    blocks = [data[i:i + 255] for i in range(0, len(data), 255)]
    return bytes([bits]) + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0"


def make_interlaced_gif():
    wide, high, left, top = 90, 70, 3, 2
    colours = [(i * 16, 255 - i * 13, i * i) for i in range(16)]
    state, picture = 1, []
    for _ in range(wide * high):  # noise: fills the table several times
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        picture.append(state >> 16 & 15)
    order = [y for begin, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(begin, high, step)]
    stored = [picture[y * wide + x] for y in order for x in range(wide)]
    size = (wide + left, high + top)
    gif = (b"GIF89a" + struct.pack("<HHBBB", *size, 0, 0, 0) + b"!\xf9\x04\x01\0\0\x05\0"
           + b"," + struct.pack("<4HB", left, top, wide, high, 0xC3) + bytes(c for colour in colours for c in colour)
           + lzw_packed(stored, 4) + b";")
    truth = bytes(c for y in range(size[1]) for x in range(size[0]) for c in
                  colours[5 if x < left or y < top else picture[(y - top) * wide + x - left]])
    save("interlaced.gif", gif, "image/gif", truth, size)
    save("cut_off.gif", gif[:len(gif) // 2], "image/gif", size=size)


def make_gif():
    table = bytes(c for i in range(256) for c in (i, 255 - i, i * 7 % 256))
    colour = lambda i: (i, 255 - i, i * 7 % 256)
    first = [grey(x, y) for y in range(H) for x in range(W)]
    frame = lambda indices: b"," + struct.pack("<4HB", 0, 0, W, H, 0) + lzw(indices)
    control = b"!\xf9\x04\x04\x0a\0\0\0"
    gif = (b"GIF89a" + struct.pack("<HHBBB", W, H, 0xF7, 0, 0) + table + control + frame(first)
           + control + frame([0] * (W * H)) + b";")
    save("animated.gif", gif, "image/gif", bytes(c for i in first for c in colour(i)))


def make_bmps():
    def bmp(height, bits, lines):
        body = b"".join(line + b"\0" * (-len(line) % 4) for line in lines)
        return (b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
                + struct.pack("<IiiHHIIiiII", 40, W, height, 1, bits, 0, len(body), 2835, 2835, 0, 0) + body)

    truth = rgb_of(pixel)
    lines = rows(lambda x, y: bytes(pixel(x, y)[::-1]))
    save("bottom_up.bmp", bmp(H, 24, lines[::-1]), "image/bmp", truth)
    save("top_down.bmp", bmp(-H, 24, lines), "image/bmp", truth)
    save("four_channels.bmp", bmp(H, 32, rows(lambda x, y: bytes(pixel(x, y)[::-1]) + b"\0")[::-1]), "image/bmp",
         truth)


def make_tiffs():
    def tiff(order, bits, samples, data):
        long_bits = struct.pack(order + "%dH" % samples, *[bits] * samples)
        entries = [(256, 3, 1, W), (257, 3, 1, H), (258, 3, samples, bits), (259, 3, 1, 1),
                   (262, 3, 1, 2 if samples == 3 else 1), (273, 4, 1, 0), (277, 3, 1, samples), (278, 3, 1, H),
                   (279, 4, 1, len(data))]
        after = 8 + 2 + 12 * len(entries) + 4
        text = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
        text += struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            if tag == 258 and count > 1:
                text += struct.pack(order + "HHII", tag, kind, count, after)
            elif tag == 273:
                text += struct.pack(order + "HHII", tag, kind, count, after + len(long_bits))
            elif kind == 3:
                text += struct.pack(order + "HHIHH", tag, kind, count, value, 0)
            else:
                text += struct.pack(order + "HHII", tag, kind, count, value)
        return text + struct.pack(order + "I", 0) + long_bits + data

    save("little_endian.tif", tiff("<", 8, 3, rgb_of(pixel)), "image/tiff", rgb_of(pixel))
    save("big_endian.tif", tiff(">", 8, 3, rgb_of(pixel)), "image/tiff", rgb_of(pixel))
    deep = b"".join(struct.pack("<H", grey(x, y) * 2) for y in range(H) for x in range(W))
    save("grey16.tif", tiff("<", 16, 1, deep), "image/tiff", rgb_of(lambda x, y: (min(grey(x, y) * 2, 255),) * 3))


def make_others():
    save("film.mp4", b"\0\0\0\x18ftypisom\0\0\x02\0isommp42" + b"\0" * 8, "video/mp4", size=(0, 0))
    save("film.webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm", "video/webm", size=(0, 0))
    save("film.avi", b"RIFF\x10\0\0\0AVI LIST\x04\0\0\0hdrl", "video/x-msvideo", size=(0, 0))
    save("still.avif", b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"\0" * 8, "image/avif", size=(0, 0))
    save("still.heic", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + b"\0" * 8, "image/heic", size=(0, 0))
    save("empty.png", b"", "", size=(0, 0))
    save("text.png", b"BM is how this sentence begins, and it is no picture.\n", "", size=(0, 0))
    save("only_a_start.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg", size=(0, 0))


def make_jsonl():
    folder = HERE / "jsonl"
    media = {"id": "ab" * 32, "mime": "image/png", "width": 64, "height": 48, "source": "pictures/one.png"}
    text = lambda t: {"type": "text", "text": t}
    prompts = [
        {"id": "p1", "messages": [{"role": "user", "content": [{"type": "image", "image": media},
                                                               text("How many lamps are lit?")]}],
         "reference": "Four.", "source": "invented", "domain": "reasoning", "note": "kept"},
        {"id": "p2", "messages": [{"role": "system", "content": [text("Be brief.")]},
                                  {"role": "user", "content": [text("Name a colour.")]},
                                  {"role": "assistant", "content": [text("Teal.")]},
                                  {"role": "user", "content": [text("Another one.")]}]},
        {"id": "p3", "messages": [{"role": "user", "content": [
            {"type": "video", "video": {"kind": "video", "frames": ["cd" * 32, "ef" * 32]}},
            text("line\r\nbreak \u2028 \u0085 nul \0 emoji \U0001f600 end")]}]},
    ]
    response = lambda i, t, **more: {"id": i, "text": t, **more}
    pairs = [
        {"id": "q1", "prompt": prompts[0], "chosen": response("a", "Four lamps.", mllm="writer", origin="sampled"),
         "rejected": response("b", "Five.", origin="noised", status="truncated", finish_reason="length",
                              noised_image=media), "source": "invented", "strength": 0.1 + 0.2,
         "strengths": [1 / 3, -2.5e-17]},
        {"id": "q2", "prompt": prompts[1], "rejected_prompt": prompts[2], "chosen": response("a", "Ochre."),
         "rejected": response("b", "Seven"), "group": "colours", "truth": {"label": "chosen", "gap": 1.50}},
    ]
    preferences = [{"id": "t1", "text": "a red kite over a barn", "better": media,
                    "worse": {"source": "https://pictures.invalid/2.png"}, "source": "invented", "rank": [1, 2]}]
    for name, records in [("prompts", prompts), ("pairs", pairs), ("image_preferences", preferences)]:
        lines = [json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in records]
        (folder / f"{name}.jsonl").write_bytes("".join(lines).encode())
    # What json.dumps cannot write by itself: odd numbers, lone surrogates, spaces, a '\r' before the line's end.
    odd = [b'{"id":"o1","messages":[],"huge":123456789012345678901234567890,"small":1.10,"beyond":1e400}\r\n',
           b'\n', b'   \n',
           b'{"id":"o2","messages":[{"role":"user","content":[{"type":"text","text":"half \\ud83d pair \\udc00"}]}],'
           b'"kept":{"half":"\\ud800","pair":"\\ud83d\\ude00"}}\n',
           b'{"id":"o3","messages":[],"spaced" : { "a" : [ 1.0 , 2 ] }, "reference":null}']
    (folder / "odd_prompts.jsonl").write_bytes(b"\xef\xbb\xbf" + b"".join(odd))


if __name__ == "__main__":
    for folder in ("images", "jsonl"):
        (HERE / folder).mkdir(parents=True, exist_ok=True)
    make_pngs()
    make_gif()
    make_interlaced_gif()
    make_bmps()
    make_tiffs()
    make_others()
    make_jsonl()
    (HERE / "images" / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
