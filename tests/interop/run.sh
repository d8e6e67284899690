#!/usr/bin/env bash
# What is not written here, against what is: AWS' own SDKs against the local queue, and the worker
# against an independent SQS emulator.   tests/interop/run.sh [WORK_DIR]
# Installs what it needs into WORK_DIR. Fails, and never skips, where something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() {
  for _ in $(seq 300); do
    if curl -s -o /dev/null "$1"; then return; fi
    sleep 0.1
  done
  echo "nothing answers at $1" >&2
  return 1
}

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check ministack==1.5.33 boto3 awscli
cp "$here/package.json" "$here/sdk_js.js" "$work/"
(cd "$work" && npm install --no-audit --no-fund --ignore-scripts --loglevel=error)
(cd "$root" && cargo build --quiet)

echo "== AWS' SDKs against the local queue"
port=$(free_port)
"${CARGO_TARGET_DIR:-$root/target}/debug/hookferry" local-queue --listen "127.0.0.1:$port" &
pids+=($!)
wait_for "http://127.0.0.1:$port/"
"$work/venv/bin/python" "$here/sdk_boto3.py" "http://127.0.0.1:$port"
"$here/sdk_cli.sh" "$work/venv/bin/aws" "http://127.0.0.1:$port"
(cd "$work" && node sdk_js.js "http://127.0.0.1:$port")

echo "== the conformance suite against ministack"
port=$(free_port)
GATEWAY_PORT=$port BIND_HOST=127.0.0.1 "$work/venv/bin/ministack" >"$work/ministack.log" 2>&1 &
pids+=($!)
wait_for "http://127.0.0.1:$port/"
(cd "$root" && HOOKFERRY_TEST_SQS_ENDPOINT=http://127.0.0.1:$port HOOKFERRY_TEST_SQS_PEER=ministack \
  cargo test --test it -- conformance)

echo "== the worker against ministack"
(cd "$root" && HOOKFERRY_TEST_SQS_ENDPOINT=http://127.0.0.1:$port \
  cargo test --test it -- deliveries shutdown commands::redriven commands::enqueue)
