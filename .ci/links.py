"""Holds the documents to what there is: every relative link, and every path in back-ticks, leads somewhere; and README
leads to every document and picture of docs/."""

import pathlib
import re
import subprocess
import sys

tracked = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.split()
there = set(tracked) | {str(parent) for path in tracked for parent in pathlib.Path(path).parents}
PATHS = re.compile(r"`((?:\.?[A-Za-z0-9_-]+/)+[A-Za-z0-9_.*{},-]*)`")

wrong = []
for name in (path for path in tracked if path.endswith(".md")):
    text = pathlib.Path(name).read_text()
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        if str((pathlib.Path(name).parent / target).resolve().relative_to(pathlib.Path.cwd())) not in there:
            wrong.append(f"{name}: link to {target}")
    for path in PATHS.findall(text):
        if re.search(r"[*{]", path) or path.startswith("/"):
            continue
        plain = path.rstrip("/")
        # Written from the root, from src/, or from where the document is: the end of a path is enough.
        if not any(f"/{known}".endswith((f"/{plain}", f"/{plain}.rs")) for known in there):
            wrong.append(f"{name}: path {path}")
readme = pathlib.Path("README.md").read_text()
for path in tracked:
    if re.fullmatch(r"docs/[^/]+\.(md|png)", path) and not re.search(rf"\]\({re.escape(path)}[)#]", readme):
        wrong.append(f"README.md: no link to {path}")
for line in wrong:
    print(line, file=sys.stderr)
print(f"{len([path for path in tracked if path.endswith('.md')])} documents, {len(wrong)} wrong links")
sys.exit(bool(wrong))
