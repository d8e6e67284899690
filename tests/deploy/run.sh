#!/usr/bin/env bash
# What is in deploy/ and .github/: linted, deployed to an emulator, and held against the binary that it is for.
#   tests/deploy/run.sh [WORK_DIR [PYTEST_ARGUMENT…]]
# Installs what it needs into WORK_DIR. Fails, with 77, where something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
shift $(($# > 0 ? 1 : 0))
mkdir -p "$work"
work=$(cd "$work" && pwd)
. "$here/../get.sh"

[ -x "$work/venv/bin/cfn-lint" ] || {
  python3 -m venv "$work/venv"
  get "the linters and the emulator" "$work/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
}
# promtool alone, unpacked: the package's installation would start a Prometheus.
[ -x "$work/usr/bin/promtool" ] || command -v promtool >/dev/null || {
  get promtool apt-get update -q >/dev/null
  (cd "$work" && get promtool apt-get download -q -o APT::Sandbox::User=root prometheus >/dev/null && dpkg-deb -x prometheus_*.deb .)
}
export PATH=$work/usr/bin:$PATH
HOOKFERRY=$("$root/tests/binary.sh")
export HOOKFERRY

cd "$root"
echo "== cfn-lint"
"$work/venv/bin/cfn-lint" --non-zero-exit-code informational deploy/cloudformation.yaml
echo "== hadolint"
"$work/venv/bin/hadolint" deploy/Dockerfile
echo "== actionlint"
"$work/venv/bin/actionlint" -shellcheck= .github/workflows/*.yml
echo "== promtool"
promtool check rules deploy/alerts.yaml
promtool test rules tests/deploy/alerts_test.yaml
echo "== the files against the binary"
PYTHONDONTWRITEBYTECODE=1 "$work/venv/bin/python" -m pytest -q -p no:cacheprovider -W ignore::UserWarning "$here" "$@"
