# SPDX-License-Identifier: Apache-2.0
"""compare.py DT2IT MODELS WORK: see run. Exits with 1 at the first difference."""
import collections
import json
import pathlib
import subprocess
import sys

import safetensors
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()

dt2it, models, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])


def convert(source, target, *options):
    done = subprocess.run([dt2it, "convert", source, target, *options], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"dt2it convert {source} {' '.join(options)}: {done.stderr}")
    return target


def load(folder, expected_extra=()):
    model, info = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto", output_loading_info=True)
    extra = set(info["unexpected_keys"]) - set(expected_extra)
    if info["missing_keys"] or info["mismatched_keys"] or extra:
        sys.exit(f"{folder}: transformers says {info}")
    return model


def compare(what, ours, theirs, tolerance=0.0):
    if ours.keys() != theirs.keys():
        sys.exit(f"{what}: other names: {sorted(ours.keys() ^ theirs.keys())[:5]}")
    worst = max(float((ours[key].double() - theirs[key].double()).abs().max()) for key in ours)
    if worst > tolerance:
        sys.exit(f"{what}: differs by {worst}")
    print(f"{what}: {len(ours)} tensors equal" + (f" to {worst:.1e}" if worst else ""))


def written_checkpoints():
    for name in ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_sharded", "qwen3_vl_tied"):
        source = load(models / name).state_dict()
        shards = load(convert(models / name, work / f"{name}_shards", "--max-shard-size", "300KB")).state_dict()
        files = len(list((work / f"{name}_shards").glob("model-*.safetensors")))
        compare(f"{name} in {files} shards", shards, source)
        half = load(convert(models / name, work / f"{name}_bf16", "--dtype", "bf16")).state_dict()
        compare(f"{name} in bfloat16", half, {key: value.bfloat16() for key, value in source.items()})
        if {value.dtype for value in half.values()} != {torch.bfloat16}:
            sys.exit(f"{name}: config.json does not say bfloat16")
        scored = convert(models / name, work / f"{name}_score", "--head-layout", "score")
        compare(f"{name} with score.weight", load(scored, ["score.weight"]).state_dict(), source)
        if json.loads((scored / "config.json").read_text())["num_labels"] != 1:
            sys.exit(f"{scored}: num_labels is not 1")
        head = load_file(models / name / "value_head.safetensors")["v_head.summary.weight"]
        if not torch.equal(load_file(scored / "model.safetensors")["score.weight"], head):
            sys.exit(f"{scored}: another head")


def adapters():
    from peft import LoraConfig, PeftModel, get_peft_model
    for name in ("qwen2_5_vl", "qwen3_vl"):
        for rslora in (False, True):
            torch.manual_seed(7)
            folder = work / f"{name}_adapter_{rslora}"
            config = LoraConfig(r=5, lora_alpha=12, use_rslora=rslora, target_modules=["q_proj", "v_proj", "down_proj", "qkv"],
                                modules_to_save=["lm_head"])
            model = get_peft_model(load(models / name), config)
            for key, parameter in model.named_parameters():
                if "lora_" in key or "modules_to_save" in key:
                    torch.nn.init.normal_(parameter, std=0.1)
            model.save_pretrained(folder)
            peft = PeftModel.from_pretrained(load(models / name), folder).merge_and_unload().state_dict()
            merged = load(convert(folder, work / f"{folder.name}_merged", "--merge-adapter", "--base", models / name)).state_dict()
            compare(f"{name}, LoRA merged, use_rslora={rslora}", merged, peft, 1e-6)


def broken_headers():
    """The reference reader on the broken headers of our test; all are errors for us."""
    accepted = collections.Counter()
    files = sorted((work / "headers").glob("*.safetensors"))
    for file in files:
        try:
            with safetensors.safe_open(file, "pt") as opened:
                opened.keys()
            accepted[file.stem.split("_", 1)[1]] += 1
        except Exception:
            pass
    print(f"of {len(files)} broken headers the reference accepts {sum(accepted.values())}: {dict(accepted)}")
    # Known to be more tolerant; anything else is a rule of the format that our test states wrongly.
    tolerated = {"many dimensions", "duplicate name", "duplicate name by an escape", "NUL in a name", "space before the object",
                 "half a byte", "metadata twice", "two types"}
    if set(accepted) - tolerated:
        sys.exit(f"not expected of the reference: {set(accepted) - tolerated}")


written_checkpoints()
adapters()
broken_headers()
