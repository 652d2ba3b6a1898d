"""Kills the emulator (kill -9) at random points, and compares Cloud Map with the tasks after each restart.

    crash.py EMULATOR

The seed SD_ECS_SEED (1) decides what a client does, and when each of the SD_ECS_KILLS (30) kills comes. Cloud Map's registry is
in a file. ECS's state is not, so after a restart there are no tasks: their instances must leave, and the client creates its
services again.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from emulator import Emulator, address_of, emulating, id_of, left, processes, settles, until

import botocore.exceptions  # noqa: I001
from session import Report, SessionLost

SERVICES = [f"web-{number}" for number in range(4)]
MOST = 3
"""Tasks of a service. Four addresses fit into a DNS answer."""
FOREIGN = {"by-hand": "10.9.9.9"}
LONGEST = 0.6
"""Seconds from the first request to the kill. A task is RUNNING after about 20 ms."""


class Course:
    """What is to happen."""

    def __init__(self, seed: str):
        self.choose = random.Random(seed)
        self.wanted: dict[str, int] = {}
        """The desired count of each service of ECS."""

    def create_all(self, emulator: Emulator, arns: dict[str, str]) -> None:
        """What the client does after a restart."""
        emulator.define("plain", "sleep", "1000")
        emulator.define("forking", "sh", "-c", "setsid sleep 1000 & sleep 1000 & exec sleep 1000")
        self.wanted = {}
        for name in SERVICES:
            if self.choose.random() < 0.7:
                self._create(emulator, arns, name)

    def _create(self, emulator: Emulator, arns: dict[str, str], name: str) -> None:
        count = self.choose.randint(0, MOST)
        emulator.serve(name, self.choose.choice(["plain", "forking"]), count, arns[name])
        self.wanted[name] = count

    def act(self, emulator: Emulator, arns: dict[str, str]) -> None:
        """One request, or two."""
        choose, ecs = self.choose, emulator.ecs
        name = choose.choice(SERVICES)
        if name not in self.wanted:
            status = emulator.ecs.describe_services(services=[name])["services"]
            # Until the tasks of the deleted one have ended, it cannot be created.
            if not status or status[0]["status"] == "INACTIVE":
                self._create(emulator, arns, name)
            return
        act = choose.choice(["scale", "scale", "deploy", "delete", "stop"])
        if act == "scale":
            self.wanted[name] = choose.randint(0, MOST)
            ecs.update_service(service=name, desiredCount=self.wanted[name])
        elif act == "deploy":
            ecs.update_service(service=name, forceNewDeployment=True)
        elif act == "delete":
            ecs.delete_service(service=name, force=True)
            del self.wanted[name]
        else:
            for task in ecs.list_tasks(serviceName=name)["taskArns"][:1]:
                ecs.stop_task(task=task)


def differences(emulator: Emulator, wanted: dict[str, int]) -> list[str]:
    """What differs between the services, their running tasks, and Cloud Map."""
    complaints = []
    for name in SERVICES:
        tasks = emulator.tasks(serviceName=name) if name in wanted else []
        running = {id_of(task): address_of(task) for task in tasks if task["lastStatus"] == "RUNNING"}
        if len(running) != wanted.get(name, 0):
            complaints.append(f"{name}: expected {wanted.get(name, 0)} running tasks, got {running}")
        expected = {**running, **FOREIGN}
        if (found := emulator.discovered(name, "ALL")) != expected:
            complaints.append(f"{name}: expected the instances {expected}\ngot       {found}")
        if (resolved := emulator.resolved(name)) != sorted(expected.values()):
            complaints.append(f"{name}: expected the addresses {sorted(expected.values())}\ngot       {resolved}")
    return complaints


def stored(file: Path) -> tuple[int, list[Any]]:
    """How many instances of tasks a registry file has, and the records of the others."""
    instances = json.loads(file.read_bytes())["facts"]["instances"] if file.exists() else []
    foreign = [record for record in instances if record["id"] in FOREIGN]
    return len(instances) - len(foreign), foreign


def set_up(emulator: Emulator, file: Path) -> dict[str, str]:
    """Creates what is the same in all rounds. Returns the ARN of each service of Cloud Map."""
    namespace, arns = emulator.create_namespace(), {}
    for name in SERVICES:
        registry = emulator.create_registry(name, namespace)
        arns[name] = registry["Arn"]
        for instance, address in FOREIGN.items():
            registered = emulator.cloud_map.register_instance(
                ServiceId=registry["Id"], InstanceId=instance, Attributes={"AWS_INSTANCE_IPV4": address}
            )
            emulator.finished(registered["OperationId"])
    until("the registry is not written", lambda: len(stored(file)[1]) == len(SERVICES), emulator)
    return arns


def act_until_killed(course: Course, emulator: Emulator, arns: dict[str, str]) -> tuple[int, list[str]]:
    """Returns how many acts were answered, and what went wrong."""
    is_killed, wrong, done = threading.Event(), [], []

    def act() -> None:
        try:
            while not is_killed.is_set():
                course.act(emulator, arns)
                done.append(1)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            if not is_killed.is_set():
                wrong.append(f"{type(error).__name__}: {error}")

    kill_after = course.choose.uniform(0, LONGEST)
    client = threading.Thread(target=act)
    client.start()
    time.sleep(kill_after)  # the random point
    emulator.check_alive()
    is_killed.set()
    emulator.kill()
    client.join()
    return len(done), wrong


def main(binary: str) -> int:
    seed, kills = os.environ.get("SD_ECS_SEED", "1"), int(os.environ.get("SD_ECS_KILLS", "30"))
    report, course, acts, orphans, foreign = Report(), Course(seed), 0, 0, None
    report.note("seed", f"SD_ECS_SEED={seed}, {kills} kills")
    before = processes()
    with tempfile.TemporaryDirectory(prefix="sd-ecs.") as home:
        directory, file = Path(home), Path(home, "registry.json")
        flags = ("--second", "20", "--registry", str(file))
        try:
            with emulating(binary, directory, *flags) as emulator:
                arns = set_up(emulator, file)
                foreign = stored(file)[1]
            for number in range(1, kills + 1):
                with emulating(binary, directory, *flags) as emulator:
                    complaints = settles(lambda: differences(emulator, {}), emulator)
                    report.check(f"start {number}: no task, and no instance of one", complaints)
                    course.create_all(emulator, arns)
                    complaints = settles(lambda: differences(emulator, course.wanted), emulator)
                    count = sum(course.wanted.values())
                    report.check(f"start {number}: instances and addresses are those of {count} tasks", complaints)
                    answered, complaints = act_until_killed(course, emulator, arns)
                acts += answered
                orphans += stored(file)[0]
                if complaints:
                    report.fail(f"kill {number}: the client", *complaints)
                until(f"processes are left: {left(before)}", lambda: not left(before))
                report.ok(f"kill {number}: after {answered} acts, no process is left")
            # Otherwise the checks prove nothing.
            complaints = [] if acts and orphans else ["none"]
            report.check(f"{acts} acts before the kills, and {orphans} instances after them", complaints)
            complaints = [] if stored(file)[1] == foreign else [f"expected  {foreign}\ngot       {stored(file)[1]}"]
            report.check("instances of others were never written", complaints)
        except SessionLost as error:
            report.fail("crash", str(error), f"left: {left(before)}")
    return report.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
