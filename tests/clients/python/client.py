"""The checks with boto3. SD_PROTOCOL=cbor forces rpc-v2-cbor, which boto3 otherwise uses only for models without JSON."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import boto3
import botocore.exceptions
from botocore.config import Config

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "clients"), str(TESTS / "shapes")]

from checks import FIVE, UNICODE, check, equal, name, run_all  # noqa: E402
from clients import forced  # noqa: E402

def session() -> boto3.Session:
    if os.environ.get("SD_PROTOCOL") == "cbor":
        return boto3.Session(botocore_session=forced("smithy-rpc-v2-cbor"))
    return boto3.Session()


def client_of(endpoint: str, **config):
    # One attempt, so that a check sees each answer.
    config = {"retries": {"total_max_attempts": 1}, "proxies": {}, "inject_host_prefix": False, **config}
    return session().client("servicediscovery", endpoint_url=endpoint, config=Config(**config))


def page_client(endpoint: str):
    client = boto3.client(
        "servicediscovery",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="123456789012",  # the account
        aws_secret_access_key="none",
        config=Config(inject_host_prefix=False),
    )
    return client


sd = client_of(os.environ["SD_ENDPOINT"])
timed = client_of(os.environ["SD_ENDPOINT_TIMED"])


def polled(operation: str, client=sd) -> dict:
    """Waits for an operation to end, and returns it."""
    deadline = time.monotonic() + 30
    while True:
        found = client.get_operation(OperationId=operation)["Operation"]
        if found["Status"] in ("SUCCESS", "FAIL"):
            equal(found["Status"], "SUCCESS")
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)  # a poll, bounded by the deadline


def http_namespace(**more) -> tuple[str, str]:
    """Creates an HTTP namespace, and returns its id and name."""
    called = name("http")
    operation = sd.create_http_namespace(Name=called, **more)["OperationId"]
    return polled(operation)["Targets"]["NAMESPACE"], called


def service(namespace: str, **more) -> str:
    return sd.create_service(Name=name("service"), NamespaceId=namespace, **more)["Service"]["Id"]


def register(service_id: str, instance: str, **attributes: str) -> dict:
    started = sd.register_instance(ServiceId=service_id, InstanceId=instance, Attributes=attributes)
    return polled(started["OperationId"])


def refused(kind: str, call: Callable, **request) -> dict:
    """The error of a refused call, as the client's own type."""
    try:
        call(**request)
    except getattr(call.__self__.exceptions, kind) as error:
        assert error.response["Error"]["Message"], f"{kind} has no message"
        return error.response
    raise AssertionError(f"{request} was not refused")


@check("namespace.http")
def _() -> None:
    called = name("http")
    started = sd.create_http_namespace(
        Name=called, CreatorRequestId="token", Description="d", Tags=[{"Key": "k", "Value": "v"}]
    )
    found = polled(started["OperationId"])
    equal(found["Type"], "CREATE_NAMESPACE")
    namespace = sd.get_namespace(Id=found["Targets"]["NAMESPACE"])["Namespace"]
    equal((namespace["Name"], namespace["Type"], namespace["Description"]), (called, "HTTP", "d"))
    equal(namespace["Properties"]["HttpProperties"]["HttpName"], called)
    changed = sd.update_http_namespace(Id=namespace["Id"], Namespace={"Description": "e"})
    polled(changed["OperationId"])
    equal(sd.get_namespace(Id=namespace["Id"])["Namespace"]["Description"], "e")
    polled(sd.delete_namespace(Id=namespace["Id"])["OperationId"])
    refused("NamespaceNotFound", sd.get_namespace, Id=namespace["Id"])


