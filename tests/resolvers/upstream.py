"""The upstream of sd-server: Knot with the zone example.org, and a root zone with nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from session import Server, environment

UPSTREAM = "127.0.0.2"
HUNDRED = [f"192.0.2.{number}" for number in range(1, 101)]
"""The addresses of `hundred.example.org`, which do not fit into a datagram."""

ROOT = """\
$ORIGIN .
$TTL 60
@ SOA ns.example.org. hostmaster.example.org. 1 7200 900 1209600 15
@ NS ns.example.org.
"""
EXAMPLE = "\n".join(
    [
        "$ORIGIN example.org.",
        "$TTL 60",
        "@ SOA ns hostmaster 1 7200 900 1209600 15",
        "@ NS ns",
        f"ns A {UPSTREAM}",
        "www A 192.0.2.1",
        "www AAAA 2001:db8::1",
        "four A 192.0.2.4",
        "alias CNAME www",
        "_http._tcp SRV 1 2 80 www",
        "_http._tcp SRV 3 4 8080 four",
        "text TXT some",
        *(f"hundred A {address}" for address in HUNDRED),
        "",
    ]
)

ZONES = {".": ROOT, "example.org": EXAMPLE}


def configuration(directory: Path) -> str:
    zones = "".join(f'  - domain: {domain}\n    file: "{directory}/{domain}zone"\n' for domain in ZONES)
    return f"""\
server:
    rundir: "{directory}"
    listen: {UPSTREAM}@53
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{directory}"
template:
  - id: default
    zonefile-sync: -1
    journal-content: none
zone:
{zones}"""


@contextlib.contextmanager
def upstream(directory: Path) -> Iterator[None]:
    """Runs Knot on port 53 of its address. It answers only after it has read its zones."""
    directory.mkdir()
    for domain, records in ZONES.items():
        (directory / f"{domain}zone").write_text(records)
    (directory / "knot.conf").write_text(configuration(directory))
    command = ["knotd", "-c", str(directory / "knot.conf")]
    knot = Server(command, directory / "log", environment(directory))
    try:
        knot.wait_for([(UPSTREAM, 53)], seconds=30)
        yield
    finally:
        knot.stop()
