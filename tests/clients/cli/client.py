"""The checks with the AWS CLI, whose path is the only argument.

A command takes half a second. So only the subject of a check is a command; its preparation uses plain requests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from checks import FIVE, UNICODE, check, equal, name, run_all  # noqa: E402

CLI = sys.argv[1]
ENDPOINT = os.environ["SD_ENDPOINT"]
TIMED = os.environ["SD_ENDPOINT_TIMED"]
ACCOUNT = os.environ["AWS_ACCESS_KEY_ID"]


def settings(endpoint: str) -> dict[str, str]:
    """The environment that docs/clients.md recommends."""
    script = '. "$1" && env -0'
    environment = Path(__file__).with_name("environment.sh")
    printed = subprocess.run(
        ["bash", "-c", f"endpoint=$2; {script}", "bash", str(environment), endpoint], capture_output=True, check=True
    )
    pairs = (pair.split("=", 1) for pair in printed.stdout.decode().split("\0") if pair)
    # Its own account, and one attempt, so that a check sees each answer.
    return {**dict(pairs), "AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": ""}


SETTINGS = {endpoint: settings(endpoint) for endpoint in (ENDPOINT, TIMED)}


def run(operation: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    command = [CLI, "servicediscovery", operation, *arguments, "--output", "json"]
    env = SETTINGS[ENDPOINT] if env is None else env
    return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def aws(operation: str, *arguments: str, env: dict[str, str] | None = None) -> Any:
    """The output of a command."""
    done = run(operation, *arguments, env=env)
    if done.returncode:
        raise AssertionError(f"{operation} {arguments}: {done.stderr}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def refused(code: str, operation: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """The CLI's text for an error with this code."""
    done = run(operation, *arguments, env=env)
    said = f"An error occurred ({code}) when calling the "
    if done.returncode == 0 or said not in done.stderr or not done.stderr.partition("operation")[2].strip(" :\n"):
        raise AssertionError(f"{operation} {arguments}: {done.returncode} {done.stderr}")
    return done.stderr


def make(operation: str, endpoint: str = ENDPOINT, **request: Any) -> dict:
    """Prepares a check with a plain request."""
    scope = f"Credential={ACCOUNT}/20260101/us-east-1/servicediscovery/aws4_request"
    headers = {
        "X-Amz-Target": f"Route53AutoNaming_v20170314.{operation}",
        "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none",
    }
    body = json.dumps(request).encode()
    with urllib.request.urlopen(urllib.request.Request(endpoint, body, headers), timeout=60) as answer:
        return json.load(answer)


def http_namespace(**more: Any) -> tuple[str, str]:
    called = name("http")
    operation = make("CreateHttpNamespace", Name=called, **more)["OperationId"]
    return made(operation), called


def made(operation: str) -> str:
    return make("GetOperation", OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]


def service(namespace: str, **more: Any) -> str:
    return make("CreateService", Name=name("service"), NamespaceId=namespace, **more)["Service"]["Id"]


def register(service_id: str, instance: str, **attributes: str) -> None:
    make("RegisterInstance", ServiceId=service_id, InstanceId=instance, Attributes=attributes)


@check("namespace.http")
def _() -> None:
    called = name("http")
    tag = "Key=k,Value=v"
    more = ("--creator-request-id", "token", "--description", "d", "--tags", tag)
    started = aws("create-http-namespace", "--name", called, *more)["OperationId"]
    found = aws("get-operation", "--operation-id", started)["Operation"]
    equal((found["Type"], found["Status"]), ("CREATE_NAMESPACE", "SUCCESS"))
    identifier = found["Targets"]["NAMESPACE"]
    namespace = aws("get-namespace", "--id", identifier)["Namespace"]
    equal((namespace["Name"], namespace["Type"], namespace["Description"]), (called, "HTTP", "d"))
    equal(namespace["Properties"]["HttpProperties"]["HttpName"], called)
    aws("update-http-namespace", "--id", identifier, "--namespace", "Description=e")
    equal(make("GetNamespace", Id=identifier)["Namespace"]["Description"], "e")
    assert aws("delete-namespace", "--id", identifier)["OperationId"]
    refused("NamespaceNotFound", "get-namespace", "--id", identifier)


