"""The walkthrough: the commands of commands.txt as printed, and between them what a reader would try next.

    walkthrough.py SD_SERVER AWS_BIN      inside lib/netns.sh; tests/seed/run does both

SD_SERVER is the sd-server binary, AWS_BIN the directory of the AWS CLI. Commands that cannot run are skipped by name, with a
reason. A command that is neither run nor skipped fails the walkthrough.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Union

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

from expect import ABSENT, AnyOrder, Dns, Done, Error, Json, Keep, Sets, Text, Var, soa  # noqa: E402
from session import Reply, Report, Server, SessionLost, Shell, environment, has_ipv6  # noqa: E402


class Page(NamedTuple):
    """A command of the page, by its name in commands.txt."""

    name: str
    expected: object


class Own(NamedTuple):
    """A command that is not on the page."""

    title: str
    command: str
    expected: object


class NotYet(NamedTuple):
    """A command of the page that cannot be run, and why."""

    name: str
    reason: str


Step = Union[Page, Own, NotYet]

# --- common patterns and replies

ACCOUNT = "123456789012"
NAMESPACE_ID = r"ns-[a-z2-7]{16}"
SERVICE_ID = r"srv-[a-z2-7]{16}"
OPERATION_ID = r"[a-z2-7]{32}-[0-9a-z]{8}"
HEALTH_CHECK = {"Type": "HTTP", "ResourcePath": "/health", "FailureThreshold": 3}

STARTED = Json({"OperationId": Keep("OPERATION", OPERATION_ID)})
GET_OPERATION = "aws servicediscovery get-operation --operation-id $OPERATION"


def succeeded(kind: str, **targets: object) -> Json:
    """The operation that STARTED has kept has succeeded, with this type and these targets."""
    operation = {"Id": Var("OPERATION"), "Type": kind, "Status": "SUCCESS", "Targets": targets}
    return Json({"Operation": {**operation, "ErrorCode": ABSENT, "ErrorMessage": ABSENT}})


# The page creates app.local three times. As on AWS, the request for a second namespace with this name in the same VPC is
# accepted, and its operation fails.
ZONE_EXISTS = Json(
    {
        "Operation": {
            "Type": "CREATE_NAMESPACE",
            "Status": "FAIL",
            "ErrorCode": "CANNOT_CREATE_HOSTED_ZONE",
            "ErrorMessage": re.compile("vpc-default"),
        }
    }
)


def created(name: str, ttl: int, keep: object, health_check: object = HEALTH_CHECK) -> Json:
    """create-service returns the service as requested, with the namespace id in both places."""
    asked = service(name, ttl, health_check)
    where = {"NamespaceId": Var("NAMESPACE_ID")}
    return Json({"Service": {**asked, **where, "Id": keep, "DnsConfig": {**asked["DnsConfig"], **where}}})


def service(name: str, ttl: int, health_check: object = HEALTH_CHECK) -> dict[str, Any]:
    return {
        "Name": name,
        "Arn": re.compile(f"^arn:aws:servicediscovery:us-east-1:{ACCOUNT}:service/{SERVICE_ID}$"),
        "Type": "DNS_HTTP",
        "DnsConfig": {"RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "A", "TTL": ttl}]},
        "HealthCheckConfig": health_check,
        "HealthCheckCustomConfig": ABSENT,
    }


def register(service_id: str, instance: str, attributes: str) -> Own:
    return Own(
        f"register {instance}",
        f"aws servicediscovery register-instance --service-id {service_id} --instance-id {instance} \\\n"
        f"  --attributes {attributes}",
        STARTED,
    )


def deregister(service_id: str, instance: str) -> Own:
    return Own(
        f"deregister {instance}",
        f"aws servicediscovery deregister-instance --service-id {service_id} --instance-id {instance}",
        STARTED,
    )


def delete_namespace(variable: str, zone: str) -> list[Step]:
    return [
        Own(f"delete {zone}", f"aws servicediscovery delete-namespace --id ${variable}", STARTED),
        Own(f"{zone}: the deletion succeeded", GET_OPERATION, succeeded("DELETE_NAMESPACE", NAMESPACE=Var(variable))),
        Own(f"{zone} is no longer a zone", f"dig {zone}. SOA", REFUSED),
    ]


def address(ip: str, name: str = "backend-api.app.local.", ttl: int = 60) -> tuple:
    return (name, ttl, "A", ip)


NO_SUCH_NAME = Dns(status="NXDOMAIN", authority=(soa("app.local.", 15),))
NO_SUCH_TYPE = Dns(authority=(soa("app.local.", 15),))
REFUSED = Dns(status="REFUSED", authoritative=False)
BACKEND_1 = {"AWS_INSTANCE_IPV4": "127.0.0.2", "AWS_INSTANCE_PORT": "8080"}
BACKEND_2 = {"AWS_INSTANCE_IPV4": "127.0.0.3", "AWS_INSTANCE_PORT": "8080"}
ONE_NAMESPACE = Json({"Namespaces": [{"Id": Var("APP"), "Name": "app.local", "Type": "DNS_PRIVATE"}]})
THREE_SERVICES = Json(
    {"Services": [service("backend-api", 60), service("api-service", 60), service("frontend-web", 60)]},
)


def discovered(instance: str, attributes: dict[str, str]) -> dict[str, object]:
    names = {"NamespaceName": "app.local", "ServiceName": "backend-api"}
    return {**names, "InstanceId": instance, "HealthStatus": "HEALTHY", "Attributes": attributes}


# --- the steps

GETTING_STARTED: list[Step] = [
    Own("evaluate the exports of sd-server env", 'eval "$(sd-server env)"', Done()),
    Own(
        "the exports have all that a client needs",
        "printenv | grep ^AWS_",
        Text(
            "^AWS_ENDPOINT_URL_SERVICEDISCOVERY=http://(localhost|127.0.0.1):5373/?$",
            "^AWS_DISABLE_HOST_PREFIX_INJECTION=true$",
            "^AWS_ACCESS_KEY_ID=.",
            "^AWS_SECRET_ACCESS_KEY=.",
            "^AWS_REGION=us-east-1$",
            "^AWS_DEFAULT_REGION=us-east-1$",
        ),
    ),
    Page("getting-started.namespace", STARTED),
    Own(
        "the namespace exists at once",
        GET_OPERATION,
        succeeded("CREATE_NAMESPACE", NAMESPACE=Keep("APP", NAMESPACE_ID)),
    ),
    Page("getting-started.namespace-id", Sets("NAMESPACE_ID", Var("APP"))),
    Own(
        "get-namespace",
        "aws servicediscovery get-namespace --id $NAMESPACE_ID",
        Json(
            {
                "Namespace": {
                    "Id": Var("APP"),
                    "Arn": re.compile(f"^arn:aws:servicediscovery:us-east-1:{ACCOUNT}:namespace/{NAMESPACE_ID}$"),
                    "ResourceOwner": ACCOUNT,
                    "Name": "app.local",
                    "Type": "DNS_PRIVATE",
                    "Properties": {
                        "DnsProperties": {"HostedZoneId": re.compile("^Z[0-9A-Z]+$"), "SOA": {"TTL": 15}},
                        "HttpProperties": {"HttpName": "app.local"},
                    },
                    "CreatorRequestId": re.compile("."),
                }
            }
        ),
    ),
    Own("the zone has an SOA record", "dig app.local SOA", Dns(soa("app.local.", 15))),
    Page("getting-started.service", created("backend-api", 60, Keep("BACKEND", SERVICE_ID))),
    Own(
        "get-service repeats it",
        "aws servicediscovery get-service --id $BACKEND",
        created("backend-api", 60, Var("BACKEND")),
    ),
    Own("a service without instances has no DNS name", "dig backend-api.app.local", NO_SUCH_NAME),
]

# What ECS does when the page's tasks start.
INSTANCES: list[Step] = [
    register("$BACKEND", "backend-1", "AWS_INSTANCE_IPV4=127.0.0.2,AWS_INSTANCE_PORT=8080"),
    Own("dig finds it at once", "dig backend-api.app.local", Dns(address("127.0.0.2"))),
    Own(
        "its operation succeeded",
        GET_OPERATION,
        succeeded("REGISTER_INSTANCE", INSTANCE="backend-1", SERVICE=Var("BACKEND")),
    ),
    register("$BACKEND", "backend-2", "AWS_INSTANCE_IPV4=127.0.0.3,AWS_INSTANCE_PORT=8080"),
    Own("dig finds both", "dig backend-api.app.local A", Dns(address("127.0.0.2"), address("127.0.0.3"))),
    Own("dig finds both over TCP", "dig +tcp backend-api.app.local", Dns(address("127.0.0.2"), address("127.0.0.3"))),
    Own("dig finds both in another case", "dig Backend-API.APP.Local", Dns(address("127.0.0.2"), address("127.0.0.3"))),
    Own("the name exists but has no AAAA record", "dig backend-api.app.local AAAA", NO_SUCH_TYPE),
    Own("an unknown name is NXDOMAIN", "dig nobody.app.local", NO_SUCH_NAME),
    Own("a name in no zone is REFUSED", "dig example.com", REFUSED),
    Own(
        "list-instances",
        "aws servicediscovery list-instances --service-id $BACKEND",
        Json(
            {
                "ResourceOwner": ACCOUNT,
                "Instances": [
                    {"Id": "backend-1", "Attributes": BACKEND_1},
                    {"Id": "backend-2", "Attributes": BACKEND_2},
                ],
            }
        ),
    ),
    Own(
        "get-instance",
        "aws servicediscovery get-instance --service-id $BACKEND --instance-id backend-2",
        Json({"ResourceOwner": ACCOUNT, "Instance": {"Id": "backend-2", "Attributes": BACKEND_2}}),
    ),
    Own(
        "all are healthy, because /health answers 200",
        "aws servicediscovery get-instances-health-status --service-id $BACKEND",
        Json({"Status": {"backend-1": "HEALTHY", "backend-2": "HEALTHY"}}),
    ),
    Own(
        "a service with a Route 53 check takes no health reports",
        "aws servicediscovery update-instance-custom-health-status --service-id $BACKEND --instance-id backend-1"
        " --status UNHEALTHY",
        Error("CustomHealthNotFound"),
    ),
    Own(
        "get-service counts the instances",
        "aws servicediscovery get-service --id $BACKEND",
        Json({"Service": {"InstanceCount": 2}}),
    ),
    Page("getting-started.curl", Json({"address": re.compile(r"^127\.0\.0\.[23]$")})),
]

def until(command: str, is_there: str) -> str:
    """Waits until a command prints this line, and prints what it printed last."""
    wait = f"""for _ in $(seq 300); do found=$({command}); [ "$found" = "{is_there}" ] && break; sleep 0.1; done"""
    return f'{wait}; echo "$found"'


FOUND_BY_DIG = "dig +short api-service.app.local | sort | xargs"
FOUND_BY_API = (
    "aws servicediscovery discover-instances --namespace-name app.local --service-name api-service"
    " --query 'sort(Instances[].InstanceId)' --output text | xargs"
)

# The page's health check with two real backends.
HEALTH_CHECKS: list[Step] = [
    Page("health-checks.service", created("api-service", 60, Keep("API", SERVICE_ID))),
    Own(
        "a backend is a process that serves /health",
        'mkdir -p www && echo ok > www/health && backend() { exec "$PYTHON" -m http.server 8081 --bind "$1" -d www; }',
        Done(),
    ),
    Own("a backend at 127.0.0.6 starts", "backend 127.0.0.6 & FIRST=$!", Done()),
    Own("a backend at 127.0.0.7 starts", "backend 127.0.0.7 & SECOND=$!", Done()),
    register("$API", "api-1", "AWS_INSTANCE_IPV4=127.0.0.6,AWS_INSTANCE_PORT=8081"),
    register("$API", "api-2", "AWS_INSTANCE_IPV4=127.0.0.7,AWS_INSTANCE_PORT=8081"),
    Own("dig finds both backends", until(FOUND_BY_DIG, "127.0.0.6 127.0.0.7"), Text(r"^127\.0\.0\.6 127\.0\.0\.7$")),
    Own("one backend is killed", "kill $FIRST", Done()),
    Own("dig drops it", until(FOUND_BY_DIG, "127.0.0.7"), Text(r"^127\.0\.0\.7$")),
    Own("discover-instances dropped it as well", FOUND_BY_API, Text("^api-2$")),
    Own(
        "sd-server probe says why",
        "sd-server probe api-service api-1",
        Text(rf"^api-1 in {SERVICE_ID}: unhealthy, refused$", r"^  HTTP 127\.0\.0\.6:8081 GET /health, Host: api-service\.app\.local:8081$"),
    ),
    Own(
        "three failures came before",
        "curl -s 'localhost:5374/_sd/health-checks?service=api-service&instance=api-1'",
        Json({"instances": [{"instance": "api-1", "status": "UNHEALTHY", "target": "127.0.0.6:8081"}]}),
    ),
    Own("the backend starts again", "backend 127.0.0.6 & FIRST=$!", Done()),
    Own("dig finds both again", until(FOUND_BY_DIG, "127.0.0.6 127.0.0.7"), Text(r"^127\.0\.0\.6 127\.0\.0\.7$")),
    Own("discover-instances finds both again", FOUND_BY_API, Text("^api-1 api-2$")),
    Own("the backends end", "kill $FIRST $SECOND", Done()),
    deregister("$API", "api-1"),
    deregister("$API", "api-2"),
]

DEPLOY: list[Step] = [
    Page("deploy.namespace", STARTED),
    Own("its operation failed", GET_OPERATION, ZONE_EXISTS),
    Own(
        "the namespace keeps its services",
        "aws servicediscovery get-namespace --id $APP",
        Json({"Namespace": {"Name": "app.local", "ServiceCount": 2}}),
    ),
    Page("deploy.namespace-id", Sets("NAMESPACE_ID", Var("APP"))),
    Page("deploy.backend-api", Error("ServiceAlreadyExists")),
    Own(
        "the service keeps its instances",
        "dig backend-api.app.local",
        Dns(address("127.0.0.2"), address("127.0.0.3")),
    ),
    Page("deploy.frontend-web", created("frontend-web", 60, Keep("FRONTEND", SERVICE_ID))),
    register("$FRONTEND", "frontend-1", "AWS_INSTANCE_IPV4=127.0.0.4,AWS_INSTANCE_PORT=3000"),
    Own(
        "dig finds it at once",
        "dig frontend-web.app.local",
        Dns(address("127.0.0.4", "frontend-web.app.local.")),
    ),
]

MONITORING: list[Step] = [
    Page("monitoring.list-namespaces", ONE_NAMESPACE),
    Page("monitoring.list-services", THREE_SERVICES),
    Page(
        "monitoring.discover-instances",
        Json({"Instances": AnyOrder(discovered("backend-1", BACKEND_1), discovered("backend-2", BACKEND_2))}),
    ),
    NotYet("test-dns.exec", "needs Kubernetes; the page's commands in the pod run here"),
    Page(
        "test-dns.nslookup",
        Text(
            r"^Server:\s+127\.0\.0\.1$",
            r"^Name:\s+backend-api\.app\.local\nAddress: 127\.0\.0\.2$",
            r"^Name:\s+backend-api\.app\.local\nAddress: 127\.0\.0\.3$",
        ),
    ),
    Page("test-dns.curl", Json({"status": "healthy"})),
    NotYet("coredns.configmap", "needs Kubernetes"),
    NotYet("coredns.logs", "needs Kubernetes"),
]

COMMON_ISSUES: list[Step] = [
    NotYet("dns-fails.pods", "needs Kubernetes"),
    Page("dns-fails.list-namespaces", ONE_NAMESPACE),
    Page("dns-fails.list-services", THREE_SERVICES),
    NotYet("refused.pods", "needs Kubernetes"),
    NotYet("refused.services", "needs Kubernetes"),
    NotYet("refused.pod", "needs Kubernetes"),
]

ADVANCED_FEATURES: list[Step] = [
    Page("namespaces.production", STARTED),
    Own("its operation failed", GET_OPERATION, ZONE_EXISTS),
    Page("namespaces.staging", STARTED),
    Own(
        "staging.local exists at once",
        GET_OPERATION,
        succeeded("CREATE_NAMESPACE", NAMESPACE=Keep("STAGING", NAMESPACE_ID)),
    ),
    Own("staging.local is a zone", "dig staging.local SOA", Dns(soa("staging.local.", 15))),
    Page("namespaces.development", STARTED),
    Own(
        "dev.local exists at once",
        GET_OPERATION,
        succeeded("CREATE_NAMESPACE", NAMESPACE=Keep("DEV", NAMESPACE_ID)),
    ),
    Own(
        "there are three namespaces",
        "aws servicediscovery list-namespaces",
        Json({"Namespaces": [{"Id": Var("APP")}, {"Id": Var("STAGING")}, {"Id": Var("DEV")}]}),
    ),
    # The page has already created api-service. This command works after that one is deleted.
    Page("custom-ttl.service", Error("ServiceAlreadyExists")),
    Own("delete the first api-service", "aws servicediscovery delete-service --id $API", Done()),
    Page("custom-ttl.service", created("api-service", 30, Var("API"), health_check=ABSENT)),
    register("$API", "api-1", "AWS_INSTANCE_IPV4=127.0.0.5"),
    Own(
        "dig finds it with the TTL of the page",
        "dig api-service.app.local",
        Dns(address("127.0.0.5", "api-service.app.local.", ttl=30)),
    ),
    Own(
        "its health is unknown without a health check",
        "aws servicediscovery discover-instances --namespace-name app.local --service-name api-service",
        Json({"Instances": [{"InstanceId": "api-1", "HealthStatus": "UNKNOWN"}]}),
    ),
]

# What ECS does when the tasks end, and deleting everything.
TEAR_DOWN: list[Step] = [
    Own(
        "a service with instances cannot be deleted",
        "aws servicediscovery delete-service --id $BACKEND",
        Error("ResourceInUse", "Service contains registered instances"),
    ),
    deregister("$BACKEND", "backend-1"),
    Own("dig no longer finds it", "dig backend-api.app.local", Dns(address("127.0.0.3"))),
    Own(
        "its operation succeeded",
        GET_OPERATION,
        succeeded("DEREGISTER_INSTANCE", INSTANCE="backend-1", SERVICE=Var("BACKEND")),
    ),
    Own(
        "get-instance does not find it",
        "aws servicediscovery get-instance --service-id $BACKEND --instance-id backend-1",
        Error("InstanceNotFound"),
    ),
    Own(
        "discover-instances finds the other instance",
        "aws servicediscovery discover-instances --namespace-name app.local --service-name backend-api",
        Json({"Instances": [discovered("backend-2", BACKEND_2)]}),
    ),
    Page("getting-started.curl", Json({"address": "127.0.0.3"})),
    deregister("$BACKEND", "backend-2"),
    Own("the name disappears with the last instance", "dig backend-api.app.local", NO_SUCH_NAME),
    Own(
        "discover-instances finds no instance",
        "aws servicediscovery discover-instances --namespace-name app.local --service-name backend-api",
        Json({"Instances": []}),
    ),
    deregister("$FRONTEND", "frontend-1"),
    deregister("$API", "api-1"),
    Own(
        "a namespace with services cannot be deleted",
        "aws servicediscovery delete-namespace --id $APP",
        Error("ResourceInUse", "Namespace has associated services"),
    ),
    Own("delete backend-api", "aws servicediscovery delete-service --id $BACKEND", Done()),
    Own("delete api-service", "aws servicediscovery delete-service --id $API", Done()),
    Own("delete frontend-web", "aws servicediscovery delete-service --id $FRONTEND", Done()),
    Own(
        "get-service does not find it",
        "aws servicediscovery get-service --id $BACKEND",
        Error("ServiceNotFound"),
    ),
    *delete_namespace("APP", "app.local"),
    Own(
        "get-namespace does not find it",
        "aws servicediscovery get-namespace --id $APP",
        Error("NamespaceNotFound"),
    ),
    Own(
        "discover-instances does not find the namespace",
        "aws servicediscovery discover-instances --namespace-name app.local --service-name backend-api",
        Error("NamespaceNotFound"),
    ),
    *delete_namespace("STAGING", "staging.local"),
    *delete_namespace("DEV", "dev.local"),
    Own("nothing is left", "aws servicediscovery list-namespaces", Json({"Namespaces": []})),
    Own("get-operation still finds the last operation", GET_OPERATION, succeeded("DELETE_NAMESPACE", NAMESPACE=Var("DEV"))),
]

STEPS = [
    *GETTING_STARTED,
    *INSTANCES,
    *HEALTH_CHECKS,
    *DEPLOY,
    *MONITORING,
    *COMMON_ISSUES,
    *ADVANCED_FEATURES,
    *TEAR_DOWN,
]


# --- running the steps


def read_commands(text: str) -> dict[str, str]:
    """The commands by name, in the order of the file."""
    commands = re.findall(r"^\[([a-z.-]+)\]\n((?:.+\n)+)", text, re.MULTILINE)
    named = {name: command.rstrip("\n") for name, command in commands}
    if len(named) != len(commands):
        raise ValueError("two commands have the same name")
    return named


def uncovered(steps: Sequence[Step], commands: dict[str, str]) -> list[str]:
    """The differences between the list of commands and the steps."""
    used = list(dict.fromkeys(step.name for step in steps if not isinstance(step, Own)))
    complaints = [f"{name}: in the list, but neither run nor skipped" for name in commands if name not in used]
    complaints += [f"{name}: a step, but not in the list" for name in used if name not in commands]
    if not complaints and used != list(commands):
        complaints.append("the steps do not follow the order of the page")
    return complaints


def play(steps: Sequence[Step], commands: dict[str, str], shell: Shell, server: Server, report: Report) -> None:
    """Runs and reports every step. Stops early only if the shell or the server has ended."""
    for step in steps:
        if isinstance(step, NotYet):
            report.note("skipped", f"page: {step.name} ({step.reason})")
            continue
        if isinstance(step, Page):
            name, command = f"page: {step.name}", commands.get(step.name, "false")
        else:
            name, command = step.title, step.command
        try:
            reply = shell.run(command)
            server.check_alive()
            complaints = step.expected.complaints(reply, shell)
            output = (reply.out + reply.err).strip()
            report.check(name, complaints, f"of        {command}", f"printed   {output[-2000:]}")
        except SessionLost as loss:
            report.fail(name, str(loss), f"of        {command}", "The later steps did not run.")
            return


class Backend(BaseHTTPRequestHandler):
    """The page's backend, in place of every instance. It answers with the address that it was reached at."""

    def do_GET(self) -> None:
        where = f'{{"address": "{self.connection.getsockname()[0]}"}}'
        body = {"/api/data": where, "/health": '{"status": "healthy"}'}.get(self.path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def walk(home: Path, sd_server: Path, aws_bin: Path, commands: dict[str, str], report: Report) -> None:
    """Starts sd-server as a user would, runs the steps, and ends it."""
    env = environment(home, aws_bin, sd_server.parent)
    shell = Shell(home, env, cwd=home)
    shell["PYTHON"] = sys.executable
    server = Server([str(sd_server), "--dns", "127.0.0.1:53"], home / "server.log", env)
    try:
        addresses = [("127.0.0.1", 5373), ("127.0.0.1", 5374), ("127.0.0.1", 53)]
        server.wait_for(addresses + [("::1", 5373)] * has_ipv6(), seconds=10)
        report.ok("sd-server --dns 127.0.0.1:53 listens")
        play(STEPS, commands, shell, server, report)
        status = server.stop()
        report.check("sd-server exits with 0 on SIGTERM", [] if status == 0 else [f"expected  0\ngot       {status}"])
        banner = (r":5373\b", r":5374\b", r":53\b", r"AWS_ENDPOINT_URL_SERVICEDISCOVERY=")
        said = Reply(0, server.output, "")
        report.check("the banner names the ports and the exports", Text(*banner).complaints(said, shell))
    except SessionLost as loss:
        report.fail("sd-server --dns 127.0.0.1:53 listens", str(loss))
    finally:
        shell.close()
        server.stop()
    if report.failed:
        print(f"--- end of the server's output\n{server.output[-4000:]}")


def main(sd_server: Path, aws_bin: Path) -> int:
    report = Report()
    commands = read_commands((HERE / "commands.txt").read_text(encoding="utf-8"))
    report.check("every command of the page is run or skipped by name", uncovered(STEPS, commands))
    backend = ThreadingHTTPServer(("", 8080), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="sd-seed.") as home:
        walk(Path(home), sd_server, aws_bin, commands, report)
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*(Path(argument).resolve() for argument in sys.argv[1:])))
