#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the command blocks (```sh) of README and docs, page by page, each page in one shell in a scratch checkout.

    tests/docs/blocks.py BUILD_FOLDER [PAGE ...]

Blocks of other languages behind "Save this as `PATH`" are written to that path first. A page may need things that a reader has and a
scratch checkout has not: PAGES below makes stand-ins, replaces names, and says of the blocks that are not run why not.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAIRS = r"""python3 - <<'MADE'
import json
for name, count in (("pairs.jsonl", 12), ("held_out.jsonl", 6)):
    with open(name, "w") as out:
        for i in range(count):
            out.write(json.dumps({"prompt": f"is it red {i}?", "chosen": "yes it is red", "rejected": "no"}) + "\n")
json.dump([{"conversations": [{"from": "human", "value": f"is it blue {i}?"}], "chosen": {"from": "gpt", "value": "yes"},
            "rejected": {"from": "gpt", "value": "no it is"}} for i in range(6)], open("pairs.json", "w"))
json.dump(json.load(open("pairs.json"))[:4], open("held_out.json", "w"))
MADE"""
TRAINED = """dt2it train pairs.jsonl --backbone qwen3_vl:experiments/mini_backbone --set max_steps=2 --set batch_size=4 -o Qwen3-VL-8B-RM
rm -f pairs.jsonl"""
VL_RECORDS = r"""mkdir -p PATH/TO/vl_rewardbench
printf '%s\n' '{"id":"hallucination_pair-1","prompt":"What is it?","chosen":"A cat on a mat.","rejected":"A dog."}' >PATH/TO/vl_rewardbench/data.jsonl"""
MOCK = """./dev mock --simulate experiments/demo.toml >/dev/null 2>&1 &
for i in $(seq 60); do curl -s -o /dev/null http://127.0.0.1:8900/ && break; sleep 1; done
dt2it run docs/examples/one_pair.toml --profile mini_http >/dev/null"""
CPU = [("--device cuda", "--device cpu"), ("--dtype bfloat16", "--dtype float32")]

# before: what is run first; replace: in all blocks; not_run: blocks with this text, and why.
PAGES = {
    "README.md": {
        "before": VL_RECORDS,
        "after_line": {"--faults 0.1 &": "sleep 5"},
        "not_run": {"cmake --install build/dev": "the test cli_template_plugin builds the template"},
    },
    "docs/curation.md": {"not_run": {"rounds.py": "an hour; a slow test runs it with little data"}},
    "docs/data.md": {"before": "dt2it run docs/examples/one_pair.toml >/dev/null"},
    "docs/mini_results.md": {"not_run": {"dt2it run experiments/table": "20 minutes and more; experiments_plans checks every file"}},
    "docs/model_calls.md": {
        "before": MOCK,
        "replace": [("gpt-5.2", "$(dt2it calls export .all.jsonl >/dev/null; "
                     "python3 -c 'import json; print(json.loads(open(\".all.jsonl\").readline())[\"model\"])')"),
                    ("3f09755f", "$(python3 -c 'import json; print(json.loads(open(\".all.jsonl\").readline())[\"call\"][:8])')")],
        "not_run": {"./dev demo": "the test calls_demo runs the demo over HTTP"},
    },
    "docs/scoring.md": {
        "before": PAIRS + "\n" + TRAINED,
        "replace": CPU,
        "not_run": {"torchrun": "needs torchrun and eight GPUs; --shard is the same by hand"},
    },
    "docs/serving.md": {
        "before": PAIRS,
        "after_line": {"--port 8000 &": "for i in $(seq 30); do curl -sf -o /dev/null http://127.0.0.1:8000/health && break; sleep 0.3; done"},
        "replace": [("dt2it evaluate vl_rewardbench --data data.jsonl --model endpoint:http://vllm.example:8000 --set api=classify "
                     "--set model=MY_MODEL\n", "")],  # nobody is there
        "not_run": {"--device cuda": "serves until it is stopped; the next block does so too",
                    "./dev bench serve": "half an hour, and the peers' environment"},
    },
    "docs/first_walk.md": {"replace": [("./dev setup && ./dev build\n", "")]},  # what is being tested
    "docs/installing.md": {"not_run": {"./dev build release": "an hour; the test install_tree installs and moves a tree"}},
    "docs/reliability.md": {"not_run": {"./dev torture": "an hour; the test cli_torture kills fewer", "./dev fuzz": "as long as one likes; the tests "
                                        "fuzz_* run each for a fixed count"}},
    "docs/benchmarks.md": {"not_run": {"data/VL-RewardBench": "needs the published suite and a checkpoint; README's block evaluates records of that form"}},
    "docs/python.md": {"not_run": {"pip install": "tests/python/run installs it and runs the notebook, where pip can"}},
    "docs/training.md": {
        "before": PAIRS,
        "replace": [("/models/Qwen3-VL-8B-Instruct", "experiments/mini_backbone"), ("batch_size=512", "batch_size=4"), ("device=cuda", "device=cpu")],
        "not_run": {"torchrun": "needs torchrun; the test plugins_trainers_processes trains in several processes"},
    },
    "docs/writing_a_plugin.md": {"not_run": {"": "the tests cli_template_plugin and docs_curator follow this page"}},
}


