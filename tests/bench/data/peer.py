# SPDX-License-Identifier: Apache-2.0
"""The peers of the benchmark `data`. Each prints processor seconds and a number to compare.
peer.py make FOLDER                  Parquet with images (datasets), images and questions to clean
peer.py datasets|pyarrow FOLDER      rows with their images' bytes
peer.py clean FOLDER                 imagehash's phash (Pillow, scipy), vectorised comparison, n-grams as datatrove cuts them
peer.py lookups IMAGES COUNT         the vectorised comparison against that many hashes"""
import io
import json
import pathlib
import random
import re
import sys
import time

import numpy


def report(begin, number):
    print(f"{time.process_time() - begin:.6f} {number:.6f}")


def picture(seed, width=640, height=480):
    from PIL import Image, ImageDraw
    draw = random.Random(seed)
    image = Image.effect_noise((width, height), 24).convert("RGB")
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, w, h = draw.randrange(width), draw.randrange(height), draw.randrange(20, 300), draw.randrange(20, 200)
        (pen.ellipse if draw.random() < 0.5 else pen.rectangle)((x, y, x + w, y + h), fill=tuple(draw.randrange(256) for _ in range(3)))
    return image


def jpeg(image, quality=90):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


QUESTIONS = ["How many {} are there to the left of the large {} in front?", "What is written on the {} that stands beside the {}?",
             "Is the {} larger than the {} behind it, or is it the other way round?"]
THINGS = ["boxes", "circle", "car", "house", "sign", "tree", "table", "cup", "window", "door"]


def question(draw):
    return draw.choice(QUESTIONS).format(draw.choice(THINGS), draw.choice(THINGS))


def make(folder):
    import datasets
    (folder / "parquet").mkdir(parents=True)
    rows = [{"image": {"bytes": random.Random(i).randbytes(100_000), "path": None}, "question": f"Q{i}?", "answer": "A" * 200} for i in range(2000)]
    features = datasets.Features({"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")})
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "parquet/train-00000-of-00001.parquet", batch_size=100)
    (folder / "images").mkdir()
    draw = random.Random(7)
    bench = []
    with open(folder / "bench.jsonl", "w") as out:
        for i in range(300):
            image = picture(i)
            (folder / f"images/bench{i}.jpg").write_bytes(jpeg(image))
            bench.append((image, question(draw)))
            out.write(json.dumps({"image": f"images/bench{i}.jpg", "question": bench[-1][1]}) + "\n")
    with open(folder / "train.jsonl", "w") as out:
        for i in range(600):
            image, text = (picture(100_000 + i), question(draw)) if i % 10 else bench[i // 10]
            (folder / f"images/train{i}.jpg").write_bytes(jpeg(image, 75))
            out.write(json.dumps({"image": f"images/train{i}.jpg", "question": text}) + "\n")


def with_datasets(folder):
    import datasets
    data = datasets.load_dataset("parquet", data_files=str(folder / "parquet/*.parquet"), split="train", streaming=True)
    data = data.cast_column("image", datasets.Image(decode=False))
    begin = time.process_time()
    report(begin, sum(len(row["image"]["bytes"]) > 0 and len(row["question"]) > 0 for row in data))


def with_pyarrow(folder):
    import pyarrow.parquet
    begin = time.process_time()
    count = 0
    for file in sorted((folder / "parquet").glob("*.parquet")):
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(16):
            count += sum(len(row["image"]["bytes"]) > 0 for row in batch.to_pylist())
    report(begin, count)


def phash(file):
    """imagehash.phash: 32 x 32 greys, cosine transform, the 8 x 8 lowest frequencies against their median."""
    import scipy.fftpack
    from PIL import Image
    pixels = numpy.asarray(Image.open(file).convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = scipy.fftpack.dct(scipy.fftpack.dct(pixels, axis=0), axis=1)[:8, :8]
    return numpy.packbits(low > numpy.median(low)).view(">u8")[0]


def words(text):
    return re.findall(r"\w+", text.lower())


def grams(text, n=5):
    all_words = words(text)
    return {tuple(all_words[i:i + n]) for i in range(len(all_words) - n + 1)} or {tuple(all_words)}


def near(hashes, one):
    return numpy.flatnonzero(numpy.bitwise_count(hashes ^ one) <= 8)


def clean(folder):
    bench = [json.loads(line) for line in open(folder / "bench.jsonl")]
    hashes = numpy.array([phash(folder / item["image"]) for item in bench], dtype=numpy.uint64)
    keys = [grams(item["question"]) for item in bench]
    train = [json.loads(line) for line in open(folder / "train.jsonl")]
    begin = time.process_time()
    discarded = 0
    for item in train:
        found = near(hashes, numpy.uint64(phash(folder / item["image"])))
        if len(found):
            own = grams(item["question"])
            discarded += any(len(keys[i] & own) >= 0.6 * len(keys[i]) for i in found)
    report(begin, discarded)


def lookups(images, count):
    draw = numpy.random.default_rng(1)
    hashes = draw.integers(0, 2**63, images, dtype=numpy.uint64) * numpy.uint64(2)
    begin = time.process_time()
    report(begin, sum(len(near(hashes, one)) for one in draw.integers(0, 2**63, count, dtype=numpy.uint64)))


if __name__ == "__main__":
    mode = sys.argv[1]
    if mode == "lookups":
        lookups(int(sys.argv[2]), int(sys.argv[3]))
    else:
        {"make": make, "datasets": with_datasets, "pyarrow": with_pyarrow, "clean": clean}[mode](pathlib.Path(sys.argv[2]))
