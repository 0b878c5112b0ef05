# SPDX-License-Identifier: Apache-2.0
"""make_pairs.py COUNT FILE: pairs of two sources, about half of them labelled against their answers' lengths."""
import json
import random
import sys

random.seed(0)
WORDS = ("the cat sits on a red mat and looks at the small blue bird which does not move because it is made of wood "
         "while three people walk past").split()
ANSWERS = [" ".join(random.choice(WORDS) for _ in range(random.randint(8, 60))) for _ in range(5000)]
with open(sys.argv[2], "w") as out:
    for i in range(int(sys.argv[1])):
        question = [{"type": "text", "text": f"What is to be seen in picture {i}?"}]
        record = {"id": f"p{i}", "prompt": {"id": f"q{i}", "messages": [{"role": "user", "content": question}]},
                  "chosen": {"id": "a", "text": random.choice(ANSWERS)}, "rejected": {"id": "b", "text": random.choice(ANSWERS)},
                  "source": "one" if i % 3 else "two"}
        out.write(json.dumps(record, separators=(",", ":")) + "\n")