@check("namespace.private")
def _() -> None:
    soa = lambda ttl: {"DnsProperties": {"SOA": {"TTL": ttl}}}  # noqa: E731
    started = sd.create_private_dns_namespace(Name=name("private") + ".local", Vpc="vpc-1", Properties=soa(30))
    found = polled(started["OperationId"])["Targets"]["NAMESPACE"]
    ttl = lambda: sd.get_namespace(Id=found)["Namespace"]["Properties"]["DnsProperties"]  # noqa: E731
    assert ttl()["HostedZoneId"]
    equal(ttl()["SOA"]["TTL"], 30)
    polled(sd.update_private_dns_namespace(Id=found, Namespace={"Properties": soa(40)})["OperationId"])
    equal(ttl()["SOA"]["TTL"], 40)
    polled(sd.delete_namespace(Id=found)["OperationId"])


@check("namespace.public")
def _() -> None:
    started = sd.create_public_dns_namespace(Name=name("public") + ".example")
    found = polled(started["OperationId"])["Targets"]["NAMESPACE"]
    equal(sd.get_namespace(Id=found)["Namespace"]["Type"], "DNS_PUBLIC")
    polled(sd.delete_namespace(Id=found)["OperationId"])


@check("operation.poll")
def _() -> None:
    started = timed.create_http_namespace(Name=name())["OperationId"]
    first = timed.get_operation(OperationId=started)["Operation"]["Status"]
    assert first in ("SUBMITTED", "PENDING"), first
    polled(started, timed)


@check("service.lifecycle")
def _() -> None:
    started = sd.create_private_dns_namespace(Name=name("zone") + ".local", Vpc="vpc-1")
    namespace = polled(started["OperationId"])["Targets"]["NAMESPACE"]
    records = lambda ttl: [{"Type": kind, "TTL": ttl} for kind in ("A", "SRV")]  # noqa: E731
    created = sd.create_service(
        Name="web", DnsConfig={"NamespaceId": namespace, "RoutingPolicy": "MULTIVALUE", "DnsRecords": records(60)}
    )["Service"]
    got = lambda: sd.get_service(Id=created["Id"])["Service"]["DnsConfig"]  # noqa: E731
    equal((got()["NamespaceId"], got()["DnsRecords"]), (namespace, records(60)))
    change = {"DnsConfig": {"DnsRecords": records(5)}}
    polled(sd.update_service(Id=created["Id"], Service=change)["OperationId"])
    equal(got()["DnsRecords"], records(5))
    filters = [{"Name": "NAMESPACE_ID", "Values": [namespace], "Condition": "EQ"}]
    equal([found["Id"] for found in sd.list_services(Filters=filters)["Services"]], [created["Id"]])
    sd.delete_service(Id=created["Id"])
    refused("ServiceNotFound", sd.get_service, Id=created["Id"])


@check("service.attributes")
def _() -> None:
    created = service(http_namespace()[0])
    sd.update_service_attributes(ServiceId=created, Attributes={"a": "1", "b": "2"})
    got = lambda: sd.get_service_attributes(ServiceId=created)["ServiceAttributes"]["Attributes"]  # noqa: E731
    equal(got(), {"a": "1", "b": "2"})
    sd.delete_service_attributes(ServiceId=created, Attributes=["a"])
    equal(got(), {"b": "2"})


@check("instance.lifecycle")
def _() -> None:
    created = service(http_namespace()[0])
    equal(register(created, "i-1", stage="blue")["Targets"], {"SERVICE": created, "INSTANCE": "i-1"})
    got = lambda: sd.get_instance(ServiceId=created, InstanceId="i-1")["Instance"]["Attributes"]  # noqa: E731
    equal(got(), {"stage": "blue"})
    register(created, "i-1", stage="green")
    equal(got(), {"stage": "green"})
    equal([found["Id"] for found in sd.list_instances(ServiceId=created)["Instances"]], ["i-1"])
    polled(sd.deregister_instance(ServiceId=created, InstanceId="i-1")["OperationId"])
    refused("InstanceNotFound", sd.get_instance, ServiceId=created, InstanceId="i-1")


@check("instance.health")
def _() -> None:
    created = service(http_namespace()[0], HealthCheckCustomConfig={"FailureThreshold": 1})
    register(created, "i-1", a="b")
    sd.update_instance_custom_health_status(ServiceId=created, InstanceId="i-1", Status="UNHEALTHY")
    equal(sd.get_instances_health_status(ServiceId=created)["Status"], {"i-1": "UNHEALTHY"})


