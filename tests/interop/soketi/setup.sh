#!/usr/bin/env bash
# Installs soketi 1.6.1 twice under DIR, and a Node.js that can load its WebSocket engine.   setup.sh DIR
#   DIR/json    with the aws-sdk that it gets today, which speaks AWS JSON 1.0 to SQS
#   DIR/query   with the oldest aws-sdk that it takes, which speaks the query protocol
#   DIR/node    the Node.js
# The engine's prebuilt binary wants glibc 2.38 or newer; where the system's is older, glibc and
# libstdc++ of the next Debian release are unpacked under DIR (nothing is installed system-wide).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: setup.sh DIR}"
dir=$(cd "$1" && pwd)
. "$here/../../get.sh"

# install NAME [AWS_SDK_VERSION]
install() {
  mkdir -p "$dir/$1"
  cp "$here/package.json" "$here/"*.js "$dir/$1/"
  (
    cd "$dir/$1"
    if [ $# -gt 1 ]; then npm pkg set "overrides.aws-sdk=$2"; fi
    get soketi npm install --no-audit --no-fund --ignore-scripts --loglevel=error
  )
}

# Debian's own packages, one release on, by the mirror and the keys that the machine has.
unpack_glibc() {
  local apt=$dir/apt mirror
  mkdir -p "$apt/lists/partial" "$apt/debs"
  mirror=$(find /etc/apt \( -name '*.list' -o -name '*.sources' \) -exec cat {} + |
    sed -nE 's|^[^#]*(https?://[^ ]+/debian)/?( .*)?$|\1|p' | sed -n 1p)
  echo "deb ${mirror:?no Debian mirror is configured} trixie main" >"$apt/sources.list"
  local options=(-oDir::Etc::sourcelist="$apt/sources.list" -oDir::Etc::sourceparts=- -oDir::State::Lists="$apt/lists"
    -oAPT::Sandbox::User=root)
  get "a newer glibc" apt-get -q "${options[@]}" update >/dev/null
  (cd "$apt/debs" && get "a newer glibc" apt-get -q "${options[@]}" download libc6 libstdc++6 libgcc-s1 >/dev/null)
  for deb in "$apt/debs/"*.deb; do dpkg -x "$deb" "$dir/glibc"; done
}

install json
install query 2.1426.0
node=$(command -v node)
glibc=$(getconf GNU_LIBC_VERSION | awk '{print $2}')
if [ "$(printf '%s\n2.38\n' "$glibc" | sort -V | head -1)" = 2.38 ]; then
  printf '#!/bin/sh\nexec %s "$@"\n' "$node" >"$dir/node"
else
  unpack_glibc
  name=$(uname -m)-linux-gnu
  lib=$dir/glibc/usr/lib/$name
  printf '#!/bin/sh\nexec %s --library-path %s:/usr/lib/%s %s "$@"\n' \
    "$(echo "$lib"/ld-linux-*.so.*)" "$lib" "$name" "$node" >"$dir/node"
fi
chmod +x "$dir/node"
for name in json query; do
  cd "$dir/$name"
  "$dir/node" -e 'require("uWebSockets.js"); const v = (name) => require(name + "/package.json").version;
    console.log(`soketi ${v("@soketi/soketi")} with aws-sdk ${v("aws-sdk")} on Node.js ${process.version}`)'
done
