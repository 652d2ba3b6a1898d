"""Resolves names of a real sd-server with the resolvers of libcs and languages. Each does all checks of checks.py.

    SD_ETC=DIRECTORY netns.sh run.py SD_SERVER NAME=COMMAND...

A probe is a program that reads lines `KIND NAME` and answers each with a line of JSON: a list of addresses (KIND is A,
AAAA, or ADDRESSES for both), a list of [priority, weight, port, target] (SRV), or {"error": CLASS, "text": …}. The class is
no-such-name, no-data, try-again, failure, or unsupported if the resolver has no such call. Each resolv.conf starts a new
probe, because not every resolver notices changes.

What a resolver cannot do is listed in not-applicable.json with a reason. It is tried anyway, and must fail unless the reason
is about old versions (`before …`).
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
LONGEST = 60  # seconds; the time limit of an answer

# These do not tell their callers whether the name or only the type is missing. musl does since 1.2.4.
ONE_ERROR_FOR_BOTH = ("musl", "go", "go-cgo", "node-lookup")


class Probe:
    """A program that uses one resolver."""

    def __init__(self, name: str, command: str, home: Path):
        self._name = name
        self.said = ""  # the last answer, verbatim
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
        """The sorted answers, or the class of the error."""
        try:
            print(kind, name, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._lost("the probe has ended") from None
        if not select.select([self._process.stdout], [], [], LONGEST)[0]:
            raise self._lost(f"{kind} {name}: no answer after {LONGEST} s")
        self.said = self._process.stdout.readline()
        if not self.said:
            raise self._lost(f"{kind} {name}: the probe ended")
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
    """Whether the resolver with this name reports this error this way."""
    either = (NO_DATA, NO_SUCH_NAME)
    return found == error or (name in ONE_ERROR_FOR_BOTH and found in either and error in either)


def canonical(answer: str | list) -> str | list:
    """Addresses as in RFC 5952, names in lower case and without the final dot."""
    if isinstance(answer, list):
        *numbers, target = answer
        return [*numbers, target.lower().removesuffix(".")]
    return str(ipaddress.ip_address(answer))


def run(name: str, command: str, world: World, home: Path) -> dict[str, str | None]:
    """The result of each check of a resolver: None, or a complaint."""
    results: dict[str, str | None] = {}
    for conf, group in itertools.groupby(CHECKS, lambda identifier: CHECKS[identifier].resolv_conf):
        RESOLV_CONF.write_text(conf)
        with contextlib.closing(Probe(name, command, home)) as probe:
            for identifier in group:
                try:
                    results[identifier] = CHECKS[identifier].run(world, probe)
                except Failure as failure:
                    results[identifier] = f"{failure}\nThe probe printed {probe.said}with this resolv.conf:\n{conf}"
    return judged(results, NOT_APPLICABLE.get(name, {}))


def judged(results: dict[str, str | None], reasons: dict[str, str]) -> dict[str, str | None]:
    """The results without those listed in not-applicable.json."""
    kept = {identifier: complaint for identifier, complaint in results.items() if identifier not in reasons}
    for identifier, reason in reasons.items():
        if identifier not in results:
            kept[identifier] = "checks.py has no such check"
        elif results[identifier] is None and not reason.startswith("before "):
            kept[identifier] = "the check passed: remove it from not-applicable.json"
    return kept


def main() -> int:
    binary, *clients = sys.argv[1:]
    etc = os.environ.get("SD_ETC")
    if not etc or not os.path.samefile(RESOLV_CONF, Path(etc) / RESOLV_CONF.name):
        sys.exit(f"{RESOLV_CONF} is not the file of SD_ETC; run this with tests/lib/netns.sh")
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
