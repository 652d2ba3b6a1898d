"""Compares the cost of the HTTP door with a bare hyper server and with moto's server. Start it with `run`.

Processor time is the user and system time of the server's process, from /proc/PID/stat, divided by its answers. The servers
take turns within each round. Prints the median of the rounds, with the lowest and the highest: on a busy machine, ratios of a
run are meaningful, microseconds are not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = "Route53AutoNaming_v20170314."
ATTRIBUTES = {"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "8080", "color": "blue", "zone": "us-east-1a"}
SIZES = (1, 1_000, 10_000)
CONNECTIONS = 4
IDLE, SLOW = 1_000, 64
# moto reads the service from it.
SIGNATURE = "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/servicediscovery/aws4_request, Signature=0a"
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server does not work as expected."""


@dataclass
class Case:
    """A measured request."""

    name: str
    operation: str
    body: str


class Server:
    """Starts a server, and reads its address from the first line that has one."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        pattern = re.compile(r"(?:API +|Running on http://)127\.0\.0\.1:(\d+)")
        while not (found := pattern.search(log.read_text(errors="replace"))):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{name} did not start: {log.read_text(errors='replace')}")
            time.sleep(0.02)  # a poll, bounded by the deadline
        self.port = int(found[1])

    def call(self, operation: str, body: dict, connection: http.client.HTTPConnection | None = None) -> bytes:
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {
            "X-Amz-Target": TARGET + operation,
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": SIGNATURE,
        }
        connection.request("POST", "/", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise Failed(f"{self.name} answers {operation} with {answer.status}: {content[:500]!r}")
        return content

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Load:
    """The results of a round of wrk."""

    cpu_us: float
    answers: int
    p50_ms: float
    p99_ms: float


def load(server: Server, case: Case, seconds: int, connections: int) -> Load:
    url = f"http://127.0.0.1:{server.port}/"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(HERE / "post.lua")]
    before = server.cpu_seconds()
    run = subprocess.run([*command, url, "--", case.operation, case.body], capture_output=True, text=True, check=False)
    used = server.cpu_seconds() - before
    if not (result := re.search(r"^result (\d+) (\d+) (\d+) (\d+) (\d+)$", run.stdout, re.MULTILINE)):
        raise Failed(f"wrk: {run.stdout}{run.stderr}")
    answers, _, faults, p50, p99 = (int(number) for number in result.groups())
    if faults or not answers:
        raise Failed(f"{server.name}, {case.name}: {answers} answers, {faults} faults")
    return Load(used / answers * 1e6, answers, p50 / 1000, p99 / 1000)


def fill(server: Server, sizes: tuple[int, ...]) -> list[Case]:
    """Registers the instances that the cases need."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    server.call("CreateHttpNamespace", {"Name": "bench"})
    namespace = json.loads(server.call("ListNamespaces", {}))["Namespaces"][0]["Id"]
    cases = []
    for size in sizes:
        name = f"of-{size}"
        service = json.loads(server.call("CreateService", {"Name": name, "NamespaceId": namespace}))["Service"]["Id"]
        for i in range(size):
            body = {"ServiceId": service, "InstanceId": f"i-{i}", "Attributes": ATTRIBUTES}
            server.call("RegisterInstance", body, connection)
        ask = {"NamespaceName": "bench", "ServiceName": name, "MaxResults": 100}
        cases.append(Case(f"discover of {size:,}", "DiscoverInstances", json.dumps(ask)))
    target = json.loads(server.call("CreateService", {"Name": "registered", "NamespaceId": namespace}))["Service"]["Id"]
    body = {"ServiceId": target, "InstanceId": "i-{n}", "Attributes": {**ATTRIBUTES, "AWS_INSTANCE_PORT": "{n}"}}
    cases.append(Case("register", "RegisterInstance", json.dumps(body)))
    return cases


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):8.2f}  ({min(values):.2f}–{max(values):.2f})"