@check("namespace.private")
def _() -> None:
    soa = "DnsProperties={SOA={TTL=30}}"
    called = name("private") + ".local"
    more = ("--vpc", "vpc-1", "--properties", soa)
    found = made(aws("create-private-dns-namespace", "--name", called, *more)["OperationId"])
    properties = aws("get-namespace", "--id", found)["Namespace"]["Properties"]["DnsProperties"]
    assert properties["HostedZoneId"]
    equal(properties["SOA"]["TTL"], 30)
    change = "Properties={DnsProperties={SOA={TTL=40}}}"
    aws("update-private-dns-namespace", "--id", found, "--namespace", change)
    properties = make("GetNamespace", Id=found)["Namespace"]["Properties"]["DnsProperties"]
    equal(properties["SOA"]["TTL"], 40)
    aws("delete-namespace", "--id", found)


@check("namespace.public")
def _() -> None:
    found = made(aws("create-public-dns-namespace", "--name", name("public") + ".example")["OperationId"])
    equal(aws("get-namespace", "--id", found)["Namespace"]["Type"], "DNS_PUBLIC")
    aws("delete-namespace", "--id", found)


@check("operation.poll")
def _() -> None:
    env = SETTINGS[TIMED]
    started = aws("create-http-namespace", "--name", name(), env=env)["OperationId"]
    first = make("GetOperation", TIMED, OperationId=started)["Operation"]["Status"]
    assert first in ("SUBMITTED", "PENDING"), first
    deadline = time.monotonic() + 30
    while aws("get-operation", "--operation-id", started, env=env)["Operation"]["Status"] != "SUCCESS":
        assert time.monotonic() < deadline, started


@check("service.lifecycle")
def _() -> None:
    operation = make("CreatePrivateDnsNamespace", Name=name("zone") + ".local", Vpc="vpc-1")["OperationId"]
    namespace = made(operation)
    records = "[{Type=A,TTL=%d},{Type=SRV,TTL=%d}]"
    config = f"NamespaceId={namespace},RoutingPolicy=MULTIVALUE,DnsRecords={records % (60, 60)}"
    created = aws("create-service", "--name", "web", "--dns-config", config)["Service"]["Id"]
    got = aws("get-service", "--id", created)["Service"]["DnsConfig"]
    equal((got["NamespaceId"], [record["TTL"] for record in got["DnsRecords"]]), (namespace, [60, 60]))
    change = "DnsConfig={DnsRecords=%s}" % (records % (5, 5))
    aws("update-service", "--id", created, "--service", change)
    filters = f"Name=NAMESPACE_ID,Values={namespace},Condition=EQ"
    [found] = aws("list-services", "--filters", filters)["Services"]
    equal((found["Id"], [record["TTL"] for record in found["DnsConfig"]["DnsRecords"]]), (created, [5, 5]))
    equal(aws("delete-service", "--id", created), None)
    refused("ServiceNotFound", "get-service", "--id", created)


@check("service.attributes")
def _() -> None:
    created = service(http_namespace()[0])
    aws("update-service-attributes", "--service-id", created, "--attributes", "a=1,b=2")
    equal(aws("get-service-attributes", "--service-id", created)["ServiceAttributes"]["Attributes"], {"a": "1", "b": "2"})
    aws("delete-service-attributes", "--service-id", created, "--attributes", "a")
    equal(make("GetServiceAttributes", ServiceId=created)["ServiceAttributes"]["Attributes"], {"b": "2"})


@check("instance.lifecycle")
def _() -> None:
    created = service(http_namespace()[0])
    of = ("--service-id", created, "--instance-id", "i-1")
    for stage in ("blue", "green"):
        assert aws("register-instance", *of, "--attributes", f"stage={stage}")["OperationId"]
        equal(aws("get-instance", *of)["Instance"]["Attributes"], {"stage": stage})
    equal([found["Id"] for found in aws("list-instances", "--service-id", created)["Instances"]], ["i-1"])
    aws("deregister-instance", *of)
    refused("InstanceNotFound", "get-instance", *of)


