# SPDX-License-Identifier: Apache-2.0
"""compare.py OURS.jsonl PEER.json: exits with 1 unless all rewards agree to 1e-4."""
import json
import sys

ours = [json.loads(line) for line in open(sys.argv[1])]
peers = json.load(open(sys.argv[2]))
worst = 0.0
assert len(ours) == len(peers) > 0, (len(ours), len(peers))
for own, other in zip(ours, peers):
    assert own["status"] == "ok", own
    rewards = own["rewards"] if "rewards" in own else [own["chosen"], own["rejected"]]
    assert len(rewards) == len(other)
    worst = max(worst, *(abs(a - b) for a, b in zip(rewards, other)))
print(f"largest difference of {sum(map(len, peers))} rewards: {worst:.1e}", file=sys.stderr)
sys.exit(worst > 1e-4)
