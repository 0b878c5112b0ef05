# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the three suites' published scripts, written again from what is known of them, against `dt2it evaluate` on
invented files: to the last printed digit. Usage: check.py DT2IT WORK_FOLDER [TRIALS]

What the scripts are: vl-rewardbench/VL_RewardBench cal.py; facebookresearch/multimodal_rewardbench scripts/2_get_accuracy.py;
Kwai-YuanQi/MM-RLHF llava/eval/cal_performance_mmreweard_bench.py; the DT2IT-MRM authors' compute_metric.py; lmms-eval's tasks
vl_rewardbench and multimodal_rewardbench; VLMEvalKit's vl_rewardbench."""
import base64
import csv
import json
import math
import pathlib
import random
import re
import subprocess
import sys
from collections import Counter

dt2it, work = sys.argv[1], pathlib.Path(sys.argv[2])
trials = int(sys.argv[3]) if len(sys.argv) > 3 else 12
checked = 0
GROUPS = ["general", "hallucination", "reasoning"]
PREFIXES = ["hallucination_", "RLAIF-V-", "RLHF-", "mathverse_", "mmmu_val-", "wildvision-", "jailbreak_", "svit", "rlaif-", "Hallucination_"]
KEYWORDS = ["mcq", "long", "short", "safety", "video"]
CATEGORIES = ["open_generation/correctness_task", "open_generation/preference_task", "knowledge", "reasoning", "safety", "vqa"]
WORDS = "the red café \U0001f600 日本 box is <image>\n on a \"table\" it's \\ here".split(" ")


def same(what, ours, theirs):
    global checked
    checked += 1
    if ours != theirs:
        sys.exit(f"{what}: ours {ours!r}, theirs {theirs!r} (files in {work})")


def lines(path, records):
    path.write_text("".join(json.dumps(r, ensure_ascii=random.random() < .5) + "\n" for r in records), encoding="utf-8")
    return path


def evaluate(suite, data, stored, *more):
    words = [dt2it, "evaluate", suite, "--data", str(data), "--model", f"replay:{stored}", "--json", *more]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    return json.loads(done.stdout)


def by_name(metrics):
    return {m["name"]: dict(m, value=float(m["value"])) for m in metrics}  # 0.0 is written as 0


def text():
    return " ".join(random.choice(WORDS) for _ in range(random.randint(1, 6)))


# ---- VL-RewardBench

def vl_group(identifier, lower=False):
    prefix = re.split("[_-]", identifier)[0]
    prefix = prefix.lower() if lower else prefix
    names = {"hallucination": 1, "RLAIF": 1, "RLHF": 1, "mathverse": 2, "mmmu": 2}
    if lower:
        names.update(rlaif=1, rlhf=1)
    return GROUPS[names.get(prefix, 0)]


def vl_rows():
    rows = []
    for n in range(random.randint(12, 50)):
        kind = random.random()
        if rows and kind < .15:
            row = dict(random.choice(rows))  # an equal row
            if kind < .1:
                row["human_ranking"] = row["human_ranking"][::-1]  # with the other label
            if kind < .05:
                row["response"] = [text() + " a", text() + " b"]  # or about other responses
        else:
            row = {"id": random.choice(PREFIXES) + str(random.randint(0, 30)), "query": text(), "response": [text() + " 1", text() + " 2"],
                   "human_ranking": random.choice([[0, 1], [0, 1], [1, 0]]), "models": ["m", "n"], "judge": "human"}
        rows.append(row)
    return rows


def vl_reply():
    n = random.choice([1, 1, 1, 2, 2, 2, 3])
    return random.choice([f"Overall Judgment: Answer {n} is better.", f"**Overall Judgment:**\nAnswer **{n}** is the slightly better one.",
                          f"Therefore, answer {n} is better", f"Overall Judgment: Answer {n} is slightly better",
                          f"Therefore Answer {3 - min(n, 2)} is better? No. Overall Judgment: Answer {n} is better",
                          f"Answer {n} is better.", "Both are fine.", "", f"Overall Judg\nment: Answer {n} is\n better"]
                         if random.random() < .25 else [f"Overall Judgment: Answer {n} is better."])


def judgement(reply):
    found = re.search(r"(overall judgment|therefore).*answer\s*(\d+)\s*is\s*(the\s*)?(slightly\s*)?better",
                      reply.replace("\n", "").replace("*", ""), re.I)
    return int(found.group(2)) if found else None


def rejected_place(row, order):
    return row["human_ranking"].index(1 if order == 0 else 0) + 1


