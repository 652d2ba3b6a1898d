"""DNS tools against a real sd-server: dig, mdig and kdig print its answers, dnsperf counts lost ones.

    netns.sh tools.py SD_SERVER
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from cloud import BULKY, DNS, FORWARDING, LONG_LABEL, serving_and_forwarding
from session import Report, environment
from upstream import HUNDRED

SOA = "app.local. 15 SOA app.local. hostmaster.app.local. 1 7200 900 1209600 15"
BACKEND = [f"backend.app.local. 60 SRV 1 1 {8000 + number} i-{number}.backend.app.local." for number in (1, 2)]
HOSTS = [f"i-{number}.backend.app.local. 60 A 10.0.0.{number}" for number in (1, 2)]
EDNS = "version 0, flags , size 1232"
EDNS_DO = "version 0, flags do, size 1232"
QUERIES = 2000  # per run of dnsperf
LONGEST = 60  # seconds; the time limit of a tool


class Message(NamedTuple):
    """An answer as dig, mdig or kdig print it. Records are sorted lines `NAME TTL TYPE DATA`."""

    status: str
    flags: str
    edns: str | None = None
    transport: str | None = None
    options: tuple[str, ...] = ()
    answer: list[str] = []
    authority: list[str] = []
    additional: list[str] = []


def messages(printed: str) -> list[Message]:
    """The answers that a tool has printed."""
    parts = re.split(r"^;; ->>HEADER<<- ", printed, flags=re.MULTILINE)
    return [message(part) for part in parts[1:]]


def message(part: str) -> Message:
    status = re.search(r"\bstatus: (\w+)", part)[1]
    flags = re.search(r"^;; flags: ([\w ]*);", part, re.MULTILINE | re.IGNORECASE)[1]
    pseudosection = re.search(r"^;; (?:OPT|EDNS) PSEUDOSECTION:\n((?:;(?!; \w+ SECTION:).+\n)+)", part, re.MULTILINE)
    edns, options = None, ()
    if pseudosection:
        first, *rest = pseudosection[1].splitlines()
        values = re.search(r"version: (\d+)[,;] flags: ?([\w ]*); (?:udp|UDP size): (\d+)", first, re.IGNORECASE)
        edns = "version {}, flags {}, size {}".format(*values.groups())
        options = tuple(rest)
    transport = re.search(r"^;; (?:SERVER|From).*\((UDP|TCP)\)", part, re.MULTILINE)
    sections = {}
    for name in ("ANSWER", "AUTHORITY", "ADDITIONAL"):
        section = re.search(rf"^;; {name} SECTION:\n((?:[^;\s].*\n)*)", part, re.MULTILINE)
        records = [line.split(None, 4) for line in section[1].splitlines()] if section else []
        sections[name.lower()] = sorted(f"{owner} {ttl} {kind} {data}" for owner, ttl, _, kind, data in records)
    return Message(status, flags, edns, transport and transport[1], options, **sections)


COUNTING = "..60"
"""Matches a TTL that counts down from 60 in a cache."""


def is_as_wanted(wanted: object, got: object) -> bool:
    if not isinstance(wanted, list) or not isinstance(got, list):
        return wanted == got
    return len(wanted) == len(got) and all(map(is_record, wanted, got))


def is_record(wanted: str, got: str) -> bool:
    counting = re.fullmatch(r"(\S+) ([1-9]|[1-5]\d|60) (.*)", got) if f" {COUNTING} " in wanted else None
    return wanted == (f"{counting[1]} {COUNTING} {counting[3]}" if counting else got)


class Tools:
    """Runs the tools and reports the results."""

    def __init__(self, directory: Path):
        self.report = Report()
        self._env = environment(directory)

    def printed(self, command: str) -> str | None:
        """The output of a command. Reports a failure and returns None."""
        ended = subprocess.run(
            command.split(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, env=self._env
        )
        if ended.returncode == 0:
            return ended.stdout
        self.report.fail(command, f"exit status {ended.returncode}", ended.stdout, ended.stderr)
        return None

    def get(self, command: str, *expected: Message) -> None:
        """Checks that the command prints these answers. A transport of None matches any."""
        if (text := self.printed(command)) is None:
            return
        found = messages(text)
        complaints = [] if len(found) == len(expected) else [f"expected  {len(expected)} answers\ngot       {len(found)}"]
        for got, wanted in zip(found, expected):
            for member, value in wanted._asdict().items():
                if not is_as_wanted(value, getattr(got, member)) and not (member == "transport" and value is None):
                    complaints.append(f"expected  {member}: {value!r}\ngot       {getattr(got, member)!r}")
        self.report.check(command.replace(LONG_LABEL, "l…"), complaints, text)


def flags_and_edns(tools: Tools) -> None:
    one = ["one.app.local. 60 A 10.0.0.1"]
    found = Message("NOERROR", "qr aa rd", EDNS, "UDP", answer=one)
    tools.get(f"dig @{DNS} +edns one.app.local", found)
    tools.get(f"dig @{DNS} +noedns one.app.local", found._replace(edns=None))
    tools.get(f"dig @{DNS} +tcp one.app.local", found._replace(transport="TCP"))
    tools.get(f"dig @{DNS} +dnssec one.app.local", found._replace(edns=EDNS_DO))
    tools.get(f"dig @{DNS} +bufsize=4096 one.app.local", found)
    tools.get(f"dig @{DNS} +norecurse one.app.local", found._replace(flags="qr aa"))
    tools.get(f"dig @{DNS} +cdflag +adflag one.app.local", found)
    # Unknown options are ignored (RFC 6891 section 6.1.2).
    tools.get(f"dig @{DNS} +ednsopt=65001:abcd +nsid +subnet=10.0.0.0/8 +padding=128 one.app.local", found)
    tools.get(f"dig @{DNS} +tcp +keepalive one.app.local", found._replace(transport="TCP"))
    tools.get(f"dig @{DNS} +edns=1 +noednsneg one.app.local", Message("BADVERS", "qr rd", EDNS, "UDP"))
    tools.get(f"dig @{DNS} +edns=1 one.app.local", found)
    tools.get(f"kdig @{DNS} +cookie +edns one.app.local", found)
    tools.get(f"kdig @{DNS} +dnssec one.app.local", found._replace(edns=EDNS_DO))


def types_and_codes(tools: Tools) -> None:
    nothing = Message("NOERROR", "qr aa rd", EDNS, "UDP", authority=[SOA])
    tools.get(f"dig @{DNS} one.app.local AAAA", nothing)
    tools.get(f"dig @{DNS} one.app.local TYPE65280", nothing)
    tools.get(f"dig @{DNS} one.app.local HTTPS", nothing)
    tools.get(f"dig @{DNS} nobody.app.local", nothing._replace(status="NXDOMAIN"))
    srv = Message("NOERROR", "qr aa rd", EDNS, "UDP", answer=BACKEND, additional=HOSTS)
    tools.get(f"dig @{DNS} backend.app.local SRV", srv)
    tools.get(f"kdig @{DNS} +edns backend.app.local SRV", srv)
    tools.get(f"dig @{DNS} app.local SOA", nothing._replace(answer=[SOA], authority=[]))
    cname = ["alias.app.local. 60 CNAME one.app.local.", "one.app.local. 60 A 10.0.0.1"]
    tools.get(f"dig @{DNS} alias.app.local", nothing._replace(answer=cname, authority=[]))

    refused = Message("REFUSED", "qr rd", EDNS, "UDP")
    tools.get(f"dig @{DNS} version.bind CH TXT", refused)
    for opcode in ("NOTIFY", "UPDATE", "STATUS"):
        tools.get(f"dig @{DNS} +opcode={opcode} app.local SOA", refused._replace(status="NOTIMP"))
    if (text := tools.printed(f"dig @{DNS} app.local AXFR")) is not None:
        tools.report.check("dig app.local AXFR", [] if "Transfer failed." in text else ["expected  the transfer to fail"], text)


def long_answers(tools: Tools) -> None:
    cut = Message("NOERROR", "qr aa tc rd", EDNS, "UDP")
    tools.get(f"dig @{DNS} +ignore {BULKY} SRV", cut)
    tools.get(f"dig @{DNS} +ignore +noedns {BULKY} SRV", cut._replace(edns=None))
    tools.get(f"kdig @{DNS} +ignore +edns {BULKY} SRV", cut)
    for command in (f"dig @{DNS} {BULKY} SRV", f"kdig @{DNS} {BULKY} SRV"):
        if (text := tools.printed(command)) is None:
            continue
        *_, last = messages(text)
        number = len(last.answer)
        complaints = [] if (last.transport, number) == ("TCP", 8) else [f"expected  8 records over TCP\ngot       {number} over {last.transport}"]
        tools.report.check(f"{command.split()[0]} retries over TCP", complaints, text)


def one_connection(tools: Tools) -> None:
    names = [("one", "A"), ("nobody", "A"), ("six", "AAAA"), ("backend", "SRV")]
    found = {
        "one": Message("NOERROR", "qr aa rd", None, "TCP", answer=["one.app.local. 60 A 10.0.0.1"]),
        "nobody": Message("NXDOMAIN", "qr aa rd", None, "TCP", authority=[SOA]),
        "six": Message("NOERROR", "qr aa rd", None, "TCP", answer=["six.app.local. 60 AAAA fd00::2"]),
        "backend": Message("NOERROR", "qr aa rd", None, "TCP", answer=BACKEND, additional=HOSTS),
    }
    each = " ".join(f"{name}.app.local {kind}" for name, kind in names)
    tools.get(f"dig @{DNS} +tcp +keepopen +noedns {each}", *(found[name] for name, _ in names))
    each = " ".join(f"{name}.app.local {kind} +tcp +keepopen" for name, kind in names)
    tools.get(f"kdig @{DNS} {each}", *(found[name] for name, _ in names))

    # mdig sends all queries before it reads, and accepts answers in any order. It prints TTLs with units.
    command = f"mdig @{DNS} +vc +burst " + " ".join(f"{name}.app.local" for name in ("one", "nobody", "both", "many"))
    if (text := tools.printed(command)) is not None:
        got = sorted((message.status, len(message.answer)) for message in messages(text))
        wanted = [("NOERROR", 1), ("NOERROR", 1), ("NOERROR", 8), ("NXDOMAIN", 0)]
        tools.report.check(command, [] if got == wanted else [f"expected  {wanted}\ngot       {got}"], text)


def forwarded(tools: Tools) -> None:
    own = Message("NOERROR", "qr aa rd ra", EDNS, "UDP", answer=["one.app.local. 60 A 10.0.0.1"])
    gone = Message("NXDOMAIN", "qr aa rd ra", EDNS, "UDP", authority=[SOA])
    tools.get(f"dig @{FORWARDING} one.app.local", own)
    tools.get(f"dig @{FORWARDING} nobody.app.local", gone)
    # Upstream answers are not authoritative, so AA is not set. Without RD, nothing is forwarded.
    theirs = Message("NOERROR", "qr rd ra", EDNS, "UDP", answer=[f"www.example.org. {COUNTING} A 192.0.2.1"])
    tools.get(f"dig @{FORWARDING} www.example.org", theirs)
    tools.get(f"dig @{FORWARDING} +noedns www.example.org", theirs._replace(edns=None))
    tools.get(f"dig @{FORWARDING} +tcp www.example.org", theirs._replace(transport="TCP"))
    tools.get(f"dig @{FORWARDING} +norecurse www.example.org", Message("REFUSED", "qr ra", EDNS, "UDP"))
    for command in (f"dig @{FORWARDING} hundred.example.org", f"kdig @{FORWARDING} hundred.example.org"):
        if (text := tools.printed(command)) is not None:
            *_, last = messages(text)
            wanted = sorted(f"hundred.example.org. {COUNTING} A {address}" for address in HUNDRED)
            is_whole = last.transport == "TCP" and is_as_wanted(wanted, last.answer)
            tools.report.check(command, [] if is_whole else ["expected  all records, over TCP"], text)


def load(tools: Tools, directory: Path) -> None:
    own = ["one A", "six AAAA", "many A", "many AAAA", "backend SRV", "one AAAA", "alias A", "checked A"]
    theirs = ["www A", "www AAAA", "hundred A", "text TXT", "alias AAAA", "_http._tcp SRV", "four A", "four AAAA"]
    for server, zone, questions in (DNS, "app.local", own), (FORWARDING, "example.org", theirs):
        file = directory / zone
        lines = (f"{name}.{zone} {kind}\n" for name, kind in map(str.split, questions))
        file.write_text("".join(lines))
        for flags in ("-m udp", "-m udp -e -D", "-m tcp", "-m tcp -e"):
            command = f"dnsperf -s {server} -d {file} -n {QUERIES // len(questions)} -c 8 {flags}"
            if (text := tools.printed(command)) is None:
                continue
            wanted = [rf"Queries completed: +{QUERIES} ", r"Queries lost: +0 ", rf"Response codes: +NOERROR {QUERIES} "]
            complaints = [f"expected  output that matches {form}" for form in wanted if not re.search(form, text)]
            tools.report.check(f"dnsperf {flags} of {zone}", complaints, text)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="sd-resolvers.") as home, serving_and_forwarding(sys.argv[1], Path(home)):
        tools = Tools(Path(home))
        flags_and_edns(tools)
        types_and_codes(tools)
        long_answers(tools)
        one_connection(tools)
        forwarded(tools)
        load(tools, Path(home))
    return tools.report.close()


if __name__ == "__main__":
    sys.exit(main())
