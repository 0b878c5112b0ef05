# SPDX-License-Identifier: Apache-2.0
"""make_voters.py PAIRS FOLDER TOKENIZER_FOLDER PHOTOGRAPHS_FOLDER: three models with one tower, and what they vote on.

FOLDER/model_[123]: Qwen3-VL of random weights, with the language model and the head of each its own. They have the proportions of the
2 B model on a prompt of one photograph of a megapixel, which is what decides how much a shared tower saves (shares of the FLOPs; see
tests/bench/README.md): language model 45 %, tower 55 % (2 B: 47 and 53; 4 B: 69 and 31; 8 B: 76 and 24). A photograph of 608 x 448 pixels stands for
the megapixel, a tower of width 256 for one of 1024. FOLDER/pairs.jsonl: pairs about crops of photographs, one each; questions and
answers are as many tokens to a picture as 60 and twice 100 are to 1024."""
import json
import pathlib
import random
import shutil
import sys

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

SIZE = (608, 448)  # 266 tokens, 1064 patches
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.json", "vocab.json", "merges.txt", "video_preprocessor_config.json")
WORDS = "the cat sits on a red mat and looks at a small blue bird which does not move".split()


def make_models(folder, tokenizer_folder):
    torch.manual_seed(0)
    tokens = json.loads((tokenizer_folder / "config.json").read_text())
    config = Qwen3VLConfig(
        text_config=dict(hidden_size=512, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=4, head_dim=64,
                         intermediate_size=1536, vocab_size=7424, max_position_embeddings=32768,
                         rope_parameters=dict(rope_type="default", rope_theta=5e6, mrope_interleaved=True,
                                              mrope_section=[12, 10, 10])),
        vision_config=dict(depth=5, hidden_size=256, num_heads=4, intermediate_size=1024, out_hidden_size=512, patch_size=16,
                           deepstack_visual_indexes=[], num_position_embeddings=2304),
        tie_word_embeddings=True,
        **{key: tokens[key] for key in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")})
    model = Qwen3VLForConditionalGeneration(config).float()
    for number in (1, 2, 3):
        target = folder / f"model_{number}"
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if ".visual." not in name and weight.dim() == 2:
                    weight.normal_(0, 0.02)
        model.save_pretrained(target)
        save_file({"v_head.summary.weight": torch.randn(1, 512) * 0.1, "v_head.summary.bias": torch.zeros(1)},
                  str(target / "value_head.safetensors"))
        for name in TOKENIZER:
            shutil.copy(tokenizer_folder / name, target)
        processor = json.loads((tokenizer_folder / "preprocessor_config.json").read_text())
        processor["size"] = {"shortest_edge": 65536, "longest_edge": 16777216}
        (target / "preprocessor_config.json").write_text(json.dumps(processor))
    towers = [{key: value for key, value in load_file(str(folder / f"model_{k}" / "model.safetensors")).items() if ".visual." in key} for k in (1, 3)]
    assert towers[0] and all(torch.equal(value, towers[1][key]) for key, value in towers[0].items())


def make_pairs(count, folder, photographs):
    rng = random.Random(1)
    pictures = [picture.convert("RGB") for picture in map(Image.open, sorted(photographs.glob("*.jpg")))]
    pictures = [picture.resize((max(SIZE[0] + 64, picture.width), max(SIZE[1] + 64, picture.height))) for picture in pictures]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with open(folder / "pairs.jsonl", "w") as out:
        for i in range(count):
            picture = pictures[i % len(pictures)]
            x, y = rng.randrange(picture.width - SIZE[0]), rng.randrange(picture.height - SIZE[1])
            picture.crop((x, y, x + SIZE[0], y + SIZE[1])).save(folder / "images" / f"{i}.jpg", quality=90)
            said = [" ".join(rng.choice(WORDS) for _ in range(size)) for size in (12, 22, 22)]
            out.write(json.dumps({"id": f"p{i}", "images": [f"images/{i}.jpg"],
                                  "conversations": [{"from": "human", "value": "<image>" + said[0]}],
                                  "chosen": {"from": "gpt", "value": said[1]}, "rejected": {"from": "gpt", "value": said[2]}}) + "\n")


folder = pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
make_models(folder, pathlib.Path(sys.argv[3]))
make_pairs(int(sys.argv[1]), folder, pathlib.Path(sys.argv[4]))
