#!/usr/bin/env bash
# A real soketi in front, with real Pusher clients; hookferry behind it, with soketi's own block of
# environment; Pusher's own library as the judge of what arrives.   tests/interop/soketi/run.sh [WORK_DIR]
# Over the local queue and over ministack, by both of SQS' protocols. Installs what it needs into
# WORK_DIR. Fails, with 77, where something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
. "$here/../services.sh"

"$here/setup.sh" "$work"
hookferry=$("$root/tests/binary.sh")
start_local_queue "$hookferry"
start_ministack "$work"

export AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE=1
for protocol in json query; do
  for queue in local_queue ministack; do
    (cd "$work/$protocol" && node check.js "$queue" "$protocol" "${!queue}" "$work/node" "$hookferry")
  done
done
