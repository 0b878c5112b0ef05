# SPDX-License-Identifier: Apache-2.0
"""killed_distillation.py BUILD PROMPTS: the distillation over the mock endpoint, K = 6, killed twice with SIGKILL, must give the
files of a run that was never stopped, its funnels must add up, and its memory must stay below 400 MB."""
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

build, prompts = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2])
source = pathlib.Path(__file__).resolve().parents[2]
TOML = f"""
[stages.distil]
pool = ["gpt_5_chat", "gpt_4o_mini", "qwen2_5_vl_7b", "qwen2_5_vl_32b", "internvl3_5_8b", "internvl3_5_38b"]
candidates = 6
scorers = ["listwise", "pointwise"]
diversity = "enhance"
merge = 1.0
limit = {prompts}
"""
MEMORY_MB = 400


def peak_mb(pid):
    try:
        return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024
    except (OSError, TypeError):
        return 0


def fail(what):
    sys.exit(f"killed distillation: {what}")


def start(work, runs, profile, url):
    return subprocess.Popen([build / "bin/dt2it", "run", "distil.toml", "--profile", profile, "--runs", runs, "--quiet", "--set",
                             f"datasets.prompts.count={prompts}"], cwd=work, env={**os.environ, "DT2IT_MOCK": url},
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def written(runs):
    """Bytes of results, journals and stored calls."""
    total = 0
    for file in runs.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() and not file.is_symlink() and ".media" not in file.parts else 0
        except OSError:
            pass
    return total


def finish(process, peaks, runs=None, enough=0):
    """Waits, and looks at the memory meanwhile; False once `enough` is written, True when the process has ended."""
    while process.poll() is None:
        peaks.append(peak_mb(process.pid))
        if runs and written(runs) >= enough:
            return False
        time.sleep(0.1)
    return True


def files(runs):
    return {str(file.relative_to(runs)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted((runs / ".store").rglob("*")) if file.is_file() and not file.name.endswith(".cost.json")
            and "work" not in file.relative_to(runs).parts}


def check_funnels(runs):
    checked = 0
    for file in (runs / ".store").rglob("funnel.json"):
        steps = json.loads(file.read_text())["steps"]
        for before, after in zip(steps, steps[1:]):
            if after["dropped"] and "added" not in after["name"] and before["count"] != after["count"] + sum(after["dropped"].values()):
                fail(f"{file}: {before['count']} are not {after['count']} and those dropped: {after}")
            checked += bool(after["dropped"])
    if checked < 3:
        fail(f"only {checked} steps of funnels dropped anything")
    return checked


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    (work / "distil.toml").write_text(TOML)
    os.symlink(source / "configs", work / "configs")
    os.symlink(source / "experiments", work / "experiments")
    mock = subprocess.Popen([build / "bin/dt2it-mock", "--port", "0", "--simulate", "distil.toml"], cwd=work, stdout=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://\S+", mock.stdout.readline())[0]
        begin = time.monotonic()
        peaks = []
        whole = start(work, "whole", "mini_http", url)
        finish(whole, peaks)
        if whole.returncode != 0:
            fail(f"the unbroken run ended with {whole.returncode}: {whole.stderr.read()}")
        seconds = time.monotonic() - begin
        for share in (0.3, 0.65):  # of what the whole has written
            broken = start(work, "broken", "mini_http", url)
            if finish(broken, peaks, work / "broken", share * written(work / "whole")):
                fail(f"it ended by itself before it could be killed: {broken.stderr.read()}")
            broken.send_signal(signal.SIGKILL)
            broken.wait()
        broken = start(work, "broken", "mini_http", url)
        finish(broken, peaks)
        if broken.returncode != 0:
            fail(f"the run that went on ended with {broken.returncode}: {broken.stderr.read()}")
        one, other = files(work / "whole"), files(work / "broken")
        if one != other:
            fail("different files: " + ", ".join(sorted({name for name in one.keys() | other.keys() if one.get(name) != other.get(name)})))
        checked = check_funnels(work / "broken")
        pairs = sum(1 for file in (work / "broken/.store").rglob("pairs.jsonl") for _ in file.open())
        print(f"{prompts} prompts x 6: {pairs} pairs, {len(one)} files equal after two kills, {checked} funnel steps add up, "
              f"{seconds:.0f} s unbroken, peak {max(peaks):.0f} MB")
        if max(peaks) > MEMORY_MB:
            fail(f"{max(peaks):.0f} MB of memory (allowed: {MEMORY_MB})")
    finally:
        mock.kill()
