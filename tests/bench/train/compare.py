# SPDX-License-Identifier: Apache-2.0
"""compare.py DT2IT WORK CASE...: trains on the pairs of each case with `dt2it train` and with LLaMA-Factory, in turn, four pairs a
step. A side's speed is its fastest step but the first, without start and loading; its memory is the highest of the whole process. Exits with 1
when the losses of the first step, which both compute with the same weights, differ by more than 1e-4."""
import json
import os
import pathlib
import subprocess
import sys
import time

dt2it, work, cases = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), sys.argv[3:]
observe = pathlib.Path(__file__).resolve().parents[2] / "peers/llamafactory_training/observe.py"
BATCH = 4


def run(command, log):
    """Wall and user seconds and peak memory of a process."""
    begin = time.perf_counter()
    with open(log, "w") as out:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT, cwd=work)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command}: {open(log).read()[-3000:]}")
    return {"wall": time.perf_counter() - begin, "user": usage.ru_utime, "memory": usage.ru_maxrss * 1024}


def steady(steps, key="seconds"):
    return BATCH / min(step[key] for step in steps[1:])


def ours(case):
    log = work / f"{case}.ours.jsonl"
    for earlier in (log, work / f"{case}.ours"):
        subprocess.run(["rm", "-rf", earlier], check=True)
    backbone = {"freeze_vision_tower": "true", "freeze_projector": "true", "image_max_pixels": 268324}
    trainer = {"recipe": "llamafactory", "order": "file", "head_init": "checkpoint", "head_dropout": 0, "batch_size": BATCH,
               "learning_rate": 1e-5, "warmup_ratio": 0, "threads": 1, "encoder_threads": 0, "micro_batch_size": 1}
    command = [dt2it, "train", work / f"{case}.jsonl", "--backbone", f"qwen3_vl:{work}/model", "-o", work / f"{case}.ours", "--log", log, "-q"]
    for option, values in (("--backbone-set", backbone), ("--set", trainer)):
        command += [part for key, value in values.items() for part in (option, f"{key}={value}")]
    used = run(command, work / f"{case}.ours.log")
    return [json.loads(line) for line in open(log)], used


def theirs(case, micro):
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    (work / "dataset_info.json").write_text(json.dumps({case: {"file_name": f"{case}.jsonl", "formatting": "sharegpt", "ranking": True,
                                                               "columns": columns}}))
    settings = dict(model_name_or_path=str(work / "model"), stage="rm", do_train=True, finetuning_type="full",
                    freeze_vision_tower=True, freeze_multi_modal_projector=True, dataset=case, dataset_dir=str(work),
                    media_dir=str(work), template="qwen3_vl_nothink", cutoff_len=4096, image_max_pixels=268324,
                    output_dir=str(work / f"{case}.theirs"), use_cpu=True, per_device_train_batch_size=micro,
                    gradient_accumulation_steps=BATCH // micro, num_train_epochs=1.0, learning_rate=1e-5, lr_scheduler_type="cosine",
                    logging_steps=1, save_strategy="no", report_to="none", disable_gradient_checkpointing=True,
                    disable_shuffling=True, overwrite_cache=True, seed=42)
    (work / "settings.json").write_text(json.dumps(settings))
    used = run([sys.executable, observe, work / "settings.json", work / case], work / f"{case}.theirs.log")
    return [json.loads(line) for line in open(work / f"{case}.steps.jsonl")], used


# LLaMA-Factory takes the dropout before its head, 0.1 otherwise, from here.
config = json.loads((work / "model/config.json").read_text())
(work / "model/config.json").write_text(json.dumps(config | {"summary_dropout_prob": 0.0}))
ceilings = {name: (float(ceiling), float(flops)) for name, ceiling, flops in map(str.split, open(work / "ceilings"))}
for case in cases:
    # Each side twice where it can be slowed by what else the machine does; the best counts.
    tries = [ours(case)]
    peers = [theirs(case, micro) for micro in (1, 2, 4)]
    tries.append(ours(case))
    own, own_used = max(tries, key=lambda result: steady(result[0]))
    peer, peer_used = max(peers, key=lambda result: steady(result[0]))
    gap = abs(own[0]["loss"] - peer[0]["loss"])
    print(f"train: {case}: losses of the first step {own[0]['loss']:.6f} and {peer[0]['loss']:.6f}", file=sys.stderr)
    for micro, (steps, used) in zip((1, 2, 4), peers):
        print(f"train: {case}: LLaMA-Factory with {micro} pairs at once: {steady(steps):.3f} pairs/s, "
              f"{used['user']:.0f} s of CPU time, {used['memory'] / 2**20:.0f} MiB", file=sys.stderr)
    if gap > 1e-4:
        sys.exit(f"train: {case}: the losses of the first step differ by {gap}")
    ceiling, flops = ceilings[case]
    print(f"train {case} ours={steady(own):.3f} peer={steady(peer):.3f} ratio={steady(own) / steady(peer):.2f} "
          f"ceiling={ceiling:.3f} unit=pairs/s flops_ratio={flops:.2f}")
    print(f"train {case}_memory ours={own_used['memory'] / 2**20:.0f} peer={peer_used['memory'] / 2**20:.0f} "
          f"ratio={own_used['memory'] / peer_used['memory']:.2f} ceiling=- unit=MiB", flush=True)
