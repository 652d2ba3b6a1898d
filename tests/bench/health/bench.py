"""CPU time per health check, against a bare loop of connect, request and read on the same runtime, and blackbox_exporter; how
late health checks are, alone and beside as many black holes; and what they cost DNS and HTTP.

What is compared takes turns within each round, so that other work of the machine affects all of it. CPU time is user and system
time of the threads that do the work. Ratios are medians of the rounds' ratios. The targets are one process, with a socket for
each. Lateness is the time from when a probe is due until it begins; percentiles are interpolated in buckets that double.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
DISCOVER = '{"NamespaceName":"app.local","ServiceName":"web"}'
WARM_UP = 3
"""Seconds until a prober that has got the turn has probed every target, and has spread the probes over the interval."""
WARM_UP_BESIDE_BLACK_HOLES = 15
QUERIES = 10_000
"""DNS queries per second. A fixed rate, because the CPU time of a query depends on how many arrive together."""


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


class Process:
    """A process that answers a line with a line, and the CPU time of its threads with a name."""

    def __init__(self, command: list[str], threads: str | None = None):
        self.threads = threads
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        if not (line := self.process.stdout.readline()):
            sys.exit(f"{self.process.args}: ended")
        return line.strip()

    def ask(self, line: str = "") -> str:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.line()

    def cpu(self, threads: str | None = None) -> float:
        """The CPU time so far, in seconds."""
        total, name = 0, threads or self.threads
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if name is None or (task / "comm").read_text().strip() == name:
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Targets(Process):
    """A process with many targets. Their addresses are in files: those that answer, and all."""

    def __init__(self, binary: str, directory: Path, living: int, silent: int = 0, full: int = 0):
        super().__init__([binary, "targets", str(living), str(silent), str(full)])
        addresses = []
        while address := self.line():
            addresses.append(f"{address}\n")
        self.every, self.living = directory / f"every-{self.process.pid}", directory / f"living-{self.process.pid}"
        self.every.write_text("".join(addresses))
        self.living.write_text("".join(addresses[:living]))


class Work:
    """What was done in a time, and its CPU time."""

    def __init__(self, seconds: float, cpu: float, done: int):
        self.rate, self.cpu_us = done / seconds, cpu / done * 1e6


class Serving(Process):
    """A Cloud Map with a prober, which has the turn or not."""

    def __init__(self, binary: str, file: Path):
        super().__init__([binary, "serve", str(file)], "prober")
        self.dns, self.http = map(int, self.line().split())

    def counters(self, line: str = "") -> dict:
        return json.loads(self.ask(line))

    def start(self, warm_up: float) -> None:
        self.counters("on")
        time.sleep(warm_up)

    def pause(self) -> None:
        self.counters("off")

    def probe(self, seconds: float) -> tuple[Work, Lateness]:
        finish = self.measure()
        time.sleep(seconds)
        return finish()

    def measure(self) -> Callable[[], tuple[Work, Lateness]]:
        """Begins to measure. The function that it returns ends it."""
        before, cpu, started = self.counters(), self.cpu(), time.monotonic()

        def finish() -> tuple[Work, Lateness]:
            after, used, took = self.counters(), self.cpu() - cpu, time.monotonic() - started
            if after["not_made"] != before["not_made"]:
                sys.exit(f"probes could not be made: {after}")
            done = sum(after["failed"].values()) + after["healthy"] - sum(before["failed"].values()) - before["healthy"]
            return Work(took, used, done), Lateness(before["lateness"], after["lateness"])

        return finish


class Lateness:
    """How much later than due probes began, in ms: the difference of two histograms."""

    def __init__(self, before: dict, after: dict):
        pairs = zip(before["by_microseconds"], after["by_microseconds"])
        self.buckets = [(bound, now - then) for (bound, then), (_, now) in pairs]
        count = sum(number for _, number in self.buckets)
        self.mean = (after["microseconds"] - before["microseconds"]) / count / 1000
        self.p50, self.p99 = self._percentile(count * 0.5), self._percentile(count * 0.99)

    def _percentile(self, rank: float) -> float:
        lower = 0
        for bound, number in self.buckets:
            bound = bound or lower * 2
            if rank <= number:
                return (lower + (bound - lower) * rank / number) / 1000
            rank -= number
            lower = bound
        return lower / 1000


class Bare(Process):
    """The loop of connect, request and read."""

    def __init__(self, binary: str, file: Path, rate: float):
        super().__init__([binary, "bare", str(file), str(rate)], "bare")

    def counts(self) -> int:
        done, failed = map(int, self.ask().split())
        if failed:
            sys.exit(f"{failed} requests of the bare loop failed")
        return done

    def run(self, seconds: float) -> Work:
        before, cpu, started = self.counts(), self.cpu(), time.monotonic()
        time.sleep(seconds)
        done, cpu, took = self.counts() - before, self.cpu() - cpu, time.monotonic() - started
        return Work(took, cpu, done)


class Blackbox(Process):
    """blackbox_exporter, which probes when it is scraped."""

    def __init__(self, directory: Path):
        config = directory / "blackbox.yml"
        config.write_text("modules: {http: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, follow_redirects: false}}}\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        log = open(directory / "blackbox.log", "wb")
        self.threads = None
        self.process = subprocess.Popen(
            ["prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )

    def wait(self, address: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                url = f"http://127.0.0.1:{self.port}/probe?module=http&target=http://{address}/health"
                if b"\nprobe_success 1\n" in urllib.request.urlopen(url, timeout=30).read():
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit("blackbox_exporter does not probe")
            time.sleep(0.1)

    def run(self, file: Path, seconds: float) -> Work:
        command = ["wrk", "-t1", "-c4", f"-d{seconds}s", "--timeout", "30s", "-s", str(HERE / "scrape.lua")]
        cpu, started = self.cpu(), time.monotonic()
        output = run([*command, f"http://127.0.0.1:{self.port}/", "--", str(file)], r"^result (\d+) (\d+)$")
        if output[1]:
            sys.exit(f"{output[1]} scrapes failed")
        return Work(time.monotonic() - started, self.cpu() - cpu, output[0])


def run(command: list[str], pattern: str) -> list[int]:
    """Runs a load, and returns the numbers that it prints."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if not (found := re.search(pattern, ran.stdout, re.MULTILINE | re.DOTALL)):
        sys.exit(f"{' '.join(command)}: {ran.stdout}{ran.stderr}")
    return [int(number) for number in found.groups()]


