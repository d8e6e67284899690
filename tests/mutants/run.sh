#!/usr/bin/env bash
# Shows that the tests bite: puts one deliberate fault after another into a copy of the sources
# and expects the simulation to find it.   tests/mutants/run.sh [NAME …]
# --touching FILE…   those alone that change one of these files
# --since COMMIT     those alone that change a file that differs from that commit
# A patch whose first line is "Test: ARGUMENTS" is for what the simulation cannot see, and is found by those tests.
# A patch that no longer applies as it stands fails too: it has to be brought up to date. Applied by guess it may be
# no fault any more.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
(cd "$root" && tar -cf - --exclude=./target --exclude=./.git .) | tar -xf - -C "$copy"
# A directory of its own: cargo takes the same package at another path for the same.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/mutants RUST_BACKTRACE=0

touched=()
case ${1-} in
--touching) touched=("${@:2}") && set -- ;;
--since)
  mapfile -t touched < <(git -C "$root" diff --name-only "${2:?a commit}") && set --
  [ ${#touched[@]} -gt 0 ] || { echo "nothing differs" && exit 0; }
  ;;
esac
names=("$@")
if [ ${#touched[@]} -gt 0 ]; then
  for file in "${touched[@]}"; do
    case $file in
    # A change of the simulation itself may blind it to any of them.
    tests/it/simulation*) names+=("$here"/*.patch) ;;
    *) mapfile -t -O ${#names[@]} names < <(grep -lxF -- "+++ b/$file" "$here"/*.patch || true) ;;
    esac
  done
  [ ${#names[@]} -gt 0 ] || { echo "no mutant changes one of these files" && exit 0; }
  mapfile -t names < <(for name in "${names[@]}"; do basename "$name" .patch; done | sort -u)
fi
[ ${#names[@]} -gt 0 ] || for patch in "$here"/*.patch; do names+=("$(basename "$patch" .patch)"); done
survived=()
for name in "${names[@]}"; do
  patch -s -F0 -p1 -d "$copy" <"$here/$name.patch"
  read -ra tests < <(sed -n '1s/^Test: //p' "$here/$name.patch" | grep . || echo --test it simulation)
  # Built apart: a mutant that does not compile proves nothing.
  (cd "$copy" && cargo test --quiet "${tests[@]}" --no-run 2>/dev/null)
  if (cd "$copy" && cargo test --quiet "${tests[@]}") >"$copy/out" 2>&1; then
    # Tests that were renamed would let every mutant through.
    grep -qE '^running [1-9]' "$copy/out" || { echo "$name: no test is called ${tests[*]}" >&2 && exit 1; }
    survived+=("$name")
    echo "SURVIVED  $name"
  else
    echo "caught    $name: $(grep -m1 -E '^seed [0-9]+: ' "$copy/out" || grep -m1 -A1 'panicked at' "$copy/out" | tail -1)" | cut -c1-200
  fi
  patch -s -R -F0 -p1 -d "$copy" <"$here/$name.patch"
done
echo "$((${#names[@]} - ${#survived[@]})) caught, ${#survived[@]} survived"
[ ${#survived[@]} -eq 0 ]