def vl_official(samples, most):
    """[(k, printed figures)] in the script's own order of drawing; samples: (row, order, reply), row after row."""
    random.seed(1234)
    printed = {}
    for k in [1, 3, 5, 7, 9] + ([] if most in (1, 3, 5, 7, 9) else [most]):
        data = list(samples)
        for i in range(len(data)):
            j = random.randint(0, len(data) - 1)
            data[i], data[j] = data[j], data[i]
        seen = {}
        for row, order, reply in data:
            key = row["id"] + row["query"] + "\t".join(sorted(row["response"]))
            votes = seen.setdefault(key, [vl_group(row["id"]), Counter()])[1]
            if sum(votes.values()) and sum(votes.values()) >= k:
                continue
            number = judgement(reply)
            votes["none" if number is None else "reject" if number == rejected_place(row, order) else "agree"] += 1
        right, total = Counter(), Counter()
        for group, votes in seen.values():
            if votes["none"] or votes["agree"] == votes["reject"]:
                continue
            total[group] += 1
            right[group] += votes["agree"] > votes["reject"]
        if k <= most:
            printed[k] = (right, total, len(seen))
    return printed


def vl_judges():
    rows, k = vl_rows(), random.choice([1, 2, 3, 5, 9, 10, 12])
    samples = [(row, random.choice([0, 1]), vl_reply()) for row in rows for _ in range(k)]
    samples = [(row, order, reply if isinstance(reply, str) else reply[0]) for row, order, reply in samples]
    data = lines(work / "vl.jsonl", rows)
    stored = lines(work / "vl_out.jsonl", [
        {"id": row["id"], "query": row["query"], "response": row["response"], "ranking": row["human_ranking"], "models": row["models"],
         "meta": {"filter_choice": reply, "random_number": order}} for row, order, reply in samples])
    state = random.getstate()
    result = evaluate("vl_rewardbench", data, stored)
    ours = by_name(result["metrics"])
    same("vl convention", result["convention"], "official")
    for count, (right, total, keys) in vl_official(samples, k).items():
        suffix = "" if count == k else f"@{count}"
        if sum(total.values()):
            overall = sum(right.values()) / sum(total.values())
            same(f"vl overall{suffix}", (ours["overall_accuracy" + suffix]["correct"], ours["overall_accuracy" + suffix]["total"]),
                 (sum(right.values()), sum(total.values())))
            same(f"vl printed{suffix}", "{:.2f}".format(ours["overall_accuracy" + suffix]["value"] * 100), "{:.2f}".format(overall * 100))
        if all(total[g] for g in GROUPS):
            macro = sum(right[g] / total[g] for g in reversed(GROUPS)) / 3
            same(f"vl macro{suffix}", "{:.2f}".format(ours["macro_accuracy" + suffix]["value"] * 100), "{:.2f}".format(macro * 100))
        if not suffix:
            for g in GROUPS:
                if total[g]:
                    same(f"vl {g}", "{:.2f}".format(100.0 * ours["accuracy/" + g]["correct"] / ours["accuracy/" + g]["total"]),
                         "{:.2f}".format(100.0 * right[g] / total[g]))
            same("vl undecided", ours["undecided"]["correct"], keys - sum(total.values()))
    random.setstate(state)
    vl_third_parties(rows, samples, k, result["conventions"])


def vl_third_parties(rows, samples, k, conventions):
    for name in ("lmms", "vlmeval"):
        scores, draw = {}, random.Random(0)
        for n, row in enumerate(rows):
            parity = sum(len(r) for r in row["response"]) % 2
            mine = samples[n * k:(n + 1) * k]
            _, order, reply = next((s for s in mine if s[1] == parity), mine[0])
            number = judgement(reply)
            if name == "vlmeval" and number not in (1, 2):
                number = None
            better = 3 - rejected_place(row, order)
            if number is None and name == "lmms":
                guess = draw.choice([1, 2])
                number = guess if order == parity else 3 - guess  # the lot is about the order wanted
            scores.setdefault(vl_group(row["id"], lower=name == "lmms"), []).append(float(number == better))
        figures = {g: sum(v) / len(v) for g, v in scores.items()}
        ours = by_name(conventions[name])
        same(f"vl {name} macro", ours["macro_accuracy"]["value"], sum(figures.values()) / len(figures))
        same(f"vl {name} overall", ours["overall_accuracy"]["value"], sum(sum(v) for v in scores.values()) / len(rows))
        for g, value in figures.items():
            same(f"vl {name} {g}", ours["accuracy/" + g]["value"], value)
        same(f"vl {name} headline", conventions[name][0]["name"], "macro_accuracy" if name == "lmms" else "overall_accuracy")


