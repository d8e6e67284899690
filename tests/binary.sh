#!/usr/bin/env bash
# Builds hookferry as the suites run it, and prints the path of the binary.   tests/binary.sh
# HOOKFERRY names another one, and nothing is built then. The example brings the development dependencies: with them
# the features of all dependencies are those of `cargo test`, so that neither builds again what the other has built.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${HOOKFERRY:-}" ]; then
  cargo build --quiet --bin hookferry --example produce >&2
  HOOKFERRY=${CARGO_TARGET_DIR:-target}/debug/hookferry
fi
realpath "$HOOKFERRY"