@check("discover.instances")
def _() -> None:
    namespace, called = http_namespace()
    found = sd.get_service(Id=service(namespace))["Service"]
    register(found["Id"], "i-1", AWS_INSTANCE_IPV4="10.0.0.1")
    # As in docs/clients.md.
    client = page_client(os.environ["SD_ENDPOINT"])
    equal(client.list_namespaces()["ResponseMetadata"]["HTTPStatusCode"], 200)
    answer = sd.discover_instances(NamespaceName=called, ServiceName=found["Name"])
    [instance] = answer["Instances"]
    equal((instance["InstanceId"], instance["NamespaceName"], instance["ServiceName"]), ("i-1", called, found["Name"]))
    equal((instance["Attributes"], instance["HealthStatus"]), ({"AWS_INSTANCE_IPV4": "10.0.0.1"}, "UNKNOWN"))
    revision = sd.discover_instances_revision(NamespaceName=called, ServiceName=found["Name"])
    equal(answer["InstancesRevision"], revision["InstancesRevision"])


def discovered(called: str, service_id: str, **more) -> list[str]:
    service_name = sd.get_service(Id=service_id)["Service"]["Name"]
    answer = sd.discover_instances(NamespaceName=called, ServiceName=service_name, **more)
    return sorted(instance["InstanceId"] for instance in answer["Instances"])


@check("discover.parameters")
def _() -> None:
    namespace, called = http_namespace()
    created = service(namespace)
    register(created, "a", stage="blue", zone="1")
    register(created, "b", stage="blue", zone="2")
    register(created, "c", stage="green", zone="2")
    equal(discovered(called, created, QueryParameters={"stage": "blue"}), ["a", "b"])
    both = {"QueryParameters": {"stage": "blue"}, "OptionalParameters": {"zone": "2"}}
    equal(discovered(called, created, **both), ["b"])
    equal(discovered(called, created, OptionalParameters={"zone": "3"}), ["a", "b", "c"])


@check("discover.health")
def _() -> None:
    namespace, called = http_namespace()
    created = service(namespace, HealthCheckCustomConfig={"FailureThreshold": 1})
    register(created, "ill", a="b")
    register(created, "well", a="b")
    sd.update_instance_custom_health_status(ServiceId=created, InstanceId="ill", Status="UNHEALTHY")
    expected = {"HEALTHY": ["well"], "UNHEALTHY": ["ill"], "ALL": ["ill", "well"], "HEALTHY_OR_ELSE_ALL": ["well"]}
    equal({status: discovered(called, created, HealthStatus=status) for status in expected}, expected)


@check("error.namespace-exists")
def _() -> None:
    namespace, called = http_namespace(CreatorRequestId="first")
    error = refused("NamespaceAlreadyExists", sd.create_http_namespace, Name=called)
    equal((error["NamespaceId"], error["CreatorRequestId"]), (namespace, "first"))


@check("error.service-exists")
def _() -> None:
    namespace, _ = http_namespace()
    created = sd.create_service(Name="web", NamespaceId=namespace, CreatorRequestId="first")["Service"]
    error = refused("ServiceAlreadyExists", sd.create_service, Name="web", NamespaceId=namespace)
    equal((error["ServiceId"], error["CreatorRequestId"]), (created["Id"], "first"))


@check("error.duplicate-request")
def _() -> None:
    called = name()
    started = timed.create_http_namespace(Name=called)["OperationId"]
    error = refused("DuplicateRequest", timed.create_http_namespace, Name=called)
    equal(error["DuplicateOperationId"], started)


@check("error.in-use")
def _() -> None:
    namespace, _ = http_namespace()
    service(namespace)
    refused("ResourceInUse", sd.delete_namespace, Id=namespace)


