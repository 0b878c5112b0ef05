# SPDX-License-Identifier: Apache-2.0
"""bench.py OURS SHARED: the benchmark `tokenizer`, see tests/bench/README.md. One thread on either side."""
import json
import os
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer  # noqa: E402

from blocks import read_ids, write_texts  # noqa: E402

ROUNDS = 5


def records(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def sources(folder):
    """This project's own sources: code of a few languages."""
    texts = []
    for suffix in (".cpp", ".hpp", ".py", ".toml", ".cmake"):
        for base, _, names in sorted(os.walk(folder)):
            if "/build" not in base and "/." not in base:
                texts += [open(os.path.join(base, n), encoding="utf-8").read() for n in sorted(names) if n.endswith(suffix)]
    return texts


def cases(shared, here):
    mixed = [r[key] for name in ("vl_rewardbench/data.jsonl", "mm_rlhf_rewardbench/mm_reward_bench.jsonl")
             for r in records(f"{shared}/data/{name}") for key in ("prompt", "chosen", "rejected") if isinstance(r.get(key), str)]
    root = os.path.normpath(here + "/../../..")
    sentence = "这张图片显示了一辆红色的自行车停在路边，两个人正在看地图。画像には赤い自転車が写っています。"
    chinese = ["".join(sentence[(i * j) % 11:] for j in range(1, 12)) for i in range(1, 400)]
    return [("mixed", mixed), ("long_text", ["\n".join(mixed)[:1_000_000]]),
            ("code", [t for d in ("core", "plugins", "sdk", "tests") for t in sources(f"{root}/{d}")]), ("cjk", chinese)]


class Ours:
    def __init__(self, program, tokenizer, texts):
        self.process = subprocess.Popen([program, "serve", tokenizer, texts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def timed(work):
    start = time.perf_counter()
    result = work()
    took = time.perf_counter() - start
    del result
    return took


def main():
    program, shared = sys.argv[1:3]
    path = f"{shared}/data/qwen3_tokenizer/tokenizer.json"
    peer = Tokenizer.from_file(path)
    sides = {
        "encode": lambda texts: [peer.encode(t, add_special_tokens=False) for t in texts],
        "encode_batch": lambda texts: peer.encode_batch(texts, add_special_tokens=False),
        "encode_batch_fast": lambda texts: peer.encode_batch_fast(texts, add_special_tokens=False),
    }
    with tempfile.TemporaryDirectory() as work:
        for name, texts in cases(shared, os.path.dirname(os.path.abspath(__file__))):
            write_texts(f"{work}/texts", texts)
            subprocess.run([program, "encode", path, f"{work}/texts", f"{work}/ids"], check=True)
            if read_ids(f"{work}/ids") != [e.ids for e in sides["encode"](texts)]:
                sys.exit(f"tokenizer {name}: the ids differ")
            ours = Ours(program, path, f"{work}/texts")
            best = {}
            for _ in range(ROUNDS):
                for side in ("ours", "split", *sides):
                    if side in sides:
                        took = timed(lambda: sides[side](texts))
                    else:
                        took = ours.seconds("encode" if side == "ours" else side)
                    best[side] = min(took, best.get(side, took))
            ours.close()
            megabytes = sum(len(t.encode()) for t in texts) / 1e6
            fastest = min(sides, key=best.get)
            print(f"tokenizer {name} ours={megabytes / best['ours']:.1f} peer={megabytes / best[fastest]:.2f} "
                  f"ratio={best[fastest] / best['ours']:.1f} ceiling={megabytes / best['split']:.0f} unit=MB/s "
                  f"peer_call={fastest} size={megabytes:.2f}MB", flush=True)

        write_texts(f"{work}/texts", [])
        ours = Ours(program, path, f"{work}/texts")
        best = {"ours": 1e9, "peer": 1e9}
        for _ in range(3):
            best["ours"] = min(best["ours"], ours.seconds("load"))
            best["peer"] = min(best["peer"], timed(lambda: Tokenizer.from_file(path)))
        ours.close()
        print(f"tokenizer load ours={1 / best['ours']:.2f} peer={1 / best['peer']:.2f} ratio={best['peer'] / best['ours']:.1f} "
              f"ceiling=- unit=loads/s")


main()