def rewards(count):
    """Some ties, some that are no numbers."""
    values = [random.choice([0.0, 1.0, -2.5, 0.1 + 0.2, 0.3]) if random.random() < .5 else random.gauss(0, 3) for _ in range(2 * count)]
    pairs = [[values[2 * i], values[2 * i + 1]] for i in range(count)]
    for pair in pairs:
        if random.random() < .05:
            pair[random.randint(0, 1)] = math.nan
    return pairs


def vl_scalar():
    rows = vl_rows()
    given = rewards(len(rows))
    for row, pair in zip(rows, given):
        row["pair"] = pair
    data = lines(work / "vl.jsonl", [{k: v for k, v in row.items() if k != "pair"} for row in rows])
    stored = lines(work / "vl_rewards.jsonl", [{"chosen": c, "rejected": r} for c, r in given])
    ours = by_name(evaluate("vl_rewardbench", data, stored)["metrics"])
    right, total = Counter(), Counter()
    for row in rows:
        total[vl_group(row["id"])] += 1
        right[vl_group(row["id"])] += row["pair"][0] > row["pair"][1]
    accuracies = [right[g] / total[g] for g in GROUPS if total[g]]
    same("vl scalar macro", repr(ours["macro_accuracy"]["value"]), repr(sum(accuracies) / len(accuracies)))
    same("vl scalar overall", repr(ours["overall_accuracy"]["value"]), repr(sum(right.values()) / len(rows)))
    same("vl ties", ours["ties"]["correct"], sum(c == r for c, r in given))
    same("vl failed", ours["failed"]["correct"], sum(c != c or r != r for c, r in given))


def vl_carriers():
    """The same records as JSON lines, as a table, and as Parquet give the same."""
    rows = vl_rows()
    pixels = [base64.b64encode(bytes(f"picture {n} " * 8, "ascii")).decode() for n in range(3)]
    given = rewards(len(rows))
    stored = lines(work / "vl_rewards.jsonl", [{"chosen": c, "rejected": r} for c, r in given])
    plain = evaluate("vl_rewardbench", lines(work / "vl.jsonl", rows), stored)
    with open(work / "vl.tsv", "w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, delimiter="\t", lineterminator="\n")
        table.writerow(["index", "image", "question", "response", "answer", "category"])
        for n, row in enumerate(rows):
            table.writerow([n, pixels[n] if n < 3 else str(random.randint(0, 2)), row["query"], str(row["response"]), str(row["human_ranking"]),
                            vl_group(row["id"]).capitalize()])
    table = evaluate("vl_rewardbench", work / "vl.tsv", stored)
    same("vl table", table["metrics"], plain["metrics"])
    same("vl table images", table["absent_media"], 0)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return
    folder = work / "hf"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    half = len(rows) // 2
    for shard, part in enumerate([rows[:half], rows[half:]]):
        columns = {name: [row[name] for row in part] for name in part[0]}
        columns["image"] = [{"bytes": base64.b64decode(pixels[0]), "path": None} for _ in part]
        columns["ground_truth"] = ["" for _ in part]
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / "data" / f"test-0000{shard}-of-00002.parquet")
    shards = evaluate("vl_rewardbench", folder, stored)
    same("vl parquet", shards["metrics"], plain["metrics"])
    same("vl parquet images", shards["absent_media"], 0)


# ---- Multimodal RewardBench

def mrb_rows():
    return [{"ID": random.choice(["mathvista_", "Math", "emma_", "pairs", "PAIRS_", "hateful_", "x"]) + str(random.randint(0, 9)),
             "Category": random.choice(CATEGORIES), "Text": random.choice([None, text()]), "Image": "images/a/b.png", "Output1": text(),
             "Output2": text(), "Better": random.choice(["Output1", "Output2"])} for _ in range(random.randint(5, 60))]


def mrb_accuracies(rows, right):
    found = {}
    for row, correct in zip(rows, right):
        name = row["Category"]
        if name == "safety":
            name = "safety_bias" if row["ID"].lower().startswith("pairs") else "safety_toxicity"
        elif name == "reasoning":
            name = "math" if row["ID"].lower().startswith("math") else "coding"
        name = {"open_generation/correctness_task": "correctness", "open_generation/preference_task": "preference"}.get(name, name)
        for at in ("overall_accuracy", "accuracy/" + name):
            found.setdefault(at, []).append(int(correct))
    return found


def mrb_compare(what, metrics, rows, right):
    ours = by_name(metrics)
    for name, values in mrb_accuracies(rows, right).items():
        one = ours[name]
        same(f"{what} {name}", f"{one['correct']} / {one['total']} = {one['value']!r}", f"{sum(values)} / {len(values)} = {sum(values) / len(values)!r}")


