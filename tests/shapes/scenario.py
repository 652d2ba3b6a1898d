"""Calls whose answers contain every member of every output, and every error."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from clients import Client

TTL = {"DnsProperties": {"SOA": {"TTL": 30}}}


def play(client: Client) -> None:
    http, dns, public = _namespaces(client)
    service, checked = _services(client, dns, http)
    _attributes_and_tags(client, dns, service["Arn"], service["Id"])
    _instances(client, service["Id"], checked["Id"])
    _refusals(client, service["Id"], checked["Id"], http)
    _deletions(client, [service["Id"], checked["Id"]], [http, dns, public])


def _operation(client: Client, operation: str, **request: Any) -> dict[str, Any]:
    """The operation that a request started."""
    started = client.call(operation, **request)
    return client.call("GetOperation", OperationId=started["OperationId"])["Operation"] if started else {}


def _namespaces(client: Client) -> list[str | None]:
    namespaces = []
    for operation, request in [
        ("CreateHttpNamespace", {"Name": "http.test", "Tags": [{"Key": "k", "Value": "v"}]}),
        ("CreatePrivateDnsNamespace", {"Name": "dns.test", "Vpc": "vpc-1", "Properties": TTL}),
        ("CreatePublicDnsNamespace", {"Name": "public.test", "Properties": TTL}),
    ]:
        created = _operation(client, operation, Description="d", **request)
        namespaces.append(created.get("Targets", {}).get("NAMESPACE"))
        if namespaces[-1]:
            client.call("GetNamespace", Id=namespaces[-1])
    http, dns, public = namespaces
    client.refused("NamespaceAlreadyExists", "CreateHttpNamespace", Name="http.test")
    # The zone exists in this VPC, so the request is accepted and its operation fails.
    _operation(client, "CreatePrivateDnsNamespace", Name="dns.test", Vpc="vpc-1")
    client.call("ListNamespaces", MaxResults=1)
    client.call("ListNamespaces")
    client.call("UpdateHttpNamespace", Id=http, Namespace={"Description": "e"})
    change = {"Description": "e", "Properties": TTL}
    client.call("UpdatePrivateDnsNamespace", Id=dns, Namespace=change)
    client.call("UpdatePublicDnsNamespace", Id=public, Namespace=change)
    return namespaces


def _services(client: Client, dns: str, http: str) -> list[dict[str, Any]]:
    records = {"DnsRecords": [{"Type": "A", "TTL": 60}]}
    custom = {"HealthCheckCustomConfig": {"FailureThreshold": 1}, "Tags": [{"Key": "k", "Value": "v"}]}
    check = {"HealthCheckConfig": {"Type": "HTTP", "ResourcePath": "/health", "FailureThreshold": 3}}
    services = []
    for name, config in ("custom", custom), ("checked", check):
        request = {"Name": name, "NamespaceId": dns, "Description": "d", "DnsConfig": records, **config}
        services.append(client.call("CreateService", **request)["Service"])
        client.call("GetService", Id=services[-1]["Id"])
        client.refused("ServiceAlreadyExists", "CreateService", **request)
    client.call("ListServices", MaxResults=1)
    client.call("ListServices")
    change = {"Description": "e", "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 10}]}}
    _operation(client, "UpdateService", Id=services[0]["Id"], Service=change)
    return services


def _attributes_and_tags(client: Client, namespace: str, arn: str, service: str) -> None:
    client.call("UpdateServiceAttributes", ServiceId=service, Attributes={"k": "v"})
    client.call("GetServiceAttributes", ServiceId=service)
    too_many = {f"k{i}": "v" for i in range(30)}
    client.refused(
        "ServiceAttributesLimitExceededException", "UpdateServiceAttributes", ServiceId=service, Attributes=too_many
    )
    client.call("DeleteServiceAttributes", ServiceId=service, Attributes=["k"])
    tags = [{"Key": f"k{i}", "Value": "v"} for i in range(51)]
    client.refused("TooManyTagsException", "CreateHttpNamespace", Name="tags.test", Tags=tags)
    client.refused("TooManyTagsException", "CreateService", Name="tags", NamespaceId=namespace, Tags=tags)
    client.refused("TooManyTagsException", "TagResource", ResourceARN=arn, Tags=tags)
    client.call("TagResource", ResourceARN=arn, Tags=tags[:1])
    client.call("ListTagsForResource", ResourceARN=arn)
    client.call("UntagResource", ResourceARN=arn, TagKeys=["k0"])
    nothing = arn.replace(service, "srv-aaaaaaaaaaaaaaaa")
    client.refused("ResourceNotFoundException", "ListTagsForResource", ResourceARN=nothing)


def _instances(client: Client, service: str, checked: str) -> None:
    attributes = {"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80", "k": "v"}
    for where, instance in (service, "a"), (service, "b"), (checked, "a"):
        _operation(client, "RegisterInstance", ServiceId=where, InstanceId=instance, Attributes=attributes)
    client.call("GetInstance", ServiceId=service, InstanceId="a")
    client.call("ListInstances", ServiceId=service, MaxResults=1)
    client.call("ListInstances", ServiceId=service)
    names = {"NamespaceName": "dns.test", "ServiceName": "custom"}
    found = client.call("DiscoverInstances", **names, QueryParameters={"k": "v"})
    if sorted(instance["InstanceId"] for instance in found.get("Instances", [])) != ["a", "b"]:
        client.complaints.append(f"DiscoverInstances: {found}")
    client.call("DiscoverInstancesRevision", **names)
    client.call("UpdateInstanceCustomHealthStatus", ServiceId=service, InstanceId="a", Status="UNHEALTHY")
    statuses = client.call("GetInstancesHealthStatus", ServiceId=service, Instances=["a"]).get("Status")
    if statuses != {"a": "UNHEALTHY"}:
        client.complaints.append(f"GetInstancesHealthStatus: {statuses}")
    client.call("GetInstancesHealthStatus", ServiceId=service, MaxResults=1)
    client.call("ListOperations", MaxResults=1)


def _refusals(client: Client, service: str, checked: str, namespace: str) -> None:
    nobody = "srv-aaaaaaaaaaaaaaaa"
    client.refused("InvalidInput", "CreateHttpNamespace", Name="")
    client.refused("NamespaceNotFound", "GetNamespace", Id="ns-aaaaaaaaaaaaaaaa")
    client.refused("ServiceNotFound", "GetService", Id=nobody)
    client.refused("OperationNotFound", "GetOperation", OperationId="none")
    client.refused("InstanceNotFound", "GetInstance", ServiceId=service, InstanceId="none")
    report = {"ServiceId": checked, "InstanceId": "a", "Status": "HEALTHY"}
    client.refused("CustomHealthNotFound", "UpdateInstanceCustomHealthStatus", **report)
    client.refused("ResourceInUse", "DeleteService", Id=service)


def _deletions(client: Client, services: list[str], namespaces: list[str | None]) -> None:
    for service in services:
        for instance in client.call("ListInstances", ServiceId=service).get("Instances", []):
            _operation(client, "DeregisterInstance", ServiceId=service, InstanceId=instance["Id"])
        client.call("DeleteService", Id=service)
    for namespace in filter(None, namespaces):
        _operation(client, "DeleteNamespace", Id=namespace)
    if left := client.call("ListNamespaces").get("Namespaces"):
        client.complaints.append(f"left: {left}")


def play_slow(client: Client, seconds: float = 30) -> None:
    """For a server with slow operations: sends a second request while the first is in progress."""
    request = {"OperationId": client.call("CreateHttpNamespace", Name="slow.test")["OperationId"]}
    deadline = time.monotonic() + seconds
    while client.call("GetOperation", **request).get("Operation", {}).get("Status") != "SUCCESS":
        if time.monotonic() > deadline:
            client.complaints.append(f"the operation is still in progress after {seconds} s")
            return
        time.sleep(0.1)  # a poll, bounded by the deadline
    namespace = client.call("ListNamespaces")["Namespaces"][0]["Id"]
    client.call("DeleteNamespace", Id=namespace)
    client.refused("DuplicateRequest", "DeleteNamespace", Id=namespace)


def play_quotas(client: Client, seconds: float = 60) -> None:
    """For a server with AWS's quotas: creates one namespace too many, and discovers too often."""
    for number in range(50):
        client.call("CreateHttpNamespace", Name=f"n{number}.test")
    client.refused("ResourceLimitExceeded", "CreateHttpNamespace", Name="one-more.test")
    deadline = time.monotonic() + seconds
    with _flood(client.address):
        while client.code("DiscoverInstances", NamespaceName="n0.test", ServiceName="s") != "RequestLimitExceeded":
            if time.monotonic() > deadline:
                client.complaints.append(f"DiscoverInstances is not throttled after {seconds} s above AWS's rate")
                return


@contextlib.contextmanager
def _flood(address: tuple[str, int]) -> Iterator[None]:
    """Meanwhile, sends requests without waiting for answers, because boto3 alone is slower than the quota."""
    body = b'{"NamespaceName": "n0.test", "ServiceName": "s"}'
    head = (
        f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "X-Amz-Target: Route53AutoNaming_v20170314.DiscoverInstances\r\n"
        # For the account and Region of the client.
        "Authorization: AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/servicediscovery/aws4_request, "
        "SignedHeaders=host, Signature=0\r\n\r\n"
    )
    with socket.create_connection(address) as connection:

        def send() -> None:
            with contextlib.suppress(OSError):  # until it is shut down
                while True:
                    connection.sendall((head.encode() + body) * 100)

        def drop() -> None:
            with contextlib.suppress(OSError):
                while connection.recv(1 << 16):
                    pass

        threads = [threading.Thread(target=target) for target in (send, drop)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
