"""Runs cargo-mutants on a sample of mutants. See tests/mutants/run.

    sample.py CARGO_MUTANTS DIRECTORY [--count N] [--seed N] [--package NAME]... [--list]

DIRECTORY is for builds and for the reports of cargo-mutants.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("sd-dns", "sd-http", "sd-server")
# The packages that test a mutant which its own package does not notice.
OTHERS = {"sd-dns": ["sd-tests", "sd-server"], "sd-http": ["sd-tests", "sd-server"], "sd-server": []}
OUTCOMES = ("caught", "missed", "timeout", "unviable")


class Mutant(NamedTuple):
    package: str
    name: str


def listed(tool: str, packages: list[str]) -> list[Mutant]:
    command = [tool, "mutants", "--list", "--json", *(word for name in packages for word in ("--package", name))]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sorted({Mutant(mutant["package"], mutant["name"]) for mutant in json.loads(output)})


def tested(tool: str, mutants: list[Mutant], by: list[str], out: Path) -> dict[str, list[Mutant]]:
    """Tests mutants of one package, and returns them by outcome."""
    package = mutants[0].package
    out.mkdir(parents=True, exist_ok=True)
    command = [tool, "mutants", "--all-features", "--no-times", "--package", package, "--output", str(out)]
    command += [word for name in by for word in ("--test-package", name)]
    # Python's re.escape leaves < and > alone. Escaped, they would be word boundaries in Rust.
    command += [word for mutant in mutants for word in ("--re", f"^{re.escape(mutant.name)}$")]
    # 2: some were missed. 3: some timed out. Others are errors.
    status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    if status not in (0, 2, 3):
        sys.exit(f"cargo-mutants ended with {status} for {package}, tested by {', '.join(by)}")
    names = {mutant.name: mutant for mutant in mutants}
    # cargo-mutants also tests the deletions of other fields beside a chosen one.
    found = {
        outcome: [names[line] for line in (out / "mutants.out" / f"{outcome}.txt").read_text().splitlines() if line in names]
        for outcome in OUTCOMES
    }
    lost = names.keys() - {mutant.name for some in found.values() for mutant in some}
    if lost:
        sys.exit(f"cargo-mutants reports no outcome for {sorted(lost)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--package", action="append", choices=PACKAGES)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    every = listed(options.tool, options.package or list(PACKAGES))
    sample = sorted(random.Random(options.seed).sample(every, min(options.count, len(every))))
    if options.list:
        print("\n".join(mutant.name for mutant in sample))
        return 0
    # Each mutant is built in a copy of the tree. The dependencies are built once.
    os.environ["CARGO_TARGET_DIR"] = str(options.directory / "target")
    os.environ.setdefault("PROPTEST_RNG_SEED", "1")
    total: dict[str, list[Mutant]] = {outcome: [] for outcome in OUTCOMES}
    for package in PACKAGES:
        mutants = [mutant for mutant in sample if mutant.package == package]
        found = tested(options.tool, mutants, [package], options.directory / package) if mutants else {}
        missed, others = found.get("missed", []), OTHERS[package]
        if missed and others:
            again = tested(options.tool, missed, others, options.directory / f"{package}-others")
            # Its own package could build the mutant, so it counts as missed if the other packages cannot.
            found["missed"] = again.pop("missed") + again.pop("unviable")
            for outcome, more in again.items():
                found[outcome] += more
        for outcome, some in found.items():
            total[outcome] += some
    print()
    for outcome in "missed", "timeout":
        for mutant in total[outcome]:
            print(f"{outcome:<8} {mutant.name}")
    counts = ", ".join(f"{len(total[outcome])} {outcome}" for outcome in OUTCOMES)
    print(f"{len(sample)} of {len(every)} mutants by seed {options.seed}: {counts}")
    return 1 if total["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
