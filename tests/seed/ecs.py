"""The page's ECS part: its documents as printed, and its commands while ECS registers the instances.

    ecs.py EMULATOR AWS_BIN      inside lib/netns.sh; tests/seed/run does both

EMULATOR is the program of examples/embed_in_emulator, whose tasks are local processes; AWS_BIN the directory of the AWS CLI.
The page shortens ids and ARNs; they are filled in, and nothing else.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import walkthrough
from expect import AnyOrder, Dns, Done, Json, Keep, Sets, Text, Var, soa
from session import Report, Server, SessionLost, Shell, environment
from walkthrough import NAMESPACE_ID, SERVICE_ID, STARTED, Own, Page, Step, address, created, until

# A second of ECS in milliseconds: the page's interval of 30 seconds takes 1.5.
SECOND = 50
TASK_ID = r"[0-9a-f]{32}"
BACKENDS = (address("127.42.0.2"), address("127.42.0.3"))
HEALTH_CHECK = {
    "command": ["CMD-SHELL", "curl -f http://localhost:8080/health || exit 1"],
    "interval": 30,
    "timeout": 5,
    "retries": 3,
    "startPeriod": 60,
}


def attributes(host: str) -> dict[str, object]:
    """What ECS registers for a task of backend-api-service."""
    return {
        "AWS_INSTANCE_IPV4": host,
        "AWS_INSTANCE_PORT": "8080",
        "AVAILABILITY_ZONE": "us-east-1a",
        "REGION": "us-east-1",
        "ECS_CLUSTER_NAME": "default",
        "ECS_SERVICE_NAME": "backend-api-service",
        "ECS_TASK_DEFINITION_FAMILY": "backend-api",
    }


def discovered(host: str) -> dict[str, object]:
    names = {"NamespaceName": "app.local", "ServiceName": "backend-api", "HealthStatus": "HEALTHY"}
    return {**names, "InstanceId": re.compile(f"^{TASK_ID}$"), "Attributes": attributes(host)}


def fill_in(document: str, *replacements: str) -> str:
    """A command that writes a document of the page into this directory, with ids in place of what the page shortens."""
    edits = "".join(f' -e "s|{replacement}|"' for replacement in replacements)
    return f"sed{edits} $DOCUMENTS/{document}.json > {document}.json"


PREPARE: list[Step] = [
    Own(
        "settings of the AWS CLI",
        "export AWS_ENDPOINT_URL=http://localhost:5373 AWS_DEFAULT_REGION=us-east-1 AWS_PAGER="
        " AWS_DISABLE_HOST_PREFIX_INJECTION=true AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any",
        Done(),
    ),
    Page("getting-started.namespace", STARTED),
    Page("getting-started.namespace-id", Sets("NAMESPACE_ID", re.compile(f"^{NAMESPACE_ID}$"))),
    Page("getting-started.service", created("backend-api", 60, Keep("BACKEND", SERVICE_ID))),
]

HEALTH_CHECKS: list[Step] = [
    Own(
        "the page's health check in a task definition",
        "aws ecs register-task-definition --family checked --network-mode awsvpc"
        " --cli-input-json file://$DOCUMENTS/health-check.json",
        Json({"taskDefinition": {"revision": 1, "containerDefinitions": [{"healthCheck": HEALTH_CHECK}]}}),
    ),
    Own(
        "run-task",
        "TASK=$(aws ecs run-task --task-definition checked --query 'tasks[0].taskArn' --output text"
        " --network-configuration 'awsvpcConfiguration={subnets=[subnet-12345]}')",
        Sets("TASK", re.compile(f"^arn:aws:ecs:us-east-1:123456789012:task/default/{TASK_ID}$")),
    ),
    Own(
        "its health is what the command says",
        until("aws ecs describe-tasks --tasks $TASK --query 'tasks[0].healthStatus' --output text", "HEALTHY"),
        Text("^HEALTHY$"),
    ),
    Own("it serves", "curl -s http://127.42.0.1:8080/health", Json({"status": "healthy"})),
    Own("stop-task", "aws ecs stop-task --task $TASK", Json({"task": {"desiredStatus": "STOPPED"}})),
    Own("it stops", "aws ecs wait tasks-stopped --tasks $TASK", Done()),
]

SERVICE: list[Step] = [
    Own(
        "the task definition of the page's service",
        "aws ecs register-task-definition --family backend-api --network-mode awsvpc --container-definitions"
        """ '[{"name": "backend", "image": "backend-api:latest", "portMappings": [{"containerPort": 8080}]}]'""",
        Json({"taskDefinition": {"family": "backend-api", "revision": 1}}),
    ),
    Own("the page's service with the id of the registry", fill_in("service", "srv-xxxxx|$BACKEND"), Done()),
    Own(
        "create-service",
        "aws ecs create-service --cli-input-json file://service.json",
        Json({"service": {"serviceName": "backend-api-service", "desiredCount": 2, "launchType": "FARGATE"}}),
    ),
    Own("it becomes stable", "aws ecs wait services-stable --services backend-api-service", Done()),
    Own("dig finds both tasks", "dig backend-api.app.local", Dns(*BACKENDS)),
    Page("getting-started.curl", Json({"message": "Hello from backend"})),
    Page(
        "monitoring.discover-instances",
        Json({"Instances": AnyOrder(discovered("127.42.0.2"), discovered("127.42.0.3"))}),
    ),
    Page(
        "test-dns.nslookup",
        Text(r"^Address: 127\.42\.0\.2$", r"^Address: 127\.42\.0\.3$"),
    ),
    Page("test-dns.curl", Json({"status": "healthy"})),
]

LOAD_BALANCING: list[Step] = [
    Own(
        "a Cloud Map service for tasks in bridge mode, which share an address, so that it has SRV records",
        "aws servicediscovery create-service --name web --namespace-id $NAMESPACE_ID"
        " --dns-config 'DnsRecords=[{Type=SRV,TTL=10}]'",
        Json({"Service": {"Id": Keep("WEB", SERVICE_ID)}}),
    ),
    Own(
        "the task definition of the page's service",
        "aws ecs register-task-definition --family webapp --container-definitions"
        """ '[{"name": "web", "image": "backend-api:latest", "portMappings": [{"containerPort": 80}],"""
        """ "environment": [{"name": "PORT", "value": "80"}]}]'""",
        Json({"taskDefinition": {"family": "webapp", "revision": 1, "networkMode": "bridge"}}),
    ),
    Own(
        "the page's service with whole ARNs",
        fill_in(
            "load-balancing",
            "elasticloadbalancing:[.]*|elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123456789abcdef",
            "servicediscovery:[.]*|servicediscovery:us-east-1:123456789012:service/$WEB",
        ),
        Done(),
    ),
    Own(
        "create-service",
        "aws ecs create-service --cli-input-json file://load-balancing.json",
        Json({"service": {"serviceName": "web-app", "desiredCount": 3}}),
    ),
    Own("it becomes stable", "aws ecs wait services-stable --services web-app", Done()),
    Own(
        "dig finds the tasks with their ports",
        "dig +short web.app.local SRV",
        Text(*[r"^1 1 80 [0-9a-f]{32}\.web\.app\.local\.$"], r"\A(.*\n){3}\Z"),
    ),
    Own(
        "an alias of the load balancer",
        "EDGE=$(aws servicediscovery create-service --name edge --namespace-id $NAMESPACE_ID --query Service.Id"
        " --dns-config 'RoutingPolicy=WEIGHTED,DnsRecords=[{Type=A,TTL=60}]' --output text)",
        Sets("EDGE", re.compile(f"^{SERVICE_ID}$")),
    ),
    walkthrough.register("$EDGE", "balancer", "AWS_ALIAS_DNS_NAME=web-1234567890.us-east-1.elb.amazonaws.com"),
    Own(
        "dig finds the targets by the alias",
        "dig +short edge.app.local | sort | xargs",
        Text(r"^127\.42\.0\.4 127\.42\.0\.5 127\.42\.0\.6$"),
    ),
    Own("a client reaches a target by the alias", "curl -s http://edge.app.local/health", Json({"status": "healthy"})),
    walkthrough.deregister("$EDGE", "balancer"),
]

