"""Runs the commands of README.md as printed, in order.

    check.py README AWS_BIN      inside lib/netns.sh, with an existing release build of sd-server

A ```sh block is tested if one of these comments, which readers do not see, is right before it:

    <!-- tested: server -->      starts the server; there is one such block
    <!-- tested: shell -->       commands for another terminal

Every command must end with status 0 and have the result in EXPECTED. Afterwards, this tests what the text around the blocks
mentions: the routes of the admin port, and the reset.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from expect import Json, Sets, Text  # noqa: E402
from session import Report, Server, SessionLost, Shell, environment  # noqa: E402

MARK = re.compile(r"^<!-- tested:.*", re.MULTILINE)
BLOCK = re.compile(r"^<!-- tested: (server|shell) -->\n+```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = [("127.0.0.1", 5373), ("127.0.0.1", 8053), ("127.0.0.1", 5374)]

STARTED = Json({"OperationId": re.compile(r"\S")})
ATTRIBUTES = {"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "8080"}
WEB_1 = {
    "InstanceId": "web-1",
    "NamespaceName": "app.local",
    "ServiceName": "web",
    "HealthStatus": "UNKNOWN",  # the service has no health check
    "Attributes": ATTRIBUTES,
}
# The result of each command, by the beginning of the command. A command without a row is a failure, and so is a row without
# a command.
EXPECTED = [
    (
        "eval",
        [
            Sets("AWS_ENDPOINT_URL_SERVICEDISCOVERY", "http://localhost:5373"),
            Sets("AWS_DISABLE_HOST_PREFIX_INJECTION", "true"),
            Sets("AWS_ACCESS_KEY_ID", re.compile(r"^\d{12}$")),
        ],
    ),
    ("aws servicediscovery create-private-dns-namespace", [STARTED]),
    ("NAMESPACE_ID=", [Sets("NAMESPACE_ID", re.compile("^ns-[a-z2-7]{16}$"))]),
    ("SERVICE_ID=", [Sets("SERVICE_ID", re.compile("^srv-[a-z2-7]{16}$"))]),
    ("aws servicediscovery register-instance", [STARTED]),
    ("aws servicediscovery discover-instances", [Json({"Instances": [WEB_1]})]),
    ("dig", [Text(r"\A10\.0\.0\.1\n\Z")]),
    ("API_ID=", [Sets("API_ID", re.compile("^srv-[a-z2-7]{16}$"))]),
    ("target/release/sd-server probe", [Text(r"\Aapi-1 in srv-[a-z2-7]{16}: healthy, status 200\n", r"^  connect    \d+\.\d{3} ms$")]),
]
# Passages of the text, a command that tests each (None: the passage itself), and its result.
MENTIONED = [
    ("The last line prints `10.0.0.1`.", "dig +short @127.0.0.1 -p 8053 web.app.local", Text(r"\A10\.0\.0\.1\n\Z")),
    ("`GET /_sd/health`", "curl -sf http://127.0.0.1:5374/_sd/health", Json({"status": "ok"})),
    ("`GET /_sd/ready`", "curl -sf http://127.0.0.1:5374/_sd/ready", Json({"status": "ready"})),
    ("`GET /_sd/dns`", "curl -sf http://127.0.0.1:5374/_sd/dns", Json({"hidden_zones": []})),
    ("`GET /_sd/http`", "curl -sf http://127.0.0.1:5374/_sd/http", Json({"requests": {"in_progress": 0}})),
    (
        "`GET /_sd/health-checks?service=api`",
        "curl -sf 'http://127.0.0.1:5374/_sd/health-checks?service=api'",
        Json({"instances": [{"instance": "api-1", "status": "HEALTHY", "target": "127.0.0.1:5374"}]}),
    ),
    ("`curl -X POST http://localhost:5373/moto-api/reset`", None, Json({"status": "ok"})),
    ("deletes everything at once", "aws servicediscovery list-namespaces", Json({"Namespaces": []})),
    ("`POST /_sd/reset`", "curl -sf -X POST http://127.0.0.1:5374/_sd/reset", Json({"status": "ok"})),
]


def commands(block: str) -> Iterator[str]:
    """The commands of a block. Joins lines until bash accepts them as complete."""
    command = ""
    for line in block.splitlines():
        if not command and (not line.strip() or line.startswith("#")):
            continue
        command += line + "\n"
        if complete(command):
            yield command.rstrip("\n")
            command = ""
    if command:
        yield command.rstrip("\n")


def complete(command: str) -> bool:
    if command.endswith("\\\n"):
        return False
    # bash only warns about an unfinished here-document.
    parsed = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
    return parsed.returncode == 0 and not parsed.stderr


def unreadable(text: str) -> list[str]:
    """What is wrong with the marks in README.md."""
    kinds = [kind for kind, _ in BLOCK.findall(text)]
    complaints = []
    if kinds.count("server") != 1 or "shell" not in kinds:
        complaints.append(f"expected  one server block and at least one shell block\ngot       {kinds}")
    if len(kinds) != len(MARK.findall(text)):
        complaints.append("expected  each mark to be server or shell, right before a sh block")
    return complaints


def play(steps: list[tuple[str, list]], shell: Shell, report: Report) -> bool:
    """Runs the commands in order and stops at the first failure. Returns whether all passed."""
    for command, expectations in steps:
        try:
            reply = shell.run(command, seconds=300)
            complaints = [line for expected in expectations for line in expected.complaints(reply, shell)]
        except SessionLost as loss:
            report.fail(command, str(loss))
            return False
        report.check(command, complaints, reply.out + reply.err)
        if complaints:
            return False
    return True


def steps_of(typed: list[str], report: Report) -> list[tuple[str, list]]:
    """The commands with their expectations. Reports whether each command has one row of EXPECTED, and each row a command."""
    rows = [[row for row in EXPECTED if command.startswith(row[0])] for command in typed]
    complaints = [f"{len(found)} rows of EXPECTED for {command}" for command, found in zip(typed, rows) if len(found) != 1]
    used = [row for found in rows for row in found]
    complaints += [f"no command for the row {row[0]!r} of EXPECTED" for row in EXPECTED if row not in used]
    report.check("every command of README.md has its expectation", complaints)
    return [] if complaints else [(command, found[0][1]) for command, found in zip(typed, rows)]


def mentioned(text: str, report: Report) -> list[tuple[str, list]]:
    """The steps that test MENTIONED."""
    words = " ".join(text.split())
    missing = [f"missing: {saying}" for saying, *_ in MENTIONED if saying not in words]
    report.check("README.md contains each passage of MENTIONED", missing)
    return [(command or saying.strip("`"), [expected]) for saying, command, expected in MENTIONED]


def main(readme: Path, aws_bin: Path) -> int:
    report = Report()
    text = readme.read_text(encoding="utf-8")
    complaints = unreadable(text)
    report.check("the marks in README.md are valid", complaints)
    if complaints:
        return report.close()
    starting = next(block for kind, block in BLOCK.findall(text) if kind == "server")
    typed = [command for kind, block in BLOCK.findall(text) if kind == "shell" for command in commands(block)]
    steps = steps_of(typed, report)
    besides = mentioned(text, report)
    if report.failed:
        return report.close()

    # The session has an empty home. cargo keeps its real one, and must not use the network.
    for name in ("cargo", "rustup"):
        os.environ.setdefault(f"{name.upper()}_HOME", str(Path.home() / f".{name}"))
    os.environ["CARGO_NET_OFFLINE"] = "true"

    with tempfile.TemporaryDirectory(prefix="sd-readme.") as name:
        home = Path(name)
        env = environment(home, aws_bin)
        root = readme.parent
        shell = Shell(home, env, cwd=root)
        server = Server(["bash", "-e", "-c", starting], home / "server.log", env, cwd=root)
        try:
            server.wait_for(PORTS, seconds=120)
            report.ok(starting.strip())
            if play(steps, shell, report):
                play(besides, shell, report)
        except SessionLost as loss:
            report.fail(starting.strip(), str(loss))
        finally:
            shell.close()
            server.stop()
        if report.failed:
            print(f"--- end of the server's output\n{server.output[-4000:]}")
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*(Path(argument).resolve() for argument in sys.argv[1:])))
