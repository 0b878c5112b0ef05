# SPDX-License-Identifier: Apache-2.0
"""The data of both sides: 64 pairs with texts of VL-RewardBench and MM-RLHF-RewardBench, most with one of three photographs or
drawn pictures, some with two, some with none."""
import json
import random
import shutil

from PIL import Image, ImageDraw

PAIRS = 64


def drawn(path, size, rng):
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(20):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        draw.ellipse((x, y, x + rng.randrange(10, 60), y + rng.randrange(10, 60)), fill=tuple(rng.randrange(256) for _ in range(3)))
    image.save(path)


def make_pairs(folder, shared):
    """FOLDER/pairs.jsonl in LLaMA-Factory's ranking form, FOLDER/dataset_info.json and the pictures."""
    rng = random.Random(5)
    folder.mkdir(parents=True)
    texts = []
    for name in ("vl_rewardbench/data.jsonl", "mm_rlhf_rewardbench/mm_reward_bench.jsonl"):
        records = [json.loads(line) for line in open(shared / "data" / name)]
        texts += rng.sample([r for r in records if isinstance(r["chosen"], str) and isinstance(r["rejected"], str)], PAIRS // 2)
    rng.shuffle(texts)
    photographs = sorted((shared / "data/mllm_demo").glob("*.jpg"))
    for photograph in photographs:
        shutil.copy(photograph, folder)
    with open(folder / "pairs.jsonl", "w") as out:
        for i, record in enumerate(texts):
            images = [] if i % 16 == 3 else [photographs[i % 3].name]
            if i % 4 == 1:
                size = rng.choice([(64, 64), (200, 150), (320, 240), (90, 400)])
                images.append(f"drawn_{i}.png")
                drawn(folder / images[-1], size, rng)
            if i % 8 == 5:
                images = images[1:]
            question = record["prompt"].replace("<image>", "").replace("<video>", "").strip()
            out.write(json.dumps({"conversations": [{"from": "human", "value": "<image>" * len(images) + question}],
                                  "chosen": {"from": "gpt", "value": record["chosen"]},
                                  "rejected": {"from": "gpt", "value": record["rejected"]}, "images": images}) + "\n")
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    (folder / "dataset_info.json").write_text(json.dumps({"pairs": {
        "file_name": "pairs.jsonl", "formatting": "sharegpt", "ranking": True, "columns": columns}}))


def make_model(folder, source, dropout=0.0):
    """A copy of a checkpoint. LLaMA-Factory takes the dropout before its head from config.json, if that has the key."""
    shutil.copytree(source, folder)
    folder.chmod(0o755)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config | {"summary_dropout_prob": dropout}))


def settings(work, model, output, **changes):
    """LLaMA-Factory's, the paper's recipe in small: full tuning, tower and projector frozen, cosine with warm-up."""
    return dict(model_name_or_path=str(model), stage="rm", do_train=True, finetuning_type="full", freeze_vision_tower=True,
                freeze_multi_modal_projector=True, dataset="pairs", dataset_dir=str(work / "data"), media_dir=str(work / "data"),
                template="qwen3_vl_nothink", cutoff_len=2048, image_max_pixels=268324, output_dir=str(output), use_cpu=True,
                per_device_train_batch_size=4, gradient_accumulation_steps=2, num_train_epochs=1.0, learning_rate=5e-4,
                lr_scheduler_type="cosine", warmup_ratio=0.1, logging_steps=1, save_strategy="no", report_to="none",
                disable_gradient_checkpointing=True, seed=42, overwrite_cache=True) | changes
