# SPDX-License-Identifier: Apache-2.0
"""check.py DT2IT WORK: real files of the peers in, ours out, everything compared."""
import io
import json
import pathlib
import random
import subprocess
import sys

import datasets
from PIL import Image

dt2it, work = sys.argv[1], pathlib.Path(sys.argv[2])
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        sys.exit(f"data: {what}")


def same(ours, theirs, what):
    check(ours == theirs, f"{what}:\n  {ours!r}\n  {theirs!r}")


def picture(seed, kind):
    draw = random.Random(seed)
    image = Image.new("RGB", (draw.randint(20, 60), draw.randint(20, 60)), tuple(draw.randrange(256) for _ in range(3)))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def run(*arguments):
    done = subprocess.run([dt2it, *map(str, arguments)], cwd=work, capture_output=True, text=True)
    check(done.returncode == 0, f"dt2it {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def stage(name, toml):
    (work / f"{name}.toml").write_text(toml)
    (work / "none.toml").write_text("")
    run("run", f"{name}.toml", "--profile", "none.toml", "--runs", "runs")
    return work / "runs" / f"{name}@none" / "stages"


def lines(file):
    with open(file, encoding="utf-8", newline="\n") as stream:
        return [json.loads(line) for line in stream if line.strip()]


def stored(media):
    return (work / "runs/.media" / media["id"][:2] / media["id"]).read_bytes()


TEXTS = ["What is it?", "Quote \" and \\ and\ttab", "two\nlines\r\n", "图中 😀 café \u2028 end", ""]


def cauldron():
    folder = work / "the_cauldron/ai2d"
    folder.mkdir(parents=True)
    rows = [{"images": [{"bytes": picture(10 * i + k, "PNG" if i % 2 else "JPEG"), "path": None} for k in range(1 + i % 3)],
             "texts": [{"user": f"{TEXTS[(i + k) % 4]} {i}", "assistant": TEXTS[(i * k) % 5], "source": "AI2D"} for k in range(1 + i % 4)]}
            for i in range(45)]
    features = datasets.Features({"images": datasets.List(datasets.Image()),
                                  "texts": [{"user": datasets.Value("string"), "assistant": datasets.Value("string"),
                                             "source": datasets.Value("string")}]})
    for shard, part in enumerate((rows[:30], rows[30:])):
        datasets.Dataset.from_list(part, features=features).to_parquet(folder / f"train-{shard:05}-of-00002.parquet", batch_size=7)
    stages = stage("cauldron", '[datasets.it]\ntype = "prompts"\nfile = "the_cauldron/ai2d"\n[stages.collect]\ndataset = "it"\n')
    prompts = lines(stages / "collect/prompts.jsonl")
    turns = [(row, turn) for row in rows for turn in row["texts"]]
    same(len(prompts), len(turns), "turns of the_cauldron")
    for prompt, (row, turn) in zip(prompts, turns):
        content = prompt["messages"][0]["content"]
        images = [part["image"] for part in content if part["type"] == "image"]
        same([stored(image) for image in images], [image["bytes"] for image in row["images"]], "images of the_cauldron")
        same("".join(part["text"] for part in content if part["type"] == "text"), turn["user"], "questions of the_cauldron")
        same(prompt.get("reference", ""), turn["assistant"], "answers of the_cauldron")
        same(prompt["domain"], "reasoning", "domains by Table 9")


def onevision():
    folder = work / "onevision"
    folder.mkdir()
    rows = [{"id": f"r{i}", "image": {"bytes": picture(i, "JPEG"), "path": f"x/{i}.jpg"} if i % 5 else None, "data_source": "geo3k",
             "conversations": [{"from": "human", "value": ("<image>\n" if i % 5 else "") + TEXTS[i % 4] + "?"},
                               {"from": "gpt", "value": f"answer {i}"}]} for i in range(40)]
    features = datasets.Features({"id": datasets.Value("string"), "image": datasets.Image(), "data_source": datasets.Value("string"),
                                  "conversations": [{"from": datasets.Value("string"), "value": datasets.Value("string")}]})
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "train-00000-of-00001.parquet")
    stages = stage("onevision", '[datasets.it]\ntype = "prompts"\nfile = "onevision/train-*.parquet"\nimages_only = true\n'
                                '[stages.collect]\ndataset = "it"\nimages = "decoded"\nneed_reference = true\n')
    prompts = lines(stages / "collect/prompts.jsonl")
    wanted = [row for row in rows if row["image"]]
    same(len(prompts), len(wanted), "records of LLaVA-OneVision with an image")
    for prompt, row in zip(prompts, wanted):
        content = prompt["messages"][0]["content"]
        same(stored(content[0]["image"]), row["image"]["bytes"], "images of LLaVA-OneVision")
        same(content[0]["image"]["source"], row["image"]["path"], "paths of LLaVA-OneVision")
        same(content[1]["text"], row["conversations"][0]["value"].removeprefix("<image>"), "questions of LLaVA-OneVision")
        same(prompt["record_id"], row["id"], "ids of LLaVA-OneVision")
        same((prompt["reference"], prompt["source"]), (row["conversations"][1]["value"], "geo3k"), "answers of LLaVA-OneVision")


