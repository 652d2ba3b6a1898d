"""Runs the commands of README.md as printed there, in order.

    check.py README AWS_BIN      inside lib/netns.sh, with the release build of sd-server made before

A ```sh block counts when one of these comments is right before it, which a reader does not see:

    <!-- tested: server -->      starts the server; there is one such block
    <!-- tested: shell -->       what to type next in another terminal

Every command has to end with status 0, and the last dig has to print an address that was registered.
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

from session import Report, Server, SessionLost, Shell, environment  # noqa: E402

MARK = re.compile(r"^<!-- tested:.*", re.MULTILINE)
BLOCK = re.compile(r"^<!-- tested: (server|shell) -->\n+```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = [("127.0.0.1", 5373), ("127.0.0.1", 8053)]


def commands(block: str) -> Iterator[str]:
    """The commands of a block: lines put together until bash takes them for complete."""
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
    # An unfinished here-document is only warned about.
    parsed = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
    return parsed.returncode == 0 and not parsed.stderr


def unreadable(text: str) -> list[str]:
    """What is wrong with the marks of the README."""
    kinds = [kind for kind, _ in BLOCK.findall(text)]
    complaints = []
    if kinds.count("server") != 1 or "shell" not in kinds:
        complaints.append(f"expected  one block tested: server, and blocks tested: shell\ngot       {kinds}")
    if len(kinds) != len(MARK.findall(text)):
        complaints.append("expected  a sh block right after each mark, server or shell")
    return complaints


def play(block: list[str], shell: Shell, report: Report) -> None:
    """Runs the commands one by one; after a failure the rest would prove nothing."""
    answer = ""
    for command in block:
        try:
            reply = shell.run(command, seconds=300)
        except SessionLost as loss:
            report.fail(command, str(loss))
            return
        if reply.status != 0:
            report.fail(command, f"exit status {reply.status}", reply.out + reply.err)
            return
        report.ok(command)
        if re.match(r"dig\b", command):
            answer = reply.out
    registered = re.findall(r"AWS_INSTANCE_IPV4=([0-9.]+)", "\n".join(block))
    found = any(ip in answer.split() for ip in registered)
    complaint = f"expected  one of {registered}\ngot       {answer.strip() or 'no answer'}"
    report.check("the last dig prints a registered address", [] if found else [complaint])


def main(readme: Path, aws_bin: Path) -> int:
    report = Report()
    text = readme.read_text(encoding="utf-8")
    complaints = unreadable(text)
    report.check("README.md marks what is tested", complaints)
    if complaints:
        return report.close()
    starting = next(block for kind, block in BLOCK.findall(text) if kind == "server")
    typed = [command for kind, block in BLOCK.findall(text) if kind == "shell" for command in commands(block)]

    # The session gets an empty home; cargo keeps its own, and must not look for news on the network.
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
            play(typed, shell, report)
        except SessionLost as loss:
            report.fail(starting.strip(), str(loss))
        finally:
            shell.close()
            server.stop()
        if report.failed:
            print(f"--- the end of what the server printed\n{server.output[-4000:]}")
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*(Path(argument).resolve() for argument in sys.argv[1:])))
