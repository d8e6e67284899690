"""Enqueues webhook jobs with boto3, in order.   produce.py QUEUE_URL [ENDPOINT]"""

import hashlib, hmac, json, os, sys, time
import boto3

url, endpoint = sys.argv[1], (sys.argv[2:] or [None])[0]
app_id, app_key, secret = (os.environ.get(f"DEFAULT_APP_{x}", f"app-{x.lower()}") for x in ("ID", "KEY", "SECRET"))
sqs = boto3.client("sqs", endpoint_url=endpoint, region_name=os.environ.get("AWS_REGION", "us-east-1"))


def enqueue(event, group):
    # Serialised once: these bytes are signed, and these bytes are sent.
    payload = json.dumps({"time_ms": time.time_ns() // 10**6, "events": [event]}, separators=(",", ":"))
    signature = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    head = json.dumps({"appKey": app_key, "appId": app_id}, separators=(",", ":"))[:-1]
    body = f'{head},"payload":{payload},"originalPusherSignature":"{signature}"}}'
    dedup = hashlib.sha256(body.encode()).hexdigest()
    # Waiting for the answer before the next send of the group keeps the order.
    sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=dedup)


for n in range(3):
    member = {"name": "member_added", "channel": "presence-lobby", "user_id": f"é{n} \ud83d\ude00"}
    enqueue(member, f"{app_id}_member_added_webhooks")
enqueue({"name": "order.paid", "order": "7", "total": "12.50"}, f"{app_id}_order-7")
