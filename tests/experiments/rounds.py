#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Method 3 of Table 7 in the mini world over several seeds: D0, D0 and uncurated sets, one round, two rounds.

Prints the label noise of the open sets at each step, how right flips and discards were, the accuracies, and whether
D0 + uncurated < D0 < round 1 < round 2 holds in the mean. Needs a build with LibTorch.

    tests/experiments/rounds.py --seeds 0,1,2
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = ["method3_uncurated", "method3_initial", "method3_iteration1", "method3_iteration2"]  # in the expected order
# Little data and hardly any training: whether it runs and adds up, not how well it does.
TINY = {"datasets.prompts.count": 60, "datasets.rlaif_v.count": 60, "datasets.povid.count": 40, "datasets.vlfeedback.count": 80,
        "datasets.wildvision.count": 40, "datasets.mm_rlhf.count": 60, "datasets.t2i.count": 40,
        "datasets.bench_vl_rewardbench.count": 90, "datasets.bench_multimodal_rewardbench.count": 90,
        "datasets.bench_mm_rlhf_rewardbench.count": 30, "trainers.bradley_terry.max_steps": 8}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", default="runs", help="folder of runs; what is there already is not run again")
    parser.add_argument("--dt2it", default=str(ROOT / "build/dev/bin/dt2it"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="passed on to dt2it run")
    parser.add_argument("--tiny", action="store_true", help="hardly any data and training: for tests")
    return parser.parse_args()


def run(args):
    """The page's data of all rows and seeds: {(row, seed): run}, and {(row, seed): accuracies by column}."""
    seeds = [int(seed) for seed in args.seeds.split(",")]
    settings = [f"{name}={value}" for name, value in TINY.items()] if args.tiny else []
    sets = [word for setting in settings + args.set for word in ("--set", setting)]
    files = [f"experiments/table7/{row}.toml" for row in ROWS]
    subprocess.run([args.dt2it, "run", *files, "--seeds", args.seeds, "--runs", args.runs, *sets], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    keys = [(row, seed) for row in ROWS for seed in seeds]
    folders = [str(pathlib.Path(args.runs) / "table7" / (row + (f"@seed{seed}" if seed else ""))) for row, seed in keys]
    with tempfile.TemporaryDirectory() as scratch:
        data = pathlib.Path(scratch) / "report.json"
        subprocess.run([args.dt2it, "report", *folders, "--json", str(data), "--html", str(data.with_suffix(".html"))], cwd=ROOT,
                       check=True, stdout=subprocess.DEVNULL)
        page = json.loads(data.read_text())
    overview = page["overview"]
    assert len(overview["rows"]) == len(keys) == len(page["runs"]), "one evaluation of each run is expected"
    accuracies = {key: dict(zip(overview["header"], values)) for key, values in zip(keys, overview["values"])}
    return dict(zip(keys, page["runs"])), accuracies, seeds


def added(parts):
    sums = {}
    for part in parts:
        for name, count in part.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def share(part, whole):
    return part / whole if whole else None


def noise(counts):
    return share(counts["wrong"], counts["right"] + counts["wrong"])


def text(value):
    return "    –" if value is None else f"{100 * value:5.1f}"


def mean(values):
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def rounds_of(run):
    """[(curation of new sets, curation of the merged data)], by round."""
    by_name = {curation["stage"].split(".")[-1]: curation for curation in run["curations"]}
    rounds = []
    while f"curated_{len(rounds) + 1}" in by_name:
        rounds.append((by_name[f"curated_{len(rounds) + 1}"], by_name[f"data_{len(rounds) + 1}"]))
    return rounds


def noise_by_step(run):
    """{(round in which it entered, source): [(step, counts of labels)]}; the source "all" is all sets of that round."""
    rounds = rounds_of(run)
    steps = {}
    for number, (new, _) in enumerate(rounds, 1):
        assert new["truth_known"], "the audit of the run writes no truth (truth_of)"
        for source in new["sources"]:
            way = [("as it came", source["whole"]["found"])]
            for curator, step in zip(new["curators"], source["steps"]):
                way.append((f"after {curator}", step["left"]))
            assert way[-1][1] == source["whole"]["left"]
            for later, (_, again) in enumerate(rounds[number - 1:], number):
                for other in again["sources"]:
                    if other["source"] == source["source"]:
                        way.append((f"in data {later}", other["whole"]["left"]))
            steps[number, source["source"]] = way
        ways = [way for (entered, _), way in steps.items() if entered == number]
        steps[number, "all"] = [(step[0][0], added(counts for _, counts in step)) for step in zip(*ways)]
    return steps


def print_noise(runs, seeds):
    print("\nWrong labels of the open sets, per cent of pairs with a better side (mean over seeds; each seed)")
    ways = [noise_by_step(runs["method3_iteration2", seed]) for seed in seeds]
    for key in sorted(ways[0]):
        print(f"  round {key[0]}, {key[1]}")
        before, falls = None, []
        for place, (step, _) in enumerate(ways[0][key]):
            values = [noise(way[key][place][1]) for way in ways]
            now = mean(values)
            print(f"    {step:24s} {text(now)}   ({', '.join(text(value).strip() for value in values)})")
            if before is not None and step != "after consistency":  # which changes no label
                falls.append(now is not None and now < before)
            before = now
        if key[1] == "all":
            print(f"    falls at each step: {'yes' if all(falls) else 'NO'}")


def print_rightness(runs, seeds):
    print("\nHow right flips and discards of the open sets were (counts of all seeds together), per cent")
    print(f"  {'stage, curator':40s} {'flips':>6s} {'right':>6s} {'of wrong':>8s} {'discards':>8s} {'right':>6s} {'of bad':>6s}")
    all_rounds = [rounds_of(runs["method3_iteration2", seed]) for seed in seeds]
    open_sets = {source["source"] for rounds in all_rounds for new, _ in rounds for source in new["sources"]}
    for number in range(len(all_rounds[0])):
        for which in (0, 1):
            curations = [rounds[number][which] for rounds in all_rounds]
            for place, curator in enumerate(curations[0]["curators"]):
                steps = [source["steps"][place] for curation in curations for source in curation["sources"]
                         if source["source"] in open_sets]
                found, flips, discards = (added(step[what] for step in steps) for what in ("found", "flips", "discards"))
                known = lambda counts: counts["right"] + counts["wrong"] + counts["tie"]
                dropped = discards["wrong"] + discards["tie"]
                print(f"  {curations[0]['stage'] + ', ' + curator:40s} {known(flips):6d} {text(share(flips['wrong'], known(flips))):>6s} "
                      f"{text(share(flips['wrong'], found['wrong'])):>8s} {known(discards):8d} {text(share(dropped, known(discards))):>6s} "
                      f"{text(share(dropped, found['wrong'] + found['tie'])):>6s}")


def print_accuracies(accuracies, seeds):
    print("\nAccuracies, per cent: mean (standard deviation) over seeds; each seed")
    means = {}
    for row in ROWS:
        for column in ("Overall Acc", "Mean Acc"):
            values = [accuracies[row, seed][column] for seed in seeds]
            assert all(value is not None for value in values), f"{row}: no {column}"
            means[row, column] = statistics.fmean(values)
            spread = statistics.stdev(values) if len(values) > 1 else 0
            print(f"  {row:20s} {column:12s} {text(means[row, column])} ({100 * spread:.1f})   {', '.join(text(v).strip() for v in values)}")
    for column in ("Overall Acc", "Mean Acc"):
        order = [means[row, column] for row in ROWS]
        steps = [f"{a} < {b}: {'holds' if x < y else 'DOES NOT HOLD'} ({100 * (y - x):+.1f})"
                 for a, b, x, y in zip(["D0+uncurated", "D0", "round 1"], ["D0", "round 1", "round 2"], order, order[1:])]
        print(f"  {column}, in the mean: {'; '.join(steps)}")


def main():
    args = arguments()
    runs, accuracies, seeds = run(args)
    print(f"Method 3 in the mini world, seeds {args.seeds}" + (" (tiny: figures mean nothing)" if args.tiny else ""))
    print_noise(runs, seeds)
    print_rightness(runs, seeds)
    print_accuracies(accuracies, seeds)


if __name__ == "__main__":
    main()
