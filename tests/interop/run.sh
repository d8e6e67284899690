#!/usr/bin/env bash
# What is not written here, against what is: AWS' own SDKs against the local queue, and the
# conformance suite and the worker against an independent SQS emulator.   tests/interop/run.sh [WORK_DIR]
# Installs what it needs into WORK_DIR. Fails, with 77, where something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
. "$here/services.sh"

python3 -m venv "$work/venv"
get "boto3 and the AWS CLI" "$work/venv/bin/pip" install -q --disable-pip-version-check boto3 awscli
cp "$here/package.json" "$here/sdk_js.js" "$work/"
(cd "$work" && get "the SDKs for JavaScript" npm install --no-audit --no-fund --ignore-scripts --loglevel=error)
hookferry=$("$root/tests/binary.sh")

echo "== AWS' SDKs against the local queue"
start_local_queue "$hookferry"
"$work/venv/bin/python" "$here/sdk_boto3.py" "$local_queue"
"$here/sdk_cli.sh" "$work/venv/bin/aws" "$local_queue"
(cd "$work" && node sdk_js.js "$local_queue")

echo "== the conformance suite against ministack"
start_ministack "$work"
export HOOKFERRY_TEST_SQS_ENDPOINT=$ministack
(cd "$root" && HOOKFERRY_TEST_SQS_PEER=ministack cargo test --test it -- conformance)

echo "== the worker against ministack"
# It takes messages longer than SQS does: attributes are not counted there (see the suite's differences).
# One test at a time: beside the one with thousands of jobs it answers later than a worker waits for it.
(cd "$root" && cargo test --test it -- deliveries shutdown commands::redriven commands::enqueue \
  --skip poison_too_long_for_a_letter_with_attributes --test-threads=1)
