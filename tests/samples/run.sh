#!/usr/bin/env bash
# Every sample producer against the local queue; the worker behind it, and a receiver that takes what is signed
# rightly alone. The vectors, by the languages' own libraries.   tests/samples/run.sh [WORK_DIR]
# Installs what it needs into WORK_DIR. Fails, with 77, where something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
. "$here/../interop/services.sh"

grep -qx curl <<<"$(php -m 2>/dev/null)" || get_packages php-with-curl:php-cli php-with-curl:php-curl
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
get "boto3 and standardwebhooks" "$work/venv/bin/pip" install -q --disable-pip-version-check boto3 standardwebhooks
cp "$here/package.json" "$here/"*.js "$work/"
(cd "$work" && get "the SDK for JavaScript" npm install --no-audit --no-fund --ignore-scripts --loglevel=error)
hookferry=$("$root/tests/binary.sh")

echo "== the vectors"
python3 "$here/vectors.py" "$root/tests/vectors"
(cd "$work" && node vectors.js "$root/tests/vectors")

port=$(free_port) receiver=$(free_port)
endpoint=http://127.0.0.1:$port
queue=$endpoint/000000000000/samples.fifo
"$hookferry" local-queue --listen "127.0.0.1:$port" --queue samples.fifo >"$work/queue.log" 2>&1 &
pids+=($!)
DEFAULT_APP_SECRET=new-secret "$hookferry" receive --listen "127.0.0.1:$receiver" >"$work/arrivals.jsonl" 2>"$work/receiver.log" &
pids+=($!)
wait_for "$endpoint/"
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1

echo "== the samples"
"$work/venv/bin/python" "$here/produce.py" "$queue" "$endpoint"
(cd "$work" && node produce.js "$queue" "$endpoint")
php "$here/produce.php" "$queue"
"$(dirname "$hookferry")/examples/produce" "$queue" "$endpoint" >/dev/null
# As in the middle of a rotation: the samples sign under the older secret, deliveries go out under both.
QUEUE_SQS_URL=$queue QUEUE_SQS_ENDPOINT=$endpoint METRICS_PORT=0 WEBHOOKS_ALLOWED_NETWORKS=127.0.0.0/8 \
  WEBHOOKS_STANDARD_HEADERS=true DEFAULT_APP_SECRET=new-secret DEFAULT_APP_PREVIOUS_SECRET=app-secret \
  DEFAULT_APP_WEBHOOKS="[{\"url\":\"http://127.0.0.1:$receiver/\"}]" \
  "$hookferry" run >"$work/worker.log" 2>&1 &
pids+=($!)
python3 "$here/check.py" "$work/arrivals.jsonl" 4

echo "== the webhooks, by the reference libraries of Standard Webhooks"
"$work/venv/bin/python" "$here/standard.py" "$work/arrivals.jsonl" new-secret app-secret
(cd "$work" && node standard.js "$work/arrivals.jsonl" new-secret app-secret)
