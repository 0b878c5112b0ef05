# SPDX-License-Identifier: Apache-2.0
"""compare.py FOLDER: exits with 1 unless TensorBoard reads the curves that tests/core/util/tensorboard_test.cpp wrote."""
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

folder = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(folder))
events.Reload()
if set(events.Tags()["scalars"]) != {"train/loss", "train/margin"}:
    sys.exit(f"other tags: {events.Tags()}")
loss = [(event.step, event.value) for event in events.Scalars("train/loss")]
expected = [(step, float(step)) for step in range(1, 8)] + [(step, step + 0.5) for step in range(8, 13)]
if loss != expected:
    sys.exit(f"other values: {loss}")
if {event.value for event in events.Scalars("train/margin")} != {float(np.float32(-1.0 / 3))}:
    sys.exit("other values of train/margin")
# A file torn by a killed process keeps what is whole (checksums are checked by the reader).
first = sorted(folder.iterdir())[0]
whole = len(list(RawEventFileLoader(str(first)).Load()))
torn = folder.parent / "torn"
torn.write_bytes(first.read_bytes()[:-3])
if len(list(RawEventFileLoader(str(torn)).Load())) != whole - 1:
    sys.exit("a torn file is read otherwise")
print(f"{len(loss)} steps, {whole} events of the first file read back")
