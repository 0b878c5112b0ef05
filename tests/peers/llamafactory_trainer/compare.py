# SPDX-License-Identifier: Apache-2.0
"""compare.py DT2IT SHARED WORK: see run. trainers/llama_factory trains the tiny Qwen3-VL with the real LLaMA-Factory: reward
models with all weights and with LoRA, DPO, SFT. The rewards that LLaMA-Factory's own prediction gives for the checkpoint must
be those of `dt2it score`; a training that was interrupted must end with the same weights. Exits with 1 at the first difference."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "llamafactory_training"))
import case  # noqa: E402

dt2it, shared, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
observe = pathlib.Path(case.__file__).parent / "observe.py"
STEPS, BATCH, CUTOFF = 4, 4, 400
EXPERIMENT = """
[experiment]
about = "trainers/llama_factory"
[datasets.pairs]
type = "preferences"
file = "data/pairs.jsonl"
[trainers.llama_factory]
type = "llama_factory"
checkpoint = "model"
command = ["{python}", "-m", "llamafactory.cli"]
batch_size = {batch}
micro_batch_size = 2
learning_rate = 1e-3
dtype = "float32"
cutoff_len = {cutoff}
save_steps = 1
gradient_checkpointing = false
extra = {{ use_cpu = "true" }}
{settings}
[stages.pairs]
type = "collect_pairs"
dataset = "pairs"
limit = {pairs}
[stages.train]
type = "train"
pairs = ["pairs"]
trainer = "llama_factory"
"""


def experiment(name, settings):
    file = work / f"{name}.toml"
    file.write_text(EXPERIMENT.format(python=sys.executable, batch=BATCH, cutoff=CUTOFF, pairs=STEPS * BATCH, settings=settings))
    return [str(dt2it), "run", str(file), "--runs", str(work / f"runs_{name}"), "-q"]


def result(name):
    found = [path.parent for path in (work / f"runs_{name}").rglob("training.jsonl") if ".work" not in path.parts]
    assert len(found) == 1, found
    steps = [json.loads(line) for line in open(found[0] / "training.jsonl")]
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1)), steps
    assert all(step["loss"] > 0 for step in steps)
    return found[0] / "checkpoint", [step["loss"] for step in steps]


def train(name, settings):
    done = subprocess.run(experiment(name, settings), cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return result(name)


def train_interrupted(name, settings, after):
    """Stops the run by SIGINT once LLaMA-Factory has written checkpoint `after`, then runs it again."""
    command = experiment(name, settings)
    first = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while first.poll() is None and not list((work / f"runs_{name}").rglob(f"checkpoint-{after}/trainer_state.json")):
        time.sleep(0.05)
    if first.poll() is not None:
        sys.exit(f"{name} ended before it could be stopped: {first.communicate()[0][-3000:]}")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    if first.returncode == 0:
        sys.exit(f"{name} was not stopped")
    return train(name, settings)


def same_weights(what, one, other):
    for file in ("model.safetensors", "value_head.safetensors"):
        if not (one / file).exists() and file.startswith("value_head"):
            continue
        a, b = load_file(one / file), load_file(other / file)
        worst = max(float((a[key] - b[key]).abs().max()) for key in a)
        if a.keys() != b.keys() or worst > 0:
            sys.exit(f"{what}: {file} differs by {worst}")
    print(f"{what}: the same weights to the bit")


def moved(checkpoint):
    before, after = load_file(work / "model/model.safetensors"), load_file(checkpoint / "model.safetensors")
    if before.keys() != after.keys():
        sys.exit(f"{checkpoint}: other tensors: {sorted(before.keys() ^ after.keys())[:5]}")
    names = {name for name in before if not torch.equal(before[name], after[name])}
    if not names or any("visual" in name for name in names):
        sys.exit(f"{checkpoint}: these weights moved: {sorted(names)[:5]}")


def same_rewards(name, checkpoint, base, adapter=None):
    """LLaMA-Factory's prediction of `base` (with `adapter`), and `dt2it score` of what was read back."""
    settings = case.settings(work, base, work / f"predict_{name}", do_train=False, do_predict=True, eval_dataset="pairs",
                             cutoff_len=CUTOFF, per_device_eval_batch_size=4)
    if adapter:
        settings |= {"adapter_name_or_path": str(adapter), "finetuning_type": "lora"}
    del settings["dataset"]
    (work / "predict.json").write_text(json.dumps(settings))
    done = subprocess.run([sys.executable, observe, work / "predict.json", work / name], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: LLaMA-Factory's prediction: {done.stderr[-3000:]}")
    theirs = json.load(open(work / f"{name}.rewards.json"))
    subprocess.run([dt2it, "score", "--model", f"mrm:{checkpoint}", "--set", "image_max_pixels=268324", "--set",
                    f"cutoff_len={CUTOFF}", "--threads", "1", "-q", work / "data/pairs.jsonl", "-o", work / f"{name}.ours.jsonl"],
                   cwd=work, check=True, capture_output=True)
    ours = [json.loads(line) for line in open(work / f"{name}.ours.jsonl")]
    assert len(ours) == len(theirs) == case.PAIRS and all(line["status"] == "ok" for line in ours)
    worst = max(abs(line[side] - value) for line, pair in zip(ours, theirs) for side, value in zip(("chosen", "rejected"), pair))
    print(f"{name}: {2 * len(ours)} rewards agree to {worst:.1e}")
    if worst > 1e-4:
        sys.exit(1)
    # Its own file holds them with two decimals.
    rounded = [json.loads(line) for line in open(work / f"predict_{name}/generated_predictions.jsonl")]
    assert all(abs(line["chosen"] - pair[0]) < 0.00501 for line, pair in zip(rounded, theirs))


os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
case.make_pairs(work / "data", shared)
# With dropout, so that going on must bring the random state back too.
case.make_model(work / "model", shared / "golden/models/qwen3_vl", dropout=0.1)

whole, losses = train("full", "")
print("rm, all weights: losses", *(f"{loss:.5f}" for loss in losses))
moved(whole)
same_rewards("full", whole, whole)
interrupted, again = train_interrupted("interrupted", "", 2)
same_weights("rm, stopped after step 2 and taken up", whole, interrupted)
assert again == losses, (again, losses)

lora = 'finetuning_type = "lora"\nlora_rank = 4'
adapted, losses = train("lora", lora)
print("rm, LoRA: losses", *(f"{loss:.5f}" for loss in losses))
moved(adapted)
same_rewards("lora", adapted, work / "model", adapted / "adapter")
interrupted, again = train_interrupted("lora_interrupted", lora, 2)
same_weights("rm with LoRA, stopped after step 2 and taken up", adapted, interrupted)

for stage in ("dpo", "sft"):
    trained, losses = train(stage, f'stage = "{stage}"')
    print(f"{stage}: losses", *(f"{loss:.5f}" for loss in losses))
    moved(trained)
    if stage == "dpo":
        # At the start policy and reference are the same, but for dropout, which DPO turns off.
        assert abs(losses[0] - 0.6931472) < 1e-5, losses
        interrupted, _ = train_interrupted("dpo_interrupted", 'stage = "dpo"', 2)
        same_weights("dpo, stopped after step 2 and taken up", trained, interrupted)
