"""Waits for the webhooks of the samples and judges them.   check.py ARRIVALS SAMPLES"""

import json
import sys
import time

path, samples = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + 60
while True:
    with open(path, encoding="utf-8") as lines:
        arrivals = [json.loads(line) for line in lines if line.endswith("\n")]
    if len(arrivals) >= 4 * samples or time.monotonic() > deadline:
        break
    time.sleep(0.1)
assert len(arrivals) == 4 * samples, f"{len(arrivals)} arrived of {4 * samples}"
assert all(arrival["verified"] for arrival in arrivals)
payloads = [json.loads(arrival["raw"]) for arrival in arrivals]
members = [payload["events"][0]["user_id"] for payload in payloads if payload["events"][0]["name"] == "member_added"]
assert [member[:2] for member in members] == ["é0", "é1", "é2"] * samples, members
assert sum(payload["events"][0]["name"] == "order.paid" for payload in payloads) == samples
print(f"{samples} samples: {len(arrivals)} webhooks, each group in order, all signatures right")
