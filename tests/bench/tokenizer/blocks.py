# SPDX-License-Identifier: Apache-2.0
"""The files that bench_tokenizer reads and writes, see tokenizer_bench.cpp."""
import array
import struct


def write_texts(path, texts):
    with open(path, "wb") as file:
        for text in texts:
            data = text.encode()
            file.write(struct.pack("<I", len(data)) + data)


def write_ids(path, lists):
    with open(path, "wb") as file:
        for ids in lists:
            file.write(struct.pack("<I", len(ids)) + array.array("I", ids).tobytes())


def _blocks(path, unit):
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        length = struct.unpack_from("<I", data, at)[0] * unit
        yield data[at + 4:at + 4 + length]
        at += 4 + length


def read_texts(path):
    return [block.decode() for block in _blocks(path, 1)]


def read_ids(path):
    return [list(array.array("I", block)) for block in _blocks(path, 4)]
