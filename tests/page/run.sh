#!/usr/bin/env bash
# The status page in a real headless Chromium, under load, under failure and at rest.
#   tests/page/run.sh [DIR]    node modules and screenshots go to DIR
# Needs node, npm and chromium; CHROMIUM names another binary.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
. "$here/../get.sh"
chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ]; then
  get_packages chromium:chromium
  chromium=$(command -v chromium)
fi
cd "$here/../.."
binary=$(tests/binary.sh)
cp "$here/package.json" "$here/page.mjs" "$here/world.mjs" "$dir/"
cd "$dir"
get "the browser's driver" npm install --silent --no-audit --no-fund
HOOKFERRY=$binary CHROMIUM=$chromium SCREENSHOTS=$dir node --test-reporter=spec --test page.mjs
