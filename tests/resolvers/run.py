"""Asks the resolvers of libcs and languages for names of a real sd-server: each does all the checks of checks.py.

    SD_ETC=DIRECTORY netns.sh run.py SD_SERVER NAME=COMMAND...

A probe is a program that reads lines `KIND NAME` and answers each with a line of JSON: a list of addresses (KIND is A,
AAAA, or ADDRESSES for both), a list of [priority, weight, port, target] (SRV), or {"error": CLASS, "text": …}. The class is
no-such-name, no-data, try-again, failure, or unsupported where the resolver has no call for it. A probe is started anew for
each resolv.conf: not every resolver notices that it changes.

What a resolver cannot do stands in not-applicable.json with the reason. It is tried all the same, and must not pass, unless
the reason is one of old versions (`before …`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from checks import CHECKS, NO_DATA, NO_SUCH_NAME, Failure
from cloud import World, serving_and_forwarding
from session import Report, end_group, environment

HERE = Path(__file__).resolve().parent
NOT_APPLICABLE: dict[str, dict[str, str]] = json.loads((HERE / "not-applicable.json").read_text())
RESOLV_CONF = Path("/etc/resolv.conf")
LONGEST = 60  # seconds that an answer may take

# Their callers are not told whether it is the name that is missing or the type; musl tells since 1.2.4.
DO_NOT_TELL = ("musl", "go", "go-cgo", "node-lookup")


class Probe:
    """A program that asks one resolver."""

    def __init__(self, name: str, command: str, home: Path):
        self._name = name
        self.said = ""  # the last answer, as it came
        self._errors = home / f"{name}.err"
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                shlex.split(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
                env=environment(home),
                start_new_session=True,
            )

    def ask(self, kind: str, name: str) -> list | str:
        """The answers, in order, or the class of the error."""
        try:
            print(kind, name, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._lost("it has ended") from None
        if not select.select([self._process.stdout], [], [], LONGEST)[0]:
            raise self._lost(f"{kind} {name}: no answer after {LONGEST} s")
        self.said = self._process.stdout.readline()
        if not self.said:
            raise self._lost(f"{kind} {name}: it ended")
        answer = json.loads(self.said)
        return answer["error"] if isinstance(answer, dict) else sorted(map(canonical, answer))

    def means(self, found: list | str, error: str) -> bool:
        return means(self._name, found, error)

    def _lost(self, why: str) -> Failure:
        return Failure(f"{why}: {self._errors.read_text(errors='replace')[-2000:]}")

    def close(self) -> None:
        end_group(self._process, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def means(name: str, found: list | str, error: str) -> bool:
    """Whether this is how the resolver of this name tells the error."""
    either = (NO_DATA, NO_SUCH_NAME)
    return found == error or (name in DO_NOT_TELL and found in either and error in either)


def canonical(answer: str | list) -> str | list:
    """Addresses in the form of RFC 5952, names in lower case and without the dot at their end."""
    if isinstance(answer, list):
        *numbers, target = answer
        return [*numbers, target.lower().removesuffix(".")]
    return str(ipaddress.ip_address(answer))


def run(name: str, command: str, world: World, home: Path) -> dict[str, str | None]:
    """What became of each check of a resolver: None, or a complaint."""
    results: dict[str, str | None] = {}
    for conf, group in itertools.groupby(CHECKS, lambda identifier: CHECKS[identifier].resolv_conf):
        RESOLV_CONF.write_text(conf)
        with contextlib.closing(Probe(name, command, home)) as probe:
            for identifier in group:
                try:
                    results[identifier] = CHECKS[identifier].run(world, probe)
                except Failure as failure:
                    results[identifier] = f"{failure}\nIt said {probe.said}Under\n{conf}"
    return judged(results, NOT_APPLICABLE.get(name, {}))


def judged(results: dict[str, str | None], reasons: dict[str, str]) -> dict[str, str | None]:
    """The results without those for which there is a reason."""
    kept = {identifier: complaint for identifier, complaint in results.items() if identifier not in reasons}
    for identifier, reason in reasons.items():
        if identifier not in results:
            kept[identifier] = "checks.py does not know it"
        elif results[identifier] is None and not reason.startswith("before "):
            kept[identifier] = "it is done: drop the reason in not-applicable.json"
    return kept


def main() -> int:
    binary, *clients = sys.argv[1:]
    etc = os.environ.get("SD_ETC")
    if not etc or not os.path.samefile(RESOLV_CONF, Path(etc) / RESOLV_CONF.name):
        sys.exit(f"{RESOLV_CONF} is not that of SD_ETC, and may be the machine's: tests/lib/netns.sh puts it there")
    report = Report()
    with (
        tempfile.TemporaryDirectory(prefix="sd-resolvers.") as home,
        serving_and_forwarding(binary, Path(home)) as world,
    ):
        for client in clients:
            name, command = client.split("=", 1)
            started = time.monotonic()
            results = run(name, command, world, Path(home))
            report.checks(name, results, len(CHECKS), started, NOT_APPLICABLE.get(name, {}))
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
