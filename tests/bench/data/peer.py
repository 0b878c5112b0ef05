# SPDX-License-Identifier: Apache-2.0
"""The peers of the benchmark `data`. Each prints processor seconds, seconds, a number to compare, and its peak memory in MB.
peer.py make FOLDER                        Parquet with images (datasets), images and questions to clean
peer.py orjson FOLDER/pairs.jsonl          lines into dicts
peer.py datasets|pyarrow FOLDER            rows with their images' bytes
peer.py stored FOLDER                      as `datasets`, and each image into a file named by its SHA-256
peer.py clean_numpy|clean_imagehash FOLDER imagehash's phash, n-grams as datatrove cuts them; hashes compared with numpy, or one by one
                                           by subtraction, as imagehash's documentation does it
peer.py lookups IMAGES COUNT               the comparison with numpy against that many hashes, every second one known but for 8 bits"""
import hashlib
import io
import json
import pathlib
import random
import re
import resource
import sys
import time

import numpy


def now():
    return time.process_time(), time.perf_counter()


def report(begin, number, end=None):
    cpu, wall = end or now()
    print(f"{cpu - begin[0]:.6f} {wall - begin[1]:.6f} {number} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f}")


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
    from PIL import Image
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
        # As many as the three benchmarks of the paper have; small, for what they are compared by is their hash.
        for i in range(300, 6600):
            Image.effect_noise((48, 48), 80).save(folder / f"images/bench{i}.png")
            out.write(json.dumps({"image": f"images/bench{i}.png", "question": question(draw)}) + "\n")
    with open(folder / "train.jsonl", "w") as out:
        for i in range(600):
            image, text = (picture(100_000 + i), question(draw)) if i % 10 else bench[i // 10]
            (folder / f"images/train{i}.jpg").write_bytes(jpeg(image, 75))
            out.write(json.dumps({"image": f"images/train{i}.jpg", "question": text}) + "\n")


def orjson(file):
    import orjson
    begin = now()
    count = 0
    with open(file, "rb") as lines:
        for line in lines:
            count += len(orjson.loads(line)["chosen"]["text"]) > 0
    report(begin, count)


def streamed(folder):
    import datasets
    data = datasets.load_dataset("parquet", data_files=str(folder / "parquet/*.parquet"), split="train", streaming=True)
    return data.cast_column("image", datasets.Image(decode=False))


def with_datasets(folder):
    data = streamed(folder)
    begin = now()
    report(begin, sum(len(row["image"]["bytes"]) > 0 and len(row["question"]) > 0 for row in data))


def stored(folder):
    data, store, count = streamed(folder), folder / f"store{time.time_ns()}", 0
    begin = now()
    for row in data:
        name = hashlib.sha256(row["image"]["bytes"]).hexdigest()
        place = store / name[:2]
        place.mkdir(parents=True, exist_ok=True)
        if not (place / name).exists():
            (place / name).write_bytes(row["image"]["bytes"])
        count += 1
    report(begin, count)


def with_pyarrow(folder):
    """With several sizes of batches, of which the fastest counts."""
    import pyarrow.parquet
    runs = []
    for size in (16, 100, 1000):
        begin, count = now(), 0
        for file in sorted((folder / "parquet").glob("*.parquet")):
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(size):
                count += sum(len(row["image"]["bytes"]) > 0 for row in batch.to_pylist())
        runs.append((begin, count, now()))
    report(*min(runs, key=lambda run: run[2][0] - run[0][0]))


def words(text):
    return re.findall(r"\w+", text.lower())


def grams(text, n=5):
    all_words = words(text)
    return {tuple(all_words[i:i + n]) for i in range(len(all_words) - n + 1)} or {tuple(all_words)}


def near(hashes, one):
    return numpy.flatnonzero(numpy.bitwise_count(hashes ^ one) <= 8)


def packed(one):
    return numpy.packbits(one.hash).view(">u8")[0].astype(numpy.uint64)


def clean(folder, vectorised):
    import imagehash
    from PIL import Image

    def phash(item):
        return imagehash.phash(Image.open(folder / item["image"]))

    bench = [json.loads(line) for line in open(folder / "bench.jsonl")]
    hashes = [phash(item) for item in bench]
    keys = [grams(item["question"]) for item in bench]
    train = [json.loads(line) for line in open(folder / "train.jsonl")]
    if vectorised:
        hashes = numpy.array([packed(one) for one in hashes])
    begin = now()
    discarded = 0
    for item in train:
        one = phash(item)
        found = near(hashes, packed(one)) if vectorised else [i for i, other in enumerate(hashes) if one - other <= 8]
        if len(found):
            own = grams(item["question"])
            discarded += any(len(keys[i] & own) >= 0.6 * len(keys[i]) for i in found)
    report(begin, discarded)


def lookups(images, count):
    draw = numpy.random.default_rng(1)
    hashes = draw.integers(0, 2**64, images, dtype=numpy.uint64)
    asked = draw.integers(0, 2**64, count, dtype=numpy.uint64)
    places = draw.integers(0, images, count)
    for i in range(0, count, 2):
        asked[i] = hashes[places[i]] ^ sum(numpy.uint64(1) << numpy.uint64(bit) for bit in draw.permutation(64)[:8])
    begin = now()
    found = sum(int(i % 2 == 0 and places[i] in near(hashes, one)) for i, one in enumerate(asked))
    report(begin, found)


if __name__ == "__main__":
    mode = sys.argv[1]
    if mode == "lookups":
        lookups(int(sys.argv[2]), int(sys.argv[3]))
    elif mode.startswith("clean_"):
        clean(pathlib.Path(sys.argv[2]), mode == "clean_numpy")
    else:
        {"make": make, "orjson": orjson, "datasets": with_datasets, "pyarrow": with_pyarrow,
         "stored": stored}[mode](pathlib.Path(sys.argv[2]))
