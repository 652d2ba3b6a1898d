"""The probe of Python: socket.getaddrinfo. run.py describes probes."""

from __future__ import annotations

import json
import socket
import sys

FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6, "ADDRESSES": socket.AF_UNSPEC}
CLASSES = {
    socket.EAI_NONAME: "no-such-name",
    socket.EAI_NODATA: "no-data",
    socket.EAI_AGAIN: "try-again",
}


def answer(kind: str, name: str) -> object:
    if kind not in FAMILIES:
        return {"error": "unsupported", "text": f"no call for {kind}"}
    try:
        found = socket.getaddrinfo(name, None, FAMILIES[kind], socket.SOCK_STREAM)
    except socket.gaierror as error:
        return {"error": CLASSES.get(error.errno, "failure"), "text": error.strerror}
    return [address[0] for *_, address in found]


for line in sys.stdin:
    print(json.dumps(answer(*line.split())), flush=True)