def multimodal():
    rows = mrb_rows()
    data = work / "all_data.json"
    data.write_text(json.dumps(rows), encoding="utf-8")
    replies = [random.choice(["[[A]]", "... [[B]]", "[[B]] and [[A]]", "[A]", ""]) for _ in rows]
    labels = ["B" if row["Better"] == "Output2" else "A" for row in rows]
    stored = lines(work / "mrb_out.jsonl", [{"Label": label, "output": reply, "ID": row["ID"], "Meta": {"Category": row["Category"]}}
                                            for row, label, reply in zip(rows, labels, replies)])
    result = evaluate("multimodal_rewardbench", data, stored)
    draw = random.Random(123)
    said = ["A" if "[[A]]" in r else "B" if "[[B]]" in r else "A" if draw.random() < .5 else "B" for r in replies]
    mrb_compare("mrb official", result["metrics"], rows, [s == label for s, label in zip(said, labels)])
    said = ["A" if "[[A]]" in r else "B" if "[[B]]" in r else "A" for r in replies]
    mrb_compare("mrb lmms", result["conventions"]["lmms"], rows, [s == label for s, label in zip(said, labels)])
    plain = [("[[A]]" in r or "[[B]]" in r) and (("[[A]]" in r) == (label == "A")) for r, label in zip(replies, labels)]
    mrb_compare("mrb strict", result["conventions"]["strict"], rows, plain)
    again = json.loads(subprocess.run([dt2it, "evaluate", "multimodal_rewardbench", "--data", str(data), "--model", f"replay:{stored}",
                                       "--convention", "strict", "--json"], capture_output=True, text=True, check=True).stdout)
    same("mrb by name", again["metrics"], result["conventions"]["strict"])
    given = rewards(len(rows))
    stored = lines(work / "mrb_rewards.jsonl", [{"ID": row["ID"], "rewards": pair} for row, pair in zip(rows, given)])
    mrb_compare("mrb scalar", evaluate("multimodal_rewardbench", data, stored)["metrics"], rows, [c > r for c, r in given])


# ---- MM-RLHF-RewardBench

def mm_rlhf():
    rows = []
    for _ in range(random.randint(5, 60)):
        path = "/".join(random.choice(KEYWORDS + ["x", "y"]) for _ in range(random.randint(1, 2))) + "/1.png"
        rows.append({"id": f"set/q{random.randint(0, 20)}", random.choice(["image", "video"]): path, "prompt": text(), "chosen": "a", "rejected": "b"})
    given = rewards(len(rows))
    data = lines(work / "mm_reward_bench.jsonl", rows)
    stored = lines(work / "mm_rewards.jsonl", [dict(row, rewards=pair) for row, pair in zip(rows, given)])
    ours = by_name(evaluate("mm_rlhf_rewardbench", data, stored)["metrics"])

    def words(row):
        return [k for k in KEYWORDS if k in row.get("image", "") or k in row.get("video", "")]
    questions = {}
    for row, (c, r) in zip(rows, given):
        questions.setdefault(row["id"], []).append((row, c > r))
    right = {q: all(correct for _, correct in members) for q, members in questions.items()}
    in_question = {q: [k for k in KEYWORDS if any(k in words(row) for row, _ in members)] for q, members in questions.items()}
    same("mm accuracy", "{:.5f}".format(ours["accuracy"]["value"]), "{:.5f}".format(sum(c > r for c, r in given) / len(rows)))
    same("mm acc+", repr(ours["acc_plus"]["value"]), repr(sum(right.values()) / len(questions)))
    for k in KEYWORDS:
        mine = [c > r for row, (c, r) in zip(rows, given) if words(row)[:1] == [k]]
        if not mine:
            same("mm no rows", "accuracy/" + k in ours, False)
            continue
        same(f"mm {k}", repr(ours["accuracy/" + k]["value"]), repr(sum(mine) / len(mine)))
        same(f"mm {k} rows", ours["accuracy/" + k]["total"], len(mine))
        plus = sum(right[q] for q in questions if in_question[q][:1] == [k]) / sum(k in found for found in in_question.values())
        same(f"mm {k} acc+", repr(ours["acc_plus/" + k]["value"]), repr(plus))


for trial in range(trials):
    for part in (vl_judges, vl_scalar, vl_carriers, multimodal, mm_rlhf):
        random.seed(1000 * trial + len(part.__name__))
        part()
print(f"{checked} figures equal in {trials} trials")
