# SPDX-License-Identifier: Apache-2.0
"""The peer of the benchmark `serve`: FastAPI and transformers as such servers are usually written. peer_server.py MODEL PORT BATCH
THREADS. Up to BATCH waiting requests go through the processor and the model as one padded batch."""
import asyncio
import base64
import io
import json
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen2VLImageProcessorFast, Qwen3VLForConditionalGeneration, Qwen3VLProcessor, Qwen3VLVideoProcessor

folder, port, most = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))
model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
head = load_file(folder / "value_head.safetensors")
weight, bias = head["v_head.summary.weight"], head["v_head.summary.bias"]
tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
processor = Qwen3VLProcessor(image_processor=Qwen2VLImageProcessorFast.from_pretrained(folder), tokenizer=tokenizer,
                             video_processor=Qwen3VLVideoProcessor.from_pretrained(folder), chat_template=template)
app = FastAPI()
computing = ThreadPoolExecutor(1)
waiting: asyncio.Queue = asyncio.Queue()


def compute(requests):
    texts, images, counts = [], [], []
    with torch.inference_mode():
        for request in requests:
            prompt, pictures = [], []
            for message in request["messages"]:
                parts = []
                for part in message["content"]:
                    if part["type"] == "image_url":
                        data = base64.b64decode(part["image_url"]["url"].split(",", 1)[1])
                        pictures.append(Image.open(io.BytesIO(data)).convert("RGB"))
                        parts.append({"type": "image"})
                    else:
                        parts.append(part)
                prompt.append({"role": message["role"], "content": parts})
            for answer in request["candidates"]:
                chat = prompt + [{"role": "assistant", "content": [{"type": "text", "text": answer}]}]
                texts.append(processor.apply_chat_template(chat, tokenize=False))
                images += pictures
            counts.append(len(request["candidates"]))
        inputs = dict(processor(text=texts, images=images, padding=True, return_tensors="pt"))
        inputs.setdefault("mm_token_type_ids", (inputs["input_ids"] == model.config.image_token_id).long())
        hidden = model.model(**inputs, use_cache=False).last_hidden_state  # without lm_head, which no reward needs
        values = (hidden.float() @ weight.T + bias).squeeze(-1)
        flat = iter(values.gather(1, inputs["attention_mask"].sum(-1, keepdim=True) - 1).squeeze(-1).tolist())
    return [[next(flat) for _ in range(count)] for count in counts]


async def work():
    loop = asyncio.get_running_loop()
    while True:
        batch = [await waiting.get()]
        while len(batch) < most and not waiting.empty():
            batch.append(waiting.get_nowait())
        rewards = await loop.run_in_executor(computing, compute, [request for request, _ in batch])
        for (_, future), some in zip(batch, rewards):
            future.set_result(some)


@app.get("/health")
async def health():
    return {}


@app.on_event("startup")
async def start():
    app.state.task = asyncio.create_task(work())


@app.post("/v1/rewards")
async def rewards(request: dict):
    future = asyncio.get_running_loop().create_future()
    await waiting.put((request, future))
    return {"data": [{"index": i, "status": "ok", "reward": reward} for i, reward in enumerate(await future)]}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
