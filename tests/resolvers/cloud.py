"""The server that resolvers query: on port 53, filled through the API."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from session import Server, SessionLost, environment  # noqa: E402
from upstream import UPSTREAM, upstream  # noqa: E402

# Addresses on the network of tests/lib/netns.sh.
DNS = "127.0.0.1"
DNS_IPV6 = "::1"
FORWARDING = "127.0.0.3"
"""A second server, which forwards unknown names to `UPSTREAM`."""

EIGHT = range(1, 9)
TWENTY = range(1, 21)
LONG_LABEL = "l" * 63
LONG_SERVICE = f"{LONG_LABEL}.{LONG_LABEL[:61]}"
LONG_NAMESPACE = f"{LONG_LABEL}.{LONG_LABEL[:55]}.local"
LONG = f"{LONG_SERVICE}.{LONG_NAMESPACE}"
"""The longest name: 253 characters, 255 bytes in a message (RFC 1035 section 2.3.4)."""

BULKY = f"{LONG_LABEL}.{LONG_NAMESPACE}"
"""The name of a service whose eight SRV records do not fit into a datagram."""


def ipv4(number: int) -> str:
    return f"10.0.0.{number}"


def ipv6(number: int) -> str:
    return f"fd00::{number:x}"


class CloudMap:
    """A plain client of the API, without an SDK."""

    def __init__(self, host: str) -> None:
        self._connection = http.client.HTTPConnection(host, 5373, timeout=30)

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"Route53AutoNaming_v20170314.{operation}",
        }
        self._connection.request("POST", "/", json.dumps(members), headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{operation} {members}: status {response.status}: {body!r}")
        return json.loads(body or b"{}")

    def namespace(self, name: str, kind: str = "Private") -> str:
        vpc = {"Vpc": "vpc-1"} if kind == "Private" else {}
        created = self.call(f"Create{kind}DnsNamespace", Name=name, **vpc)
        operation = self.call("GetOperation", OperationId=created["OperationId"])["Operation"]
        return operation["Targets"]["NAMESPACE"]

    def service(
        self, namespace: str, name: str, *types: str, ttl: int = 60, routing: str = "MULTIVALUE", **members: Any
    ) -> str:
        records = [{"Type": kind, "TTL": ttl} for kind in types]
        config = {"DnsRecords": records, "RoutingPolicy": routing}
        created = self.call("CreateService", Name=name, NamespaceId=namespace, DnsConfig=config, **members)
        return created["Service"]["Id"]

    def register(self, service: str, number: int, **attributes: str) -> None:
        """Registers the instance `i-NUMBER`, by default with the IPv4 and IPv6 address of this number."""
        attributes = attributes or {"AWS_INSTANCE_IPV4": ipv4(number), "AWS_INSTANCE_IPV6": ipv6(number)}
        self.call("RegisterInstance", ServiceId=service, InstanceId=f"i-{number}", Attributes=attributes)

    def deregister(self, service: str, number: int) -> None:
        self.call("DeregisterInstance", ServiceId=service, InstanceId=f"i-{number}")

    def report(self, service: str, number: int, status: str) -> None:
        self.call("UpdateInstanceCustomHealthStatus", ServiceId=service, InstanceId=f"i-{number}", Status=status)


class World:
    """The registered names. Checks change the services `moving` and `checked`, and restore them."""

    def __init__(self, host: str):
        self.cloud_map = CloudMap(host)
        app = self.cloud_map.namespace("app.local")
        self._service(app, "one", "A", number=1)
        self._service(app, "six", "AAAA", number=2)
        self._service(app, "both", "A", "AAAA", number=3)
        self._service(app, "alias", "CNAME", AWS_INSTANCE_CNAME="one.app.local")

        self._fill(self.cloud_map.service(app, "many", "A", "AAAA"), TWENTY)
        self._ports(self.cloud_map.service(app, "backend", "SRV"), (1, 2))

        self.checked = self.cloud_map.service(
            app, "checked", "A", ttl=0, HealthCheckCustomConfig={"FailureThreshold": 1}
        )
        self._fill(self.checked, (1, 2))
        self.moving = self.cloud_map.service(app, "moving", "A", "AAAA", ttl=0)
        self._fill(self.moving, (1, 2))

        long = self.cloud_map.namespace(LONG_NAMESPACE)
        self._service(long, LONG_SERVICE, "A", number=4)
        self._ports(self.cloud_map.service(long, LONG_LABEL, "SRV"), EIGHT)
        self._service(self.cloud_map.namespace("svc.internal"), "web", "A", "AAAA", number=5)
        self._service(self.cloud_map.namespace("apps.example.com", "Public"), "web", "A", "AAAA", number=6)
        if host == FORWARDING:
            self._service(app, "elsewhere", "CNAME", AWS_INSTANCE_CNAME="www.example.org")
            self._service(app, "balanced", "A", "AAAA", AWS_ALIAS_DNS_NAME="www.example.org")
        else:
            # A name that Kubernetes's search list leads to. The other server forwards it.
            self._service(self.cloud_map.namespace("cluster.local"), "only", "A", "AAAA", number=7)

    def _service(self, namespace: str, name: str, *types: str, number: int = 1, **attributes: str) -> None:
        # CNAME records and aliases of load balancers need weighted routing.
        routing = "WEIGHTED" if attributes else "MULTIVALUE"
        self.cloud_map.register(self.cloud_map.service(namespace, name, *types, routing=routing), number, **attributes)

    def _fill(self, service: str, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.cloud_map.register(service, number)

    def _ports(self, service: str, numbers: Iterable[int]) -> None:
        for number in numbers:
            attributes = {"AWS_INSTANCE_IPV4": ipv4(number), "AWS_INSTANCE_PORT": str(8000 + number)}
            self.cloud_map.register(service, number, **attributes)


@contextlib.contextmanager
def serving(binary: str, directory: Path, host: str = DNS, *flags: str) -> Iterator[World]:
    """Runs a server on the addresses that resolvers query, with all names registered."""
    dns = [f"{DNS}:53", f"[{DNS_IPV6}]:53"] if host == DNS else [f"{host}:53"]
    addresses = ["--http", f"{host}:5373", "--admin", f"{host}:5374", "--dns", ",".join(dns)]
    server = Server([binary, *addresses, *flags], directory / f"server-{host}.log", environment(directory))
    try:
        server.wait_for([(host, 5373), (host, 53)], seconds=30)
        yield World(host)
        if (status := server.stop()) != 0:
            raise SessionLost(f"the server ended with status {status}: {server.output[-4000:]}")
    finally:
        server.stop()


@contextlib.contextmanager
def serving_and_forwarding(binary: str, directory: Path) -> Iterator[World]:
    """Runs a server, and beside it one that forwards. Yields the world of the first."""
    with (
        upstream(directory / "upstream"),
        serving(binary, directory) as world,
        serving(binary, directory, FORWARDING, "--forward", UPSTREAM),
    ):
        yield world
