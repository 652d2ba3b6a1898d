"""What the largest request of each list and map of the API costs, in instructions, which callgrind counts.

    check.py SD_COSTS

Each request is sent with a body of OCTETS and of twice as many. It passes if twice the octets cost at most GROWTH times the
instructions, and no octet more than PER_OCTET: no part of a request is compared with every other part, nor with all that the
registry holds. Instructions are the same on every machine, whatever else it does.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

OCTETS = 64 << 10
GROWTH = 2.5
PER_OCTET = 400
# What a call costs however short it is: a page of answers, a scan of a page's worth of entries.
FREE = 8_000_000
FUNCTION = "sd_costs::measured_call"


def counted(program: str) -> list[tuple[int, str, int]]:
    """Octets, name and instructions of each call."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={FUNCTION}"]
        command += [f"--dump-after={FUNCTION}", program, str(OCTETS), str(2 * OCTETS)]
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
            sys.exit(f"{len(calls)} calls and {len(costs)} counts")
        return [(int(octets), name, cost) for (octets, name), cost in zip(calls, costs)]


def main(program: str) -> int:
    calls = counted(program)
    passed = failed = 0
    for (octets, name, once), (more, _, twice) in zip(calls[::2], calls[1::2]):
        complaints = []
        if twice > GROWTH * once + FREE:
            complaints.append(f"{more} octets cost {twice / once:.1f} times what {octets} cost")
        if twice > PER_OCTET * more + FREE:
            complaints.append(f"{twice / more:.0f} instructions for an octet")
        passed, failed = passed + (not complaints), failed + bool(complaints)
        if complaints:
            print(f"FAILED {name}: {'; '.join(complaints)}")
    dearest = sorted(calls, key=lambda call: call[2] / call[0], reverse=True)
    for octets, name, cost in dearest[:5]:
        print(f"{cost / octets:6.0f} instructions for an octet: {name}, {octets} octets")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
