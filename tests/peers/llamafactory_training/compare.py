# SPDX-License-Identifier: Apache-2.0
"""compare.py DT2IT SHARED WORK: see run. The same 64 pairs, the same tiny Qwen3-VL with the same head, eight steps of eight pairs,
dropout off, some pairs cut by cutoff_len: losses and gradient norms of every step must agree to 1e-4 with LLaMA-Factory's.
`file_order`: both in the order of the file, the head from value_head.safetensors. `own_order`: LLaMA-Factory's shuffling and the head
that it makes itself, against what our `recipe = "llamafactory"` makes of the same seed. Exits with 1 at the first difference."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import case  # noqa: E402

dt2it, shared, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
CUTOFF, STEPS, BATCH, SEED = 400, 8, 8, 42
BACKBONE = {"freeze_vision_tower": "true", "freeze_projector": "true", "image_max_pixels": 268324, "cutoff_len": CUTOFF}
TRAINER = {"recipe": "llamafactory", "head_dropout": 0, "batch_size": BATCH, "learning_rate": 5e-4, "order_seed": SEED}


def theirs(name, **changes):
    settings = work / f"{name}.json"
    settings.write_text(json.dumps(case.settings(work, work / name, work / f"{name}_theirs", cutoff_len=CUTOFF, seed=SEED, **changes)))
    done = subprocess.run([sys.executable, pathlib.Path(case.__file__).parent / "observe.py", settings, work / name],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: LLaMA-Factory: {done.stderr[-3000:]}")
    return [json.loads(line) for line in open(work / f"{name}.steps.jsonl")]


def ours(name, **changes):
    log = work / f"{name}.ours.jsonl"
    command = [dt2it, "train", work / "data/pairs.jsonl", "--backbone", f"qwen3_vl:{work / name}", "-o", work / f"{name}_ours",
               "--log", log, "-q"]
    for option, values in (("--backbone-set", BACKBONE), ("--set", TRAINER | changes)):
        command += [part for key, value in values.items() for part in (option, f"{key}={value}")]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: dt2it train: {done.stderr[-3000:]}")
    return [json.loads(line) for line in open(log)]


def compare(name, own, other):
    assert len(own) == len(other) == STEPS, (len(own), len(other))
    worst = {"loss": 0.0, "gradient_norm": 0.0}
    for a, b in zip(own, other):
        print(f"{name} step {a['step']}: loss {a['loss']:.6f} {b['loss']:.6f}  gradient norm {a['gradient_norm']:.5f} "
              f"{b['gradient_norm']:.5f}  learning rate {a['learning_rate']:.3e} {b['learning_rate']:.3e}")
        for key in worst:
            scale = 1 if key == "loss" else max(1.0, b[key])
            worst[key] = max(worst[key], abs(a[key] - b[key]) / scale)
    print(f"{name}: largest difference of losses {worst['loss']:.1e}, of gradient norms (relative) {worst['gradient_norm']:.1e}")
    if not max(worst.values()) <= 1e-4:  # also when not a number
        sys.exit(1)


case.make_pairs(work / "data", shared)
case.make_model(work / "file_order", shared / "golden/models/qwen3_vl")
compare("file_order", ours("file_order", order="file"), theirs("file_order", disable_shuffling=True))
case.make_model(work / "own_order", shared / "golden/models/qwen3_vl")
(work / "own_order/value_head.safetensors").unlink()
compare("own_order", ours("own_order"), theirs("own_order"))
