# SPDX-License-Identifier: Apache-2.0
"""Reward models of dt2it from Python; see docs/python.md."""
from __future__ import annotations

import base64
import io
import numbers
import os
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Sequence, Union

import numpy as np

from . import _dt2it

__all__ = ["Pairs", "Record", "RewardModel", "Rewards", "__version__", "load_pairs"]
__version__: str = _dt2it.version()

# A path, the bytes of an encoded image, a PIL image, or pixels (height x width x 3, uint8).
Image = Union[str, "os.PathLike[str]", bytes, Any]
# {"role": ..., "content": "text" or [{"type": "text", "text": ...} or {"type": "image", "image": IMAGE} ...]}
Message = Mapping[str, Any]
Conversation = Sequence[Message]

_TEXT, _FILE, _BYTES, _VIDEO = range(4)
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Rewards:
    """One reward for each answer: NaN where `statuses` is not "ok", and `details` says why. An array to numpy."""

    values: np.ndarray
    statuses: tuple[str, ...]
    details: tuple[str, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: Any) -> Any:
        return self.values[at]

    def __iter__(self) -> Iterator[float]:
        return iter(self.values)

    @property
    def ok(self) -> bool:
        return all(status == "ok" for status in self.statuses)

    def to_pandas(self) -> Any:
        import pandas

        return pandas.DataFrame({"reward": self.values, "status": self.statuses, "detail": self.details})


@dataclass(frozen=True)
class Record:
    """A record of a file: a question with its answers (of a pair: chosen, rejected)."""

    row: int
    id: str
    status: str
    detail: str
    messages: tuple[dict[str, Any], ...]
    candidates: tuple[str, ...]
    pair: bool

    @property
    def chosen(self) -> str:
        self._need_pair()
        return self.candidates[0]

    @property
    def rejected(self) -> str:
        self._need_pair()
        return self.candidates[1]

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def _need_pair(self) -> None:
        if not (self.pair and self.ok):
            raise ValueError(f"record {self.row} is no pair" if self.ok else f"record {self.row} is {self.status}: {self.detail}")


class Pairs(Sequence[Record]):
    """Records of a file, in its order. Images that the file carries lie in a temporary folder as long as this object lives."""

    def __init__(self, held: Any):
        self._held = held
        self._records = [
            Record(row, id_, status, detail, tuple({"role": role, "content": [_part_back(*part) for part in content]} for role, content in messages),
                   tuple(candidates), pair)
            for row, id_, status, detail, messages, candidates, pair in held.all()]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, at: Any) -> Any:
        return self._records[at]

    def to_pandas(self) -> Any:
        import pandas

        return pandas.DataFrame([
            {"row": r.row, "id": r.id, "status": r.status, "question": _text_of(r.messages),
             "chosen": r.chosen if r.pair and r.ok else None, "rejected": r.rejected if r.pair and r.ok else None, "candidates": list(r.candidates)}
            for r in self._records])


class RewardModel:
    """A reward model in memory. Threads may share it; their calls wait for each other, without the interpreter's lock.

    path: a checkpoint's folder, or KIND[:ARG] as for `dt2it score --model`. Further arguments are the model's parameters
    (device="cuda", dtype="bfloat16", image_max_pixels=1310720 ...; see docs/reference.md).
    """

    def __init__(self, path: str | os.PathLike[str], *, plugin_path: Sequence[str] = (), **parameters: Any):
        text = os.fspath(path)
        if os.path.isdir(text) and "threads" not in parameters:
            parameters["threads"] = os.cpu_count() or 1
        self._model = _dt2it.Model(text, [f"{name}={_toml(value)}" for name, value in parameters.items()], list(plugin_path))

    def score(self, messages: Conversation | Sequence[Conversation], images: Sequence[Any] | None = None,
              candidates: Sequence[str] | None = None) -> Rewards:
        """Rewards of answers.

        messages: one conversation that ends with the assistant's answer, or a list of such conversations; one reward for each.
        With `candidates`, one conversation that ends with the user; one reward for each candidate, the prompt computed once.
        images: for each place of an image in order: a part {"type": "image"} without one of its own, or "<image>" in a text. For
        several conversations a list of images each. Places and images must be equal in number.
        """
        single = len(messages) == 0 or isinstance(messages[0], Mapping)
        conversations: list[Any] = [messages] if single else list(messages)
        pictures: list[Any] = [images] if single else list(images) if images is not None else [None] * len(conversations)
        if len(pictures) != len(conversations):
            raise ValueError(f"{len(conversations)} conversations, but images for {len(pictures)}")
        requests = []
        for conversation, some in zip(conversations, pictures):
            turns = list(conversation)
            if candidates is not None:
                if not single:
                    raise ValueError("candidates belong to one conversation")
                answers = [str(candidate) for candidate in candidates]
            else:
                if not turns or turns[-1].get("role") != "assistant":
                    raise ValueError("a conversation must end with the assistant's answer, or candidates be given")
                answers = [_text_of([turns.pop()])]
            requests.append((_turns(turns, some), answers))
        flat = [reward for row in self._model.score(requests) for reward in row]
        return Rewards(np.array([value for value, _, _ in flat], dtype=np.float64), tuple(status for _, status, _ in flat),
                       tuple(detail for _, _, detail in flat))

    def score_pairs(self, pairs: Sequence[Record]) -> np.ndarray:
        """Rewards of chosen and rejected, an array of shape (len(pairs), 2); NaN where there is none."""
        result = np.full((len(pairs), 2), np.nan)
        usable = [(i, pair) for i, pair in enumerate(pairs) if pair.ok and pair.pair]
        rows = self._model.score([(_turns(pair.messages, None), list(pair.candidates)) for _, pair in usable])
        for (i, _), row in zip(usable, rows):
            result[i] = [value for value, _, _ in row]
        return result