def own_pairs():
    (work / "own").mkdir()
    with open(work / "own/pairs.jsonl", "w", encoding="utf-8", newline="\n") as out:
        for i in range(57):
            count = 1 + (i % 3 == 0)
            for k in range(count):
                (work / f"own/{i}_{k}.img").write_bytes(picture(100 * i + k, "PNG" if i % 2 else "JPEG"))
            content = [{"type": "image", "image": f"{i}_{k}.img"} for k in range(count)] + [{"type": "text", "text": TEXTS[i % 4]}]
            out.write(json.dumps({"id": f"p{i}", "source": "GQA", "prompt": {"id": f"q{i}", "messages": [{"role": "user", "content": content}],
                                                                            "reference": "r"},
                                  "chosen": {"id": "1", "text": f"yes {TEXTS[(i + 1) % 5]}", "mllm": "m", "origin": "sampled"},
                                  "rejected": {"id": "0", "text": f"no {TEXTS[(i + 2) % 5]}"}, "votes": i}, ensure_ascii=False) + "\n")
    stages = stage("own", '[datasets.it]\ntype = "jsonl"\nfile = "own"\n[stages.pairs]\ntype = "collect_pairs"\ndataset = "it"\n')
    return lines(stages / "pairs/pairs.jsonl")


def question(pair, image="<image>"):
    return "".join(part["text"] if part["type"] == "text" else image for part in pair["prompt"]["messages"][0]["content"])


def image_bytes(pair):
    return [stored(part["image"]) for part in pair["prompt"]["messages"][0]["content"] if part["type"] == "image"]


def hugging_face(pairs):
    print(run("export", "trl", "runs/own@none/stages/pairs", "--out", "hf"), end="")
    data = datasets.load_dataset(str(work / "hf"), split="train")
    check(isinstance(data.features["images"].feature, datasets.Image), f"features of the Parquet export: {data.features}")
    same(len(data), len(pairs), "rows of the Parquet export")
    raw = data.cast_column("images", datasets.List(datasets.Image(decode=False)))
    from trl.data_utils import is_conversational
    for row, plain, pair in zip(data, raw, pairs):
        check(is_conversational(row), "TRL takes a row of ours for conversational")
        same([image["bytes"] for image in plain["images"]], image_bytes(pair), "images of the Parquet export")
        parts = row["prompt"][0]["content"]
        same("".join(part["text"] if part["type"] == "text" else "<image>" for part in parts), question(pair), "questions of the Parquet export")
        same(sum(part["type"] == "image" for part in parts), len(row["images"]), "image parts of the Parquet export")
        for side in ("chosen", "rejected"):
            same((row[side][0]["role"], row[side][0]["content"][0]["text"]), ("assistant", pair[side]["text"]), f"{side} of the Parquet export")
        check(all(image.size[0] > 0 for image in row["images"]), "images of the Parquet export decode")
    card = (work / "hf/README.md").read_text()
    check("57 preference pairs" in card and "own" in card, "the data card counts the pairs and names the experiment")
    return data


def trl_template(data):
    """TRL's own preparation of vision prompts: every image finds its place."""
    try:
        from trl.data_utils import prepare_multimodal_messages
    except ImportError:
        print("data: this TRL has no prepare_multimodal_messages")
        return
    import inspect
    for row in data:
        second = row["images"] if "images" in inspect.signature(prepare_multimodal_messages).parameters else len(row["images"])
        prompt = [{"role": message["role"], "content": "".join(part["text"] or "" for part in message["content"])} for message in row["prompt"]]
        made = prepare_multimodal_messages(prompt, second) or prompt
        same(sum(part["type"] == "image" for message in made for part in message["content"]), len(row["images"]), "image parts as TRL makes them")


def llama_factory(pairs):
    print(run("export", "llama_factory", "runs/own@none/stages/pairs", "--out", "lf", "--name", "ours"), end="")
    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import DataArguments, ModelArguments
    from transformers import TrainingArguments
    arguments = DataArguments(dataset="ours", dataset_dir=str(work / "lf"), media_dir=str(work / "lf"), template="qwen2_vl")
    attributes = get_dataset_list(["ours"], str(work / "lf"))[0]
    check(attributes.ranking and attributes.formatting == "sharegpt", "dataset_info.json says ranking and sharegpt")
    rows = _load_single_dataset(attributes, ModelArguments(model_name_or_path="none"), arguments,
                                TrainingArguments(output_dir=str(work / "none"), report_to=[]))
    same(len(rows), len(pairs), "rows of the LLaMA-Factory export")
    for row, pair in zip(rows, pairs):
        same(row["_prompt"], [{"role": "user", "content": question(pair)}], "prompts as LLaMA-Factory reads them")
        same([answer["content"] for answer in row["_response"]], [pair["chosen"]["text"], pair["rejected"]["text"]],
             "answers as LLaMA-Factory reads them")
        same([pathlib.Path(image).read_bytes() for image in row["_images"]], image_bytes(pair), "images of the LLaMA-Factory export")
        same(question(pair).count("<image>"), len(row["_images"]), "marks of images")


def back(pairs):
    """All forms read back as the same pairs."""
    run("export", "ms_swift", "runs/own@none/stages/pairs", "--out", "swift")
    run("export", "mmpr", "runs/own@none/stages/pairs", "--out", "mmpr")
    for name, file, kind in (("hf", "hf/data", "parquet"), ("lf", "lf/ours.jsonl", "preferences"),
                             ("swift", "swift/dt2it_pairs.jsonl", "preferences"), ("mmpr", "mmpr/meta.json", "preferences")):
        stages = stage(f"back_{name}", f'[datasets.it]\ntype = "{kind}"\nfile = "{file}"\n[stages.pairs]\ntype = "collect_pairs"\ndataset = "it"\n')
        same(lines(stages / "pairs/pairs.jsonl"), pairs, f"pairs back from {name}")


cauldron()
onevision()
own = own_pairs()
trl_template(hugging_face(own))
llama_factory(own)
back(own)
print(f"data: {checks} checks")