@check("error.not-found")
def _() -> None:
    created = service(http_namespace()[0])
    arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-none"
    register(created, "i-1", a="b")
    refused("NamespaceNotFound", sd.get_namespace, Id="ns-none")
    refused("ServiceNotFound", sd.get_service, Id="srv-none")
    refused("InstanceNotFound", sd.get_instance, ServiceId=created, InstanceId="i-none")
    refused("OperationNotFound", sd.get_operation, OperationId="none")
    refused("ResourceNotFoundException", sd.list_tags_for_resource, ResourceARN=arn)
    report = {"ServiceId": created, "InstanceId": "i-1", "Status": "HEALTHY"}
    refused("CustomHealthNotFound", sd.update_instance_custom_health_status, **report)


@check("error.invalid-input")
def _() -> None:
    error = refused("InvalidInput", sd.create_http_namespace, Name="with a space")
    assert "name" in error["Error"]["Message"], error


@check("error.too-many-tags")
def _() -> None:
    namespace, _ = http_namespace()
    arn = sd.get_namespace(Id=namespace)["Namespace"]["Arn"]
    tags = [{"Key": f"k{n}", "Value": "v"} for n in range(51)]
    sd.tag_resource(ResourceARN=arn, Tags=tags[:50])
    error = refused("TooManyTagsException", sd.tag_resource, ResourceARN=arn, Tags=tags[50:])
    equal(error["ResourceName"], arn)


@check("error.limit")
def _() -> None:
    client = client_of(os.environ["SD_ENDPOINT_QUOTAS"])
    for _ in range(50):
        client.create_http_namespace(Name=name())
    refused("ResourceLimitExceeded", client.create_http_namespace, Name=name())


def all_pages(operation: str, members: str, **request) -> list:
    pages = sd.get_paginator(operation).paginate(**request, PaginationConfig={"PageSize": 2})
    pages = [page[members] for page in pages]
    assert all(len(page) <= 2 for page in pages), pages
    return [item for page in pages for item in page]


@check("pages.namespaces")
def _() -> None:
    prefix = name("paged")
    ids = []
    for number in range(5):
        started = sd.create_http_namespace(Name=f"{prefix}-{number}")
        ids.append(polled(started["OperationId"])["Targets"]["NAMESPACE"])
    filters = [{"Name": "NAME", "Values": [prefix], "Condition": "BEGINS_WITH"}]
    equal([found["Id"] for found in all_pages("list_namespaces", "Namespaces", Filters=filters)], ids)


@check("pages.services")
def _() -> None:
    namespace, _ = http_namespace()
    ids = [service(namespace) for _ in range(5)]
    filters = [{"Name": "NAMESPACE_ID", "Values": [namespace]}]
    equal([found["Id"] for found in all_pages("list_services", "Services", Filters=filters)], ids)


def five_instances() -> str:
    created = service(http_namespace()[0])
    for number in range(5):
        register(created, f"i-{number}", a="b")
    return created


@check("pages.instances")
def _() -> None:
    created = five_instances()
    equal([found["Id"] for found in all_pages("list_instances", "Instances", ServiceId=created)], FIVE)


@check("pages.health")
def _() -> None:
    created = five_instances()
    # boto3 has no paginator for this operation.
    found, token = [], {}
    while token is not None:
        page = sd.get_instances_health_status(ServiceId=created, MaxResults=2, **token)
        assert len(page["Status"]) <= 2, page
        found += page["Status"]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else None
    equal(sorted(found), FIVE)


@check("pages.operations")
def _() -> None:
    created = five_instances()
    filters = [
        {"Name": "TYPE", "Values": ["REGISTER_INSTANCE"], "Condition": "EQ"},
        {"Name": "SERVICE_ID", "Values": [created], "Condition": "EQ"},
    ]
    found = all_pages("list_operations", "Operations", Filters=filters)
    equal(len({operation["Id"] for operation in found}), 5)


