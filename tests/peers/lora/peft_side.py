# SPDX-License-Identifier: Apache-2.0
"""peft_side.py make GOLDEN WORK: for both families an adapter with random matrices on every linear layer of the language model,
as LLaMA-Factory's `lora_target: all` with a frozen tower names them, and what PEFT makes of it on the picture case.
peft_side.py check GOLDEN WORK: loads the adapter that we saved; exits with 1 unless everything agrees."""
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

verb, golden, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])


def hidden_of(model, case):
    inputs = {key: case[key] for key in ("input_ids", "attention_mask", "position_ids", "pixel_values", "image_grid_thw")}
    config = model.get_base_model().config
    inputs["mm_token_type_ids"] = (case["input_ids"] == config.image_token_id).long()
    return model(**inputs, output_hidden_states=True, use_cache=False).hidden_states[-1]


def base(name):
    return AutoModelForImageTextToText.from_pretrained(work / name / "model", dtype=torch.float32, attn_implementation="eager")


def make(name):
    folder = work / name
    shutil.copytree(golden / "models" / name, folder / "model")
    torch.manual_seed(3)
    model = base(name)
    targets = [key for key, module in model.named_modules()
               if isinstance(module, torch.nn.Linear) and "visual" not in key and "lm_head" not in key]
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=10, target_modules=targets, use_rslora=name == "qwen3_vl",
                                             init_lora_weights=False, task_type="CAUSAL_LM")).train()
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(parameter, std=0.1)
    case = load_file(golden / "forward" / name / "two_images.safetensors")
    hidden = hidden_of(model, case)
    weights = torch.randn_like(hidden)
    (hidden * weights).sum().backward()
    out = {key: case[key] for key in ("input_ids", "position_ids", "pixel_values", "image_grid_thw")}
    out |= {"hidden": hidden.detach(), "weights": weights}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            out["gradient." + key.replace(".default", "")] = parameter.grad
    save_file({key: value.contiguous() for key, value in out.items()}, str(folder / "expected.safetensors"))
    model.save_pretrained(folder / "adapter")


def check(name):
    folder = work / name
    theirs, ours = load_file(folder / "adapter/adapter_model.safetensors"), load_file(folder / "ours/adapter_model.safetensors")
    assert theirs.keys() == ours.keys(), set(theirs) ^ set(ours)
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs)
    model = PeftModel.from_pretrained(base(name), folder / "ours").eval()
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.use_rslora) == (4, 10, name == "qwen3_vl"), config
    expected = load_file(folder / "expected.safetensors")
    case = load_file(golden / "forward" / name / "two_images.safetensors")
    with torch.no_grad():
        difference = (hidden_of(model, case) - expected["hidden"]).abs().max().item()
        merged = model.merge_and_unload()
    assert difference < 1e-5, difference
    print(f"{name}: {len(ours)} matrices, as PEFT's; hidden states differ by {difference:.1e}; {type(merged).__name__}")


for family in ("qwen2_5_vl", "qwen3_vl"):
    {"make": make, "check": check}[verb](family)
