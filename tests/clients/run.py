"""Runs a client of each AWS SDK against sd-server. Each does all checks of checks.json.

    run.py SD_SERVER NAME=COMMAND...

A client is a program that prints a line for each check: `ok ID` or `not ok ID: reason`. Its environment has the endpoints:

    SD_ENDPOINT, AWS_ENDPOINT_URL   a server whose operations are done at once
    SD_ENDPOINT_TIMED               a server with `--timing aws`
    SD_ENDPOINT_QUOTAS              a server with `--quotas aws`
    SD_ENDPOINT_IPV6                a server on ::1
    SD_KEEP_ALIVE, SD_EXPECT        endpoints for the checks of connections
    SD_PROXY                        the URL of an HTTP proxy

It also has the Region, and an access key that is the client's own account. A check that a client cannot do is listed in
not-applicable.json with a reason, and must not be printed.

Every snippet of sd-http/docs/clients.md must be in the program that its comment names.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "lib"))

from relay import Relay  # noqa: E402
from session import Report, environment, has_ipv6, serving  # noqa: E402

CHECKS: dict[str, str] = json.loads((HERE / "checks.json").read_text())
NOT_APPLICABLE: dict[str, dict[str, str]] = json.loads((HERE / "not-applicable.json").read_text())
PAGE = ROOT / "sd-http" / "docs" / "clients.md"
REGION = "us-east-1"
LONGEST = 600  # seconds; the time limit of a client
VARIABLES = ("XDG_CACHE_HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR", "GOPATH", "GOCACHE", "GOFLAGS", "GOPROXY")


class Evidence:
    """What the runner itself observes of a client."""

    def __init__(self, api: tuple[str, int]):
        self.keep_alive, self.expect, self.proxy = Relay(api), Relay(api), Relay(api)

    def complaint(self, check: str) -> str | None:
        """Why a check that the client reports as ok has failed, if it has."""
        if check == "wire.keep-alive" and (self.keep_alive.connections, len(self.keep_alive.targets)) != (1, 10):
            return f"{len(self.keep_alive.targets)} calls on {self.keep_alive.connections} connections"
        if check == "wire.expect-continue" and not self.expect.continued:
            return "there was no 100 Continue"
        if check == "wire.proxy":
            wanted = {f"{prefix}servicediscovery.{REGION}.amazonaws.com" for prefix in ("", "data-")}
            seen = {re.sub(r"^http://([^/:]+)(:80)?/.*$", r"\1", target) for target in self.proxy.targets}
            if seen != wanted:
                return f"unexpected targets: {self.proxy.targets}"
        return None

    def close(self) -> None:
        for relay in (self.keep_alive, self.expect, self.proxy):
            relay.close()


def run(name: str, command: str, variables: dict[str, str], evidence: Evidence, home: Path) -> dict[str, str | None]:
    """The result of each check of a client: None, or a complaint."""
    kept = {key: os.environ[key] for key in VARIABLES if key in os.environ}
    try:
        ended = subprocess.run(
            shlex.split(command),
            env={**environment(home), **kept, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
        out, status = ended.stdout, ended.returncode
        rest = ended.stderr
    except subprocess.TimeoutExpired as late:
        out, status, rest = (late.stdout or b"").decode(), None, f"still running after {LONGEST} s"
    except OSError as error:
        out, status, rest = "", None, str(error)
    results: dict[str, str | None] = {}
    for line in out.splitlines():
        if found := re.match(r"(not )?ok (\S+?)(?:: (.*))?$", line):
            again = found[2] in results
            results[found[2]] = "the check was printed twice" if again else (found[3] or "no reason") if found[1] else None
        elif line.strip():
            rest += f"\n{line}"
    for check in results:
        results[check] = results[check] or evidence.complaint(check)
    reasons = NOT_APPLICABLE.get(name, {})
    for check in sorted(CHECKS.keys() | results.keys() | reasons.keys()):
        if check not in CHECKS:
            results[check] = "checks.json has no such check"
        elif check in reasons and check in results:
            results[check] = "the check was done: remove it from not-applicable.json"
        elif check not in results and check not in reasons:
            results[check] = f"the check was not done (exit status {status}): {rest.strip()[-2000:]}"
    return results


def snippets() -> list[str]:
    """The snippets of the page that are not in the programs that they name."""
    complaints = []
    parts = re.findall(r"<!-- (\S+) -->\n+```\S*\n(.*?)```", PAGE.read_text(), re.DOTALL)
    blocks = len(re.findall(r"^```\S+$", PAGE.read_text(), re.MULTILINE))
    if len(parts) != blocks or not parts:
        complaints.append(f"only {len(parts)} of {blocks} code blocks name a program")
    for path, code in parts:
        lines = (ROOT / path).read_text().splitlines()
        wanted = code.splitlines()
        # Indentation may differ.
        found = any(
            textwrap.dedent("\n".join(lines[i : i + len(wanted)])).splitlines() == wanted
            for i in range(len(lines) - len(wanted) + 1)
        )
        if not found:
            complaints.append(f"{path} does not have:\n{code}")
    return complaints


def main() -> int:
    binary, *clients = sys.argv[1:]
    report = Report()
    report.check("every snippet of docs/clients.md is in a client", snippets())
    if not has_ipv6():
        report.fail("this machine has no IPv6 loopback address")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        api = stack.enter_context(serving(binary, directory))
        timed = stack.enter_context(serving(binary, directory, "--timing", "aws"))
        quotas = stack.enter_context(serving(binary, directory, "--quotas", "aws"))
        ipv6 = stack.enter_context(serving(binary, directory, host="[::1]"))
        for number, client in enumerate(clients):
            name, command = client.split("=", 1)
            evidence = Evidence(api)
            stack.callback(evidence.close)
            variables = {
                "SD_ENDPOINT": "http://%s:%d" % api,
                "SD_ENDPOINT_TIMED": "http://%s:%d" % timed,
                "SD_ENDPOINT_QUOTAS": "http://%s:%d" % quotas,
                "SD_ENDPOINT_IPV6": "http://[%s]:%d" % ipv6,
                "SD_KEEP_ALIVE": f"http://{evidence.keep_alive.address}",
                "SD_EXPECT": f"http://{evidence.expect.address}",
                "SD_PROXY": f"http://{evidence.proxy.address}",
                "AWS_ENDPOINT_URL": "http://%s:%d" % api,
                "AWS_ACCESS_KEY_ID": str(100000000001 + number),
                "AWS_SECRET_ACCESS_KEY": "none",
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            home = directory / f"home-{number}"
            home.mkdir()
            started = time.monotonic()
            results = run(name, command, variables, evidence, home)
            report.checks(name, results, len(CHECKS), started, NOT_APPLICABLE.get(name, {}))
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
