"""Verifies received webhooks by the reference library of Standard Webhooks.   standard.py ARRIVALS SECRET…"""

import base64
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

path, secrets = sys.argv[1], sys.argv[2:]
with open(path, encoding="utf-8") as lines:
    arrivals = [json.loads(line) for line in lines]
assert arrivals and len({arrival["standard"]["webhook-id"] for arrival in arrivals}) == len(arrivals)
for secret in secrets:
    # An app's secret, as the library expects it.
    library = Webhook("whsec_" + base64.b64encode(secret.encode()).decode())
    for arrival in arrivals:
        assert library.verify(arrival["raw"], arrival["standard"]) == json.loads(arrival["raw"])
        # A capture under another id, or with another body, is not taken.
        for body, headers in (
            (arrival["raw"] + " ", arrival["standard"]),
            (arrival["raw"], {**arrival["standard"], "webhook-id": "another"}),
        ):
            try:
                library.verify(body, headers)
            except WebhookVerificationError:
                continue
            raise AssertionError("a forged webhook was taken")
print(f"Python: {len(arrivals)} webhooks verify under each of {len(secrets)} secrets")
