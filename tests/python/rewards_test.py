# SPDX-License-Identifier: Apache-2.0
"""The Python package as its users call it."""
import base64
import inspect
import io
import json
import pathlib
import tempfile
import threading
import time
import typing
import unittest

import numpy as np
from PIL import Image

import dt2it
from dt2it import RewardModel, load_pairs

GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "shared/golden/models/qwen3_vl"


def picture(colour):
    stored = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(stored, format="PNG")
    return stored.getvalue()


class LengthTest(unittest.TestCase):
    def setUp(self):
        self.model = RewardModel("length")

    def test_one_conversation(self):
        rewards = self.model.score([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "four"}])
        self.assertEqual(list(rewards), [4.0])
        self.assertTrue(rewards.ok)
        self.assertEqual(np.asarray(rewards).dtype, np.float64)

    def test_conversations_and_candidates(self):
        chat = [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "Q"}]}]
        self.assertEqual(list(self.model.score([chat + [{"role": "assistant", "content": "a" * n}] for n in (3, 1, 2)])), [3, 1, 2])
        self.assertEqual(list(self.model.score(chat, candidates=["aé", "", "€€€"])), [2, 0, 3])
        frame = self.model.score(chat, candidates=["a"]).to_pandas()
        self.assertEqual(list(frame.columns), ["reward", "status", "detail"])

    def test_wrong_calls_say_what_is_wrong(self):
        user = [{"role": "user", "content": "Q"}]
        for call, words in (
                (lambda: self.model.score(user), "must end with the assistant"),
                (lambda: self.model.score([{"role": "judge", "content": "Q"}], candidates=["a"]), "judge"),
                (lambda: self.model.score(user, images=[b"x"], candidates=["a"]), "have no place"),
                (lambda: self.model.score([{"role": "user", "content": "<image>"}], images=[], candidates=["a"]), "more places"),
                (lambda: RewardModel("no_such_model"), "no_such_model"),
                (lambda: RewardModel("length", colour=1), "colour"),
                (lambda: load_pairs("/nowhere/at/all.json"), "/nowhere/at/all.json")):
            with self.assertRaises(Exception) as caught:
                call()
            self.assertIn(words, str(caught.exception))

    def test_parameters_of_all_types(self):
        for value, words in ((True, "true"), (np.bool_(False), "false"), (3, "3"), (np.int64(3), "3"), (np.float32(0.5), "0.5"),
                             (["a", "b"], '["a", "b"]'), (pathlib.Path("a b"), '"a b"'), ('"\\', '"\\"\\\\"'), ("a\nb", '"a\\u000ab"'),
                             ("${HOME}", '"$${HOME}"')):
            self.assertEqual(dt2it._toml(value), words)
        self.assertEqual(list(RewardModel("constant", value=np.float32(0.5)).score(
            [{"role": "user", "content": "Q"}], candidates=["a"])), [0.5])

    def test_images_of_all_kinds(self):
        red = picture("red")
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            file.write(red)
            file.flush()
            for image in (red, file.name, pathlib.Path(file.name), Image.new("RGB", (4, 4)), np.zeros((4, 4, 3), np.uint8),
                          "data:image/png;base64," + base64.b64encode(red).decode()):
                chat = [{"role": "user", "content": "<image>What?"}]
                self.assertEqual(list(self.model.score(chat, images=[image], candidates=["ab"])), [2])
                chat = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "What?"}]}]
                self.assertEqual(list(self.model.score(chat, candidates=["ab"])), [2])

    def test_type_hints_resolve(self):
        for function in (RewardModel.score, RewardModel.score_pairs, RewardModel.__init__, load_pairs):
            hints = typing.get_type_hints(function)
            self.assertTrue(set(inspect.signature(function).parameters) - {"self"} <= set(hints), function)
        self.assertTrue((pathlib.Path(dt2it.__file__).parent / "py.typed").exists())


class PairsTest(unittest.TestCase):
    def test_records_with_images(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            (path / "a.png").write_bytes(picture("blue"))
            record = {"conversations": [{"from": "human", "value": "<image>What?"}], "chosen": {"from": "gpt", "value": "Blue it is."},
                      "rejected": {"from": "gpt", "value": "Red."}, "images": ["a.png"]}
            (path / "pairs.jsonl").write_text(json.dumps(record) + "\n{broken\n")
            pairs = load_pairs(path / "pairs.jsonl")
        self.assertEqual(len(pairs), 2)
        self.assertEqual((pairs[0].chosen, pairs[0].rejected), ("Blue it is.", "Red."))
        kept = [part["image"] for message in pairs[0].messages for part in message["content"] if part["type"] == "image"]
        self.assertEqual(pathlib.Path(kept[0]).read_bytes(), picture("blue"))  # though the file is gone
        self.assertFalse(pairs[1].ok)
        with self.assertRaises(ValueError):
            pairs[1].chosen
        both = RewardModel("length").score_pairs(pairs)
        self.assertEqual(list(both[0]), [11, 4])
        self.assertTrue(np.isnan(both[1]).all())
        self.assertEqual(list(pairs.to_pandas()["chosen"])[0], "Blue it is.")
        del pairs
        self.assertFalse(pathlib.Path(kept[0]).exists())


@unittest.skipUnless((GOLDEN / "model.safetensors").exists(), "the reference models are not there (../shared/golden)")
class CheckpointTest(unittest.TestCase):
    def test_a_checkpoint_beside_other_threads(self):
        model = RewardModel(GOLDEN, threads=1, head_input="final_norm")
        chat = [{"role": "user", "content": "<image>What is it?"}]
        image = picture("green")
        alone = model.score(chat, images=[image], candidates=["A tree.", "A house."])
        self.assertTrue(alone.ok, alone.details)
        self.assertNotEqual(alone[0], alone[1])
        # While one thread scores, others run Python: the lock is not held.
        ticks, done = 0, threading.Event()

        def score():
            for _ in range(20):
                rewards = model.score(chat, images=[image], candidates=["A tree.", "A house."])
                np.testing.assert_allclose(rewards, alone, atol=1e-5)
            done.set()

        begin = time.perf_counter()
        thread = threading.Thread(target=score)
        thread.start()
        longest, last = 0.0, time.perf_counter()
        while not done.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            longest, last, ticks = max(longest, now - last), now, ticks + 1
        thread.join()
        total = time.perf_counter() - begin
        self.assertGreater(ticks, 20)
        self.assertLess(longest, max(0.5 * total, 0.5))


unittest.main(verbosity=1)
