"""Compares the wire with botocore's model of the service, in both protocols.

    check.py SD_SERVER

Inputs: sends each member of each operation with a value of the right type and one of a wrong type. If the wrong type is not
refused, the member was not read. Outputs and errors: boto3 plays scenario.py, and each member must be sent. NOT_SENT lists
members that are never sent, with reasons; a row that is no longer true is a failure.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from clients import PROTOCOLS, Client, Wire, service_model  # noqa: E402
from scenario import play, play_quotas, play_slow  # noqa: E402
from session import Report, environment, serving  # noqa: E402

# The errors and the members of each operation, which the cases use.
CASES = Path(__file__).resolve().parent.parent / "cases"
MODELLED_ERRORS = CASES / "modelled-errors.json"
MODELLED_MEMBERS = CASES / "modelled-members.json"

# Members of outputs and errors that are never sent.
NOT_SENT = {
    "ListServices.Services.DnsConfig.NamespaceId": "the summaries of the real service do not have it",
}


def right(shape) -> Any:
    """The smallest value of the shape's type."""
    if shape.type_name in ("structure", "map"):
        return {}
    return {"list": [], "string": "x"}.get(shape.type_name, 1)


def wrong(shape) -> Any:
    """A value of another type."""
    return 1 if shape.type_name == "string" else "x"


def members(shape, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each value in a structure: its path, its shape, and a function that wraps a value there in a body."""
    for name, member in shape.members.items() if shape is not None else ():
        yield from _places(member, f"{path}.{name}".lstrip("."), lambda value, name=name: {name: value})


def _places(shape, path: str, wrap) -> Iterator[tuple[str, Any, Any]]:
    yield path, shape, wrap
    if shape.type_name == "structure":
        for inner, member, place in members(shape, path):
            yield inner, member, lambda value, place=place: wrap(place(value))
    elif shape.type_name == "list":
        yield from _places(shape.member, f"{path}[]", lambda value: wrap([value]))
    elif shape.type_name == "map":
        yield from _places(shape.value, f"{path}{{}}", lambda value: wrap({"k": value}))


def output_members(shape, path: str) -> Iterator[str]:
    if shape is not None and shape.type_name == "structure":
        for name, member in shape.members.items():
            yield f"{path}.{name}"
            yield from output_members(member, f"{path}.{name}")
    elif shape is not None and shape.type_name in ("list", "map"):
        yield from output_members(shape.member if shape.type_name == "list" else shape.value, path)


def check_inputs(wire: Wire, operation, report: Report) -> None:
    complaints, count = [], 0
    for path, shape, wrap in members(operation.input_shape):
        count += 1
        for protocol in PROTOCOLS:
            if (code := wire.code(protocol, operation.name, wrap(wrong(shape)))) != "SerializationException":
                complaints.append(f"{path} is not read: {wrap(wrong(shape))} in {protocol} ends in {code}")
            if wire.code(protocol, operation.name, wrap(right(shape))) == "SerializationException":
                complaints.append(f"{path} cannot be sent: {wrap(right(shape))} in {protocol} is refused")
    for protocol in PROTOCOLS:
        if wire.code(protocol, operation.name, {"NoSuchMember": [{"x": 1}]}) == "SerializationException":
            complaints.append(f"an unknown member is not ignored in {protocol}")
    report.check(f"{operation.name}: {count} input values are read", complaints)


def check_sent(client: Client, built: list, report: Report) -> None:
    """Checks that each output and error was sent with every member. Many outputs have no members."""
    errors = {shape.name: shape for operation in built for shape in operation.error_shapes}
    used = set()
    for name, shape in [(operation.name, operation.output_shape) for operation in built] + sorted(errors.items()):
        expected = [name, *output_members(shape, name)]
        excused = [path for path in expected if path in NOT_SENT]
        complaints = [f"{path} was not sent" for path in expected if path not in client.seen and path not in excused]
        complaints += [f"{path} was sent: remove it from NOT_SENT" for path in excused if path in client.seen]
        used.update(excused)
        report.check(f"{client.protocol} {name}: sent with {len(expected) - len(excused) - 1} members", complaints)
    report.check(f"{client.protocol}: every row of NOT_SENT is a member", sorted(NOT_SENT.keys() - used))


def check_errors(operations: list, report: Report) -> None:
    """Checks that the table of errors in tests/cases agrees with the model."""
    modelled = {operation.name: sorted(shape.name for shape in operation.error_shapes) for operation in operations}
    table = json.loads(MODELLED_ERRORS.read_text())
    differing = sorted(name for name in modelled.keys() | table.keys() if modelled.get(name) != table.get(name))
    report.check(f"{MODELLED_ERRORS.name} has the errors of {len(modelled)} operations", differing)


def constraints(shape) -> dict[str, Any]:
    """A shape with its constraints and members, in the form of the table."""
    found: dict[str, Any] = {"type": shape.type_name}
    metadata = shape.metadata
    found |= {name: metadata[name] for name in ("min", "max", "pattern", "enum") if name in metadata}
    if shape.type_name == "structure":
        found["members"] = [
            {"name": name} | ({"required": True} if name in shape.required_members else {}) | constraints(member)
            for name, member in shape.members.items()
        ]
    elif shape.type_name == "list":
        found["item"] = constraints(shape.member)
    elif shape.type_name == "map":
        found |= {"key": constraints(shape.key), "value": constraints(shape.value)}
    return found


def check_constraints(operations: list, report: Report) -> None:
    """Checks that the table of request members agrees with the model, including its order."""
    modelled = {operation.name: constraints(operation.input_shape)["members"] for operation in operations}
    table = json.loads(MODELLED_MEMBERS.read_text())
    differing = sorted(name for name in modelled.keys() | table.keys() if modelled.get(name) != table.get(name))
    report.check(f"{MODELLED_MEMBERS.name} has the members of {len(modelled)} requests", differing)


def main(binary: str) -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as directory:
        settings = environment(Path(directory))
        os.environ.clear()
        os.environ.update(settings)
        model = service_model()
        operations = [model.operation_model(name) for name in model.operation_names]
        check_errors(operations, report)
        check_constraints(operations, report)
        with serving(binary, Path(directory)) as address:
            wire = Wire(address)
            codes = {operation.name: wire.code("json", operation.name, {}) for operation in operations}
            unknown = [name for name, code in codes.items() if code == "UnknownOperationException"]
            report.check(f"{len(operations)} operations are known", unknown)
            for operation in operations:
                check_inputs(wire, operation, report)
        for protocol in PROTOCOLS:
            clients = []
            for flags, part in ([], play), (["--timing", "aws"], play_slow), (["--quotas", "aws"], play_quotas):
                with serving(binary, Path(directory), *flags) as address:
                    clients.append(Client(address, protocol))
                    try:
                        part(clients[-1])
                    except Exception:  # the client cannot read an answer, or the scenario cannot continue
                        clients[-1].complaints.append(traceback.format_exc(limit=-4))
            for other in clients[1:]:
                clients[0].seen |= other.seen
            report.check(f"boto3 in {protocol}", [complaint for client in clients for complaint in client.complaints])
            check_sent(clients[0], operations, report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
