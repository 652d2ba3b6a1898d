"""boto3 and the AWS CLI with the ECS of examples/embed_in_emulator.

    clients.py EMULATOR AWS

All operations that the emulator has, their waiters, paginators and errors. Each response and error may only have members of
botocore's model, with its types.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from emulator import DEADLINE, KEY, NETWORK, REGION, Emulator, emulating, until

import botocore.exceptions  # noqa: I001
from session import Report, SessionLost, environment

OPERATIONS = {
    f"{verb}{what}"
    for what, verbs in {
        "Cluster": ["Create", "Delete"],
        "Clusters": ["Describe", "List"],
        "TaskDefinition": ["Register", "Deregister", "Describe"],
        "TaskDefinitions": ["List"],
        "Service": ["Create", "Update", "Delete"],
        "Services": ["Describe", "List"],
        "Task": ["Run", "Stop"],
        "Tasks": ["Describe", "List"],
    }.items()
    for verb in verbs
}
UPDATES = 40
"""How many deployments are awaited one after the other."""

# Waiters ask each 6 or 15 s by default.
QUICK = {"Delay": 0.02, "MaxAttempts": DEADLINE * 50}
TYPES = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "timestamp": (int, float),
    "double": (int, float),
}


class Model:
    """Compares each answer that a client gets with the model of the service."""

    def __init__(self, client: Any):
        self.complaints: list[str] = []
        self.answered: set[str] = set()
        self._errors = {shape.name: shape for shape in client.meta.service_model.error_shapes}
        client.meta.events.register("before-parse.ecs", self._look_at)

    def _look_at(self, operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
        name, body = operation_model.name, json.loads(response_dict["body"])
        if response_dict["headers"].get("content-type") != "application/x-amz-json-1.1":
            self.complaints.append(f"{name}: the content type is {response_dict['headers'].get('content-type')}")
        if response_dict["status_code"] == 200:
            self.answered.add(name)
            self._walk(operation_model.output_shape, body, name)
            return
        code, message = body.pop("__type", None), body.pop("message", None)
        # Which operations have it is not compared, because ECS itself answers with others.
        if body or not message or code not in [*self._errors, "UnknownOperationException", "SerializationException"]:
            self.complaints.append(f"{name}: not an error of the service: {code}, {message}, {body}")

    def _walk(self, shape: Any, value: Any, path: str) -> None:
        is_bool = isinstance(value, bool) and shape.type_name != "boolean"
        if is_bool or not isinstance(value, TYPES[shape.type_name]):
            self.complaints.append(f"{path}: {value!r} is not of type {shape.type_name}")
        elif shape.type_name == "structure":
            for name, member in value.items():
                if name in shape.members:
                    self._walk(shape.members[name], member, f"{path}.{name}")
                else:
                    self.complaints.append(f"{path}.{name} is not in the model")
        elif shape.type_name == "list":
            for item in value:
                self._walk(shape.member, item, path)
        elif shape.type_name == "map":
            for item in value.values():
                self._walk(shape.value, item, path)
        elif (known := getattr(shape, "enum", None)) and value not in known:
            self.complaints.append(f"{path}: {value!r} is not one of {known}")


class Checks:
    """Counts equal and unequal results."""

    def __init__(self, report: Report):
        self._report = report

    def equal(self, step: str, got: Any, expected: Any) -> None:
        self._report.check(step, [] if got == expected else [f"expected  {expected!r}\ngot       {got!r}"])

    def refused(self, code: str, call: Any, **request: Any) -> None:
        """The call fails with the exception that botocore has for this code, or its general one."""
        try:
            got: str = f"the answer {call(**request)}"
        except botocore.exceptions.ClientError as error:
            got = error.response["Error"]["Code"]
            typed = getattr(call.__self__.exceptions, code, botocore.exceptions.ClientError)
            if not isinstance(error, typed):
                got = f"{got} as {type(error)}"
        self.equal(f"boto3: {call.__name__} {list(request)} is refused with {code}", got, code)


def clusters_and_definitions(ecs: Any, checks: Checks) -> None:
    made = ecs.create_cluster(clusterName="one", tags=[{"key": "k", "value": "v"}])["cluster"]
    checks.equal("boto3: a cluster", [made["clusterName"], made["status"]], ["one", "ACTIVE"])
    shown = ecs.describe_clusters(clusters=["one", "none"], include=["TAGS", "SETTINGS", "STATISTICS"])
    checks.equal("boto3: the tags of a cluster", shown["clusters"][0]["tags"], [{"key": "k", "value": "v"}])
    checks.equal("boto3: a cluster that is missing", shown["failures"][0]["reason"], "MISSING")
    pages = list(ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 1}))
    names = [arn.rsplit("/", 1)[1] for page in pages for arn in page["clusterArns"]]
    checks.equal("boto3: pages of clusters", (len(pages), names), (2, ["default", "one"]))

    container = {
        "name": "app",
        "image": "any",
        "command": ["sleep", "1000"],
        "environment": [{"name": "A", "value": "1"}],
        "portMappings": [{"containerPort": 80, "name": "web", "appProtocol": "http"}],
        "healthCheck": {"command": ["CMD", "true"], "interval": 5, "timeout": 2, "retries": 1, "startPeriod": 1},
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "web"}},
    }
    request = {
        "family": "web",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": "arn:aws:iam::111122223333:role/web",
        "containerDefinitions": [container],
    }
    for _ in range(3):
        made = ecs.register_task_definition(**request)["taskDefinition"]
    checks.equal("boto3: a revision", (made["revision"], made["cpu"]), (3, "256"))
    shown = made["containerDefinitions"][0]
    ports = [{**container["portMappings"][0], "hostPort": 80, "protocol": "tcp"}]
    expected = {**container, "portMappings": ports}
    checks.equal("boto3: its container", {name: shown.get(name) for name in expected}, expected)
    shown = ecs.describe_task_definition(taskDefinition="web", include=["TAGS"])["taskDefinition"]
    checks.equal("boto3: the newest revision", shown, made)
    ended = ecs.deregister_task_definition(taskDefinition="web:1")["taskDefinition"]
    checks.equal("boto3: a deregistered revision", ended["status"], "INACTIVE")
    listed = ecs.get_paginator("list_task_definitions").paginate(
        familyPrefix="web", sort="DESC", PaginationConfig={"PageSize": 1}
    )
    revisions = [arn.rsplit(":", 1)[1] for page in listed for arn in page["taskDefinitionArns"]]
    checks.equal("boto3: pages of task definitions", revisions, ["3", "2"])


def tasks(ecs: Any, checks: Checks) -> None:
    ran = ecs.run_task(
        cluster="one", taskDefinition="web", count=3, launchType="FARGATE", networkConfiguration=NETWORK,
        startedBy="boto3", tags=[{"key": "k", "value": "v"}],
    )
    arns = sorted(task["taskArn"] for task in ran["tasks"])
    ecs.get_waiter("tasks_running").wait(cluster="one", tasks=arns, WaiterConfig=QUICK)
    pages = list(
        ecs.get_paginator("list_tasks").paginate(cluster="one", startedBy="boto3", PaginationConfig={"PageSize": 1})
    )
    listed = [arn for page in pages for arn in page["taskArns"]]
    checks.equal("boto3: tasks run, pages of them", (len(pages), sorted(listed)), (3, arns))
    shown = ecs.describe_tasks(cluster="one", tasks=arns, include=["TAGS"])["tasks"]
    checks.equal("boto3: tasks have their tags", [task["tags"] for task in shown], [[{"key": "k", "value": "v"}]] * 3)
    healthy = lambda: all(  # noqa: E731
        task["healthStatus"] == "HEALTHY" for task in ecs.describe_tasks(cluster="one", tasks=arns)["tasks"]
    )
    until("tasks are not healthy", healthy)
    checks.refused("ClusterContainsTasksException", ecs.delete_cluster, cluster="one")
    for arn in arns:
        ecs.stop_task(cluster="one", task=arn, reason="enough")
    ecs.get_waiter("tasks_stopped").wait(cluster="one", tasks=arns, WaiterConfig=QUICK)
    shown = ecs.describe_tasks(cluster="one", tasks=arns)["tasks"]
    ends = [(task["stopCode"], task["stoppedReason"], task["containers"][0]["exitCode"]) for task in shown]
    checks.equal("boto3: stopped tasks", ends, [("UserInitiated", "enough", 143)] * 3)


def services(emulator: Emulator, registry: str, checks: Checks) -> None:
    ecs = emulator.ecs
    emulator.define("quick", "sleep", "1000")
    for name in ("web", "other"):
        ecs.create_service(
            cluster="one", serviceName=name, taskDefinition="quick", desiredCount=2, launchType="FARGATE",
            networkConfiguration=NETWORK, serviceRegistries=[{"registryArn": registry}] if name == "web" else [],
            deploymentConfiguration={
                "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                "maximumPercent": 200,
                "minimumHealthyPercent": 100,
            },
            tags=[{"key": "k", "value": "v"}],
        )
    stable = ecs.get_waiter("services_stable")
    stable.wait(cluster="one", services=["web", "other"], WaiterConfig=QUICK)
    shown = ecs.describe_services(cluster="one", services=["web", "none"], include=["TAGS"])
    service = shown["services"][0]
    checks.equal("boto3: a stable service", (service["runningCount"], service["pendingCount"]), (2, 0))
    checks.equal("boto3: its registry", service["serviceRegistries"], [{"registryArn": registry}])
    checks.equal("boto3: a service that is missing", shown["failures"][0]["reason"], "MISSING")
    checks.equal("boto3: its instances", len(emulator.discovered("web")), 2)
    pages = list(ecs.get_paginator("list_services").paginate(cluster="one", PaginationConfig={"PageSize": 1}))
    names = [arn.rsplit("/", 1)[1] for page in pages for arn in page["serviceArns"]]
    checks.equal("boto3: pages of services", (len(pages), names), (2, ["other", "web"]))

    # Each is awaited by the waiter, and then until its deployment is completed: neither may wait for another change.
    waited = []
    for number in range(UPDATES):
        change = {"forceNewDeployment": True} if number % 4 else {"desiredCount": number // 4 % 3 + 1}
        ecs.update_service(cluster="one", service="web", **change)
        stable.wait(cluster="one", services=["web"], WaiterConfig=QUICK)
        shown = lambda: ecs.describe_services(cluster="one", services=["web"])["services"][0]  # noqa: E731
        is_completed = lambda: shown()["deployments"][0]["rolloutState"] == "COMPLETED"  # noqa: E731
        try:
            until("not completed", is_completed, emulator)
        except SessionLost as error:
            waited.append(f"update {number}: {error}: {shown()}")
    checks.equal(f"boto3: services_stable after {UPDATES} updates, and they are completed", waited, [])

    checks.refused("InvalidParameterException", ecs.delete_service, cluster="one", service="web")
    checks.refused("ClusterContainsServicesException", ecs.delete_cluster, cluster="one")
    for name in ("web", "other"):
        ecs.delete_service(cluster="one", service=name, force=True)
    ecs.get_waiter("services_inactive").wait(cluster="one", services=["web", "other"], WaiterConfig=QUICK)
    checks.equal("boto3: a deleted service has no instances", emulator.discovered("web", "ALL"), {})
    checks.refused("ServiceNotActiveException", ecs.update_service, cluster="one", service="web", desiredCount=1)
    ended = ecs.delete_cluster(cluster="one")["cluster"]
    checks.equal("boto3: a deleted cluster", ended["status"], "INACTIVE")


def errors(emulator: Emulator, checks: Checks) -> None:
    ecs, refused = emulator.ecs, checks.refused
    refused("ClusterNotFoundException", ecs.describe_services, cluster="none", services=["web"])
    refused("ClusterNotFoundException", ecs.run_task, cluster="none", taskDefinition="web")
    refused("ServiceNotFoundException", ecs.update_service, service="none", desiredCount=1)
    refused("ServiceNotFoundException", ecs.delete_service, service="none")
    refused("ServiceNotFoundException", ecs.list_tasks, serviceName="none")
    refused("ClientException", ecs.run_task, taskDefinition="none")
    refused("ClientException", ecs.describe_task_definition, taskDefinition="none")
    refused("ClientException", ecs.deregister_task_definition, taskDefinition="none:1")
    refused("ClientException", ecs.register_task_definition, family="none", containerDefinitions=[])
    refused("InvalidParameterException", ecs.stop_task, task="none")
    refused("InvalidParameterException", ecs.run_task, taskDefinition="web")
    refused("InvalidParameterException", ecs.list_tasks, nextToken="none")
    refused("InvalidParameterException", ecs.describe_services, services=[])
    refused("InvalidParameterException", ecs.create_cluster, clusterName="no name")
    refused(
        "InvalidParameterException", ecs.create_service, serviceName="web", taskDefinition="web", desiredCount=1,
        networkConfiguration=NETWORK, serviceRegistries=[{"registryArn": "none"}],
    )
    refused("UnsupportedFeatureException", ecs.run_task, taskDefinition="web", overrides={"cpu": "256"})
    refused("UnknownOperationException", ecs.list_container_instances)


def command_line(emulator: Emulator, aws: str, registry: str, directory: Path, checks: Checks) -> None:
    """The AWS CLI's commands of a service's life, and of a task's."""
    env = {
        **environment(directory),
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [aws, "ecs", *arguments, "--output", "json"]
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * DEADLINE
        )

    def expect(expected: Any, query: str, *arguments: str) -> Any:
        """The result of a query over the output of a command."""
        ran = run(*arguments, *(["--query", query] if query else []))
        got = json.loads(ran.stdout) if ran.stdout.strip() else ran.stderr.strip() or None
        checks.equal(f"aws ecs {' '.join(arguments[:2])}", got, expected)

    network = "awsvpcConfiguration={subnets=[subnet-1]}"
    containers = json.dumps([{"name": "app", "image": "any", "command": ["sleep", "1000"]}])
    at = ("--cluster", "cli")
    expect("ACTIVE", "cluster.status", "create-cluster", "--cluster-name", "cli")
    expect(
        1, "taskDefinition.revision", "register-task-definition", "--family", "cli", "--network-mode", "awsvpc",
        "--container-definitions", containers,
    )
    expect(
        "cli", "service.serviceName", "create-service", *at, "--service-name", "cli", "--task-definition", "cli",
        "--desired-count", "2", "--network-configuration", network, "--service-registries", f"registryArn={registry}",
    )
    expect(None, "", "wait", "services-stable", *at, "--services", "cli")
    expect([2, 1], "services[0].[runningCount, length(deployments)]", "describe-services", *at, "--services", "cli")
    checks.equal("aws: the instances of the service", len(emulator.discovered("cli")), 2)
    expect(
        "PRIMARY", "service.deployments[0].status", "update-service", *at, "--service", "cli", "--force-new-deployment"
    )
    expect(None, "", "wait", "services-stable", *at, "--services", "cli")
    expect(1, "length(serviceArns)", "list-services", *at)
    expect(2, "length(taskArns)", "list-tasks", *at, "--service-name", "cli")
    expect(2, "length(clusterArns)", "list-clusters")

    ran = run("run-task", *at, "--task-definition", "cli", "--network-configuration", network)
    task = json.loads(ran.stdout)["tasks"][0]["taskArn"]
    expect(None, "", "wait", "tasks-running", *at, "--tasks", task)
    expect("STOPPED", "task.desiredStatus", "stop-task", *at, "--task", task)
    expect(None, "", "wait", "tasks-stopped", *at, "--tasks", task)
    expect("UserInitiated", "tasks[0].stopCode", "describe-tasks", *at, "--tasks", task)
    expect("DRAINING", "service.status", "delete-service", *at, "--service", "cli", "--force")
    expect(None, "", "wait", "services-inactive", *at, "--services", "cli")
    expect("INACTIVE", "cluster.status", "delete-cluster", "--cluster", "cli")
    ran = run("describe-services", *at, "--services", "cli")
    is_told = "(ClusterNotFoundException) when calling the DescribeServices operation: Cluster not found." in ran.stderr
    checks.equal("aws: an error's code and text", is_told, True)


def main(binary: str, aws: str) -> int:
    report = Report()
    checks = Checks(report)
    with tempfile.TemporaryDirectory(prefix="sd-ecs.") as home:
        directory = Path(home)
        try:
            with emulating(binary, directory, "--second", "20") as emulator:
                model = Model(emulator.ecs)
                namespace = emulator.create_namespace()
                web, cli = (emulator.create_registry(name, namespace)["Arn"] for name in ("web", "cli"))
                clusters_and_definitions(emulator.ecs, checks)
                tasks(emulator.ecs, checks)
                services(emulator, web, checks)
                errors(emulator, checks)
                checks.equal("boto3: all operations were answered", sorted(model.answered), sorted(OPERATIONS))
                report.check("boto3: answers have the members and types of the model", model.complaints)
                command_line(emulator, aws, cli, directory, checks)
        except (SessionLost, botocore.exceptions.WaiterError, subprocess.TimeoutExpired) as error:
            report.fail("clients", str(error))
    return report.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
