#!/usr/bin/env bash
# sockudo's own webhook and queue crates as the producer, hookferry behind them, set up as docs/producing.md
# says; Pusher's own library as the judge of what arrives.   tests/interop/sockudo/run.sh [WORK_DIR]
# Installs what it needs into WORK_DIR. Fails, with 77, where something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
. "$here/../services.sh"

cp "$here/package.json" "$here/check.js" "$work/"
(cd "$work" && get "Pusher's library" npm install --no-audit --no-fund --ignore-scripts --loglevel=error)
hookferry=$("$root/tests/binary.sh")
target=${CARGO_TARGET_DIR:-$root/target}
(cd "$here" && get "sockudo's crates" cargo fetch --quiet --locked)
(cd "$here" && CARGO_TARGET_DIR=$target/sockudo cargo build --quiet --locked)

port=$(free_port)
endpoint=http://127.0.0.1:$port
"$hookferry" local-queue --listen "127.0.0.1:$port" --queue webhooks.fifo --dead-letter >"$work/queue.log" 2>&1 &
pids+=($!)
wait_for "$endpoint/"
# As docs/producing.md says: sockudo gives the jobs of AI events no deduplication id.
curl -fsS "$endpoint/" -o "$work/attributes.json" -H 'content-type: application/x-amz-json-1.0' \
  -H 'x-amz-target: AmazonSQS.SetQueueAttributes' \
  -d "{\"QueueUrl\":\"$endpoint/000000000000/webhooks.fifo\",\"Attributes\":{\"ContentBasedDeduplication\":\"true\"}}"
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1
produced=$("$target/sockudo/debug/hookferry-sockudo-interop" "$endpoint" 3)
(cd "$work" && node check.js "$endpoint" "$hookferry" "$produced")
