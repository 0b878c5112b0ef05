# SPDX-License-Identifier: Apache-2.0
"""The peers of the benchmark `jsonl`: peer.py json|orjson|orjson_records IN OUT prints the seconds it took;
peer.py same A B exits with 1 unless both files hold equal values line by line."""
import dataclasses
import json
import sys
import time


def through_json(source, target):
    with open(source, encoding="utf-8", newline="\n") as lines, open(target, "w", encoding="utf-8", newline="\n") as out:
        for line in lines:
            out.write(json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":")))
            out.write("\n")


def through_orjson(source, target):
    import orjson
    with open(source, "rb") as lines, open(target, "wb") as out:
        for line in lines:
            out.write(orjson.dumps(orjson.loads(line)))
            out.write(b"\n")


@dataclasses.dataclass(slots=True)
class Media:
    id: str = ""
    mime: str = ""
    width: int = 0
    height: int = 0
    source: str = ""


@dataclasses.dataclass(slots=True)
class Response:
    id: str = ""
    text: str = ""
    mllm: str = ""
    origin: str = ""
    finish_reason: str = ""


@dataclasses.dataclass(slots=True)
class Prompt:
    id: str = ""
    messages: list = dataclasses.field(default_factory=list)
    reference: str = ""
    source: str = ""
    domain: str = ""


@dataclasses.dataclass(slots=True)
class Pair:
    id: str
    prompt: Prompt
    chosen: Response
    rejected: Response
    source: str
    strength: float
    strengths: list
    extra: dict


PAIR_KEYS = {"id", "prompt", "chosen", "rejected", "source", "strength", "strengths"}


def record_of(json_pair):
    prompt = Prompt(**json_pair["prompt"])
    for message in prompt.messages:
        for part in message["content"]:
            if part["type"] == "image":
                part["image"] = Media(**part["image"])
    return Pair(json_pair["id"], prompt, Response(**json_pair["chosen"]), Response(**json_pair["rejected"]),
                json_pair["source"], json_pair["strength"], json_pair["strengths"],
                {key: value for key, value in json_pair.items() if key not in PAIR_KEYS})


def json_of(pair):
    return {"id": pair.id, "prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected,
            "source": pair.source, "strength": pair.strength, "strengths": pair.strengths, **pair.extra}


def through_orjson_records(source, target):
    import orjson
    with open(source, "rb") as lines, open(target, "wb") as out:
        for line in lines:
            out.write(orjson.dumps(json_of(record_of(orjson.loads(line)))))
            out.write(b"\n")


def same(first, second):
    with open(first, encoding="utf-8", newline="\n") as a, open(second, encoding="utf-8", newline="\n") as b:
        return all(json.loads(x) == json.loads(y) for x, y in zip(a, b, strict=True))


if __name__ == "__main__":
    mode, source, target = sys.argv[1:]
    if mode == "same":
        sys.exit(0 if same(source, target) else 1)
    begin = time.perf_counter()
    {"json": through_json, "orjson": through_orjson, "orjson_records": through_orjson_records}[mode](source, target)
    print(f"{time.perf_counter() - begin:.6f}")
