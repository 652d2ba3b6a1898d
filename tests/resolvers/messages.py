"""dnspython reads every bit of the answers of a real sd-server, over UDP and TCP.

    netns.sh messages.py SD_SERVER
"""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from cloud import BULKY, DNS, serving
from session import Report

SECONDS = 30  # time limit of an answer
FLAGS = dns.flags.QR | dns.flags.AA | dns.flags.RD
SOA = "app.local. 15 IN SOA app.local. hostmaster.app.local. 1 7200 900 1209600 15"
HOSTS = [f"i-{number}.backend.app.local." for number in (1, 2)]


class Question(NamedTuple):
    """A question, and the expected sections: the sorted lines of their records."""

    name: str
    kind: str
    rcode: str = "NOERROR"
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()


QUESTIONS = [
    Question("one.app.local.", "A", answer=("one.app.local. 60 IN A 10.0.0.1",)),
    Question("OnE.aPP.LoCaL.", "A", answer=("OnE.aPP.LoCaL. 60 IN A 10.0.0.1",)),
    Question("six.app.local.", "AAAA", answer=("six.app.local. 60 IN AAAA fd00::2",)),
    Question("moving.app.local.", "A", answer=tuple(f"moving.app.local. 0 IN A 10.0.0.{number}" for number in (1, 2))),
    Question(
        "backend.app.local.",
        "SRV",
        answer=tuple(f"backend.app.local. 60 IN SRV 1 1 {8001 + at} {host}" for at, host in enumerate(HOSTS)),
        additional=tuple(f"{host} 60 IN A 10.0.0.{1 + at}" for at, host in enumerate(HOSTS)),
    ),
    Question(
        "alias.app.local.",
        "A",
        answer=("alias.app.local. 60 IN CNAME one.app.local.", "one.app.local. 60 IN A 10.0.0.1"),
    ),
    Question("alias.app.local.", "CNAME", answer=("alias.app.local. 60 IN CNAME one.app.local.",)),
    Question("app.local.", "SOA", answer=(SOA,)),
    Question("one.app.local.", "AAAA", authority=(SOA,)),
    Question("one.app.local.", "TYPE65280", authority=(SOA,)),
    Question("app.local.", "A", authority=(SOA,)),
    Question("nobody.app.local.", "A", "NXDOMAIN", authority=(SOA,)),
    Question("x.one.app.local.", "A", "NXDOMAIN", authority=(SOA,)),
]


class Way(NamedTuple):
    """A transport, and the EDNS version (-1: no EDNS) and flags of the query."""

    send: Callable[..., dns.message.Message]
    edns: int = -1
    ednsflags: int = 0

    def __str__(self) -> str:
        edns = " with EDNS" if self.edns >= 0 else ""
        return self.send.__name__.upper() + edns + (" and DO" if self.ednsflags else "")


WAYS = [Way(send, *edns) for send in (dns.query.udp, dns.query.tcp) for edns in ((), (0,), (0, dns.flags.DO))]


def query(way: Way, name: str, kind: str) -> dns.message.Message:
    return dns.message.make_query(name, kind, use_edns=way.edns, ednsflags=way.ednsflags, payload=4096)


def complaints(asked: dns.message.Message, got: dns.message.Message, question: Question) -> list[str]:
    """The differences between an answer and the expected one."""
    has_edns = asked.edns >= 0
    pairs = {
        "id": (got.id, asked.id),
        "flags": (dns.flags.to_text(got.flags), dns.flags.to_text(FLAGS)),
        "rcode": (dns.rcode.to_text(got.rcode()), question.rcode),
        # In the same case, by which a client may detect forged answers.
        "question": ([each.to_text() for each in got.question], [each.to_text() for each in asked.question]),
        "EDNS version": (got.edns, asked.edns),
        "EDNS flags": (got.ednsflags, asked.ednsflags),
        "EDNS size": (got.payload, 1232 if has_edns else 0),
        "EDNS options": (tuple(got.options), ()),
    }
    for section in ("answer", "authority", "additional"):
        lines = "\n".join(rrset.to_text() for rrset in getattr(got, section)).splitlines()
        pairs[section] = (sorted(lines), sorted(getattr(question, section)))
    asked_for = f"{question.name} {question.kind}"
    return [
        f"{asked_for}: {what}: expected {wanted!r}, got {value!r}"
        for what, (value, wanted) in pairs.items()
        if value != wanted
    ]


def one_by_one(report: Report) -> None:
    for way in WAYS:
        wrong = []
        for question in QUESTIONS:
            asked = query(way, question.name, question.kind)
            got = way.send(asked, DNS, timeout=SECONDS, one_rr_per_rrset=True)
            wrong += complaints(asked, got, question)
        report.check(f"{way}: every bit of {len(QUESTIONS)} answers is right", wrong)


def on_one_connection(report: Report) -> None:
    asked = [query(WAYS[0], question.name, question.kind) for question in QUESTIONS]
    stream = b"".join(len(wire).to_bytes(2, "big") + wire for wire in (each.to_wire() for each in asked))
    # All in one piece, and in pieces that split every message.
    for size in (len(stream), 7):
        with socket.create_connection((DNS, 53), SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(stream), size):
                connection.sendall(stream[start : start + size])
            answers = {}
            for _ in asked:
                got, _ = dns.query.receive_tcp(connection, one_rr_per_rrset=True)
                answers[got.id] = got
        wrong = [
            complaint
            for each, question in zip(asked, QUESTIONS)
            for complaint in (complaints(each, answers[each.id], question) if each.id in answers else ["no answer"])
        ]
        report.check(f"{len(asked)} questions on one connection, {size} bytes at a time", wrong)


def too_long(report: Report) -> None:
    for way, limit in (WAYS[0], 512), (WAYS[1], 1232):
        got = dns.query.udp(query(way, BULKY, "SRV"), DNS, timeout=SECONDS)
        wrong = [] if got.flags & dns.flags.TC else ["TC is not set"]
        wrong += [f"{len(got.wire)} bytes"] if len(got.wire) > limit else []
        wrong += ["a truncated RRset"] if got.answer else []
        report.check(f"{way}: an answer that does not fit into {limit} bytes has TC", wrong, got.to_text())
    got, by_tcp = dns.query.udp_with_fallback(query(WAYS[1], BULKY, "SRV"), DNS, timeout=SECONDS)
    number = len(got.answer[0]) if got.answer else 0
    report.check("the client falls back to TCP", [] if (by_tcp, number) == (True, 8) else [f"{number} records, over TCP: {by_tcp}"])


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory(prefix="sd-resolvers.") as directory, serving(sys.argv[1], Path(directory)):
        one_by_one(report)
        on_one_connection(report)
        too_long(report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