@check("instance.health")
def _() -> None:
    created = service(http_namespace()[0], HealthCheckCustomConfig={"FailureThreshold": 1})
    register(created, "i-1", a="b")
    of = ("--service-id", created, "--instance-id", "i-1")
    aws("update-instance-custom-health-status", *of, "--status", "UNHEALTHY")
    equal(aws("get-instances-health-status", "--service-id", created)["Status"], {"i-1": "UNHEALTHY"})


def two_names(namespace: str, service_id: str) -> tuple[str, ...]:
    called = make("GetService", Id=service_id)["Service"]["Name"]
    return ("--namespace-name", namespace, "--service-name", called)


@check("discover.instances")
def _() -> None:
    namespace, called = http_namespace()
    created = service(namespace)
    register(created, "i-1", AWS_INSTANCE_IPV4="10.0.0.1")
    names = two_names(called, created)
    answer = aws("discover-instances", *names)
    [instance] = answer["Instances"]
    equal((instance["InstanceId"], instance["NamespaceName"], instance["ServiceName"]), ("i-1", called, names[3]))
    equal((instance["Attributes"], instance["HealthStatus"]), ({"AWS_INSTANCE_IPV4": "10.0.0.1"}, "UNKNOWN"))
    revision = aws("discover-instances-revision", *names)["InstancesRevision"]
    equal(answer["InstancesRevision"], revision)


def discovered(names: tuple[str, ...], *more: str) -> list[str]:
    return sorted(found["InstanceId"] for found in aws("discover-instances", *names, *more)["Instances"])


@check("discover.parameters")
def _() -> None:
    namespace, called = http_namespace()
    created = service(namespace)
    register(created, "a", stage="blue", zone="1")
    register(created, "b", stage="blue", zone="2")
    register(created, "c", stage="green", zone="2")
    names, blue = two_names(called, created), ("--query-parameters", "stage=blue")
    equal(discovered(names, *blue), ["a", "b"])
    equal(discovered(names, *blue, "--optional-parameters", "zone=2"), ["b"])
    equal(discovered(names, "--optional-parameters", "zone=3"), ["a", "b", "c"])


@check("discover.health")
def _() -> None:
    namespace, called = http_namespace()
    created = service(namespace, HealthCheckCustomConfig={"FailureThreshold": 1})
    register(created, "ill", a="b")
    register(created, "well", a="b")
    make("UpdateInstanceCustomHealthStatus", ServiceId=created, InstanceId="ill", Status="UNHEALTHY")
    names = two_names(called, created)
    expected = {"HEALTHY": ["well"], "UNHEALTHY": ["ill"], "ALL": ["ill", "well"], "HEALTHY_OR_ELSE_ALL": ["well"]}
    equal({status: discovered(names, "--health-status", status) for status in expected}, expected)


@check("error.namespace-exists")
def _() -> None:
    namespace, called = http_namespace(CreatorRequestId="first")
    said = refused("NamespaceAlreadyExists", "create-http-namespace", "--name", called)
    assert namespace in said, said


@check("error.service-exists")
def _() -> None:
    namespace, _ = http_namespace()
    make("CreateService", Name="web", NamespaceId=namespace)
    refused("ServiceAlreadyExists", "create-service", "--name", "web", "--namespace-id", namespace)


@check("error.duplicate-request")
def _() -> None:
    # The first operation takes three seconds. On a busy machine a command may take longer, hence a second try.
    deadline = time.monotonic() + 60
    while True:
        called = name()
        make("CreateHttpNamespace", TIMED, Name=called)
        said = run("create-http-namespace", "--name", called, env=SETTINGS[TIMED]).stderr
        if "(DuplicateRequest)" in said:
            break
        assert "(NamespaceAlreadyExists)" in said and time.monotonic() < deadline, said
    assert "is in progress" in said, said


