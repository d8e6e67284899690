#!/usr/bin/env bash
# Installs what hookferry is measured against.   benches/peers/setup.sh DIR
#   DIR/soketi        soketi 1.6.1, by tests/interop/soketi/setup.sh
#   DIR/node_worker   a plain Node.js worker on the current sqs-consumer and undici
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: setup.sh DIR}"
dir=$(cd "$1" && pwd)
"$here/../../tests/interop/soketi/setup.sh" "$dir/soketi"
mkdir -p "$dir/node_worker"
cp "$here/node_worker/"* "$dir/node_worker/"
cd "$dir/node_worker"
npm install --no-audit --no-fund --ignore-scripts --loglevel=error
# They want a newer Node.js than distributions have; it comes as a package like any other.
ln -sf "$(ls -d "$PWD"/node_modules/node-linux-*/bin/node | head -1)" node
./node -e 'const v = (name) => JSON.parse(require("fs").readFileSync(`node_modules/${name}/package.json`)).version;
  console.log(`sqs-consumer ${v("sqs-consumer")}, undici ${v("undici")} on Node.js ${process.version}`)'