TEAR_DOWN: list[Step] = [
    Own(
        "delete both services",
        "for service in backend-api-service web-app; do"
        " aws ecs delete-service --service $service --force --query service.status --output text; done",
        Text(r"\ADRAINING\nDRAINING\n\Z"),
    ),
    Own("they end", "aws ecs wait services-inactive --services backend-api-service web-app", Done()),
    Own("no task is left", "aws ecs list-tasks", Json({"taskArns": []})),
    Own(
        "no name is left",
        "dig backend-api.app.local",
        Dns(status="NXDOMAIN", authority=(soa("app.local.", 15),)),
    ),
    Own(
        "no instance is left, so that everything can be deleted",
        "for service in $BACKEND $WEB $EDGE; do aws servicediscovery delete-service --id $service || exit; done",
        Done(),
    ),
    Own("delete app.local", "aws servicediscovery delete-namespace --id $NAMESPACE_ID", STARTED),
    Own("no process is left", until("pgrep -c -f '[h]ttp.server'", "0"), Text("^0$")),
]

STEPS = [*PREPARE, *HEALTH_CHECKS, *SERVICE, *LOAD_BALANCING, *TEAR_DOWN]

# Stands for the page's image backend-api:latest.
PROGRAM = """#!/bin/sh
exec "$PYTHON" -m http.server "${PORT:-8080}" --bind "$ECS_TASK_ADDRESS" --directory "$WWW"
"""


def walk(home: Path, emulator: Path, aws_bin: Path, report: Report) -> None:
    www, images = home / "www", home / "images"
    (www / "api").mkdir(parents=True)
    images.mkdir()
    (www / "health").write_text('{"status": "healthy"}', encoding="utf-8")
    (www / "api" / "data").write_text('{"message": "Hello from backend"}', encoding="utf-8")
    program = images / "backend-api"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)

    env = {**environment(home, aws_bin), "PYTHON": sys.executable, "WWW": str(www)}
    shell = Shell(home, env, cwd=home)
    shell["DOCUMENTS"] = str(walkthrough.HERE / "documents")
    flags = ["--dns", "127.0.0.1:53", "--images", str(images), "--second", str(SECOND)]
    server = Server([str(emulator), *flags], home / "emulator.log", env)
    commands = walkthrough.read_commands((walkthrough.HERE / "commands.txt").read_text(encoding="utf-8"))
    try:
        server.wait_for([("127.0.0.1", 5373), ("127.0.0.1", 53)], seconds=10)
        walkthrough.play(STEPS, commands, shell, server, report)
    except SessionLost as loss:
        report.fail("the emulator listens", str(loss))
    finally:
        shell.close()
        server.stop()
    if report.failed:
        print(f"--- end of the emulator's output\n{server.output[-4000:]}")


def main(emulator: Path, aws_bin: Path) -> int:
    report = Report()
    with tempfile.TemporaryDirectory(prefix="sd-seed.") as home:
        walk(Path(home), emulator, aws_bin, report)
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*(Path(argument).resolve() for argument in sys.argv[1:])))