def per_probe(options, directory: Path) -> None:
    """CPU time per probe, and lateness."""
    targets = Targets(options.binary, directory, options.targets)
    serving, blackbox = Serving(options.binary, targets.every), Blackbox(directory)
    try:
        blackbox.wait(targets.living.read_text().split("\n", 1)[0])
        ours, bare, theirs, late = [], [], [], []
        for _ in range(options.rounds):
            serving.start(WARM_UP)
            work, lateness = serving.probe(options.seconds)
            serving.pause()
            ours.append(work)
            late.append(lateness)
            loop = Bare(options.binary, targets.every, work.rate)
            try:
                time.sleep(1)
                bare.append(loop.run(options.seconds))
            finally:
                loop.stop()
            theirs.append(blackbox.run(targets.living, options.seconds))
        print(f"\n{options.targets:,} targets, each probed once a second")
        print(f"{'':20}{'CPU µs per probe':>24}{'per second':>12}{'ours / theirs':>22}")
        for name, works in {"ours": ours, "bare loop": bare, "blackbox_exporter": theirs}.items():
            line = f"{name:20}{spread([work.cpu_us for work in works]):>24}"
            line += f"{statistics.median(work.rate for work in works):>12,.0f}"
            if works is not ours:
                line += f"{spread([a.cpu_us / b.cpu_us for a, b in zip(ours, works)]):>22}"
            print(line)
        print_lateness("late, ms", late)
    finally:
        for process in (targets, serving, blackbox):
            process.stop()


def print_lateness(name: str, late: list[Lateness]) -> None:
    values = {"mean": [l.mean for l in late], "p50": [l.p50 for l in late], "p99": [l.p99 for l in late]}
    print(f"{name:20}" + "   ".join(f"{what} {spread(numbers)}" for what, numbers in values.items()), flush=True)


