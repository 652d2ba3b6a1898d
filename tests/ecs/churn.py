"""Starts and stops tasks at random, and looks for what they leave.

    churn.py EMULATOR

The seed SD_ECS_SEED (1) decides what happens in SD_ECS_SECONDS (20). Some tasks are checked, some fork, some fail. In the end
there must be no process, no registration and no zombie, each address must be free, and the emulator must have as many threads
and file descriptors as before.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from emulator import DEADLINE, NETWORK, Emulator, address_of, emulating, left, processes, settles

import botocore.exceptions  # noqa: I001
from session import Report, SessionLost

TASKS = 200
"""How many tasks are started at least."""
ADDRESSES = 40
"""So few that each is used several times."""
SERVICES = ["web-0", "web-1", "web-2"]
FAMILIES = {
    "plain": ["sleep", "1000"],
    "forking": ["sh", "-c", "setsid sleep 1000 & (setsid sh -c 'sleep 1000; true' &); sleep 1000 & exec sleep 1000"],
    "stubborn": ["sh", "-c", "trap '' TERM; setsid sleep 1000 & while :; do sleep 1000; done"],
    "failing": ["sh", "-c", "setsid sleep 1000 & exit 1"],
    "missing": ["/no/such/program"],
}
CHECKS = {
    "plain": ["CMD", "true"],
    "forking": ["CMD-SHELL", "setsid sleep 1000 & sleep 1000"],
    "stubborn": ["CMD", "sh", "-c", "exec head -c 1000000 /dev/zero"],
}


class Churn:
    """Random requests."""

    def __init__(self, emulator: Emulator, arns: dict[str, str], choose: random.Random):
        self.emulator, self.arns, self.choose = emulator, arns, choose
        self.seen: set[str] = set()
        """The tasks that there were."""

    def act(self) -> None:
        ecs, choose = self.emulator.ecs, self.choose
        act, name = choose.choice(["run", "run", "stop", "stop", "scale", "deploy"]), choose.choice(SERVICES)
        running = self.emulator.tasks()
        self.seen.update(task["taskArn"] for task in running)
        if act == "run":
            family = choose.choice(list(FAMILIES))
            ran = ecs.run_task(taskDefinition=family, count=choose.randint(1, 4), networkConfiguration=NETWORK)
            self.seen.update(task["taskArn"] for task in ran["tasks"])
        elif act == "stop":
            for task in choose.sample(running, min(len(running), choose.randint(1, 8))):
                ecs.stop_task(task=task["taskArn"])
        elif act == "scale":
            family = choose.choice(["plain", "forking", "stubborn", "failing"])
            ecs.update_service(service=name, desiredCount=choose.randint(0, 5), taskDefinition=family)
        else:
            ecs.update_service(service=name, forceNewDeployment=True)

    def end(self) -> None:
        for name in SERVICES:
            self.emulator.ecs.delete_service(service=name, force=True)
        for task in self.emulator.tasks():
            self.emulator.ecs.stop_task(task=task["taskArn"])


def resources(pid: int) -> dict[str, int]:
    """The threads and the file descriptors of a process."""
    return {what: len(os.listdir(f"/proc/{pid}/{place}")) for what, place in (("threads", "task"), ("files", "fd"))}


def remains(emulator: Emulator, before: dict[int, str], resources_before: dict[str, int]) -> list[str]:
    complaints = [f"process {process}" for process in left(before)]
    tasks = emulator.tasks() + emulator.tasks(desiredStatus="STOPPED")
    complaints += [f"{task['taskArn']} is {task['lastStatus']}" for task in tasks if task["lastStatus"] != "STOPPED"]
    for name in SERVICES:
        if found := emulator.discovered(name, "ALL"):
            complaints.append(f"{name} has the instances {found}")
        if addresses := emulator.resolved(name):
            complaints.append(f"{name} resolves to {addresses}")
    if (now := resources(emulator.pid)) != resources_before:
        complaints.append(f"the emulator had {resources_before}, and has {now}")
    return complaints


def prepare(emulator: Emulator) -> dict[str, str]:
    """Returns the ARN of each service of Cloud Map."""
    for family, command in FAMILIES.items():
        check: dict[str, Any] = {}
        if family in CHECKS:
            check = {"healthCheck": {"command": CHECKS[family], "interval": 5, "timeout": 10, "retries": 2}}
        emulator.define(family, *command, stopTimeout=10, **check)
    namespace = emulator.create_namespace()
    return {name: emulator.create_registry(name, namespace)["Arn"] for name in SERVICES}


def gets_all_addresses(emulator: Emulator) -> list[str]:
    """What a service misses that needs each address."""
    emulator.serve("all", "plain", ADDRESSES)

    def missing() -> list[str]:
        addresses = {address_of(task) for task in emulator.tasks(serviceName="all") if task["lastStatus"] == "RUNNING"}
        if len(addresses) == ADDRESSES:
            return []
        return [f"{len(addresses)} of {ADDRESSES} addresses: {emulator.service('all')['events'][:3]}"]

    complaints = settles(missing, emulator)
    emulator.ecs.delete_service(service="all", force=True)
    return complaints


def main(binary: str) -> int:
    seed, seconds = os.environ.get("SD_ECS_SEED", "1"), float(os.environ.get("SD_ECS_SECONDS", "20"))
    report = Report()
    report.note("seed", f"SD_ECS_SEED={seed}, SD_ECS_SECONDS={seconds:g}")
    with tempfile.TemporaryDirectory(prefix="sd-ecs.") as home:
        try:
            with emulating(binary, Path(home), "--second", "20", "--addresses", str(ADDRESSES)) as emulator:
                churn = Churn(emulator, prepare(emulator), random.Random(seed))
                # Both clients have a connection by now, and the emulator what it starts only once.
                emulator.discovered(SERVICES[0])
                before, resources_before = processes(), resources(emulator.pid)
                for name in SERVICES:
                    emulator.serve(name, "plain", 2, churn.arns[name])
                ends = time.monotonic() + seconds
                while time.monotonic() < ends or len(churn.seen) < TASKS:
                    emulator.check_alive()
                    if time.monotonic() > ends + DEADLINE:
                        events = emulator.service(SERVICES[0])["events"][:3]
                        raise SessionLost(f"{len(churn.seen)} tasks were started, not {TASKS}: {events}")
                    churn.act()
                report.ok(f"churn: {len(churn.seen)} tasks")
                churn.end()
                gone = lambda: remains(emulator, before, resources_before)  # noqa: E731
                report.check("churn: nothing is left", settles(gone, emulator))
                report.check("churn: a service gets each address", gets_all_addresses(emulator))
                report.check("churn: nothing is left of it", settles(gone, emulator))
                unhandled = [line for line in emulator.output.splitlines() if "panicked" in line]
                report.check("churn: no panic", unhandled)
        except (SessionLost, botocore.exceptions.ClientError) as error:
            report.fail("churn", str(error))
    return report.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