def processor_time(sd: Server, bare: list[Server], moto: Server | None, cases: list[list[Case]], options) -> None:
    print(f"processor time per answer, µs; {options.rounds} rounds of {options.seconds} s, {CONNECTIONS} connections")
    for i, case in enumerate(cases[0]):
        rounds: dict[str, list[float]] = {"sd": [], "bare": [], "moto": []}
        for _ in range(options.rounds):
            rounds["sd"].append(load(sd, case, options.seconds, CONNECTIONS).cpu_us)
            rounds["bare"].append(load(bare[i], case, options.seconds, CONNECTIONS).cpu_us)
            if moto:
                rounds["moto"].append(load(moto, cases[1][i], options.seconds, CONNECTIONS).cpu_us)
        print(f"  {case.name}")
        for name, values in rounds.items():
            if values:
                ratio = ""
                if name == "bare":
                    ratio = f"   sd / bare {spread([ours / theirs for ours, theirs in zip(rounds['sd'], values)])}"
                elif name == "moto":
                    ratio = f"   moto / sd {spread([theirs / ours for ours, theirs in zip(rounds['sd'], values)])}"
                print(f"    {name:5}{spread(values)}{ratio}", flush=True)


def one_connection(servers: dict[str, tuple[Server, Case]]) -> None:
    print("50 sequential calls on one connection (discover of 1), ms")
    for name, (server, case) in servers.items():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        times = []
        for _ in range(50):
            started = time.perf_counter()
            server.call(case.operation, json.loads(case.body), connection)
            times.append((time.perf_counter() - started) * 1000)
        print(f"    {name:5} p50 {statistics.median(times):8.3f}   longest {max(times):8.3f}")


