# SPDX-License-Identifier: Apache-2.0
"""The peers of the benchmark `score`, both on transformers with one thread: peer.py FOLDER CASE SIDE OUT.

snippet: the usual Hugging Face way: for each record the conversations with its responses through the processor, padded
side by side, the value head on the last hidden state. llamafactory: the layout of LLaMA-Factory's reward stage: prompt and
response tokenised apart, two records a batch, padded to a multiple of 8, images repeated for every row. Prints the seconds of
the fastest of three passes over all records; writes the rewards to OUT."""
import json
import pathlib
import sys
import time

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer, Qwen3VLForConditionalGeneration
from transformers import Qwen2VLImageProcessorFast, Qwen3VLProcessor, Qwen3VLVideoProcessor

torch.set_num_threads(1)
folder, case, side, out = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
model = Qwen3VLForConditionalGeneration.from_pretrained(folder / "model", dtype=torch.float32).eval()
head = load_file(folder / "model" / "value_head.safetensors")
weight, bias = head["v_head.summary.weight"], head["v_head.summary.bias"]
tokenizer = AutoTokenizer.from_pretrained(folder / "model", padding_side="right")
pictures = Qwen2VLImageProcessorFast.from_pretrained(folder / "model")
template = json.loads((folder / "model" / "chat_template.json").read_text())["chat_template"]
processor = Qwen3VLProcessor(image_processor=pictures, tokenizer=tokenizer,
                             video_processor=Qwen3VLVideoProcessor.from_pretrained(folder / "model"), chat_template=template)
records = [json.loads(line) for line in open(folder / f"{case}.peer.jsonl")]


def score(inputs):
    inputs.setdefault("mm_token_type_ids", (inputs["input_ids"] == model.config.image_token_id).long())
    outputs = model(**inputs, output_hidden_states=True, use_cache=False)
    values = (outputs.hidden_states[-1].float() @ weight.T + bias).squeeze(-1)
    return values.gather(1, inputs["attention_mask"].sum(-1, keepdim=True) - 1).squeeze(-1).tolist()


def open_images(record):
    return [Image.open(folder / name).convert("RGB") for name in record["images"]]


def snippet(record):
    chats = [record["messages"] + [{"role": "assistant", "content": [{"type": "text", "text": answer}]}] for answer in record["answers"]]
    texts = [processor.apply_chat_template(chat, tokenize=False) for chat in chats]
    images = open_images(record) * len(chats)
    return score(dict(processor(text=texts, images=images, padding=True, return_tensors="pt")))


def llamafactory(batch):
    rows, pixels, grids = [], [], []
    for record in batch:
        made = pictures(images=open_images(record), return_tensors="pt")
        blocks = ["<|vision_start|>" + "<|image_pad|>" * int(grid.prod() // 4) + "<|vision_end|>" for grid in made["image_grid_thw"]]
        prompt = tokenizer.encode("<|im_start|>user\n" + "".join(blocks) + record["question"] + "<|im_end|>\n<|im_start|>assistant\n",
                                  add_special_tokens=False)
        for answer in record["answers"]:
            rows.append(prompt + tokenizer.encode(answer + "<|im_end|>\n", add_special_tokens=False))
            again = pictures(images=open_images(record), return_tensors="pt")
            pixels.append(again["pixel_values"])
            grids.append(again["image_grid_thw"])
    length = (max(map(len, rows)) + 7) // 8 * 8
    ids = torch.full((len(rows), length), tokenizer.pad_token_id or 0)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
        mask[i, :len(row)] = 1
    return score({"input_ids": ids, "attention_mask": mask, "pixel_values": torch.cat(pixels), "image_grid_thw": torch.cat(grids)})


def all_records():
    rewards = []
    if side == "snippet":
        for record in records:
            rewards.append(snippet(record))
    else:
        for begin in range(0, len(records), 2):
            batch = records[begin:begin + 2]
            flat = iter(llamafactory(batch))
            rewards += [[next(flat) for _ in record["answers"]] for record in batch]
    return rewards


with torch.no_grad():
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        rewards = all_records()
        best = min(best, time.perf_counter() - begin)
json.dump(rewards, open(out, "w"))
print(best)
