"""Compares the public items of the published libraries with the lists beside this file.

    check.py SD_PUBLIC_ITEMS [--renew]

Each library has the features that docs.rs shows. `sd_core::door` may change in any release, so it has a list of its own.
--renew writes the lists. Exits with 3 if the installed Rust writes JSON of another version than SD_PUBLIC_ITEMS reads.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from session import Report  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ACCEPT = "To accept this, run `tests/api/run --renew` and add a line to CHANGELOG.md."

# The version of rustdoc's JSON that the crate public-api reads. Rust 1.95 writes it.
JSON_FORMAT = 57

# Lists beside the one of a library: the items in a module that is exempt from semantic versioning.
EXEMPT = {"sd-core": ("sd-core-door", "sd_core::door")}


def libraries() -> tuple[dict[str, list[str]], Path]:
    """The published libraries with the features that docs.rs shows, and cargo's build directory."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    found = {}
    for package in metadata["packages"]:
        is_library = any("lib" in target["kind"] for target in package["targets"])
        # An empty list of registries: `publish = false`.
        if is_library and package["publish"] != []:
            found[package["name"]] = shown_features(package)
    return found, Path(metadata["target_directory"])


def shown_features(package: dict[str, Any]) -> list[str]:
    shown = ((package["metadata"] or {}).get("docs") or {}).get("rs") or {}
    if shown.get("all-features"):
        return [feature for feature in package["features"] if feature != "default"]
    return shown.get("features", [])


def document(found: dict[str, list[str]]) -> bool:
    """Has rustdoc write the JSON of the libraries. Returns whether it did."""
    command = ["cargo", "doc", "--quiet", "--no-deps", "--lib"]
    for name, features in found.items():
        command += ["-p", name, *(f"--features={name}/{feature}" for feature in features)]
    flags = "-Z unstable-options --output-format json --cap-lints allow"
    environment = {**os.environ, "RUSTDOC": str(HERE / "rustdoc"), "RUSTDOCFLAGS": flags}
    return subprocess.run(command, cwd=ROOT, env=environment).returncode == 0


def public_items(tool: str, files: list[Path]) -> list[list[str]]:
    """The items of each file. What has two paths is listed once."""
    output = subprocess.run([tool, *map(str, files)], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    return [list(dict.fromkeys(items.splitlines())) for items in output.split("\n\n")][: len(files)]


def lists(name: str, items: list[str]) -> dict[str, list[str]]:
    """The lists of a library by name."""
    if name not in EXEMPT:
        return {name: items}
    other, module = EXEMPT[name]
    return {
        name: [item for item in items if module not in item],
        other: [item for item in items if module in item],
    }


def main(tool: str, renew: bool) -> int:
    found, target = libraries()
    if not document(found):
        return 1
    files = [target / "doc" / f"{name.replace('-', '_')}.json" for name in found]
    for file in files:
        form = json.loads(file.read_text(encoding="utf-8"))["format_version"]
        if form != JSON_FORMAT:
            print(f"this Rust writes version {form} of rustdoc's JSON; only version {JSON_FORMAT} can be read, of Rust 1.95")
            return 3
    actual: dict[str, list[str]] = {}
    for name, items in zip(found, public_items(tool, files)):
        actual.update(lists(name, items))
    if renew:
        for path in HERE.glob("*.txt"):
            path.unlink()
        for name, items in actual.items():
            (HERE / f"{name}.txt").write_text("".join(f"{item}\n" for item in items), encoding="utf-8")
    report = Report()
    known = {path.stem for path in HERE.glob("*.txt")}
    for name in sorted(known | actual.keys()):
        listed = (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines() if name in known else []
        items = actual.get(name, [])
        # Without the two lines of the head.
        changes = list(difflib.unified_diff(listed, items, n=0, lineterm=""))[2:]
        changes = [line for line in changes if not line.startswith("@@")]
        report.check(f"{name}: {len(items)} public items", changes, "", ACCEPT)
    return report.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:] == ["--renew"]))