def load_pairs(path: str | os.PathLike[str], *, format: str = "auto", media_root: str | os.PathLike[str] = "", limit: int = 0,
               plugin_path: Sequence[str] = ()) -> Pairs:
    """The records of a file or folder in any form that `dt2it score` reads; limit 0: all."""
    return Pairs(_dt2it.Records(os.fspath(path), format, os.fspath(media_root), limit, list(plugin_path)))


def _toml(value: Any) -> str:
    """A parameter as a setting says it; numbers may be NumPy's."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${")  # no variable
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in text) + '"'


def _text_of(messages: Sequence[Message]) -> str:
    texts = []
    for message in messages:
        content = message["content"]
        texts.append(content if isinstance(content, str) else "".join(part["text"] for part in content if part["type"] == "text"))
    return "\n".join(texts)


def _image(image: Image) -> tuple[int, str | bytes]:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _BYTES, bytes(image)
    if isinstance(image, (str, os.PathLike)):
        text = os.fspath(image)
        if text.startswith("data:"):
            return _BYTES, base64.b64decode(text.split(",", 1)[1])
        return _FILE, text
    if isinstance(image, np.ndarray):
        from PIL import Image as pil

        image = pil.fromarray(image)
    if hasattr(image, "save"):
        stored = io.BytesIO()
        image.convert("RGB").save(stored, format="PNG")
        return _BYTES, stored.getvalue()
    raise TypeError(f"an image must be a path, bytes, a PIL image or an array, not {type(image).__name__}")


def _part_back(kind: str, data: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "text", "text": data}
    return {"type": "video", "video": data} if kind == "video_file" else {"type": "image", "image": data}


def _turns(messages: Sequence[Message], images: Sequence[Image] | None) -> list[tuple[str, list[tuple[int, str | bytes]]]]:
    left = list(images) if images is not None else None
    count = len(left) if left is not None else 0

    def next_image() -> tuple[int, str | bytes]:
        if not left:
            raise ValueError(f"more places for images than the {count} that were given")
        return _image(left.pop(0))

    turns = []
    for message in messages:
        if message.get("role") not in _ROLES:
            raise ValueError(f"role {message.get('role')!r} is not known ({', '.join(_ROLES)})")
        content = message["content"]
        parts: list[tuple[int, str | bytes]] = []
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = part["type"]
            if kind == "text":
                pieces = part["text"].split("<image>") if left is not None else [part["text"]]
                for number, piece in enumerate(pieces):
                    if number:
                        parts.append(next_image())
                    if piece:
                        parts.append((_TEXT, piece))
            elif kind == "image":
                parts.append(_image(part["image"]) if part.get("image") is not None else next_image())
            elif kind == "image_url":
                url = part["image_url"]
                parts.append(_image(url["url"] if isinstance(url, Mapping) else url))
            elif kind == "video":
                parts.append((_VIDEO, os.fspath(part["video"])))
            else:
                raise ValueError(f"a part of type {kind!r} is not known (text, image, image_url, video)")
        turns.append((message["role"], parts))
    if left:
        raise ValueError(f"{len(left)} of {count} images have no place: put <image> into a text, or parts of type image")
    return turns
