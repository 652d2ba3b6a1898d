"""The probe of dnspython's resolver. run.py describes probes."""

from __future__ import annotations

import json
import sys

import dns.exception
import dns.resolver


def answer(resolver: dns.resolver.Resolver, kind: str, name: str) -> object:
    try:
        if kind == "ADDRESSES":
            return list(resolver.resolve_name(name, search=True).addresses())
        found = resolver.resolve(name, kind, search=True)
    except dns.resolver.NXDOMAIN as error:
        return {"error": "no-such-name", "text": str(error)}
    except dns.resolver.NoAnswer as error:
        return {"error": "no-data", "text": str(error)}
    except dns.resolver.LifetimeTimeout as error:
        return {"error": "try-again", "text": str(error)}
    except dns.exception.DNSException as error:
        return {"error": "failure", "text": str(error)}
    if kind == "SRV":
        return [[each.priority, each.weight, each.port, each.target.to_text()] for each in found]
    return [each.address for each in found]


configured = dns.resolver.Resolver()  # configured by resolv.conf, without a cache
for line in sys.stdin:
    print(json.dumps(answer(configured, *line.split())), flush=True)
