"""CPU time per DNS query: the DNS door, idle and beside registrations, against Knot and a server that does nothing.

All servers take turns under the same load, so that other work of the machine affects all of them. The figure of a round is the
CPU time (user and system) of a server's DNS threads, divided by the answered queries. Ratios are medians of the rounds' ratios.
Servers run on the first CPU, dnsperf and the writer on the second.
"""

import argparse
import os
import random
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ZONE = "app.local"
INSTANCES = 8
TYPES = {"A": 1, "SRV": 33}
SERVERS = ["ours", "ours+writes", "Knot", "responder"]
MIXES = ["A", "SRV", "NXDOMAIN", "A+SRV", "TCP"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="sd-bench-dns")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="per server and round")
    parser.add_argument("--names", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--mixes", nargs="+", default=MIXES, choices=MIXES)
    parser.add_argument("--writes", type=int, default=10_000, help="registrations per second")
    options = parser.parse_args()
    print(f"{options.rounds} rounds of {options.seconds:g} s; CPU µs per query: median (min–max)")
    with tempfile.TemporaryDirectory(prefix="sd-bench-dns.") as directory:
        for names in options.names:
            measure(options, names, directory)


def measure(options, names, directory):
    servers = []
    try:
        ours = Ours(options.binary, names)
        servers.append(ours)
        knot = Knot(names, directory)
        servers.append(knot)
        sizes = [ours.answer_size(*question) for question in [("a0", "A"), ("s0", "SRV"), ("x0", "A")]]
        responder = Server([options.binary, "respond", *map(str, sizes)])
        servers.append(responder)
        print(f"\n{names:,} names; answers of {sizes[0]} (A), {sizes[1]} (SRV) and {sizes[2]} (NXDOMAIN) bytes")
        for mix in options.mixes:
            questions = os.path.join(directory, "questions")
            write_questions(questions, mix, names)
            rounds = {name: [] for name in SERVERS}
            writes = []
            for number in range(-1, options.rounds):
                for name in rotated(SERVERS, number):
                    if name == "responder" and mix == "TCP":
                        continue
                    server = {"Knot": knot, "responder": responder}.get(name, ours)
                    ours.write(options.writes if name == "ours+writes" else 0)
                    before = ours.writer.cpu()
                    result = server.load(questions, "tcp" if mix == "TCP" else "udp", options.seconds)
                    if number < 0:
                        continue  # the first round only warms up
                    rounds[name].append(result)
                    if name == "ours+writes":
                        writes.append((ours.writer.cpu() - before) / (options.writes * result.seconds) * 1e6)
            ours.write(0)
            report(mix, rounds, writes)
    finally:
        for server in servers:
            server.stop()


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def report(mix, rounds, writes):
    print(f"\n{mix:<12}{'CPU µs':>22}{'queries/s':>12}{'lost':>7}{'x Knot':>20}{'x responder':>20}{'x idle':>20}")
    for name, results in rounds.items():
        if not results:
            continue
        cpu = [result.cpu_per_query for result in results]
        line = f"{name:<12}{spread(cpu):>22}{statistics.median(r.rate for r in results):>12,.0f}"
        line += f"{sum(result.lost for result in results):>7}"
        for other in ["Knot", "responder", "ours"]:
            apart = other != "ours" or name == "ours+writes"
            pairs = list(zip(cpu, (result.cpu_per_query for result in rounds[other]))) if name != other and apart else []
            line += f"{spread([a / b for a, b in pairs]) if pairs else '':>20}"
        print(line, flush=True)
    print(f"CPU of the writer: {spread(writes)} µs per registration")


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def write_questions(path, mix, names):
    choose = random.Random(1)
    with open(path, "w") as file:
        for _ in range(50_000):
            number = choose.randrange(names // 2)
            kind = {"TCP": "A", "A+SRV": choose.choice(["A", "SRV"])}.get(mix, mix)
            name, kind = {"A": ("a", "A"), "SRV": ("s", "SRV"), "NXDOMAIN": ("x", "A")}[kind]
            file.write(f"{name}{number}.{ZONE} {kind}\n")


class Result:
    def __init__(self, cpu, answered, lost, seconds):
        self.cpu_per_query = cpu / answered * 1e6
        self.rate = answered / seconds
        self.lost = lost
        self.seconds = seconds


class Threads:
    """The threads of a process with this name, or all threads."""

    def __init__(self, pid, name=None):
        self.pid = pid
        self.name = name

    def ids(self):
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/comm") as file:
                if self.name in (None, file.read().strip()):
                    yield int(thread)

    def cpu(self):
        """The CPU time of the threads so far, in seconds."""
        total = 0
        for thread in self.ids():
            with open(f"/proc/{self.pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9


class Server:
    """A server that prints its address."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().strip()
        if not line:
            sys.exit(f"{' '.join(command)}: did not start")
        self.port = int(line.rpartition(":")[2])
        self.threads = Threads(self.process.pid, "dns")
        on_cpu(0, Threads(self.process.pid))

    def load(self, questions, mode, seconds):
        command = ["dnsperf", "-s", "127.0.0.1", "-p", str(self.port), "-d", questions, "-l", str(seconds)]
        command += ["-m", mode, "-e", "-c", "8", "-T", "1", "-q", "128", "-t", "1"]
        command = ["taskset", "-c", str(cpus()[1]), *command]
        cpu, started = self.threads.cpu(), time.monotonic()
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60 + 2 * seconds).stdout
        cpu, elapsed = self.threads.cpu() - cpu, time.monotonic() - started
        answered = int(re.search(r"Queries completed: +(\d+)", output)[1])
        lost = int(re.search(r"Queries lost: +(\d+)", output)[1])
        codes = re.search(r"Response codes: +(.*)", output)[1]
        if "SERVFAIL" in codes or "REFUSED" in codes or answered == 0:
            sys.exit(f"the server does not answer properly: {output}")
        return Result(cpu, answered, lost, elapsed)

    def answer_size(self, name, kind):
        labels = b"".join(bytes([len(label)]) + label.encode() for label in f"{name}.{ZONE}".split("."))
        query = struct.pack(">6H", 1, 0x100, 1, 0, 0, 1) + labels + struct.pack(">xHH", TYPES[kind], 1)
        query += struct.pack(">xHHIH", 41, 1232, 0, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.sendto(query, ("127.0.0.1", self.port))
            return len(client.recv(4096))

    def stop(self):
        self.process.kill()
        self.process.wait()


class Ours(Server):
    def __init__(self, binary, names):
        super().__init__([binary, "serve", str(names)])
        self.writer = Threads(self.process.pid, "writer")
        on_cpu(1, self.writer)

    def write(self, rate):
        self.process.stdin.write(f"{rate}\n")
        self.process.stdin.flush()


class Knot(Server):
    def __init__(self, names, directory):
        directory = os.path.join(directory, f"knot-{names}")
        os.makedirs(directory)
        self.port = free_port()
        with open(f"{directory}/{ZONE}.zone", "w") as file:
            file.writelines(zone(names))
        with open(f"{directory}/knot.conf", "w") as file:
            file.write(f"""
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{directory}"
zone:
  - domain: {ZONE}
    storage: "{directory}"
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
""")
        command = ["knotd", "-c", f"{directory}/knot.conf"]
        with open(f"{directory}/log", "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.threads = Threads(self.process.pid)
        deadline = time.monotonic() + 120
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(f"{directory}/log") as log:
                    sys.exit(f"Knot does not answer: {log.read()}")
            time.sleep(0.1)
        on_cpu(0, self.threads)

    def answers(self):
        try:
            return self.answer_size("a0", "A") > 100
        except OSError:
            return False


def zone(names):
    yield f"$ORIGIN {ZONE}.\n$TTL 60\n@ 15 SOA {ZONE}. hostmaster 1 7200 900 1209600 15\n@ NS {ZONE}.\n@ A 127.0.0.1\n"
    for service in range(names):
        name = f"{'as'[service % 2]}{service // 2}"
        for instance in range(INSTANCES):
            address = f"10.{service >> 8 & 255}.{service & 255}.{1 + instance}"
            yield f"{name} A {address}\n"
            if service % 2:
                yield f"{name} SRV 1 1 8080 i{instance}.{name}\ni{instance}.{name} A {address}\n"


def cpus():
    found = sorted(os.sched_getaffinity(0))
    return [found[0], found[-1]]


def on_cpu(number, threads):
    for thread in threads.ids():
        os.sched_setaffinity(thread, {cpus()[number]})


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return udp.getsockname()[1]


main()
