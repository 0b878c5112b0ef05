# SPDX-License-Identifier: Apache-2.0
"""FLOPs of matrix products and attention for one record of a case, and the speed of this machine's matrix product on one
thread: what the ceilings of the benchmark `score` are made of."""
import time

import torch

TOKENS, SIDE = 266, 1064  # of a picture: merged tokens, patches
HIDDEN, LAYERS, KV, INNER, VOCABULARY = 768, 12, 192, 2304, 7424
TOWER, DEPTH, TOWER_INNER = 256, 6, 956
TEMPLATE = 8  # tokens of the chat template around question and answer


def language(tokens, pairs, layers=LAYERS):
    """`pairs`: how many (query, key) pairs attention computes in a layer."""
    linear = 2 * (2 * HIDDEN * HIDDEN + 2 * HIDDEN * KV + 3 * HIDDEN * INNER)
    return layers * (tokens * linear + 4 * pairs * HIDDEN)


def tower(pictures):
    block = 2 * SIDE * (4 * TOWER * TOWER + 2 * TOWER * TOWER_INNER) + 4 * SIDE * SIDE * TOWER
    merger = 2 * TOKENS * ((4 * TOWER) ** 2 + 4 * TOWER * HIDDEN)
    return pictures * (DEPTH * block + 4 * merger + 2 * SIDE * 1536 * TOWER)


def causal(tokens):
    return tokens * (tokens + 1) / 2


def ours(pictures, responses):
    """One tree; the last layer's queries and MLP for the scored tokens only."""
    prompt = pictures * (TOKENS + 2) + 80 + TEMPLATE - 2
    tokens = prompt + sum(r + 2 for r in responses)
    pairs = causal(prompt) + sum((r + 2) * prompt + causal(r + 2) for r in responses)
    last = 2 * tokens * 2 * HIDDEN * KV
    return language(tokens, pairs, LAYERS - 1) + last + tower(pictures)


def theirs(pictures, responses):
    """A row for each response, padded to the longest, whole squares of attention, pictures for each row, lm_head."""
    longest = pictures * (TOKENS + 2) + 80 + TEMPLATE + max(responses)
    rows = len(responses)
    return rows * (language(longest, longest * longest) + 2 * longest * HIDDEN * VOCABULARY) + tower(pictures * rows)


def peak():
    """FLOP/s of float32 matrix products of the size of the MLP's, the best of some."""
    torch.set_num_threads(1)
    a, b = torch.randn(1024, HIDDEN), torch.randn(HIDDEN, INNER)
    best = float("inf")
    for _ in range(20):
        begin = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begin)
    return 2 * 1024 * HIDDEN * INNER / best


CASES = {"one_image": (1, (130, 110)), "two_images": (2, (9, 9)), "best_of_8": (1, (280,) * 8)}
if __name__ == "__main__":
    rate = peak()
    for name, case in CASES.items():
        print(name, rate / ours(*case), theirs(*case) / ours(*case))
