#!/usr/bin/env bash
# The local queue through the AWS CLI.   sdk_cli.sh AWS ENDPOINT
set -euo pipefail
aws=$1 endpoint=$2
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=
sqs() { "$aws" --endpoint-url "$endpoint" --output text sqs "$@"; }
name=cli-$$-$(date +%s).fifo
url=$(sqs create-queue --queue-name "$name" --attributes FifoQueue=true --query QueueUrl)
sqs send-message --queue-url "$url" --message-body hello --message-group-id g --message-deduplication-id 1 >/dev/null
[ "$(sqs receive-message --queue-url "$url" --wait-time-seconds 5 --query 'Messages[0].Body')" = hello ]
sqs get-queue-attributes --queue-url "$url" --attribute-names All >/dev/null
sqs delete-queue --queue-url "$url"
echo "AWS CLI ok"
