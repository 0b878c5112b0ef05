# SPDX-License-Identifier: Apache-2.0
"""The peer of the benchmark `load`: peer.py FOLDER loads it with transformers and prints seconds, peak RSS in bytes, and
the sum of one number a page as bits. Imports are not counted."""
import resource
import sys
import time

import torch
from transformers import Qwen3VLForConditionalGeneration

folder = sys.argv[1]
begin = time.perf_counter()
model, info = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16, low_cpu_mem_usage=True,
                                                              output_loading_info=True)
total = 0
for tensor in model.state_dict().values():
    total += int((tensor.reshape(-1)[::2048].view(torch.int16).to(torch.int64) & 0xFFFF).sum())
seconds = time.perf_counter() - begin
if any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
    sys.exit(f"not all weights were loaded: {info}")
print(f"{seconds:.4f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024} {total}")
