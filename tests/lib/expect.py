"""Expectations of commands: each turns a reply into a list of complaints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from session import Reply, Shell

ABSENT = object()
"""Stands for a missing member."""


class Var:
    """The value of a shell variable."""

    def __init__(self, name: str):
        self.name = name


class Keep:
    """A string of this form. The shell variable is set to it for later commands."""

    def __init__(self, name: str, form: str):
        self.name, self.form = name, form


class AnyOrder:
    """These elements in any order."""

    def __init__(self, *elements: Any):
        self.elements = elements


def compare(expected: Any, got: Any, shell: Shell, where: str = "") -> Iterator[str]:
    """Yields the differences between `got` and `expected`. Objects may have further members."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name, value in expected.items():
            yield from compare(value, got.get(name, ABSENT), shell, f"{where}.{name}".lstrip("."))
    elif isinstance(expected, (list, tuple)) and type(expected) is type(got) and len(expected) == len(got):
        for index, (value, element) in enumerate(zip(expected, got)):
            yield from compare(value, element, shell, f"{where}[{index}]")
    elif isinstance(expected, AnyOrder) and isinstance(got, list) and len(expected.elements) == len(got):
        left = list(got)
        for value in expected.elements:
            found = next((element for element in left if not any(compare(value, element, shell))), ABSENT)
            if found is ABSENT:
                yield f"expected  {where} with {value!r}\ngot       {left!r}"
            else:
                left.remove(found)
    elif isinstance(expected, Keep):
        if isinstance(got, str) and re.fullmatch(expected.form, got):
            shell[expected.name] = got
        else:
            yield _difference(where, f"something like {expected.form}", got)
    elif isinstance(expected, Var):
        yield from compare(shell[expected.name], got, shell, where)
    elif isinstance(expected, re.Pattern):
        if not (isinstance(got, str) and expected.search(got)):
            yield _difference(where, f"something like {expected.pattern}", got)
    elif expected is not got and (type(expected) is not type(got) or expected != got):
        yield _difference(where, expected, got)


def _difference(where: str, expected: Any, got: Any) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, AnyOrder):
            value = list(value.elements)
        return "absent" if value is ABSENT else value if isinstance(value, str) else repr(value)

    return f"expected  {where or 'the document'}: {shown(expected)}\ngot       {shown(got)}"


def status(expected: tuple[int, ...], reply: Reply) -> list[str]:
    if reply.status in expected:
        return []
    return [f"expected  exit status {' or '.join(map(str, expected))}\ngot       {reply.status}"]


class Done:
    """The command succeeds."""

    def complaints(self, reply: Reply, shell: Shell) -> list[str]:
        return status((0,), reply)


class Json:
    """The command succeeds and prints a JSON document with these members."""

    def __init__(self, members: dict[str, Any]):
        self.members = members

    def complaints(self, reply: Reply, shell: Shell) -> list[str]:
        failure = status((0,), reply)
        if failure:
            return failure
        try:
            document = json.loads(reply.out)
        except ValueError as error:
            return [f"expected  a JSON document\ngot       {error}"]
        return list(compare(self.members, document, shell))


class Error:
    """The AWS CLI reports an error of the service with this code."""

    STATUS = (255, 254)  # CLI 1 and CLI 2; both use 255 for other errors too, so the text counts

    def __init__(self, code: str, message: str = ""):
        self.code, self.message = code, message

    def complaints(self, reply: Reply, shell: Shell) -> list[str]:
        text = re.search(r"An error occurred \((.*?)\) when calling the .*? operation: *(.*)", reply.err)
        code, message = text.groups() if text else ("not an error of the service", "")
        complaints = status(self.STATUS, reply)
        complaints += compare(self.code, code, shell, "the error code")
        complaints += compare(re.compile(re.escape(self.message)), message, shell, "the error message")
        return complaints


class Sets:
    """The command succeeds and sets a shell variable to this value."""

    def __init__(self, name: str, value: Any):
        self.name, self.value = name, value

    def complaints(self, reply: Reply, shell: Shell) -> list[str]:
        return status((0,), reply) or list(compare(self.value, shell[self.name], shell, f"${self.name}"))


class Text:
    """The command succeeds and its output matches each of these regular expressions in some line."""

    def __init__(self, *forms: str):
        self.forms = [re.compile(form, re.MULTILINE) for form in forms]

    def complaints(self, reply: Reply, shell: Shell) -> list[str]:
        missing = [form for form in self.forms if not form.search(reply.out)]
        return status((0,), reply) + [f"expected  output that matches {form.pattern}" for form in missing]


def soa(zone: str, ttl: int) -> tuple:
    """The SOA record of a zone. Resolvers cache a negative answer for the smaller of its TTL and its last field."""
    return (zone, ttl, "SOA", re.compile(rf" {ttl}$"))


class Dns:
    """dig gets an answer with this status and exactly these records: (name, TTL, type, data), in any order."""

    def __init__(
        self,
        *answer: tuple,
        status: str = "NOERROR",
        authority: tuple[tuple, ...] = (),
        authoritative: bool = True,
    ):
        self.answer, self.status = AnyOrder(*answer), status
        self.authority, self.authoritative = AnyOrder(*authority), authoritative

    def complaints(self, reply: Reply, shell: Shell) -> list[str]:
        header = re.search(r"^;; ->>HEADER<<-.* status: (\w+),.*\n;; flags: ([\w ]*);", reply.out, re.MULTILINE)
        if not header:
            return status((0,), reply) + ["expected  an answer\ngot       no answer"]
        flags = header[2].split()
        complaints = status((0,), reply)
        complaints += compare(self.status, header[1], shell, "the status")
        complaints += compare(self.authoritative, "aa" in flags, shell, "the flag aa")
        complaints += compare(self.answer, _section(reply.out, "ANSWER"), shell, "the answers")
        complaints += compare(self.authority, _section(reply.out, "AUTHORITY"), shell, "the authority section")
        return complaints


def _section(text: str, name: str) -> list[tuple]:
    """The records of one section of dig's output. Names are in lower case, because DNS ignores case."""
    section = re.search(rf"^;; {name} SECTION:\n((?:[^;\s].*\n)*)", text, re.MULTILINE)
    records = []
    for line in section[1].splitlines() if section else []:
        owner, ttl, _class, kind, data = line.split(None, 4)
        records.append((owner.lower(), int(ttl), kind, data))
    return records
