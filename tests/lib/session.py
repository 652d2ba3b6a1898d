"""Shared by the checks: a bash session that takes one command at a time, a server, a report.

On SIGTERM (the time limit of tests/run), a check ends its servers and shells first.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Unlike the plain signal, an exception runs `finally` blocks.
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def environment(home: Path, *path: Path) -> dict[str, str]:
    """This process's environment without anything that changes how clients or the server behave.

    Removes settings of AWS clients and of sd-server, proxies, and the dot files of the real home. Puts `path` before
    the directories of PATH.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SD_")) and not name.lower().endswith("_proxy")
    }
    search = [*map(str, path), os.environ["PATH"]]
    return {**kept, "HOME": str(home), "PATH": os.pathsep.join(search), "LC_ALL": "C.UTF-8"}


class Reply(NamedTuple):
    """The result of a command."""

    status: int
    out: str
    err: str


class SessionLost(Exception):
    """The session or its server has ended, so later commands prove nothing."""


class Shell:
    """A bash that keeps its state between commands, so that `X=$(…)` and `eval` work as at a prompt."""

    _LOOP = 'while IFS= read -r step; do . "$step" </dev/null >"$step.out" 2>"$step.err"; echo "$?"; done'

    def __init__(self, directory: Path, env: dict[str, str], cwd: Path | None = None):
        self._directory = directory
        self._steps = 0
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", self._LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )

    def run(self, command: str, seconds: float = 60) -> Reply:
        """Runs a command as printed. A command that does not end in time is an error."""
        self._steps += 1
        step = self._directory / f"step-{self._steps}.sh"
        step.write_text(command + "\n", encoding="utf-8")
        try:
            print(step, file=self._bash.stdin, flush=True)
        except BrokenPipeError:
            raise SessionLost("the shell has ended") from None
        if not select.select([self._bash.stdout], [], [], seconds)[0]:
            raise SessionLost(f"still running after {seconds} s")
        status = self._bash.stdout.readline()
        if not status:
            raise SessionLost("the command ended the shell")
        return Reply(int(status), *(Path(f"{step}.{end}").read_text(errors="replace") for end in ("out", "err")))

    def __getitem__(self, variable: str) -> str:
        return self.run(f'printf %s "${{{variable}-}}"').out

    def __setitem__(self, variable: str, value: str) -> None:
        self.run(f"{variable}={shlex.quote(value)}")

    def close(self) -> None:
        """Kills the shell and everything that it still runs."""
        end_group(self._bash, signal.SIGKILL)
        for pipe in (self._bash.stdin, self._bash.stdout):
            pipe.close()


class Server:
    """A server process in its own process group, so that all of its processes can be ended."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str], cwd: Path | None = None):
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise SessionLost(f"the server ended with status {self._process.returncode}")

    def wait_for(self, addresses: list[tuple[str, int]], seconds: float) -> None:
        """Returns as soon as every address accepts connections."""
        deadline = time.monotonic() + seconds
        for address in addresses:
            while not _connects(address):
                self.check_alive()
                if time.monotonic() > deadline:
                    raise SessionLost(f"nothing listens on {address[0]} port {address[1]} after {seconds} s")
                time.sleep(0.02)  # a poll, bounded by the deadline

    def stop(self, seconds: float = 15) -> int | None:
        """Ends the server and returns its exit status, or None if it had to be killed."""
        if self._process.returncode is None:
            end_group(self._process, signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            end_group(self._process, signal.SIGKILL)
            return None


@contextlib.contextmanager
def serving(binary: str, directory: Path, *flags: str, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Runs an sd-server on free ports. Yields host and port of its API, the host without brackets."""
    ports = ["--http", f"{host}:0", "--admin", "127.0.0.1:0", "--dns", "127.0.0.1:0"]
    log = Path(tempfile.mkstemp(suffix=".log", dir=directory)[1])
    running = Server([binary, *ports, *flags], log, environment(directory))
    try:
        deadline = time.monotonic() + 30
        while not (address := re.search(r"^  API +\S*:(\d+)$", running.output, re.MULTILINE)):
            running.check_alive()
            if time.monotonic() > deadline:
                raise SessionLost(f"the server prints no address: {running.output}")
            time.sleep(0.02)  # a poll, bounded by the deadline
        yield host.strip("[]"), int(address[1])
    finally:
        running.stop()


def end_group(process: subprocess.Popen, number: int) -> None:
    """Signals the process group that `process` leads."""
    with contextlib.suppress(ProcessLookupError):  # it has already ended
        os.killpg(process.pid, number)
    if number == signal.SIGKILL:
        process.wait()


def _connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def has_ipv6() -> bool:
    """Whether the machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Report:
    """Prints a line per step, and details of failed steps."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def ok(self, step: str) -> None:
        self.passed += 1
        self.note("ok", step)

    def fail(self, step: str, *details: str) -> None:
        self.failed += 1
        self.note("FAILED", "\n".join([step, *details]))

    def check(self, step: str, complaints: list[str], *details: str) -> None:
        """Counts the step as failed if there are complaints, and prints `details` after them."""
        if complaints:
            self.fail(step, *complaints, *details)
        else:
            self.ok(step)

    def checks(
        self, name: str, results: dict[str, str | None], total: int, started: float, not_applicable: dict[str, str]
    ) -> None:
        """Counts the checks of a program. Each has a complaint, or None if it passed. `started` is a monotonic time."""
        for check, complaint in results.items():
            if complaint is not None:
                self.fail(f"{name}: {check}", complaint)
        done = sum(complaint is None for complaint in results.values())
        self.passed += done
        self.note("ok", f"{name}: {done} of {total} checks in {time.monotonic() - started:.0f} s")
        for check, reason in not_applicable.items():
            self.note("n/a", f"{name}: {check}: {reason}")

    def note(self, word: str, text: str) -> None:
        """Prints without counting."""
        print(f"{word:<8}", "\n         ".join(text.splitlines()), flush=True)

    def close(self) -> int:
        """Prints the totals and returns the exit status."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0
