"""Shared by the checks of examples/embed_in_emulator: the program, its clients, and its tasks.

A check runs as `run PART`, in a PID namespace of its own. So every process in /proc belongs to it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from session import Server, SessionLost, environment  # noqa: E402

REGION = "eu-west-1"
KEY, ACCOUNT = "web", "111122223333"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
NAMESPACE = "app.local"
DEADLINE = 60
"""Seconds until something that is to happen has happened. Most of it takes less than one."""


def until(what: str, attempt: Callable[[], Any], emulator: Emulator | None = None) -> Any:
    """Tries until the result is true, and returns it."""
    deadline = time.monotonic() + DEADLINE
    while not (result := attempt()):
        if emulator is not None:
            emulator.check_alive()
        if time.monotonic() > deadline:
            raise SessionLost(f"after {DEADLINE} s: {what}")
        time.sleep(0.01)  # a poll, bounded by the deadline
    return result


def settles(differences: Callable[[], list[str]], emulator: Emulator) -> list[str]:
    """Tries until there are no differences, and returns those that stay."""
    deadline = time.monotonic() + DEADLINE
    while (found := differences()) and time.monotonic() < deadline:
        emulator.check_alive()
        time.sleep(0.02)  # a poll, bounded by the deadline
    return found


class Emulator:
    """The program, with boto3 clients of its two services."""

    def __init__(self, binary: str, directory: Path, *flags: str):
        log = Path(tempfile.mkstemp(suffix=".log", dir=directory)[1])
        command = [binary, "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", *flags]
        self._server = Server(command, log, environment(directory))
        self.pid = self._server._process.pid
        try:
            form = r"^API \S*:(\d+), DNS \S*:(\d+)$"
            printed = until("no addresses", lambda: re.search(form, self._server.output, re.MULTILINE), self)
        except SessionLost as error:
            self.stop()
            raise SessionLost(f"{error}: {self._server.output}") from None
        self.endpoint = f"http://127.0.0.1:{printed[1]}"
        self.dns_port = int(printed[2])
        self.ecs, self.cloud_map = self.client("ecs"), self.client("servicediscovery")

    def client(self, service: str) -> Any:
        """A client that tries once, so that a check sees each answer."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=False, max_pool_connections=50),
        )

    def check_alive(self) -> None:
        self._server.check_alive()

    @property
    def output(self) -> str:
        return self._server.output

    def kill(self) -> None:
        """As `kill -9`, of the emulator alone."""
        self._server._process.kill()
        self._server._process.wait()

    def stop(self) -> None:
        self._server.stop()

    # Cloud Map.

    def create_namespace(self) -> str:
        """The id of the namespace app.local."""
        created = self.cloud_map.create_private_dns_namespace(Name=NAMESPACE, Vpc="vpc-1")
        self.finished(created["OperationId"])
        return self.cloud_map.list_namespaces()["Namespaces"][0]["Id"]

    def finished(self, operation: str) -> None:
        """Waits for an operation of Cloud Map."""

        def status() -> bool:
            found = self.cloud_map.get_operation(OperationId=operation)["Operation"]
            if found["Status"] == "FAIL":
                raise SessionLost(f"the operation failed: {found}")
            return found["Status"] == "SUCCESS"

        until(f"operation {operation} is not finished", status, self)

    def create_registry(self, name: str, namespace: str) -> dict[str, Any]:
        """A service of Cloud Map."""
        records = {"DnsRecords": [{"Type": "A", "TTL": 1}], "RoutingPolicy": "MULTIVALUE"}
        created = self.cloud_map.create_service(
            Name=name, NamespaceId=namespace, DnsConfig=records, HealthCheckCustomConfig={"FailureThreshold": 1}
        )
        return created["Service"]

    def discovered(self, name: str, health: str = "HEALTHY") -> dict[str, str]:
        """The address of each instance."""
        found = self.cloud_map.discover_instances(
            NamespaceName=NAMESPACE, ServiceName=name, HealthStatus=health, MaxResults=1000
        )
        return {found["InstanceId"]: found["Attributes"]["AWS_INSTANCE_IPV4"] for found in found["Instances"]}

    def resolved(self, name: str) -> list[str]:
        return resolved(self.dns_port, f"{name}.{NAMESPACE}")

    # ECS.

    def define(self, family: str, *command: str, **members: Any) -> str:
        """A task definition with one container. Returns its ARN."""
        container = {"name": "app", "image": "any", "command": list(command), **members}
        made = self.ecs.register_task_definition(
            family=family, networkMode="awsvpc", containerDefinitions=[container]
        )
        return made["taskDefinition"]["taskDefinitionArn"]

    def serve(self, name: str, family: str, count: int, *registries: str, **members: Any) -> None:
        self.ecs.create_service(
            serviceName=name,
            taskDefinition=family,
            desiredCount=count,
            networkConfiguration=NETWORK,
            serviceRegistries=[{"registryArn": arn} for arn in registries],
            **members,
        )

    def service(self, name: str) -> dict[str, Any]:
        return self.ecs.describe_services(services=[name])["services"][0]

    def is_stable(self, name: str) -> bool:
        """Whether the newest deployment is completed and nothing else is left."""
        service = self.service(name)
        deployments = service["deployments"]
        is_one = len(deployments) == 1 and service["runningCount"] == service["desiredCount"]
        return is_one and deployments[0]["rolloutState"] == "COMPLETED"

    def until_stable(self, name: str) -> None:
        try:
            until(f"{name} is not stable", lambda: self.is_stable(name), self)
        except SessionLost as error:
            raise SessionLost(f"{error}: {self.service(name)}; {self.tasks(serviceName=name)}") from None

    def tasks(self, **chosen: str) -> list[dict[str, Any]]:
        """The tasks that ListTasks chooses: by default, all that are to run."""
        pages = self.ecs.get_paginator("list_tasks").paginate(**chosen)
        arns = [arn for page in pages for arn in page["taskArns"]]
        tasks = []
        for start in range(0, len(arns), 100):
            tasks += self.ecs.describe_tasks(tasks=arns[start : start + 100])["tasks"]
        return tasks


def id_of(task: dict[str, Any]) -> str:
    return task["taskArn"].rsplit("/", 1)[1]


def address_of(task: dict[str, Any]) -> str:
    return task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]


@contextlib.contextmanager
def emulating(binary: str, directory: Path, *flags: str) -> Iterator[Emulator]:
    emulator = Emulator(binary, directory, *flags)
    try:
        yield emulator
    finally:
        emulator.stop()


def resolved(port: int, name: str) -> list[str]:
    """The addresses of an A query over UDP."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(DEADLINE)
        asked.sendto(query, ("127.0.0.1", port))
        answer = asked.recv(4096)
    count, position, addresses = struct.unpack(">H", answer[6:8])[0], len(query), []
    for _ in range(count):
        # Each record begins with a pointer to the name.
        length = struct.unpack(">H", answer[position + 10 : position + 12])[0]
        addresses.append(".".join(map(str, answer[position + 12 : position + 12 + length])))
        position += 12 + length
    return sorted(addresses)


def processes() -> dict[int, str]:
    """The command of each process. That of a zombie is empty."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                found[int(entry.name)] = command.replace("\0", " ").strip()
    return found


def left(before: dict[int, str]) -> list[str]:
    """The processes that were not there before."""
    own = os.getpid()
    return [f"{pid}: {command}" for pid, command in processes().items() if pid not in before and pid != own]
