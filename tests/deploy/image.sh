#!/usr/bin/env bash
# Builds the binary as the image does, lays out the image's root, and runs it there as the image's user: a webhook has
# to arrive.   tests/deploy/image.sh [WORK_DIR]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)

. "$here/../get.sh"
get "a root of its own (unshare needs to be allowed)" unshare --mount true

# The command of deploy/Dockerfile.
build=$(sed -nE 's/^RUN touch .* && (cargo build .*)$/\1/p' "$root/deploy/Dockerfile")
(cd "$root" && $build)
binary=${CARGO_TARGET_DIR:-$root/target}/dist/hookferry
rm -rf "$work/root"
sh "$root/deploy/root.sh" "$binary" "$work/root"
python3 "$here/image.py" "$work/root"
