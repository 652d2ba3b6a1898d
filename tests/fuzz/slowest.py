"""Counts the instructions of the slowest inputs that sd-fuzz has found, beside those of a plain one.

    slowest.py SD_FUZZ CORPUS FOUND TARGET...

CORPUS and FOUND are directories with one of each TARGET: the corpus, and what `sd-fuzz mutate` has written. Instructions are the
same in every run, so a bound on them is one on work and not on time. callgrind (valgrind) counts them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from session import Report  # noqa: E402


COUNTED = "sd_fuzz::replayed"
"""The function that does the work for an input. Patterns would not do for --dump-after."""


class Bound(NamedTuple):
    """How much an input may cost, as a multiple of what a plain one costs."""

    plain: str
    """The name of the plain input in the corpus."""
    refused: float
    taken: float
    octets: int | None
    """Costs are of each octet, and an input of fewer octets than this may cost as much as one that has them. None: costs are
    of the whole input, however long it is."""


BOUNDS = {
    # A decoder reads each octet once.
    "json": Bound("RegisterInstance", 6, 6, 128),
    "cbor": Bound("RegisterInstance", 6, 6, 128),
    # What is refused costs about as much as a query; what is answered, by the records of the answer.
    "dns": Bound("a", 3, 10, None),
    "upstream": Bound("a", 4, 4, 128),
}


def instructions(fuzz: str, target: str, files: list[Path]) -> list[int]:
    """What each input costs. callgrind counts within one function, and writes and forgets the count whenever it returns."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "counts")
        options = [f"--callgrind-out-file={out}", f"--toggle-collect={COUNTED}", f"--dump-after={COUNTED}"]
        command = ["valgrind", "--tool=callgrind", *options, fuzz, "replay", target, *map(str, files)]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
        return [_total(Path(f"{out}.{number}")) for number in range(1, len(files) + 1)]


def _total(path: Path) -> int:
    total = re.search(r"^totals: (\d+)$", path.read_text(), re.MULTILINE)
    if not total or total[1] == "0":
        raise RuntimeError(f"{path} counts nothing: is there a function {COUNTED}?")
    return int(total[1])


def main(fuzz: str, corpus: Path, found: Path, targets: list[str]) -> int:
    report = Report()
    for target in targets:
        bound = BOUNDS[target]
        slow = sorted(path for path in (found / target).iterdir() if path.name != "failed")
        plain = corpus / target / bound.plain
        try:
            counts = instructions(fuzz, target, [plain, *slow])
        except (RuntimeError, OSError) as error:
            report.fail(f"{target}: the instructions are counted", str(error))
            continue
        costs = [
            count if bound.octets is None else count / max(path.stat().st_size, bound.octets)
            for path, count in zip([plain, *slow], counts)
        ]
        each = "" if bound.octets is None else ", for each octet"
        for kind in "refused", "taken":
            limit = getattr(bound, kind)
            rows = [
                (cost / costs[0], f"{count} instructions, {path.stat().st_size} octets, {path}")
                for path, count, cost in zip(slow, counts[1:], costs[1:])
                if path.name.startswith(kind)
            ]
            ratio, row = max(rows, default=(0, "none"))
            step = f"{target}, {kind}: the slowest costs {ratio:.1f} times a plain one{each} ({row})"
            report.check(step, [f"expected  at most {limit} times"] if not 0 < ratio <= limit else [])
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
