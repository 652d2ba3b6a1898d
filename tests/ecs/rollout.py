"""Rolling updates of a service, seen by a client that asks DNS and DiscoverInstances all the time.

    rollout.py EMULATOR

With `--drain` no answer is empty, and no connection to an address fails that the client got less than a second ago. With the
timing of AWS and without `--drain`, connections fail to addresses that discovery still returns: a task gets SIGTERM while its
deregistration is under way (github.com/aws/containers-roadmap/issues/830).
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emulator import KEY, NAMESPACE, REGION, Emulator, emulating, until

from session import Report, SessionLost  # noqa: I001

TARGET = Path(__file__).resolve().parent.parent / "chaos" / "target.py"
PORT = 8080
TASKS = 3
PAUSE = 0.01
"""Seconds between two questions."""
AGE = 1.0
"""Seconds for which the client uses an answer."""
DRAIN = 1500
"""Milliseconds that a task goes on after its deregistration: more than AGE, and what a connection takes."""
UPDATES = 2
CONNECTORS = 3


class Client:
    """Asks, connects, and collects what went wrong, until it is closed."""

    def __init__(self, emulator: Emulator, service: str):
        self._dns_port, self._service = emulator.dns_port, service
        self._emulator, self._api = emulator, urlsplit(emulator.endpoint).netloc
        self.answers = 0
        self.empty: list[str] = []
        self.connections = 0
        self.late_connections = 0
        """Those to addresses that had left discovery."""
        self.failures: list[str] = []
        """Of connections to addresses that were answered at most AGE seconds before."""
        self.broken: list[str] = []
        self._recent: dict[str, deque] = {"DNS": deque(), "DiscoverInstances": deque()}
        self._lock, self._is_over = threading.Lock(), threading.Event()
        asking = [(self._ask, "DNS", self._resolve), (self._ask, "DiscoverInstances", self._discoverer())]
        self._threads = [
            threading.Thread(target=self._run, args=job) for job in asking + [(self._connect,)] * CONNECTORS
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _run(self, job: Any, *arguments: Any) -> None:
        try:
            while not self._is_over.is_set():
                job(*arguments)
        except Exception as error:  # reported by the check
            self.broken.append(f"{type(error).__name__}: {error}")

    def _resolve(self) -> list[str]:
        return self._emulator.resolved(self._service)

    def _discoverer(self) -> Any:
        """Asks over one connection, because boto3 needs most of the pause."""
        connection = http.client.HTTPConnection(self._api, timeout=30)
        body = json.dumps({"NamespaceName": NAMESPACE, "ServiceName": self._service, "HealthStatus": "HEALTHY"})
        headers = {
            "X-Amz-Target": "Route53AutoNaming_v20170314.DiscoverInstances",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/{REGION}/servicediscovery/aws4_request",
        }

        def discover() -> list[str]:
            connection.request("POST", "/", body, headers)
            found = json.loads(connection.getresponse().read())
            return sorted(instance["Attributes"]["AWS_INSTANCE_IPV4"] for instance in found["Instances"])

        return discover

    def _ask(self, how: str, ask: Any) -> None:
        # What is answered was true after this moment.
        asked_at = time.monotonic()
        addresses = ask()
        with self._lock:
            self.answers += 1
            recent = self._recent[how]
            recent.append((asked_at, how, addresses))
            while recent[0][0] < asked_at - AGE:
                recent.popleft()
            if not addresses:
                self.empty.append(f"{how} after {self.answers} answers")
        self._is_over.wait(max(0, asked_at + PAUSE - time.monotonic()))

    def _connect(self) -> None:
        """Uses a random one of the answers that a cache may still have."""
        with self._lock:
            usable = [answer for recent in self._recent.values() for answer in recent if answer[2]]
            newest = [recent[-1][2] for recent in self._recent.values() if recent]
        if not usable:
            return
        asked_at, how, addresses = random.choice(usable)
        address = random.choice(addresses)
        try:
            with socket.create_connection((address, PORT), timeout=30) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                status = connection.recv(64).split(b" ")[1:2]
            complaint = "" if status == [b"200"] else f"the status {status}"
        except OSError as error:
            complaint = str(error)
        age = time.monotonic() - asked_at
        with self._lock:
            self.connections += 1
            self.late_connections += not any(address in addresses for addresses in newest)
            # A thread that was held up may have used an address for too long.
            if complaint and age <= AGE:
                self.failures.append(f"{address} by {how}, {age:.3f} s old: {complaint}")
        self._is_over.wait(PAUSE)


def deploy(emulator: Emulator, *, custom_health: bool) -> None:
    """Creates the service, each of whose tasks answers HTTP at its own address."""
    namespace = emulator.create_namespace()
    health = {"HealthCheckCustomConfig": {"FailureThreshold": 1}} if custom_health else {}
    registry = emulator.cloud_map.create_service(
        Name="web",
        NamespaceId=namespace,
        DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 1}], "RoutingPolicy": "MULTIVALUE"},
        **health,
    )["Service"]["Arn"]
    check = {"command": ["CMD", "bash", "-c", f"exec 3<>/dev/tcp/$ECS_TASK_ADDRESS/{PORT}"]}
    command = f"exec {sys.executable} -I -S -B {TARGET} $ECS_TASK_ADDRESS {PORT}"
    emulator.define(
        "web", "sh", "-c", command, healthCheck={**check, "interval": 5, "timeout": 60, "retries": 10, "startPeriod": 300}
    )
    limits = {"minimumHealthyPercent": 100, "maximumPercent": 200}
    emulator.serve("web", "web", TASKS, registry, deploymentConfiguration=limits)
    emulator.until_stable("web")
    until("instances are missing", lambda: len(emulator.discovered("web")) == len(emulator.resolved("web")) == TASKS)


def update(emulator: Emulator) -> None:
    emulator.ecs.update_service(service="web", forceNewDeployment=True)
    emulator.until_stable("web")


def drained(binary: str, directory: Path, report: Report) -> None:
    with emulating(binary, directory, "--second", "20", "--drain", str(DRAIN)) as emulator:
        deploy(emulator, custom_health=True)
        with Client(emulator, "web") as client:
            for _ in range(UPDATES):
                before = client.answers, client.late_connections
                update(emulator)
                # So that each update is seen, and so are the tasks that drain.
                report.check(
                    f"drain: an update ran under {client.answers - before[0]} questions, "
                    f"and {client.late_connections - before[1]} connections were to what had left discovery",
                    [] if client.answers > before[0] and client.late_connections > before[1] else ["no load"],
                )
        report.check(f"drain: none of {client.answers} answers was empty", client.empty)
        report.check(f"drain: none of {client.connections} connections failed", client.failures[:10])
        report.check("drain: the client ran on", client.broken)


def undrained(binary: str, directory: Path, report: Report) -> None:
    with emulating(binary, directory, "--second", "20", "--timing", "aws") as emulator:
        deploy(emulator, custom_health=False)
        with Client(emulator, "web") as client:
            update(emulator)
        report.check(
            f"as AWS: {len(client.failures)} of {client.connections} connections failed",
            [] if client.failures else ["expected some: the gap of containers-roadmap #830 does not appear"],
        )
        report.check(f"as AWS: none of {client.answers} answers was empty", client.empty)
        report.check("as AWS: the client ran on", client.broken)


def main(binary: str) -> int:
    report = Report()
    with tempfile.TemporaryDirectory(prefix="sd-ecs.") as home:
        for part in (drained, undrained):
            try:
                part(binary, Path(home), report)
            except SessionLost as error:
                report.fail(part.__name__, str(error))
    return report.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
