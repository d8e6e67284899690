"""Names the mutants whose files changed: of CHANGED (a path a line) at most MOST, other ones with every COMMIT."""

import os
import pathlib
import re

changed = set(os.environ["CHANGED"].split())
most, commit = int(os.environ["MOST"]), int(os.environ["COMMIT"][:8], 16)
touched = []
for patch in sorted(pathlib.Path("tests/mutants").glob("*.patch")):
    files = re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.M)
    if str(patch) in changed or changed.intersection(files):
        touched.append(patch.stem)
start = commit % max(1, len(touched))
chosen = (touched[start:] + touched[:start])[:most]
print(" ".join(sorted(chosen)))