@check("error.in-use")
def _() -> None:
    namespace, _ = http_namespace()
    service(namespace)
    refused("ResourceInUse", "delete-namespace", "--id", namespace)


@check("error.not-found")
def _() -> None:
    created = service(http_namespace()[0])
    register(created, "i-1", a="b")
    arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-none"
    refused("NamespaceNotFound", "get-namespace", "--id", "ns-none")
    refused("ServiceNotFound", "get-service", "--id", "srv-none")
    refused("InstanceNotFound", "get-instance", "--service-id", created, "--instance-id", "i-none")
    refused("OperationNotFound", "get-operation", "--operation-id", "none")
    refused("ResourceNotFoundException", "list-tags-for-resource", "--resource-arn", arn)
    of = ("--service-id", created, "--instance-id", "i-1", "--status", "HEALTHY")
    refused("CustomHealthNotFound", "update-instance-custom-health-status", *of)


@check("error.invalid-input")
def _() -> None:
    assert "'name'" in refused("InvalidInput", "create-http-namespace", "--name", "with a space")


@check("error.too-many-tags")
def _() -> None:
    namespace, _ = http_namespace()
    arn = make("GetNamespace", Id=namespace)["Namespace"]["Arn"]
    tags = [{"Key": f"k{n}", "Value": "v"} for n in range(51)]
    aws("tag-resource", "--resource-arn", arn, "--tags", json.dumps(tags[:50]))
    said = refused("TooManyTagsException", "tag-resource", "--resource-arn", arn, "--tags", json.dumps(tags[50:]))
    assert arn in said, said


@check("error.limit")
def _() -> None:
    endpoint = os.environ["SD_ENDPOINT_QUOTAS"]
    for _ in range(50):
        make("CreateHttpNamespace", endpoint, Name=name())
    refused("ResourceLimitExceeded", "create-http-namespace", "--name", name(), env=settings(endpoint))


@check("pages.namespaces")
def _() -> None:
    prefix = name("paged")
    ids = [made(make("CreateHttpNamespace", Name=f"{prefix}-{n}")["OperationId"]) for n in range(5)]
    filters = f"Name=NAME,Values={prefix},Condition=BEGINS_WITH"
    found = aws("list-namespaces", "--filters", filters, "--page-size", "2")["Namespaces"]
    equal([namespace["Id"] for namespace in found], ids)


@check("pages.services")
def _() -> None:
    namespace, _ = http_namespace()
    ids = [service(namespace) for _ in range(5)]
    filters = f"Name=NAMESPACE_ID,Values={namespace}"
    found = aws("list-services", "--filters", filters, "--page-size", "2")["Services"]
    equal([found["Id"] for found in found], ids)


def five_instances() -> str:
    created = service(http_namespace()[0])
    for instance in FIVE:
        register(created, instance, a="b")
    return created


@check("pages.instances")
def _() -> None:
    found = aws("list-instances", "--service-id", five_instances(), "--page-size", "2")["Instances"]
    equal([instance["Id"] for instance in found], FIVE)


@check("pages.health")
def _() -> None:
    # The CLI has no paginator for this operation.
    created, found, token = five_instances(), [], ()
    while token is not None:
        page = aws("get-instances-health-status", "--service-id", created, "--max-results", "2", *token)
        assert len(page["Status"]) <= 2, page
        found += page["Status"]
        token = ("--next-token", page["NextToken"]) if "NextToken" in page else None
    equal(sorted(found), FIVE)


@check("pages.operations")
def _() -> None:
    created = five_instances()
    filters = ("Name=TYPE,Values=REGISTER_INSTANCE", f"Name=SERVICE_ID,Values={created},Condition=EQ")
    found = aws("list-operations", "--filters", *filters, "--page-size", "2")["Operations"]
    equal(len({operation["Id"] for operation in found}), 5)