def beside_black_holes(options, directory: Path) -> None:
    """Whether targets are probed later if as many others are black holes. Two probers are measured at the same time, because
    what else the machine does makes probes later than anything here."""
    half = options.targets // 2
    targets = Targets(options.binary, directory, half, half // 2, half - half // 2)
    servings = {"alone": Serving(options.binary, targets.living), "beside": Serving(options.binary, targets.every)}
    try:
        late: dict[str, list[Lateness]] = {name: [] for name in servings}
        rates: dict[str, list[float]] = {name: [] for name in servings}
        for serving in servings.values():
            serving.start(0)
        time.sleep(WARM_UP_BESIDE_BLACK_HOLES)
        for _ in range(options.rounds):
            ends = {name: serving.measure() for name, serving in servings.items()}
            time.sleep(options.seconds)
            for name, end in ends.items():
                work, lateness = end()
                late[name].append(lateness)
                rates[name].append(work.rate)
        print(f"\n{half:,} targets alone, and beside {half:,} that accept and say nothing, or whose backlog is full")
        for name in late:
            print_lateness(f"{name}, ms", late[name])
        for what in ("mean", "p50", "p99"):
            print(f"ratio of {what:11}{spread([getattr(b, what) / getattr(a, what) for a, b in zip(late['alone'], late['beside'])])}")
        print("results per second  " + "   ".join(f"{name} {spread(values, 0)}" for name, values in rates.items()), flush=True)
    finally:
        for process in (targets, *servings.values()):
            process.stop()


def beside_probes(options, directory: Path) -> None:
    """What 10,000 probed instances cost DNS and HTTP: beside no probes, probes, and a bare loop in another process."""
    targets = Targets(options.binary, directory, options.targets)
    serving = Serving(options.binary, targets.every)
    questions = directory / "questions"
    questions.write_text("web.app.local A\n")
    dns = ["dnsperf", "-s", "127.0.0.1", "-p", str(serving.dns), "-d", str(questions), "-l", str(options.seconds)]
    dns += ["-c", "8", "-T", "1", "-q", "128", "-Q", str(QUERIES)]
    http = ["wrk", "-t1", "-c4", f"-d{options.seconds}s", "-s", str(HERE.parent / "http" / "post.lua")]
    http += [f"http://127.0.0.1:{serving.http}/", "--", "DiscoverInstances", DISCOVER]
    loads = {"dns": (dns, r"Queries completed: +(\d+)"), "http": (http, r"^result (\d+) \d+ 0 ")}

    def load(door: str) -> float:
        cpu = serving.cpu(door)
        [answered] = run(*loads[door])
        return (serving.cpu(door) - cpu) / answered * 1e6

    def beside(what: str, measure: Callable[[], float]) -> float:
        if what == "probes":
            serving.start(WARM_UP)
            try:
                return measure()
            finally:
                serving.pause()
        loop = Bare(options.binary, targets.every, options.targets * 0.95) if what == "bare loop" else None
        time.sleep(1)
        try:
            return measure()
        finally:
            if loop:
                loop.stop()

    try:
        names = ["nothing", "probes", "bare loop"]
        print(f"\nCPU µs per answer beside {options.targets:,} probed instances; the bare loop is another process")
        print(f"{'':8}" + "".join(f"{'beside ' + name:>24}" for name in names) + f"{'probes / nothing':>24}{'probes / bare loop':>24}")
        for door in loads:
            rounds: dict[str, list[float]] = {name: [] for name in names}
            for number in range(-1, options.rounds):
                shift = number % len(names)
                for name in names[shift:] + names[:shift]:
                    cost = beside(name, lambda: load(door))
                    if number >= 0:  # the first round only warms up
                        rounds[name].append(cost)
            line = f"{door:8}" + "".join(f"{spread(values):>24}" for values in rounds.values())
            for other in ("nothing", "bare loop"):
                line += f"{spread([a / b for a, b in zip(rounds['probes'], rounds[other])]):>24}"
            print(line, flush=True)
    finally:
        for process in (targets, serving):
            process.stop()


PARTS = {"probes": per_probe, "black-holes": beside_black_holes, "doors": beside_probes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="sd-bench-health")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.targets = 1, 2, min(options.targets, 1000)
    print(f"{options.rounds} rounds of {options.seconds} s: median (min–max)")
    with tempfile.TemporaryDirectory(prefix="sd-bench-health.") as directory:
        for part in options.parts:
            PARTS[part](options, Path(directory))


main()
