# SPDX-License-Identifier: Apache-2.0
"""The peers of the benchmark `images`, one thread, with the packages of tests/bench/requirements.txt:
  peer.py make FOLDER [PHOTO]                          draws and encodes the pictures
  peer.py patches FILE MAX_PIXELS ROUNDS               seconds of PIL and the fast Qwen2-VL processor (torchvision)
  peer.py same FILE MAX_PIXELS OURS                    exit 1 unless our patches are those within the processors' own gap
  peer.py pair FILE TOKENIZER_FOLDER PAIR LIMIT ROUNDS IDS   seconds of LLaMA-Factory's tokenise step; compares our ids"""
import io
import os
import sys
import time
import types

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["DISABLE_VERSION_CHECK"] = "1"


def make(folder, photo=None):
    import numpy
    from PIL import Image
    random = numpy.random.default_rng(3)
    for width, height in ((640, 480), (1920, 1080)):
        if photo:
            base = numpy.asarray(Image.open(photo).convert("RGB").resize((width, height)), dtype=numpy.float64)
        else:
            y, x = numpy.mgrid[0:height, 0:width]
            base = numpy.stack([127 + 110 * numpy.sin(3 * x / width + k + 2 * y / height) for k in range(3)], -1)
            cell = height // 30
            base += random.uniform(-40, 40, (height // cell + 1, width // cell + 1, 3)).repeat(cell, 0).repeat(cell, 1)[:height, :width]
        grain = random.normal(0, 5, (height, width, 1))  # a camera's: an enlarged picture alone would decode too fast
        image = Image.fromarray((base + grain).clip(0, 255).astype(numpy.uint8))
        image.save(f"{folder}/{width}x{height}.jpg", quality=85)
    words = ("the picture shows a red bicycle beside two people who look at a map near an old bridge because its shadow falls to "
             "the left and 42 birds sit on the rail").split()
    texts = [" ".join(random.choice(words, count)) + "." for count in (70, 115, 95)]
    with open(f"{folder}/pair", "wb") as out:
        out.write(b"".join(text.encode() + b"\0" for text in texts))


def processor(max_pixels):
    import torch
    torch.set_num_threads(1)
    from transformers import Qwen2VLImageProcessor
    return Qwen2VLImageProcessor(size={"shortest_edge": 65536, "longest_edge": max_pixels}, patch_size=16, temporal_patch_size=2,
                                 merge_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def through_processor(made, data):
    from PIL import Image
    return made(images=[Image.open(io.BytesIO(data)).convert("RGB")], return_tensors="pt")["pixel_values"]


def best_of(rounds, work):
    times = []
    for _ in range(int(rounds)):
        begin = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begin)
    print(f"{min(times):.6f}")
    return result


def patches(file, max_pixels, rounds):
    made, data = processor(int(max_pixels)), open(file, "rb").read()
    best_of(rounds, lambda: through_processor(made, data))


def same(file, max_pixels, ours):
    import numpy
    theirs = through_processor(processor(int(max_pixels)), open(file, "rb").read()).numpy().ravel()
    mine = numpy.fromfile(ours, dtype=numpy.float32)
    if mine.size != theirs.size:
        sys.exit(f"images: {mine.size} values instead of {theirs.size}")
    difference = numpy.abs(mine - theirs)
    share, largest = float((difference > 1e-6).mean()), float(difference.max() * 127.5)
    print(f"images: {share:.4%} of values differ, by at most {largest:.1f} of 255 levels", file=sys.stderr)
    sys.exit(0 if share <= 0.007 and largest <= 2.01 else 1)


def pair(file, tokenizer_folder, texts, limit, rounds, ids):
    made = processor(16777216)
    from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor
    from llamafactory.data.template import TEMPLATES
    from transformers import AutoTokenizer, Qwen3VLProcessor, Qwen3VLVideoProcessor
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    whole = Qwen3VLProcessor(image_processor=made, tokenizer=tokenizer, video_processor=Qwen3VLVideoProcessor())
    whole.image_max_pixels, whole.image_min_pixels = int(limit), 32 * 32
    template = TEMPLATES["qwen3_vl_nothink"]
    step = PairwiseDatasetProcessor(template=template, tokenizer=tokenizer, processor=whole,
                                    data_args=types.SimpleNamespace(cutoff_len=7168))
    data = open(file, "rb").read()
    question, chosen, rejected = open(texts, "rb").read().decode().split("\0")[:3]
    got = best_of(rounds, lambda: step._encode_data_example(
        prompt=[{"role": "user", "content": "<image>" + question}],
        response=[{"role": "assistant", "content": chosen}, {"role": "assistant", "content": rejected}],
        system=None, tools=None, images=[data], videos=[], audios=[]))
    ours = [[int(word) for word in line.split()] for line in open(ids)]
    if [got[0], got[2]] != ours:
        sys.exit("images: ids of the pair differ")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
