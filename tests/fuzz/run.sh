#!/usr/bin/env bash
# Fuzzes each target for a while: job, plan, config, sqs.   tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# Works from a clean checkout. What the fuzzer finds on its way goes to CORPUS_DIR, or to a directory
# that is thrown away: the committed corpus is read and never written. A crash leaves its input in
# tests/fuzz/artifacts/TARGET; `cargo fuzz run --fuzz-dir tests/fuzz -s none TARGET FILE` repeats it.
#
# Without AddressSanitizer: the crate forbids unsafe code, so there is nothing for it to see that a
# panic does not show; and without it a stable toolchain does, and a run is several times as fast.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-30}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(job plan config sqs)
here=tests/fuzz
# Named to cargo-fuzz, so that it is the one that is looked into below, whatever CARGO_TARGET_DIR is.
built=${CARGO_TARGET_DIR:-$here/target}

. tests/get.sh
get_packages g++:g++
command -v cargo-fuzz >/dev/null || get cargo-fuzz cargo install --quiet --locked cargo-fuzz

if ! cargo metadata --locked --format-version 1 --manifest-path "$here/Cargo.toml" >/dev/null; then
  printf '%s/Cargo.lock is out of date; this brings it up, to be committed:\n' "$here" >&2
  printf 'cargo metadata --format-version 1 --manifest-path %s/Cargo.toml >/dev/null\n' "$here" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=${CORPUS_DIR:-$work/corpus}

host=$(rustc -vV | sed -n 's/^host: //p')
cargo fuzz build --fuzz-dir "$here" --target-dir "$built" -s none
for target in "${targets[@]}"; do
  mkdir -p "$found/$target" "$here/artifacts/$target"
  "$built/$host/release/$target" -max_total_time="$seconds" -timeout=10 \
    -dict="$here/dictionaries/$target.dict" -artifact_prefix="$here/artifacts/$target/" \
    "$found/$target" "$here/corpus/$target" >"$work/log" 2>&1 || {
    grep -v '^#' "$work/log"
    printf '\n%s: a finding; its input is in %s/artifacts/%s\n' "$target" "$here" "$target" >&2
    exit 1
  }
  printf '%-6s %s\n' "$target" "$(grep '^Done' "$work/log")"
done