@dataclass
class Crowd:
    """Idle connections, and clients that send a byte at a time. They are in a separate process: see `crowd`."""

    server: Server
    process: subprocess.Popen = field(init=False)

    def __enter__(self) -> Crowd:
        command = [sys.executable, "-B", __file__, "--crowd", str(self.server.port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "there\n":
            raise Failed("the crowd did not connect")
        return self

    def __exit__(self, *_: object) -> None:
        gone, _ = self.process.communicate("", 30)
        if gone.strip() != "0":
            raise Failed(f"the server closed {gone.strip()} connections of the crowd")


def crowd(port: int) -> None:
    """Connects, sends slowly until standard input ends, and prints how many connections the server has closed."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(IDLE + SLOW)]
    print("there", flush=True)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: {TARGET}ListNamespaces\r\nContent-Length: 100000\r\n\r\n"
    slow = connections[IDLE:]
    # One half is slow with the head, the other with the body.
    for connection in slow[::2]:
        connection.sendall(head.encode())
    sent = 0
    # Each client sends 20 bytes per second, one client after the other. All 64 at once would take the processor from the
    # measured client for as long as its slowest answers take.
    while not over.wait(0.05 / SLOW):
        turn, i = divmod(sent, SLOW)
        slow[i].send(b" " if i % 2 == 0 else head.encode()[turn % 40 : turn % 40 + 1])
        sent += 1
    gone = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            gone += connection.recv(1) == b""
        except BlockingIOError:
            pass
        except OSError:
            gone += 1
    print(gone, flush=True)


def among_others(sd: Server, bare: Server, case: Case, options) -> None:
    print(f"one client beside {IDLE:,} idle connections and {SLOW} slow clients ({case.name}), p99 per answer, ms")
    for server in (sd, bare):
        alone, beside = [], []
        for _ in range(options.rounds):
            alone.append(load(server, case, options.seconds, 1).p99_ms)
            with Crowd(server):
                beside.append(load(server, case, options.seconds, 1).p99_ms)
        ratios = [with_others / without for with_others, without in zip(beside, alone)]
        print(f"    {server.name:5} alone {spread(alone)}   beside them {spread(beside)}   ratio {spread(ratios)}", flush=True)


def largest() -> list[tuple[str, bytes]]:
    """Requests with a body of 1 MiB: a filter with many values, and many tags."""

    def filled(before: str, entry: str, after: str) -> bytes:
        count = ((1 << 20) - len(before) - len(after)) // (len(entry) + 1)
        return (before + ",".join([entry] * count) + after).encode()

    values = filled('{"Filters":[{"Name":"STATUS","Condition":"IN","Values":[', '"FAIL"', "]}]}")
    tags = filled('{"ResourceARN":"x","Tags":[', "{}", "]}")
    return [("ListOperations", values), ("TagResource", tags)]


def pour(port: int) -> None:
    """Sends the largest requests in sequence until standard input ends."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("there", flush=True)
    while not over.is_set():
        for operation, body in largest():
            headers = {"X-Amz-Target": TARGET + operation, "Content-Type": "application/x-amz-json-1.1"}
            connection.request("POST", "/", body, headers)
            connection.getresponse().read()


def slowest(server: Server, case: Case, seconds: int) -> float:
    """The duration of the slowest of sequential registrations in `seconds`, in ms."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    end, longest, number = time.perf_counter() + seconds, 0.0, 0
    while (started := time.perf_counter()) < end:
        server.call(case.operation, json.loads(case.body.replace("{n}", str(number % 1000 + 1))), connection)
        longest, number = max(longest, time.perf_counter() - started), number + 1
    return longest * 1000


def beside_the_largest(sd: Server, other: Server, case: Case, options) -> None:
    """Measures registrations beside large requests. Those to another server take only processor time from them."""
    print("the slowest of sequential registrations beside a client that sends requests of 1 MiB, ms")
    alone, same, apart = [], [], []
    for _ in range(options.rounds):
        alone.append(slowest(sd, case, options.seconds))
        for target, figures in ((sd, same), (other, apart)):
            command = [sys.executable, "-B", __file__, "--pour", str(target.port)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pouring:
                if pouring.stdout.readline() != "there\n":
                    raise Failed("the client of large requests did not start")
                figures.append(slowest(sd, case, options.seconds))
                pouring.communicate("", 60)
    ratio = statistics.median(same) / statistics.median(apart)
    print(f"    alone {spread(alone)}")
    print(f"    beside them {spread(same)}   beside them at another server {spread(apart)}   ratio {ratio:.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("sd_server")
    parser.add_argument("sd_bare")
    parser.add_argument("--moto")
    parser.add_argument("--without-moto", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int)
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    sizes = SIZES[:2] if options.quick else SIZES

    servers: list[Server] = []
    with tempfile.TemporaryDirectory() as directory:

        def start(name: str, command: list[str]) -> Server:
            servers.append(Server(name, command, Path(directory) / f"{len(servers)}.log"))
            return servers[-1]

        try:
            anywhere = [word for flag in ("--http", "--admin", "--dns") for word in (flag, "127.0.0.1:0")]
            sd = start("sd", [options.sd_server, *anywhere])
            cases = [fill(sd, sizes)]
            bare = []
            for i, case in enumerate(cases[0]):
                answer = Path(directory) / f"{i}.json"
                answer.write_bytes(sd.call(case.operation, json.loads(case.body.replace("{n}", "1"))))
                bare.append(start("bare", [options.sd_bare, str(answer)]))
            moto = None
            if options.moto:
                moto = start("moto", [options.moto, "-H", "127.0.0.1", "-p", "0"])
                cases.append(fill(moto, sizes))
                print("moto returns all instances, whatever MaxResults says")

            processor_time(sd, bare, moto, cases, options)
            each = {"sd": (sd, cases[0][0]), "bare": (bare[0], cases[0][0])}
            if moto:
                each["moto"] = (moto, cases[1][0])
            one_connection(each)
            among_others(sd, bare[1], cases[0][1], options)
            beside_the_largest(sd, start("sd", [options.sd_server, *anywhere]), cases[0][-1], options)
            print("peak memory, MiB")
            print(f"    sd    {sd.peak_mib():8.1f}   with {sum(sizes) + 1_000:,} instances")
            print(f"    bare  {max(server.peak_mib() for server in bare):8.1f}")
            if moto:
                print(f"    moto  {moto.peak_mib():8.1f}")
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            for server in servers:
                server.stop()
    return 0


if __name__ == "__main__":
    # By default, a process may not open a thousand connections.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if sys.argv[1:2] == ["--crowd"]:
        crowd(int(sys.argv[2]))
    elif sys.argv[1:2] == ["--pour"]:
        pour(int(sys.argv[2]))
    else:
        sys.exit(main())