def blocks_of(page):
    """(line number, language, path to save as or None, text) of each fenced block."""
    found, lines = [], page.read_text().split("\n")
    at = 0
    while at < len(lines):
        fence = re.match(r"^```(\w*)", lines[at])
        if not fence:
            at += 1
            continue
        end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith("```"))
        before = " ".join(lines[max(0, at - 3):at])
        saved = re.search(r"[Ss]ave this\s+as `([^`]+)`:?\s*$", before)
        found.append((at + 1, fence.group(1), saved.group(1) if saved else None, "\n".join(lines[at + 1:end]) + "\n"))
        at = end + 1
    return found


def checkout(folder, build):
    for name in ("configs", "experiments", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "build").mkdir()
    (folder / "build/dev").symlink_to(build)
    for name in ("dev", "tests", "sdk", "cmake", "core", "plugins", "CMakeLists.txt", "CMakePresets.json"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "home").mkdir()


def script_of(name, page, rules):
    script, run, left = ["set -eo pipefail", rules.get("before", "")], 0, []
    for line, language, path, text in blocks_of(page):
        if path:
            script.append(f"mkdir -p $(dirname {path}); cat >{path} <<'SAVED'\n{text}SAVED")
        if language != "sh":
            continue
        reason = next((why for what, why in rules.get("not_run", {}).items() if what in text), None)
        if reason:
            left.append(f"{name}:{line}: not run: {reason}")
            continue
        for old, new in rules.get("replace", []):
            text = text.replace(old, new)
        for ending, then in rules.get("after_line", {}).items():
            text = re.sub(re.escape(ending) + "$", lambda match: match.group(0) + "\n" + then, text, flags=re.M)
        script.append(f"echo '--- {name}:{line}'\n{text}")
        run += 1
    return "\n".join(script + ["echo '--- end'"]), run, left


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    names = sys.argv[2:] or ["README.md"] + sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))
    failed = total = 0
    for name in names:
        script, run, left = script_of(name, ROOT / name, PAGES.get(name, {}))
        print(*left, sep="\n", end="\n" if left else "")
        if not run:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            checkout(folder, build)
            cache = os.environ.get("DT2IT_CACHE") or os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")) + "/dt2it"
            environment = {**os.environ, "PATH": f"{build}/bin:{os.environ['PATH']}", "HOME": str(folder / "home"), "DT2IT_CACHE": cache}
            with subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, start_new_session=True) as shell:
                lines = []
                for line in shell.stdout:  # what was put into the background keeps the pipe open
                    lines.append(line)
                    if line == "--- end\n":
                        break
                code = 0 if lines and lines[-1] == "--- end\n" else 1
                os.killpg(shell.pid, signal.SIGKILL)
        total += run
        failed += code
        print(f"{name}: {run} blocks {'run' if code == 0 else 'FAILED'}")
        if code:
            print("".join(lines[-40:]))
    print(f"{total} blocks")
    sys.exit(1 if failed else 0)


main()
