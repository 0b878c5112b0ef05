# SPDX-License-Identifier: Apache-2.0
"""style.py BUILD: on the mini world, what style tells of our labels is near chance, of those of biased open sets far above it."""
import json
import pathlib
import subprocess
import sys
import tempfile

build = pathlib.Path(sys.argv[1])
OPEN = ["povid", "mmpr", "wildvision", "vlfeedback", "mm_rlhf"]
TOML = """
[stages.distil]
pool = ["gpt_5_chat", "gpt_4o_mini", "qwen2_5_vl_7b", "qwen2_5_vl_32b", "internvl3_5_8b", "internvl3_5_38b"]
candidates = 6
scorers = ["listwise", "pointwise"]
diversity = "enhance"
measure = true
""" + "".join(f'[stages.{name}]\ntype = "collect_pairs"\ndataset = "{name}"\n' for name in OPEN) + f"""
[stages.bias]
pairs = {json.dumps(OPEN)}
"""

with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    (work / "style.toml").write_text(TOML)
    done = subprocess.run([build / "bin/dt2it", "run", "style.toml", "--runs", "runs", "--quiet", "--set", "datasets.povid.count=400"], cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    print(done.stdout[done.stdout.find("What style tells"):])
    told = {}
    for stage in ("distil.bias", "bias"):
        for one in json.loads((work / "runs/style/stages" / stage / "bias.json").read_text())["sets"]:
            told[one["stage"]] = one["sources"][0]
    if len(told) != 3 + len(OPEN):
        sys.exit(f"measured: {sorted(told)}")
    style = {name: one["told_by"]["style"]["accuracy"] for name, one in told.items()}
    ours = style["distil"]
    if not ours < 0.6:
        sys.exit(f"style tells {ours:.1%} of our labels")
    if not style["povid"] > 0.72 or not style["povid"] > ours + 0.15:
        sys.exit(f"style tells only {style['povid']:.1%} of povid, which is made to be biased ({ours:.1%} of ours)")
    if not style["mmpr"] > ours:
        sys.exit(f"style tells only {style['mmpr']:.1%} of mmpr, which is made to be biased ({ours:.1%} of ours)")
    if max(style[name] for name in ("distil.pairs_listwise", "distil.pairs_diversity")) > 0.6:
        sys.exit(f"style tells {style} after the steps before")
    # The listwise judge likes what comes first; it sees candidates in an order of their own for each prompt, so labels do not.
    places = {name: one["earlier_chosen"] for name, one in told.items()}
    if max(abs(places[name] - 0.5) for name in ("distil.pairs_listwise", "distil.pairs_diversity", "distil")) > 0.03:
        sys.exit(f"position bias: {places}")
