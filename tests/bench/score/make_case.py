# SPDX-License-Identifier: Apache-2.0
"""Makes what `score` and its peers work on: make_case.py FOLDER TOKENIZER_FOLDER.

FOLDER/model: a Qwen3-VL of about 100 M random weights with the proportions of the 8 B model: per token, lm_head is 7 % of
the language model's FLOPs and the vision tower 0.3 of them on image tokens. FOLDER/CASE.jsonl: pairs or candidate lists
(CASE.peer.jsonl: the same for the peers) whose prompt and responses have exactly the stated number of tokens. The pictures have final sizes, so no side resizes."""
import json
import pathlib
import random
import shutil
import sys

import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import AutoTokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration

RECORDS = {"one_image": 8, "two_images": 8, "best_of_8": 4}
SIZE = (608, 448)  # 266 tokens: what 640x480 becomes below 268,324 pixels


def make_model(folder, tokenizer_folder):
    torch.manual_seed(0)
    tokens = json.loads((tokenizer_folder / "config.json").read_text())
    config = Qwen3VLConfig(
        text_config=dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=8, num_key_value_heads=2, head_dim=96,
                         intermediate_size=2304, vocab_size=7424, max_position_embeddings=32768,
                         rope_parameters=dict(rope_type="default", rope_theta=5e6, mrope_interleaved=True,
                                              mrope_section=[16, 16, 16])),
        vision_config=dict(depth=6, hidden_size=256, num_heads=4, intermediate_size=956, out_hidden_size=768, patch_size=16,
                           deepstack_visual_indexes=[1, 3, 4], num_position_embeddings=2304),
        tie_word_embeddings=False,
        **{key: tokens[key] for key in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")})
    model = Qwen3VLForConditionalGeneration(config).float()
    model.save_pretrained(folder)
    save_file({"v_head.summary.weight": torch.randn(1, 768) * 0.1, "v_head.summary.bias": torch.zeros(1)},
              str(folder / "value_head.safetensors"))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.json", "vocab.json", "merges.txt",
                 "preprocessor_config.json", "video_preprocessor_config.json"):
        shutil.copy(tokenizer_folder / name, folder)
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    processor["size"] = {"shortest_edge": 65536, "longest_edge": 16777216}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def text_of(tokenizer, count, rng):
    """Words that are exactly `count` tokens."""
    words = []
    while True:
        words.append("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(1, 7))))
        size = len(tokenizer.encode(" ".join(words), add_special_tokens=False))
        if size == count:
            return " ".join(words)
        if size > count:
            words.pop()
            words = words[:-1] if rng.random() < 0.3 else words


def picture(path, rng):
    image = Image.new("RGB", SIZE, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = rng.randrange(SIZE[0]), rng.randrange(SIZE[1])
        draw.ellipse((x, y, x + rng.randrange(20, 160), y + rng.randrange(20, 160)), fill=tuple(rng.randrange(256) for _ in range(3)))
    image.save(path)


def main():
    folder, tokenizer_folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    (folder / "images").mkdir(parents=True, exist_ok=True)
    make_model(folder / "model", tokenizer_folder)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    rng = random.Random(1)
    for case, images, responses in (("one_image", 1, (130, 110)), ("two_images", 2, (9, 9)), ("best_of_8", 1, (280,) * 8)):
        with open(folder / f"{case}.jsonl", "w") as out, open(folder / f"{case}.peer.jsonl", "w") as peer:
            for record in range(RECORDS[case]):
                names = [f"images/{case}_{record}_{k}.png" for k in range(images)]
                for name in names:
                    picture(folder / name, rng)
                question = text_of(tokenizer, 80, rng)
                answers = [text_of(tokenizer, size, rng) for size in responses]
                prompt = [{"role": "user", "content": [{"type": "image", "image": name} for name in names] +
                           [{"type": "text", "text": question}]}]
                record_id = f"{case}_{record}"
                peer.write(json.dumps({"id": record_id, "images": names, "question": question, "messages": prompt,
                                       "answers": answers}) + "\n")
                ours = {"id": record_id, "conversations": [{"from": "human", "value": "<image>" * images + question}], "images": names}
                if len(answers) == 2:
                    ours |= {side: {"from": "gpt", "value": text} for side, text in zip(("chosen", "rejected"), answers)}
                else:
                    ours["responses"] = answers
                out.write(json.dumps(ours) + "\n")


main()
