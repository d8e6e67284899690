"""The local queue through boto3, which verifies every digest.   sdk_boto3.py ENDPOINT"""

import sys
import time

import boto3
from botocore.exceptions import ClientError

sqs = boto3.client(
    "sqs", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local"
)
name = f"boto3-{time.time_ns()}.fifo"
url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", "VisibilityTimeout": "5"})["QueueUrl"]
assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url
assert url in sqs.list_queues(QueueNamePrefix="boto3-")["QueueUrls"]
attributes = {
    "text": {"DataType": "String", "StringValue": "é \U0001f600"},
    "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
}
first = sqs.send_message(
    QueueUrl=url, MessageBody="one <&>\r\n", MessageGroupId="g", MessageDeduplicationId="1", MessageAttributes=attributes
)
again = sqs.send_message(QueueUrl=url, MessageBody="one", MessageGroupId="g", MessageDeduplicationId="1")
assert again["MessageId"] == first["MessageId"], "deduplicated"
batch = sqs.send_message_batch(
    QueueUrl=url,
    Entries=[
        {"Id": str(n), "MessageBody": str(n), "MessageGroupId": "g", "MessageDeduplicationId": f"b{n}"} for n in range(5)
    ],
)
assert len(batch["Successful"]) == 5
received = sqs.receive_message(
    QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, MessageAttributeNames=["All"], AttributeNames=["All"]
)["Messages"]
assert [message["Body"] for message in received] == ["one <&>\r\n", "0", "1", "2", "3", "4"]
assert received[0]["MessageAttributes"] == attributes
assert received[0]["Attributes"]["MessageGroupId"] == "g"
sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=received[5]["ReceiptHandle"], VisibilityTimeout=0)
deleted = sqs.delete_message_batch(
    QueueUrl=url,
    Entries=[{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(received[:5])]
    + [{"Id": "bad", "ReceiptHandle": "nonsense"}],
)
assert len(deleted["Successful"]) == 5 and deleted["Failed"][0]["Code"] == "ReceiptHandleIsInvalid", deleted
assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "4"
sqs.tag_queue(QueueUrl=url, Tags={"a": "b"})
assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
sqs.purge_queue(QueueUrl=url)
sqs.delete_queue(QueueUrl=url)
try:
    sqs.receive_message(QueueUrl=url)
    raise AssertionError("the queue is gone")
except sqs.exceptions.QueueDoesNotExist:
    pass
except ClientError as error:
    raise AssertionError(error) from error
print("boto3 ok")