@check("tags")
def _() -> None:
    namespace, _ = http_namespace(Tags=[{"Key": "k", "Value": "v"}])
    arn = sd.get_namespace(Id=namespace)["Namespace"]["Arn"]
    got = lambda: {tag["Key"]: tag["Value"] for tag in sd.list_tags_for_resource(ResourceARN=arn)["Tags"]}  # noqa: E731
    sd.tag_resource(ResourceARN=arn, Tags=[{"Key": "l", "Value": "w"}])
    equal(got(), {"k": "v", "l": "w"})
    sd.untag_resource(ResourceARN=arn, TagKeys=["k"])
    equal(got(), {"l": "w"})


@check("idempotency")
def _() -> None:
    request = {"Name": name(), "CreatorRequestId": "token"}
    first = sd.create_http_namespace(**request)["OperationId"]
    equal(sd.create_http_namespace(**request)["OperationId"], first)
    namespace = polled(first)["Targets"]["NAMESPACE"]
    request = {"Name": "web", "NamespaceId": namespace, "CreatorRequestId": "token"}
    created = sd.create_service(**request)["Service"]["Id"]
    equal(sd.create_service(**request)["Service"]["Id"], created)
    request = {"ServiceId": created, "InstanceId": "i", "Attributes": {"a": "b"}, "CreatorRequestId": "token"}
    first = sd.register_instance(**request)["OperationId"]
    equal(sd.register_instance(**request)["OperationId"], first)


@check("unicode")
def _() -> None:
    namespace, _ = http_namespace(Description=UNICODE, Tags=[{"Key": "k", "Value": "Grüße"}])
    found = sd.get_namespace(Id=namespace)["Namespace"]
    equal(found["Description"], UNICODE)
    equal(sd.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"], [{"Key": "k", "Value": "Grüße"}])
    created = service(namespace)
    request = {"ServiceId": created, "InstanceId": "i-1", "Attributes": {"text": UNICODE}}
    refused("InvalidInput", sd.register_instance, **request)


@check("limits.max-results")
def _() -> None:
    namespace, called = http_namespace()
    found = sd.get_service(Id=service(namespace))["Service"]["Name"]
    refused("InvalidInput", sd.discover_instances, NamespaceName=called, ServiceName=found, MaxResults=1001)


@check("limits.attribute")
def _() -> None:
    created = service(http_namespace()[0])
    request = {"ServiceId": created, "InstanceId": "i-1", "Attributes": {"a": "x" * 1025}}
    refused("InvalidInput", sd.register_instance, **request)


@check("limits.body")
def _() -> None:
    try:
        sd.create_http_namespace(Name=name(), Description="d" * (3 << 19))
    except botocore.exceptions.ClientError as error:
        equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 413)
    else:
        raise AssertionError("the call was not refused")


@check("wire.keep-alive")
def _() -> None:
    client = client_of(os.environ["SD_KEEP_ALIVE"])
    for _ in range(10):
        client.list_namespaces()


def finds_nothing(client) -> None:
    client.list_namespaces()
    refused("NamespaceNotFound", client.discover_instances, NamespaceName="nowhere", ServiceName="web")


@check("settings.environment")
def _() -> None:
    # The variables of the CLI. The runner has set the others.
    with mock.patch.dict(os.environ, {"AWS_DISABLE_HOST_PREFIX_INJECTION": "true"}):
        client = session().client("servicediscovery")
    finds_nothing(client)


@check("wire.ipv6")
def _() -> None:
    client = client_of(os.environ["SD_ENDPOINT_IPV6"])
    finds_nothing(client)


@check("wire.proxy")
def _() -> None:
    endpoint = "http://servicediscovery.us-east-1.amazonaws.com"
    with mock.patch.dict(os.environ, {"HTTP_PROXY": os.environ["SD_PROXY"]}):
        client = session().client("servicediscovery", endpoint_url=endpoint)
    finds_nothing(client)


@check("wire.expect-continue")
def _() -> None:
    client = client_of(os.environ["SD_EXPECT"])

    def expect(request, **_) -> None:
        request.headers["Expect"] = "100-continue"

    client.meta.events.register("before-sign.servicediscovery", expect)
    client.list_namespaces()


if __name__ == "__main__":
    sys.exit(run_all())
