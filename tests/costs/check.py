"""Bounds the instructions of the largest request of each list and map of the API. callgrind counts them.

    check.py SD_COSTS

Sends each request with a body of BYTES and of twice that size. It passes if the second takes at most GROWTH times the
instructions, and at most PER_BYTE per byte. So no part of a request may be compared with every other part, or with
everything in the registry. Instructions do not depend on other work of the machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

BYTES = 64 << 10
GROWTH = 2.5
PER_BYTE = 400
# Instructions that any call may take, however short it is: it may scan and answer a page of entries.
FREE = 8_000_000
FUNCTION = "sd_costs::measured_call"


def counted(program: str) -> list[tuple[int, str, int]]:
    """The size in bytes, the name and the instructions of each call."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={FUNCTION}"]
        command += [f"--dump-after={FUNCTION}", program, str(BYTES), str(2 * BYTES)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"{' '.join(command)} ends with {run.returncode}:\n{run.stderr[-2000:]}")
        calls = [line.split(" ", 1) for line in run.stdout.splitlines()]
        dumps = sorted(Path(directory).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        costs = []
        for dump in dumps:
            text = dump.read_text()
            if f"desc: Trigger: --dump-after={FUNCTION}" in text:
                costs.append(int(re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)[1]))
        if len(costs) != len(calls):
            sys.exit(f"expected a count for each of {len(calls)} calls, got {len(costs)}")
        return [(int(octets), name, cost) for (octets, name), cost in zip(calls, costs)]


def main(program: str) -> int:
    calls = counted(program)
    passed = failed = 0
    for (octets, name, once), (more, _, twice) in zip(calls[::2], calls[1::2]):
        complaints = []
        if twice > GROWTH * once + FREE:
            complaints.append(f"{more} bytes cost {twice / once:.1f} times as much as {octets}")
        if twice > PER_BYTE * more + FREE:
            complaints.append(f"{twice / more:.0f} instructions per byte")
        passed, failed = passed + (not complaints), failed + bool(complaints)
        if complaints:
            print(f"FAILED {name}: {'; '.join(complaints)}")
    dearest = sorted(calls, key=lambda call: call[2] / call[0], reverse=True)
    for octets, name, cost in dearest[:5]:
        print(f"{cost / octets:6.0f} instructions per byte: {name}, {octets} bytes")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
