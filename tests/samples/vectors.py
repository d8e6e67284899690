"""The vectors by Python's own libraries.   vectors.py DIRECTORY"""

import glob
import hashlib
import hmac
import json
import sys

seen = 0
for path in sorted(glob.glob(f"{sys.argv[1]}/*.json")):
    for vector in json.load(open(path, encoding="utf-8")):
        payload = bytes.fromhex(vector["payload_hex"])
        assert payload == vector["payload"].encode(), vector["about"]
        signature = hmac.new(vector["secret"].encode(), payload, hashlib.sha256).hexdigest()
        assert signature == vector["signature"], vector["about"]
        assert f'"payload":{vector["payload"]},"originalPusherSignature":"{signature}"' in vector["body"]
        assert hashlib.sha256(vector["body"].encode()).hexdigest() == vector["deduplication_id"], vector["about"]
        seen += 1
assert seen >= 19
print(f"Python: {seen} vectors ok")
