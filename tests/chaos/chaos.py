"""Health checks of 50 real processes, which are killed, frozen, made sick and restarted at random.

    netns.sh chaos.py SD_SERVER DIG

The seed SD_CHAOS_SEED (1) decides what happens in the SD_CHAOS_ROUNDS (12) rounds. After each, GetInstancesHealthStatus,
DiscoverInstances and DNS must equal the truth, and no other instance may have changed its status. Nothing waits for a fixed
time: an instance has settled when it had two results since it was touched and none contradicts its status.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from session import Report, Server, SessionLost, environment  # noqa: E402

PORT = 8080
NAMESPACE = "app.local"
# Each service has at most eight instances, so that a DNS answer has all of them.
SERVICES = [("HTTP", 1), ("HTTP", 2), ("HTTP", 3), ("HTTP", 1), ("HTTP", 3), ("TCP", 1), ("TCP", 3)]
INSTANCES = 50
INTERVAL = "200ms"
DEADLINE = 60
"""Seconds until an instance has settled or a process has started. A check needs about seven."""

UP, SICK, FROZEN, DOWN = "up", "sick", "frozen", "down"
# What can happen to a process in each state, and the state that this leads to.
ACTS = {
    UP: [("kill", DOWN), ("freeze", FROZEN), ("sicken", SICK), ("restart", UP), ("blink", UP)],
    SICK: [("kill", DOWN), ("heal", UP), ("restart", UP)],
    FROZEN: [("kill", DOWN), ("continue", UP), ("restart", UP)],
    DOWN: [("start", UP), ("start", UP)],
}
# After these a status may change and change back, or not.
ANY_FLIPS = ("restart", "blink")
FLIP = re.compile(r"instance is (healthy|unhealthy)\b.*\binstance=(\S+)")
WORD = {True: "HEALTHY", False: "UNHEALTHY"}


class Target:
    """An instance and its process."""

    def __init__(self, number: int, service: Service):
        self.id = f"i-{number}"
        self.address = f"127.0.{1 + number // 25}.{1 + number % 25}"
        self.service = service
        self.state = DOWN
        self.touched_at = 0.0
        self.process: subprocess.Popen | None = None

    @property
    def is_healthy(self) -> bool:
        """The truth. The kernel accepts the connections of a frozen process, which is all that a TCP check asks for."""
        if self.service.kind == "TCP":
            return self.state != DOWN
        return self.state == UP

    def act(self, act: str, state: str) -> None:
        getattr(self, f"_{act}")()
        self.state = state
        # In the milliseconds of results.
        self.touched_at = time.time() * 1000 + 1

    def _start(self) -> None:
        command = [sys.executable, "-I", "-S", "-B", str(HERE / "target.py"), self.address, str(PORT)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._wait_for("listens\n")

    def _wait_for(self, line: str) -> None:
        if (got := self.process.stdout.readline()) != line:
            raise SessionLost(f"the process of {self.id} prints {got!r}, not {line!r}")

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def _restart(self) -> None:
        self._kill()
        self._start()

    def _freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        # A stop takes effect after the signal. This returns when it has.
        os.waitpid(self.process.pid, os.WUNTRACED)

    def _continue(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def _blink(self) -> None:
        self._freeze()
        self._continue()

    def _sicken(self) -> None:
        self.process.send_signal(signal.SIGUSR1)
        self._wait_for("switched\n")

    _heal = _sicken

    def stop(self) -> None:
        """Ends the process, whatever state it is in."""
        self._kill()
        self.state = DOWN


class Service:
    """A service with a health check, and its instances."""

    def __init__(self, number: int, kind: str, threshold: int):
        self.name, self.kind, self.threshold = f"{kind.lower()}-{number}", kind, threshold
        self.id = ""
        self.targets: list[Target] = []

    def truth(self) -> dict[str, str]:
        return {target.id: WORD[target.is_healthy] for target in self.targets}

    def returned(self) -> list[str]:
        """The addresses that clients get: those of healthy instances, or all if none is."""
        healthy = [target.address for target in self.targets if target.is_healthy]
        return sorted(healthy or [target.address for target in self.targets])


class Cloud:
    """A server, asked in every way."""

    def __init__(self, server: Server, ports: dict[str, int], dig: str):
        self._server, self._ports, self._dig = server, ports, dig
        self._api = boto3.client(
            "servicediscovery",
            endpoint_url=f"http://127.0.0.1:{ports['API']}",
            region_name="us-east-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key="none",
            config=Config(retries={"max_attempts": 0}, inject_host_prefix=False),
        )
        self._admin = http.client.HTTPConnection("127.0.0.1", ports["admin"], timeout=30)

    def register(self, services: list[Service]) -> None:
        created = self._api.create_private_dns_namespace(Name=NAMESPACE, Vpc="vpc-1")
        operation = self._api.get_operation(OperationId=created["OperationId"])["Operation"]
        namespace = operation["Targets"]["NAMESPACE"]
        for service in services:
            check: dict[str, Any] = {"Type": service.kind, "FailureThreshold": service.threshold}
            if service.kind == "HTTP":
                check["ResourcePath"] = "/health"
            records = {"DnsRecords": [{"Type": "A", "TTL": 0}], "RoutingPolicy": "MULTIVALUE"}
            made = self._api.create_service(
                Name=service.name, NamespaceId=namespace, DnsConfig=records, HealthCheckConfig=check
            )
            service.id = made["Service"]["Id"]
            for target in service.targets:
                attributes = {"AWS_INSTANCE_IPV4": target.address, "AWS_INSTANCE_PORT": str(PORT)}
                self._api.register_instance(ServiceId=service.id, InstanceId=target.id, Attributes=attributes)

    def statuses(self, service: Service) -> dict[str, str]:
        return self._api.get_instances_health_status(ServiceId=service.id)["Status"]

    def discovered(self, service: Service, wanted: str) -> list[str]:
        found = self._api.discover_instances(NamespaceName=NAMESPACE, ServiceName=service.name, HealthStatus=wanted)
        return sorted(instance["Attributes"]["AWS_INSTANCE_IPV4"] for instance in found["Instances"])

    def resolved(self, service: Service) -> list[str]:
        command = [self._dig, "@127.0.0.1", "-p", str(self._ports["DNS"]), "+short", f"{service.name}.{NAMESPACE}", "A"]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
        return sorted(ran.stdout.split())

    def results(self, service: Service) -> dict[str, dict[str, Any]]:
        """The report of the checks, by instance."""
        self._admin.request("GET", f"/_sd/health-checks?service={service.id}")
        response = self._admin.getresponse()
        body = response.read()
        if response.status != 200:
            raise SessionLost(f"GET /_sd/health-checks answers {response.status}: {body!r}")
        return {row["instance"]: row for row in json.loads(body)["instances"]}

    def flips(self) -> dict[str, list[str]]:
        """The changes of the status of each instance so far."""
        found: dict[str, list[str]] = {}
        for status, instance in FLIP.findall(self._server.output):
            found.setdefault(instance.strip('"'), []).append(status.upper())
        return found

    def check_alive(self) -> None:
        self._server.check_alive()


@contextlib.contextmanager
def serving(binary: str, dig: str, directory: Path, *flags: str) -> Iterator[Cloud]:
    """Runs a server that logs changes of statuses."""
    anywhere = [word for flag in ("--http", "--admin", "--dns") for word in (flag, "127.0.0.1:0")]
    env = {**environment(directory), "SD_LOG": "warn,sd_http=info", "NO_COLOR": "1"}
    log = Path(tempfile.mkstemp(suffix=".log", dir=directory)[1])
    server = Server([binary, *anywhere, *flags], log, env)
    try:
        deadline = time.monotonic() + DEADLINE
        while "export " not in server.output:
            server.check_alive()
            if time.monotonic() > deadline:
                raise SessionLost(f"the server prints no addresses: {server.output}")
            time.sleep(0.02)  # a poll, bounded by the deadline
        ports = {word: int(port) for word, port in re.findall(r"^  (API|admin|DNS) +\S*:(\d+)", server.output, re.M)}
        yield Cloud(server, ports, dig)
    finally:
        server.stop()


def made() -> list[Service]:
    """The services and their instances, without processes."""
    services = [Service(number, *check) for number, check in enumerate(SERVICES)]
    for number in range(INSTANCES):
        service = services[number % len(services)]
        service.targets.append(Target(number, service))
    return services


def differences(cloud: Cloud, services: list[Service]) -> list[str]:
    """What is not as the truth says. Everything is asked once: what has settled is in every answer."""
    complaints = []

    def compare(what: str, expected: Any, got: Any) -> None:
        if got != expected:
            complaints.append(f"{what}\nexpected  {expected}\ngot       {got}")

    for service in services:
        by_status = {word: sorted(t.address for t in service.targets if WORD[t.is_healthy] == word) for word in WORD.values()}
        compare(f"health of {service.name}", service.truth(), cloud.statuses(service))
        compare(f"DNS of {service.name}", service.returned(), cloud.resolved(service))
        default = cloud.discovered(service, "HEALTHY_OR_ELSE_ALL")
        compare(f"discovery in {service.name}", service.returned(), default)
        for word, expected in by_status.items():
            compare(f"{word} in {service.name}", expected, cloud.discovered(service, word))
    return complaints


def unsettled(cloud: Cloud, services: list[Service]) -> list[str]:
    """The instances whose status can still change by what has happened, or is not true."""
    waiting = []
    for service in services:
        rows = cloud.results(service)
        for target in service.targets:
            row = rows.get(target.id, {"results": [], "contrary": 0, "status": "absent"})
            # The older of two began before it ended, but the newer began after the older had ended.
            since = [result for result in row["results"] if result["at"] > target.touched_at]
            if len(since) < 2 or row["contrary"] or row["status"] != WORD[target.is_healthy]:
                last = row["results"][:2]
                waiting.append(f"{target.id} in {service.name} is {target.state} and {row['status']}: {last}")
    return waiting


def settle(cloud: Cloud, services: list[Service]) -> list[str]:
    """Waits until nothing can change any more. Returns what has not settled in time."""
    deadline = time.monotonic() + DEADLINE
    while waiting := unsettled(cloud, services):
        cloud.check_alive()
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)  # a poll, bounded by the deadline
    return waiting


def new_flips(before: dict[str, list[str]], now: dict[str, list[str]]) -> dict[str, list[str]]:
    flips = {instance: statuses[len(before.get(instance, [])) :] for instance, statuses in now.items()}
    return {instance: statuses for instance, statuses in flips.items() if statuses}


def round_of(number: int, choose: random.Random, cloud: Cloud, services: list[Service], report: Report) -> None:
    """Touches some instances, and checks all of them."""
    targets = [target for service in services for target in service.targets]
    was = {target.id: WORD[target.is_healthy] for target in targets}
    before = cloud.flips()
    acts = {}
    for target in choose.sample(targets, choose.randint(1, 12)):
        acts[target.id], state = choose.choice(ACTS[target.state])
        target.act(acts[target.id], state)
    waiting = settle(cloud, services)
    names = ", ".join(f"{count} {act}" for act, count in sorted(Counter(acts.values()).items()))
    report.check(f"round {number}: {names}: settled", waiting)
    report.check(f"round {number}: health, DNS and discovery equal the truth", differences(cloud, services))
    flips = new_flips(before, cloud.flips())
    complaints = []
    for target in targets:
        truth = WORD[target.is_healthy]
        got = flips.get(target.id, [])
        if acts.get(target.id) in ANY_FLIPS:
            continue
        expected = [truth] if truth != was[target.id] else []
        if got != expected:
            act = acts.get(target.id, "nothing")
            complaints.append(f"{target.id} in {target.service.name}, after {act}\nexpected  {expected}\ngot       {got}")
    report.check(f"round {number}: only what was touched has changed, and once", complaints)


def everything_up(cloud: Cloud, services: list[Service]) -> list[str]:
    for service in services:
        for target in service.targets:
            if target.state != UP:
                target.act("restart", UP)
    return settle(cloud, services)


def fail_open(cloud: Cloud, services: list[Service], report: Report) -> None:
    """Ends all processes of each service. No answer is empty meanwhile, and in the end every answer has all instances."""
    report.check("every process runs again: settled", everything_up(cloud, services))
    for service in services:
        for target in service.targets:
            target.act("kill", DOWN)
    complaints = []
    deadline = time.monotonic() + DEADLINE
    falling = list(services)
    while falling and time.monotonic() < deadline:
        cloud.check_alive()
        for service in list(falling):
            every = service.returned()
            # The status first: what it says is in the answers after it.
            is_down = set(cloud.statuses(service).values()) == {"UNHEALTHY"}
            answers = {"DNS": cloud.resolved(service), "discovery": cloud.discovered(service, "HEALTHY_OR_ELSE_ALL")}
            for what, got in answers.items():
                if not got or is_down and got != every:
                    complaints.append(f"{what} of {service.name}\nexpected  {every}\ngot       {got}")
            if is_down:
                falling.remove(service)
    complaints += [f"{service.name} is not down" for service in falling]
    report.check("all are down: DNS and discovery return all instances at once, and were never empty", complaints)
    report.check("all are down: health, DNS and discovery equal the truth", settle(cloud, services) + differences(cloud, services))
    for service in services:
        service.targets[0].act("start", UP)
    complaints = settle(cloud, services)
    report.check("one of each service runs: it is the only one", complaints + differences(cloud, services))


def notices(binary: str, dig: str, directory: Path, report: Report) -> None:
    """These checks notice that health is not checked."""
    services = made()
    with serving(binary, dig, directory, "--no-health-checks") as cloud:
        cloud.register(services)
        found = differences(cloud, services)
    expected = [f"health of {service.name}" for service in services]
    missing = [what for what in expected if not any(what in complaint for complaint in found)]
    report.check("without health checks, the differences are noticed", missing)


def main() -> int:
    binary, dig = sys.argv[1:]
    seed, rounds = os.environ.get("SD_CHAOS_SEED", "1"), int(os.environ.get("SD_CHAOS_ROUNDS", "12"))
    report = Report()
    report.note("seed", f"SD_CHAOS_SEED={seed}, {rounds} rounds, {INSTANCES} processes, checked each {INTERVAL}")
    choose = random.Random(seed)
    services = made()
    with tempfile.TemporaryDirectory(prefix="sd-chaos.") as home:
        try:
            notices(binary, dig, Path(home), report)
            with serving(binary, dig, Path(home), "--health-interval", INTERVAL) as cloud:
                for service in services:
                    for target in service.targets:
                        target.act("start", UP)
                cloud.register(services)
                report.check("all processes run: settled", settle(cloud, services) + differences(cloud, services))
                complaints = [f"{instance}: {flips}" for instance, flips in cloud.flips().items()]
                report.check("all processes run: no status has changed", complaints)
                for number in range(1, rounds + 1):
                    round_of(number, choose, cloud, services, report)
                fail_open(cloud, services, report)
        except SessionLost as error:
            report.fail("chaos", str(error))
        finally:
            for service in services:
                for target in service.targets:
                    target.stop()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