@check("tags")
def _() -> None:
    namespace, _ = http_namespace(Tags=[{"Key": "k", "Value": "v"}])
    arn = make("GetNamespace", Id=namespace)["Namespace"]["Arn"]
    aws("tag-resource", "--resource-arn", arn, "--tags", "Key=l,Value=w")
    tags = aws("list-tags-for-resource", "--resource-arn", arn)["Tags"]
    equal({tag["Key"]: tag["Value"] for tag in tags}, {"k": "v", "l": "w"})
    aws("untag-resource", "--resource-arn", arn, "--tag-keys", "k")
    equal(make("ListTagsForResource", ResourceARN=arn)["Tags"], [{"Key": "l", "Value": "w"}])


@check("idempotency")
def _() -> None:
    token, called = ("--creator-request-id", "token"), name()
    first, again = (aws("create-http-namespace", "--name", called, *token)["OperationId"] for _ in range(2))
    equal(again, first)
    request = ("--name", "web", "--namespace-id", made(first), *token)
    created, again = (aws("create-service", *request)["Service"]["Id"] for _ in range(2))
    equal(again, created)
    request = ("--service-id", created, "--instance-id", "i", "--attributes", "a=b", *token)
    first, again = (aws("register-instance", *request)["OperationId"] for _ in range(2))
    equal(again, first)


@check("unicode")
def _() -> None:
    called = name()
    more = ("--description", UNICODE, "--tags", "Key=k,Value=Grüße")
    namespace = made(aws("create-http-namespace", "--name", called, *more)["OperationId"])
    found = aws("get-namespace", "--id", namespace)["Namespace"]
    equal(found["Description"], UNICODE)
    equal(aws("list-tags-for-resource", "--resource-arn", found["Arn"])["Tags"], [{"Key": "k", "Value": "Grüße"}])
    attributes = ("--attributes", json.dumps({"text": UNICODE}))
    of = ("--service-id", service(namespace), "--instance-id", "i-1")
    refused("InvalidInput", "register-instance", *of, *attributes)


@check("limits.max-results")
def _() -> None:
    namespace, called = http_namespace()
    refused("InvalidInput", "discover-instances", *two_names(called, service(namespace)), "--max-results", "1001")


@check("limits.attribute")
def _() -> None:
    of = ("--service-id", service(http_namespace()[0]), "--instance-id", "i-1")
    refused("InvalidInput", "register-instance", *of, "--attributes", "a=" + "x" * 1025)


@check("limits.body")
def _() -> None:
    with tempfile.NamedTemporaryFile("w") as long:
        long.write("d" * (3 << 19))
        long.flush()
        description = ("--description", f"file://{long.name}")
        # The CLI prints only the error code. No other code has the status 413.
        refused("RequestEntityTooLargeException", "create-http-namespace", "--name", name(), *description)


@check("wire.keep-alive")
def _() -> None:
    prefix = name("kept")
    for number in range(10):
        make("CreateHttpNamespace", Name=f"{prefix}-{number}")
    filters = f"Name=NAME,Values={prefix},Condition=BEGINS_WITH"
    # One command reads ten pages.
    env = settings(os.environ["SD_KEEP_ALIVE"])
    found = aws("list-namespaces", "--filters", filters, "--page-size", "1", env=env)["Namespaces"]
    equal(len(found), 10)


def finds_nothing(env: dict[str, str]) -> None:
    aws("list-namespaces", env=env)
    names = ("--namespace-name", "nowhere", "--service-name", "web")
    refused("NamespaceNotFound", "discover-instances", *names, env=env)


@check("settings.environment")
def _() -> None:
    finds_nothing(SETTINGS[ENDPOINT])


@check("wire.ipv6")
def _() -> None:
    env = settings(os.environ["SD_ENDPOINT_IPV6"])
    finds_nothing(env)


@check("wire.proxy")
def _() -> None:
    env = settings("http://servicediscovery.us-east-1.amazonaws.com")
    del env["AWS_DISABLE_HOST_PREFIX_INJECTION"]
    env["HTTP_PROXY"] = os.environ["SD_PROXY"]
    finds_nothing(env)


if __name__ == "__main__":
    # Each command is a process of its own.
    sys.exit(run_all(os.cpu_count() or 1))
