"""Bounds the instructions of the slowest inputs that sd-fuzz has found, relative to a plain input.

    slowest.py SD_FUZZ CORPUS FOUND TARGET...

CORPUS and FOUND have a directory for each TARGET: the corpus, and the output of `sd-fuzz mutate`. Instructions are the same in
every run, so the bounds do not depend on time. callgrind (valgrind) counts them.
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
"""The function whose instructions count. --dump-after takes no patterns."""


class Bound(NamedTuple):
    """The cost that an input may have, as a multiple of the cost of a plain one."""

    plain: str
    """The file name of the plain input in the corpus."""
    refused: float
    taken: float
    free: int | None
    """Costs are per byte, and inputs shorter than this count as this long. None: costs are per input, however long it is."""


BOUNDS = {
    # A decoder reads each byte once.
    "json": Bound("RegisterInstance", 6, 6, 128),
    "cbor": Bound("RegisterInstance", 6, 6, 128),
    # A refusal costs about as much as a plain query. An answer costs as much as its records.
    "dns": Bound("a", 3, 10, None),
    "upstream": Bound("a", 4, 4, 128),
    # Each octet is looked at once and parsed at most twice.
    "health": Bound("nginx", 4, 4, 128),
}


def instructions(fuzz: str, target: str, files: list[Path]) -> list[int]:
    """The instructions of each input. callgrind counts within one function, and dumps the count whenever it returns."""
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
        raise RuntimeError(f"{path} has no instructions: does the function {COUNTED} exist?")
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
            report.fail(f"{target}: count the instructions", str(error))
            continue
        costs = [
            count if bound.free is None else count / max(path.stat().st_size, bound.free)
            for path, count in zip([plain, *slow], counts)
        ]
        each = "" if bound.free is None else " per byte"
        for kind in "refused", "taken":
            limit = getattr(bound, kind)
            rows = [
                (cost / costs[0], f"{count} instructions, {path.stat().st_size} bytes, {path}")
                for path, count, cost in zip(slow, counts[1:], costs[1:])
                if path.name.startswith(kind)
            ]
            ratio, row = max(rows, default=(0, "none"))
            step = f"{target}, {kind}: the slowest input costs {ratio:.1f} times as much{each} as a plain one ({row})"
            report.check(step, [f"expected  at most {limit} times"] if not 0 < ratio <= limit else [])
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
