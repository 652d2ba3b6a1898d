"""The checks, which are the same for every resolver: a resolv.conf, questions, and the expected answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from cloud import BULKY, DNS, DNS_IPV6, EIGHT, FORWARDING, LONG, TWENTY, World, ipv4, ipv6
from upstream import HUNDRED

NO_SUCH_NAME = "no-such-name"
NO_DATA = "no-data"


class Failure(Exception):
    """A failed check, with the reason."""


class Resolver(Protocol):
    """A resolver under test. See `run.Probe`."""

    def ask(self, kind: str, name: str) -> list | str:
        """The sorted answers, or the class of the error. KIND is A, AAAA, ADDRESSES (both) or SRV."""

    def means(self, found: list | str, error: str) -> bool:
        """Whether the resolver reports this error this way."""


class Check(NamedTuple):
    """A check with its resolv.conf."""

    resolv_conf: str
    run: Callable[[World, Resolver], None]


CHECKS: dict[str, Check] = {}


def resolv_conf(*lines: str, options: str = "", server: str = DNS) -> str:
    return "\n".join([f"nameserver {server}", *lines, f"options timeout:2 attempts:2 {options}".rstrip(), ""])


PLAIN = resolv_conf()
TCP = resolv_conf(options="edns0 use-vc")
IPV6 = resolv_conf(server=DNS_IPV6)
CLUSTER = "default.svc.cluster.local svc.cluster.local cluster.local"
SEARCH = resolv_conf("search app.local", options="ndots:1")
SEARCH_ON = resolv_conf("search app.local svc.cluster.local cluster.local", options="ndots:1")
KUBERNETES = resolv_conf(f"search {CLUSTER}", options="ndots:5")
KUBERNETES_APP = resolv_conf("search default.svc.cluster.local app.local", options="ndots:5")
OTHERS = resolv_conf("search default.svc.cluster.example cluster.example", options="ndots:5")
FORWARD = resolv_conf(server=FORWARDING)
FORWARD_KUBERNETES = resolv_conf(f"search {CLUSTER}", options="ndots:5", server=FORWARDING)
FORWARD_APP = resolv_conf(f"search {CLUSTER} app.local", options="ndots:1", server=FORWARDING)


def check(identifier: str, conf: str = PLAIN):
    """Registers a function as this check."""

    def register(function: Callable[[World, Resolver], None]) -> Callable[[World, Resolver], None]:
        CHECKS[identifier] = Check(conf, function)
        return function

    return register


def finds(identifier: str, kind: str, name: str, *answers: object, conf: str = PLAIN) -> None:
    """Registers a check of one question with exactly these answers."""
    check(identifier, conf)(lambda _, resolver: expect(resolver, kind, name, *answers))


def fails(identifier: str, kind: str, name: str, error: str, conf: str = PLAIN) -> None:
    """Registers a check of one question that fails with this error."""
    check(identifier, conf)(lambda _, resolver: expect_error(resolver, kind, name, error))


def expect(resolver: Resolver, kind: str, name: str, *answers: object) -> None:
    found = resolver.ask(kind, name)
    if found != sorted(answers):
        raise Failure(f"{kind} {name}: expected {sorted(answers)!r}, got {found!r}")


def expect_error(resolver: Resolver, kind: str, name: str, error: str) -> None:
    found = resolver.ask(kind, name)
    if not resolver.means(found, error):
        raise Failure(f"{kind} {name}: expected {error!r}, got {found!r}")


def expect_some(resolver: Resolver, kind: str, name: str, number: int, of: set[str]) -> None:
    """Expects `number` different answers from `of`. DNS answers up to eight records of each type, as on AWS."""
    found = resolver.ask(kind, name)
    if len(found) != number or len(set(found)) != number or not of.issuperset(found):
        raise Failure(f"{kind} {name}: expected {number} different answers from {sorted(of)!r}, got {found!r}")


# --- addresses

finds("a", "A", "one.app.local", ipv4(1))
finds("aaaa", "AAAA", "six.app.local", ipv6(2))
finds("addresses.a-only", "ADDRESSES", "one.app.local", ipv4(1))
finds("addresses.aaaa-only", "ADDRESSES", "six.app.local", ipv6(2))
finds("addresses.both", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3))
finds("cname", "A", "alias.app.local", ipv4(1))
finds("name.mixed-case", "A", "OnE.aPP.LoCaL", ipv4(1))
finds("name.absolute", "A", "one.app.local.", ipv4(1))
finds("name.longest", "A", LONG, ipv4(4))


@check("eight.a")
def eight_a(_: World, resolver: Resolver) -> None:
    expect_some(resolver, "A", "many.app.local", 8, set(map(ipv4, TWENTY)))


@check("eight.aaaa")
def eight_aaaa(_: World, resolver: Resolver) -> None:
    expect_some(resolver, "AAAA", "many.app.local", 8, set(map(ipv6, TWENTY)))


@check("eight.addresses")
def eight_addresses(_: World, resolver: Resolver) -> None:
    expect_some(resolver, "ADDRESSES", "many.app.local", 16, set(map(ipv4, TWENTY)) | set(map(ipv6, TWENTY)))


# --- names and types that do not exist

fails("nodata.aaaa", "AAAA", "one.app.local", NO_DATA)
fails("nodata.a", "A", "six.app.local", NO_DATA)
fails("nodata.only-srv", "ADDRESSES", "backend.app.local", NO_DATA)
fails("nodata.srv", "SRV", "one.app.local", NO_DATA)
fails("nxdomain", "ADDRESSES", "nobody.app.local", NO_SUCH_NAME)
fails("nxdomain.below-a-name", "ADDRESSES", "x.one.app.local", NO_SUCH_NAME)
fails("nxdomain.srv", "SRV", "nobody.app.local", NO_SUCH_NAME)


# --- SRV


@check("srv")
def srv(_: World, resolver: Resolver) -> None:
    hosts = {number: f"i-{number}.backend.app.local" for number in (1, 2)}
    expect(resolver, "SRV", "backend.app.local", *([1, 1, 8000 + number, host] for number, host in hosts.items()))
    for number, host in hosts.items():
        expect(resolver, "A", host, ipv4(number))


@check("srv.truncated")
def srv_truncated(_: World, resolver: Resolver) -> None:
    expect(resolver, "SRV", BULKY, *([1, 1, 8000 + number, f"i-{number}.{BULKY}"] for number in EIGHT))


# --- changes show at once


@check("health.hidden")
def health_hidden(world: World, resolver: Resolver) -> None:
    expect(resolver, "A", "checked.app.local", ipv4(1), ipv4(2))
    world.cloud_map.report(world.checked, 1, "UNHEALTHY")
    expect(resolver, "A", "checked.app.local", ipv4(2))
    world.cloud_map.report(world.checked, 1, "HEALTHY")
    expect(resolver, "A", "checked.app.local", ipv4(1), ipv4(2))


@check("instance.deregistered")
def instance_deregistered(world: World, resolver: Resolver) -> None:
    expect(resolver, "ADDRESSES", "moving.app.local", ipv4(1), ipv6(1), ipv4(2), ipv6(2))
    world.cloud_map.deregister(world.moving, 1)
    expect(resolver, "ADDRESSES", "moving.app.local", ipv4(2), ipv6(2))
    world.cloud_map.deregister(world.moving, 2)
    expect_error(resolver, "ADDRESSES", "moving.app.local", NO_SUCH_NAME)
    world.cloud_map.register(world.moving, 1)
    expect(resolver, "ADDRESSES", "moving.app.local", ipv4(1), ipv6(1))
    world.cloud_map.register(world.moving, 2)


# --- zones outside of .local

finds("zone.internal", "ADDRESSES", "web.svc.internal", ipv4(5), ipv6(5))
fails("zone.internal.nxdomain", "ADDRESSES", "nobody.svc.internal", NO_SUCH_NAME)
finds("zone.public", "ADDRESSES", "web.apps.example.com", ipv4(6), ipv6(6))
fails("zone.public.nxdomain", "ADDRESSES", "nobody.apps.example.com", NO_SUCH_NAME)

# --- search lists with a zone of the server

finds("search", "ADDRESSES", "both", ipv4(3), ipv6(3), conf=SEARCH)
finds("search.a-only", "ADDRESSES", "one", ipv4(1), conf=SEARCH)
fails("search.nxdomain", "ADDRESSES", "nobody.app.local", NO_SUCH_NAME, conf=SEARCH)
finds("search.full-name", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3), conf=SEARCH)
finds("search.goes-on", "ADDRESSES", "only", ipv4(7), ipv6(7), conf=SEARCH_ON)
finds("search.ndots-5", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3), conf=KUBERNETES)
finds("search.ndots-5.a-only", "ADDRESSES", "one.app.local", ipv4(1), conf=KUBERNETES)
finds("search.ndots-5.other-zone", "ADDRESSES", "web.svc.internal", ipv4(5), ipv6(5), conf=KUBERNETES)
finds("search.ndots-5.absolute", "ADDRESSES", "both.app.local.", ipv4(3), ipv6(3), conf=KUBERNETES)
fails("search.ndots-5.nxdomain", "ADDRESSES", "nobody.app.local", NO_SUCH_NAME, conf=KUBERNETES)
finds("search.ndots-5.short", "ADDRESSES", "both", ipv4(3), ipv6(3), conf=KUBERNETES_APP)

# --- search lists with unknown zones, which the server refuses

finds("search.refused", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3), conf=OTHERS)

# --- over TCP, for resolvers that know the option

finds("tcp", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3), conf=TCP)
fails("tcp.nxdomain", "ADDRESSES", "nobody.app.local", NO_SUCH_NAME, conf=TCP)

# --- over IPv6

finds("ipv6", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3), conf=IPV6)
fails("ipv6.nxdomain", "ADDRESSES", "nobody.app.local", NO_SUCH_NAME, conf=IPV6)

# --- names that the server forwards

WWW = ("192.0.2.1", "2001:db8::1")
finds("upstream", "ADDRESSES", "www.example.org", *WWW, conf=FORWARD)
finds("upstream.a-only", "ADDRESSES", "four.example.org", "192.0.2.4", conf=FORWARD)
finds("upstream.cname", "ADDRESSES", "alias.example.org", *WWW, conf=FORWARD)
finds("upstream.truncated", "A", "hundred.example.org", *HUNDRED, conf=FORWARD)
fails("upstream.nodata", "ADDRESSES", "text.example.org", NO_DATA, conf=FORWARD)
fails("upstream.nxdomain", "ADDRESSES", "nobody.example.org", NO_SUCH_NAME, conf=FORWARD)
fails("upstream.local", "ADDRESSES", "printer.local", NO_SUCH_NAME, conf=FORWARD)
finds(
    "upstream.srv",
    "SRV",
    "_http._tcp.example.org",
    [1, 2, 80, "www.example.org"],
    [3, 4, 8080, "four.example.org"],
    conf=FORWARD,
)

finds("forwarding", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3), conf=FORWARD)
finds("forwarding.a-only", "ADDRESSES", "one.app.local", ipv4(1), conf=FORWARD)
fails("forwarding.nodata", "ADDRESSES", "backend.app.local", NO_DATA, conf=FORWARD)
fails("forwarding.nxdomain", "ADDRESSES", "nobody.app.local", NO_SUCH_NAME, conf=FORWARD)
finds("forwarding.cname", "ADDRESSES", "elsewhere.app.local", *WWW, conf=FORWARD)
finds("forwarding.alias", "ADDRESSES", "balanced.app.local", *WWW, conf=FORWARD)

# --- search lists with zones of the upstream

finds("forwarding.ndots-5", "ADDRESSES", "both.app.local", ipv4(3), ipv6(3), conf=FORWARD_KUBERNETES)
finds("forwarding.ndots-5.a-only", "ADDRESSES", "one.app.local", ipv4(1), conf=FORWARD_KUBERNETES)
finds("forwarding.ndots-5.upstream", "ADDRESSES", "www.example.org", *WWW, conf=FORWARD_KUBERNETES)
fails("forwarding.ndots-5.nxdomain", "ADDRESSES", "nobody.app.local", NO_SUCH_NAME, conf=FORWARD_KUBERNETES)
finds("forwarding.search", "ADDRESSES", "one", ipv4(1), conf=FORWARD_APP)
fails("forwarding.search.nxdomain", "ADDRESSES", "nobody", NO_SUCH_NAME, conf=FORWARD_APP)
